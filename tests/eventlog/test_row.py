from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest
from xxhash import xxh3_128_hexdigest

from actorstream.errors import DataLossError, StoreError
from actorstream.eventlog.folder import LogSettings
from actorstream.eventlog.ledger import Birth
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.row import SegmentRow
from actorstream.eventlog.segment import build
from actorstream.system.current import current_world, use_world
from actorstream.system.files import RealFiles
from tests.eventlog.setting import SMALL, CountingFiles, values_of

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 30_000


async def filled(path: Path) -> list[Path]:
    """A log of several segments, closed; gives their files."""
    async with EventLog(bytes, path, settings=SMALL) as log:
        await fill(log, 0)
    return sorted((path / "segments").glob("*.lmdb"))


async def fill(log: EventLog[bytes], start: int) -> None:
    for at in range(start, start + COUNT, 500):
        await log.extend([b"%08d" % i * 12 for i in range(at, at + 500)])


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def digest_of(path: Path) -> str:
    return xxh3_128_hexdigest(path.read_bytes())


async def read_all(path: Path) -> int:
    async with EventLog(bytes, path) as log:
        return len(await values_of(log))


async def test_a_missing_segment_is_named(tmp_path: Path) -> None:
    """Never skipped, wherever in the row it was, and never made anew."""
    files = await filled(tmp_path / "log")
    assert len(files) > 3
    for missing in files:
        copy = tmp_path / f"copy-{missing.stem}"
        shutil.copytree(tmp_path / "log", copy)
        (copy / "segments" / missing.name).unlink()
        with pytest.raises(StoreError, match=rf"{missing.name} is missing"):
            await read_all(copy)
        with pytest.raises(StoreError, match=rf"{missing.name} is missing"):
            async with EventLog(bytes, copy) as log:
                await log.summary()


async def test_all_segments_missing_is_an_error_not_an_empty_log(tmp_path: Path) -> None:
    await filled(tmp_path / "log")
    shutil.rmtree(tmp_path / "log" / "segments")
    with pytest.raises(StoreError, match=r"000001.lmdb is missing"):
        await read_all(tmp_path / "log")


async def test_a_missing_log_file_is_an_error_not_a_new_log(tmp_path: Path) -> None:
    await filled(tmp_path / "log")
    (tmp_path / "log" / "LOG").unlink()
    with pytest.raises(StoreError, match=r"LOG is missing, and segments are there"):
        await read_all(tmp_path / "log")


@pytest.mark.parametrize("which", [0, 1, -1])
@pytest.mark.parametrize("cut", [1, 4096, 300_000])
async def test_a_truncated_segment_is_an_error_not_a_dead_process(tmp_path: Path, which: int, cut: int) -> None:
    path = (await filled(tmp_path / "log"))[which]
    os.truncate(path, max(8192, path.stat().st_size - cut))
    with pytest.raises(StoreError, match=rf"{path.name} is (damaged|truncated)"):
        await read_all(tmp_path / "log")


