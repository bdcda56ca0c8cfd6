"""How a harness ends: well, by a function that raises, by a test that fails, or with a name for who hangs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import Context, JobFailed, KeyedProcess, Pipeline, PlanError, StoreError, UserCodeError
from actorstream.testing.harness import harness
from actorstream.testing.quiescence import StillBusyError
from tests.testing.words import Words

if TYPE_CHECKING:
    from actorstream import Timer
    from actorstream.testing.harness import Harness


async def test_end_input_ends_the_job_well() -> None:
    words = Words()
    async with harness(words.pipeline) as h:
        await h.send(words.source, "a")
        await h.end_input()

        assert h.job.status == "finished"
        assert (await h.job.wait()).checkpoints == 1
        assert h.outputs(words.counts) == [("a", 1)]
        with pytest.raises(PlanError, match="send: the job has ended"):
            await h.send(words.source, "b")


async def test_a_function_that_raises_fails_the_call_at_once() -> None:
    """The test goes on: nothing cancels it, and leaving the block does not raise again what was told."""
    pipeline = Pipeline("p")
    source: list[int] = []
    pipeline.source(source).map(lambda n: 1 // n, name="invert")
    async with harness(pipeline) as h:
        with pytest.raises(JobFailed, match=r"invert .* ZeroDivisionError") as failed:
            await h.send(source, 1, 0)
        assert isinstance(failed.value.__cause__, UserCodeError)
        assert failed.value.__cause__.record == 0
        with pytest.raises(JobFailed):
            await h.checkpoint()
        await asyncio.sleep(0)
        assert h.job.status == "failed"


async def test_a_function_that_raises_after_a_crash_fails_the_job_too() -> None:
    """Only the crash that the test made is followed by a restart."""
    pipeline = Pipeline("p")
    source: list[int] = []
    pipeline.source(source).map(lambda n: 1 // n, name="invert")
    async with harness(pipeline) as h:
        await h.send(source, 1)
        await h.crash_and_recover()
        with pytest.raises(JobFailed, match="restarts a job only in crash_and_recover"):
            await h.send(source, 0)


async def test_a_failure_that_nobody_heard_of_is_raised_on_leaving() -> None:
    """The final checkpoint of the block's end fails: the test must not pass."""
    pipeline = Pipeline("p")
    source: list[object] = []
    pipeline.source(source).key_by(str).latest(lambda each: each, name="last")
    with pytest.raises(JobFailed, match="last"):
        async with harness(pipeline) as h:
            await h.send(source, object())


async def test_leaving_by_an_exception_cancels_the_job() -> None:
    words = Words()
    stack = AsyncExitStack()
    h = await stack.enter_async_context(harness(words.pipeline))
    await stack.__aexit__(KeyError, KeyError(), None)

    assert h.job.status == "failed"


class FailsToOpen(KeyedProcess[int, int, int]):
    async def open(self, ctx: object) -> None:
        raise OSError("no connection")

    def on_element(self, element: int, ctx: Context[int]) -> None:
        raise NotImplementedError


async def test_a_job_that_does_not_come_up_is_told_at_the_door() -> None:
    pipeline = Pipeline("p")
    source: list[int] = []
    pipeline.source(source).key_by(lambda n: n).process(FailsToOpen)
    with pytest.raises(JobFailed, match="no connection"):
        async with harness(pipeline):
            raise AssertionError("entered")


async def test_a_slow_service_is_waited_for() -> None:
    """A sink that awaits something real: `send` returns after it."""
    pipeline = Pipeline("p")
    source: list[int] = []
    done: list[int] = []

    async def call(n: int) -> None:
        await asyncio.sleep(0.01)
        done.append(n)

    pipeline.source(source).sink(call)
    async with harness(pipeline) as h:
        await h.send(source, 1, 2)

        assert done == [1, 2]


