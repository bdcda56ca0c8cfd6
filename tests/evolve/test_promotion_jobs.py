"""Jobs that read or write a log while it is promoted, or come back after; and readers in other processes."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, NamedTuple

from actorstream.api.pipeline import Pipeline
from actorstream.eventlog.log import EventLog
from actorstream.evolve import promote
from actorstream.protocol.restart import Restart
from tests.eventlog.setting import values_of
from tests.evolve.naive import Reading, log_of
from tests.evolve.promotion_lives import logs_beside
from tests.evolve.test_promotion import closing, take

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.api.run import Run

OLD = [Reading("s", i, "wrong" if i >= 40 else "") for i in range(60)]
NEW = [Reading("s", i) for i in range(60)]
LATER = [Reading("late", i) for i in range(10)]


class Total(NamedTuple):
    sensor: str
    sum: int


def copying(folder: Path, *, to: str = "out") -> Run:
    """Give the job that copies `log` to another one."""
    pipeline = Pipeline("copying")
    pipeline.source(EventLog(Reading, folder / "log"), name="log").sink(EventLog(Reading, folder / to), name="out")
    return pipeline.run(store=folder / "store", checkpoint_interval=0.02, restart=Restart.fixed_delay(3, delay=0.01))


def writing(folder: Path) -> Run:
    """Give the job that writes `log`, from `input`."""
    pipeline = Pipeline("writing")
    pipeline.source(EventLog(Reading, folder / "input"), name="input").sink(
        EventLog(Reading, folder / "log"), name="log"
    )
    return pipeline.run(store=folder / "store", checkpoint_interval=0.02, restart=Restart.fixed_delay(9, delay=0.01))


async def test_a_running_job_reads_on_at_the_first_record_that_differs(tmp_path: Path) -> None:
    """Its output has the repaired records behind the wrong ones: nothing is taken back."""
    log, new = await log_of(tmp_path / "log", OLD), await log_of(tmp_path / "new", NEW)
    async with asyncio.timeout(20), copying(tmp_path), closing(EventLog(Reading, tmp_path / "out").records()) as out:
        assert await take(out, 60) == OLD
        await promote(log, new.path)
        await log.extend(LATER)
        assert await take(out, 30) == [*NEW[40:], *LATER]


async def test_a_job_that_was_stopped_reads_on_at_the_first_record_that_differs(tmp_path: Path) -> None:
    """Also after several promotions: a checkpoint's positions say which records they mean."""
    log, out = await log_of(tmp_path / "log", OLD), EventLog(Reading, tmp_path / "out")
    expected: list[Reading] = []
    rounds = [(OLD, OLD), (NEW, NEW[40:]), ([*NEW, *LATER], LATER), ([*NEW[:50], *LATER], LATER)]
    for number, (records, news) in enumerate(rounds):
        if number:
            await promote(log, (await log_of(tmp_path / f"new{number}", records)).path)
        expected += news
        async with asyncio.timeout(20), copying(tmp_path), closing(out.records()) as reading:
            assert await take(reading, len(expected)) == expected
    assert await values_of(out) == expected


async def test_a_job_that_writes_the_log_goes_on_exactly_once(tmp_path: Path) -> None:
    """Its attempt ends at the next commit, and the next one commits what was staged: nothing twice, nothing lost."""
    source = await log_of(tmp_path / "input", OLD)
    log, new = EventLog(Reading, tmp_path / "log"), await log_of(tmp_path / "new", NEW)
    async with asyncio.timeout(20), writing(tmp_path), closing(log.records()) as reading:
        assert await take(reading, 60) == OLD
        for number in range(5):
            await promote(log, new.path)
            await source.append(LATER[number])
            await new.append(LATER[number])
            async with closing(log.records()) as whole:
                assert await take(whole, 61 + number) == [*NEW, *LATER[: number + 1]]
    assert await values_of(log) == [*NEW, *LATER[:5]]


READER = """
import asyncio, sys
from actorstream.eventlog.log import EventLog
from tests.evolve.naive import Reading

async def main(path):
    async for record in EventLog(Reading, path).records():
        print(record.value.value, record.value.note, flush=True)

asyncio.run(main(sys.argv[1]))
"""


async def test_a_reader_in_another_process_notices_without_an_append(tmp_path: Path) -> None:
    """Nobody rings a bell there, and the file it looks at is never written again."""
    log, new = await log_of(tmp_path / "log", OLD), await log_of(tmp_path / "new", NEW)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", READER, log.path, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            lines = [(await process.stdout.readline()).decode().split() for _ in range(60)]
            assert lines[-1] == ["59", "wrong"]
            await promote(log, new.path)
            assert [(await process.stdout.readline()).decode().split() for _ in range(20)] == [
                [str(i)] for i in range(40, 60)
            ]
    finally:
        process.kill()
        await process.wait()


async def test_appends_by_others_during_promotions_are_in_one_of_the_logs(tmp_path: Path) -> None:
    """Acknowledged is acknowledged: what did not come into the promoted log lies in the one beside it."""
    log = await log_of(tmp_path / "log", NEW)
    acknowledged: list[Reading] = []
    stop = asyncio.Event()

    async def appending() -> None:
        other = EventLog(Reading, log.path)
        while not stop.is_set():
            reading = Reading("busy", len(acknowledged))
            await other.append(reading)
            acknowledged.append(reading)

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(appending())
        for number in range(10):
            new = await log_of(tmp_path / f"new{number}", NEW)
            seen = len(acknowledged)
            await promote(log, new.path)
            while len(acknowledged) < seen + 5:  # noqa: ASYNC110  (another task's progress)
                await asyncio.sleep(0)
        stop.set()
    logs = [log, *(EventLog(Reading, path) for path in logs_beside(tmp_path))]
    found = [value for owner in logs for value in await values_of(owner) if value.sensor == "busy"]
    assert sorted(value.value for value in found) == list(range(len(acknowledged)))
