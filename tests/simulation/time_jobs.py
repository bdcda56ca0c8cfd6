"""Jobs of event time for the simulation, and their inputs.

Their output does not depend on how the simulation schedules them: either a job has one split, so the order of its
records, and with it what is late, is fixed; or no record comes later than its source promises, so none is late.

Those that flicker are another matter: splits become idle all the time, subtasks come to different times, and what is
late is chance. But each record is in one result or late, and each window has one result.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actorstream.api.pipeline import Pipeline
from actorstream.api.time import WatermarkAlignment
from actorstream.operators.contexts import OutputTag
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import MapState, ValueState
from actorstream.operators.windows.assigners import Session, Sliding, Tumbling
from tests.simulation.stages import Event, Result
from tests.simulation.time_sources import Flickering, Quiet, Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from actorstream.api.stream import Stream
    from actorstream.model.connect import Sink
    from actorstream.operators.contexts import Context
    from actorstream.operators.process_timers import Timer
    from actorstream.operators.windows.results import WindowResult

START = 1_000
DISORDER = 6
PAUSE = 0.02
"""How long at most, in virtual seconds, splits that flicker pause; they are idle after a tenth."""


def time_of(event: Event) -> int:
    """The event time: behind that of earlier ones by `DISORDER` at most."""
    return START + event.seq - event.amount % (DISORDER + 1)


def events_of(source: str, number: int, variant: int) -> list[Event]:
    """Draw the events of one split."""
    rng = random.Random(f"time {source} {variant}")
    keys = rng.choices(("k0", "k1", "k2", "k3"), (6, 3, 2, 1), k=number)
    return [Event(source, key, seq, rng.randrange(100)) for seq, key in enumerate(keys)]


@dataclass(frozen=True)
class TimeJob:
    """A pipeline of event time.

    Attributes:
        splits: How many splits each source has.
        ordered: Whether the results of each key come in one order only.
        quiet: The source whose last split becomes idle.
        flickers: All splits become idle at each pause: what is late is chance.
    """

    name: str
    build: Callable[[Mapping[str, Stream[Event]], Mapping[str, Rows]], Mapping[str, Stream[Result]]]
    splits: Mapping[str, int]
    delay: float = float(DISORDER)
    ordered: bool = True
    quiet: str = ""
    generator: Callable[[], Any] | None = None
    alignment: float | None = None
    flickers: bool = False

    def sources(self, number: int, variant: int, pause: float) -> dict[str, Rows]:
        """Make the sources."""
        pause = max(pause, PAUSE) if self.flickers else pause
        return {
            name: (Quiet if name == self.quiet else Flickering if self.flickers else Rows)(
                [events_of(f"{name}{split}", number, variant) for split in range(count)], pause
            )
            for name, count in self.splits.items()
        }


# -- what the jobs do --------------------------------------------------------------------------------------------------


def shown(kind: str, key: str, at: datetime, count: int, total: int) -> Result:
    """Tell a result in the terms of the sinks."""
    return Result(key, Event(kind, key, round(at.timestamp()), 0), count, total)


def _of_window(result: WindowResult[str, int]) -> Result:
    return shown("window", result.key, result.start, round((result.end - result.start).total_seconds()), result.value)


def _late(event: Event) -> Result:
    return Result(event.key, event, 0, 0)


def _key(event: Event) -> str:
    return event.key


def _amount(event: Event) -> int:
    return event.amount


def _key_of_window(result: WindowResult[str, Any]) -> str:
    return result.key


def _tumbling(streams: Mapping[str, Stream[Event]], _: object) -> dict[str, Stream[Result]]:
    windows = streams["a"].key_by(_key).window(Tumbling(5), allowed_lateness=1).sum(_amount, name="windows")
    return {"out": windows.map(_of_window), "late": windows.late.map(_late)}


def _records(streams: Mapping[str, Stream[Event]], _: object) -> dict[str, Stream[Result]]:
    """The same by records kept and timers, with an actor on the way."""
    events = streams["a"].map(lambda event: event, name="on-the-way", new_chain=True)
    windows = events.key_by(_key).window(Tumbling(5)).apply(_checked, name="windows")
    return {"out": windows.map(_of_window), "late": windows.late.map(_late)}


def _checked(events: Sequence[Event]) -> int:
    return sum(event.amount * (place + 1) for place, event in enumerate(events))


def _sessions(streams: Mapping[str, Stream[Event]], _: object) -> dict[str, Stream[Result]]:
    windows = streams["a"].key_by(_key).window(Session(3)).sum(_amount, name="sessions")
    return {"out": windows.map(_of_window)}


def _sliding(streams: Mapping[str, Stream[Event]], _: object) -> dict[str, Stream[Result]]:
    small = streams["a"].key_by(_key).window(Sliding(12, slide=4)).sum(_amount, name="small-windows")
    large = small.key_by(_key_of_window).window(Tumbling(20)).sum(lambda result: result.value, name="large-windows")
    return {"out": small.map(_of_window), "large": large.map(_of_window)}


def _join(streams: Mapping[str, Stream[Event]], _: object) -> dict[str, Stream[Result]]:
    pairs = streams["a"].key_by(_key).interval_join(streams["b"].key_by(_key), before=2, after=3, how="full", name="j")
    return {"out": pairs.map(_of_pair)}


def _of_pair(pair: tuple[Event | None, Event | None]) -> Result:
    left, right = pair
    event = left if left is not None else right
    assert event is not None
    count = -1 if left is None else left.seq
    return Result(event.key, event, count, -1 if right is None else right.seq)


def _itself(streams: Mapping[str, Stream[Event]], _: object) -> dict[str, Stream[Result]]:
    """A stream joined with itself: with one subtask in the actor of its source, with several behind two exchanges."""
    small = streams["a"].filter(lambda event: event.amount < 40, name="small").key_by(_key)
    large = streams["a"].filter(lambda event: event.amount >= 40, name="large").key_by(_key)
    pairs = small.window_join(large, Sliding(10, slide=5), name="pairs")
    return {"out": pairs.map(lambda pair: Result(pair.key, pair.value[0], pair.value[1].seq, pair.start.second))}


def _grouped(streams: Mapping[str, Stream[Event]], _: object) -> dict[str, Stream[Result]]:
    """Sessions that both sides make."""

    def sums(ours: Sequence[Event], theirs: Sequence[Event]) -> list[tuple[int, int]]:
        return [(sum(map(_amount, ours)), sum(map(_amount, theirs)))]

    groups = streams["a"].key_by(_key).cogroup(streams["b"].key_by(_key), Session(2), sums, name="groups")
    return {"out": groups.map(_of_group)}


def _of_group(group: WindowResult[str, tuple[int, int]]) -> Result:
    return shown("group", group.key, group.start, *group.value)


def _table(streams: Mapping[str, Stream[Event]], _: object) -> dict[str, Stream[Result]]:
    """Each record with the value that was valid at its time; every fourth change is a deletion."""
    values = streams["b"].key_by(_key)
    table = values.latest(lambda event: event.seq if event.amount % 4 else None, versions=2, name="table")
    rows = streams["a"].key_by(_key).join_table(table, as_of="event_time", name="rows")
    return {"out": rows.map(_of_row)}


def _of_row(row: tuple[Event, int | None]) -> Result:
    event, value = row
    return Result(event.key, event, 0, -1 if value is None else value)


class Alarms(KeyedProcess[str, Event, Result]):
    """Timers of both times: one for each fifth second that a record was in, each once, and one by the clock."""

    told: ValueState[int] = ValueState(0)
    last: ValueState[int] = ValueState(0)

    def on_element(self, event: Event, ctx: Context[str], /) -> None:
        at = time_of(event) // 5 * 5 + 9
        ctx.set_timer(float(at), f"at {at}")
        self.last = max(self.last, event.seq)
        if event.seq % 10 == 3:
            ctx.set_timer(
                ctx.now.timestamp() + 0.05 * (event.amount % 4), f"clock {event.lane} {event.seq}", domain="processing"
            )
        if event.amount % 9 == 0:
            ctx.set_timer(float(at - 30), "in the past")

    def on_timer(self, timer: Timer, ctx: Context[str], /) -> Iterator[Result]:
        if timer.domain == "processing":
            yield Result(ctx.key, Event(timer.name, ctx.key, 0, 0), 0, 0)
            return
        if timer.name == "in the past":
            return
        self.told += 1
        if timer.name.startswith("at"):
            ctx.set_timer(timer.at.timestamp() + 2, f"again {timer.name}")
        yield shown(timer.name, ctx.key, timer.at, self.told, 0)


def _timers(streams: Mapping[str, Stream[Event]], _: object) -> dict[str, Stream[Result]]:
    return {"out": streams["a"].key_by(_key).process(Alarms, name="alarms")}


class Last(KeyedProcess[str, Event, Result]):
    """One timer for each key, which every record moves: it fires once, at the end, by what the last one said."""

    met: ValueState[int] = ValueState(0)

    def on_element(self, event: Event, ctx: Context[str], /) -> None:
        self.met += 1
        ctx.set_timer(float(START + 10_000 + self.met), "last")

    def on_timer(self, timer: Timer, ctx: Context[str], /) -> Iterator[Result]:
        yield shown(timer.name, ctx.key, timer.at, self.met, 0)


def _moved(streams: Mapping[str, Stream[Event]], _: object) -> dict[str, Stream[Result]]:
    return {"out": streams["a"].key_by(_key).process(Last, name="last")}


def _idle(streams: Mapping[str, Stream[Event]], sources: Mapping[str, Rows]) -> dict[str, Stream[Result]]:
    both = streams["a"].union(streams["b"])
    windows = both.key_by(_key).window(Tumbling(8)).sum(_amount, name="windows")

    def heard(result: WindowResult[str, int]) -> Result:
        quiet = sources["b"]
        assert isinstance(quiet, Quiet)
        quiet.heard.set()
        return _of_window(result)

    return {"out": windows.map(heard)}


LATE: OutputTag[Event] = OutputTag("behind the watermark")


def _whole(event: Event) -> Result:
    return Result(event.key, event, 1, 1)


def _rows_of(result: WindowResult[str, Sequence[Event]]) -> Iterator[Result]:
    """Give one row for the window, and one for each record in it."""
    yield shown("window", result.key, result.start, len(result.value), 0)
    yield from map(_whole, result.value)


def _held(held: list[Event], event: Event) -> list[Event]:
    held.append(event)
    return held


def _both(one: list[Event], other: list[Event]) -> list[Event]:
    return one + other


def _flickering_slices(streams: Mapping[str, Stream[Event]], _: object) -> dict[str, Stream[Result]]:
    none: list[Event] = []
    windows = streams["a"].key_by(_key).window(Tumbling(2)).fold(none, _held, merge=_both, name="windows")
    return {"out": windows.flat_map(_rows_of), "late": windows.late.map(_whole)}


def _flickering_records(streams: Mapping[str, Stream[Event]], _: object) -> dict[str, Stream[Result]]:
    windows = streams["a"].key_by(_key).window(Tumbling(2)).apply(list, name="windows")
    return {"out": windows.flat_map(_rows_of), "late": windows.late.map(_whole)}


def _flickering_groups(streams: Mapping[str, Stream[Event]], _: object) -> dict[str, Stream[Result]]:
    """Both inputs in one window."""
    left, right = (streams[name].key_by(_key) for name in "ab")
    windows = left.cogroup(right, Tumbling(2), lambda ours, theirs: [[*ours, *theirs]], late=LATE, name="groups")
    return {"out": windows.flat_map(_rows_of), "late": windows.side_output(LATE).map(_whole)}


class Buckets(KeyedProcess[str, Event, Result]):
    """Windows by hand: what comes behind the watermark is late, all else waits for a timer."""

    held: MapState[int, list[Event]] = MapState()

    def on_element(self, event: Event, ctx: Context[str], /) -> Iterator[Result]:
        end = time_of(event) // 2 * 2 + 2
        if ctx.watermark.timestamp() >= end if ctx.watermark.year > 1 else False:
            ctx.emit_to(LATE, event)
            return
        self.held[end] = [*self.held.get(end, []), event]
        ctx.set_timer(float(end), f"{end}")
        yield from ()

    def on_timer(self, timer: Timer, ctx: Context[str], /) -> Iterator[Result]:
        events = self.held.pop(round(timer.at.timestamp()))
        yield shown("window", ctx.key, timer.at, len(events), 0)
        yield from map(_whole, events)


def _flickering_timers(streams: Mapping[str, Stream[Event]], _: object) -> dict[str, Stream[Result]]:
    buckets = streams["a"].key_by(_key).process(Buckets, name="buckets")
    return {"out": buckets, "late": buckets.side_output(LATE).map(_whole)}


class Punctuated:
    """Moves at every fourth record, two seconds behind the highest time so far."""

    def __init__(self) -> None:
        self.seen = 0
        self.highest = 0.0

    def on_element(self, value: Event, timestamp: datetime, /) -> float | None:
        self.seen += 1
        self.highest = max(self.highest, timestamp.timestamp())
        return self.highest - 2 if self.seen % 4 == 0 else None

    def on_period(self) -> None:
        return None

    def snapshot(self) -> object:
        return self.seen, self.highest

    def restore(self, state: tuple[int, float], /) -> None:
        self.seen, self.highest = state


TIME_JOBS: Mapping[str, TimeJob] = {
    job.name: job
    for job in (
        TimeJob("tumbling", _tumbling, {"a": 1}, delay=1.0),
        TimeJob("records", _records, {"a": 1}, delay=1.0),
        TimeJob("punctuated", _tumbling, {"a": 1}, generator=Punctuated),
        TimeJob("sessions", _sessions, {"a": 2}),
        TimeJob("sliding", _sliding, {"a": 3}),
        TimeJob("join", _join, {"a": 1, "b": 2}, ordered=False),
        TimeJob("itself", _itself, {"a": 2}, ordered=False),
        TimeJob("grouped", _grouped, {"a": 1, "b": 2}, ordered=False),
        TimeJob("table", _table, {"a": 2, "b": 1}, ordered=False),
        TimeJob("timers", _timers, {"a": 2}, ordered=False),
        TimeJob("moved", _moved, {"a": 2}),
        TimeJob("idle", _idle, {"a": 2, "b": 2}, quiet="b", alignment=10.0),
        TimeJob("flickering-slices", _flickering_slices, {"a": 3}, delay=1.0, flickers=True),
        TimeJob("flickering-records", _flickering_records, {"a": 3}, delay=1.0, flickers=True),
        TimeJob("flickering-groups", _flickering_groups, {"a": 2, "b": 2}, delay=1.0, flickers=True),
        TimeJob("flickering-timers", _flickering_timers, {"a": 3}, delay=1.0, flickers=True),
    )
}


def pipeline_of(job: TimeJob, sources: Mapping[str, Rows], sinks: Mapping[str, Sink[Result]]) -> Pipeline:
    """Build a job on these ends."""
    pipeline = Pipeline(job.name, max_parallelism=8)
    alignment = None if job.alignment is None else WatermarkAlignment("all", max_drift=job.alignment)
    idle = 5.0 if job.quiet else PAUSE / 10 if job.flickers else None
    streams = {}
    for name, source in sources.items():
        read = pipeline.source(source, name=f"in-{name}")
        if job.generator is not None:
            timed = read.assign_timestamps(_seconds, watermarks=job.generator, idle_timeout=idle, name=f"time-{name}")
        else:
            timed = read.assign_timestamps(
                _seconds, out_of_orderness=job.delay, idle_timeout=idle, alignment=alignment, name=f"time-{name}"
            )
        streams[name] = timed
    for name, stream in job.build(streams, sources).items():
        stream.sink(sinks[name], name=name)
    return pipeline


def _seconds(event: Event) -> float:
    return float(time_of(event))


def sinks_of(job: TimeJob) -> list[str]:
    """Name what a job writes to."""
    pipeline = Pipeline(job.name)
    sources = job.sources(1, 0, 0.0)
    return list(job.build({name: pipeline.source(source) for name, source in sources.items()}, sources))
