"""Records that are in memory already: taken where they are, no further ahead than the chain is."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from itertools import pairwise
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.api.run import Run
from actorstream.errors import JobFailed, UserCodeError
from actorstream.model.connect import Fetched, InMemorySource, Taken
from actorstream.protocol.restart import Restart
from actorstream.runtime.piece_sizes import SLICE_RECORDS_FIRST, SLICE_RECORDS_MAX
from tests.runtime.doubles import Splits, Target, settle
from tests.runtime.test_source import reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

KINDS: dict[str, Callable[[range], Sequence[int]]] = {
    "list": list,
    "tuple": tuple,
    "range": lambda numbers: numbers,
    "deque": deque,
}
any_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


class Shelves:
    """Several splits in memory. `taken` notes what was asked for; `fail_at` breaks a split once, at a position."""

    def __init__(self, splits: dict[str, Sequence[int]]) -> None:
        self.records = splits
        self.taken: list[tuple[str, int | None]] = []
        self.fail_at: dict[tuple[str, int], Exception] = {}

    async def splits(self) -> Sequence[str]:
        """Name them."""
        return list(self.records)

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, int]]:
        """Not for a job: it takes."""
        raise AssertionError("a source in memory is taken from, not read")
        yield

    def take_in_memory(self, split: str, after: int | None, count: int, /) -> Taken[int, int] | None:
        """Show at most `count` records."""
        self.taken.append((split, after))
        values = self.records[split]
        start = 0 if after is None else after + 1
        for (broken, at), error in list(self.fail_at.items()):
            if broken == split and start >= at:
                del self.fail_at[broken, at]
                raise error
        stop = min(start + count, len(values))
        return None if start == stop else Taken(values, start, stop - start, stop - 1)


def shelves() -> Shelves:
    return Shelves(
        {"a": range(700), "b": tuple(range(1_000, 1_300)), "c": [], "d": list(range(5_000, 5_900)), "e": [9_000]}
    )


def everything(source: Shelves) -> list[int]:
    return [value for values in source.records.values() for value in values]


def test_double_is_a_source_in_memory() -> None:
    assert isinstance(shelves(), InMemorySource)


# ---- what is taken


class Lending(Splits[int]):
    """A source of somebody's, with a method of that somebody."""

    def take(self, title: str) -> str:
        """Have nothing to do with us."""
        raise AssertionError(title)


async def test_a_method_of_the_users_is_not_taken_for_ours() -> None:
    found: list[int] = []
    pipeline = Pipeline("t")
    pipeline.source(Lending({"a": [1, 2, 3]})).sink(found.append)
    await pipeline.run()

    assert found == [1, 2, 3]


@any_kind
@pytest.mark.parametrize("length", [0, 1, SLICE_RECORDS_FIRST, 3_000])
async def test_every_record_of_any_kind_of_sequence_comes_once_in_order(
    kind: Callable[[range], Sequence[int]], length: int
) -> None:
    target = Target()
    summary = await reading(kind(range(length)), sink=target).run()

    assert target.committed == list(range(length))
    assert summary.records_in == length


@any_kind
@pytest.mark.parametrize("new_chain", [False, True], ids=["one actor", "two actors"])
async def test_every_kind_of_sequence_can_go_over_the_wire(
    kind: Callable[[range], Sequence[int]], new_chain: bool
) -> None:
    """What is sent is a batch of lists: a range or a deque has no encoding."""
    seen: list[tuple[int, int]] = []
    pipeline = Pipeline("t")
    keyed = pipeline.source(kind(range(1_500)), name="in").key_by(lambda v: v % 3)
    keyed.count(name="n", new_chain=new_chain).sink(seen.append)
    await Run(pipeline.draft.graph(), {}, wire=True)

    assert seen == [(v % 3, v // 3 + 1) for v in range(1_500)]


@pytest.mark.parametrize("parallelism", [1, 2, 3, 8])
async def test_every_subtask_takes_from_its_own_splits(parallelism: int) -> None:
    """With eight, three have nothing and end at once."""
    source, target = shelves(), Target()
    summary = await reading(source, sink=target, parallelism=parallelism).run()

    assert Counter(target.committed) == Counter(everything(source))
    assert summary.records_in == len(everything(source))


async def test_splits_of_one_subtask_take_turns() -> None:
    """None has to wait until another has ended."""
    source = Shelves({"a": range(10_000), "b": range(10_000)})
    await reading(source).run()

    assert [split for split, _ in source.taken[:6]] == ["a", "b", "a", "b", "a", "b"]


async def test_what_is_taken_is_what_is_done() -> None:
    """No task reads ahead: a sink that waits holds the taking up, and credit bounds it where there is a hop."""
    released = asyncio.Event()

    async def take(_: object) -> None:
        await released.wait()

    source = Shelves({"a": range(10_000)})
    async with reading(source, sink=take).run() as job:
        await settle(200)
        assert source.taken == [("a", None)]
        released.set()
        await job.wait()
    released.clear()
    source = Shelves({"a": range(100_000)})
    pipeline = Pipeline("t")
    pipeline.source(source, name="in").map(abs, name="m", new_chain=True).sink(take)
    async with pipeline.run() as job:
        await settle(500)
        assert len(source.taken) < 20
        released.set()
        await job.wait()


async def test_pieces_grow_to_the_same_size_as_any() -> None:
    """Though nothing cuts them from a batch."""
    source = Shelves({"a": range(100_000)})
    pipeline = Pipeline("t")
    pipeline.source(source, name="in").rebalance().map(abs)
    await pipeline.run()

    taken = [-1 if after is None else after for _, after in source.taken]
    sizes = [second - first for first, second in pairwise(taken)]
    assert sizes[0] == SLICE_RECORDS_FIRST
    assert max(sizes) <= SLICE_RECORDS_MAX


async def test_host_has_its_turns_while_a_long_sequence_is_taken() -> None:
    """Nothing waits between two pieces, so it is the burst that ends a turn."""
    pipeline = Pipeline("t")
    pipeline.source(range(10**9), name="in").map(abs).sink(str)
    turns = 0
    async with pipeline.run() as job:
        while job.summary().records_in < 2_000_000:
            await anyio.lowlevel.checkpoint()
            turns += 1
    assert turns > 5


# ---- errors


async def test_split_that_cannot_be_taken_from_is_named_with_its_position() -> None:
    source = Shelves({"a": range(100)})
    source.fail_at["a", 16] = ConnectionError("gone")

    with pytest.raises(JobFailed) as failed:
        await reading(source).run()

    error = failed.value.__cause__
    assert isinstance(error, UserCodeError)
    assert (error.operator, error.subtask, error.position) == ("in", 0, ("a", 15))
    assert str(error).startswith(
        "source in (subtask 0) raised ConnectionError while reading split 'a' after position 15"
    )


@any_kind
async def test_error_in_a_later_piece_names_its_record(kind: Callable[[range], Sequence[int]]) -> None:
    """The batch is the whole sequence: its place is counted from the piece."""

    def fail(value: int) -> int:
        if value == 70:
            raise ValueError("no")
        return value

    pipeline = Pipeline("t")
    pipeline.source(kind(range(100)), name="in").map(fail, name="bad").sink(str)
    with pytest.raises(JobFailed) as failed:
        await pipeline.run(restart=Restart.never())

    error = failed.value.__cause__
    assert isinstance(error, UserCodeError)
    assert (error.operator, error.record) == ("bad", 70)
    assert f"at record {70 - SLICE_RECORDS_FIRST + 1} of a batch, of type int" in str(error)
