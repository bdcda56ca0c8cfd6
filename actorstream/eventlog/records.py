"""One record as bytes: a key that sorts by place, and an envelope with a checksum.

    key    partition + 1 (2) | offset (8)                  big endian
    value  checksum (8) | timestamp (8) | payload          payload: the codec's bytes
           body = timestamp | payload

The checksum is xxh3_64 of the body, seeded with partition and offset, so that a
record found under another record's key is as damaged as one with a flipped bit.
The timestamp is microseconds since 1970 plus 2**63, so that bytes compare as times
do. Partition number 0 in a key is free for the segment's own rows (ledger.py).
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import TYPE_CHECKING, NamedTuple

from xxhash import xxh3_64_digest

from actorstream.errors import DataLossError

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY_BYTES = 10
TIME_BYTES = 8
_BODY = 8
_PAYLOAD = 16
_TIME_BIAS = 1 << 63
_PARTITION_SHIFT = 48
_KEY = Struct(">HQ")
_HEAD = Struct(">8sQ")
PARTITIONS_MAX = 1024


class Read(NamedTuple):
    """Records as read: bodies proved by their checksums, from offset `first` on."""

    first: int
    stamps: list[int]
    payloads: list[bytes]


def partition_prefix(partition: int) -> bytes:
    """Give what every key of `partition` starts with."""
    return (partition + 1).to_bytes(2, "big")


def record_key(partition: int, offset: int) -> bytes:
    """Give the key of one record."""
    return _KEY.pack(partition + 1, offset)


def encode_time(us: int) -> bytes:
    """Give the bytes of a timestamp: they compare as timestamps do."""
    return (us + _TIME_BIAS).to_bytes(TIME_BYTES, "big")


def decode_time(data: bytes) -> int:
    """Read a timestamp."""
    return int.from_bytes(data, "big") - _TIME_BIAS


def rows_of(partition: int, first: int, bodies: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Give the rows of `bodies`, placed from offset `first` on."""
    pack, number = _KEY.pack, partition + 1
    seed = partition << _PARTITION_SHIFT
    return [
        (pack(number, offset), xxh3_64_digest(body, seed + offset) + body) for offset, body in enumerate(bodies, first)
    ]


def read_rows(path: str, partition: int, first: int, values: list[bytes]) -> Read:
    """Prove and take apart the values of the rows from offset `first` on, without gaps.

    Raises:
        DataLossError: A record is damaged, or another one's; names file, partition and offset.
    """
    seed = (partition << _PARTITION_SHIFT) + first
    try:
        heads = list(map(_HEAD.unpack_from, values))
    except StructError as error:
        raise DataLossError(
            f"{path}: a record of partition {partition} is cut short ({error}): restore a copy"
        ) from error
    sums = [xxh3_64_digest(value[_BODY:], at) for at, value in enumerate(values, seed)]
    if sums != [stored for stored, _ in heads]:
        wrong = next(i for i, (stored, _) in enumerate(heads) if sums[i] != stored)
        raise DataLossError(
            f"{path}: the record at partition {partition}, offset {first + wrong} is damaged: checksum"
            f" {sums[wrong].hex()} found, {heads[wrong][0].hex()} stored; restore the file from a"
            " copy, or start readers behind it"
        )
    return Read(first, [biased - _TIME_BIAS for _, biased in heads], [value[_PAYLOAD:] for value in values])
