"""What a job tells the logs that it reads, so that retention deletes nothing it must read again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from actorstream.api.pipeline import Pipeline
from actorstream.api.script import collect
from actorstream.api.settings import Settings
from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.checkpoints.manifest import seal
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.positions import LogPosition
from actorstream.protocol.attempts import next_claim
from actorstream.system.files import RealFiles
from tests.runtime.doubles import until

if TYPE_CHECKING:
    from pathlib import Path


async def registered(log: EventLog[int]) -> dict[str, list[int]]:
    """Give the positions of each consumer, by the source's name."""
    return {consumer.name.partition("/")[2]: consumer.positions for consumer in await log.consumers()}


async def test_job_registers_before_it_reads_and_moves_on_with_its_oldest_checkpoint(tmp_path: Path) -> None:
    """What a kept checkpoint may have to read again is behind the position, not before it."""
    async with EventLog(int, tmp_path / "log") as log:
        pipeline = Pipeline("t")
        pipeline.source(log, name="in").map(abs).sink(print, name="out")
        async with pipeline.run(store=tmp_path, checkpoint_interval=None) as job:
            assert await registered(log) == {"in": [-1]}

            async def position_after(number: int) -> list[int]:
                await log.append(number)
                await until(lambda: job.summary().records_in == number + 1)
                await job.checkpoint()
                return (await registered(log))["in"]

            assert [await position_after(number) for number in range(4)] == [[0], [0], [0], [1]]
        (consumer,) = await log.consumers()
        assert consumer.store == str(tmp_path / "t")


async def test_what_a_zombie_published_is_not_counted_as_kept(tmp_path: Path) -> None:
    """It will never be restored; where it is counted, records go that the oldest kept checkpoint has still to read."""
    store = tmp_path / "t"

    async def read_up_to(number: int) -> None:
        await log.extend(range(4))
        async with pipeline.run(store=tmp_path, checkpoint_interval=None, settings=Settings(retained=2)) as job:
            await until(lambda: job.summary().records_in == number)

    async with EventLog(int, tmp_path / "log") as log:
        pipeline = Pipeline("t")
        pipeline.source(log, name="in").map(abs).sink(print, name="out")
        await read_up_to(4)
        await read_up_to(4)

        directory = CheckpointDirectory(RealFiles(), str(store))
        directory.open("f" * 32)
        *_, older, newer = directory.checkpoint_ids()
        far = directory.read(newer)
        third = directory.claim(next_claim(directory.claims(), directory.checkpoint_ids()))
        shutil.rmtree(store / "checkpoints" / str(newer))
        void = store / "checkpoints" / str(third.first_checkpoint)
        void.mkdir()
        (void / "manifest.json").write_bytes(seal(replace(far, checkpoint=third.first_checkpoint)))
        directory.publish(replace(far, checkpoint=third.first_checkpoint + 1, attempt=third.attempt))
        assert [fact.attempt for fact in directory.manifests()] == [1, 2, 3]
        assert directory.checkpoint_ids()[0] == older

        async with pipeline.run(store=tmp_path, checkpoint_interval=None, settings=Settings(retained=2)):
            assert await registered(log) == {"in": [3]}


async def test_two_sources_on_one_log_hold_it_apart(tmp_path: Path) -> None:
    """One that is ahead must not let go of what the other has still to read."""
    async with EventLog(int, tmp_path / "log") as log:
        await log.extend(range(10))
        pipeline = Pipeline("t")
        pipeline.source(log.view(stop=[LogPosition(0, 3)]), name="slow").map(abs)
        pipeline.source(log, name="fast").map(abs)
        async with pipeline.run(store=tmp_path, checkpoint_interval=None) as job:
            await until(lambda: job.summary().records_in == 13)
            await job.checkpoint()
        assert await registered(log) == {"slow": [2], "fast": [9]}


async def test_job_without_a_store_leaves_nothing_behind(tmp_path: Path) -> None:
    """It never comes back: its name would keep the log from ever deleting anything."""
    async with EventLog(int, tmp_path / "log") as log:
        await log.extend([1, 2])
        pipeline = Pipeline("t")

        assert await collect(pipeline.source(log.view(stop="now"), name="in").map(abs)) == [1, 2]
        assert await log.consumers() == []
