"""Other records take a log's place: one link decides, and what was there lies beside the log afterwards.

    before                 log/LOG  log/segments/1..9              replacement/segments/1..4
    both writers locked    the replacement's newest segment is sealed: all it has can be shared from now on
    built, not yet true    log/generation-2/segments/1..4 (links), 5 (new, empty: the ledger)
    link ───────────────>  log/LOG.2                               from here on it is the log
    tidied up              log.before-<instant>/LOG, segments/1..9 (links); log/segments/ is empty

No record is copied. Before the link nothing of the log has changed; what a killed promotion had built is removed by
the next one. After it all that is left to do can be done again, and is by whoever opens the log next (`tidy_up`).

The ledger of the new records says who has written to this log, not to the replacement alone, and who reads it:
    fences, committed checkpoints   of both; the higher one where both know a job
    consumers                       those of the log, set back to the first record that differs
    types                           those of the replacement: their numbers stand before its records
So a job that wrote the log goes on exactly once: it commits nothing twice, and its staged files are where they were.
A job that wrote the replacement may do the same in the log.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from actorstream.codec.documents import encode_json
from actorstream.errors import StoreError
from actorstream.eventlog.disk_errors import disk_errors
from actorstream.eventlog.documents import draft_document, put_document, sealed
from actorstream.eventlog.folder import LogDocument, lock_path, map_size_for
from actorstream.eventlog.generations import Promotion, generation_folder, promotion_path
from actorstream.eventlog.instants import instant
from actorstream.eventlog.ledger import (
    COMMITTED,
    CONSUMERS,
    FENCES,
    FIRST_OFFSETS,
    FORMAT,
    NEXT_OFFSETS,
    OLDEST,
    SEALED,
    TYPES,
    Birth,
    Committed,
    Consumer,
    Fence,
    documents,
    name_key,
    own_row,
    row,
    scan,
)
from actorstream.eventlog.row import segment_path
from actorstream.eventlog.segment import build
from actorstream.system.log import log as events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from actorstream.eventlog.agreement import Agreement
    from actorstream.eventlog.generations import Generation
    from actorstream.eventlog.open_log import OpenLog
    from actorstream.model.world import FileSystem

D = TypeVar("D")


def promote_locked(log: OpenLog, other: OpenLog, agree: Callable[[], Agreement]) -> Promotion | None:
    """Let the records of `other` take the place of the log's; None if a writer of either is at work just now.

    Blocking. `agree` is called when nobody can write any more.

    Raises:
        StoreError: The disk refuses; nothing has changed, unless the message says so.
    """
    with _locked(log) as mine, _locked(other) as others:
        if not (mine and others):
            return None
        log.refuse_superseded()
        other.refuse_superseded()
        with disk_errors(log.folder):
            _refuse_pending(log, other)
            promotion = _promote(log, other, agree())
    return promotion


def tidy_up(files: FileSystem, log: str, generation: Generation) -> None:
    """Put the log as it was before its last promotion into a folder beside it, unless that is done. Blocking.

    Raises:
        OSError: The disk refuses; the next one to open the log will do it.
        StoreError: Another log lies at that place.
    """
    if not generation.promotions:
        return
    promotion = generation.promotions[-1]
    folder = generation_folder(log, generation.number - 1)
    names = files.list_dir(f"{folder}/segments")
    if not names:
        return
    before = f"{log.rpartition('/')[0]}/{promotion.before}"
    files.make_dirs(f"{before}/segments")
    files.make_dirs(f"{before}/staged")
    document = encode_json(_document_before(generation))
    if files.exists(f"{before}/LOG"):
        if files.read(f"{before}/LOG") != document:
            raise StoreError(f"{before} is another log than {log} was: move it away, and open {log} again")
    else:
        for name in names:
            # The lock files too: whoever has them open as part of the log excludes those who open them here.
            if name.endswith((".lmdb", ".lmdb-lock")) and not files.exists(f"{before}/segments/{name}"):
                files.link(f"{folder}/segments/{name}", f"{before}/segments/{name}")
        files.sync_dir(f"{before}/segments")
        put_document(files, f"{before}/LOG", document)
    files.sync_dir(before)
    _remove(files, folder, keep_folder=folder == log)


def tidy_up_if_needed(log: OpenLog) -> None:
    """Do what a killed promotion has left to do, if nobody is at work. Blocking; failing is no error."""
    generation = log.generation
    if generation.number == 1:
        return
    try:
        if not log.world.files.list_dir(f"{generation_folder(log.folder, generation.number - 1)}/segments"):
            return
        with _locked(log) as mine:
            if mine and not log.is_superseded():
                tidy_up(log.world.files, log.folder, generation)
    except (OSError, StoreError) as error:
        events.warning("the log as it was could not be moved beside the log", path=log.folder, error=str(error))


def _refuse_pending(log: OpenLog, other: OpenLog) -> None:
    """Refuse while output waits for its commit here whose types would have other numbers afterwards."""
    theirs = {(each.fingerprint, each.version): each.number for each in other.declared_types()}
    moved = any(theirs.get((each.fingerprint, each.version)) != each.number for each in log.declared_types())
    staged = log.world.files.list_dir(f"{log.folder}/staged") if moved else []
    if staged:
        raise StoreError(
            f"{log.folder}: {staged[0]} and maybe others wait for their commit, and the replacement numbers the types"
            " of its records otherwise: stop the jobs that write to the log, and promote then; nothing has changed"
        )


def _promote(log: OpenLog, other: OpenLog, agreement: Agreement) -> Promotion:
    files, world = log.world.files, log.world
    tidy_up(files, log.folder, log.generation)
    newest = other.row.newest()
    if newest.ends() != newest.starts:
        other.row.roll_over(map_size_for(other.document.segment_bytes, other.partitions, 0), world.clock.now_us())
    number = log.generation.number + 1
    now_us = world.clock.now_us()
    _build(log, other, agreement, generation_folder(log.folder, number))
    unsealed = Promotion(
        FORMAT,
        number,
        other.document.id,
        log.partitions,
        log.document.segment_bytes,
        agreement.differs,
        _name_beside(files, log.folder, now_us),
        now_us,
    )
    promotion = sealed(unsealed)
    path = promotion_path(log.folder, number)
    draft_document(files, path, encode_json(promotion))
    files.link(f"{path}.new", path)
    try:
        files.sync_dir(log.folder)
        files.unlink(f"{path}.new")
    except OSError as error:
        raise StoreError(
            f"{log.folder} was promoted, but the disk fails, and may yet lose that ({error}): look at the disk, then"
            " open the log to see which records it has"
        ) from error
    return promotion


def _build(log: OpenLog, other: OpenLog, agreement: Agreement, folder: str) -> None:
    """Make the folder of the next generation: the sealed segments of `other`, and a newest one with the ledger."""
    files = log.world.files
    _remove(files, folder, keep_folder=False)
    files.make_dirs(f"{folder}/segments")
    newest = other.row.newest()
    for entry in other.row.sealed():
        try:
            files.link(other.row.path(entry.segment), segment_path(folder, entry.segment))
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK}:
                raise
            raise StoreError(
                f"{other.folder} cannot share its files with {log.folder} ({error.strerror}): copy it into a folder"
                " beside the log, on the same file system, and promote the copy"
            ) from error
    with newest.env.transaction() as txn:
        ends = own_row(newest.path, txn, NEXT_OFFSETS)
        rows = [row(FIRST_OFFSETS, ends), row(NEXT_OFFSETS, ends)]
        rows += [kept for kind in (OLDEST, SEALED) for kept in scan(txn, kind)]
    rows += _ledger(log, other, agreement.differs)
    birth = Birth(FORMAT, other.document.id, newest.number, log.partitions)
    size = map_size_for(log.document.segment_bytes, log.partitions, sum(len(value) for _, value in rows))
    build(files, segment_path(folder, newest.number), size, rows, birth)


def _ledger(log: OpenLog, other: OpenLog, differs: Sequence[int]) -> Iterator[tuple[bytes, bytes]]:
    """Give the rows that say who writes and who reads."""
    fences: dict[bytes, Fence] = {}
    for fence in _of_both(log, other, FENCES, Fence):
        key = name_key(FENCES, fence.job, fence.operator)
        if key not in fences or fences[key].attempt < fence.attempt:
            fences[key] = fence
    marks: dict[bytes, Committed] = {}
    for mark in _of_both(log, other, COMMITTED, Committed):
        key = name_key(COMMITTED, mark.job, mark.operator, mark.subtask)
        if key not in marks or marks[key].checkpoint < mark.checkpoint:
            marks[key] = mark
    consumers: dict[bytes, Consumer] = {}
    for consumer in log.consumers():
        positions = [min(read, first - 1) for read, first in zip(consumer.positions, differs, strict=True)]
        consumers[name_key(CONSUMERS, consumer.name)] = replace(consumer, positions=positions)
    for entries in (fences, marks, consumers):
        for key, entry in entries.items():
            yield row(key, encode_json(entry))
    newest = other.row.newest()
    with newest.env.transaction() as txn:
        yield from scan(txn, TYPES)


def _of_both(log: OpenLog, other: OpenLog, kind: bytes, type_: type[D]) -> Iterable[D]:
    for owner in (log, other):
        newest = owner.row.newest()
        with newest.env.transaction() as txn:
            yield from documents(newest.path, txn, kind, type_)


def _document_before(generation: Generation) -> LogDocument:
    """Give the LOG document of the log as it was before its last promotion."""
    made = generation.made
    if len(generation.promotions) == 1:
        return made
    earlier = generation.promotions[-2]
    return sealed(LogDocument(FORMAT, earlier.id, earlier.partitions, earlier.segment_bytes, made.created_us))


def _name_beside(files: FileSystem, log: str, now_us: int) -> str:
    """Give the name, not taken yet, of the folder that the log as it was will lie in."""
    parent, _, name = log.rpartition("/")
    wanted = f"{name}.before-{instant(now_us):%Y%m%dT%H%M%SZ}"
    free, count = wanted, 1
    while files.exists(f"{parent}/{free}"):
        count += 1
        free = f"{wanted}-{count}"
    return free


def _remove(files: FileSystem, folder: str, *, keep_folder: bool) -> None:
    """Remove the segments of a generation that is over, or was never true."""
    for name in files.list_dir(f"{folder}/segments"):
        files.unlink(f"{folder}/segments/{name}")
    if keep_folder:
        files.sync_dir(f"{folder}/segments")
    elif files.exists(folder):
        files.unlink(f"{folder}/segments")
        files.unlink(folder)
        files.sync_dir(folder.rpartition("/")[0])


@contextmanager
def _locked(log: OpenLog) -> Iterator[bool]:
    """Hold the writer lock in the block, if it is free."""
    with disk_errors(log.folder):
        lock = log.world.files.lock(lock_path(log.folder))
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()
