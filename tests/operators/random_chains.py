"""Random chains: trees of operators behind a source or a keyed operator, batches, and what a chain gave for them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from actorstream.api.pipeline import Pipeline
from tests.operators.interpreter import Interpreter
from tests.operators.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorstream.api.keyed import KeyedStream
    from actorstream.api.stream import Stream
    from actorstream.graph.plan import Exchange
    from actorstream.operators.generate import Step
    from actorstream.operators.step_text import Lists

Everything = tuple[dict[Any, list[Any]], dict[str, list[Any]], dict[str, int]]
"""What was sent, by receiver; tapped, by operator; and how often each was called."""


def number(value: Any) -> int:
    """Make a number of whatever an operator emits."""
    return value if isinstance(value, int) else sum(map(number, value))


def some(value: Any) -> list[int] | None:
    count = number(value) % 4
    return None if count == 3 else [count] * count


def append(values: list[int], value: Any) -> list[int]:
    values.append(number(value))
    return values


def newest(value: Any) -> int | None:
    return None if number(value) % 5 == 0 else number(value)


STATELESS: list[Callable[[Stream[Any]], Stream[Any]]] = [
    lambda s: s.map(number),
    lambda s: s.map(lambda v: (number(v), 1)),
    lambda s: s.filter(lambda v: number(v) % 3 > 0),
    lambda s: s.flat_map(some),
    lambda s: s.inspect(number),
]
ENDS: list[Callable[[Stream[Any]], object]] = [
    lambda s: s.sink(str),
    lambda s: s.rebalance().map(number),
]
KEYED: list[Callable[[Stream[Any]], KeyedStream[int, Any]]] = [
    lambda s: s.key_by(lambda v: number(v) % 7),
    lambda s: s.map(number).key_by(attrgetter("real")),
    lambda s: s.map(lambda v: (number(v), number(v) % 5)).key_by(itemgetter(-1)),
]
"""With getters of Python's own, which are written out."""

HEADS: list[Callable[..., Stream[Any]]] = [
    lambda k, **o: k.count(**o),
    lambda k, **o: k.sum(number, **o),
    lambda k, **o: k.reduce(lambda a, b: number(a) + number(b), **o),
    lambda k, **o: k.min(number, **o),
    lambda k, **o: k.max_by(lambda v: number(v) % 4, **o),
    lambda k, **o: k.top_n(2, lambda v: number(v) % 6, **o),
    lambda k, **o: k.fold(0, lambda a, b: a * 2 + number(b), **o),
    lambda k, **o: k.fold(list[int](), append, **o),
    lambda k, **o: k.latest(newest, **o),
    lambda k, **o: k.map_with_state((0, 0), lambda s, v: ((s[1], number(v)), sum(s)), **o),
]


def keyed(make_key: Callable[..., Any], head: Callable[..., Stream[Any]], new_chain: bool) -> Callable[..., Any]:
    return lambda stream: head(make_key(stream), new_chain=new_chain)


behind_a_key = st.builds(keyed, st.sampled_from(KEYED), st.sampled_from(HEADS), st.sampled_from([False, False, True]))
tree = st.recursive(
    (st.sampled_from(ENDS) | behind_a_key).map(lambda end: (end, ())),
    lambda below: st.tuples(st.sampled_from(STATELESS) | behind_a_key, st.lists(below, max_size=3).map(tuple)),
    max_leaves=6,
)


def grow(stream: Stream[Any], part: Any) -> None:
    step, below = part
    grown = step(stream)
    for child in below:
        grow(grown, child)


@dataclass
class Given:
    """What the steps of one chain gave: by receiver, by tapped operator, by called one."""

    sent: dict[Any, list[Any]] = field(default_factory=lambda: defaultdict(list))
    tapped: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    called: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, rig: Rig, step: Step, results: tuple[Any, ...]) -> Lists | None:
        """Sort the results; give what goes on to the part after the key."""
        names = {node.id: node.name for node in rig.chain.nodes}
        inside = None
        for outlet, result in zip(step.outlets, results, strict=True):
            if outlet.kind == "tap":
                self.tapped[names[outlet.node]] += result.values
            elif outlet.kind == "called":
                self.called[names[outlet.node]] += result
            elif outlet.kind == "keyed":
                inside = result
            elif outlet.exchange is not None:
                for target, lists in enumerate(result if isinstance(result, list) else [result]):
                    keys = lists.keys or [None] * len(lists.values)
                    times = lists.timestamps or [None] * len(lists.values)
                    place = (outlet.exchange.sender, outlet.exchange.receiver, target)
                    self.sent[place] += list(zip(lists.values, keys, times, strict=True))
        return inside

    def without_blanks(self) -> Everything:
        """Leave out those that got nothing."""
        return (
            {place: records for place, records in self.sent.items() if records},
            {name: records for name, records in self.tapped.items() if records},
            {name: count for name, count in self.called.items() if count},
        )


