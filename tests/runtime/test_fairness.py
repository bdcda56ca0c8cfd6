"""The host's loop: a job under full load lets everybody else have their turns."""

from __future__ import annotations

import asyncio
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import anyio
import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.runtime.pace import BURST_SECONDS
from tests.runtime.doubles import Target

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("loop", "actors"), [("asyncio", 2), ("uvloop", 2), ("asyncio", 1)])
def test_saturated_job_does_not_hold_the_loop(tmp_path: Path, loop: str, actors: int) -> None:
    """A heartbeat beside a cheap pipeline: the usual gap is under two bursts, with one actor or two.

    The machine may be busy with other things, so the longest gap has a generous bound.
    """
    factory = pytest.importorskip("uvloop").Loop if loop == "uvloop" else None
    gaps: list[float] = []

    async def heartbeat() -> None:
        before = perf_counter()
        while True:
            await asyncio.sleep(0)
            now = perf_counter()
            gaps.append(now - before)
            before = now

    async def main() -> None:
        pipeline = Pipeline("t")
        numbers = pipeline.source(range(400_000), name="in").map(lambda v: v + 1)
        counted = numbers.key_by(lambda v: v % 1_000).count(name="count", new_chain=actors == 2)
        counted.filter(lambda kn: kn[1] % 50 == 0).sink(Target())
        async with anyio.create_task_group() as group, pipeline.run(store=tmp_path, checkpoint_interval=0.05) as job:
            group.start_soon(heartbeat)
            summary = await job.wait()
            group.cancel_scope.cancel()
        assert summary.records_in == 400_000

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    busy = sorted(gap for gap in gaps if gap > 0.0002)
    assert len(busy) > 10
    assert median(busy) < 2 * BURST_SECONDS
    assert busy[int(len(busy) * 0.9)] < 6 * BURST_SECONDS
    assert busy[-1] < 0.5
