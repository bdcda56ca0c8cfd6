"""The newest checkpoint is damaged and there is no copy: a person may choose an older one, knowing what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream import EventLog, Pipeline, Settings
from actorstream.errors import RestoreError

if TYPE_CHECKING:
    from pathlib import Path


def totals(numbers: EventLog[int], out: EventLog[tuple[int, int]]) -> Pipeline:
    pipeline = Pipeline("totals")
    pipeline.source(numbers).key_by(lambda n: n % 2).fold(0, lambda total, n: total + n, name="total").sink(out)
    return pipeline


async def test_an_older_checkpoint_is_restored_only_when_asked_for_twice(tmp_path: Path) -> None:
    """T90: never silently; then state is exact again, output since then comes a second time, and ids go on above."""
    numbers, out = EventLog(int, tmp_path / "numbers"), EventLog(tuple[int, int], tmp_path / "out")
    store = tmp_path / "store"
    ids: list[int] = []
    for batch in (range(4), range(4, 8)):
        await numbers.extend(batch)
        async with totals(numbers, out).run(
            store=store, checkpoint_interval=None, settings=Settings(retained=50)
        ) as job:
            while job.summary().records_in < 4:
                ids.append(await job.checkpoint())
            ids.append(await job.checkpoint())
    folder = store / "totals" / "checkpoints"
    newest = max(int(path.name) for path in folder.iterdir())
    manifest = folder / str(newest) / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:-40])
    older = ids[0]  # in the middle of the first batch, or before it

    with pytest.raises(RestoreError, match=f"checkpoint {newest} cannot be restored"):
        await totals(numbers, out).run(store=store)
    with pytest.raises(RestoreError, match="--accept-duplicates"):
        await totals(numbers, out).run(store=store, restore=older)
    pipeline = totals(numbers, out)
    async with pipeline.run(store=store, restore=older, accept_duplicates=True, checkpoint_interval=None) as job:
        while [record.value async for record in out.records(stop="now")].count((1, 16)) < 2:
            assert await job.checkpoint() > newest

    values = [record.value async for record in out.records(stop="now")]
    assert values.count((0, 12)) == values.count((1, 16)) == 2
