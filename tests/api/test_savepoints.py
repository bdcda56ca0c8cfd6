"""Savepoints of running jobs: what they hold, what they do not do, and how a job stops with one."""

from __future__ import annotations

import asyncio
import errno
import shutil
from typing import TYPE_CHECKING

import pytest

from actorstream.api.savepoint import Savepoint
from actorstream.api.settings import Settings
from actorstream.checkpoints.savepoints import find_snapshot, read_snapshot
from actorstream.errors import PlanError, StoreError
from actorstream.system.current import current_world, use_world
from actorstream.system.files import RealFiles
from tests.api.evolving import check, has_read, numbers, sums
from tests.checkpoints.stepped_files import SteppedFiles, Switch, fail_at, nothing
from tests.runtime.doubles import Splits, Target

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.checkpoints.manifest import Manifest


def manifest_at(savepoint: Savepoint) -> Manifest:
    files = RealFiles()
    return read_snapshot(files, find_snapshot(files, savepoint.path))


# ---- taking one


async def test_a_savepoint_commits_nothing_and_holds_what_is_pending(tmp_path: Path) -> None:
    """The next checkpoint commits, what was written before the savepoint too (T104)."""
    source, out = numbers(30), Target()
    async with sums(source, out).run(store=tmp_path, checkpoint_interval=None) as job:
        await has_read(job, 120)
        savepoint = await job.savepoint("before")
        assert out.committed == []
        assert [token.operator for token in manifest_at(savepoint).sinks] == ["out"]
        assert job.metrics()["job.checkpoints"] == 0
        await job.checkpoint()
        check(out.committed, 30)
        source.allow(40)
        await has_read(job, 160)
    check(out.committed, 40)


async def test_a_savepoint_is_found_where_it_says(tmp_path: Path) -> None:
    """Its folder is below the store, under its name."""
    async with sums(numbers(3), Target()).run(store=tmp_path) as job:
        assert await job.savepoint("v1.0-rc_2") == Savepoint("v1.0-rc_2", str(tmp_path / "sums/savepoints/v1.0-rc_2"))


async def test_a_savepoint_that_cannot_be_made_leaves_the_job_alone(tmp_path: Path) -> None:
    """A wrong name, a name that is taken, a full disk: told, and nothing has happened."""
    switch = Switch()
    world = current_world()
    with use_world(type(world)(world.clock, SteppedFiles(switch), world.offload, world.random, world.processes)):
        out = Target()
        async with sums(numbers(10), out).run(store=tmp_path, settings=Settings(tolerated_failures=0)) as job:
            await has_read(job, 40)
            with pytest.raises(PlanError, match="a savepoint cannot be called"):
                await job.savepoint("../x")
            await job.savepoint("a")
            with pytest.raises(StoreError, match="is a savepoint already"):
                await job.savepoint("a")
            switch.then = fail_at("link", "b/manifest.json", errno.ENOSPC)
            with pytest.raises(StoreError, match=r"savepoint \d+ failed: .*No space left on device"):
                await job.savepoint("b")
            assert job.status == "running"
            switch.then = nothing
            await job.savepoint("b")
    check(out.committed, 10)


async def test_without_a_store_there_is_nowhere_to_keep_one(tmp_path: Path) -> None:
    """Also where it would be asked for at the end: the job goes on."""
    async with sums(numbers(3), Target()).run() as job:
        with pytest.raises(PlanError, match="the job has no store that outlives it"):
            await job.savepoint("a")
        with pytest.raises(PlanError, match="the job has no store that outlives it"):
            await job.stop(savepoint="a")
        assert job.status == "running"


# ---- stopping with one


async def test_stop_with_savepoint_commits_and_needs_nothing_of_its_sinks(tmp_path: Path) -> None:
    """What it holds is out, so it holds no token; and the store goes on from the same place."""
    source, out = numbers(30), Target()
    async with sums(source, out).run(store=tmp_path, checkpoint_interval=None) as job:
        await has_read(job, 120)
        savepoint = await job.stop(savepoint="last")
        assert job.status == "finished"
    check(out.committed, 30)
    assert manifest_at(savepoint).sinks == []

    source.allow(50)
    async with sums(source, out).run(store=tmp_path, checkpoint_interval=None) as job:
        await has_read(job, 80)
    check(out.committed, 50)


async def test_a_stop_whose_savepoint_fails_leaves_the_job_running_with_its_sources(tmp_path: Path) -> None:
    """T111's neighbour: never half stopped. What is read afterwards comes out once, and it can be stopped again."""
    switch = Switch()
    world = current_world()
    source, out = numbers(10), Target()
    with use_world(type(world)(world.clock, SteppedFiles(switch), world.offload, world.random, world.processes)):
        async with sums(source, out).run(store=tmp_path, checkpoint_interval=None) as job:
            await has_read(job, 40)
            for step in ("lock", "link", "sync_dir"):
                switch.then = fail_at(step, "last" if step == "sync_dir" else "last/manifest.json", errno.EIO)
                if step == "lock":
                    switch.then = fail_at(step, ".making", errno.EIO)
                with pytest.raises(StoreError, match="Input/output error"):
                    await job.stop(savepoint="last")
                assert job.status == "running"
                switch.then = nothing
                shutil.rmtree(tmp_path / "sums/savepoints/last", ignore_errors=True)
                source.allow(20)
                await has_read(job, 80)
            source.allow(30)
            await has_read(job, 120)
            await job.stop(savepoint="last")
    check(out.committed, 30)


async def test_a_stop_whose_checkpoint_fails_leaves_the_job_running(tmp_path: Path) -> None:
    """The savepoint is made of it, so there is none."""
    switch = Switch()
    world = current_world()
    source, out = numbers(10), Target()
    with use_world(type(world)(world.clock, SteppedFiles(switch), world.offload, world.random, world.processes)):
        async with sums(source, out).run(
            store=tmp_path, checkpoint_interval=None, settings=Settings(tolerated_failures=0)
        ) as job:
            await has_read(job, 40)
            switch.then = fail_at("link", "/1/manifest.json", errno.ENOSPC)
            with pytest.raises(StoreError, match="No space left on device"):
                await job.stop(savepoint="last")
            assert job.status == "running"
            assert not (tmp_path / "sums/savepoints").exists()
            source.allow(20)
            await has_read(job, 80)
    check(out.committed, 20)


async def test_as_many_savepoints_as_like_are_made_of_the_final_checkpoint(tmp_path: Path) -> None:
    """One after the other, however many wait when the job ends."""
    source, out = numbers(10), Target()
    async with sums(source, out).run(store=tmp_path, checkpoint_interval=None) as job:
        await has_read(job, 40)
        asked = [asyncio.ensure_future(job.savepoint(f"s{number}")) for number in range(520)]
        await asyncio.sleep(0)
        await job.stop()
    made = await asyncio.gather(*asked)
    assert len({manifest_at(savepoint).checkpoint for savepoint in made}) <= 2


async def test_a_job_that_has_ended_by_itself_makes_no_savepoint_any_more(tmp_path: Path) -> None:
    """Whoever asks is told, not left waiting."""
    source = Splits({"a": [1, 2, 3]})
    async with sums(source, Target()).run(store=tmp_path) as job:
        await job.wait()
        with pytest.raises(StoreError, match="no savepoint can be taken now: the job is finished"):
            await job.savepoint("late")
