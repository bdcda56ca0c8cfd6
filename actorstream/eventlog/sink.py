"""A log as a sink: what a subtask writes appears with its checkpoint, once, whatever dies in between.

    write ──encode──> staged file ──pre_commit: sync──> token ──in the manifest──> commit: one transaction
                                                                   fence? mark? records + mark, synced, unlink

A token says of which type its records are. Should other records have taken the log's place in between, in whose ledger
the type has another number, they are committed under that.

Opening a writer stores its attempt: from then on no lower attempt of the job opens or
commits for this operator, whichever subtask it is (T105). The mark says which
checkpoint of a subtask was committed last: a commit that comes again does nothing (T102).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from actorstream.errors import InvariantError
from actorstream.eventlog.disk_errors import disk_errors
from actorstream.eventlog.ledger import Committed
from actorstream.eventlog.staged import (
    OPEN,
    StagedFile,
    StagedName,
    decode_token,
    encode_token,
    frames_of,
    read_staged,
    whose,
)
from actorstream.eventlog.transaction import AddOnce, CommitOnce, RaiseFence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    from actorstream.eventlog.encoding import RecordEncoder
    from actorstream.eventlog.open_log import OpenLog
    from actorstream.model.connect import SinkContext

T = TypeVar("T")

_PIECE_BYTES = 1024 * 1024
_SLICE = 512


class LogWriter(Generic[T]):
    """One subtask's `SinkWriter`. Use it in `async with`."""

    def __init__(self, ctx: SinkContext, writable: Callable[[], Awaitable[tuple[OpenLog, RecordEncoder[T]]]]) -> None:
        """Take the identity; nothing is opened yet."""
        self._ctx = ctx
        self._writable = writable
        self._log: OpenLog | None = None
        self._encoder: RecordEncoder[T] | None = None
        self._staged: StagedFile | None = None
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._count = 0

    async def __aenter__(self) -> LogWriter[T]:
        """Fence off lower attempts.

        Raises:
            FencedError: A higher attempt has opened a writer before.
            RestoreError: The job goes on from an older checkpoint than the one it has committed here.
        """
        ctx = self._ctx
        log, encoder = await self._writable()
        await log.submit(RaiseFence(ctx.job, ctx.operator, ctx.attempt, ctx.subtask, ctx.restored, ctx.holder))
        self._log, self._encoder = log, encoder
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Drop what was not pre-committed: a restored job writes it again."""
        if self._staged is not None:
            self._staged.discard()
            self._staged = None

    async def write(self, values: Sequence[T], /) -> None:
        """Encode records and keep them aside, at most about 1 MiB in memory.

        Raises:
            CodecError: A record, or its key, cannot be encoded, or is too large.
            StoreError: The disk refuses.
        """
        log, encoder = self._parts()
        now_us = log.world.clock.now_us()
        start = 0
        while start < len(values):
            part = values[start : start + encoder.slice_for(_SLICE, _PIECE_BYTES)]
            start += len(part)
            frames = frames_of(encoder.encode(part, now_us))
            self._buffer.append(frames)
            self._buffered += len(frames)
            self._count += len(part)
            if self._buffered >= _PIECE_BYTES:
                await log.world.offload.run(self._flush, log)

    async def pre_commit(self, checkpoint: int, /) -> bytes | None:
        """Make everything written so far durable; None if nothing was written since the last time."""
        log, _ = self._parts()
        if self._count == 0:
            return None
        return await log.world.offload.run(self._finish, log, checkpoint)

    async def commit(self, token: bytes, /) -> None:
        """Add the token's records to the log, unless they are there already.

        Raises:
            FencedError: A newer attempt has taken over.
            StoreError: The staged file is missing or damaged, or of a type that the log, promoted since, does not know;
                and it was not committed before.
        """
        log, _ = self._parts()
        named = decode_token(token)
        path = f"{log.folder}/staged/{named.file}"
        mark = Committed(named.job, named.operator, named.subtask, named.checkpoint)
        # A savepoint may bring tokens of another job: attempts of two jobs do not compare, the mark alone decides.
        attempt = self._ctx.attempt if named.job == self._ctx.job else None
        records = partial(read_staged, log.world.files, path, named, log.partitions)
        # Not the size that the token says: it decides how large a map is made, before the file is held against it.
        size = await log.world.offload.run(_size_of, log, path)
        await log.submit(CommitOnce(mark, attempt, size, records, named.written))
        await log.world.offload.run(self._unlink, log, [path])

    async def abort(self, token: bytes | None, /) -> None:
        """Drop what `token` names; None: what lower attempts left behind.

        Of other subtasks, which may be no more, only what no restored checkpoint can name: theirs to commit are others.
        """
        log, _ = self._parts()
        if token is not None:
            paths = [f"{log.folder}/staged/{decode_token(token).file}"]
        else:
            paths = await log.world.offload.run(self._left_behind, log)
        await log.world.offload.run(self._unlink, log, paths)

    async def add_once(self, records: Sequence[tuple[int, T]]) -> int:
        """Add records that come from increasing places of another log, each once; give how many were not there yet.

        Not a part of a job's life: nothing is staged, and nobody is fenced off. Who they come from is the context's.

        Raises:
            CodecError: A record, or its key, cannot be encoded: none of these is added.
            StoreError: The disk refuses.
        """
        log, encoder = await self._writable()
        now_us = log.world.clock.now_us()
        placed: list[tuple[int, int, bytes]] = []
        for place, value in records:
            ((partition, (body,)),) = encoder.encode([value], now_us).bodies.items()
            placed.append((place, partition, body))
        mark = Committed(self._ctx.job, self._ctx.operator, self._ctx.subtask, placed[-1][0] + 1)
        return await log.submit(AddOnce(mark, placed, sum([len(body) for _, _, body in placed])))

    def _parts(self) -> tuple[OpenLog, RecordEncoder[T]]:
        if self._log is None or self._encoder is None:
            raise InvariantError("a sink's writer was used outside its `async with`")
        return self._log, self._encoder

    def _flush(self, log: OpenLog) -> StagedFile:
        if self._staged is None:
            ctx = self._ctx
            owner = StagedName(ctx.job, ctx.operator, ctx.subtask, ctx.attempt, OPEN)
            self._staged = StagedFile(log.world.files, f"{log.folder}/staged", owner)
        if self._buffer:
            self._staged.add(b"".join(self._buffer))
        self._buffer, self._buffered = [], 0
        return self._staged

    def _finish(self, log: OpenLog, checkpoint: int) -> bytes:
        declared = None if self._encoder is None else self._encoder.declared
        token = encode_token(self._flush(log).finish(checkpoint, self._count, declared))
        self._staged, self._count = None, 0
        return token

    def _left_behind(self, log: OpenLog) -> list[str]:
        ctx = self._ctx
        own = StagedName(ctx.job, ctx.operator, ctx.subtask, ctx.attempt, OPEN)
        mine = whose(own.encode())
        found = []
        with disk_errors(f"{log.folder}/staged"):
            names = log.world.files.list_dir(f"{log.folder}/staged")
        for name in names:
            owner = whose(name)
            if owner is None or mine is None or owner[:2] != mine[:2] or owner.attempt >= mine.attempt:
                continue
            if owner.subtask == mine.subtask or owner.is_behind(ctx.restored):
                found.append(f"{log.folder}/staged/{name}")
        return found

    @staticmethod
    def _unlink(log: OpenLog, paths: Sequence[str]) -> None:
        for path in paths:
            with disk_errors(path):
                log.world.files.unlink(path)


def _size_of(log: OpenLog, path: str) -> int:
    with disk_errors(path):
        try:
            return log.world.files.size(path)
        except FileNotFoundError:
            return 0  # committed before, or lost: the mark tells
