"""A step: what it computes, and whom it blames."""

from __future__ import annotations

import linecache
import traceback
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.api.pipeline import Pipeline
from actorstream.operators.generate import Place
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import MapState, ValueState
from tests.operators.chains import CHAINS, key, odd, send
from tests.operators.interpreter import Interpreter
from tests.operators.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorstream.api.keyed import KeyedStream
    from actorstream.api.stream import Stream
    from actorstream.operators.keyed_process import Context

# ---- what it computes


def number(value: Any) -> int:
    """Make a number of whatever an operator emits."""
    return value if isinstance(value, int) else sum(map(number, value))


def some(value: Any) -> list[int] | None:
    count = number(value) % 4
    return None if count == 3 else [count] * count


def append(values: list[int], value: int) -> list[int]:
    values.append(value)
    return values


def newest(value: int) -> int | None:
    return None if value % 5 == 0 else value


STATELESS: list[Callable[[Stream[Any]], Stream[Any]]] = [
    lambda s: s.map(number),
    lambda s: s.map(lambda v: (number(v), 1)),
    lambda s: s.filter(lambda v: number(v) % 3 > 0),
    lambda s: s.flat_map(some),
]
ENDS: list[Callable[[Stream[Any]], object]] = [
    lambda s: s.sink(str),
    lambda s: s.key_by(lambda v: number(v) % 7).count(),
    lambda s: s.rebalance().map(number),
]
HEADS: list[Callable[[KeyedStream[int, int]], Stream[Any]]] = [
    lambda k: k.count(name="head"),
    lambda k: k.reduce(lambda a, b: a + b, name="head"),
    lambda k: k.fold(0, lambda a, b: a * 2 + b, name="head"),
    lambda k: k.fold(list[int](), append, name="head"),
    lambda k: k.latest(newest, name="head"),
    lambda k: k.map_with_state((0, 0), lambda s, v: ((s[1], v), sum(s)), name="head"),
]
tree = st.recursive(
    st.sampled_from(ENDS).map(lambda end: (end, ())),
    lambda below: st.tuples(st.sampled_from(STATELESS), st.lists(below, max_size=3).map(tuple)),
    max_leaves=6,
)


def grow(stream: Stream[Any], part: Any) -> None:
    step, below = part
    grown = step(stream)
    for child in below:
        grow(grown, child)


def send_of(rig: Rig, results: tuple[Any, ...]) -> tuple[dict[Any, list[Any]], dict[str, list[Any]]]:
    """Sort what a step gave: by receiver, and by tapped operator."""
    names = {node.id: node.name for node in rig.chain.nodes}
    sent: dict[Any, list[Any]] = defaultdict(list)
    tapped: dict[str, list[Any]] = defaultdict(list)
    for outlet, result in zip(rig.step.outlets, results, strict=True):
        if outlet.kind == "tap":
            tapped[names[outlet.node]] += result.values
        elif outlet.exchange is not None:
            for target, lists in enumerate(result if isinstance(result, list) else [result]):
                keys = lists.keys or [None] * len(lists.values)
                place = (outlet.exchange.sender, outlet.exchange.receiver, target)
                sent[place] += list(zip(lists.values, keys, strict=True))
    return sent, tapped


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_step_computes_what_its_operators_mean_in_whatever_batches(data: st.DataObject) -> None:
    """Random trees behind a source or a keyed operator, to one or three receivers, against an interpreter (T136)."""
    below = data.draw(st.lists(tree, max_size=3))
    heads: list[Any] = [None, *HEADS]
    head = heads[data.draw(st.integers(0, len(heads) - 1))]
    pipeline = Pipeline("random")
    start: Stream[Any] = pipeline.source([0], name="in")
    stream = start if head is None else head(start.key_by(key))
    for part in below:
        grow(stream, part)
    chain_name = "in" if head is None else "head"
    names = [node.name for node in pipeline.draft.nodes]
    rig = Rig(pipeline, chain_name, parallelism=data.draw(st.sampled_from([1, 3])), taps=names[::2])
    meant = Interpreter(rig.plan, chain_name)
    sent: dict[Any, list[Any]] = defaultdict(list)
    tapped: dict[str, list[Any]] = defaultdict(list)
    for values in data.draw(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8), max_size=4)):
        keys = None if head is None else [value % 3 for value in values]
        meant.feed(values, keys)
        for gathered, new in zip((sent, tapped), send_of(rig, rig.run(values, keys)), strict=True):
            for place, records in new.items():
                gathered[place] += records
        if rig.state is not None:
            rig.state.freeze()

    assert {place: records for place, records in sent.items() if records} == meant.sent
    tapped_names = set(names[::2])
    assert {name: records for name, records in tapped.items() if records} == {
        name: records for name, records in meant.tapped.items() if name in tapped_names and records
    }


