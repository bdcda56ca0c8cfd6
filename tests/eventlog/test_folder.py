from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from actorstream.errors import StoreError
from actorstream.eventlog.log import EventLog
from tests.eventlog.setting import values_of

if TYPE_CHECKING:
    from pathlib import Path


async def made(path: Path) -> Path:
    async with EventLog(int, path) as log:
        await log.append(1)
    return path / "LOG"


async def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    document = await made(tmp_path / "log")
    document.write_text(json.dumps(json.loads(document.read_text()) | {"format": 9}))
    with pytest.raises(StoreError, match=r"LOG has format 9, this version reads up to 1: use a newer actorstream"):
        await EventLog(int, tmp_path / "log").append(2)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": "x"}'])
async def test_a_damaged_log_file_is_refused(tmp_path: Path, content: str) -> None:
    (await made(tmp_path / "log")).write_text(content)
    with pytest.raises(StoreError, match=r"LOG is damaged.*restore it from a copy"):
        await EventLog(int, tmp_path / "log").append(2)


async def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("hello")
    with pytest.raises(StoreError, match=r"/log"):
        await EventLog(int, tmp_path / "log").append(2)


async def test_a_log_that_died_while_it_was_made_is_made(tmp_path: Path) -> None:
    """The LOG file comes last: before it there is no log, and what is there is made anew."""
    document = await made(tmp_path / "log")
    document.unlink()
    for name in ("LOG.new", "segments/000001.lmdb.new"):
        (tmp_path / "log" / name).write_bytes(b"half")
    (tmp_path / "log" / "segments" / "000001.lmdb").unlink()
    async with EventLog(int, tmp_path / "log") as log:
        await log.append(5)
        assert await values_of(log) == [5]


async def test_a_first_segment_without_records_does_not_stop_a_log_from_being_made(tmp_path: Path) -> None:
    async with EventLog(int, tmp_path / "log"):
        pass
    (tmp_path / "log" / "LOG").unlink()
    assert await values_of(EventLog(int, tmp_path / "log")) == []


async def test_a_log_that_lost_its_log_file_is_never_made_anew(tmp_path: Path) -> None:
    (await made(tmp_path / "log")).unlink()
    with pytest.raises(StoreError, match="LOG is missing, and segments are there"):
        await EventLog(int, tmp_path / "log").append(2)


async def test_one_log_is_the_others_copy(tmp_path: Path) -> None:
    """A log is a folder: a copy of a closed one is a log, byte for byte."""
    await made(tmp_path / "log")
    (tmp_path / "log").rename(tmp_path / "moved")
    assert await values_of(EventLog(int, tmp_path / "moved")) == [1]
