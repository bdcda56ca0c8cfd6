"""The segment's own rows: what it is, where it starts, and what the log must remember.

    key        value
    0000 a     Birth: format, log id, segment number, partitions
    0000 b     first offset of each partition in this file, 8 bytes each
    0000 n     next offset of each partition, 8 bytes each: in the newest file the ends of the log
    0000 t P B newest timestamp among the records of block B (2048 offsets) of partition P
    0000 z     the seal: time at which the file became immutable
    P+1        half a page of nothing, in front of the records of partition P (segment.py says why)
    --- carried over at roll-over, so that the newest file has all of it ---
    0000 o     number of the oldest segment that must exist
    0000 s N   Sealed: size, digest and offsets of sealed segment N
    0000 f H   Fence: highest attempt of one (job, operator)
    0000 m H   Committed: last committed checkpoint of one (job, operator, subtask)
    0000 c H   Consumer: who still needs which offsets
    0000 y H   DeclaredType: a type of which records were written

H is a digest of the name, which stands in the document: names may be of any length.
Every value begins with 8 bytes of digest over key and value: a flipped bit in the mark of
a commit would otherwise lose or double records. A row whose key is damaged would pass for
absent, so all rows are proved when a file that is written to is opened.
Rows that change stay small: LMDB then never leaves the file shorter than it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, TypeVar

from xxhash import xxh3_64_digest, xxh3_128_digest

from actorstream.codec.documents import Int64, Number16, decode_json, encode_json
from actorstream.errors import CodecError, DataLossError, StoreError
from actorstream.eventlog.records import TIME_BYTES, decode_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorstream.state.lmdb_env import Transaction

D = TypeVar("D")

FORMAT = 1
_DIGEST_BYTES = 8
OFFSET_BYTES = 8
OFFSET_MAX = 1 << 56
"""So many bits has an offset in a position, behind the generation's number (generations.py)."""
_SEGMENT_BYTES = 4
TIME_BLOCK = 2048

OWN = b"\0\0"
BIRTH = OWN + b"a"
FIRST_OFFSETS = OWN + b"b"
NEXT_OFFSETS = OWN + b"n"
BLOCK_TIMES = OWN + b"t"
SEAL = OWN + b"z"
OLDEST = OWN + b"o"
SEALED = OWN + b"s"
FENCES = OWN + b"f"
COMMITTED = OWN + b"m"
CONSUMERS = OWN + b"c"
TYPES = OWN + b"y"
CARRIED = (OLDEST, SEALED, FENCES, COMMITTED, CONSUMERS, TYPES)
_BLOCK = Struct(">HQ")


@dataclass(frozen=True)
class Birth:
    """What a segment is; written once, when it is made."""

    format: Int64
    log: str
    segment: Int64
    partitions: Int64


@dataclass(frozen=True)
class Sealed:
    """A sealed segment: how to prove it, and what is in it (offsets half-open, a list index is a partition).

    The digest of one that was sealed just now is not known yet, and empty: then it is not in the ledger.
    """

    segment: Int64
    size: Int64
    digest: str
    starts: list[Int64]
    ends: list[Int64]
    newest_us: list[Int64]
    sealed_us: Int64


@dataclass(frozen=True)
class Fence:
    """The highest attempt that has opened a writer for this operator, and who has that number; "": not noted."""

    job: str
    operator: str
    attempt: Int64
    holder: str = ""


@dataclass(frozen=True)
class Committed:
    """The last checkpoint whose records of this subtask are in the log."""

    job: str
    operator: str
    subtask: Int64
    checkpoint: Int64


@dataclass(frozen=True)
class Consumer:
    """A job that may come back to read on behind `positions`; -1: it has read nothing yet."""

    name: str
    store: str
    positions: list[Int64]
    registered_us: Int64


@dataclass(frozen=True)
class DeclaredType:
    """A type of which records were written: its fingerprint, shape and version, and the number before its records."""

    fingerprint: str
    shape: object
    version: Int64 = 1
    number: Number16 = 0


def name_key(kind: bytes, *names: object) -> bytes:
    """Give the key of a row that stands for `names`."""
    return kind + xxh3_128_digest("\0".join(str(name) for name in names).encode())


def number_key(kind: bytes, number: int) -> bytes:
    """Give the key of a row that stands for a segment."""
    return kind + number.to_bytes(_SEGMENT_BYTES, "big")


def block_key(partition: int, block: int) -> bytes:
    """Give the key of a block's newest time."""
    return BLOCK_TIMES + _BLOCK.pack(partition, block)


def block_of(path: str, key: bytes) -> int:
    """Read the block's number from its key.

    Raises:
        DataLossError: It is no such key.
    """
    if len(key) != len(BLOCK_TIMES) + _BLOCK.size:
        raise _misshapen(path, key)
    return int(_BLOCK.unpack(key[len(BLOCK_TIMES) :])[1])


def time_of(path: str, key: bytes, value: bytes) -> int:
    """Read a time that stands alone in a row.

    Raises:
        DataLossError: It is none.
    """
    if len(value) != TIME_BYTES:
        raise _misshapen(path, key)
    return decode_time(value)


