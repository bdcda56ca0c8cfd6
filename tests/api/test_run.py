"""A run, seen from the code around it: entering, leaving, failing, and in whose task."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import pytest_asyncio

from actorstream.api.pipeline import Pipeline
from actorstream.errors import JobFailed, PlanError, RestoreError, StoreError, StoreInUseError, UserCodeError
from actorstream.protocol.restart import Restart
from tests.runtime.doubles import Splits, Target, settle, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from actorstream.api.job import Job
    from actorstream.api.run import Run


def endless(target: Any = None, records: int = 100) -> Pipeline:
    pipeline = Pipeline("t")
    source = Splits({"a": list(range(records))}, ended=False)
    pipeline.source(source, name="in").sink(target or Target(), name="out")
    return pipeline


def failing(release: list[int] | None = None) -> Pipeline:
    """Give a pipeline that fails at once, or once it is released."""

    async def send(value: int) -> None:
        while release is not None and not release:
            await settle(1)
        raise ValueError("broken")

    pipeline = Pipeline("t")
    pipeline.source([1], name="in").sink(send, name="send")
    return pipeline


# ---- entering and leaving


async def test_entering_returns_when_the_job_is_up() -> None:
    async with endless().run() as job:
        assert job.status == "running"


async def test_leaving_takes_a_final_checkpoint_and_commits_its_output() -> None:
    target = Target()
    async with endless(target).run(checkpoint_interval=None) as job:
        await until(lambda: job.summary().records_in == 100)
        assert target.committed == []
    assert job.status == "finished"
    assert target.committed == list(range(100))


async def test_leaving_by_an_exception_cancels_at_once_with_no_checkpoint() -> None:
    """Whatever broke in the service must not wait for a job that may be stuck as well."""
    target = Target()

    async def hang(value: int) -> None:
        await asyncio.sleep(3600)

    pipeline = endless(target)
    pipeline.source([1]).sink(hang)
    with pytest.raises(KeyError), anyio.fail_after(5):  # noqa: PT012
        async with pipeline.run(checkpoint_interval=None) as job:
            await until(lambda: job.summary().records_in == 101)
            raise KeyError("mine")
    assert target.committed == []
    assert job.status == "failed"


async def test_whoever_waits_for_a_cancelled_job_is_told() -> None:
    """Its end was none: a summary would look like success."""
    told: list[str] = []

    async def wait(job: Job) -> None:
        with pytest.raises(JobFailed, match="the job was cancelled"):
            await job.wait()
        told.append("failed")

    async with anyio.create_task_group() as group:
        with pytest.raises(KeyError):  # noqa: PT012
            async with endless().run() as job:
                group.start_soon(wait, job)
                await settle()
                raise KeyError
    assert told == ["failed"]


async def test_bounded_job_is_not_waited_for_on_leaving() -> None:
    """`wait` is for that."""
    target = Target()
    source = Splits({"a": list(range(100))}, allowed=10)
    pipeline = Pipeline("t")
    pipeline.source(source).sink(target)
    async with pipeline.run() as job:
        await until(lambda: job.summary().records_in == 10)
    assert target.committed == list(range(10))


async def test_awaited_run_goes_to_the_end_and_counts() -> None:
    target = Target()
    pipeline = Pipeline("t")
    pipeline.source(range(100)).filter(lambda v: v % 2 == 0).sink(target)
    summary = await pipeline.run()

    assert (summary.records_in, summary.records_out, summary.checkpoints, summary.restarts) == (100, 50, 1, 0)
    assert summary.seconds > 0


async def test_run_can_be_used_once() -> None:
    run = endless().run()
    async with run:
        pass
    with pytest.raises(PlanError, match=r"this run was used already: call pipeline\.run"):
        async with run:
            pass


async def test_cancelled_while_entering_leaves_nothing_behind() -> None:
    class Slow(Target):
        def writer(self, ctx: Any, /) -> Any:
            entered.append(1)
            return super().writer(ctx)

    entered: list[int] = []
    with anyio.move_on_after(0) as scope:
        async with endless(Slow()).run():
            pytest.fail("entered")
    assert scope.cancelled_caught
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("actorstream")]


async def test_cancelled_while_leaving_cancels_the_job() -> None:
    """A shutdown that takes too long is cut short by its owner."""

    async def hang(value: int) -> None:
        await asyncio.sleep(3600)

    pipeline = Pipeline("t")
    pipeline.source([1]).sink(hang)
    with anyio.move_on_after(5) as scope:
        async with pipeline.run() as job:
            await until(lambda: job.summary().records_in == 1)
            scope.deadline = anyio.current_time() + 0.05
    assert scope.cancelled_caught
    assert job.status == "failed"


# ---- tasks


async def test_block_may_be_entered_in_one_task_and_left_in_another() -> None:
    """T138: a task group would fail with "exit cancel scope in a different task"."""
    target = Target()
    run = endless(target).run()
    async with anyio.create_task_group() as group:
        group.start_soon(run.__aenter__)
    async with anyio.create_task_group() as group:
        group.start_soon(run.__aexit__, None, None, None)

    assert target.committed == list(range(100))[: len(target.committed)]


async def test_exit_stack_may_be_closed_in_another_task() -> None:
    """T138."""
    stack, target = AsyncExitStack(), Target()

    async def enter() -> None:
        jobs.append(await stack.enter_async_context(endless(target).run()))

    jobs: list[Job] = []
    async with anyio.create_task_group() as group:
        group.start_soon(enter)
    await until(lambda: jobs[0].summary().records_in == 100)
    async with anyio.create_task_group() as group:
        group.start_soon(stack.aclose)
    assert target.committed == list(range(100))


@pytest_asyncio.fixture
async def running_job() -> AsyncIterator[tuple[Job, Target]]:
    """Hold a job over a test, as a service's tests do: pytest-asyncio enters and leaves in two tasks."""
    target = Target()
    async with endless(target).run() as job:
        yield job, target
    assert target.committed == list(range(100))


