"""A log's inside, for the rooms above that read it record by record: bytes as they lie there, in one fixed order.

    partition 0   a0 a1 a2 a3            a0 b0 c0  a1 b1 c1  a2 b2  a3
    partition 1   b0 b1 b2        ──>    the partitions in turn, a record of each, as long as they have some
    partition 2   c0 c1

A log without a key deals its records to the partitions in turn: this is then the very order in which they were
appended. It depends on nothing but the records, so two logs of one layout run side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from actorstream.codec.evolution import AS_DECLARED
from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import InvariantError
from actorstream.eventlog.reading import PartitionReader
from actorstream.eventlog.records import PARTITIONS_MAX
from actorstream.eventlog.schemas import RecordSchemas

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from actorstream.codec.contract import Schema
    from actorstream.eventlog.log import EventLog
    from actorstream.eventlog.open_log import OpenLog

T = TypeVar("T")

_AHEAD_RECORDS = 4_096


class Inside(NamedTuple, Generic[T]):
    """An open log, what its payloads are read with, and what would read those of another log as the same type."""

    log: OpenLog
    schemas: RecordSchemas[T]
    schemas_of: Callable[[OpenLog], RecordSchemas[T]]


class _AsItLies:
    """Leaves payloads alone."""

    @property
    def schema(self) -> Schema:
        return SELF_DESCRIBING.schema

    def encode(self, value: bytes, /) -> bytes:
        return value

    def decode(self, data: bytes, /) -> bytes:
        return data


def as_it_lies() -> RecordSchemas[bytes]:
    """Give what reads every record as the bytes that it is."""
    return RecordSchemas(_AsItLies(), AS_DECLARED, None, "a log's bytes")


async def look_inside(log: EventLog[T]) -> Inside[T]:
    """Open `log` as its own methods do."""
    # The one place that looks behind the public names: users have no need of it.
    return Inside(await log._opened(), log._readable(), log._schemas_of)  # noqa: SLF001


def place_of(partition: int, offset: int) -> int:
    """Give one number for a record's place: places compare as records follow each other in this order."""
    return offset * PARTITIONS_MAX + partition


def at_place(place: int) -> tuple[int, int]:
    """Give partition and offset."""
    return place % PARTITIONS_MAX, place // PARTITIONS_MAX


async def record_at(inside: Inside[T], place: int) -> T:
    """Read one record.

    Raises:
        DataLossError: It is damaged, or was removed by retention.
    """
    partition, offset = at_place(place)
    with PartitionReader(inside.log, inside.schemas, partition, offset) as reader:
        records = await reader.fetch(1)
    if records is None:
        raise InvariantError(f"{inside.log.folder}: partition {partition} had offset {offset}, and ends before it")
    return records.values[0]


class Piece:
    """Some records in a row, and where they lie."""

    def __init__(self, payloads: list[bytes], firsts: Sequence[tuple[int, int]]) -> None:
        """Take payloads dealt from partitions in turn; `firsts`: each one's number and first offset."""
        self.payloads = payloads
        self._firsts = firsts

    def place(self, index: int) -> int:
        """Give the place of one of them."""
        row, turn = divmod(index, len(self._firsts))
        partition, first = self._firsts[turn]
        return place_of(partition, first + row)


class _Lane:
    """What was fetched of one partition and not given yet."""

    def __init__(self, reader: PartitionReader[bytes], partition: int, end: int) -> None:
        self.reader = reader
        self.partition = partition
        self.first = reader.offset
        self.end = end
        self.ready: list[bytes] = []


class RecordStream:
    """All records of a log from `starts` up to `ends`. Use it in `with`."""

    def __init__(self, log: OpenLog, starts: Sequence[int], ends: Sequence[int]) -> None:
        """Begin at offsets `starts`, one a partition; nothing is read yet."""
        readers = [PartitionReader(log, as_it_lies(), partition, start) for partition, start in enumerate(starts)]
        self._readers = readers
        lanes = [_Lane(reader, partition, ends[partition]) for partition, reader in enumerate(readers)]
        self._lanes = [lane for lane in lanes if lane.first < lane.end]
        self._limit = max(16, _AHEAD_RECORDS // len(readers))
        self._log = log

    def __enter__(self) -> Self:
        """Give the stream itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close what is open."""
        for reader in self._readers:
            reader.close()

    async def next_piece(self) -> Piece | None:
        """Read on; None at the end.

        Raises:
            DataLossError: A record is damaged, missing or gone.
            StoreError: Other records have taken the log's place.
        """
        self._log.refuse_superseded()
        for lane in self._lanes:
            if not lane.ready:
                records = await lane.reader.fetch(min(self._limit, lane.end - lane.first))
                if records is None:
                    raise InvariantError(f"partition {lane.partition} ended at {lane.end}, and ends before that")
                lane.ready = records.values
        lanes = self._lanes
        if not lanes:
            return None
        rows = min(len(lane.ready) for lane in lanes)
        dealt: list[bytes] = [b""] * (rows * len(lanes))
        for turn, lane in enumerate(lanes):
            dealt[turn :: len(lanes)] = lane.ready[:rows]
        piece = Piece(dealt, [(lane.partition, lane.first) for lane in lanes])
        for lane in lanes:
            lane.ready = lane.ready[rows:]
            lane.first += rows
        self._lanes = [lane for lane in lanes if lane.first < lane.end]
        return piece