def offsets_of(path: str, txn: Transaction, key: bytes, partitions: int) -> list[int]:
    """Read a row that has an offset for each partition.

    Raises:
        DataLossError: It is not there, damaged, or has not as many, or none that can be.
    """
    offsets = unpack_offsets(own_row(path, txn, key))
    if len(offsets) != partitions or max(offsets) > OFFSET_MAX:
        raise _misshapen(path, key)
    return offsets


def oldest_in(path: str, txn: Transaction) -> int:
    """Read the number of the oldest segment that must exist.

    Raises:
        DataLossError: It is not there, damaged, or no such number.
    """
    value = own_row(path, txn, OLDEST)
    if len(value) != _SEGMENT_BYTES or not any(value):
        raise _misshapen(path, OLDEST)
    return int.from_bytes(value, "big")


def _misshapen(path: str, key: bytes) -> DataLossError:
    return DataLossError(
        f"{path}: its entry {key.hex():.80} has a right digest and is no entry of a log: restore the file from a copy"
    )


def pack_offsets(offsets: Sequence[int]) -> bytes:
    """Write one offset a partition."""
    return b"".join(offset.to_bytes(OFFSET_BYTES, "big") for offset in offsets)


def unpack_offsets(data: bytes) -> list[int]:
    """Read one offset a partition."""
    return [int.from_bytes(data[i : i + OFFSET_BYTES], "big") for i in range(0, len(data), OFFSET_BYTES)]


def row(key: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Give a row as it is stored: the value behind its digest."""
    return key, xxh3_64_digest(key + value) + value


def value_of(path: str, key: bytes, stored: bytes) -> bytes:
    """Give what `row` was made of.

    Raises:
        DataLossError: The bytes are damaged.
    """
    value = stored[_DIGEST_BYTES:]
    if stored[:_DIGEST_BYTES] != xxh3_64_digest(key + value):
        raise DataLossError(f"{path}: its entry {key.hex()} is damaged: restore the file from a copy")
    return value


def own_row(path: str, txn: Transaction, key: bytes) -> bytes:
    """Read a row that every segment has.

    Raises:
        DataLossError: It is not there, or damaged.
    """
    stored = txn.get(key)
    if stored is None:
        raise DataLossError(f"{path}: an entry of its own is missing: the file is damaged; restore it from a copy")
    return value_of(path, key, stored)


def prove_rows(path: str, txn: Transaction) -> None:
    """Read every row of the segment's own once.

    Raises:
        DataLossError: One is damaged.
    """
    for key, stored in scan(txn, OWN):
        value_of(path, key, stored)


def scan(txn: Transaction, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give the rows whose keys start with `prefix`, in order."""
    with txn.cursor() as cursor:
        if not cursor.set_range(prefix):
            return
        for key, value in cursor:
            if not key.startswith(prefix):
                return
            yield key, value


def documents(path: str, txn: Transaction, kind: bytes, type_: type[D]) -> list[D]:
    """Read all documents of one kind."""
    return list(each_document(path, txn, kind, type_))


def each_document(path: str, txn: Transaction, kind: bytes, type_: type[D]) -> Iterator[D]:
    """Read the documents of one kind in order, as far as they are asked for."""
    for key, stored in scan(txn, kind):
        yield _checked(path, txn, key, _decoded(path, type_, value_of(path, key, stored)))


def sealed_in(path: str, txn: Transaction, known: dict[bytes, Sealed]) -> dict[int, Sealed]:
    """Give the listed segments by number. Rows that are `known` are not decoded again: there may be hundreds."""
    found = {stored: known.get(stored) for _, stored in scan(txn, SEALED)}
    if None in found.values():
        for key, stored in scan(txn, SEALED):
            if found[stored] is None:
                found[stored] = _checked(path, txn, key, _decoded(path, Sealed, value_of(path, key, stored)))
    known.clear()
    known.update((stored, entry) for stored, entry in found.items() if entry is not None)
    return {entry.segment: entry for entry in known.values()}


def document(path: str, txn: Transaction, key: bytes, type_: type[D]) -> D | None:
    """Read one document; None where there is none.

    Raises:
        DataLossError: The bytes are damaged.
    """
    stored = txn.get(key)
    return None if stored is None else _decoded(path, type_, value_of(path, key, stored))


def put_document(txn: Transaction, key: bytes, entry: object) -> None:
    """Write one document."""
    txn.put(*row(key, encode_json(entry)))


def _decoded(path: str, type_: type[D], value: bytes) -> D:
    try:
        return decode_json(type_, value)
    except CodecError as error:
        raise StoreError(
            f"{path}: its {type_.__name__} entry has a right digest but a wrong shape: {error}; use the actorstream"
            " that wrote it"
        ) from error


def _checked(path: str, txn: Transaction, key: bytes, entry: D) -> D:
    """Give an entry back if it has a number for each partition, and a sealed segment's stands under its own number."""
    match entry:
        case Sealed():
            lists = [entry.starts, entry.ends, entry.newest_us]
            placed = entry.segment >= 0 and key == SEALED + entry.segment.to_bytes(8, "big")[-_SEGMENT_BYTES:]
        case Consumer():
            lists, placed = [entry.positions], True
        case _:
            return entry
    partitions = len(own_row(path, txn, NEXT_OFFSETS)) // OFFSET_BYTES
    if not placed or any(len(each) != partitions for each in lists):
        raise _misshapen(path, key)
    return entry
