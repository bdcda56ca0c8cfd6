"""One disk operation fails, each in turn: the whole job gives the exact output or one of our errors, and goes on after.

for nth = 1, 2, 3, ... until no fault fires (the way of SQLite's tests):
    copy the prepared job   restore, a pending commit, work, checkpoints, retirement, final checkpoint are all to come
    run it in a world whose n-th operation fails once
    run it in the real world: what is there in the end is exact
"""

from __future__ import annotations

import os
import shutil
from itertools import count
from typing import TYPE_CHECKING

import pytest

from actorstream import ActorstreamError, JobFailed, Restart
from actorstream.model.world import World
from actorstream.system.current import current_world, use_world
from actorstream.system.files import RealFiles
from actorstream.testing.faults import CHANGES, CallKind, Effect, Fault, FaultyFiles
from tests.faults.sums import NUMBERS, expected, run, sums_in

if TYPE_CHECKING:
    from pathlib import Path

RESTART = Restart.fixed_delay(3, delay=0.01)


async def with_fault(folder: str, fault: Fault, restart: Restart) -> tuple[FaultyFiles, ActorstreamError | None]:
    """Run the job with one fault; any error but ours fails the test."""
    world = current_world()
    files = FaultyFiles(RealFiles(), fault)
    with use_world(World(world.clock, files, world.offload, world.random)):
        try:
            await run(folder, len(NUMBERS), restart)
        except ActorstreamError as error:
            return files, error
    return files, None


def check_error(error: ActorstreamError, files: FaultyFiles) -> None:
    """It names a file or folder of the job, and says what the disk said."""
    assert files.fired is not None
    cause = error.__cause__ if isinstance(error, JobFailed) else error
    assert isinstance(cause, ActorstreamError), f"{files.fired}: {error!r} from {cause!r}"
    said = str(error)
    assert os.path.basename(os.path.dirname(files.fired.path)) in said, f"{files.fired}: {said}"
    assert "space" in said or "Input/output error" in said, f"{files.fired}: {said}"


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("effect", "kinds", "step"),
    [
        pytest.param("EIO", CHANGES, 1, id="EIO"),
        pytest.param("ENOSPC", CHANGES, 2, id="disk full"),
        pytest.param("short write", CHANGES, 1, id="short write"),
        pytest.param("EIO", frozenset(["read"]), 5, id="EIO reading"),
    ],
)
async def test_each_operation_that_fails_gives_the_exact_output_or_our_error(
    prepared: Path, effect: Effect, kinds: frozenset[CallKind], step: int
) -> None:
    """`step` passes over some, for time: each kind of operation comes many times."""
    failed = 0
    for nth in count(1, step):
        folder = f"{prepared}.{nth}"
        shutil.copytree(prepared, folder)
        files, error = await with_fault(folder, Fault(nth, effect, kinds), Restart.never())
        if files.fired is None:
            break
        if error is not None:
            failed += 1
            check_error(error, files)
            await run(folder, len(NUMBERS))
        assert await sums_in(folder) == expected(NUMBERS), files.fired
    assert 0 < failed < nth // step, f"{nth - 1} operations, the job failed in {failed}"


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_restart_gets_over_any_single_fault_once_the_job_is_up(prepared: Path) -> None:
    """The default of a job with a store: what one attempt could not do, the next one does, exactly."""
    refused = 0
    for nth in count(1, 3):
        folder = f"{prepared}.{nth}"
        shutil.copytree(prepared, folder)
        files, error = await with_fault(folder, Fault(nth, "EIO", CHANGES), RESTART)
        if files.fired is None:
            break
        if error is not None:
            refused += 1
            assert not isinstance(error, JobFailed), f"{files.fired}: {error!r}"
            await run(folder, len(NUMBERS))
        assert await sums_in(folder) == expected(NUMBERS), files.fired
    assert refused < nth // 3
