"""The row of segments that make up a log: which there are, which is the newest, how one becomes two.

    segments/000001.lmdb  sealed  ──>  000002.lmdb  sealed  ──>  000003.lmdb  newest

A segment lives once its predecessor is sealed. At roll-over the writer builds the
next file inside the transaction that seals the last one, so the file is there,
durable and named, before the seal; a crash between the two leaves a file that never
came to life, and the next roll-over makes it anew. A sealed segment without a
successor is therefore damage, and so is a hole between the oldest (its number is in
the ledger) and the newest.

No file is entered by LMDB before it was proved: a sealed one by its digest, once a
boot; the newest, and one whose digest is not known yet, page by page.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, TypeVar

from actorstream.errors import DataLossError, StoreError
from actorstream.eventlog.digests import Digests
from actorstream.eventlog.disk_errors import disk_errors
from actorstream.eventlog.ledger import (
    CARRIED,
    FIRST_OFFSETS,
    FORMAT,
    NEXT_OFFSETS,
    OLDEST,
    SEAL,
    Birth,
    Sealed,
    oldest_in,
    own_row,
    pack_offsets,
    row,
    scan,
    sealed_in,
    time_of,
    unpack_offsets,
)
from actorstream.eventlog.meta_pages import check_whole, newest_meta
from actorstream.eventlog.once_a_boot import SealedProofs
from actorstream.eventlog.page_tree import prove_trees
from actorstream.eventlog.proofs import LAG_BYTES, GrowingProof, drop_proof
from actorstream.eventlog.records import encode_time
from actorstream.eventlog.segment import Segment, build, open_newest, open_sealed
from actorstream.state.lmdb_env import open_segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.model.world import FileSystem

R = TypeVar("R")

_NAME = re.compile(r"(\d{6,})\.lmdb")
_LAG_FOR_A_BYTE = 2
_SMALL_LEDGER = 1 << 18
"""Whoever asks for a map has room for so much in it."""
_PAGE_BYTES = 1 << 16
_FIRST_COMMIT = 2
"""Number of the first transaction after the one that makes a segment."""


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
        self._looked_at: set[int] = set()
        self._sealed_proofs = SealedProofs(files, f"{folder}/segments")
        self._listed: dict[bytes, Sealed] = {}
        self._unlisted: dict[int, Sealed] = {}
        self._digests = Digests(files, self.path)
        self._growing: GrowingProof | None = None
        self._proved_by_digest: list[int] = []

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
            return self._while_others_remove(self._sealed)

    def locate(self, partition: int, offset: int) -> Segment:
        """Open the segment that has, or will have, a record; the caller closes it.

        Raises:
            DataLossError: The offset is gone; says what is there and what to do.
            StoreError: It is behind the end, or the segment missing or damaged.
        """
        return self._while_others_remove(lambda: self._locate(partition, offset))

    def first_offsets(self) -> list[int]:
        """Give the first offset that each partition still has."""
        with self._lock:
            sealed = self.sealed()
            return sealed[0].starts if sealed else self.newest().starts

    def first_at(self, us: int) -> list[int | None]:
        """Give each partition's first offset whose timestamp is at or after `us`; None if there is none."""
        found: list[int | None] = [None] * self.partitions
        for entry in self.sealed():
            wanted = [p for p in range(self.partitions) if found[p] is None and entry.newest_us[p] >= us]
            if wanted:
                segment = self._open_sealed(entry)
                for partition in wanted:
                    found[partition] = segment.first_at(partition, us)
                segment.close()
        with self._lock:
            newest = self.newest()
            return [newest.first_at(p, us) if offset is None else offset for p, offset in enumerate(found)]

    def digested(self) -> list[Sealed]:
        """Give the sealed segments whose digests this process has calculated and the ledger may not list yet."""
        return list(self._digests.ready.values())

    def announced(self, segments: list[Sealed]) -> None:
        """Take note that the ledger lists these."""
        for entry in segments:
            del self._digests.ready[entry.segment]
            self._proved_by_digest.append(entry.segment)

    def find_undigested(self) -> None:
        """Let `work` calculate the digests that are missing in the ledger."""
        self._digests.want(entry for entry in self.sealed() if not entry.digest)

    def work(self, budget_bytes: int) -> None:
        """Do a part of what is to be done beside commits; by one thread at a time, whatever its loop.

        Raises:
            OSError: The disk fails. The part is done again the next time.
            StoreError: The newest segment is damaged.
        """
        while self._proved_by_digest:
            drop_proof(self._files, self.path(self._proved_by_digest.pop()))
        self._digests.read(budget_bytes)
        path = self.newest().path
        if self._growing is None or self._growing.path != path:
            self._growing = GrowingProof(self._files, path)
        self._growing.follow(budget_bytes, LAG_BYTES + _LAG_FOR_A_BYTE * budget_bytes)

    def roll_over(self, map_size: int, now_us: int) -> None:
        """Seal the newest segment and begin the next one, with room for its ledger beside `map_size`.

        The caller holds the writer lock.
        """
        with self._lock:
            old = self.newest()
            with old.env.transaction(write=True) as txn:
                rows = [carried for kind in CARRIED for carried in scan(txn, kind)]
                ends = own_row(old.path, txn, NEXT_OFFSETS)
                rows += [row(FIRST_OFFSETS, ends), row(NEXT_OFFSETS, ends)]
                birth = Birth(FORMAT, self._log, old.number + 1, self.partitions)
                build(self._files, self.path(birth.segment), map_size + _room_for_ledger(rows), rows, birth)
                txn.put(*row(SEAL, encode_time(now_us)))
            self._files.synced(old.path)
            self.newest()

    def remove(self, segments: list[Sealed]) -> None:
        """Unlink segments that the ledger does not list any more."""
        for entry in segments:
            path = self.path(entry.segment)
            self._files.unlink(path)
            self._files.unlink(f"{path}-lock")
            drop_proof(self._files, path)
        self._files.sync_dir(f"{self._folder}/segments")

    def path(self, number: int) -> str:
        """Give the path of a segment."""
        return segment_path(self._folder, number)

    def bytes_on_disk(self) -> int:
        """Add up the sizes of all segments."""
        with self._lock, disk_errors(self._folder):
            sealed = [entry.size or self._files.size(self.path(entry.segment)) for entry in self.sealed()]
            return sum(sealed) + self._files.size(self.newest().path)

    def close(self) -> None:
        """Close the newest segment; readers keep theirs."""
        with self._lock:
            if self._newest is not None:
                self._newest.close()
                self._newest = None
            self._digests.close()
            self._growing = None

    def _numbers(self) -> list[int]:
        return _numbers(self._files, self._folder)

    def _while_others_remove(self, look: Callable[[], R]) -> R:
        """Look; and again if what was missing has been removed by retention meanwhile."""
        while True:
            oldest = self._oldest()
            try:
                return look()
            except StoreError:
                if self._oldest() == oldest:
                    raise

    def _oldest(self) -> int:
        with self._lock:
            newest = self.newest()
            with newest.env.transaction() as txn:
                return oldest_in(newest.path, txn)

    def _sealed(self) -> list[Sealed]:
        newest = self.newest()
        with newest.env.transaction() as txn:
            oldest = oldest_in(newest.path, txn)
            listed = sealed_in(newest.path, txn, self._listed)
        if oldest > newest.number:
            raise DataLossError(
                f"{newest.path} says that segment {oldest} is the oldest, and is {newest.number} itself: restore the"
                " file from a copy"
            )
        numbers = set(self._numbers())
        for number in range(oldest, newest.number):
            if number not in numbers:
                raise StoreError(f"{self.path(number)} is missing: restore it from a copy of the log")
        return [listed.get(number) or self._describe(number) for number in range(oldest, newest.number)]

    def _locate(self, partition: int, offset: int) -> Segment:
        with self._lock:
            newest = self.newest()
            sealed = self.sealed()
            first = (sealed[0].starts if sealed else newest.starts)[partition]
            if offset < first:
                raise DataLossError(
                    f"{self._folder}: partition {partition} has no offset {offset} any more: retention has removed what"
                    f" was before {first}. Start at {first} or later; retention waits for jobs that have registered"
                )
            entry = next((entry for entry in sealed if offset < entry.ends[partition]), None)
            if entry is None:
                end = newest.ends()[partition]
                if offset > end:
                    raise StoreError(
                        f"{self._folder}: partition {partition} ends at offset {end}, and {offset} was asked for: the"
                        " log was replaced or restored from an older copy; start from a position that it has"
                    )
                return self._open(newest.number)
        return self._open_sealed(entry)

    def _open_sealed(self, entry: Sealed) -> Segment:
        """Open one sealed segment, proved; the caller closes it. Others go on while it is read."""
        if not entry.digest:
            return self._open(entry.segment)
        segment = open_sealed(self._files, self.path(entry.segment), entry, self._log, self._sealed_proofs.prove)
        return self._as_wide(segment)

    def _find_newest(self) -> Segment:
        last_seen = 0
        while True:
            numbers = self._numbers()
            if not numbers:
                raise StoreError(f"{self.path(1)} is missing, and every other segment: restore the log from a copy")
            last = numbers[-1]
            if len(numbers) > 1 and not self._has_lived(last):
                before = self._open(numbers[-2])
                if not before.is_sealed():
                    return before
                before.close()
            segment = self._open(last)
            if not segment.is_sealed():
                return segment
            segment.close()
            if last == last_seen:
                raise StoreError(
                    f"{self.path(last + 1)} is missing: segment {last} is sealed, so there must be a next one; restore"
                    " it from a copy of the log"
                )
            last_seen = last

    def _has_lived(self, number: int) -> bool:
        """Tell, without a look into it, whether anything was ever committed to a segment after it was made."""
        return newest_meta(self._files, self.path(number)).transaction >= _FIRST_COMMIT

    def _open(self, number: int) -> Segment:
        """Open a segment without a digest, looked at page by page once; the caller closes it."""
        with self._lock:
            proved = number in self._looked_at
            segment = open_newest(self._files, self.path(number), number, self._log, proved=proved)
            self._looked_at.add(number)
            return self._as_wide(segment)

    def _as_wide(self, segment: Segment) -> Segment:
        """Give a segment back if it has as many partitions as the log; close it if not."""
        if segment.birth.partitions != self.partitions:
            segment.close()
            raise DataLossError(
                f"{segment.path} has {segment.birth.partitions} partitions, and the log {self.partitions}: restore the"
                " file from a copy"
            )
        return segment

    def _describe(self, number: int) -> Sealed:
        """Give a sealed segment that the ledger does not list: with its digest if that is known."""
        if number in self._digests.ready:
            return self._digests.ready[number]
        if number not in self._unlisted:
            segment = self._open(number)
            with segment.env.transaction() as txn:
                sealed_us = time_of(segment.path, SEAL, own_row(segment.path, txn, SEAL))
            starts, ends, newest_us = segment.starts, segment.ends(), segment.newest_us()
            segment.close()
            self._unlisted[number] = Sealed(number, 0, "", starts, ends, newest_us, sealed_us)
        return self._unlisted[number]


def _room_for_ledger(rows: list[tuple[bytes, bytes]]) -> int:
    """Give how much larger a map must be for what is carried over: one that it fills would be full from the start."""
    size = 4 * sum(len(key) + len(value) for key, value in rows)
    return 0 if size <= _SMALL_LEDGER else -(-size // _PAGE_BYTES) * _PAGE_BYTES


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
        prove_trees(files, path, env)
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
