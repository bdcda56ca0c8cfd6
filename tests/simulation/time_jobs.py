"""Jobs of event time for the simulation, and their inputs.

Their output does not depend on how the simulation schedules them: either a job has one split, so the order of its
records, and with it what is late, is fixed; or no record comes later than its source promises, so none is late.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import anyio

from actorstream.api.pipeline import Pipeline
from actorstream.api.time import WatermarkAlignment
from actorstream.model.connect import Fetched
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import ValueState
from actorstream.operators.windows.assigners import Session, Sliding, Tumbling
from actorstream.testing.loop import SimulatedLoop
from tests.simulation.oracles import BrokenPromiseError
from tests.simulation.stages import Event, Result

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from actorstream.api.stream import Stream
    from actorstream.model.connect import Sink
    from actorstream.operators.contexts import Context
    from actorstream.operators.process_timers import Timer
    from actorstream.operators.windows.results import WindowResult

START = 1_000
DISORDER = 6
HELD_UP = 12.0
"""Virtual seconds that an idle split waits for the others' results."""

_AT_FIRST = 5
_LONG_AFTER = 1_000


def time_of(event: Event) -> int:
    """The event time: behind that of earlier ones by `DISORDER` at most."""
    return START + event.seq - event.amount % (DISORDER + 1)


def events_of(source: str, number: int, variant: int) -> list[Event]:
    """Draw the events of one split."""
    rng = random.Random(f"time {source} {variant}")
    keys = rng.choices(("k0", "k1", "k2", "k3"), (6, 3, 2, 1), k=number)
    return [Event(source, key, seq, rng.randrange(100)) for seq, key in enumerate(keys)]


class Rows:
    """A source whose splits are lists, read a few records at a time, with pauses."""

    def __init__(self, splits: Sequence[Sequence[Event]], pause: float) -> None:
        self.rows = splits
        self.pause = pause

    async def splits(self) -> Sequence[str]:
        return [str(number) for number in range(len(self.rows))]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, Event]]:
        loop = _loop()
        events = self.rows[int(split)]
        start = 0 if after is None else after + 1
        while start < len(events):
            await self._wait(split, start)
            end = min(self._end(split, start), start + loop.environment.randint(1, 4))
            yield Fetched(events[start:end], end - 1)
            start = end

    def _end(self, split: str, start: int) -> int:
        del start
        return len(self.rows[int(split)])

    async def _wait(self, split: str, start: int) -> None:
        if _loop().environment.random() < 0.5:
            await anyio.sleep(_loop().environment.random() * self.pause)


class Quiet(Rows):
    """The last split gives its first records, and the others, long after them, when results have been heard of."""

    def __init__(self, splits: Sequence[Sequence[Event]], pause: float) -> None:
        *others, last = splits
        later = [replace(event, seq=event.seq + (event.seq >= _AT_FIRST) * _LONG_AFTER) for event in last]
        super().__init__([*others, later], pause)
        self.heard = anyio.Event()
        self.undisturbed = False

    def _end(self, split: str, start: int) -> int:
        last = int(split) == len(self.rows) - 1
        return _AT_FIRST if last and start < _AT_FIRST else super()._end(split, start)

    async def _wait(self, split: str, start: int) -> None:
        if int(split) < len(self.rows) - 1 or start < _AT_FIRST:
            await super()._wait(split, start)
            return
        with anyio.move_on_after(HELD_UP):
            await self.heard.wait()
            return
        if self.undisturbed:
            raise BrokenPromiseError("idle", "an idle split has held the others' windows up")


def _loop() -> SimulatedLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    return loop


@dataclass(frozen=True)
class TimeJob:
    """A pipeline of event time.

    Attributes:
        splits: How many splits each source has.
        ordered: Whether the results of each key come in one order only.
        quiet: The source whose last split becomes idle.
    """

    name: str
    build: Callable[[Mapping[str, Stream[Event]], Mapping[str, Rows]], Mapping[str, Stream[Result]]]
    splits: Mapping[str, int]
    delay: float = float(DISORDER)
    ordered: bool = True
    quiet: str = ""
    generator: Callable[[], Any] | None = None
    alignment: float | None = None

    def sources(self, number: int, variant: int, pause: float) -> dict[str, Rows]:
        """Make the sources."""
        return {
            name: (Quiet if name == self.quiet else Rows)(
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


def _idle(streams: Mapping[str, Stream[Event]], sources: Mapping[str, Rows]) -> dict[str, Stream[Result]]:
    both = streams["a"].union(streams["b"])
    windows = both.key_by(_key).window(Tumbling(8)).sum(_amount, name="windows")

    def heard(result: WindowResult[str, int]) -> Result:
        quiet = sources["b"]
        assert isinstance(quiet, Quiet)
        quiet.heard.set()
        return _of_window(result)

    return {"out": windows.map(heard)}


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
        TimeJob("timers", _timers, {"a": 2}, ordered=False),
        TimeJob("idle", _idle, {"a": 2, "b": 2}, quiet="b", alignment=10.0),
    )
}


def pipeline_of(job: TimeJob, sources: Mapping[str, Rows], sinks: Mapping[str, Sink[Result]]) -> Pipeline:
    """Build a job on these ends."""
    pipeline = Pipeline(job.name, max_parallelism=8)
    alignment = None if job.alignment is None else WatermarkAlignment("all", max_drift=job.alignment)
    idle = 5.0 if job.quiet else None
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
