"""What a job tells the logs that it reads, so that retention deletes nothing it must read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.api.pipeline import Pipeline
from actorstream.api.script import collect
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.positions import LogPosition
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
