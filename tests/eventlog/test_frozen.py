"""A process that stops or dies in the worst place: a writer inside its commit, a reader inside its transaction."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from actorstream.errors import StoreError
from actorstream.eventlog.folder import LogSettings
from actorstream.eventlog.log import EventLog
from actorstream.model.world import World
from actorstream.system.current import SystemClock, SystemRandom, use_world
from actorstream.system.files import RealFiles
from actorstream.system.offload import ThreadOffload
from tests.eventlog.setting import values_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.crash]

# Appends a value, and stops itself inside of the transaction: the lock is held, the record not yet committed.
WRITER = """
import os, signal, sys
import anyio
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.transaction import Append

class Stops(Append):
    def apply(self, txn):
        firsts = super().apply(txn)
        os.kill(os.getpid(), signal.SIGSTOP)
        return firsts

async def main(path):
    log, encoder = await EventLog(str, path)._writable()
    encoded = encoder.encode(["frozen"], 0)
    await log.submit(Stops(encoded.bodies, encoded.size))

anyio.run(main, sys.argv[1])
"""

# Begins to read, and says so; it is killed there.
READER = """
import signal, sys
from actorstream.eventlog.meta_pages import check_whole
from actorstream.state.lmdb_env import open_segment
from actorstream.system.files import RealFiles

env = open_segment(sys.argv[1], map_size=check_whole(RealFiles(), sys.argv[1]).map_size)
with env.transaction() as txn:
    print(txn.id(), flush=True)
    signal.pause()
"""


@contextmanager
def child(code: str, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def wait_stopped(process: subprocess.Popen[bytes]) -> None:
    """Return once the process has been stopped by a signal; it stays to be waited for."""
    seen = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    assert seen is not None
    assert seen.si_code == os.CLD_STOPPED, "the writer ended before it came to its commit"


async def test_a_writer_frozen_in_its_commit_is_a_clear_error_to_others_until_it_goes_on(tmp_path: Path) -> None:
    """It holds the lock: others are told which log, read on meanwhile, and write as soon as it is through."""
    log = EventLog(str, tmp_path / "orders", settings=LogSettings(lock_timeout_s=0.2))
    await log.append("before")
    with child(WRITER, tmp_path / "orders") as process:
        await anyio.to_thread.run_sync(wait_stopped, process)
        for _ in range(2):
            with pytest.raises(StoreError, match=r"orders: another process has held its writer lock for 0\.2 s"):
                await log.append("refused")
        assert await values_of(log) == ["before"]

        os.kill(process.pid, signal.SIGCONT)
        assert await anyio.to_thread.run_sync(process.wait) == 0
        assert (await log.append("after")).offset == 2
    assert await values_of(log) == ["before", "frozen", "after"]


async def test_a_writer_killed_in_its_commit_leaves_nothing_behind(tmp_path: Path) -> None:
    """Neither its lock nor its record, and LMDB's own mutex is taken over from the dead."""
    log = EventLog(str, tmp_path / "orders")
    await log.append("before")
    with child(WRITER, tmp_path / "orders") as process:
        await anyio.to_thread.run_sync(wait_stopped, process)
        process.kill()
        with anyio.fail_after(5):
            assert (await log.append("after")).offset == 1
    assert await values_of(log) == ["before", "after"]


async def test_by_default_others_wait_ten_seconds_for_a_frozen_writer(tmp_path: Path) -> None:
    """In real time: longer than any commit takes, shorter than people wait."""
    log = EventLog(str, tmp_path / "orders")
    await log.append("before")
    with child(WRITER, tmp_path / "orders") as process:
        await anyio.to_thread.run_sync(wait_stopped, process)
        start = time.monotonic()
        with pytest.raises(StoreError, match=r"orders: another process has held its writer lock for 10 s: look for a"):
            await log.append("refused")
        assert 10 <= time.monotonic() - start < 13


class HandSetClock(SystemClock):
    """The machine's clock, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


async def test_a_reader_killed_inside_a_read_does_not_make_the_file_grow_for_ever(tmp_path: Path) -> None:
    """Its slot keeps every page alive that became free since; within a minute a writer frees it."""
    clock = HandSetClock()
    with use_world(World(clock, RealFiles(), ThreadOffload(), SystemRandom())):
        log = EventLog(str, tmp_path / "log")
        await log.append("first")
        segment = tmp_path / "log" / "segments" / "000001.lmdb"

        async def growth(commits: int) -> int:
            """Rewrite one small entry so often; give by how many bytes the file has grown."""
            before = segment.stat().st_size
            for position in range(commits):
                await log.register_consumer("job", "", {0: position})
            return segment.stat().st_size - before

        await growth(10)
        assert await growth(40) == 0
        with child(READER, segment) as process:
            assert process.stdout is not None
            await anyio.to_thread.run_sync(process.stdout.readline)
        assert await growth(40) > 40 * 4096, "a reader that died holds nothing: this test tests nothing"
        clock.ahead += 61
        await growth(1)
        assert await growth(40) == 0
        await log.aclose()


async def test_readers_that_died_are_forgotten_when_a_log_is_opened(tmp_path: Path) -> None:
    """Or a thousand of them would fill the table, and nobody could read any more."""
    log = EventLog(str, tmp_path / "log")
    await log.append("first")
    env = (await log._opened()).row.newest().env
    segment = tmp_path / "log" / "segments" / "000001.lmdb"
    for opens in (False, True):
        with child(READER, segment) as process:
            assert process.stdout is not None
            await anyio.to_thread.run_sync(process.stdout.readline)
        if opens:
            async with EventLog(str, tmp_path / "log") as another:
                assert await values_of(another) == ["first"]
        assert env.clear_dead_readers() == int(not opens)
    await log.aclose()