async def test_who_hangs_is_named() -> None:
    """No test should end by a timeout that says nothing."""
    pipeline = Pipeline("p")
    source: list[int] = []

    async def hang(n: int) -> None:
        await asyncio.Event().wait()

    pipeline.source(source).sink(hang, name="service")
    with pytest.raises(StillBusyError, match=r"after 0\.05 s .* source-0.* is in a call of service"):
        async with harness(pipeline, patience=0.05) as h:
            await h.send(source, 1)


class Restless(KeyedProcess[int, int, int]):
    """Sets its timer again for a time that has passed."""

    def on_element(self, element: int, ctx: Context[int]) -> None:
        ctx.set_timer(0)

    def on_timer(self, timer: Timer, ctx: Context[int]) -> None:
        ctx.set_timer(timer.at)


async def test_who_goes_on_for_ever_is_named() -> None:
    """It gives way though the clock stands still: else nothing could be said, and the test would hang."""
    pipeline = Pipeline("p")
    source: list[int] = []
    pipeline.source(source).key_by(lambda n: n).process(Restless)
    async with harness(pipeline, patience=0.05) as h:
        await h.send(source, 1)
        with pytest.raises(StillBusyError, match="works on a batch"):
            await h.advance(watermark=1)
        await h.job.stop()


async def test_a_checkpoint_in_the_middle_of_a_call_is_not_gone_back_to() -> None:
    """It is unknown which outputs it covers: better no answer than one that is wrong."""
    pipeline = Pipeline("p")
    source: list[int] = []
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[int]] = []

    async def take_one(n: int) -> None:
        tasks.append(loop.create_task(h.job.checkpoint()))
        await asyncio.sleep(0)

    pipeline.source(source).sink(take_one)
    async with harness(pipeline) as h:
        await h.send(source, 1)
        assert await tasks[0] == 1
        with pytest.raises(JobFailed, match="checkpoint 1 was taken while records were processed"):
            await h.crash_and_recover()


async def test_a_stream_of_another_pipeline_is_refused() -> None:
    words, others = Words(), Words()
    async with harness(words.pipeline) as h:
        with pytest.raises(PlanError, match="one of pipeline 'words'"):
            h.outputs(others.counts)
        with pytest.raises(PlanError, match="made after harness"):
            h.outputs(words.counts.map(str))


async def test_a_failed_checkpoint_is_the_callers() -> None:
    words = Words()
    async with harness(words.pipeline) as h:
        await h.job.stop()
        with pytest.raises(PlanError, match="checkpoint: the job has ended"):
            await h.checkpoint()
        with pytest.raises(StoreError):
            await h.job.checkpoint()


async def test_the_block_may_be_left_in_another_task_than_it_was_entered() -> None:
    """T138: as fixtures do."""
    words = Words()
    stack = AsyncExitStack()

    async def enter() -> Harness:
        return await stack.enter_async_context(harness(words.pipeline))

    loop = asyncio.get_running_loop()
    h = await loop.create_task(enter())
    await h.send(words.source, "a")
    await loop.create_task(stack.aclose())

    assert h.outputs(words.counts) == [("a", 1)]


async def test_two_harnesses_live_side_by_side() -> None:
    one, other = Words(), Words()
    async with harness(one.pipeline) as h, harness(other.pipeline) as g:
        await h.send(one.source, "a")
        await g.advance(clock=5)
        await g.send(other.source, "b")

        assert (h.outputs(one.counts), g.outputs(other.counts)) == ([("a", 1)], [("b", 1)])


async def test_the_pipeline_can_be_used_again() -> None:
    """The harness takes a copy of the graph: what it replaced is not in the pipeline."""
    words = Words()
    async with harness(words.pipeline) as h:
        await h.send(words.source, "a")
    async with harness(words.pipeline) as h:
        await h.send(words.source, "b")
        assert h.outputs(words.counts) == [("b", 1)]
    words.source.append("from the list itself")
    assert (await words.pipeline.run()).records_in == 1


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"splits": 0}, {"parallelism": 0}])
async def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        harness(Words().pipeline, **wrong)
