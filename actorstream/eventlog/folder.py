"""The folder of a log: what it is called, how it begins, who may write.

<log>/ LOG                       what it is: format, id, partitions, segment size
       LOCK                      held by the writer during one commit
       segments/000001.lmdb ...  the records
       staged/...                records of sinks, between pre-commit and commit
       LOG.2  generation-2/...   where other records have taken their place: generations.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from actorstream.codec.documents import Int64, encode_json
from actorstream.errors import PlanError, StoreError
from actorstream.eventlog.disk_errors import disk_errors
from actorstream.eventlog.documents import put_document, read_document, sealed
from actorstream.eventlog.ledger import FORMAT
from actorstream.eventlog.records import PARTITIONS_MAX
from actorstream.eventlog.row import begin_row, has_records

if TYPE_CHECKING:
    from actorstream.model.world import FileSystem, World

_LOCK_POLL_S = 0.002
SEGMENT_BYTES_MAX = 1 << 44
"""16 TiB: larger than any disk, and room in an address space of 47 bits."""


@dataclass(frozen=True)
class LogSettings:
    """Rare knobs of an event log.

    Attributes:
        segment_bytes: Size at which a segment is sealed and the next one begun; fixed when the log is made.
        lock_timeout_s: How long to wait for a writer in another process.
    """

    segment_bytes: int = 1 << 30
    lock_timeout_s: float = 10.0


@dataclass(frozen=True)
class LogDocument:
    """The LOG file: written once. `digest` is over the rest."""

    format: Int64
    id: str
    partitions: Int64
    segment_bytes: Int64
    created_us: Int64
    digest: str = ""


async def open_folder(
    world: World, folder: str, partitions: int | None, settings: LogSettings, *, make: bool = True
) -> LogDocument:
    """Give the log's document; make the log where there is none.

    Raises:
        StoreError: The folder holds no log and `make` is off, a newer or damaged one, or cannot be written.
        PlanError: The log has another number of partitions.
    """
    document = await world.offload.run(_read, world.files, folder)
    if document is not None and make:
        await world.offload.run(_keep, world.files, folder)
    if document is None:
        if not make:
            raise StoreError(f"{folder} holds no event log: its LOG file is missing; check the path")
        deadline = anyio.current_time() + settings.lock_timeout_s
        while (document := await world.offload.run(_make, world, folder, partitions or 1, settings)) is None:
            if anyio.current_time() >= deadline:
                raise StoreError(f"{folder}: another process holds its lock and does not make the log: look for it")
            await anyio.sleep(_LOCK_POLL_S)
    if partitions is not None and partitions != document.partitions:
        raise PlanError(
            f"the event log {folder} has {document.partitions} partitions, and partitions={partitions} was asked for:"
            " a log keeps the number it was made with; leave the argument out, or copy the records to a new log"
        )
    return document


def check_partitions(partitions: int | None) -> None:
    """Refuse a number of partitions that no log can have.

    Raises:
        PlanError: It is not from 1 to 1024.
    """
    if partitions is not None and not 1 <= partitions <= PARTITIONS_MAX:
        raise PlanError(f"partitions={partitions}: an event log has from 1 to {PARTITIONS_MAX}")


def lock_path(folder: str) -> str:
    """Give the path of the writer lock."""
    return f"{folder}/LOCK"


def map_size_for(segment_bytes: int, partitions: int, record_bytes: int) -> int:
    """Give the size of map in which a new segment surely holds `record_bytes` of records."""
    return max(segment_bytes, room_for(partitions, record_bytes) + (1 << 20))


def room_for(partitions: int, record_bytes: int) -> int:
    """Give how far `record_bytes` of records may at most make a file grow.

    A page is at worst filled to a third; the rest is for the tree, and for pages that LMDB copies.
    """
    return 4 * record_bytes + partitions * 32_768 + 262_144


def _read(files: FileSystem, folder: str) -> LogDocument | None:
    path = f"{folder}/LOG"
    document = read_document(files, path, LogDocument)
    if document is not None:
        refuse_impossible(path, document.partitions, document.segment_bytes)
    return document


def refuse_impossible(path: str, partitions: int, segment_bytes: int) -> None:
    """Refuse a document, whatever its digest, that says of a log what no log can be.

    Raises:
        StoreError: It does.
    """
    if not (1 <= partitions <= PARTITIONS_MAX and 1 <= segment_bytes <= SEGMENT_BYTES_MAX):
        raise StoreError(
            f"{path} says that the log has {partitions} partitions and segments of {segment_bytes} bytes, expected 1 to"
            f" {PARTITIONS_MAX} and up to {SEGMENT_BYTES_MAX}: restore it from a copy of the log"
        )


def _keep(files: FileSystem, folder: str) -> None:
    """Make the name of LOG durable: whoever made it may have been killed before that."""
    with disk_errors(folder):
        files.sync_dir(folder)


def _make(world: World, folder: str, partitions: int, settings: LogSettings) -> LogDocument | None:
    """Make the log, its LOG file last; None if another process holds the lock."""
    files = world.files
    with disk_errors(folder):
        files.make_dirs(f"{folder}/segments")
        files.make_dirs(f"{folder}/staged")
        lock = files.lock(lock_path(folder))
        if lock is None:
            return None
        try:
            if (document := _read(files, folder)) is not None:
                files.sync_dir(folder)
                return document
            if has_records(files, folder) or files.exists(f"{folder}/LOG.2"):
                raise StoreError(f"{folder}/LOG is missing, and segments are there: restore it from a copy of the log")
            document = sealed(
                LogDocument(FORMAT, world.random.token(), partitions, settings.segment_bytes, world.clock.now_us())
            )
            size = map_size_for(settings.segment_bytes, partitions, 0)
            begin_row(files, folder, document.id, partitions, size)
            put_document(files, f"{folder}/LOG", encode_json(document))
            files.sync_dir(folder)
        finally:
            lock.release()
    return document