async def test_a_flipped_bit_in_a_sealed_segment_is_seen_before_it_is_opened(tmp_path: Path) -> None:
    path = (await filled(tmp_path / "log"))[0]
    for at in (9_000, path.stat().st_size // 2, path.stat().st_size - 10):
        flip(path, at)
        with pytest.raises(StoreError, match=rf"{path.name} is damaged: digest"):
            await read_all(tmp_path / "log")
        flip(path, at)
    assert await read_all(tmp_path / "log") == COUNT


async def test_a_flipped_bit_in_a_record_of_the_newest_segment_is_seen(tmp_path: Path) -> None:
    path = (await filled(tmp_path / "log"))[-1]
    data = path.read_bytes()
    flip(path, data.index(b"%08d" % (COUNT - 5)) + 20)
    with pytest.raises(StoreError, match=rf"{path.name}: the record at partition 0, offset {COUNT - 5} is damaged"):
        await read_all(tmp_path / "log")


async def test_a_segment_of_another_log_is_refused(tmp_path: Path) -> None:
    ours, theirs = await filled(tmp_path / "a"), await filled(tmp_path / "b")
    shutil.copy(theirs[-1], ours[-1])
    with pytest.raises(StoreError, match=r"of log \w+, and segment"):
        await read_all(tmp_path / "a")


async def test_a_next_segment_that_never_came_to_life_is_made_anew(tmp_path: Path) -> None:
    """The writer died between naming the new file and sealing the old one: the old one is still the newest."""
    files = await filled(tmp_path / "log")
    async with EventLog(bytes, tmp_path / "log") as log:
        identity, number = (await log.summary()).id, len(files) + 1
        orphan = tmp_path / "log" / "segments" / f"{number:06}.lmdb"
        build(RealFiles(), str(orphan), 1 << 20, [], Birth(1, identity, number, 1))
        (orphan.parent / f"{number:06}.lmdb.new").write_bytes(b"half")
    async with EventLog(bytes, tmp_path / "log") as log:
        assert (await log.summary()).segments == len(files)
        await fill(log, COUNT)
        assert (await log.summary()).segments > len(files)
    assert await read_all(tmp_path / "log") == 2 * COUNT


async def test_a_seal_whose_writer_died_before_listing_it_is_listed_by_the_next(tmp_path: Path) -> None:
    """The digest of a sealed file stands in the next one's ledger; until then the file is described anew."""
    async with EventLog(bytes, tmp_path / "log", settings=SMALL) as log:
        for _ in range(4):
            await log.extend([b"x" * 100] * 500)
        identity = (await log.summary()).id
    row = SegmentRow(RealFiles(), str(tmp_path / "log"), identity, 1)
    row.roll_over(1 << 20, 5)
    row.close()
    assert await read_all(tmp_path / "log") == 2_000
    async with EventLog(bytes, tmp_path / "log") as log:
        await log.append(b"y")
        assert (await log.summary()).segments == 2
    flip(tmp_path / "log" / "segments" / "000001.lmdb", 50_000)
    with pytest.raises(StoreError, match="digest"):
        await read_all(tmp_path / "log")


async def test_no_append_waits_for_the_digest_of_a_sealed_segment(tmp_path: Path) -> None:
    """It is read beside the appends, a slice after each: at most a mebibyte, or four times what was appended."""
    files = CountingFiles(RealFiles())
    with use_world(replace(current_world(), files=files)):
        log = EventLog(bytes, tmp_path / "log", settings=LogSettings(segment_bytes=12 << 20))
        first, slices = "000001.lmdb", []
        row = (await log._opened()).row
        for _ in range(70):
            before = files.read_of[first]
            await log.extend([b"x" * 4_000] * 64)
            if sealed := row.sealed():
                slices.append(files.read_of[first] - before)
                if sealed[0].digest:
                    break
        size = (tmp_path / "log" / "segments" / first).stat().st_size
        assert size > 8 << 20
        assert sum(slices) >= size
        # The commit that rolls over also looks into the first pages, which come with the first mebibyte.
        assert slices[0] <= 3 << 20
        assert max(slices[1:]) <= 1 << 20
        assert row.sealed()[0].digest == digest_of(tmp_path / "log" / "segments" / first)
        await log.aclose()


async def test_a_segment_whose_digest_is_not_known_yet_is_read_and_digested_by_the_next_writer(tmp_path: Path) -> None:
    """The writer died right after the roll-over, with the digest half calculated."""
    async with EventLog(bytes, tmp_path / "log", settings=LogSettings(segment_bytes=12 << 20)) as log:
        for number in range(70):
            await log.extend([b"%04d" % number + b"x" * 4_000] * 64)
            if (await log.summary()).segments == 2:
                break
        count = (await log.summary()).records
        assert not (await log._opened()).row.sealed()[0].digest
    async with EventLog(bytes, tmp_path / "log") as log:
        assert len(await values_of(log)) == count
        assert not (await log._opened()).row.sealed()[0].digest
        for _ in range(20):
            await log.append(b"y")
        assert (await log._opened()).row.sealed()[0].digest == digest_of(tmp_path / "log" / "segments" / "000001.lmdb")
    flip(tmp_path / "log" / "segments" / "000001.lmdb", 50_000)
    with pytest.raises(DataLossError, match="digest"):
        await read_all(tmp_path / "log")


async def test_a_sealed_segment_is_not_entered_before_its_digest_was_found_right(tmp_path: Path) -> None:
    """Neither to find out that it is sealed: garbage in it stops its readers, not the writers behind it."""
    files = await filled(tmp_path / "log")
    for path in files[:-1]:
        path.write_bytes(b"\xff" * path.stat().st_size)
    async with EventLog(bytes, tmp_path / "log") as log:
        assert (await log.append(b"y")).offset == COUNT
        assert (await log.summary()).records == COUNT + 1
        with pytest.raises(DataLossError, match=r"000001.lmdb is damaged: digest"):
            await values_of(log)


async def test_damage_is_an_error_of_its_own_that_no_restart_heals(tmp_path: Path) -> None:
    """A job that meets it would fail at the same place for ever: the restart strategy must be able to tell."""
    path = (await filled(tmp_path / "log"))[-1]
    flip(path, path.read_bytes().index(b"%08d" % (COUNT - 5)) + 20)
    async with EventLog(bytes, tmp_path / "log") as log:
        reading = log.read("0", COUNT - 7)
        with pytest.raises(DataLossError, match=rf"offset {COUNT - 5} is damaged"):
            await anext(aiter(reading))


async def test_retention_that_comes_between_a_look_and_the_opening_is_no_missing_file(tmp_path: Path) -> None:
    """Another process may remove a segment just when a reader wants it: the error says so, and what to do."""
    log = EventLog(bytes, tmp_path / "log", retention=0, settings=SMALL)
    await log.register_consumer("slow", "", {})
    await fill(log, 0)
    identity = (await log.summary()).id
    stop = asyncio.get_running_loop()

    class Interrupted(CountingFiles):
        """Lets retention come when the first segment is about to be looked at for its size."""

        def size(self, path: str, /) -> int:
            if path.endswith("000001.lmdb"):
                asyncio.run_coroutine_threadsafe(log.drop_consumer("slow"), stop).result(10)
            return super().size(path)

    reader = SegmentRow(Interrupted(RealFiles()), str(tmp_path / "log"), identity, 1)
    with pytest.raises(DataLossError, match=r"has no offset 0 any more: retention has removed what was before \d+"):
        await anyio.to_thread.run_sync(reader.locate, 0, 0)
    reader.close()
    await log.aclose()


async def test_a_job_that_lags_keeps_what_it_needs_and_another_one_gets_an_error(tmp_path: Path) -> None:
    """Under appends and roll-overs: what is removed is behind every registered job, whatever the others have read."""
    log = EventLog(bytes, tmp_path / "log", retention=0, settings=SMALL)
    fast, slow = log.read("0", None), log.read("0", None)
    await log.register_consumer("fast", "", {})
    await log.register_consumer("slow", "", {})
    stranger = log.read("0", None)
    await log.append(b"first")
    assert (await anext(stranger)).position == 0
    read = {"fast": -1, "slow": -1}
    removed = 0
    for start in range(0, COUNT, 3_000):
        await log.extend([b"%08d" % i * 12 for i in range(start, start + 3_000)])
        while read["fast"] < start + 3_000 - 1:
            read["fast"] = (await anext(fast)).position
        for _ in range(2):
            fetched = await anext(slow)
            assert fetched.position - len(fetched.values) == read["slow"]
            read["slow"] = fetched.position
        for job, position in read.items():
            await log.register_consumer(job, "", {0: position})
        first = (await log.summary()).first[0]
        assert removed <= first <= read["slow"] + 1
        removed = first
    assert 0 < removed < read["slow"] < read["fast"]
    with pytest.raises(DataLossError, match="any more: retention has removed"):
        assert [fetched.position async for fetched in stranger] == []
    for reading in (fast, slow):
        await reading.aclose()  # type: ignore[attr-defined]
    await log.aclose()


async def test_a_reader_of_a_segment_that_is_removed_reads_on(tmp_path: Path) -> None:
    """Retention unlinks names; who has the file open goes on, and then finds the next one or a clear error."""
    log = EventLog(bytes, tmp_path / "log", retention=0, settings=SMALL)
    await log.register_consumer("slow", "", {})
    await fill(log, 0)
    reading = log.view(stop="now").read("0", None)
    position = (await anext(reading)).position
    await log.drop_consumer("slow")
    first = (await log.summary()).first[0]
    assert first > position

    async def read_to_the_end() -> None:
        nonlocal position
        async for fetched in reading:
            assert fetched.values[0] == b"%08d" % (position + 1) * 12
            position = fetched.position

    with pytest.raises(StoreError, match="any more"):
        await read_to_the_end()
    assert 0 < position < first
