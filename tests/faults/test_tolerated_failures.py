"""A disk that fails k checkpoints in a row, and what is tolerated: the job goes on, or fails with the disk's error.

                      k = 1     2     3     for ever
tolerated_failures 0     fails
                   2     goes on on    fails
                  -1     goes on on    on    on
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING

import pytest

from actorstream import JobFailed, Restart, Settings, StoreError
from actorstream.model.world import World
from actorstream.runtime.coordinator import CheckpointsFailedError
from actorstream.system.current import current_world, use_world
from actorstream.system.files import RealFiles
from actorstream.testing.faults import InterceptedFiles, disk_error
from tests.faults.scarce import problems_of
from tests.faults.sums import JOB, NUMBERS, committed, expected, extend, later, run, running, sums_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actorstream.testing.faults import CallKind

LAYER, MANIFEST = "/layers", "/manifest.json"


class FullForSome(InterceptedFiles):
    """Refuses to make durable what `place` names, `left` times, or always while it is below 0."""

    def __init__(self, place: str) -> None:
        super().__init__(RealFiles())
        self.left = 0
        self.refused = 0
        self._place = place

    def _before(self, kind: CallKind, path: str, half: Callable[[], None] | None = None) -> None:
        if self.left and kind in {"link", "sync_dir"} and path.endswith(self._place):
            self.left -= 1
            self.refused += 1
            raise disk_error(errno.ENOSPC, path)


async def used_up(files: FullForSome) -> None:
    while files.left:  # noqa: ASYNC110  (a disk rings no bell)
        await asyncio.sleep(0.001)


async def with_failures(folder: str, place: str, failures: int, tolerated: int) -> int:
    """Let the disk fail so many checkpoints of the running job; give how many it has failed."""
    world = current_world()
    files = FullForSome(place)
    with use_world(World(world.clock, files, world.offload, world.random)):
        async with running(folder, Restart.never(), Settings(tolerated_failures=tolerated)) as (job, sink):
            await committed(sink, len(NUMBERS))
            files.left = failures
            more = asyncio.create_task(extend(folder, later(30)))
            try:
                await asyncio.shield(more)
                await used_up(files)
            finally:  # the job that fails meanwhile ends this body, and not what comes in
                await more
            await committed(sink, len(NUMBERS) + 30)
            assert job.metrics()["job.failed_checkpoints"] == failures == files.refused
            assert job.summary().restarts == 0
    return files.refused


@pytest.mark.parametrize("place", [LAYER, MANIFEST])
@pytest.mark.parametrize(("tolerated", "failures"), [(2, 1), (2, 2), (-1, 3), (-1, 12)])
async def test_a_job_goes_on_over_as_many_failures_in_a_row_as_are_tolerated(
    prepared: Path, place: str, tolerated: int, failures: int
) -> None:
    await with_failures(str(prepared), place, failures, tolerated)
    assert await sums_in(str(prepared)) == expected(NUMBERS + later(30))


@pytest.mark.parametrize("place", [LAYER, MANIFEST])
@pytest.mark.parametrize("tolerated", [0, 2])
async def test_one_more_fails_the_job_with_what_the_disk_said(prepared: Path, place: str, tolerated: int) -> None:
    """The last good checkpoint stays: the next start goes on from it."""
    folder = str(prepared)
    with pytest.raises(JobFailed, match="No space left on device") as failed:
        await with_failures(folder, place, 1_000, tolerated)
    cause = failed.value.__cause__
    assert isinstance(cause, CheckpointsFailedError)
    assert f"{tolerated + 1} checkpoints in a row failed, {tolerated} may" in str(cause)
    assert os.path.join(folder, "store", JOB) in str(cause)
    if place == MANIFEST:
        assert isinstance(cause.__cause__, StoreError)
        assert isinstance(cause.__cause__.__cause__, OSError)
    assert problems_of(os.path.join(folder, "store", JOB)) == []
    await run(folder, len(NUMBERS) + 30)
    assert await sums_in(folder) == expected(NUMBERS + later(30))


async def test_failures_that_are_not_in_a_row_are_not_added_up(prepared: Path) -> None:
    """A checkpoint that succeeds makes the count begin anew."""
    world = current_world()
    files = FullForSome(MANIFEST)
    with use_world(World(world.clock, files, world.offload, world.random)):
        async with running(str(prepared), Restart.never(), Settings(tolerated_failures=1)) as (job, sink):
            await committed(sink, len(NUMBERS))
            for _ in range(4):
                files.left = 1
                await used_up(files)
                await job.checkpoint()
            assert job.metrics()["job.failed_checkpoints"] == 4


async def test_restarts_are_counted_apart(prepared: Path) -> None:
    """A job that may be restarted begins its next attempt at the last checkpoint, and counts anew."""
    world = current_world()
    files = FullForSome(MANIFEST)
    everything = NUMBERS + later(30)
    with use_world(World(world.clock, files, world.offload, world.random)):
        restart = Restart.fixed_delay(3, delay=0.01)
        async with running(str(prepared), restart, Settings(tolerated_failures=1)) as (job, sink):
            await committed(sink, len(NUMBERS))
            files.left = 5
            await extend(str(prepared), later(30))
            await committed(sink, len(everything))
            assert job.summary().restarts == 2
    assert await sums_in(str(prepared)) == expected(everything)
