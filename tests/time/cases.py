"""Every operator that goes by time, each in a small pipeline of two inputs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from actorstream import (
    Context,
    Count,
    Fire,
    Global,
    KeyedCoProcess,
    KeyedProcess,
    OutputTag,
    Session,
    Sliding,
    Timer,
    Trigger,
    TriggerContext,
    Tumbling,
    ValueState,
    Window,
    WindowAssigner,
    WindowContext,
    WindowProcess,
    WindowResult,
)
from tests.time.driving import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from actorstream import Stream, WindowResults
    from tests.time.driving import Case

Inputs = "Stream[Event]"
Shown = tuple[object, ...]

SIDE: OutputTag[Shown] = OutputTag("side")
LATE: OutputTag[Event] = OutputTag("too late")


def key_of(event: Event) -> str:
    return event.key


def number_of(event: Event) -> int:
    return event.number


def value_of(event: Event) -> int:
    return event.value


class Reminders(KeyedProcess[str, Event, Shown]):
    """Timers set, moved, cancelled, set in the past, and set by timers, in both times."""

    handled: ValueState[int] = ValueState(0)
    left: ValueState[int] = ValueState(0)

    def on_element(self, event: Event, ctx: Context[str]) -> Iterator[Shown]:
        self.handled += 1
        match event.value:
            case 0 | 1 | 2:
                self.left = 3
                ctx.set_timer(ctx.timestamp + timedelta(seconds=event.value))
            case 3:
                ctx.set_timer(ctx.timestamp + timedelta(seconds=4), "moved")
            case 4:
                ctx.set_timer(ctx.timestamp - timedelta(seconds=20), "in the past")
                ctx.emit_to(SIDE, (event.key, event.number))
            case 5:
                ctx.cancel_timer()
            case 6:
                ctx.cancel_timer("moved")
                ctx.set_timer(ctx.now + timedelta(seconds=2), domain="processing")
            case 7:
                ctx.set_timer(ctx.now + timedelta(seconds=1), "soon", domain="processing")
            case 8:
                ctx.cancel_timer(domain="processing")
            case 9 if event.number % 3 == 0:
                ctx.clear()
            case _:
                pass
        yield ctx.key, event.number, self.handled, ctx.watermark

    def on_timer(self, timer: Timer, ctx: Context[str]) -> Iterator[Shown]:
        if self.left:
            self.left -= 1
            later = timedelta(seconds=(0, 1, 30)[self.left])
            ctx.set_timer(timer.at + later, "by a timer", domain=timer.domain)
        if timer.name == "moved":
            ctx.cancel_timer("soon", domain="processing")
        ctx.emit_to(SIDE, (ctx.key, timer.name, timer.at))
        yield ctx.key, timer, self.handled, ctx.timestamp, ctx.watermark


class Pairs(KeyedCoProcess[str, Event, Event, Shown]):
    """Two inputs, one state, and a timer that either side moves."""

    balance: ValueState[int] = ValueState(0)

    def on_left(self, event: Event, ctx: Context[str]) -> Iterator[Shown]:
        self.balance += 1
        ctx.set_timer(ctx.timestamp + timedelta(seconds=event.value), "idle")
        yield ctx.key, "left", event.number, self.balance, ctx.watermark

    def on_right(self, event: Event, ctx: Context[str]) -> Iterator[Shown]:
        self.balance -= 1
        if event.value % 2:
            ctx.cancel_timer("idle")
        else:
            ctx.set_timer(ctx.timestamp, f"right {event.value}")
        yield ctx.key, "right", event.number, self.balance, ctx.watermark

    def on_timer(self, timer: Timer, ctx: Context[str]) -> Iterator[Shown]:
        yield ctx.key, timer, self.balance, ctx.watermark
        if timer.name == "idle":
            ctx.clear()


class Seen(KeyedProcess[str, Any, Shown]):
    """What those behind an operator see of time."""

    def on_element(self, value: Any, ctx: Context[str]) -> Iterator[Shown]:
        yield ctx.key, value, ctx.timestamp, ctx.watermark


class Around(WindowAssigner[Event]):
    """Windows of a user's own: some overlap, some lie behind, some records are in none."""

    def assign(self, value: Event, timestamp: datetime, /) -> Iterable[Window]:
        if value.value % 5:
            yield Window(timestamp - timedelta(seconds=3), timestamp + timedelta(seconds=4))
            yield Window(timestamp - timedelta(seconds=20), timestamp - timedelta(seconds=15))


