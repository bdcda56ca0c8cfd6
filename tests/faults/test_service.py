"""A job that fails beside a service: the service hears it once, as one JobFailed, and its task can be used afterwards.

async with pipeline.run() as job:      fails inside: the waiting task is cancelled, leaving raises JobFailed
    await serve()                      serve() itself raises: that error, and the job stops without a checkpoint
                                       fails while leaving: JobFailed
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from actorstream import EventLog, JobFailed, Pipeline, Restart
from actorstream.errors import UserCodeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from actorstream import SinkContext
    from actorstream.api.run import Run


class Switch:
    """Makes the job's operator fail from outside."""

    def __init__(self) -> None:
        self.on = False
        self.seen = 0

    def check(self, number: int) -> int:
        self.seen += 1
        if self.on:
            raise ValueError("switched on")
        return number

    async def numbers(self) -> AsyncIterator[int]:
        number = 0
        while True:
            yield number
            number += 1
            await asyncio.sleep(0.001)

    async def until_running(self) -> None:
        while not self.seen:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def start(folder: Path, switch: Switch, failures: list[JobFailed] | None = None) -> Run:
    pipeline = Pipeline("service")
    pipeline.source(switch.numbers, name="numbers").map(switch.check, name="user").sink(
        EventLog(int, folder / "out"), name="out"
    )
    on_failure = (failures if failures is not None else []).append
    return pipeline.run(store=folder / "store", restart=Restart.never(), on_failure=on_failure)


async def still_usable(folder: Path) -> None:
    """The task is not cancelled, nothing of the job is left, and the store is free."""
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)
    assert [one.get_name() for one in asyncio.all_tasks() if "actorstream" in one.get_name()] == []
    async with start(folder, Switch()) as job:
        assert job.status == "running"


def check_failure(failure: BaseException) -> None:
    assert type(failure) is JobFailed
    assert isinstance(failure.__cause__, UserCodeError)
    assert isinstance(failure.__cause__.__cause__, ValueError)


async def test_a_job_that_fails_inside_the_block_ends_the_service_with_one_error(tmp_path: Path) -> None:
    switch, failures = Switch(), list[JobFailed]()
    cleaned = False
    with pytest.raises(JobFailed) as failed:  # noqa: PT012
        async with start(tmp_path, switch, failures):
            await switch.until_running()
            switch.on = True
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                cleaned = True
    check_failure(failed.value)
    assert failures == [failed.value]
    assert cleaned
    await still_usable(tmp_path)


async def test_every_question_to_a_failed_job_raises_the_same_error(tmp_path: Path) -> None:
    switch = Switch()
    with pytest.raises(JobFailed) as failed:  # noqa: PT012
        async with start(tmp_path, switch) as job:
            await switch.until_running()
            switch.on = True
            await job.wait()
    for question in (job.wait, job.stop, job.checkpoint):
        with pytest.raises(JobFailed) as again:
            await question()
        assert again.value is failed.value
    await still_usable(tmp_path)


async def test_a_service_in_a_task_group_gets_the_error_not_a_group_of_it(tmp_path: Path) -> None:
    """The usual shape: a server's task group inside the block."""
    switch = Switch()
    with pytest.raises(JobFailed) as failed:  # noqa: PT012
        async with start(tmp_path, switch), asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait())
            await switch.until_running()
            switch.on = True
    check_failure(failed.value)
    await still_usable(tmp_path)


async def test_an_error_of_the_service_is_its_own_and_the_next_run_goes_on(tmp_path: Path) -> None:
    switch = Switch()
    with pytest.raises(LookupError, match="the service's own"):  # noqa: PT012
        async with start(tmp_path, switch):
            await switch.until_running()
            raise LookupError("the service's own")
    await still_usable(tmp_path)


class FailingSink:
    """Cannot make its records durable, which the final checkpoint asks for."""

    @asynccontextmanager
    async def writer(self, ctx: SinkContext, /) -> AsyncIterator[FailingSink]:
        yield self

    async def write(self, values: Sequence[int], /) -> None:
        pass

    async def pre_commit(self, checkpoint: int, /) -> bytes | None:
        raise ValueError("the target is gone")

    async def commit(self, token: bytes, /) -> None:
        pass

    async def abort(self, token: bytes | None, /) -> None:
        pass


async def test_a_job_that_fails_while_the_block_is_left_raises_once(tmp_path: Path) -> None:
    switch, failures = Switch(), list[JobFailed]()
    pipeline = Pipeline("service")
    pipeline.source(switch.numbers, name="numbers").map(switch.check, name="user").sink(FailingSink(), name="out")
    run = pipeline.run(
        store=tmp_path / "store", restart=Restart.never(), checkpoint_interval=None, on_failure=failures.append
    )
    with pytest.raises(JobFailed, match=r"out \(subtask 0\) raised ValueError: the target is gone") as failed:
        async with run:
            await switch.until_running()
    check_failure(failed.value)
    assert failures == [failed.value]
    await still_usable(tmp_path)


async def test_a_failure_and_an_error_of_the_service_at_once_are_one_error_with_the_other_as_context(
    tmp_path: Path,
) -> None:
    switch = Switch()
    with pytest.raises(JobFailed) as failed:  # noqa: PT012
        async with start(tmp_path, switch) as job:
            await switch.until_running()
            switch.on = True
            try:
                await job.wait()
            except (JobFailed, asyncio.CancelledError):
                raise LookupError("while cleaning up") from None
    check_failure(failed.value)
    assert isinstance(failed.value.__context__, LookupError)
    await still_usable(tmp_path)


async def test_a_job_that_fails_after_its_owner_has_gone_elsewhere_is_told_when_the_stack_closes(
    tmp_path: Path,
) -> None:
    """T138: entered in one task that ends, failed with nobody inside, left in another."""
    switch, stack, failures = Switch(), AsyncExitStack(), list[JobFailed]()

    async def enter() -> None:
        await stack.enter_async_context(start(tmp_path, switch, failures))

    await asyncio.create_task(enter())
    await switch.until_running()
    switch.on = True
    while not failures:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    with pytest.raises(JobFailed) as failed:
        await stack.aclose()
    check_failure(failed.value)
    assert failures == [failed.value]
    await still_usable(tmp_path)


async def test_a_service_that_is_cancelled_stays_cancelled(tmp_path: Path) -> None:
    """Cancellation from outside is not swallowed, and the job is gone when it arrives."""
    switch = Switch()

    async def serve() -> None:
        async with start(tmp_path, switch):
            await asyncio.Event().wait()

    service = asyncio.create_task(serve())
    await switch.until_running()
    service.cancel()
    with pytest.raises(asyncio.CancelledError):
        await service
    await still_usable(tmp_path)


async def test_a_job_that_cannot_come_up_never_enters_the_block(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where the store should be")
    with pytest.raises(Exception, match=str(tmp_path / "store")) as refused:
        async with start(tmp_path, Switch()):
            pytest.fail("it came up without a store")
    assert not isinstance(refused.value, BaseExceptionGroup)
    (tmp_path / "store").unlink()
    await still_usable(tmp_path)
