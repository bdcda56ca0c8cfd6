"""Small pipelines, one for each shape of a generated function; `accept.py` writes what they give."""

from __future__ import annotations

from operator import add, attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from actorstream.api.pipeline import Pipeline
from actorstream.operators.contexts import OutputTag
from actorstream.operators.keyed_process import KeyedCoProcess, KeyedProcess
from actorstream.operators.state_declarations import ListState, MapState, ValueState
from actorstream.operators.windows.assigners import Session, Sliding, Tumbling
from tests.operators.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from actorstream.api.keyed import KeyedStream
    from actorstream.api.stream import Stream
    from actorstream.operators.contexts import Context
    from actorstream.operators.process_timers import Timer

SEEN = OutputTag[int]("seen")
LATER = OutputTag[int]("later")


def key(value: Any) -> Any:
    return value


def choose(value: int, count: int) -> int:
    return value % count


def odd(value: int) -> bool:
    return value % 2 == 1


def pair(value: int) -> tuple[int, int]:
    return value % 2, value


def twice(value: int) -> list[int]:
    return [value, value]


def push(values: list[int], value: int) -> list[int]:
    values.append(value)
    return values


def add_and_show(total: int, value: int) -> tuple[int, str]:
    return total + value, str(total)


async def send(value: object) -> None:
    """Take a record."""


class Visits(KeyedProcess[int, int, int]):
    """One value."""

    count: ValueState[int] = ValueState(0)

    def on_element(self, value: int, ctx: Context[int], /) -> Iterator[int]:
        """Count."""
        self.count += 1
        yield self.count


class Profile(KeyedProcess[int, int, str]):
    """Two values, a list and a map."""

    total: ValueState[int] = ValueState(0)
    seen: ValueState[set[int]] = ValueState(factory=set)
    recent: ListState[int] = ListState()
    days: MapState[int, int] = MapState()

    def on_element(self, value: int, ctx: Context[int], /) -> Iterable[str]:
        """Remember everything."""
        self.total += value
        self.seen.add(value)
        self.recent.append(value)
        self.days[value] = self.days.get(value, 0) + 1
        return [f"{ctx.key}: {self.total}"]


class Reminder(KeyedProcess[int, int, int]):
    """A timer, and a side output."""

    count: ValueState[int] = ValueState(0)

    def on_element(self, value: int, ctx: Context[int], /) -> None:
        """Set it."""
        self.count += 1
        ctx.set_timer(value)
        ctx.emit_to(SEEN, value)

    def on_timer(self, timer: Timer, ctx: Context[int], /) -> list[int]:
        """Count."""
        return [self.count]


class Meeting(KeyedCoProcess[int, int, int, int]):
    """Two inputs."""

    def on_left(self, value: int, ctx: Context[int], /) -> list[int]:
        """Give it."""
        return [value]

    def on_right(self, value: int, ctx: Context[int], /) -> list[int]:
        """Give it."""
        return [value]


def _source(build: Callable[[Stream[int]], object], head: str = "in", **rig: Any) -> Rig:
    pipeline = Pipeline("golden")
    build(pipeline.source([1, 2, 3], name="in"))
    return Rig(pipeline, head, **rig)


def _keyed(build: Callable[[KeyedStream[int, int]], object], **rig: Any) -> Rig:
    return _source(lambda stream: build(stream.key_by(key)), "head", **rig)


def _used_twice(stream: Stream[int]) -> None:
    stream.map(abs, name="abs").sink(print, name="print")
    stream.filter(odd, name="odd").key_by(key).count(name="count", new_chain=True)


def _inside(stream: Stream[int]) -> None:
    pairs = stream.map(pair, name="pair")
    pairs.map(str, name="str").sink(print, name="print")
    pairs.key_by(itemgetter(0)).count(name="count").map(str, name="text").map(len, name="len").sink(print, name="out")


def _remind(stream: Stream[int]) -> None:
    reminded = stream.assign_timestamps(float).key_by(key).process(Reminder, name="head", new_chain=True)
    reminded.sink(print, name="print")
    reminded.side_output(SEEN).map(abs, name="abs").sink(print, name="seen")


def _meet(stream: Stream[int]) -> None:
    by_key = stream.assign_timestamps(float).key_by(key)
    by_key.connect(by_key).process(Meeting, name="head").sink(print, name="print")


def _join(stream: Stream[int]) -> None:
    by_key = stream.assign_timestamps(float).key_by(key)
    joined = by_key.interval_join(by_key, before=1, after=1, how="full", late=LATER, name="head")
    joined.key_by(itemgetter(0)).window(Tumbling(5)).count(name="count")
    joined.side_output(LATER).sink(print, name="late")


def _join_inside(stream: Stream[int]) -> None:
    timed = stream.assign_timestamps(float, out_of_orderness=3)
    ours, theirs = timed.filter(odd, name="odd").key_by(key), timed.map(abs, name="abs").key_by(attrgetter("real"))
    ours.window_join(theirs, Tumbling(5), name="join").sink(print, name="print")


