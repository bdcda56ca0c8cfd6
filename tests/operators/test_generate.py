"""A step: what it computes, and whom it blames."""

from __future__ import annotations

import linecache
import traceback
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given, settings

from actorstream.api.pipeline import Pipeline
from actorstream.operators.generate import Place
from actorstream.operators.keyed_process import KeyedProcess, Process
from actorstream.operators.state_declarations import MapState, ValueState
from tests.operators.chains import CHAINS, key, odd, send
from tests.operators.random_chains import RandomChain, append, in_pieces, in_two_parts, random_chains, whole
from tests.operators.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorstream.api.stream import Stream
    from actorstream.operators.contexts import Context, ElementContext
    from actorstream.operators.step_text import Lists

# ---- what it computes


@settings(max_examples=200, deadline=None)
@given(random_chains())
def test_step_computes_what_its_operators_mean_in_whatever_batches(chain: RandomChain) -> None:
    """T136: random trees, keyed operators inside and at the head, to one or three receivers, against an interpreter.

    A batch is done whole, in pieces, and in pieces that are cut in two at the key.
    """
    expected = chain.meaning()

    assert chain.steps(whole) == expected
    assert chain.steps(in_pieces) == expected
    if chain.name == "in" and chain.rig().chain.keyed_inside:
        assert chain.steps(in_two_parts) == expected


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


class Passing(KeyedProcess[int, int, int]):
    """Gives its records on."""

    def on_element(self, value: int, ctx: Context[int], /) -> list[int]:
        """Give it on."""
        return [value]


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
    "sum": lambda s: s.key_by(key).sum(fails_on(3), name="bad"),
    "latest": lambda s: s.key_by(key).latest(fails_on(3), name="bad").sink(print),
    "map_with_state": lambda s: s.key_by(key).map_with_state(0, fails_on(3, lambda a, b: (a, b)), name="bad"),
    "process": lambda s: s.key_by(key).process(FussyAtOnce, name="bad").sink(print),
    "generator of a process": lambda s: s.key_by(key).process(Fussy, name="bad").sink(str),
    "map behind a process": lambda s: s.key_by(key).process(Fussy, name="p").map(fails_on(2), name="bad"),
    "key behind a count": lambda s: s.key_by(key).count(name="bad").key_by(lambda kv: fails_on(3)(kv[1])).count(),
}


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("name", FAILING)
def test_error_is_located_at_its_operator_and_record(name: str, parallelism: int, before: int) -> None:
    """The third record of a piece fails, wherever in the chain and in its batch that shows; a count's is its third."""
    pipeline = Pipeline("t")
    stream = pipeline.source([0], name="in")
    FAILING[name](stream)
    chains = {node.name: node for node in pipeline.draft.nodes}
    keyed = any(word in name for word in ("reduce", "fold", "latest", "state", "process", "count", "sum"))
    head = next(name for name in ("p", "bad") if name in chains) if keyed else "in"
    rig = Rig(pipeline, head, parallelism=parallelism)
    values: list[int] = [1, 2, 3, 4]
    if "reduce" in name or "behind a process" in name:
        values = [1, 5, 3, 4] if "reduce" in name else [1, 4, 2, 5]
    batch = [3] * before + values + [0]
    keys = [7] * len(batch) if keyed else None

    with pytest.raises(BoomError) as failure:
        rig.step.run(batch, keys, [0] * len(batch), None, before, 4)

    operator = "bad" if "bad" in chains else "in"
    assert rig.step.locate(failure.value.__traceback__) == Place(operator, 2, values[2])


@pytest.mark.parametrize("make", [list, tuple])
@pytest.mark.parametrize("bad", ["first", "second", "third", "last"])
@pytest.mark.parametrize("before", [0, 3])
def test_error_in_calls_around_calls_is_that_of_its_operator(bad: str, before: int, make: Any) -> None:
    """Each call stands on a line of its own, though they are one expression."""

    def step(name: str) -> Callable[[int], int]:
        return fails_on(2) if name == bad else lambda value: value

    pipeline = Pipeline("t")
    stream: Stream[int] = pipeline.source([0], name="in")
    for name in ("first", "second", "third"):
        stream = stream.map(step(name), name=name)
    stream.sink(step("last"), name="last")
    rig = Rig(pipeline, "in")

    with pytest.raises(BoomError) as failure:
        rig.step.run(make([2] * before + [0, 2, 1, 2]), None, None, None, before, 3)

    assert rig.step.source.count("(e)") == 1
    assert rig.step.locate(failure.value.__traceback__) == Place(bad, 1, 2)