async def test_job_can_be_held_in_a_fixture(running_job: tuple[Job, Target]) -> None:
    """T138."""
    job, _ = running_job
    await until(lambda: job.summary().records_in == 100)
    assert job.status == "running"


# ---- failing


async def test_job_that_fails_cancels_the_body_and_leaving_raises_one_error() -> None:
    """The body waits for something else and would never hear of it."""
    release: list[int] = []
    with pytest.raises(JobFailed) as failed:  # noqa: PT012
        async with failing(release).run():
            release.append(1)
            await asyncio.sleep(3600)

    assert isinstance(failed.value.__cause__, UserCodeError)
    assert failed.value.__cause__.operator == "send"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_task_is_usable_after_a_job_has_failed_in_it() -> None:
    """The cancellation was ours, and is taken back: timeouts and groups work as before."""
    release = [1]
    with pytest.raises(JobFailed):
        async with failing(release).run():
            await asyncio.sleep(3600)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(0))
    with anyio.move_on_after(0.001) as scope:
        await asyncio.sleep(3600)
    assert scope.cancelled_caught


async def test_failing_job_and_a_timeout_of_the_body_are_told_apart() -> None:
    """Somebody else's cancellation is not taken back."""
    with anyio.move_on_after(0.05) as scope:
        async with endless().run():
            await asyncio.sleep(3600)
    assert scope.cancelled_caught


async def test_body_that_catches_the_error_of_wait_gets_it_once() -> None:
    with pytest.raises(JobFailed) as failed:
        async with failing().run() as job:
            await job.wait()
    assert failed.value.__cause__ is not None


async def test_every_method_of_a_failed_job_raises_its_error() -> None:
    with pytest.raises(JobFailed) as failed:
        async with failing().run() as job:
            await job.wait()
    for ask in (job.wait, job.stop, job.checkpoint):
        with pytest.raises(JobFailed) as again:
            await ask()
        assert again.value is failed.value
    with pytest.raises(JobFailed):
        job.metrics()
    assert job.status == "failed"


