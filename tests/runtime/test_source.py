"""Sources: positions of what was emitted, pumps that no barrier touches, splits that come and go."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.api.run import Run
from actorstream.checkpoints.view import StoreView
from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import JobFailed, RestoreError, UserCodeError
from actorstream.model.connect import Fetched, replayable
from actorstream.model.ids import CheckpointId, SubtaskId
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.protocol.restart import Restart
from actorstream.runtime.mailbox import LANE_BYTES
from actorstream.system.files import RealFiles
from tests.runtime.doubles import Splits, Target, settle, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from actorstream.checkpoints.manifest import Manifest
    from actorstream.operators.contexts import Context


def reading(source: Any, *, sink: Any = None, name: str = "t", parallelism: int = 1) -> Pipeline:
    pipeline = Pipeline(name)
    pipeline.source(source, name="in", parallelism=parallelism).sink(sink or Target(), name="out", parallelism=1)
    return pipeline


def manifest_of(store: Path, checkpoint: int, name: str = "t") -> Manifest:
    """Read a manifest of a job that has ended, or is between two checkpoints."""
    return StoreView(RealFiles(), str(store / name)).read(CheckpointId(checkpoint))


def positions(store: Path, checkpoint: int, source: str = "in") -> dict[str, tuple[object, bool]]:
    splits = manifest_of(store, checkpoint).sources[source]
    return {
        name: (None if entry.position is None else SELF_DESCRIBING.decode(entry.position), entry.finished)
        for name, entry in splits.items()
    }


async def test_snapshot_holds_the_position_of_the_last_emitted_record_not_of_the_last_fetched(tmp_path: Path) -> None:
    """T99: the pump has read far ahead into its lane, while a sink that waits holds the actor up."""
    source = Splits({"a": list(range(1_000))}, batch=10)
    pipeline = Pipeline("t")
    taken: list[int] = []
    released = asyncio.Event()

    async def take(value: int) -> None:
        taken.append(value)
        if len(taken) >= 25:
            await released.wait()

    async def ask() -> None:
        answers.append(await job.checkpoint())

    answers: list[int] = []
    pipeline.source(source, name="in").sink(take)
    async with pipeline.run(store=tmp_path, checkpoint_interval=None) as job:
        await until(lambda: len(taken) == 25)
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await settle()
            released.set()
        at = positions(tmp_path, answers[0])["a"][0]
    assert at == 29, "the third Fetched, which was at work: a barrier never falls inside one"


async def test_pump_is_never_cancelled_by_a_barrier(tmp_path: Path) -> None:
    """T133: an async generator whose `anext` is cancelled has ended, and its next `anext` says so."""
    source = Splits({"a": list(range(100))}, allowed=30, ended=False)
    target = Target()
    async with reading(source, sink=target).run(store=tmp_path, checkpoint_interval=0.005) as job:
        await until(lambda: len(target.committed) == 30)
        for _ in range(3):
            await job.checkpoint()
        source.allow(60)
        await until(lambda: len(target.committed) == 60)
        assert (source.cancelled, source.closed, source.reads) == (0, 0, [("a", None)])
    assert target.committed == list(range(60))


async def test_generator_is_closed_when_the_job_ends(tmp_path: Path) -> None:
    """Its `finally` blocks hold files and connections."""
    source = Splits({"a": [1], "b": [2]}, ended=False)
    async with reading(source).run(store=tmp_path):
        await until(lambda: len(source.reads) == 2)
    assert source.closed == 2


@pytest.mark.parametrize("fails", [False, True])
async def test_generator_may_wait_more_than_once_while_it_cleans_up(fails: bool) -> None:
    """As the `async with` of any client's connection does, which knows asyncio's cancellation: that comes once."""
    farewells: list[str] = []
    reads = asyncio.Event()

    async def feed() -> AsyncIterator[int]:
        try:
            yield 1
            reads.set()
            await anyio.sleep_forever()
        finally:
            for farewell in ("unsubscribe", "close", "closed"):
                await asyncio.sleep(0.001)
                farewells.append(farewell)

    with contextlib.suppress(ValueError):
        async with reading(feed).run():
            await reads.wait()
            if fails:
                raise ValueError
    assert farewells == ["unsubscribe", "close", "closed"]


async def test_checkpoint_before_anything_is_read_holds_the_restored_positions(tmp_path: Path) -> None:
    """T96: readers that were restored and have not begun yet must not write their splits out of the store."""
    source, target = Splits({"a": list(range(20)), "b": list(range(50, 60))}, allowed=10), Target()
    async with reading(source, sink=target).run(store=tmp_path, checkpoint_interval=None) as job:
        await until(lambda: job.summary().records_in == 20)
    before = positions(tmp_path, 1)
    source.allow(0)
    async with reading(source, sink=target).run(store=tmp_path, checkpoint_interval=None) as job:
        assert positions(tmp_path, await job.checkpoint()) == before
        assert job.summary().records_in == 0
    source.allow(None)
    await reading(source, sink=target).run(store=tmp_path)

    assert Counter(target.committed) == Counter([*range(20), *range(50, 60)])


async def test_what_is_fetched_ahead_is_bounded_in_bytes_too() -> None:
    """A thousand records of megabytes are gigabytes: a pump waits for credit in bytes as any sender does."""
    released = asyncio.Event()
    record = bytes(LANE_BYTES // 2)
    fetched = 0

    class Large:
        async def splits(self) -> Sequence[str]:
            return ["a"]

        async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, bytes]]:
            nonlocal fetched
            for position in range(30):
                fetched += 1
                yield Fetched([record], position)

    async def take(_: bytes) -> None:
        await released.wait()

    async with reading(Large(), sink=take).run() as job:
        await until(lambda: fetched >= 3)
        await settle(100)
        assert fetched <= 4
        released.set()
        assert (await job.wait()).records_in == 30


async def test_split_that_raises_fails_the_job_and_names_source_split_and_position() -> None:
    source = Splits({"a": [1, 2, 3, 4]}, batch=2)
    source.fail_at["a", 2] = ConnectionError("gone")

    with pytest.raises(JobFailed) as failed:
        await reading(source).run()

    error = failed.value.__cause__
    assert isinstance(error, UserCodeError)
    assert isinstance(error.__cause__, ConnectionError)
    assert (error.operator, error.subtask, error.position) == ("in", 0, ("a", error.position[1]))  # type: ignore[index]
    assert str(error).startswith("source in (subtask 0) raised ConnectionError while reading split 'a' after position")


async def test_split_that_raises_is_read_again_from_the_checkpoint(tmp_path: Path) -> None:
    source = Splits({"a": list(range(50))}, batch=5, allowed=20)
    source.fail_at["a", 30] = ConnectionError("gone")
    target = Target()
    pipeline = reading(source, sink=target)
    run = pipeline.run(store=tmp_path, checkpoint_interval=None, restart=Restart.fixed_delay(2, delay=0))
    async with run as job:
        await until(lambda: job.summary().records_in == 20)
        await job.checkpoint()
        source.allow(None)
        await until(lambda: job.summary().restarts == 1)
        source.fail_at.clear()
        summary = await job.wait()
    assert summary.restarts == 1
    assert source.reads == [("a", None), ("a", 19)]
    assert target.committed == list(range(50))


async def test_split_that_ends_early_ends_alone_and_is_not_read_again(tmp_path: Path) -> None:
    """T97: the others go on; what has ended stays ended after a restart."""
    source = Splits({"short": [1], "long": list(range(100, 140))}, allowed=20, ended=True)
    target = Target()
    pipeline = reading(source, sink=target)
    async with pipeline.run(store=tmp_path, checkpoint_interval=None):
        await until(lambda: len(source.reads) == 2 and source.closed == 1)
    source.allow(None)
    source.reads.clear()
    await pipeline.run(store=tmp_path, checkpoint_interval=None)

    assert [split for split, _ in source.reads] == ["long"]
    assert sorted(target.committed) == [1, *range(100, 140)]


async def test_split_that_disappears_with_records_to_give_is_refused_at_restore(tmp_path: Path) -> None:
    """Going on without it would lose them in silence."""
    source = Splits({"a": [1, 2, 3], "b": [4, 5]}, ended=False)
    async with reading(source).run(store=tmp_path) as job:
        await until(lambda: job.summary().records_in == 5)
    del source.records["a"]

    with pytest.raises(
        RestoreError, match=r"source 'in' has no split 'a' any more .*bring it back, or start in another"
    ):
        await reading(source).run(store=tmp_path)


async def test_split_that_disappears_after_its_end_is_fine(tmp_path: Path) -> None:
    source = Splits({"a": [1], "b": list(range(20))}, allowed=10)
    target = Target()
    async with reading(source, sink=target).run(store=tmp_path):
        await until(lambda: source.closed == 1)
    del source.records["a"]
    source.allow(None)
    await reading(source, sink=target).run(store=tmp_path)

    assert Counter(target.committed) == Counter([1, *range(20)])


async def test_new_split_is_read_from_its_start(tmp_path: Path) -> None:
    source = Splits({"a": [1, 2]})
    target = Target()
    await reading(source, sink=target).run(store=tmp_path)
    source.records["b"] = [3, 4]
    source.reads.clear()
    await reading(source, sink=target).run(store=tmp_path)

    assert source.reads == [("b", None)]
    assert target.committed == [1, 2, 3, 4]


@pytest.mark.parametrize("parallelism", [2, 3, 8])
async def test_splits_are_dealt_to_subtasks_also_where_they_do_not_come_out_even(parallelism: int) -> None:
    """Five splits of unequal length; with eight subtasks three have nothing to read and end at once."""
    records = {str(n): [n * 100 + i for i in range(n * 7)] for n in range(5)}
    source = Splits(records)
    target = Target()
    summary = await reading(source, sink=target, parallelism=parallelism).run()

    everything = [record for split in records.values() for record in split]
    assert Counter(target.committed) == Counter(everything)
    assert summary.records_in == len(everything)


async def test_source_without_splits_ends_at_once() -> None:
    target = Target()
    summary = await reading(Splits[int]({}), sink=target).run()

    assert (summary.records_in, target.committed) == (0, [])


async def test_error_while_naming_the_splits_names_the_source() -> None:
    class Broken:
        async def splits(self) -> Sequence[str]:
            raise ConnectionError("no catalogue")

        async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, int]]:
            yield Fetched([1], 1)

    with pytest.raises(JobFailed) as failed:
        await reading(Broken()).run()

    assert isinstance(failed.value.__cause__, UserCodeError)
    assert failed.value.__cause__.operator == "in"


async def test_replayable_generator_goes_on_after_the_position_of_the_checkpoint(tmp_path: Path) -> None:
    starts: list[int | None] = []

    @replayable
    async def ticks(after: int | None) -> AsyncIterator[tuple[int, int]]:
        starts.append(after)
        for n in range(0 if after is None else after + 1, len(starts) * 10):
            yield n, n * n

    target = Target()
    await reading(ticks, sink=target).run(store=tmp_path)
    assert target.committed == [n * n for n in range(10)]
    # The split has ended: a source that may get more does not return.
    await reading(ticks, sink=target).run(store=tmp_path)
    assert starts == [None]


async def test_position_that_cannot_be_stored_names_source_and_split() -> None:
    class Odd:
        async def splits(self) -> Sequence[str]:
            return ["s"]

        async def read(self, split: str, after: object, /) -> AsyncIterator[Fetched[object, int]]:
            yield Fetched([1], object())

    with pytest.raises(JobFailed, match="source in, split 's': its position cannot be stored"):
        await reading(Odd()).run()


async def test_timestamps_of_the_source_reach_a_process() -> None:
    class Times(KeyedProcess[int, int, float]):
        def on_element(self, value: int, ctx: Context[int], /) -> list[float]:
            return [ctx.timestamp.timestamp()]

    class Timed:
        async def splits(self) -> Sequence[str]:
            return ["s"]

        async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, int]]:
            yield Fetched((1, 2), 1, (0.5, 1_000_000_000.25))

    for parallelism in (1, 2):
        seen: list[float] = []
        pipeline = Pipeline("t")
        pipeline.source(Timed(), parallelism=1).key_by(abs).process(Times, parallelism=parallelism).sink(seen.append)
        await Run(pipeline.draft.graph(), {}, wire=True)
        assert sorted(seen) == [0.5, 1_000_000_000.25]


def test_subtask_ids_are_readable() -> None:
    assert str(SubtaskId("in", 0)) == "in[0]"
