"""The row of segments that make up a log: which there are, which is the newest, how one becomes two.

    segments/000001.lmdb  sealed  ──>  000002.lmdb  sealed  ──>  000003.lmdb  newest

A segment lives once its predecessor is sealed. At roll-over the writer builds the
next file inside the transaction that seals the last one, so the file is there,
durable and named, before the seal; a crash between the two leaves a file that never
came to life, and the next roll-over makes it anew. A sealed segment without a
successor is therefore damage, and so is a hole between the oldest (its number is in
the ledger) and the newest.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

from actorstream.errors import StoreError
from actorstream.eventlog.disk_errors import disk_errors
from actorstream.eventlog.ledger import (
    CARRIED,
    FIRST_OFFSETS,
    FORMAT,
    NEXT_OFFSETS,
    OLDEST,
    SEAL,
    SEALED,
    Birth,
    Sealed,
    documents,
    own_row,
    pack_offsets,
    row,
    scan,
    unpack_offsets,
)
from actorstream.eventlog.meta_pages import check_whole
from actorstream.eventlog.records import decode_time, encode_time
from actorstream.eventlog.segment import Segment, build, digest_of, open_newest, open_sealed
from actorstream.state.lmdb_env import open_segment

if TYPE_CHECKING:
    from actorstream.model.world import FileSystem

_NAME = re.compile(r"(\d{6,})\.lmdb")


class SegmentRow:
    """The segments of one log, as one user of it sees them. Blocking; from any thread."""

    def __init__(self, files: FileSystem, folder: str, log: str, partitions: int) -> None:
        """Take the folder; nothing is opened yet."""
        self.partitions = partitions
        self._files = files
        self._folder = folder
        self._log = log
        self._lock = threading.RLock()
        self._newest: Segment | None = None
        self._proved: set[int] = set()
        self._walked: set[int] = set()
        self._described: dict[int, Sealed] = {}

    def newest(self) -> Segment:
        """Give the segment that is written to; it stays open until it is sealed, or `close`.

        Raises:
            StoreError: A segment is missing or damaged.
        """
        with self._lock:
            if self._newest is not None and self._newest.is_sealed():
                self._newest.close()
                self._newest = None
            if self._newest is None:
                self._newest = self._find_newest()
                self._newest.env.clear_dead_readers()
            return self._newest

    def sealed(self) -> list[Sealed]:
        """Give all sealed segments, oldest first.

        Raises:
            StoreError: One of them is missing.
        """
        with self._lock:
            newest = self.newest()
            with newest.env.transaction() as txn:
                oldest = int.from_bytes(own_row(newest.path, txn, OLDEST), "big")
                listed = {entry.segment: entry for entry in documents(newest.path, txn, SEALED, Sealed)}
            numbers = set(self._numbers())
            for number in range(oldest, newest.number):
                if number not in numbers:
                    raise StoreError(f"{self.path(number)} is missing: restore it from a copy of the log")
                if number not in listed:
                    listed[number] = self._describe(number)
            return [listed[number] for number in range(oldest, newest.number)]

    def unlisted(self) -> list[Sealed]:
        """Give the sealed segments that this process has described and the ledger may not hold yet."""
        with self._lock:
            return list(self._described.values())

    def forget(self, segments: list[Sealed]) -> None:
        """Drop descriptions that the ledger holds by now."""
        with self._lock:
            for entry in segments:
                self._described.pop(entry.segment, None)

    def locate(self, partition: int, offset: int) -> Segment:
        """Open the segment that has, or will have, a record; the caller closes it.

        Raises:
            StoreError: The offset is gone, or behind the end; says what is there and what to do.
        """
        with self._lock:
            newest = self.newest()
            sealed = self.sealed()
            first = (sealed[0].starts if sealed else newest.starts)[partition]
            if offset < first:
                raise StoreError(
                    f"{self._folder}: partition {partition} has no offset {offset} any more: retention has removed what"
                    f" was before {first}. Start at {first} or later; retention waits for jobs that have registered"
                )
            for entry in sealed:
                if offset < entry.ends[partition]:
                    return self.open_sealed(entry)
            end = newest.ends()[partition]
            if offset > end:
                raise StoreError(
                    f"{self._folder}: partition {partition} ends at offset {end}, and {offset} was asked for: the log"
                    " was replaced or restored from an older copy; start from a position that it has"
                )
            return open_newest(self._files, newest.path, newest.number, self._log, proved=True)

    def open_sealed(self, entry: Sealed) -> Segment:
        """Open one sealed segment, proved once by this object; the caller closes it."""
        with self._lock:
            path = self.path(entry.segment)
            segment = open_sealed(self._files, path, entry, self._log, proved=entry.segment in self._proved)
            self._proved.add(entry.segment)
            return segment

    def first_offsets(self) -> list[int]:
        """Give the first offset that each partition still has."""
        with self._lock:
            sealed = self.sealed()
            return sealed[0].starts if sealed else self.newest().starts

    def first_at(self, us: int) -> list[int | None]:
        """Give each partition's first offset whose timestamp is at or after `us`; None if there is none."""
        with self._lock:
            found: list[int | None] = [None] * self.partitions
            for entry in self.sealed():
                wanted = [p for p in range(self.partitions) if found[p] is None and entry.newest_us[p] >= us]
                if wanted:
                    segment = self.open_sealed(entry)
                    for partition in wanted:
                        found[partition] = segment.first_at(partition, us)
                    segment.close()
            newest = self.newest()
            return [newest.first_at(p, us) if offset is None else offset for p, offset in enumerate(found)]

    def roll_over(self, map_size: int, now_us: int) -> None:
        """Seal the newest segment and begin the next one. The caller holds the writer lock."""
        with self._lock:
            old = self.newest()
            with old.env.transaction(write=True) as txn:
                rows = [carried for kind in CARRIED for carried in scan(txn, kind)]
                ends = own_row(old.path, txn, NEXT_OFFSETS)
                rows += [row(FIRST_OFFSETS, ends), row(NEXT_OFFSETS, ends)]
                birth = Birth(FORMAT, self._log, old.number + 1, self.partitions)
                build(self._files, self.path(birth.segment), map_size, rows, birth)
                txn.put(*row(SEAL, encode_time(now_us)))
            self._files.synced(old.path)
            self._describe(old.number)
            self.newest()

    def remove(self, segments: list[Sealed]) -> None:
        """Unlink segments that the ledger does not list any more."""
        for entry in segments:
            path = self.path(entry.segment)
            self._files.unlink(path)
            self._files.unlink(f"{path}-lock")
        self._files.sync_dir(f"{self._folder}/segments")

    def path(self, number: int) -> str:
        """Give the path of a segment."""
        return segment_path(self._folder, number)

    def bytes_on_disk(self) -> int:
        """Add up the sizes of all segments."""
        with disk_errors(self._folder):
            return sum(self._files.size(self.path(number)) for number in self._numbers())

    def close(self) -> None:
        """Close the newest segment; readers keep theirs."""
        with self._lock:
            if self._newest is not None:
                self._newest.close()
                self._newest = None

    def _numbers(self) -> list[int]:
        return _numbers(self._files, self._folder)

    def _find_newest(self) -> Segment:
        last_seen = 0
        while True:
            numbers = self._numbers()
            if not numbers:
                raise StoreError(f"{self.path(1)} is missing, and every other segment: restore the log from a copy")
            # The one before is sealed but for a moment at each roll-over: it is looked into, not read through.
            segment = self._open(numbers[-1]) if len(numbers) == 1 else self._open(numbers[-2], proved=True)
            if segment.is_sealed() and len(numbers) > 1:
                segment.close()
                segment = self._open(numbers[-1])
            sealed = segment.is_sealed()
            if not sealed and segment.number in self._walked:
                return segment
            segment.close()
            if not sealed:
                return self._open(segment.number)
            if segment.number == last_seen:
                raise StoreError(
                    f"{self.path(segment.number + 1)} is missing: segment {segment.number} is sealed, so there must be"
                    " a next one; restore it from a copy of the log"
                )
            last_seen = segment.number

    def _open(self, number: int, *, proved: bool = False) -> Segment:
        proved = proved or number in self._walked
        segment = open_newest(self._files, self.path(number), number, self._log, proved=proved)
        if not proved:
            self._walked.add(number)
        return segment

    def _describe(self, number: int) -> Sealed:
        if number not in self._described:
            segment = self._open(number)
            with segment.env.transaction() as txn:
                sealed_us = decode_time(own_row(segment.path, txn, SEAL))
            path = segment.path
            with disk_errors(path):
                size, digest = self._files.size(path), digest_of(self._files, path)
            starts, ends, newest_us = segment.starts, segment.ends(), segment.newest_us()
            segment.close()
            self._described[number] = Sealed(number, size, digest, starts, ends, newest_us, sealed_us)
            self._proved.add(number)
        return self._described[number]


