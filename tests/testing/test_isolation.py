"""`harness(isolate=True)` finds operators that work only because they share objects, and names them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, ClassVar

import pytest

from actorstream import Context, JobFailed, KeyedProcess, Pipeline, Tumbling, ValueState
from actorstream.testing.harness import harness
from actorstream.testing.isolation import RecordChangedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class Order:
    customer: str
    amount: int


def discount(order: Order) -> Order:
    order.amount //= 2
    return order


async def test_one_who_changes_what_it_is_given_is_named() -> None:
    """T125: the other branch would see half the amount, or not, depending on who runs first."""
    pipeline = Pipeline("shop")
    source: list[Order] = []
    orders = pipeline.source(source)
    orders.map(discount, name="discount")
    orders.key_by(lambda order: order.customer).sum(lambda order: order.amount, name="turnover")
    async with harness(pipeline, isolate=True) as h:
        with pytest.raises(
            RecordChangedError,
            match=r"discount has changed a record that it had been given: Order\(.*amount=9\) became .*amount=4\)",
        ):
            await h.send(source, Order("ann", 9))


class Buffers(KeyedProcess[int, str, list[str]]):
    """Emits the list that it goes on filling."""

    def __init__(self) -> None:
        self.buffer: list[str] = []

    def on_element(self, element: str, ctx: Context[int]) -> Iterator[list[str]]:
        self.buffer.append(element)
        yield self.buffer


async def test_one_who_changes_what_it_has_emitted_is_named() -> None:
    """T125: within a batch, where a buffered record would change under those who read it later."""
    pipeline = Pipeline("p")
    source: list[str] = []
    pipeline.source(source).key_by(len).process(Buffers, name="buffers").map(list)
    async with harness(pipeline, isolate=True) as h:
        await h.send(source, "a")
        with pytest.raises(
            RecordChangedError,
            match=re.escape("buffers has changed a record that it had emitted: ['b'] became ['b', 'c']"),
        ):
            await h.send(source, "b", "c")


class InPlace(KeyedProcess[int, str, int]):
    """State may be changed in place."""

    words: ValueState[list[str]] = ValueState(factory=list)

    def on_element(self, element: str, ctx: Context[int]) -> Iterator[int]:
        self.words.append(element)
        yield len(self.words)


def in_place(pipeline: Pipeline, source: list[str]) -> None:
    pipeline.source(source).key_by(len).process(InPlace)


def shared(pipeline: Pipeline, source: list[str]) -> None:
    lists = pipeline.source(source).map(list)
    lists.map(lambda each: [*each, "!"]).union(lists).filter(bool)


@pytest.mark.parametrize("build", [in_place, shared])
async def test_those_who_keep_to_the_rule_are_left_alone(build: Callable[[Pipeline, list[str]], None]) -> None:
    """State is an operator's own; a record may be read by many."""
    pipeline = Pipeline("p")
    source: list[str] = []
    build(pipeline, source)
    async with harness(pipeline, isolate=True) as h:
        for _ in range(3):
            await h.send(source, "a", "b", "cd")


async def test_results_are_those_of_a_run_without() -> None:
    """State passes through a checkpoint after each call, and nothing of it is lost."""
    pipeline = Pipeline("p")
    source: list[str] = []
    counts = pipeline.source(source).key_by(len).process(InPlace)
    async with harness(pipeline, isolate=True, parallelism=2) as h:
        await h.send(source, "a", "b")
        await h.send(source, "c", "dd")
        await h.crash_and_recover()

        assert h.outputs(counts) == [1, 2, 3, 1]


async def test_event_time_passes_as_without() -> None:
    """Times are assigned beside the source, so that a watermark of the test gets to the window."""
    pipeline = Pipeline("p")
    source: list[tuple[str, float]] = []
    timed = pipeline.source(source).filter(bool).assign_timestamps(itemgetter(1))
    counts = timed.key_by(itemgetter(0)).window(Tumbling(10)).count(name="counts")
    async with harness(pipeline, isolate=True) as h:
        await h.send(source, ("a", 1.0), ("b", 3.0), ("a", 2.0))
        await h.advance(watermark=10)

        assert [(result.key, result.value) for result in h.outputs(counts)] == [("a", 2), ("b", 1)]


class Counts(KeyedProcess[int, str, int]):
    """Remembers outside its declared state."""

    def __init__(self) -> None:
        self.seen = 0

    def on_element(self, element: str, ctx: Context[int]) -> Iterator[int]:
        self.seen += 1
        yield self.seen


async def test_what_is_kept_outside_of_state_does_not_last() -> None:
    """Operators are built anew after each call: what a restart would lose is lost in the test."""
    pipeline = Pipeline("p")
    source: list[str] = []
    counts = pipeline.source(source).key_by(len).process(Counts)
    async with harness(pipeline, isolate=True) as h:
        await h.send(source, "a")
        await h.send(source, "a")

        assert h.outputs(counts) == [1, 1]


class Keeps(KeyedProcess[str, str, list[str]]):
    """Keeps a key's list beyond the handler, and adds to that."""

    items: ValueState[list[str]] = ValueState(factory=list)
    kept: ClassVar[dict[str, list[str]]] = {}

    def on_element(self, element: str, ctx: Context[str]) -> Iterator[list[str]]:
        """Add one."""
        self.kept.setdefault(ctx.key, self.items).append(element)
        yield list(self.items)


async def test_a_state_object_that_is_kept_is_not_the_states_any_more() -> None:
    """What is done to it after its handler is lost, as it would be with the next restart."""
    Keeps.kept.clear()
    pipeline = Pipeline("p")
    source: list[str] = []
    lists = pipeline.source(source).key_by(lambda _: "k").process(Keeps)
    async with harness(pipeline, isolate=True) as h:
        await h.send(source, "a")
        await h.send(source, "b")
        await h.send(source, "c")

        assert h.outputs(lists) == [["a"], ["a"], ["a"]]
    assert Keeps.kept == {"k": ["a", "b", "c"]}


async def test_records_that_could_not_cross_a_process_are_told_with_their_operator() -> None:
    pipeline = Pipeline("p")
    source: list[str] = []
    pipeline.source(source).map(lambda text: object(), name="wrap").map(str)
    async with harness(pipeline, isolate=True) as h:
        with pytest.raises(JobFailed, match=r"wrap emits to map-2 what has no encoding: .*object"):
            await h.send(source, "a")
