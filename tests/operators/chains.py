"""Small pipelines, one for each shape of a generated function; `accept.py` writes what they give."""

from __future__ import annotations

from operator import add, attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from actorstream.api.pipeline import Pipeline
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import ListState, MapState, ValueState
from tests.operators.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from actorstream.api.keyed import KeyedStream
    from actorstream.api.stream import Stream
    from actorstream.operators.contexts import Context


def key(value: Any) -> Any:
    return value


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
    "used twice": lambda: _source(_used_twice),
    "rebalanced, result unused": lambda: _source(_rebalanced, "head"),
    "async sink and tap": lambda: _source(lambda s: s.filter(odd, name="odd").sink(send, name="send"), taps=["odd"]),
    "count": lambda: _keyed(lambda k: k.count(name="head").sink(print, name="print")),
    "count, unused": lambda: _keyed(lambda k: k.count(name="head")),
    "sum": lambda: _keyed(lambda k: k.sum(attrgetter("real"), name="head").sink(print, name="print")),
    "reduce": lambda: _keyed(lambda k: k.reduce(add, name="head").map(str, name="str").sink(print, name="print")),
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
    "process inside": lambda: _source(lambda s: s.key_by(attrgetter("real")).process(Visits, name="visits")),
    "process inside, part before it": lambda: _source(
        lambda s: s.key_by(attrgetter("real")).process(Visits, name="visits"), part="before key"
    ),
}
