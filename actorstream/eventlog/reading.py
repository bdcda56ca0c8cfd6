"""Reading one partition: a cursor that goes from segment to segment and never skips.

A fetch is a short read transaction, at most 512 records or 256 KiB, made on the event
loop: records that were just written are in the page cache, and 512 small ones take half
a millisecond, less than a hop to a thread and back under load. Where pages turn out to
be cold (a fetch took over 5 ms), the next fetches go to a thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from actorstream.errors import CodecError
from actorstream.eventlog.records import Read

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from actorstream.eventlog.open_log import OpenLog
    from actorstream.eventlog.schemas import RecordSchemas
    from actorstream.eventlog.segment import End, Segment

T = TypeVar("T")

FETCH_RECORDS = 512
_SLOW_S = 0.005
_FETCHES_IN_THREAD = 4


class Records(NamedTuple, Generic[T]):
    """Records from offset `first` on, with their times."""

    first: int
    stamps: list[int]
    values: list[T]


class PartitionReader(Generic[T]):
    """Reads a partition from `offset` on. Use it in `with`, or call `close`."""

    def __init__(self, log: OpenLog, schemas: RecordSchemas[T], partition: int, offset: int) -> None:
        """Begin in front of `offset`; nothing is opened yet."""
        self.offset = offset
        self._log = log
        self._schemas = schemas
        self._partition = partition
        self._segment: Segment | None = None
        self._bell = log.bell
        self._seen = (0, 0)
        self._in_thread = 0

    def __enter__(self) -> Self:
        """Give the reader itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Close."""
        self.close()

    async def fetch(self, limit: int = FETCH_RECORDS) -> Records[T] | None:
        """Read on; None where there is nothing yet.

        Raises:
            DataLossError: A record is missing, damaged or gone.
            CodecError: A record is whole, and not of the log's declared type.
        """
        while True:
            if self._segment is None:
                self._segment = await self._log.world.offload.run(self._log.row.locate, self._partition, self.offset)
            segment = self._segment
            rung = self._bell.rung
            read = await self._read(segment, min(limit, FETCH_RECORDS))
            if isinstance(read, Read):
                values = self._decoded(read)
                self.offset = read.first + len(values)
                return Records(read.first, read.stamps, values)
            if not read.sealed:
                self._seen = (rung, read.transaction)
                return None
            self.close()

    async def wait(self) -> None:
        """Return once something may have been committed since the last fetch found nothing."""
        if self._segment is not None:
            await self._bell.wait(self._seen[0], self._segment.env, self._seen[1])

    def close(self) -> None:
        """Let go of the segment."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    async def _read(self, segment: Segment, limit: int) -> Read | End:
        if self._in_thread > 0:
            self._in_thread -= 1
            return await self._log.world.offload.run(segment.fetch, self._partition, self.offset, limit)
        clock = self._log.world.clock
        start = clock.monotonic()
        read = segment.fetch(self._partition, self.offset, limit)
        if clock.monotonic() - start > _SLOW_S:
            self._in_thread = _FETCHES_IN_THREAD
        return read

    def _decoded(self, read: Read) -> list[T]:
        try:
            return list(map(self._schemas.decode, read.payloads))
        except CodecError:
            values: list[T] = []
            for offset, payload in enumerate(read.payloads, read.first):
                try:
                    values.append(self._schemas.decode_any(payload))
                except CodecError as error:
                    raise CodecError(
                        f"{self._log.folder}: the record at partition {self._partition}, offset {offset} is not of the"
                        f" type that this log was opened with: {error}; open it with the type it was written with"
                    ) from error
            return values