def test_folded_list_is_not_the_one_that_was_emitted() -> None:
    """T125: what was emitted is changed by nobody, least of all by the next record of its key."""
    seen: list[tuple[int, list[int]]] = []
    pipeline = Pipeline("t")
    pipeline.source([0]).key_by(key).fold(list[int](), append, name="head").sink(seen.append)
    rig = Rig(pipeline, "head")

    rig.run([1, 2, 3], [7, 7, 8])

    assert seen == [(7, [1]), (7, [1, 2]), (8, [3])]
    assert rig.rows() == {7: [1, 2], 8: [3]}


def test_fold_that_starts_with_none_and_goes_on_with_a_list_keeps_it_to_itself() -> None:
    """T125: that the initial value cannot change says nothing of those that follow."""
    seen: list[tuple[int, list[int] | None]] = []
    pipeline = Pipeline("t")

    def push(values: list[int] | None, value: int) -> list[int] | None:
        return append([] if values is None else values, value)

    start: list[int] | None = None
    pipeline.source([0]).key_by(key).fold(start, push, name="head").sink(seen.append)
    Rig(pipeline, "head").run([1, 2], [7, 7])

    assert seen == [(7, [1]), (7, [1, 2])]


def test_reduce_that_changes_its_value_changes_neither_records_nor_what_was_emitted() -> None:
    """T125: the first record is the value, but it also belongs to the source, which may give it again."""
    records = [[1], [2], [3]]
    seen: list[tuple[int, list[int]]] = []

    def extend(values: list[int], more: list[int]) -> list[int]:
        values += more
        return values

    pipeline = Pipeline("t")
    pipeline.source([[0]]).key_by(len).reduce(extend, name="head").sink(seen.append)
    Rig(pipeline, "head").run(records, [1, 1, 1])

    assert seen == [(1, [1]), (1, [1, 2]), (1, [1, 2, 3])]
    assert records == [[1], [2], [3]]


# ---- whom it blames


class BoomError(Exception):
    """A user's."""


def fails_on(bad: object, otherwise: Any = None) -> Callable[..., Any]:
    def fn(*values: Any) -> Any:
        if values[-1] == bad:
            raise BoomError(str(bad))
        return otherwise(*values) if otherwise is not None else values[-1]

    return fn


def lazily(value: int) -> Iterator[int]:
    yield value
    if value == 3:
        raise BoomError("3")


class Fussy(KeyedProcess[int, int, int]):
    """Raises inside its generator, after it has emitted."""

    def on_element(self, value: int, ctx: Context[int], /) -> Iterator[int]:
        """Give the record on, then fail with 3."""
        yield from lazily(value)


class FussyAtOnce(KeyedProcess[int, int, int]):
    """Raises before anything is emitted."""

    seen: ValueState[int] = ValueState(0)
    days: MapState[int, int] = MapState()

    def on_element(self, value: int, ctx: Context[int], /) -> list[int]:
        """Fail with 3."""
        self.seen += 1
        return [fails_on(3)(value)]


