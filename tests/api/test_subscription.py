"""Elements of a running stream: buffers, three ways to overflow, and the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.errors import JobFailed, PlanError, StoreError, UserCodeError
from tests.runtime.doubles import Splits, Target, settle, until

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.api.stream import Stream


class Following:
    """A pipeline of numbers that gives nothing before it is allowed to."""

    def __init__(self, records: int = 50, batch: int = 5) -> None:
        self.source = Splits({"a": list(range(records))}, batch=batch, allowed=0)
        self.target = Target()
        self.pipeline = Pipeline("t")
        self.numbers: Stream[int] = self.pipeline.source(self.source, name="in")
        self.doubled = self.numbers.map(lambda v: v * 2, name="double")
        self.doubled.sink(self.target, name="out")
        self.counts = self.numbers.key_by(lambda v: v % 2).count(name="count")


async def test_subscriber_gets_everything_from_then_on_in_order() -> None:
    made = Following()
    async with made.pipeline.run() as job, job.subscribe(made.doubled) as updates:
        made.source.allow(None)
        assert [element async for element in updates] == [v * 2 for v in range(50)]


async def test_source_table_and_union_can_be_followed() -> None:
    made = Following(records=4)
    both = made.numbers.union(made.doubled)
    both.sink(str)
    async with made.pipeline.run() as job:
        first, second, third = job.subscribe(made.numbers), job.subscribe(made.counts), job.subscribe(both)
        made.source.allow(None)
        await job.wait()
        assert [element async for element in first] == [0, 1, 2, 3]
        assert [element async for element in second] == [(0, 1), (1, 1), (0, 2), (1, 2)]
        assert sorted([element async for element in third]) == [0, 0, 1, 2, 2, 3, 4, 6]


@pytest.mark.parametrize("parallelism", [1, 2])
async def test_what_is_before_at_and_behind_a_key_can_be_followed(parallelism: int) -> None:
    """With one subtask they are all in one actor: the key is made in the middle of it."""
    made = Following(records=30)
    keyed = made.numbers.map(lambda v: v + 1, name="before").key_by(lambda v: v % 2)
    counted = keyed.count(name="other")
    shown = counted.map(str, name="shown")
    async with made.pipeline.run(parallelism=parallelism) as job:
        made.source.allow(12)
        await until(lambda: job.summary().records_out == 12)
        table, strings = job.subscribe(counted), job.subscribe(shown)
        made.source.allow(None)
        await job.wait()
        following = [element async for element in table]
        assert sorted(following) == sorted((key, count) for count in range(7, 16) for key in (0, 1))
        assert [element async for element in strings] == [str(element) for element in following]


async def test_waiting_subscriber_holds_the_job_up_and_loses_nothing() -> None:
    made = Following()
    async with made.pipeline.run() as job:
        updates = job.subscribe(made.doubled, buffer=3)
        made.source.allow(None)
        await settle(200)
        assert job.status == "running"
        assert len(updates._elements) == 3
        assert [element async for element in updates] == [v * 2 for v in range(50)]


async def test_dropping_subscriber_keeps_the_newest_and_holds_nobody_up() -> None:
    made = Following()
    async with made.pipeline.run() as job:
        updates = job.subscribe(made.doubled, buffer=3, overflow="drop_oldest")
        made.source.allow(None)
        await job.wait()
        assert [element async for element in updates] == [94, 96, 98]


async def test_subscriber_that_fell_behind_gets_what_was_before_the_gap_then_the_error() -> None:
    made = Following()
    async with made.pipeline.run() as job:
        updates = job.subscribe(made.doubled, buffer=3, overflow="error")
        made.source.allow(None)
        await job.wait()
        assert [await anext(updates) for _ in range(3)] == [0, 2, 4]
        for _ in range(2):
            with pytest.raises(StoreError, match="fell more than 3 elements behind: read faster"):
                await anext(updates)


async def test_nothing_follows_a_gap() -> None:
    """Room that comes after the loss must not be filled: the reader would not see that something is missing."""
    made = Following()
    async with made.pipeline.run() as job:
        updates = job.subscribe(made.doubled, buffer=3, overflow="error")
        made.source.allow(20)
        await until(lambda: job.summary().records_in == 20)
        assert [await anext(updates), await anext(updates)] == [0, 2]
        made.source.allow(None)
        await job.wait()
        assert await anext(updates) == 4
        with pytest.raises(StoreError):
            await anext(updates)


async def test_leaving_the_block_ends_the_subscription_and_frees_the_job() -> None:
    made = Following()
    async with made.pipeline.run() as job:
        async with job.subscribe(made.doubled, buffer=1) as updates:
            made.source.allow(None)
            assert await anext(updates) == 0
        with anyio.fail_after(5):
            await job.wait()
    assert made.target.committed == [v * 2 for v in range(50)]


async def test_subscription_ends_with_the_job() -> None:
    """A reader that waits is told, and what is buffered can still be read."""
    made = Following()
    got: list[int] = []

    async def follow(updates: Any) -> None:
        got.extend([element async for element in updates])

    async with anyio.create_task_group() as group, made.pipeline.run() as job:
        group.start_soon(follow, job.subscribe(made.doubled))
        made.source.allow(None)
        await until(lambda: job.summary().records_in == 50)
    assert got == [v * 2 for v in range(50)]


async def test_subscription_to_a_job_that_fails_says_so_at_its_end() -> None:
    """An end without an error would pass for the end of the input."""
    made = Following(records=10)
    made.source.fail_at["a", 5] = ConnectionError("gone")
    seen = 0
    with pytest.raises(JobFailed) as failed:  # noqa: PT012
        async with made.pipeline.run() as job:
            updates = job.subscribe(made.doubled)
            made.source.allow(None)
            async for _ in updates:
                seen += 1
    assert seen == 5
    assert isinstance(failed.value.__cause__, UserCodeError)


async def test_stop_does_not_wait_for_a_subscriber_that_does_not_read() -> None:
    made = Following()
    async with made.pipeline.run() as job:
        updates = job.subscribe(made.doubled, buffer=1)
        made.source.allow(None)
        await until(lambda: len(updates._elements) == 1)
        with anyio.fail_after(5):
            await job.stop()
    assert [element async for element in updates] == made.target.committed


async def test_stop_with_savepoint_does_not_wait_for_a_subscriber_that_does_not_read(tmp_path: Path) -> None:
    """The one who follows is the one who stops. Where that fails the job goes on, and waits for readers again."""
    made = Following()
    made.source.ended = False
    async with made.pipeline.run(store=tmp_path) as job, job.subscribe(made.doubled, buffer=2) as updates:
        made.source.allow(None)
        await until(lambda: len(updates._elements) == 2)
        (tmp_path / "t/savepoints").mkdir()
        (tmp_path / "t/savepoints/a").write_text("in the way")
        async with asyncio.timeout(30):
            with pytest.raises(StoreError):
                await job.stop(savepoint="a")
        assert not updates._released
        async with asyncio.timeout(30):
            await job.stop(savepoint="b")
        assert [element async for element in updates] == [v * 2 for v in range(50)]


async def test_subscription_outlives_a_restart(tmp_path: Path) -> None:
    """Elements since the last checkpoint come again."""
    made = Following(records=20)
    made.source.fail_at["a", 10] = ConnectionError("gone")
    async with made.pipeline.run(store=tmp_path, checkpoint_interval=None) as job:
        updates = job.subscribe(made.doubled)
        made.source.allow(5)
        await until(lambda: job.summary().records_in == 5)
        await job.checkpoint()
        made.source.allow(None)
        await until(lambda: job.status == "restarting")
        made.source.fail_at.clear()
        await job.wait()
        got = [element async for element in updates]
    assert got[:5] == [0, 2, 4, 6, 8]
    assert got[-15:] == [v * 2 for v in range(5, 20)]


async def test_subscribing_while_records_flow_disturbs_nothing() -> None:
    """Each coming and going has the step written anew, in the middle of batches and waits."""
    made = Following(records=2_000, batch=7)
    async with made.pipeline.run() as job:
        made.source.allow(None)
        while job.status == "running" and job.summary().records_in < 2_000:
            async with job.subscribe(made.doubled, buffer=2) as updates:
                with anyio.move_on_after(0.002):
                    await anext(updates)
                    await asyncio.sleep(0)
        await job.wait()
    assert made.target.committed == [v * 2 for v in range(2_000)]


async def test_stream_of_another_pipeline_or_of_later_is_refused() -> None:
    made = Following()
    async with made.pipeline.run() as job:
        later = made.numbers.map(str)
        with pytest.raises(PlanError, match="not of this job"):
            job.subscribe(later)
        with pytest.raises(PlanError, match="buffer is 0, expected at least 1"):
            job.subscribe(made.doubled, buffer=0)
        with pytest.raises(PlanError, match="not of this job"):
            job.subscribe(Pipeline("other").source([1]).map(str).map(str).map(str).map(str).map(str))
        with pytest.raises(PlanError, match="not of this job"):
            job.subscribe(Pipeline("other").source([1]))