class Quiet(Trigger[Event]):
    """A trigger of a user's own: fires when time has come a while beyond the record that came last."""

    def on_element(self, value: Event, window: Window, ctx: TriggerContext, /) -> Fire:
        ctx.set_timer(ctx.timestamp + timedelta(seconds=4), "quiet")
        return "continue"

    def on_timer(self, timer: Timer, window: Window, ctx: TriggerContext, /) -> Fire:
        return "fire"

    def on_merge(self, window: Window, ctx: TriggerContext, /) -> None:
        pass


class Report(WindowProcess[str, Event, Shown]):
    """All records of a window, how often it fired, and how many windows of the key did."""

    def on_window(self, key: str, window: Window, records: Sequence[Event], ctx: WindowContext, /) -> Iterator[Shown]:
        ctx.state["fired"] = ctx.state.get("fired", 0) + 1
        ctx.global_state["fired"] = ctx.global_state.get("fired", 0) + 1
        yield tuple(map(number_of, records)), ctx.state["fired"], ctx.global_state["fired"]


def _gap_of(event: Event) -> float:
    return 1 + event.value


def _written_down(held: list[int], event: Event) -> list[int]:
    held.append(event.number)
    return held


def _joined(one: list[int], other: list[int]) -> list[int]:
    one += other
    return one


def _numbers(events: Sequence[Event]) -> list[int]:
    return list(map(number_of, events))


def _behind(stream: Stream[Any]) -> Stream[Shown]:
    """Show what those behind see; in an actor of its own, so that results travel."""
    return stream.key_by(_key_of_result).process(Seen)


def _key_of_result(result: Any) -> str:
    match result:
        case Event() | WindowResult():
            return str(result.key)
        case _:
            return _key_of_result(next(each for each in result if each is not None))


