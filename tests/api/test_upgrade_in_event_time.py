"""Names that are dropped and used again, where event time matters: nothing of what the old ones knew of it stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actorstream import Pipeline, Tumbling
from actorstream.api.settings import Settings
from tests.api.evolving import has_read
from tests.runtime.doubles import Splits, Target, until

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.api.savepoint import Savepoint

_ROWS = [(key, float(at)) for at in range(0, 100, 5) for key in "ab"]
_CLOSED = [(key, float(start), 2) for start in range(0, 90, 10) for key in "ab"]


def _counted(source: Splits[tuple[str, float]], out: Target, late: Target) -> Pipeline:
    """Count the records of each ten seconds; the last of 100 seconds stay open."""
    pipeline = Pipeline("counted", max_parallelism=8)
    stream = pipeline.source(source, name="in").assign_timestamps(lambda row: row[1], idle_timeout=None, name="time")
    counts = stream.key_by(lambda row: row[0]).window(Tumbling(10)).count(name="win")
    counts.map(lambda count: (count.key, count.start.timestamp(), count.value), name="show").sink(out, name="out")
    counts.late.sink(late, name="late")
    return pipeline


@pytest.mark.parametrize(
    ("dropped", "parallelism"),
    [(["in", "win"], 1), (["in", "time", "win"], 1), (["in", "time", "win"], 2), (["in", "win", "time", "out"], 2)],
)
async def test_a_dropped_name_that_is_used_again_finds_nothing_late(
    tmp_path: Path, dropped: list[str], parallelism: int
) -> None:
    """Its source begins anew, far behind the watermark that the old one had come to."""
    source = Splits({"0": _ROWS}, ended=False)
    savepoint = await _run_through(source, store=tmp_path / "one")
    settings = Settings(allow_dropped=dropped)
    await _run_through(source, store=tmp_path / "two", restore=savepoint, settings=settings, parallelism=parallelism)


async def _run_through(source: Splits[tuple[str, float]], **options: Any) -> Savepoint:
    """Run over all records, see that each window that can close has closed with all of its records, and stop."""
    out, late = Target(), Target()
    async with _counted(source, out, late).run(**options) as job:
        await has_read(job, len(_ROWS))
        await until(lambda: len(out.committed) + len(late.committed) >= len(_CLOSED))
        savepoint = await job.stop(savepoint="v1")
    assert sorted(out.committed) == sorted(_CLOSED)
    assert late.committed == []
    return savepoint


async def test_a_window_operator_alone_is_given_up(tmp_path: Path) -> None:
    """The source goes on: what the new operator sees first is what comes next, and that is not late."""
    source, out, late = Splits({"0": _ROWS}, allowed=20, ended=False), Target(), Target()
    async with _counted(source, out, late).run(store=tmp_path) as job:
        await has_read(job, 20)
    out.committed.clear()
    source.allow(None)
    async with _counted(source, out, late).run(store=tmp_path, settings=Settings(allow_dropped=["win"])) as job:
        await has_read(job, len(_ROWS) - 20)
        await until(lambda: len(out.committed) >= 8)
    assert sorted(out.committed) == [each for each in sorted(_CLOSED) if each[1] >= 50]
    assert late.committed == []
