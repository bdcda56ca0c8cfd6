"""How far two logs hold the same records at the same places: for each partition the first offset that differs.

Times do not count, values do: a log that was written anew has other times of append. Reads both logs side by side,
and goes on from an earlier reading, so that what was appended meanwhile costs no more than itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actorstream.errors import StoreError
from actorstream.eventlog.disk_errors import disk_errors
from actorstream.eventlog.records import Read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorstream.eventlog.open_log import OpenLog
    from actorstream.eventlog.segment import Segment

_FETCH_RECORDS = 2_048


@dataclass(frozen=True)
class Agreement:
    """For each partition: up to which offset two logs agree, where both ended, and whether they differed before."""

    differs: list[int]
    ends: tuple[list[int], list[int]]
    final: list[bool]


def agree(
    log: OpenLog, other: OpenLog, same: Callable[[bytes, bytes], bool], known: Agreement | None = None
) -> Agreement:
    """Compare two logs of as many partitions up to where they end now. Blocking.

    Where retention has removed the beginning of `log`, an offset is taken to mean the same in both if the first record
    that is left is the same; otherwise nothing is.

    Args:
        log: The one that readers know.
        other: The one that is to take its place.
        same: Tells whether payloads of other bytes are the same record.
        known: What an earlier call gave: it goes on from there.

    Raises:
        StoreError: `other` lacks a beginning that `log` has; or one of them is damaged.
    """
    with disk_errors(log.folder):
        starts, other_starts = log.row.first_offsets(), other.row.first_offsets()
        ends = log.row.newest().ends(), other.row.newest().ends()
        differs: list[int] = []
        final: list[bool] = []
        for partition, (start, other_start) in enumerate(zip(starts, other_starts, strict=True)):
            if other_start > start:
                raise StoreError(
                    f"{other.folder}: partition {partition} begins at offset {other_start}, and {log.folder} has"
                    f" it from {start} on: readers would find a hole; write it anew from the beginning of the log"
                )
            end = min(ends[0][partition], ends[1][partition])
            if known is not None and known.final[partition]:
                differs.append(known.differs[partition])
                final.append(True)
                continue
            begin = start if known is None else max(start, known.differs[partition])
            first = _first_difference(log, other, partition, begin, end, same)
            final.append(first < end)
            differs.append(other_start if first <= start else first)
    return Agreement(differs, ends, final)


def read_through(log: OpenLog, begin: Sequence[int]) -> None:
    """Read every record from offsets `begin` on, one a partition, up to where the log ends now. Blocking.

    Raises:
        DataLossError: One is damaged or missing.
    """
    with disk_errors(log.folder):
        for partition, end in enumerate(log.row.newest().ends()):
            scan, offset = _Scan(log, partition), max(begin[partition], log.row.first_offsets()[partition])
            try:
                while offset < end:
                    offset += len(scan.payloads(offset, end))
            finally:
                scan.close()


def _first_difference(
    log: OpenLog, other: OpenLog, partition: int, offset: int, end: int, same: Callable[[bytes, bytes], bool]
) -> int:
    left, right = _Scan(log, partition), _Scan(other, partition)
    try:
        while offset < end:
            a, b = left.payloads(offset, end), right.payloads(offset, end)
            count = min(len(a), len(b))
            if a[:count] != b[:count]:
                for at in range(count):
                    if a[at] != b[at] and not same(a[at], b[at]):
                        return offset + at
            offset += count
    finally:
        left.close()
        right.close()
    return max(offset, end)


class _Scan:
    """A partition's payloads, in a thread."""

    def __init__(self, log: OpenLog, partition: int) -> None:
        self._row = log.row
        self._partition = partition
        self._segment: Segment | None = None

    def payloads(self, offset: int, end: int) -> list[bytes]:
        while True:
            if self._segment is None:
                self._segment = self._row.locate(self._partition, offset)
            read = self._segment.fetch(self._partition, offset, min(_FETCH_RECORDS, end - offset))
            if isinstance(read, Read):
                return read.payloads
            self.close()

    def close(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None
