from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.errors import DataLossError, StoreError
from actorstream.eventlog import ledger
from actorstream.eventlog.records import Read, encode_time, record_key
from actorstream.eventlog.row import begin_row, segment_path
from actorstream.eventlog.segment import FETCH_BYTES, End, Segment, open_newest
from actorstream.eventlog.transaction import LogTransaction
from actorstream.system.files import RealFiles


def new_segment(folder: Path, partitions: int = 2) -> Segment:
    (folder / "segments").mkdir()
    begin_row(RealFiles(), str(folder), "log-id", partitions, 1 << 24)
    return open_newest(RealFiles(), segment_path(str(folder), 1), 1, "log-id")


def append(segment: Segment, partition: int, stamps: list[int]) -> None:
    with segment.env.transaction(write=True) as txn:
        log_txn = LogTransaction(segment, txn)
        log_txn.append(partition, [encode_time(us) + b"p%d" % us for us in stamps])
        log_txn.finish()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(-50, 50), min_size=1, max_size=30), max_size=6), st.integers(-60, 60))
def test_the_first_record_at_a_time_is_what_a_search_by_hand_finds(pieces: list[list[int]], us: int) -> None:
    """Timestamps are users': they go back and forth, and the index must not be fooled."""
    with tempfile.TemporaryDirectory() as folder:
        segment = new_segment(Path(folder))
        for piece in pieces:
            append(segment, 1, piece)
        stamps = [stamp for piece in pieces for stamp in piece]
        assert segment.first_at(1, us) == next((i for i, stamp in enumerate(stamps) if stamp >= us), None)
        assert segment.first_at(0, us) is None
        segment.close()


def test_the_index_of_times_goes_across_blocks(tmp_path: Path) -> None:
    segment = new_segment(tmp_path)
    append(segment, 0, list(range(10_000)))
    append(segment, 1, [5] * 3_000 + [9] + [5] * 3_000)
    for us in (0, 2_047, 2_048, 4_097, 9_999):
        assert segment.first_at(0, us) == us
    assert (segment.first_at(0, 10_000), segment.first_at(1, 6), segment.first_at(1, 10)) == (None, 3_000, None)
    assert segment.newest_us() == [9_999, 9]
    segment.close()


@pytest.mark.parametrize("small", [0, 1, 40])
def test_a_fetch_ends_with_the_first_large_record_whatever_came_before(tmp_path: Path, small: int) -> None:
    """Sixteen were taken before anybody looked at their size, or as many as are small: 160 MB of records of 10 MB."""
    segment = new_segment(tmp_path)
    bodies = [encode_time(us) + b"small" for us in range(small)] + [encode_time(0) + bytes(FETCH_BYTES)] * 8
    with segment.env.transaction(write=True) as txn:
        log_txn = LogTransaction(segment, txn)
        log_txn.append(0, bodies)
        log_txn.finish()
    read = segment.fetch(0, 0, 100)
    assert isinstance(read, Read)
    assert len(read.payloads) == small + 1
    segment.close()


def test_a_fetch_never_leaves_its_partition(tmp_path: Path) -> None:
    segment = new_segment(tmp_path, partitions=3)
    for partition in (0, 1, 2):
        append(segment, partition, [partition] * 5)
    read = segment.fetch(1, 3, 100)
    assert isinstance(read, Read)
    assert (read.first, read.stamps) == (3, [1, 1])
    end = segment.fetch(1, 5, 100)
    assert isinstance(end, End)
    assert not end.sealed
    segment.close()


def test_records_that_should_be_there_are_missed(tmp_path: Path) -> None:
    segment = new_segment(tmp_path)
    append(segment, 0, [1] * 5)
    with segment.env.transaction(write=True) as txn:
        txn.put(*ledger.row(ledger.NEXT_OFFSETS, ledger.pack_offsets([9, 0])))
    with pytest.raises(DataLossError, match="no records from offset 5 on, though it should reach 9"):
        segment.fetch(0, 5, 10)
    segment.close()


def test_a_segment_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    segment = new_segment(tmp_path)
    with segment.env.transaction(write=True) as txn:
        ledger.put_document(txn, ledger.BIRTH, ledger.Birth(2, "log-id", 1, 2))
    segment.close()
    with pytest.raises(StoreError, match="has format 2, this version reads up to 1"):
        open_newest(RealFiles(), segment.path, 1, "log-id")


def test_the_digest_of_a_segment_that_is_gone_is_not_announced(tmp_path: Path) -> None:
    """Retention was faster: the row would begin before its oldest segment, and be taken back to it at the next one."""
    segment = new_segment(tmp_path)
    with segment.env.transaction(write=True) as txn:
        txn.put(*ledger.row(ledger.OLDEST, (5).to_bytes(4, "big")))
        log_txn = LogTransaction(segment, txn)
        for number in (4, 5, 5):
            log_txn.announce(ledger.Sealed(number, 10, "digest", [0, 0], [1, 1], [0, 0], number))
        assert [entry.segment for entry in log_txn.documents(ledger.SEALED, ledger.Sealed)] == [5]
    segment.close()


def test_partitions_that_grow_together_fill_their_pages(tmp_path: Path) -> None:
    """Where a page holds the end of one partition and the start of the next, LMDB leaves all pages half empty."""
    sizes = []
    for partitions in (1, 8):
        (folder := tmp_path / str(partitions)).mkdir()
        segment = new_segment(folder, partitions)
        for start in range(0, 40_000, 8_000):
            for partition in range(partitions):
                append(segment, partition, list(range(start, start + 8_000 // partitions)))
        sizes.append(Path(segment.path).stat().st_size)
        segment.close()
    assert sizes[1] < 1.3 * sizes[0]


def test_a_gap_in_a_partition_is_named(tmp_path: Path) -> None:
    """Keys are not read with the values: the last one tells that one is missing, a second look which."""
    segment = new_segment(tmp_path)
    append(segment, 0, [1] * 50)
    append(segment, 1, [1] * 50)
    for partition, gone in ((0, 0), (0, 7), (0, 49), (1, 49), (1, 20)):
        key = record_key(partition, gone)
        with segment.env.transaction(write=True) as txn:
            value = txn.get(key)
            assert value is not None
            txn.delete(key)
        with pytest.raises(DataLossError, match=rf"partition {partition} has no records? .*offset {gone}\b"):
            segment.fetch(partition, 0, 50)
        with segment.env.transaction(write=True) as txn:
            txn.put(key, value)
        assert isinstance(segment.fetch(partition, 0, 50), Read)
    segment.close()
