"""What the tests of the event log share: a record type, a sink's identity, small segments, a log with a past."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from xxhash import xxh3_128_hexdigest

from actorstream.codec.documents import encode_json
from actorstream.eventlog.documents import sealed
from actorstream.eventlog.folder import LogDocument, LogSettings, map_size_for
from actorstream.eventlog.ledger import FIRST_OFFSETS, FORMAT, NEXT_OFFSETS, OLDEST, Birth, pack_offsets, row
from actorstream.eventlog.row import segment_path
from actorstream.eventlog.segment import build
from actorstream.system.files import RealFiles
from actorstream.testing.faults import InterceptedFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from actorstream.eventlog.log import EventLog
    from actorstream.model.world import FileSystem
    from actorstream.testing.faults import CallKind

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
    holder: str = "one"


class CountingFiles(InterceptedFiles):
    """The real disk; counts what is read in pieces: by name of the file, and in all."""

    def __init__(self, inner: FileSystem) -> None:
        super().__init__(inner)
        self.read_bytes = 0
        self.read_of: Counter[str] = Counter()

    def _before(self, kind: CallKind, path: str, half: Callable[[], None] | None = None) -> None:
        """Let every call pass."""

    def identity(self, path: str, /) -> str:
        """Give a digest of the content: a real disk's is never the same twice for a file that has just been changed."""
        return xxh3_128_hexdigest(self.read(path))

    def chunks(self, path: str, /) -> Iterator[bytes]:
        for chunk in super().chunks(path):
            self.read_bytes += len(chunk)
            self.read_of[path.rpartition("/")[2]] += len(chunk)
            yield chunk


async def values_of(log: EventLog[T]) -> list[T]:
    return [record.value async for record in log.records(stop="now")]


def begin_at(folder: Path, offsets: list[int], *, segment: int = 1) -> LogDocument:
    """Make an empty log whose partitions begin at `offsets`, as if retention had removed all that was before."""
    document = sealed(LogDocument(FORMAT, "1" * 32, len(offsets), SMALL.segment_bytes, 0))
    (folder / "segments").mkdir(parents=True, mode=0o700)
    (folder / "staged").mkdir(mode=0o700)
    there = pack_offsets(offsets)
    rows = [row(FIRST_OFFSETS, there), row(NEXT_OFFSETS, there), row(OLDEST, segment.to_bytes(4, "big"))]
    map_size = map_size_for(SMALL.segment_bytes, len(offsets), 0)
    birth = Birth(FORMAT, document.id, segment, len(offsets))
    build(RealFiles(), segment_path(str(folder), segment), map_size, rows, birth)
    (folder / "LOG").write_bytes(encode_json(document))
    return document