def _changes(stream: Stream[int]) -> None:
    stream.key_by(key).count(name="head", new_chain=True).changes().sink(print, name="print")


def _windows(stream: Stream[int], *, hop: bool = False) -> None:
    timed = stream.filter(odd, name="odd").assign_timestamps(float)
    windows = (
        timed.key_by(key).window(Sliding(10, slide=5, offset=1)).sum(attrgetter("real"), name="head", new_chain=hop)
    )
    windows.sink(print, name="print")


def _rebalanced(stream: Stream[int]) -> None:
    stream.rebalance().flat_map(twice, name="head").filter(odd, name="odd").filter(odd, name="unused")


CHAINS: dict[str, Callable[[], Rig]] = {
    "source to key_by": lambda: _source(lambda s: s.key_by(key).count(name="count", new_chain=True)),
    "source to key_by, routed": lambda: _source(lambda s: s.key_by(key).count(name="count"), parallelism=2),
    "stateless chain": lambda: _source(
        lambda s: s.map(abs, name="abs").filter(odd, name="odd").flat_map(twice, name="twice").sink(print, name="print")
    ),
    "calls in calls": lambda: _source(
        lambda s: s.map(abs, name="abs").map(str, name="str").map(len, name="len").sink(print, name="print")
    ),
    "inspected": lambda: _source(lambda s: s.map(abs, name="abs").inspect(str, name="seen").sink(print, name="print")),
    "partitioned": lambda: _source(lambda s: s.partition_by(choose).map(abs, name="abs"), parallelism=2),
    "used twice": lambda: _source(_used_twice),
    "rebalanced, result unused": lambda: _source(_rebalanced, "head"),
    "async sink and tap": lambda: _source(lambda s: s.filter(odd, name="odd").sink(send, name="send"), taps=["odd"]),
    "count": lambda: _keyed(lambda k: k.count(name="head").sink(print, name="print")),
    "count, unused": lambda: _keyed(lambda k: k.count(name="head")),
    "sum": lambda: _keyed(lambda k: k.sum(attrgetter("real"), name="head").sink(print, name="print")),
    "reduce": lambda: _keyed(lambda k: k.reduce(add, name="head").map(str, name="str").sink(print, name="print")),
    "min": lambda: _keyed(lambda k: k.min(attrgetter("real"), name="head").sink(print, name="print")),
    "max_by": lambda: _keyed(lambda k: k.max_by(abs, name="head").sink(print, name="print")),
    "top_n": lambda: _keyed(lambda k: k.top_n(3, abs, name="head").sink(print, name="print")),
    "fold": lambda: _keyed(lambda k: k.fold(0, add, name="head").sink(print, name="print")),
    "fold, mutable": lambda: _keyed(lambda k: k.fold(list[int](), push, name="head").sink(print, name="print")),
    "latest": lambda: _keyed(lambda k: k.latest(abs, name="head").sink(print, name="print")),
    "map_with_state": lambda: _keyed(
        lambda k: k.map_with_state(0, add_and_show, name="head").sink(print, name="print")
    ),
    "process, one value": lambda: _keyed(lambda k: k.process(Visits, name="head").sink(print, name="print")),
    "process, many states": lambda: _keyed(lambda k: k.process(Profile, name="head").sink(print, name="print")),
    "source to process, timed": lambda: _source(lambda s: s.key_by(key).process(Visits), parallelism=2),
    "key inside": lambda: _source(_inside),
    "key inside, part before it": lambda: _source(_inside, part="before key"),
    "key inside, part after it": lambda: _source(_inside, part="after key"),
    "times, to a window behind a hop": lambda: _source(lambda s: _windows(s, hop=True)),
    "times and a window inside": lambda: _source(_windows),
    "a window, fired alone": lambda: _source(lambda s: _windows(s, hop=True), "head", part="fire"),
    "sessions": lambda: _source(
        lambda s: s.assign_timestamps(float).key_by(key).window(Session(3)).count(name="head", new_chain=True),
        "head",
        marked=True,
    ),
    "timers and a side output": lambda: _source(_remind, "head", marked=True),
    "timers, fired alone": lambda: _source(_remind, "head", part="fire"),
    "timers, fired by the clock": lambda: _source(_remind, "head", part="fire by clock"),
    "two inputs, the second": lambda: _source(_meet, "head", side=1),
    "an outer join, its second input": lambda: _source(_join, "head", marked=True, side=1),
    "a window join inside": lambda: _source(_join_inside),
    "changes of a table": lambda: _source(_changes, "head"),
    "process inside": lambda: _source(lambda s: s.key_by(attrgetter("real")).process(Visits, name="visits")),
    "process inside, part before it": lambda: _source(
        lambda s: s.key_by(attrgetter("real")).process(Visits, name="visits"), part="before key"
    ),
}
