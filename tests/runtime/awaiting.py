"""What tests of async functions have in common."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import EventLog, JobFailed, Pipeline, Restart, UserCodeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from actorstream import Job

NUMBERS = list(range(300))


class DiedError(Exception):
    """Stands for the end of a process."""


@asynccontextmanager
async def dying(pipeline: Pipeline, **options: Any) -> AsyncIterator[Job]:
    """Run it, and leave at the end of the block as a process does that dies."""
    with suppress(DiedError):
        async with pipeline.run(**options) as job:
            yield job
            raise DiedError


async def until(there: Callable[[], bool]) -> None:
    while not there():  # noqa: ASYNC110  (of a job that is under test)
        await asyncio.sleep(0)


async def let_run() -> None:
    """Give whoever could go on many chances to."""
    for _ in range(100):
        await asyncio.sleep(0)


async def failure_of(pipeline: Pipeline) -> UserCodeError:
    with pytest.raises(JobFailed) as failed:
        await pipeline.run(restart=Restart.never())
    cause = failed.value.__cause__
    assert isinstance(cause, UserCodeError)
    return cause


async def written(folder: Path, count: int) -> list[int]:
    async with EventLog(int, folder / "out") as log:
        while (await log.summary()).records < count:  # noqa: ASYNC110  (of a job that is under test)
            await asyncio.sleep(0.005)
        return [record.value async for record in log.records(stop="now")]
