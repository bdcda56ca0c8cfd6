"""2,000 subtasks on one loop: what they take of memory and files, and what a checkpoint of all of them takes.

That their manifest stays under 256 KiB, and is made in 20 ms, is in tests/runtime/test_wide_manifest.py.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import Fetched, Pipeline
from actorstream.checkpoints.view import StoreView
from actorstream.system.files import RealFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WIDTH = 1_998
"""With the source and the sink 2,000."""
SUBTASK_BYTES = 60 * 1024
CHECKPOINT_SECONDS = 5.0


def rss_bytes() -> int:
    """Give the memory that the process has now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Numbers:
    """Gives the numbers below a count, and then waits."""

    def __init__(self, count: int) -> None:
        self._count = count

    async def splits(self) -> list[str]:
        return ["0"]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, int]]:
        del split
        for at in range(0 if after is None else after + 1, self._count, 500):
            stop = min(at + 500, self._count)
            yield Fetched(range(at, stop), stop - 1)
        await asyncio.Event().wait()


@pytest.mark.verify
@pytest.mark.timeout(300)
async def test_2000_subtasks_take_checkpoints_in_little_memory_and_few_files(tmp_path: Path) -> None:
    """Every one has keys; twice, so that the second checkpoint stands on layers of the first."""
    out: list[Any] = []
    all_there = asyncio.Event()

    def take(change: object) -> None:
        out.append(change)
        if len(out) == 20_000:
            all_there.set()

    pipeline = Pipeline("wide", max_parallelism=4_096)
    counts = pipeline.source(Numbers(20_000), name="in").key_by(lambda n: n % 10_000)
    counts.count(name="counts", parallelism=WIDTH).changes().sink(take, name="out", parallelism=1)
    files, resident = len(os.listdir("/proc/self/fd")), rss_bytes()
    async with pipeline.run(store=tmp_path, checkpoint_interval=None) as job:
        await all_there.wait()
        seconds = []
        for _ in range(2):
            begun = time.thread_time()
            await job.checkpoint()
            seconds.append(time.thread_time() - begun)
        held, opened = rss_bytes() - resident, len(os.listdir("/proc/self/fd")) - files

    assert sorted({change[2] for change in out}) == [1, 2]
    assert held < (WIDTH + 2) * SUBTASK_BYTES, f"{held:,} bytes"
    assert opened < 32, opened
    assert min(seconds) < CHECKPOINT_SECONDS, seconds
    view = StoreView(RealFiles(), str(tmp_path / "wide"))
    manifest = view.read(view.checkpoint_ids()[-1])
    assert sum(len(operator.stacks) for operator in manifest.operators.values()) <= WIDTH
    path = f"{view.place(view.checkpoint_ids()[-1]).folder}/manifest.json"
    assert len(RealFiles().read(path)) < 256 * 1024
