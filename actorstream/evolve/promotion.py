"""A log that was written anew takes the place of the one that everybody reads.

    replay ──> replacement        compare(log, replacement)        promote(log, replacement)
                                                                   log.before-20261123T101500Z    as it was

What the promotion means to others:

    readers at work       go on at the first record that differs from what they have read: one that has read past it
                          gets the repaired records from there, without a retraction of those it has had
    jobs that come back   the same: a position in a checkpoint says which records it speaks of (generations.py)
    readers with an end   are refused: the end ("now", positions) was meant for the records that were there
    writers at work       a job's commit is refused with a StoreError; the job's next attempt goes on in the promoted
                          log, exactly once, since the ledger came along (promoting.py). `append` just goes on there
    consumers             stay registered, set back like their readers
    the replacement       stays a log of its own: what is appended to it later does not come into the promoted log

So stop whoever writes the log before the replacement is made: what it has appended since the replay ended is not in
the replacement. Offsets are the replacement's, and so are times. How the swap is done, and why a power cut finds the
old or the new, never half: eventlog/promoting.py.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import anyio

from actorstream.codec.contract import Schema
from actorstream.codec.upgrade import upgrade
from actorstream.codec.widening import DifferenceError
from actorstream.errors import CodecError, PlanError, StoreError
from actorstream.eventlog.agreement import Agreement, agree, read_through
from actorstream.eventlog.disk_errors import disk_errors
from actorstream.eventlog.inside import Inside, look_inside
from actorstream.eventlog.promoting import promote_locked, tidy_up_if_needed
from actorstream.eventlog.untyped import open_untyped
from actorstream.evolve.sameness import Sameness
from actorstream.system.current import current_world
from actorstream.system.log import log as events

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.eventlog.ledger import DeclaredType
    from actorstream.eventlog.log import EventLog, StrPath
    from actorstream.eventlog.open_log import OpenLog
    from actorstream.eventlog.schemas import RecordSchemas

T = TypeVar("T")

_WAIT_S = 10.0
_POLL_S = 0.01


@dataclass(frozen=True)
class Outlook:
    """What a promotion would change; a list's index is a partition.

    Attributes:
        first: The log's first offset.
        ends: Behind the log's last record.
        replacement_ends: Behind the replacement's last record.
        differs: The first offset whose record is another one: readers beyond it go back to it.
    """

    first: list[int]
    ends: list[int]
    replacement_ends: list[int]
    differs: list[int]


async def promote(log: EventLog[T], replacement: StrPath) -> None:
    """From now on the log's path holds the records of `replacement`: one atomic link decides, nothing is copied.

    Readers go on at the first record that differs; see the module for jobs, writers and consumers. The log as it was
    lies beside it, as `<log>.before-<instant>`, and is never removed; an event of structlog says where. Promoting that
    one brings it back.

    Args:
        log: The log whose place is taken.
        replacement: Another log's folder on the same file system, with as many partitions and of the same types.

    Raises:
        PlanError: The two are one, or have different numbers of partitions.
        StoreError: One of them is no log, of another type, damaged or being written; nothing has changed. All records
            of the replacement are read before.
    """
    await promote_seen(log, replacement)


async def promote_seen(
    log: EventLog[T], replacement: StrPath, agreed: Callable[[Outlook], bool] = lambda outlook: True
) -> str | None:
    """Promote if `agreed` says so of the outlook. Give the folder of the log as it was; None if it does not."""
    world = current_world()
    with disk_errors(log.path):
        made = await world.offload.run(world.files.exists, f"{log.path}/LOG")
    if not made:
        raise StoreError(f"{log.path} holds no event log: its LOG file is missing; check the path")
    if await world.offload.run(_is_one, log.path, os.fspath(replacement)):
        raise PlanError(f"{log.path} cannot take its own place: give another log's folder")
    async with open_untyped(replacement) as other_log:
        mine, other = await look_inside(log), (await look_inside(other_log)).log
        await world.offload.run(_check_alike, mine, other)
        theirs = await world.offload.run(mine.schemas_of, other)
        compare = partial(agree, mine.log, other, partial(_same, mine.schemas, theirs))
        agreement = await world.offload.run(compare)
        first = await world.offload.run(mine.log.row.first_offsets)
        # What agrees was read just now, unless the log had lost its beginning.
        unread = agreement.differs if not any(first) else [0] * len(first)
        await world.offload.run(read_through, other, unread)
        if not agreed(Outlook(first, *agreement.ends, agreement.differs)):
            return None
        return await _carry_out(log, mine, partial(compare, agreement), look_at=other_log)


async def _carry_out(
    log: EventLog[T], mine: Inside[T], compare: Callable[[], Agreement], *, look_at: EventLog[object]
) -> str:
    """Promote as soon as no commit is at work in either log."""
    world, other = mine.log.world, (await look_inside(look_at)).log
    deadline = anyio.current_time() + _WAIT_S
    while (promotion := await world.offload.run(promote_locked, mine.log, other, compare)) is None:
        if anyio.current_time() >= deadline:
            raise StoreError(
                f"{log.path} or {look_at.path}: another process has held its writer lock for {_WAIT_S:g} s: look for a"
                " stopped or hanging process that writes to it; nothing has changed"
            )
        await anyio.sleep(_POLL_S)
    mine.log.bell.ring()
    try:
        await world.offload.run(tidy_up_if_needed, (await look_inside(log)).log)
    except StoreError as error:
        raise StoreError(f"{log.path} was promoted, but cannot be opened just now: {error}") from error
    before = f"{log.path.rpartition('/')[0]}/{promotion.before}"
    events.info("event log was promoted", path=log.path, replacement=look_at.path, before=before)
    return before


def _is_one(path: str, other: str) -> bool:
    return os.path.realpath(path) == os.path.realpath(other)


def _check_alike(mine: Inside[T], other: OpenLog) -> None:
    """Refuse what the log's readers could not go on with. Blocking."""
    log = mine.log
    if other.partitions != log.partitions:
        raise PlanError(
            f"{other.folder} has {other.partitions} partitions, and {log.folder} has {log.partitions}: readers have a"
            f" position in each; write the replacement anew with partitions={log.partitions}"
        )
    theirs, ours = other.declared_types(), log.declared_types()
    problems = [_misread(mine, other)]
    newest = max((known.version for known in ours), default=1)
    for type_ in theirs:
        found = Schema(type_.fingerprint, type_.shape)
        problems += [_difference(found, known) for known in ours if known.version == type_.version == newest]
    if ours and not theirs and other.row.newest().ends() != other.row.first_offsets():
        problems.append("they were written without a type")
    for problem in problems:
        if problem is not None:
            raise StoreError(
                f"{other.folder} holds records that readers of {log.folder} cannot read: {problem}; write the"
                " replacement anew with the log's type"
            )


def _misread(mine: Inside[T], other: OpenLog) -> str | None:
    """Say why the log's type does not read the other's records."""
    try:
        mine.schemas_of(other)
    except StoreError as error:
        return str(error)
    return None


def _difference(found: Schema, known: DeclaredType) -> str | None:
    try:
        upgrade(found, Schema(known.fingerprint, known.shape), {})
    except DifferenceError as error:
        return str(error)
    return None


def _same(mine: RecordSchemas[T], theirs: RecordSchemas[T], left: bytes, right: bytes) -> bool:
    """Tell whether payloads of other bytes are the same record all the same."""
    content = Sameness(()).content
    try:
        return content(mine.read(left)) == content(theirs.read(right))
    except CodecError:
        return False
