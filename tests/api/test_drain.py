"""Ends on purpose: event time drained before a savepoint, and jobs that fail while one is waited for."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.errors import JobFailed, PlanError, StoreError
from actorstream.operators.windows.assigners import Tumbling
from actorstream.protocol.restart import Restart
from tests.api.evolving import has_read, numbers, sums
from tests.api.test_savepoints import manifest_at
from tests.runtime.doubles import Splits, Target

if TYPE_CHECKING:
    from pathlib import Path


async def test_drain_ends_event_time_before_the_savepoint(tmp_path: Path) -> None:
    """Open windows close; more of the same records open them again."""
    source, out = Splits({"a": list(range(25))}, ended=False), Target()

    def windows() -> Pipeline:
        pipeline = Pipeline("windows")
        timed = pipeline.source(source, name="in").assign_timestamps(float, out_of_orderness=0)
        counted = timed.key_by(lambda _: "k").window(Tumbling(10)).count(name="count")
        counted.map(lambda result: (result.start.timestamp(), result.value)).sink(out, name="out")
        return pipeline

    async with windows().run(store=tmp_path) as job:
        await has_read(job, 25)
        savepoint = await job.stop(savepoint="drained", drain=True)
    assert out.committed == [(0.0, 10), (10.0, 10), (20.0, 5)]
    assert manifest_at(savepoint).drained

    source.records["a"] += range(25, 45)
    async with windows().run(store=tmp_path) as job:
        await has_read(job, 20)
    assert out.committed == [(0.0, 10), (10.0, 10), (20.0, 5), (20.0, 5), (30.0, 10)]


async def test_a_drain_without_a_savepoint_is_refused(tmp_path: Path) -> None:
    """Nobody could tell afterwards where windows were closed early."""
    async with sums(numbers(3), Target()).run(store=tmp_path) as job:
        with pytest.raises(PlanError, match="takes a savepoint too"):
            await job.stop(drain=True)  # type: ignore[call-overload]
        assert job.status == "running"


async def test_who_waits_for_a_savepoint_of_a_job_that_fails_is_told(tmp_path: Path) -> None:
    """And the name is free."""

    def fail(total: int, value: int) -> tuple[int, int]:
        if value >= 100:
            raise ValueError("no")
        return total, value

    source = numbers(20)
    pipeline = Pipeline("sums")
    pipeline.source(source, name="in").key_by(lambda v: v % 3).map_with_state(0, fail, name="f").sink(Target())
    with pytest.raises(JobFailed):  # noqa: PT012
        async with pipeline.run(store=tmp_path, restart=Restart.never()) as job:
            await has_read(job, 80)
            source.allow(None)
            while True:
                try:
                    await job.savepoint("a")
                except (StoreError, JobFailed):
                    break
                shutil.rmtree(tmp_path / "sums/savepoints/a")
            await job.wait()