INSIDE: dict[str, tuple[str, Callable[[Stream[int]], object]]] = {
    "map before the key": ("bad", lambda s: s.map(fails_on(3), name="bad").key_by(odd).count(name="n")),
    "key": ("m", lambda s: s.map(abs, name="m").key_by(fails_on(3)).count(name="n")),
    "key made by a getter": (
        "m",
        lambda s: s.map(lambda v: [] if v == 3 else [v], name="m").key_by(itemgetter(0)).count(),
    ),
    "fold": ("bad", lambda s: s.map(abs).key_by(odd).fold(0, ADD, name="bad")),
    "sum": ("bad", lambda s: s.map(abs).key_by(odd).sum(fails_on(3), name="bad")),
    "sum with a getter": (
        "bad",
        lambda s: s.map(lambda v: [] if v == 3 else [v]).key_by(len).sum(itemgetter(0), name="bad"),
    ),
    "process": ("bad", lambda s: s.map(abs).key_by(key).process(FussyAtOnce, name="bad").sink(str)),
    "map after it": (
        "bad",
        lambda s: s.key_by(key).process(Passing, name="p").map(abs).map(fails_on(3), name="bad").map(abs).sink(str),
    ),
    "beside it": ("bad", lambda s: (s.key_by(odd).count(name="n"), s.map(abs).sink(fails_on(3), name="bad"))),
}


@pytest.mark.parametrize("part", ["whole", "in two"])
@pytest.mark.parametrize("before", [0, 5])
@pytest.mark.parametrize("name", INSIDE)
def test_error_in_a_chain_with_its_key_inside_is_located(name: str, before: int, part: str) -> None:
    """Whether the chain is done at once or in two parts."""
    operator, build = INSIDE[name]
    pipeline = Pipeline("t")
    build(pipeline.source([0], name="in"))
    rig = Rig(pipeline, "in")
    assert rig.chain.keyed_inside
    steps = [rig.step] if part == "whole" else [rig.part("before key"), rig.part("after key")]
    batch: Any = range(1 - before, 6)

    def run() -> None:
        given: Any = (batch, None, [0] * len(batch), None, before, 4)
        for step in steps:
            results = step.run(*given)
            for outlet, result in zip(step.outlets, results, strict=True):
                if outlet.kind == "keyed":
                    lists = cast("Lists", result)
                    given = (*lists, 0, len(lists.values))

    with pytest.raises((BoomError, IndexError)) as failure:
        run()

    place = next(place for step in steps if (place := step.locate(failure.value.__traceback__)) is not None)
    assert (place.operator, place.offset) == (operator, 2)


@pytest.mark.parametrize("start", [0, 4])
def test_error_in_the_direct_key_path_is_located_too(start: int) -> None:
    """There `list(map(key, batch))` runs without a loop of ours."""
    pipeline = Pipeline("t")
    pipeline.source([0], name="in").key_by(fails_on(3)).count(new_chain=True)
    rig = Rig(pipeline, "in")

    with pytest.raises(BoomError) as failure:
        rig.step.run([*[3] * start, 1, 2, 3, 4], None, None, None, start, 4)

    assert "for " not in rig.step.source
    assert rig.step.locate(failure.value.__traceback__) == Place("in", 2, 3)


def test_direct_keys_of_a_piece_leave_the_timestamps_of_the_others_in_step() -> None:
    """The receiver that wants no event time gets a slice; the process beside it goes on with the same records."""
    pipeline = Pipeline("t")
    stream = pipeline.source([0], name="in")
    stream.key_by(key).count(new_chain=True)
    stream.key_by(key).process(Passing, name="p", new_chain=True)
    rig = Rig(pipeline, "in")

    plain, timed = rig.step.run([1, 2, 3, 4], None, [10, 20, 30, 40], None, 2, 2)

    assert plain == ([3, 4], [3, 4], None, None)
    assert timed == ([3, 4], [3, 4], [30, 40], None)


@pytest.mark.parametrize("values", [range(1, 5), (1, 2, 3, 4)])
@pytest.mark.parametrize("piece", [(0, 4), (1, 2)])
def test_a_batch_that_goes_on_as_it_is_is_a_list(values: Any, piece: tuple[int, int]) -> None:
    """What is sent may cross a process boundary, where a range is nothing that can be encoded."""
    pipeline = Pipeline("t")
    pipeline.source([0], name="in").key_by(key).count(new_chain=True)
    start, count = piece

    (lists,) = Rig(pipeline, "in").step.run(values, None, None, None, start, count)

    assert lists == (list(values[start : start + count]), list(values[start : start + count]), None, None)


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

    assert "f1(e)\n" in "".join(traceback.format_exception(failure.value))
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


def test_a_process_behind_a_filter_is_told_exact_times() -> None:
    """Behind a filter times are made exact where they are used: a handler's context uses them (found by reading)."""

    class Note(Process[float, float]):
        """Notes what it is told."""

        def on_element(self, value: float, ctx: ElementContext, /) -> None:
            """Note it."""
            told.append((cast("Any", ctx).event_time_us, cast("Any", ctx).watermark_us))

    told: list[tuple[int, int]] = []
    pipeline = Pipeline("times")
    timed = pipeline.source([1.0], name="in").assign_timestamps(lambda value: value + 0.1000004, name="time")
    timed.filter(lambda _: True, name="all").process(Note, name="note").sink(print, name="out")

    Rig(pipeline, "in").run([1.0, 3.0])

    assert [(time, type(time)) for time, _ in told] == [(1_100_000, int), (3_100_000, int)]
    assert told[1][1] == 1_100_000 - 1
