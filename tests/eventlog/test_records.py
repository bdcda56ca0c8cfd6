from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.errors import DataLossError
from actorstream.eventlog.records import decode_time, encode_time, read_rows, record_key, rows_of


def values_of(rows: list[tuple[bytes, bytes]]) -> list[bytes]:
    return [value for _, value in rows]


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
    read = read_rows("f", 2, 7, values_of(rows))
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
    with pytest.raises(DataLossError, match=rf"segment-file: the record at partition 1, offset {5 + row} is damaged"):
        read_rows("segment-file", 1, 5, values_of(rows))


def test_a_record_under_another_key_is_damage() -> None:
    """The checksum is seeded with the place: a misdirected write is seen."""
    first, second = values_of(rows_of(0, 0, [encode_time(1) + b"a", encode_time(1) + b"b"]))
    with pytest.raises(DataLossError, match="offset 0 is damaged"):
        read_rows("f", 0, 0, [second, first])


def test_a_missing_record_is_never_skipped() -> None:
    """Those behind it would be given under its offset: their checksums know better."""
    values = values_of(rows_of(0, 0, [encode_time(1)] * 4))
    with pytest.raises(DataLossError, match="offset 2 is damaged"):
        read_rows("f", 0, 0, values[:2] + values[3:])


def test_a_stump_is_named() -> None:
    with pytest.raises(DataLossError, match="cut short"):
        read_rows("f", 0, 0, [b"abc"])


@pytest.mark.parametrize("first", [10**8 - 1, (1 << 32) - 1, (1 << 48) - 2, (1 << 60)])
@pytest.mark.parametrize("partition", [0, 1023])
def test_offsets_of_any_size_keep_their_order_and_their_checksums(first: int, partition: int) -> None:
    """A hundred million records, and what no disk will ever hold."""
    rows = rows_of(partition, first, [encode_time(1) + b"%d" % i for i in range(4)])
    assert [key for key, _ in rows] == sorted(record_key(partition, first + i) for i in range(4))
    assert read_rows("f", partition, first, values_of(rows)).payloads == [b"0", b"1", b"2", b"3"]
    with pytest.raises(DataLossError, match=rf"offset {first} is damaged"):
        read_rows("f", partition, first, values_of(rows)[1:])