def segment_path(folder: str, number: int) -> str:
    """Give the path of segment `number` of the log in `folder`."""
    return f"{folder}/segments/{number:06}.lmdb"


def has_records(files: FileSystem, folder: str) -> bool:
    """Tell whether segments of a folder without a LOG file hold anything: if so, it is not a log half made.

    Raises:
        StoreError: The first segment is damaged.
    """
    numbers = _numbers(files, folder)
    if numbers != [1]:
        return bool(numbers)
    path = segment_path(folder, 1)
    env = open_segment(path, map_size=check_whole(files, path).map_size)
    try:
        with env.transaction() as txn:
            return any(unpack_offsets(own_row(path, txn, NEXT_OFFSETS)))
    finally:
        env.close()


def begin_row(files: FileSystem, folder: str, log: str, partitions: int, map_size: int) -> None:
    """Make the first segment of a new log. The caller holds the writer lock."""
    nothing = pack_offsets([0] * partitions)
    rows = [row(FIRST_OFFSETS, nothing), row(NEXT_OFFSETS, nothing), row(OLDEST, (1).to_bytes(4, "big"))]
    build(files, segment_path(folder, 1), map_size, rows, Birth(FORMAT, log, 1, partitions))


def _numbers(files: FileSystem, folder: str) -> list[int]:
    with disk_errors(f"{folder}/segments"):
        names = map(_NAME.fullmatch, files.list_dir(f"{folder}/segments"))
    return sorted(int(name[1]) for name in names if name)
