"""What a log holds, in 32 hexadecimal digits: equal digests, equal records at equal places with equal times.

Two replays of one pipeline over one stretch have equal digests for each of their logs. What a log is called, when and
in how many files it was written, does not count.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_128

from actorstream.eventlog.reading import FETCH_RECORDS
from actorstream.eventlog.records import Read
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from actorstream.eventlog.log import EventLog
    from actorstream.eventlog.open_log import OpenLog

_PLACE = Struct(">HQqI")


async def content_digest(log: EventLog[Any]) -> str:
    """Give the digest of all records up to where the log ends now: partition, offset, timestamp and bytes of each.

    Raises:
        StoreError: The log is missing or damaged.
    """
    summary = await log.summary()
    opened = await log._opened()  # noqa: SLF001  (users have no need of it)
    digest = xxh3_128()
    for partition, (first, end) in enumerate(zip(summary.first, summary.next, strict=True)):
        offset = first
        while offset < end:
            offset = await current_world().offload.run(_add, digest, opened, partition, offset, end)
    return digest.hexdigest()


def _add(digest: xxh3_128, log: OpenLog, partition: int, first: int, end: int) -> int:
    """Add some records of one segment; give the offset behind them. Blocking."""
    segment = log.row.locate(partition, first)
    try:
        for _ in range(64):
            read = segment.fetch(partition, first, min(FETCH_RECORDS, end - first))
            if not isinstance(read, Read):
                break
            for offset, (stamp, payload) in enumerate(zip(read.stamps, read.payloads, strict=True), read.first):
                digest.update(_PLACE.pack(partition, offset, stamp, len(payload)))
                digest.update(payload)
            first = read.first + len(read.payloads)
            if first == end:
                break
    finally:
        segment.close()
    return first
