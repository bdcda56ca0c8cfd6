"""A log in use: its folder, its segments, its writers' queue, its bell."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from actorstream.errors import ActorstreamError, PromotedError, StoreError
from actorstream.eventlog.disk_errors import disk_errors
from actorstream.eventlog.folder import lock_path, map_size_for, room_for
from actorstream.eventlog.group_commit import GroupCommit
from actorstream.eventlog.ledger import CONSUMERS, TYPES, Consumer, DeclaredType, documents
from actorstream.eventlog.row import SegmentRow
from actorstream.eventlog.tail import Bell, bell_of
from actorstream.eventlog.transaction import LogTransaction, Register, Retire
from actorstream.state.lmdb_env import MapFullError
from actorstream.system.log import log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.eventlog.folder import LogSettings
    from actorstream.eventlog.generations import Generation
    from actorstream.eventlog.group_commit import Request
    from actorstream.eventlog.ledger import Sealed
    from actorstream.eventlog.segment import Segment
    from actorstream.eventlog.transaction import Write
    from actorstream.model.world import World

R = TypeVar("R")

_CHECK_READERS_S = 60.0
_WORK_BYTES_MIN = 1024 * 1024
_WORK_BYTES_MAX = 32 * 1024 * 1024
_FIRST_GROWTH_BYTES = 1024 * 1024
"""A write that says nothing of its size, and did not fit, gets so much more room."""
_WORK_FOR_A_BYTE = 4
"""A file grows by at most so much for a byte of records: what was sealed is digested before the next one is full."""


class _RejectedError(Exception):
    """One write of a transaction raised: the others run again without it."""

    def __init__(self, request: Request[object]) -> None:
        super().__init__()
        self.request = request


class OpenLog:
    """One log, opened in one world; usable from several event loops."""

    def __init__(
        self, world: World, folder: str, generation: Generation, settings: LogSettings, retention_us: int | None
    ) -> None:
        """Take what `find_generation` gave."""
        self.world = world
        self.folder = folder
        self.generation = generation
        self.document = document = generation.document
        self.row = SegmentRow(world.files, generation.folder, document.id, document.partitions)
        self._settings = settings
        self._retention_us = retention_us
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[GroupCommit, Bell]] = WeakKeyDictionary()
        self._readers_checked = world.clock.monotonic()
        self._retirement_due = True
        self._looked_for_undigested = 0
        self._at_work = threading.Lock()

    @property
    def partitions(self) -> int:
        """How many partitions the log has."""
        return self.document.partitions

    def is_superseded(self) -> bool:
        """Tell whether other records have taken the place of these. A look at a name: no need for a thread."""
        with disk_errors(self.folder):
            return self.world.files.exists(self.generation.successor)

    def refuse_superseded(self) -> None:
        """Refuse to go on with records that are not the log's any more.

        Raises:
            PromotedError: Other records have taken their place.
        """
        if self.is_superseded():
            raise PromotedError(
                f"{self.folder} was promoted: other records have taken the place of those that were open here;"
                " nothing was written. Open it anew"
            )

    @property
    def bell(self) -> Bell:
        """What wakes this loop's readers."""
        return self._queue()[1]

    async def submit(self, write: Write[R]) -> R:
        """Return what `write` gives once it is durable, together with whatever else waits."""
        if self._retirement_due:
            self._retirement_due = False
            await self.retire()
        return await self._queue()[0].submit(write)

    async def register(self, consumer: Consumer) -> None:
        """Note what a consumer still needs, and only then let the rest go."""
        self._retirement_due = False
        await self._queue()[0].submit(Register(consumer))
        await self.retire()

    async def retire(self) -> None:
        """Unlink the segments that are older than the retention and that no consumer needs."""
        if self._retention_us is None:
            return
        before_us = self.world.clock.now_us() - self._retention_us
        gone = await self._queue()[0].submit(Retire(before_us))
        if gone:
            await self.world.offload.run(self._remove, gone)

    def consumers(self) -> list[Consumer]:
        """Read who is registered. Blocking."""
        newest = self.row.newest()
        with newest.env.transaction() as txn:
            return documents(newest.path, txn, CONSUMERS, Consumer)

    def declared_types(self) -> list[DeclaredType]:
        """Read the types of which records were written. Blocking."""
        newest = self.row.newest()
        with newest.env.transaction() as txn:
            return documents(newest.path, txn, TYPES, DeclaredType)

    def close(self) -> None:
        """Close what is open, once no commit is at work: LMDB does not survive less. Readers keep theirs."""
        with self._at_work:
            self.row.close()

    def _remove(self, gone: list[Sealed]) -> None:
        with disk_errors(self.folder):
            self.row.remove(gone)

    def _queue(self) -> tuple[GroupCommit, Bell]:
        loop = asyncio.get_running_loop()
        found = self._queues.get(loop)
        if found is None:
            bell = bell_of(self.folder)
            queue = GroupCommit(
                self.world.offload,
                self._commit,
                bell.ring,
                name=self.folder,
                lock_timeout_s=self._settings.lock_timeout_s,
            )
            self._queues[loop] = found = (queue, bell)
        return found

    def _commit(self, requests: Sequence[Request[object]]) -> bool:
        """Commit all requests, each with its own result or error; False if another process holds the lock."""
        with disk_errors(self.folder):
            lock = self.world.files.lock(lock_path(self.folder))
        if lock is None:
            return False
        size = sum(request.write.size for request in requests)
        with disk_errors(self.folder), self._at_work:
            try:
                self.refuse_superseded()
                self._commit_locked(list(requests), size)
            finally:
                lock.release()
            self._work_beside(min(max(_WORK_BYTES_MIN, _WORK_FOR_A_BYTE * size), _WORK_BYTES_MAX))
        return True

    def _commit_locked(self, pending: list[Request[object]], size: int) -> None:
        while pending:
            segment = self._segment_with_room(size)
            try:
                self._transact(segment, pending)
            except _RejectedError as rejected:
                rejected.request.error = rejected.__cause__
                pending.remove(rejected.request)
            except MapFullError:
                size = max(2 * size, _FIRST_GROWTH_BYTES)
                self._roll_over(size)
            else:
                return

    def _transact(self, segment: Segment, pending: list[Request[object]]) -> None:
        if self._looked_for_undigested != segment.number:
            self.row.find_undigested()
            self._looked_for_undigested = segment.number
        digested = self.row.digested()
        with segment.env.transaction(write=True) as txn:
            log_txn = LogTransaction(segment, txn)
            for entry in digested:
                log_txn.announce(entry)
            for request in pending:
                try:
                    request.result = request.write.apply(log_txn)
                except (ActorstreamError, OSError) as error:
                    raise _RejectedError(request) from error
            log_txn.finish()
        self.world.files.synced(segment.path)
        if digested:
            self.row.announced(digested)
            self._retirement_due = True
        self._check_readers(segment)

    def _work_beside(self, budget_bytes: int) -> None:
        """Digest and prove a part of what was written before. What fails is done later: the commit has succeeded."""
        try:
            self.row.work(budget_bytes)
        except (OSError, StoreError) as error:
            log.warning("event log cannot prove what it has written", path=self.folder, error=str(error))

    def _segment_with_room(self, size: int) -> Segment:
        segment = self.row.newest()
        used = self.world.files.size(segment.path)
        if not segment.env.in_place():
            raise StoreError(
                f"{segment.path} was replaced by another file while in use: stop, put it back, start again"
            )
        if used + room_for(self.partitions, size) <= segment.env.map_size:
            return segment
        return self._roll_over(size)

    def _roll_over(self, size: int) -> Segment:
        map_size = map_size_for(self.document.segment_bytes, self.partitions, size)
        self.row.roll_over(map_size, self.world.clock.now_us())
        return self.row.newest()

    def _check_readers(self, segment: Segment) -> None:
        """Free the slots of readers that died, once a minute."""
        now = self.world.clock.monotonic()
        if now - self._readers_checked > _CHECK_READERS_S:
            self._readers_checked = now
            segment.env.clear_dead_readers()
