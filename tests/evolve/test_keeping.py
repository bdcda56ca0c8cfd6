"""A savepoint made beside a running job: what the job retires meanwhile is not what it was made of."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.api.settings import Settings
from actorstream.checkpoints.view import StoreView
from actorstream.errors import StoreError
from actorstream.eventlog.log import EventLog
from actorstream.evolve.keeping import keep_registered
from actorstream.system.current import current_world, use_world
from actorstream.system.files import RealFiles
from tests.runtime.doubles import until

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.api.job import Job
    from actorstream.model.ids import CheckpointId


class HeldFiles(RealFiles):
    """Holds those who look for the log, which registering begins with, until they may go on; each time if `always`."""

    def __init__(self, log: str) -> None:
        self._log = log
        self.asked = 0
        self.may_go_on = threading.Semaphore(0)

    def exists(self, path: str, /) -> bool:
        if path == self._log:
            self.asked += 1
            assert self.may_go_on.acquire(timeout=20)
        return super().exists(path)


class Rig:
    """A job that keeps one checkpoint, and a thread that makes a savepoint of it."""

    def __init__(self, folder: Path, job: Job, log: EventLog[int]) -> None:
        self.folder, self.job, self.log = folder, job, log
        self.files = HeldFiles(str(folder / "log"))
        self.written = 0

    async def checkpoint(self) -> int:
        """Take one after one more record, by which the checkpoint before goes."""
        await self.log.append(self.written)
        self.written += 1
        await until(lambda: self.job.summary().records_in == self.written)
        return await self.job.checkpoint()

    async def begin(self, checkpoint: int | None = None) -> asyncio.Task[int]:
        """Have it make a savepoint; it is held where the logs are to be told."""
        with use_world(replace(current_world(), files=self.files)):
            view = StoreView(self.files, str(self.folder / "t"))
            number: CheckpointId | None = checkpoint  # type: ignore[assignment]
            making = asyncio.create_task(asyncio.to_thread(keep_registered, self.files, view, "before", number))
        await self.held(1)

        async def number_of() -> int:
            return (await making)[1].checkpoint

        return asyncio.create_task(number_of())

    async def held(self, times: int) -> None:
        """Wait until the logs are to be told for this time."""
        await until(lambda: self.files.asked == times)

    async def kept(self) -> dict[str, list[int]]:
        """Give the positions that the log keeps records behind."""
        return {each.name.partition("/")[2]: each.positions for each in await self.log.consumers()}


async def test_what_is_retired_before_the_logs_are_told_is_made_again_of_the_newest(tmp_path: Path) -> None:
    """Records that the retired one needed may have gone by then; those of the newest have not."""
    async with EventLog(int, tmp_path / "log") as log:
        pipeline = Pipeline("t")
        pipeline.source(log, name="in").map(abs).sink(lambda _: None, name="out")
        async with pipeline.run(store=tmp_path, checkpoint_interval=None, settings=Settings(retained=1)) as job:
            rig = Rig(tmp_path, job, log)
            await rig.checkpoint()
            making = await rig.begin()
            newest = await rig.checkpoint()
            rig.files.may_go_on.release(9)
            assert await making == newest
            assert await rig.kept() == {"in": [1], "in@before": [1]}


async def test_a_named_checkpoint_that_is_retired_meanwhile_is_refused(tmp_path: Path) -> None:
    """Another one was not asked for; nothing is left of it."""
    async with EventLog(int, tmp_path / "log") as log:
        pipeline = Pipeline("t")
        pipeline.source(log, name="in").map(abs).sink(lambda _: None, name="out")
        async with pipeline.run(store=tmp_path, checkpoint_interval=None, settings=Settings(retained=1)) as job:
            rig = Rig(tmp_path, job, log)
            making = await rig.begin(await rig.checkpoint())
            await rig.checkpoint()
            rig.files.may_go_on.release(9)
            with pytest.raises(StoreError, match=r"the job deleted checkpoint 1 before .*job.savepoint"):
                await making
            assert await rig.kept() == {"in": [1]}
            assert StoreView(RealFiles(), str(tmp_path / "t")).savepoint_names() == []


async def test_a_job_that_always_is_faster_ends_it_with_an_error(tmp_path: Path) -> None:
    """After some tries; nothing is left of any."""
    async with EventLog(int, tmp_path / "log") as log:
        pipeline = Pipeline("t")
        pipeline.source(log, name="in").map(abs).sink(lambda _: None, name="out")
        async with pipeline.run(store=tmp_path, checkpoint_interval=None, settings=Settings(retained=1)) as job:
            rig = Rig(tmp_path, job, log)
            await rig.checkpoint()
            making = await rig.begin()
            for times in range(1, 6):
                await rig.held(times)
                await rig.checkpoint()
                rig.files.may_go_on.release()
            with pytest.raises(StoreError, match="the job deleted checkpoint 5"):
                await making
            assert await rig.kept() == {"in": [5]}
