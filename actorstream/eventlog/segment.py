"""One segment: an LMDB file with records of all partitions, read by anyone, written only while it is the newest.

    building ──link──> newest: shared, each commit durable ──seal──> sealed: immutable, proved by size and digest

Reads are short transactions: a reader never holds one across an await, so that
pages are reused and the file stays as small as its records.
"""

from __future__ import annotations

import weakref
from itertools import islice, takewhile
from typing import TYPE_CHECKING, NamedTuple

from xxhash import xxh3_128

from actorstream.errors import DataLossError, StoreError
from actorstream.eventlog.disk_errors import disk_errors
from actorstream.eventlog.ledger import (
    BIRTH,
    BLOCK_TIMES,
    FIRST_OFFSETS,
    FORMAT,
    NEXT_OFFSETS,
    OFFSET_BYTES,
    SEAL,
    TIME_BLOCK,
    Birth,
    Sealed,
    block_of,
    document,
    offsets_of,
    own_row,
    prove_rows,
    put_document,
    scan,
    time_of,
    value_of,
)
from actorstream.eventlog.meta_pages import check_whole
from actorstream.eventlog.page_tree import prove_trees
from actorstream.eventlog.proofs import add_to_proof, load_proof
from actorstream.eventlog.records import PARTITIONS_MAX, Read, partition_prefix, read_rows, record_key
from actorstream.state.lmdb_env import create_building, open_layer, open_segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from actorstream.model.world import FileSystem
    from actorstream.state.lmdb_env import Env, Transaction

FETCH_BYTES = 256 * 1024
_LESS_THAN_HALF = 28
"""A row of half a page less so much is the longest that LMDB keeps in a page with others."""


class End(NamedTuple):
    """No record is there as of a transaction; `sealed`: here there never will be one.

    The transaction is the one that was read in, not the environment's last: LMDB shows the number of a
    commit a little before it lets readers see it, and a reader that took that number would wait for ever.
    """

    transaction: int
    sealed: bool


class Segment:
    """One open segment, until `close`, or until nobody has it any more. Its methods may be called from any thread."""

    def __init__(self, number: int, path: str, env: Env, birth: Birth) -> None:
        """Wrap an environment that was just opened."""
        self.number = number
        self.path = path
        self.env = env
        self.birth = birth
        with env.transaction() as txn:
            self.starts = offsets_of(path, txn, FIRST_OFFSETS, birth.partitions)
            offsets_of(path, txn, NEXT_OFFSETS, birth.partitions)
        self._close = weakref.finalize(self, env.close)
        self._close.atexit = False

    def is_sealed(self) -> bool:
        """Tell whether nothing will ever be written here again."""
        with self.env.transaction() as txn:
            return txn.get(SEAL) is not None

    def ends(self) -> list[int]:
        """Give the offset behind the last record of each partition, as committed now."""
        with self.env.transaction() as txn:
            return offsets_of(self.path, txn, NEXT_OFFSETS, self.birth.partitions)

    def fetch(self, partition: int, offset: int, count: int) -> Read | End:
        """Read up to `count` records from `offset` on, about 256 KiB at most; `End` if none is there.

        Raises:
            DataLossError: A record is missing or damaged.
        """
        with self.env.transaction() as txn:
            # One offset of all: a log may have a thousand partitions, and a tail is asked for often.
            ends = own_row(self.path, txn, NEXT_OFFSETS)
            end = int.from_bytes(ends[partition * OFFSET_BYTES : (partition + 1) * OFFSET_BYTES], "big")
            if end <= offset:
                return End(txn.id(), sealed=txn.get(SEAL) is not None)
            values = self._values(txn, partition, offset, min(count, end - offset), end)
        return read_rows(self.path, partition, offset, values)

    def first_at(self, partition: int, us: int) -> int | None:
        """Give the first offset whose timestamp is at or after `us`; None if there is none."""
        with self.env.transaction() as txn:
            blocks = (block_of(self.path, key) for key, newest in self._block_times(txn, partition) if newest >= us)
            block = next(blocks, None)
        if block is None:
            return None
        offset = max(self.starts[partition], block * TIME_BLOCK)
        while isinstance(read := self.fetch(partition, offset, TIME_BLOCK), Read):
            for at, stamp in enumerate(read.stamps, read.first):
                if stamp >= us:
                    return at
            offset += len(read.stamps)
        raise DataLossError(f"{self.path}: its index of times is damaged: restore the file from a copy")

    def newest_us(self) -> list[int]:
        """Give the newest timestamp of each partition, 0 where it has no record here."""
        newest = [0] * self.birth.partitions
        with self.env.transaction() as txn:
            for partition in range(self.birth.partitions):
                newest[partition] = max((time for _, time in self._block_times(txn, partition)), default=0)
        return newest

    def close(self) -> None:
        """Give up this use of the file."""
        self._close()

    def _block_times(self, txn: Transaction, partition: int) -> Iterator[tuple[bytes, int]]:
        for key, stored in scan(txn, BLOCK_TIMES + partition.to_bytes(2, "big")):
            yield key, time_of(self.path, key, value_of(self.path, key, stored))

    def _values(self, txn: Transaction, partition: int, offset: int, count: int, end: int) -> list[bytes]:
        """Read up to `count` values, 256 KiB and the rest of the last: without keys, of which the last one proves all.

        A key that is not where it should be leaves a value under another offset, and the checksum tells.
        """
        values: list[bytes] = []
        size = 0
        with txn.cursor() as cursor:
            if not cursor.set_key(record_key(partition, offset)):
                raise self._gap(txn, partition, offset, end)
            # One by one: behind any number of small records may be as many of megabytes.
            for value in islice(cursor.iternext(keys=False, values=True), count):
                values.append(value)
                size += len(value)
                if size >= FETCH_BYTES:
                    break
            if cursor.key() != record_key(partition, offset + len(values) - 1):
                raise self._gap(txn, partition, offset, end)
        return values

    def _gap(self, txn: Transaction, partition: int, offset: int, end: int) -> DataLossError:
        """Say which of the records from `offset` on is missing."""
        with txn.cursor() as cursor:
            cursor.set_range(record_key(partition, offset))
            keys = takewhile(lambda key: key.startswith(partition_prefix(partition)), cursor.iternext(values=False))
            missing = offset
            for key in keys:
                if key != record_key(partition, missing):
                    return DataLossError(
                        f"{self.path}: partition {partition} has no record at offset {missing}, though later ones are"
                        " there: the file is damaged; restore it from a copy, or start readers behind that offset"
                    )
                missing += 1
        return DataLossError(
            f"{self.path}: partition {partition} has no records from offset {missing} on, though it should reach {end}:"
            " the file is damaged; restore it from a copy"
        )