@dataclass(frozen=True)
class Bunch:
    """A batch, and where it is cut into pieces."""

    values: Sequence[int]
    keys: list[int] | None
    times: list[int] | None
    cuts: tuple[int, ...]

    def pieces(self) -> list[tuple[int, int]]:
        """Give start and count of each piece."""
        edges = [0, *self.cuts, len(self.values)]
        return [(start, stop - start) for start, stop in pairwise(edges)]


@st.composite
def bunches(draw: st.DrawFn, *, with_keys: bool, with_times: bool) -> Bunch:
    """Lists, tuples and ranges: what has an iterator that can be set to a place."""
    values: Sequence[int] = draw(
        st.lists(st.integers(0, 9), min_size=1, max_size=8)
        | st.lists(st.integers(0, 9), min_size=1, max_size=8).map(tuple)
        | st.integers(1, 8).map(range)
    )
    size = len(values)
    return Bunch(
        values,
        [value % 3 for value in values] if with_keys else None,
        [index * 10 for index in range(size)] if with_times else None,
        tuple(sorted(draw(st.sets(st.integers(1, size - 1), max_size=3)))) if size > 1 else (),
    )


def whole(rig: Rig, given: Given, bunch: Bunch) -> None:
    """Do a batch at once."""
    given.add(rig, rig.step, rig.step.run(bunch.values, bunch.keys, bunch.times, None, 0, len(bunch.values)))


def in_pieces(rig: Rig, given: Given, bunch: Bunch) -> None:
    """Do it piece after piece."""
    for start, count in bunch.pieces():
        given.add(rig, rig.step, rig.step.run(bunch.values, bunch.keys, bunch.times, None, start, count))


def in_two_parts(rig: Rig, given: Given, bunch: Bunch) -> None:
    """Do each piece as it is done where keys are fetched from disk between its parts."""
    before, after = rig.part("before key"), rig.part("after key")
    for start, count in bunch.pieces():
        inside = given.add(rig, before, before.run(bunch.values, None, bunch.times, None, start, count))
        assert inside is not None
        assert inside.keys is not None
        given.add(
            rig, after, after.run(inside.values, inside.keys, inside.timestamps, inside.marks, 0, len(inside.values))
        )


@dataclass
class RandomChain:
    """A chain of a random pipeline: it begins with the source, or with the operator `head`, whose keys are given."""

    pipeline: Pipeline
    name: str
    parallelism: int
    taps: list[str]
    timed: bool
    batches: list[Bunch]

    def rig(self) -> Rig:
        """Compile it, with no state yet."""
        timed = self._wants_time if self.timed else None
        return Rig(self.pipeline, self.name, parallelism=self.parallelism, taps=self.taps, timed=timed)

    def meaning(self) -> Everything:
        """Give what the interpreter makes of the batches."""
        meant = Interpreter(self.rig().plan, self.name)
        for bunch in self.batches:
            meant.feed(bunch.values, bunch.keys, bunch.times)
        for exchange in meant.chain.outputs:
            if not (self.timed and self._wants_time(exchange)):
                for place in [place for place in meant.sent if place[:2] == (exchange.sender, exchange.receiver)]:
                    meant.sent[place] = [(value, its_key, None) for value, its_key, _ in meant.sent[place]]
        return meant.sent, {name: of for name, of in meant.tapped.items() if name in self.taps}, meant.called

    def steps(self, run: Callable[[Rig, Given, Bunch], None]) -> Everything:
        """Give what the generated functions make of them, each batch done by `run`."""
        rig, given = self.rig(), Given()
        for bunch in self.batches:
            run(rig, given, bunch)
            if rig.state is not None:
                rig.state.freeze()
        return given.without_blanks()

    @staticmethod
    def _wants_time(exchange: Exchange) -> bool:
        return exchange.receiver % 2 == 0


@st.composite
def random_chains(draw: st.DrawFn) -> RandomChain:
    """To one or three receivers, followed at every second operator, with event times or without."""
    head = draw(st.sampled_from([None, None, *HEADS]))
    pipeline = Pipeline("random")
    start: Stream[Any] = pipeline.source([0], name="in")
    stream = start if head is None else head(start.key_by(abs), name="head")
    for part in draw(st.lists(tree, max_size=3)):
        grow(stream, part)
    timed = draw(st.booleans())
    return RandomChain(
        pipeline,
        "in" if head is None else "head",
        draw(st.sampled_from([1, 3])),
        [node.name for node in pipeline.draft.nodes][::2],
        timed,
        draw(st.lists(bunches(with_keys=head is not None, with_times=timed), max_size=4)),
    )
