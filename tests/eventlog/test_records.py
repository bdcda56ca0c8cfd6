from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.errors import StoreError
from actorstream.eventlog.records import decode_time, encode_time, read_rows, record_key, rows_of


def test_keys_sort_by_partition_then_offset() -> None:
    keys = [record_key(p, o) for p in (0, 1, 255, 1023) for o in (0, 1, 255, 256, 1 << 40)]
    assert keys == sorted(keys)


@settings(max_examples=50, deadline=None)
@given(st.integers(-(10**17), 10**17), st.integers(-(10**17), 10**17))
def test_times_compare_as_their_bytes_do(a: int, b: int) -> None:
    """The index of times compares bytes; times before 1970 are below those after."""
    assert decode_time(encode_time(a)) == a
    assert (encode_time(a) < encode_time(b)) == (a < b)


def test_records_come_back_with_their_times() -> None:
    rows = rows_of(2, 7, [encode_time(5) + b"one", encode_time(-6) + b""])
    read = read_rows("f", 2, 7, rows)
    assert (read.first, read.stamps, read.payloads) == (7, [5, -6], [b"one", b""])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_flipped_bit_passes(data: st.DataObject) -> None:
    """LMDB has no page checksums: what a disk turns must be an error, never another value."""
    rows = rows_of(1, 5, [encode_time(i) + b"payload" for i in range(3)])
    row = data.draw(st.integers(0, 2))
    bit = data.draw(st.integers(0, 8 * len(rows[row][1]) - 1))
    value = bytearray(rows[row][1])
    value[bit // 8] ^= 1 << (bit % 8)
    rows[row] = (rows[row][0], bytes(value))
    with pytest.raises(StoreError, match=rf"segment-file: the record at partition 1, offset {5 + row} is damaged"):
        read_rows("segment-file", 1, 5, rows)


def test_a_record_under_another_key_is_damage() -> None:
    """The checksum is seeded with the place: a misdirected write is seen."""
    first, second = rows_of(0, 0, [encode_time(1) + b"a", encode_time(1) + b"b"])
    with pytest.raises(StoreError, match="offset 0 is damaged"):
        read_rows("f", 0, 0, [(first[0], second[1]), (second[0], first[1])])


def test_a_gap_and_a_stump_are_named() -> None:
    rows = rows_of(0, 0, [encode_time(1)] * 4)
    with pytest.raises(StoreError, match="no record at offset 2"):
        read_rows("f", 0, 0, rows[:2] + rows[3:])
    with pytest.raises(StoreError, match="cut short"):
        read_rows("f", 0, 0, [(rows[0][0], b"abc")])
