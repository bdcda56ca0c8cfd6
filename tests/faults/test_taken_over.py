"""Who was taken over from does not come back: whatever ends its attempt afterwards, it is not started again.

first     up ─ (frozen, here: waits) ────────── fails ──> restart? no: FencedError
second              take_over ── up ── goes on ──────────────────────── all output is there, once
"""

from __future__ import annotations

import asyncio
from os.path import join
from typing import TYPE_CHECKING

import pytest

from actorstream import JobFailed, Pipeline, Restart
from actorstream.errors import FencedError
from tests.faults.sums import NUMBERS, add, committed, expected, extend, numbers_log, sums_in, sums_log, third, to_sum

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actorstream.api.run import Run


def make_run(
    folder: str, add: Callable[[int, int], int], *, interval: float | None = None, take_over: bool = False
) -> Run:
    pipeline = Pipeline("sums")
    table = pipeline.source(numbers_log(folder), name="numbers").key_by(third).fold(0, add, name="sum")
    table.map(to_sum).sink(sums_log(folder), name="sums")
    restart = Restart.fixed_delay(100, delay=0.01)
    return pipeline.run(store=join(folder, "store"), checkpoint_interval=interval, restart=restart, take_over=take_over)


async def test_a_job_that_was_taken_over_from_is_not_started_again_when_it_fails(tmp_path: Path) -> None:
    """T105: else the two would fence each other in turn, each time one of them fails. The first takes no checkpoint."""
    folder, failing = str(tmp_path), False

    def fails(total: int, number: int) -> int:
        if failing:
            raise OSError("what it waited for has gone meanwhile")
        return total + number

    await extend(folder, NUMBERS[:80])
    up = asyncio.Event()

    async def host() -> None:
        async with make_run(folder, fails):
            up.set()
            await asyncio.Event().wait()

    first = asyncio.get_running_loop().create_task(host())
    await up.wait()
    async with sums_log(folder) as sums, make_run(folder, add, interval=0.02, take_over=True) as second:
        await committed(sums, 80)
        failing = True
        await extend(folder, NUMBERS[80:])
        with pytest.raises(JobFailed) as failed:
            await first
        await committed(sums, len(NUMBERS))
        assert second.summary().restarts == 0
    assert isinstance(failed.value.__cause__, FencedError)
    assert await sums_in(folder) == expected(NUMBERS)
