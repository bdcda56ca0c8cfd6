"""One segment: an LMDB file with records of all partitions, read by anyone, written only while it is the newest.

    building ──link──> newest: shared, each commit durable ──seal──> sealed: immutable, proved by size and digest

Reads are short transactions: a reader never holds one across an await, so that
pages are reused and the file stays as small as its records.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from xxhash import xxh3_128

from actorstream.errors import StoreError
from actorstream.eventlog.disk_errors import disk_errors
from actorstream.eventlog.ledger import (
    BIRTH,
    BLOCK_TIMES,
    FIRST_OFFSETS,
    FORMAT,
    NEXT_OFFSETS,
    SEAL,
    TIME_BLOCK,
    Birth,
    Sealed,
    block_of,
    document,
    own_row,
    prove_rows,
    put_document,
    scan,
    unpack_offsets,
    value_of,
)
from actorstream.eventlog.meta_pages import check_whole
from actorstream.eventlog.page_tree import prove_trees
from actorstream.eventlog.records import Read, decode_time, partition_prefix, read_rows, record_key
from actorstream.state.lmdb_env import create_building, open_layer, open_segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actorstream.model.world import FileSystem
    from actorstream.state.lmdb_env import Env, Transaction

FETCH_BYTES = 256 * 1024
_FIRST_STEP = 16


class End(NamedTuple):
    """No record is there as of a transaction; `sealed`: here there never will be one.

    The transaction is the one that was read in, not the environment's last: LMDB shows the number of a
    commit a little before it lets readers see it, and a reader that took that number would wait for ever.
    """

    transaction: int
    sealed: bool


class Segment:
    """One open segment. Its methods may be called from any thread."""

    def __init__(self, number: int, path: str, env: Env, birth: Birth) -> None:
        """Wrap an environment that was just opened."""
        self.number = number
        self.path = path
        self.env = env
        self.birth = birth
        with env.transaction() as txn:
            self.starts = unpack_offsets(own_row(self.path, txn, FIRST_OFFSETS))

    def is_sealed(self) -> bool:
        """Tell whether nothing will ever be written here again."""
        with self.env.transaction() as txn:
            return txn.get(SEAL) is not None

    def ends(self) -> list[int]:
        """Give the offset behind the last record of each partition, as committed now."""
        with self.env.transaction() as txn:
            return unpack_offsets(own_row(self.path, txn, NEXT_OFFSETS))

    def fetch(self, partition: int, offset: int, count: int) -> Read | End:
        """Read up to `count` records from `offset` on, about 256 KiB at most; `End` if none is there.

        Raises:
            StoreError: A record is missing or damaged.
        """
        with self.env.transaction() as txn:
            rows = self._rows(txn, partition, offset, count)
            if not rows:
                end = unpack_offsets(own_row(self.path, txn, NEXT_OFFSETS))[partition]
                if end > offset:
                    raise StoreError(
                        f"{self.path}: partition {partition} has no records from offset {offset} on, though it should"
                        f" reach {end}: the file is damaged; restore it from a copy"
                    )
                return End(txn.id(), sealed=txn.get(SEAL) is not None)
        return read_rows(self.path, partition, offset, rows)

    def first_at(self, partition: int, us: int) -> int | None:
        """Give the first offset whose timestamp is at or after `us`; None if there is none."""
        with self.env.transaction() as txn:
            blocks = (block_of(key) for key, newest in self._block_times(txn, partition) if newest >= us)
            block = next(blocks, None)
        if block is None:
            return None
        offset = max(self.starts[partition], block * TIME_BLOCK)
        while isinstance(read := self.fetch(partition, offset, TIME_BLOCK), Read):
            for at, stamp in enumerate(read.stamps, read.first):
                if stamp >= us:
                    return at
            offset += len(read.stamps)
        raise StoreError(f"{self.path}: its index of times is damaged: restore the file from a copy")

    def newest_us(self) -> list[int]:
        """Give the newest timestamp of each partition, 0 where it has no record here."""
        newest = [0] * self.birth.partitions
        with self.env.transaction() as txn:
            for partition in range(self.birth.partitions):
                newest[partition] = max((time for _, time in self._block_times(txn, partition)), default=0)
        return newest

    def close(self) -> None:
        """Give up this use of the file."""
        self.env.close()

    def _block_times(self, txn: Transaction, partition: int) -> Iterator[tuple[bytes, int]]:
        for key, stored in scan(txn, BLOCK_TIMES + partition.to_bytes(2, "big")):
            yield key, decode_time(value_of(self.path, key, stored))

    def _rows(self, txn: Transaction, partition: int, offset: int, count: int) -> list[tuple[bytes, bytes]]:
        rows: list[tuple[bytes, bytes]] = []
        prefix = partition_prefix(partition)
        size = 0
        step = _FIRST_STEP
        with txn.cursor() as cursor:
            if not cursor.set_range(record_key(partition, offset)):
                return rows
            entries = cursor.iternext()
            while len(rows) < count and size < FETCH_BYTES:
                part = list(islice(entries, min(step, count - len(rows))))
                if not part:
                    break
                size += sum([len(value) for _, value in part])
                rows += part
                if not part[-1][0].startswith(prefix):
                    return [row for row in rows if row[0].startswith(prefix)]
                step = max(1, (FETCH_BYTES - size) * len(rows) // (size + 1))
        return rows


def open_newest(files: FileSystem, path: str, number: int, log: str, *, proved: bool = False) -> Segment:
    """Open a segment that may still be written to; unless `proved`, every page is looked at before LMDB does.

    Raises:
        StoreError: It is missing, truncated, damaged, newer than this version, or of another log.
    """
    meta = check_whole(files, path)
    env = open_segment(path, map_size=meta.map_size)
    try:
        if not proved:
            prove_trees(files, path, env)
    except BaseException:
        env.close()
        raise
    return _opened(number, path, env, log)


def open_sealed(files: FileSystem, path: str, sealed: Sealed, log: str, *, proved: bool) -> Segment:
    """Open an immutable segment after its size, and unless `proved` its digest, were found right.

    Raises:
        StoreError: It is missing or damaged.
    """
    with disk_errors(path):
        try:
            size = files.size(path)
            digest = sealed.digest if proved or size != sealed.size else digest_of(files, path)
        except FileNotFoundError as error:
            raise StoreError(f"{path} is missing: restore it from a copy of the log") from error
    if size != sealed.size:
        raise StoreError(f"{path} is damaged: {size} bytes found, {sealed.size} expected: restore it from a copy")
    if digest != sealed.digest:
        raise StoreError(f"{path} is damaged: digest {digest} found, {sealed.digest} expected: restore it from a copy")
    return _opened(sealed.segment, path, open_layer(path), log)


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
    finally:
        env.close()
    files.sync(building)
    files.link(building, path)
    files.unlink(building)
    files.sync_dir(path.rpartition("/")[0])


def digest_of(files: FileSystem, path: str) -> str:
    """Give a file's digest, read in pieces."""
    digest = xxh3_128()
    for chunk in files.chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def _opened(number: int, path: str, env: Env, log: str) -> Segment:
    try:
        with env.transaction() as txn:
            birth = document(path, txn, BIRTH, Birth)
            prove_rows(path, txn)
        if birth is None:
            raise StoreError(f"{path} is no segment of an event log: restore the right file from a copy")
        if birth.format > FORMAT:
            raise StoreError(
                f"{path} has format {birth.format}, this version reads up to {FORMAT}: use a newer actorstream"
            )
        if (birth.segment, birth.log) != (number, log):
            raise StoreError(
                f"{path} is segment {birth.segment} of log {birth.log}, and segment {number} of log {log} was expected:"
                " put the right file back"
            )
        return Segment(number, path, env, birth)
    except BaseException:
        env.close()
        raise
