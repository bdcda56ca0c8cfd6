"""A real service for a real time: nothing that can be measured of it grows, and every result is right.

ENDURANCE_SECONDS=600 pytest -m endurance      as `make verify` does; below a minute it says little
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from statistics import median
from typing import TYPE_CHECKING

import pytest

from benchmarks.children import ROOT
from tests.endurance.flat import growth
from tests.endurance.watching import Sample, sample, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SECONDS = float(os.environ.get("ENDURANCE_SECONDS", "600"))
LEAK_SECONDS = 45.0
WARM_UP_SHARE, WARM_UP_SECONDS = 0.2, 20.0
LINE_SECONDS = 60.0

# glibc keeps what a thread frees for that thread. LMDB takes 2 MiB for each file that is written, in any of 8 threads,
# so memory goes up in steps of 2 MiB for some minutes, and stays there: no leak, and it would hide a small one.
_FEW_ARENAS = {"MALLOC_ARENA_MAX": "2"}

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.skipif("ENDURANCE_SECONDS" not in os.environ, reason="takes minutes: set ENDURANCE_SECONDS"),
]

GROWTH_MAX: Mapping[str, float] = {
    "anonymous": 6 * 1024,
    "resident": 16 * 1024,
    "open_files": 4,
    "maps": 12,
    "threads": 3,
    "children": 0.5,
    "disk": 4 * 1024,
    "files": 4,
    "tasks": 0.5,
    "layers": 2,
    "stall_ms": 10,
    "awaited": 200,
}
"""By how much each may grow after the warm-up, however long that was ago; memory and disk in KiB."""

MEDIAN_MAX: Mapping[str, float] = {
    "stall_ms": 25,
    "layers": 12,
    "open_files": 100,
    "threads": 12,
    "files": 80,
    "disk": 64 * 1024,
}


@pytest.mark.timeout(SECONDS + 120)
async def test_nothing_grows(tmp_path: Path) -> None:
    """Load, checkpoints every second, keys that come and go, retention, compaction and queries."""
    samples, last = await watch(tmp_path, SECONDS)

    assert last["done"]
    assert last["fed"] >= 0.95 * 3_000 * SECONDS, "the load was what it should be"
    assert last["right"] > 200 * (SECONDS - WARM_UP_SECONDS), "every visit that ended was compared"
    said = samples[-1].said
    assert said["checkpoints"] > 0.8 * SECONDS
    assert said["failed_checkpoints"] == said["restarts"] == 0
    late = after_warm_up(samples, SECONDS)
    assert growing(late) == {}, table(samples)
    medians = {name: median(getattr(each, name) for each in late) for name in MEDIAN_MAX}
    assert {name: found for name, found in medians.items() if found > MEDIAN_MAX[name]} == {}, table(samples)


@pytest.mark.timeout(LEAK_SECONDS + 120)
@pytest.mark.parametrize(("leak", "seen"), [("memory", "anonymous"), ("files", "open_files")])
async def test_leak_is_seen(leak: str, seen: str, tmp_path: Path) -> None:
    """The same service with a leak of its own: a megabyte, or an open file, a second."""
    samples, _ = await watch(tmp_path, LEAK_SECONDS, leak)

    assert seen in growing(after_warm_up(samples, LEAK_SECONDS)), table(samples)


async def watch(folder: Path, seconds: float, leak: str = "") -> tuple[list[Sample], dict[str, float]]:
    """Run the service, take a sample whenever it prints a line; give the samples and its last line."""
    with (folder / "stderr.txt").open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.endurance.service", str(folder), str(seconds), leak,
            cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=errors, env={**os.environ, **_FEW_ARENAS},
        )  # fmt: skip
    started = time.monotonic()
    samples: list[Sample] = []
    last: dict[str, float] = {}
    try:
        assert process.stdout is not None
        while line := await asyncio.wait_for(process.stdout.readline(), LINE_SECONDS):
            last = json.loads(line)
            if "done" not in last:
                samples.append(sample(process.pid, folder, last, started))
        assert await asyncio.wait_for(process.wait(), LINE_SECONDS) == 0, (folder / "stderr.txt").read_text()[-4_000:]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert "done" in last, "the service ended before its time"
    return samples, last


def after_warm_up(samples: Sequence[Sample], seconds: float) -> list[Sample]:
    """Leave out what belongs to the start: caches that fill, visits that have not ended, layers not yet merged."""
    return [each for each in samples if each.second > max(WARM_UP_SECONDS, WARM_UP_SHARE * seconds)]


def growing(samples: Sequence[Sample]) -> dict[str, float]:
    """Give what grew by more than it may, and by how much."""
    seconds = [each.second for each in samples]
    grown = {name: growth(seconds, [getattr(each, name) for each in samples]) for name in GROWTH_MAX}
    return {name: found for name, found in grown.items() if found > GROWTH_MAX[name]}
