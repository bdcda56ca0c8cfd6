"""What the tests of the event log share: a record type, a sink's identity, small segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from actorstream.eventlog.folder import LogSettings

if TYPE_CHECKING:
    from actorstream.eventlog.log import EventLog

T = TypeVar("T")

SMALL = LogSettings(segment_bytes=1 << 20, lock_timeout_s=5.0)
"""Segments of a mebibyte: about 5,000 records of 100 bytes each."""


@dataclass(frozen=True)
class Click:
    user: str
    page: int


@dataclass(frozen=True)
class Identity:
    job: str = "job-1"
    operator: str = "alerts"
    subtask: int = 0
    attempt: int = 1
    restored: int = 1_000_000


async def values_of(log: EventLog[T]) -> list[T]:
    return [record.value async for record in log.records(stop="now")]