def windowed(
    windows: WindowAssigner[Event], compute: Callable[[Any], WindowResults[str, Event, Any]], **words: Any
) -> Case:
    """One kind of window over both inputs."""

    def case(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
        results = compute(left.key_by(key_of).union(right.key_by(key_of)).window(windows, **words))
        return {"results": results, "late": results.late, "behind": _behind(results)}

    return case


def _timers(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
    results = left.union(right).key_by(key_of).process(Reminders)
    return {"results": results, "side": results.side_output(SIDE)}


def _timers_of_one(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
    """With one subtask it is the source's actor."""
    results = left.key_by(key_of).process(Reminders)
    right.map(number_of)
    return {"results": results, "side": results.side_output(SIDE)}


def _pairs(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
    return {"results": left.key_by(key_of).connect(right.key_by(key_of)).process(Pairs)}


def _interval(how: Any) -> Case:
    def case(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
        pairs = left.key_by(key_of).interval_join(right.key_by(key_of), before=2, after=5, how=how, late=LATE)
        return {"results": pairs, "late": pairs.side_output(LATE), "behind": _behind(pairs)}

    return case


def _cogroup(windows: WindowAssigner[Event], lateness: int) -> Case:
    def case(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
        groups = left.key_by(key_of).cogroup(
            right.key_by(key_of),
            windows,
            lambda ours, theirs: [(_numbers(ours), _numbers(theirs))],
            allowed_lateness=lateness,
            late=LATE,
        )
        return {"results": groups, "late": groups.side_output(LATE), "behind": _behind(groups)}

    return case


def _window_join(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
    pairs = left.key_by(key_of).window_join(right.key_by(key_of), Tumbling(6), late=LATE)
    return {"results": pairs, "late": pairs.side_output(LATE), "behind": _behind(pairs)}


def _join_with_itself(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
    """With one subtask it is in the source's actor, with both its inputs."""
    even, odd = left.filter(lambda event: event.value % 2 == 0), left.filter(lambda event: event.value % 2 == 1)
    pairs = even.key_by(key_of).window_join(odd.key_by(key_of), Sliding(6, slide=3), allowed_lateness=2, late=LATE)
    right.map(number_of)
    return {"results": pairs, "late": pairs.side_output(LATE), "behind": _behind(pairs)}


def _union_with_itself(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
    """The same with two inputs that are not told apart; some records come twice."""
    doubled = left.key_by(key_of).union(left.filter(lambda event: event.value % 3 == 0).key_by(key_of))
    results = doubled.window(Tumbling(5), allowed_lateness=2).sum(value_of)
    right.map(number_of)
    return {"results": results, "late": results.late, "behind": _behind(results)}


def _all_of_itself(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
    """Some records come twice to the only key, whose value is at hand."""
    doubled = left.union(left.filter(lambda event: event.value % 3 == 0).map(lambda event: event))
    results = doubled.window_all(Tumbling(5), allowed_lateness=2).sum(value_of)
    right.map(number_of)
    return {"results": results, "late": results.late}


def _table(as_of: Any) -> Case:
    def case(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
        newest = right.key_by(key_of).latest(lambda event: event.number if event.value % 4 else None, versions=6)
        rows = left.key_by(key_of).join_table(newest, as_of=as_of)
        return {"results": rows, "changes": newest.changes(), "behind": _behind(rows)}

    return case


def _windows_behind_windows(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
    small = left.union(right).key_by(key_of).window(Tumbling(3), allowed_lateness=5).count()
    large = small.key_by(lambda result: result.key).window(Sliding(12, slide=6)).sum(lambda result: result.value)
    session = small.late.key_by(key_of).window(Session(4)).apply(_numbers)
    return {"small": small, "large": large, "late": large.late, "sessions": session, "behind": _behind(large)}


def _all_windows(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
    results = left.union(right).window_all(Tumbling(7)).apply(_numbers)
    return {"results": results, "late": results.late}


CASES: dict[str, Case] = {
    "timers": _timers,
    "timers in the source's actor": _timers_of_one,
    "timers of two inputs": _pairs,
    "tumbling, sliced": windowed(Tumbling(5), lambda w: w.count()),
    "tumbling, sliced, lateness": windowed(Tumbling(5, offset=2), lambda w: w.sum(value_of), allowed_lateness=6),
    "tumbling, all records": windowed(Tumbling(5), lambda w: w.apply(_numbers), allowed_lateness=3),
    "sliding, sliced": windowed(Sliding(12, slide=4), lambda w: w.max_by(value_of), allowed_lateness=2),
    "sliding, sliced, lists": windowed(Sliding(9, slide=6), lambda w: w.fold([], _written_down, merge=_joined)),
    "sliding, panes": windowed(Sliding(8, slide=3), lambda w: w.fold([], _written_down)),
    "sliding with gaps": windowed(Sliding(3, slide=5), lambda w: w.count()),
    "sessions": windowed(Session(4), lambda w: w.count(), allowed_lateness=5),
    "sessions by record": windowed(Session(_gap_of), lambda w: w.apply(_numbers)),
    "sessions, lists": windowed(Session(3), lambda w: w.fold([], _written_down, merge=_joined)),
    "counted": windowed(Count(3, slide=2), lambda w: w.apply(_numbers)),
    "global by count": windowed(Global(), lambda w: w.sum(value_of), trigger=Trigger.count(3)),
    "global, every": windowed(Global(), lambda w: w.count(), trigger=Trigger.every(4)),
    "custom windows": windowed(Around(), lambda w: w.apply(_numbers), allowed_lateness=6),
    "custom trigger": windowed(Tumbling(10), lambda w: w.count(), trigger=Quiet()),
    "continuous": windowed(Tumbling(12), lambda w: w.sum(value_of), trigger=Trigger.every(3), allowed_lateness=4),
    "purging": windowed(Session(4), lambda w: w.apply(_numbers), trigger=Trigger.count(2).purging()),
    "updates": windowed(Sliding(6, slide=3), lambda w: w.count(), emit="updates", allowed_lateness=3),
    "by the clock": windowed(Tumbling(5, domain="processing"), lambda w: w.count()),
    "sessions by the clock": windowed(Session(5, domain="processing"), lambda w: w.apply(_numbers)),
    "process windows": windowed(Tumbling(6), lambda w: w.process(Report), allowed_lateness=6),
    "windows on all": _all_windows,
    "interval join": _interval("inner"),
    "interval join, left": _interval("left"),
    "interval join, right": _interval("right"),
    "interval join, full": _interval("full"),
    "cogroup": _cogroup(Tumbling(6), 0),
    "cogroup with lateness": _cogroup(Sliding(6, slide=3), 4),
    "cogroup of sessions": _cogroup(Session(3), 2),
    "window join": _window_join,
    "window join with itself": _join_with_itself,
    "union with itself": _union_with_itself,
    "all of a union with itself": _all_of_itself,
    "table as it is": _table("arrival"),
    "table as of event time": _table("event_time"),
    "windows behind windows": _windows_behind_windows,
}
