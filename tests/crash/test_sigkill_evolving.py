"""SIGKILL while savepoints are taken and the job is rescaled: nothing lost, nothing doubled, no half savepoint."""

from __future__ import annotations

import asyncio
import random
import signal
from typing import TYPE_CHECKING

import pytest

from actorstream.checkpoints.savepoints import MANIFEST, find_snapshot, read_snapshot, verify_snapshot
from actorstream.system.files import RealFiles
from tests.crash.orders import build, by_customer, expected, orders_log, output_log, wait_count
from tests.crash.process import started
from tests.crash.test_sigkill import Load, say

if TYPE_CHECKING:
    from pathlib import Path

SEED = 31
KILLS = 8
KILLS_MAX = 40
"""So many where none has met a savepoint half made: on a fast disk that takes a millisecond."""


def whole(folder: Path) -> list[str]:
    """Name the savepoints that are there, each proved to its last byte."""
    files = RealFiles()
    names = []
    for path in sorted(folder.glob("*/" + MANIFEST)):
        place = find_snapshot(files, str(path.parent))
        assert verify_snapshot(files, place, read_snapshot(files, place)) == []
        names.append(path.parent.name)
    return names


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_kills_in_savepoints_and_rescales_lose_and_double_nothing(tmp_path: Path) -> None:
    """Half of the kills fall into a savepoint, half into a rescale; what is half made is gone with the next start."""
    rng = random.Random(SEED)
    load = Load(orders_log(str(tmp_path)), rng)
    savepoints = tmp_path / "store" / "orders" / "savepoints"
    updates = output_log(str(tmp_path), "updates")
    half = 0
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run())
        try:
            number = 0
            while number < KILLS or (not half and number < KILLS_MAX):
                async with started("-m", "tests.crash.orders", str(tmp_path), f"run{number}", folder=tmp_path) as child:
                    if number % 2:
                        await child.until("savepoint")
                        while not any(savepoints.glob("*/*.making")):
                            assert not child.ended, child.last_words()
                            await asyncio.sleep(0.0005)
                        if number % 4 == 3:
                            await asyncio.sleep(0.01 * rng.random())
                    else:
                        await child.until("rescale")
                        await asyncio.sleep(0.3 * rng.random())
                    await child.kill()
                    await child.until(None)
                made = [path for path in savepoints.glob("*") if not (path / MANIFEST).exists()]
                half += len(made)
                number += 1
                say(f"{number} {child.said[-1]:9} whole {len(whole(savepoints))}, half {[path.name for path in made]}")
        finally:
            load.stop = True
    before = whole(savepoints)
    async with started("-m", "tests.crash.orders", str(tmp_path), folder=tmp_path) as child:
        await wait_count(updates, len(load.appended))
        child.signal(signal.SIGTERM)
        assert await child.wait() == 0, child.last_words()

    assert len(before) > KILLS // 2
    assert half > 0
    assert whole(savepoints) == before, "the job deletes none"
    assert sorted(path.name for path in savepoints.iterdir()) == before, "and leaves no half one"
    assert await by_customer(updates) == expected(load.appended).updates

    oldest = before[0]
    run = build(str(tmp_path)).run(store=tmp_path / "store", restore=oldest, fork="again")
    async with run:
        await wait_count(output_log(str(tmp_path), "updates@again"), 1)
