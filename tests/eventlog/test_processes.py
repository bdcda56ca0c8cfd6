"""Real processes on one log: two writers, a reader of another's tail, a writer that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.abc
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from actorstream.eventlog.folder import LogSettings
from actorstream.eventlog.log import EventLog
from tests.eventlog.setting import values_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]

WRITER = """
import sys
import anyio
from actorstream.eventlog.folder import LogSettings
from actorstream.eventlog.log import EventLog

async def main(path, name, count, at_once):
    log = EventLog(str, path, partitions=2, settings=LogSettings(segment_bytes=1 << 20))
    async def write(first):
        for i in range(first, count, at_once):
            value = f"{name} {i} " + "x" * 300
            await log.append(value)
            print(i, flush=True)
    async with anyio.create_task_group() as tasks:
        for first in range(at_once):
            tasks.start_soon(write, first)

anyio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
"""


EXTENDER = """
import sys
import anyio
from actorstream.eventlog.folder import LogSettings
from actorstream.eventlog.log import EventLog

async def main(path, name, pieces, size):
    log = EventLog(str, path, partitions=3, settings=LogSettings(segment_bytes=1 << 20))
    async def extend(start):
        for first in range(start * size, pieces * size, 2 * size):
            positions = await log.extend([f"{name} {i} " + "x" * 60 for i in range(first, first + size)])
            print(*[f"{p}:{o}" for p, o in positions], flush=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(extend, 0)
        tasks.start_soon(extend, 1)

anyio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
"""


@asynccontextmanager
async def writer(
    path: Path, name: str, count: int, at_once: int, code: str = WRITER
) -> AsyncIterator[anyio.abc.Process]:
    command = [sys.executable, "-c", code, str(path), name, str(count), str(at_once)]
    async with await anyio.open_process(command, stdout=subprocess.PIPE, stderr=None, cwd=ROOT) as process:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()


def numbered(values: list[str], name: str) -> list[int]:
    return [int(value.split()[1]) for value in values if value.split()[0] == name]


async def test_two_processes_write_one_log(tmp_path: Path) -> None:
    """Each record once, each writer's in order in its partition, across roll-overs that the other made."""
    async with writer(tmp_path / "log", "a", 1_500, 50) as one, writer(tmp_path / "log", "b", 1_500, 50) as two:
        for process in (one, two):
            assert process.stdout is not None
            async for _ in process.stdout:
                pass
            assert await process.wait() == 0
    log = EventLog(str, tmp_path / "log")
    values = await values_of(log)
    assert sorted(numbered(values, "a")) == sorted(numbered(values, "b")) == list(range(1_500))
    assert (await log.summary()).segments > 1


async def test_two_processes_that_extend_all_the_time_interleave_and_leave_no_hole(tmp_path: Path) -> None:
    """Each is told where its records lie: together these places are all there are, each taken once."""
    pieces, size = 24, 500
    told: list[str] = []
    async with (
        writer(tmp_path / "log", "a", pieces, size, EXTENDER) as one,
        writer(tmp_path / "log", "b", pieces, size, EXTENDER) as two,
    ):
        for process in (one, two):
            assert process.stdout is not None
            said = b"".join([piece async for piece in process.stdout])
            assert await process.wait() == 0
            told += said.decode().split()
    log = EventLog(str, tmp_path / "log")
    found: dict[str, str] = {}
    ends = [0, 0, 0]
    async for record in log.records(stop="now"):
        assert record.offset == ends[record.partition]
        ends[record.partition] += 1
        found[f"{record.partition}:{record.offset}"] = record.value
    assert sorted(told) == sorted(found)
    for name in ("a", "b"):
        assert sorted(numbered(list(found.values()), name)) == list(range(pieces * size))
    assert (await log.summary()).segments > 2


async def test_a_reader_follows_the_tail_of_another_process(tmp_path: Path) -> None:
    seen: list[str] = []
    log = EventLog(str, tmp_path / "log", partitions=2, settings=LogSettings(segment_bytes=1 << 20))
    await log.append("first 0")
    async with writer(tmp_path / "log", "a", 3_000, 100):
        with anyio.fail_after(25):
            async for record in log.records():
                seen.append(record.value)
                if len(seen) == 3_001:
                    break
    assert sorted(numbered(seen, "a")) == list(range(3_000))


@pytest.mark.crash
@pytest.mark.parametrize("acknowledged", [1, 40, 700])
async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, acknowledged: int) -> None:
    """Whatever the killed writer was doing: all it had said is there, once, and others can write at once."""
    said = b""
    async with writer(tmp_path / "log", "a", 100_000, 40) as process:
        assert process.stdout is not None
        async for piece in process.stdout:
            said += piece
            if said.count(b"\n") >= acknowledged:
                os.kill(process.pid, signal.SIGKILL)
                break
        async for piece in process.stdout:
            said += piece
    acked = [int(line) for line in said.splitlines(keepends=True) if line.endswith(b"\n")]
    log = EventLog(str, tmp_path / "log")
    with anyio.fail_after(10):
        await log.append("b 1")
    values = await values_of(log)
    found = numbered(values, "a")
    assert set(acked) <= set(found)
    assert len(found) == len(set(found))
    assert all(
        value == f"a {i} " + "x" * 300 for value, i in zip([v for v in values if v[0] == "a"], found, strict=True)
    )
    assert numbered(values, "b") == [1]


@pytest.mark.crash
async def test_a_stopped_writer_does_not_stop_readers(tmp_path: Path) -> None:
    log = EventLog(str, tmp_path / "log", partitions=2)
    await log.append("first 0")
    async with writer(tmp_path / "log", "a", 100_000, 40) as process:
        assert process.stdout is not None
        await process.stdout.receive()
        os.kill(process.pid, signal.SIGSTOP)
        with anyio.fail_after(10):
            assert len(await values_of(log)) > 1


OLDER = """
import sys
from dataclasses import dataclass
import anyio
from actorstream.eventlog.log import EventLog

@dataclass(frozen=True)
class Click:
    user: str
    page: int

async def main(path, name, count, at_once):
    log = EventLog(Click, path)
    for page in range(count):
        await log.append(Click(name, page))
        print(page, flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)
    try:
        await EventLog(Click, path).append(Click(name, count))
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)

anyio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
"""


async def test_a_program_of_an_older_version_writes_on_and_is_refused_when_it_opens_the_log_again(
    tmp_path: Path,
) -> None:
    """A rolling restart: what the old process goes on writing is converted, and never taken for the new type."""

    def newer() -> EventLog[str]:
        return EventLog(str, tmp_path / "log", version=2, migrate={1: lambda old: f"{old['user']} {old['page']}"})

    async with writer(tmp_path / "log", "old", 3, 1, OLDER) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        lines = BufferedByteReceiveStream(process.stdout)
        for page in range(3):
            assert await lines.receive_until(b"\n", 100) == b"%d" % page
            await newer().append(f"new {page}")
            await process.stdin.send(b"\n")
        said = (await lines.receive_until(b"\n", 1_000)).decode()
    assert said.startswith("StoreError: ")
    assert "version 2 was stored, and version 1 is declared" in said
    assert await values_of(newer()) == [f"{name} {page}" for page in range(3) for name in ("old", "new")]
