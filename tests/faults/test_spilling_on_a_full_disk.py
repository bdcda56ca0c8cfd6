"""A disk that has no room for what a loop spills: what goes round waits in memory, and nothing of it is lost.

back lane ──sealed──> [segment] ──ENOSPC──> stays in memory ──> tried again, a second later
                                                 └── or the head takes it from there
"""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from actorstream import Pipeline
from actorstream.model.world import World
from actorstream.runtime import back_lane, spilling
from actorstream.system.current import current_world, use_world
from actorstream.system.files import RealFiles
from actorstream.testing.faults import InterceptedFiles, disk_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from actorstream import Stream
    from actorstream.testing.faults import CallKind

RECORDS, DOUBLINGS = 200, 6
ALWAYS = -1


class FullForLayers(InterceptedFiles):
    """Refuses `left` files of records; ALWAYS: each. `met` once that has shown: one was written, or never will be."""

    def __init__(self, left: int) -> None:
        super().__init__(RealFiles())
        self.left = left
        self.refused = self.written = 0
        self.met = asyncio.Event()

    def _before(self, kind: CallKind, path: str, half: Callable[[], None] | None = None) -> None:
        if kind != "sync_dir" or not path.endswith("/layers"):
            return
        if self.left:
            self.left -= 1
            self.refused += 1
            if self.left < 0:
                self.met.set()
            raise disk_error(errno.ENOSPC, path)
        self.written += 1
        self.met.set()


@pytest.fixture(autouse=True)
def _small_segments() -> Iterator[None]:
    """Segments of eight records, tried again soon."""
    with (
        patch.object(back_lane, "FRONT_RECORDS", 8),
        patch.object(back_lane, "SEGMENT_RECORDS", 8),
        patch.object(spilling, "RETRY_SECONDS", 0.01),
    ):
        yield


def doubling(out: list[int], met: asyncio.Event) -> Pipeline:
    seen = 0

    async def hold(_: int) -> None:
        """Let what comes back pile up until the disk has shown what it has."""
        nonlocal seen
        seen += 1
        if seen > RECORDS:
            await met.wait()

    def body(numbers: Stream[int]) -> tuple[Stream[int], Stream[int]]:
        numbers.sink(hold, name="hold")
        twice = numbers.rebalance().flat_map(lambda number: [number + 1, number + 1], name="twice")
        return twice.filter(lambda number: number < DOUBLINGS), twice.filter(lambda number: number == DOUBLINGS)

    pipeline = Pipeline("p")
    pipeline.source([0] * RECORDS, name="in").feedback(body, name="loop").sink(out.append, name="out")
    return pipeline


async def spilled(store: Path, files: FullForLayers) -> list[int]:
    """Run to the end; give what came out."""
    world, out = current_world(), list[int]()
    with use_world(World(world.clock, files, world.offload, world.random)):
        await doubling(out, files.met).run(store=store, parallelism=2, checkpoint_interval=None)
    return out


@pytest.mark.parametrize("left", [0, 1, 3, ALWAYS])
async def test_what_finds_no_room_waits_in_memory_and_all_comes_out(tmp_path: Path, left: int) -> None:
    files = FullForLayers(left)
    assert await spilled(tmp_path, files) == [DOUBLINGS] * RECORDS * 2**DOUBLINGS
    assert (files.refused > 0, files.written > 0) == (left != 0, left >= 0)
