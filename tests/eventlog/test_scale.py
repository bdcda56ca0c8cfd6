"""A log of very many records in very many segments: offsets beyond 10^8, hundreds of files, names of seven digits.

No disk is filled: the segments are small, and a partition's offsets start where those of a log with a
long past are. What is asked for is what grows with size: arithmetic, formats, look-ups, open files.
"""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio
import pytest

from actorstream.errors import DataLossError
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.positions import LogPosition
from actorstream.eventlog.row import SegmentRow
from actorstream.system.files import RealFiles
from tests.eventlog.setting import SMALL, begin_at

if TYPE_CHECKING:
    from pathlib import Path

HUNDRED_MILLION = 10**8
FIRSTS = [HUNDRED_MILLION - 4_000, (1 << 32) - 7, (1 << 48) - 1]
SEGMENTS, PIECE = 100, 60
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def fill(path: Path) -> None:
    """Fill many segments, each sealed by hand; records are the numbers of their order, one a second."""
    document = begin_at(path, FIRSTS, segment=999_950)
    rolling = SegmentRow(RealFiles(), str(path), document.id, len(FIRSTS))
    async with EventLog(int, path, timestamp=lambda n: EPOCH + timedelta(seconds=n), settings=SMALL) as log:
        for segment in range(SEGMENTS):
            await log.extend(range(segment * PIECE, (segment + 1) * PIECE))
            await anyio.to_thread.run_sync(rolling.roll_over, 1 << 20, segment)
    rolling.close()


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "log"
    anyio.run(fill, path)
    return path


async def test_hundreds_of_segments_and_offsets_beyond_a_hundred_million_are_one_dense_log(long_log: Path) -> None:
    """Every record once, in order, at the offset it was given; found by position and by time in any segment."""
    log = EventLog(int, long_log)
    count, share = SEGMENTS * PIECE, SEGMENTS * PIECE // 3
    summary = await log.summary()
    assert (summary.segments, summary.records) == (SEGMENTS + 1, count)
    assert (summary.first, summary.next) == (FIRSTS, [first + share for first in FIRSTS])

    before = open_files()
    seen: list[int] = []
    offsets = list(FIRSTS)
    async for record in log.records(stop="now"):
        assert record.offset == offsets[record.partition]
        offsets[record.partition] += 1
        seen.append(record.value)
    assert sorted(seen) == list(range(count))
    assert open_files() <= before

    for wanted in (0, 1, PIECE - 1, PIECE, count // 2 + 1, count - 1):
        partition, place = wanted % 3, wanted // 3
        reading = log.view(stop="now").read(str(partition), FIRSTS[partition] + place - 1)
        fetched = await anext(reading)
        assert (fetched.values[0], fetched.position - len(fetched.values)) == (wanted, FIRSTS[partition] + place - 1)
        view = log.view(start=EPOCH + timedelta(seconds=wanted), stop=EPOCH + timedelta(seconds=wanted + 3))
        assert sorted([record.value async for record in view.records()]) == list(range(wanted, min(wanted + 3, count)))
    await log.aclose()


async def test_a_long_log_is_opened_written_and_its_past_removed_as_a_short_one_is(
    tmp_path: Path, long_log: Path
) -> None:
    """A new process finds the ends, goes on there, and retention takes all segments that nobody needs."""
    shutil.copytree(long_log, tmp_path / "log")
    log = EventLog(int, tmp_path / "log", retention=0, settings=SMALL)
    share = SEGMENTS * PIECE // 3
    await log.register_consumer("job", "", {0: FIRSTS[0] + share // 2, 1: FIRSTS[1] + share, 2: FIRSTS[2] + share})
    summary = await log.summary()
    assert summary.segments == SEGMENTS // 2 + 1
    assert summary.first == [first + share // 2 for first in FIRSTS]
    assert list(await log.extend([7, 8])) == [LogPosition(0, FIRSTS[0] + share), LogPosition(1, FIRSTS[1] + share)]
    assert len(list((tmp_path / "log" / "segments").glob("*.lmdb"))) == summary.segments
    with pytest.raises(DataLossError, match=rf"has no offset {FIRSTS[2]} any more"):
        await anext(aiter(log.read("2", FIRSTS[2] - 1)))
    await log.aclose()