def open_newest(files: FileSystem, path: str, number: int, log: str, *, proved: bool = False) -> Segment:
    """Open a segment that may still be written to; unless `proved`, every page is looked at before LMDB does.

    Raises:
        StoreError: It is missing, truncated, damaged, newer than this version, or of another log.
    """
    meta = check_whole(files, path)
    env = open_segment(path, map_size=meta.map_size)
    try:
        if not proved:
            known = load_proof(files, path)
            add_to_proof(files, path, prove_trees(files, path, env, known), known)
    except BaseException:
        env.close()
        raise
    return _opened(number, path, env, log, proved=proved)


def open_sealed(
    files: FileSystem, path: str, sealed: Sealed, log: str, prove: Callable[[str, Sealed], None]
) -> Segment:
    """Open an immutable segment, after its size was found right, and its digest by `prove`.

    Raises:
        StoreError: It is missing or damaged.
    """
    with disk_errors(path):
        try:
            size = files.size(path)
            if size != sealed.size:
                raise DataLossError(
                    f"{path} is damaged: {size} bytes found, {sealed.size} expected: restore it from a copy"
                )
            prove(path, sealed)
        except FileNotFoundError as error:
            raise StoreError(f"{path} is missing: restore it from a copy of the log") from error
    return _opened(sealed.segment, path, open_layer(path), log, proved=True)


def build(files: FileSystem, path: str, map_size: int, rows: Iterable[tuple[bytes, bytes]], birth: Birth) -> None:
    """Make a new segment and give it its name once it is durable.

    The caller holds the writer lock; a file of that name is one that never came to life.
    """
    building = f"{path}.new"
    for leftover in (building, f"{building}-lock", path, f"{path}-lock"):
        files.unlink(leftover)
    env = create_building(building, map_size)
    try:
        with env.transaction(write=True) as txn:
            for key, value in rows:
                txn.put(key, value)
            put_document(txn, BIRTH, birth)
            _keep_partitions_apart(txn, birth.partitions)
    finally:
        env.close()
    files.sync(building)
    files.link(building, path)
    files.unlink(building)
    files.sync_dir(path.rpartition("/")[0])


def digest_of(files: FileSystem, path: str, on_read: Callable[[int], None] = lambda size: None) -> str:
    """Give a file's digest, read in pieces; `on_read` is told the size of each."""
    digest = xxh3_128()
    for chunk in files.chunks(path):
        digest.update(chunk)
        on_read(len(chunk))
    return digest.hexdigest()


def _keep_partitions_apart(txn: Transaction, partitions: int) -> None:
    """Put a row of half a page in front of each partition.

    No page then holds records of two partitions. Where one does, the end of a partition lies inside of that page,
    LMDB splits it in the middle for ever, and all pages stay half empty: with 8 partitions a record took 120 bytes
    on the disk, and takes 67 with these rows.
    """
    half = bytes(txn.stat(None)["psize"] // 2 - _LESS_THAN_HALF)
    for partition in range(partitions):
        txn.put(partition_prefix(partition), half)


def _opened(number: int, path: str, env: Env, log: str, *, proved: bool) -> Segment:
    try:
        with env.transaction() as txn:
            birth = document(path, txn, BIRTH, Birth)
            if not proved:
                prove_rows(path, txn)
        if birth is None:
            raise StoreError(f"{path} is no segment of an event log: restore the right file from a copy")
        if birth.format > FORMAT:
            raise StoreError(
                f"{path} has format {birth.format}, this version reads up to {FORMAT}: use a newer actorstream"
            )
        if not 1 <= birth.partitions <= PARTITIONS_MAX:
            raise DataLossError(f"{path} says that it has {birth.partitions} partitions: restore the file from a copy")
        if (birth.segment, birth.log) != (number, log):
            raise StoreError(
                f"{path} is segment {birth.segment} of log {birth.log}, and segment {number} of log {log} was expected:"
                " put the right file back"
            )
        return Segment(number, path, env, birth)
    except BaseException:
        env.close()
        raise