ADD = fails_on(3, lambda a, b: a + b)
FAILING: dict[str, Callable[[Stream[int]], object]] = {
    "map": lambda s: s.map(fails_on(3), name="bad").sink(print),
    "map behind a filter": lambda s: s.filter(odd).map(fails_on(3), name="bad").sink(print),
    "filter": lambda s: s.filter(fails_on(3), name="bad").map(abs),
    "flat_map": lambda s: s.flat_map(fails_on(3, lambda v: [v, v]), name="bad").sink(print),
    "generator of a flat_map": lambda s: s.flat_map(lazily, name="bad").sink(str),
    "map behind a flat_map": lambda s: s.flat_map(lambda v: [v, v]).map(fails_on(3), name="bad"),
    "sink": lambda s: s.sink(fails_on(3), name="bad"),
    "sink behind a map": lambda s: s.map(abs).sink(fails_on(3), name="bad"),
    "key_by": lambda s: (s.map(abs, name="other"), s.key_by(fails_on(3)).count()),
    "reduce": lambda s: s.key_by(key).reduce(ADD, name="bad"),
    "fold": lambda s: s.key_by(key).fold(0, ADD, name="bad"),
    "latest": lambda s: s.key_by(key).latest(fails_on(3), name="bad").sink(print),
    "map_with_state": lambda s: s.key_by(key).map_with_state(0, fails_on(3, lambda a, b: (a, b)), name="bad"),
    "process": lambda s: s.key_by(key).process(FussyAtOnce, name="bad").sink(print),
    "generator of a process": lambda s: s.key_by(key).process(Fussy, name="bad").sink(str),
    "map behind a process": lambda s: s.key_by(key).process(Fussy, name="p").map(fails_on(2), name="bad"),
    "key behind a count": lambda s: s.key_by(key).count(name="bad").key_by(lambda kv: fails_on(3)(kv[1])).count(),
}


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("name", FAILING)
def test_error_is_located_at_its_operator_and_record(name: str, parallelism: int) -> None:
    """The third record fails, wherever in the chain that shows; a count is keyed, and its third value is 3."""
    pipeline = Pipeline("t")
    stream = pipeline.source([0], name="in")
    FAILING[name](stream)
    chains = {node.name: node for node in pipeline.draft.nodes}
    keyed = "key_by" not in name and any(word in name for word in ("reduce", "fold", "latest", "state", "process"))
    keyed = keyed or "count" in name
    head = "in"
    if keyed:
        head = next(name for name in ("p", "bad") if name in chains)
    rig = Rig(pipeline, head, parallelism=parallelism)
    values: list[int] = [1, 2, 3, 4]
    keys = [7, 7, 7, 7] if keyed else None
    if "reduce" in name or "behind a process" in name:
        values = [1, 5, 3, 4] if "reduce" in name else [1, 4, 2, 5]

    with pytest.raises(BoomError) as failure:
        rig.run(values, keys, [0, 0, 0, 0])

    operator = "bad" if "bad" in chains else "in"
    assert rig.step.locate(failure.value.__traceback__) == Place(operator, 2, values[2])


def test_error_in_the_direct_key_path_is_located_too() -> None:
    """There `list(map(key, batch))` runs without a loop of ours."""
    pipeline = Pipeline("t")
    pipeline.source([0], name="in").key_by(fails_on(3)).count()
    rig = Rig(pipeline, "in")

    with pytest.raises(BoomError) as failure:
        rig.run([1, 2, 3, 4])

    assert "for " not in rig.step.source
    assert rig.step.locate(failure.value.__traceback__) == Place("in", 2, 3)


def test_error_from_elsewhere_has_no_place() -> None:
    """Whoever asks about any error gets an answer."""
    rig = CHAINS["count"]()
    with pytest.raises(BoomError) as failure:
        fails_on(1)(1)

    assert rig.step.locate(failure.value.__traceback__) is None
    assert rig.step.locate(None) is None


def test_traceback_shows_the_generated_line_until_the_step_is_forgotten() -> None:
    """A user who reads the traceback sees code, not a file that does not exist."""
    pipeline = Pipeline("t")
    pipeline.source([0], name="in").map(fails_on(1)).sink(print)
    rig = Rig(pipeline, "in")

    with pytest.raises(BoomError) as failure:
        rig.run([1])

    assert "x1 = f1(e)" in "".join(traceback.format_exception(failure.value))
    rig.step.forget()
    assert rig.step._file not in linecache.cache


def test_called_functions_are_counted_as_often_as_they_were_called() -> None:
    """The count is what the job calls records delivered."""
    rig = CHAINS["stateless chain"]()

    assert rig.run([1, 2, -3]) == (4,)


def test_async_function_is_not_called_in_the_loop() -> None:
    """Its records are handed out, to be awaited by the actor."""
    pipeline = Pipeline("t")
    pipeline.source([0], name="in").sink(send)

    assert Rig(pipeline, "in").emitted([1, 2]) == [1, 2]