async def test_on_failure_is_called_once_with_the_error() -> None:
    """A web server goes on serving after its lifespan was cancelled: it must be stopped here."""
    told: list[JobFailed] = []
    with pytest.raises(JobFailed) as failed:
        async with failing([1]).run(on_failure=told.append):
            await asyncio.sleep(3600)
    assert told == [failed.value]


async def test_on_failure_that_raises_does_not_keep_the_body_waiting() -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    told: list[Any] = []

    def broken(_: JobFailed) -> None:
        raise OSError("pager")

    with pytest.raises(JobFailed), anyio.fail_after(5):
        async with failing([1]).run(on_failure=broken):
            await asyncio.sleep(3600)
    assert [str(error) for error in told] == ["pager"]


async def test_on_failure_is_not_called_for_a_job_that_ends_well_or_is_left_by_an_exception() -> None:
    told: list[JobFailed] = []
    async with endless().run(on_failure=told.append):
        pass
    with pytest.raises(KeyError):
        async with endless().run(on_failure=told.append):
            raise KeyError
    assert told == []


async def test_failure_on_leaving_is_raised_there() -> None:
    """The final checkpoint cannot commit."""
    target = Target()
    target.crash_before_commit = OSError("target down")
    with pytest.raises(JobFailed, match="target down"):
        async with endless(target).run(checkpoint_interval=None) as job:
            await until(lambda: job.summary().records_in == 100)


async def test_without_a_store_a_job_is_never_tried_again() -> None:
    calls: list[int] = []

    def fn(value: int) -> int:
        calls.append(value)
        raise ValueError

    pipeline = Pipeline("t")
    pipeline.source([1]).map(fn).sink(print)
    with pytest.raises(JobFailed):
        await pipeline.run()
    assert calls == [1]


# ---- what is found before the job is up is raised as it is


def test_plan_that_cannot_run_is_refused_before_anything_starts(tmp_path: Path) -> None:
    pipeline = Pipeline("t")
    pipeline.source([1]).key_by(abs).count()
    with pytest.raises(PlanError, match="has no name of its own, and the job has a store"):
        _ = pipeline.run(store=tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_store_in_use_is_refused_and_the_first_job_goes_on(tmp_path: Path) -> None:
    async with endless().run(store=tmp_path) as job:
        with pytest.raises(StoreInUseError):
            await endless().run(store=tmp_path)
        assert await job.checkpoint() > 0


async def test_store_of_another_plan_is_refused(tmp_path: Path) -> None:
    def counting(name: str) -> Run:
        pipeline = Pipeline("t")
        pipeline.source([1, 2], name="in").key_by(abs).count(name=name)
        return pipeline.run(store=tmp_path)

    await counting("old")
    with pytest.raises(RestoreError, match=r"holds state of operator 'old', which the pipeline does not have"):
        await counting("new")


async def test_damaged_layer_is_refused_by_name(tmp_path: Path) -> None:
    def counting() -> Run:
        pipeline = Pipeline("t")
        pipeline.source([1, 2], name="in").key_by(abs).count(name="count")
        return pipeline.run(store=tmp_path)

    await counting()
    (layer,) = (tmp_path / "t" / "layers").iterdir()
    layer.chmod(0o600)
    data = bytearray(layer.read_bytes())
    data[len(data) // 2] ^= 1
    layer.write_bytes(data)
    with pytest.raises((StoreError, RestoreError), match=layer.name):
        await counting()


async def test_store_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((StoreError, OSError)):
        await endless().run(store=tmp_path / "file")


async def test_restart_strategy_can_be_given_without_a_store() -> None:
    calls: list[int] = []

    def fn(value: int) -> int:
        calls.append(value)
        if len(calls) < 3:
            raise ValueError(len(calls))
        return value

    pipeline = Pipeline("t")
    target = Target()
    pipeline.source([1, 2]).map(fn).sink(target)
    summary = await pipeline.run(restart=Restart.fixed_delay(5, delay=0))

    assert summary.restarts == 2
    assert target.committed == [1, 2]
