"""A plain stop that comes while another end of the job is tried for, which then fails: the job still ends."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from typing import TYPE_CHECKING, Literal

import pytest

from actorstream.errors import StoreError
from actorstream.system.current import current_world, use_world
from tests.api.evolving import check, has_read, numbers, sums
from tests.checkpoints.stepped_files import SteppedFiles, Switch
from tests.runtime.doubles import Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def stop_and_fail(step: str, name: str, stop: Callable[[], None]) -> Callable[[str, str], None]:
    """Let `stop` happen on this loop before the given step on paths ending in `name`, which then fails, once."""
    loop = asyncio.get_running_loop()
    passed: list[str] = []

    def before(at: str, path: str) -> None:
        if at != step or not path.endswith(name) or passed:
            return
        passed.append(path)
        told = threading.Event()
        loop.call_soon_threadsafe(stop)
        loop.call_soon_threadsafe(told.set)
        assert told.wait(30)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    return before


@pytest.mark.parametrize(
    ("step", "name", "end"),
    [
        ("link", "/1/manifest.json", "savepoint"),
        ("lock", ".making", "savepoint"),
        ("link", "last/manifest.json", "savepoint"),
        ("link", "/2/manifest.json", "rescale"),
    ],
    ids=["its checkpoint", "the savepoint's folder", "the savepoint", "the checkpoint that hands over"],
)
async def test_a_stop_beside_an_end_that_fails_is_kept(
    tmp_path: Path, step: str, name: str, end: Literal["savepoint", "rescale"]
) -> None:
    """What was tried for is told that it failed; the job ends, with all that it has read committed."""
    switch = Switch()
    world = current_world()
    source, out = numbers(10), Target()
    with use_world(type(world)(world.clock, SteppedFiles(switch), world.offload, world.random, world.processes)):
        async with asyncio.timeout(60), sums(source, out).run(store=tmp_path, checkpoint_interval=None) as job:
            await has_read(job, 40)
            switch.then = stop_and_fail(step, name, job.stop_soon)
            with pytest.raises(StoreError, match="No space left on device"):
                await (job.stop(savepoint="last") if end == "savepoint" else job.rescale(3))
            await job.wait()
            assert job.status == "finished"
    check(out.committed, 10)
