"""Checkpoints that somebody deleted: an older one, or none, must not be gone on from silently."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from actorstream import EventLog, Pipeline
from actorstream.errors import RestoreError

if TYPE_CHECKING:
    from pathlib import Path


def doubled(folder: Path, numbers: EventLog[int], out: EventLog[int]) -> Pipeline:
    pipeline = Pipeline("doubled")
    pipeline.source(numbers).map(lambda n: 2 * n).sink(out, name="out")
    return pipeline


@pytest.mark.parametrize("kept", [0, 1])
async def test_output_is_not_written_twice_after_the_newest_checkpoints_were_deleted(tmp_path: Path, kept: int) -> None:
    """T90: the log knows what it has, whatever became of the store."""
    numbers, out = EventLog(int, tmp_path / "numbers"), EventLog(int, tmp_path / "out")
    for batch in (range(5), range(5, 10)):
        await numbers.extend(batch)
        async with doubled(tmp_path, numbers, out).run(store=tmp_path / "store", checkpoint_interval=None) as job:
            while job.summary().records_in < 5:
                await job.checkpoint()
    checkpoints = sorted((tmp_path / "store" / "doubled" / "checkpoints").iterdir(), key=lambda path: int(path.name))
    for folder in checkpoints[kept:]:
        shutil.rmtree(folder)

    with pytest.raises(RestoreError, match=r"out.* holds the output of checkpoint \d+ .* put the newest folder"):
        await doubled(tmp_path, numbers, out).run(store=tmp_path / "store")
    assert [record.value async for record in out.records(stop="now")] == [2 * n for n in range(10)]
