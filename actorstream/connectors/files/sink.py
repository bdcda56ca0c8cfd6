"""Files as an exactly-once sink: rolling parts that appear with their checkpoint, whole.

    write ──encode──> .part-…-open-0000       full: synced, the next one begins
    pre_commit(7)     .part-…-7-0000 …        synced with their names; the token names them
    commit            part-…-7-0000 …         renamed, one after the other; readers see whole parts only

Each checkpoint that has records ends a part, so its interval says how many there are: for files give it in minutes. No
part is empty.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from actorstream.connectors.files.commits import PartCommits
from actorstream.connectors.files.open_part import OpenPart
from actorstream.connectors.files.part_tokens import PartToken, decode_part_token, encode_part_token
from actorstream.connectors.files.parts import PartName, quoted
from actorstream.errors import InvariantError, PlanError
from actorstream.eventlog.disk_errors import disk_errors
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from actorstream.connectors.files.format import FileFormat
    from actorstream.model.connect import SinkContext
    from actorstream.model.world import World

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

ROLL_BYTES: Final = 128 * 1024 * 1024
_PIECE_BYTES: Final = 1024 * 1024
_AT_ONCE: Final = 32
"""As many records are encoded on the event loop; more go to a thread."""


class FileSink(Generic[T_contra]):
    """A `Sink` that writes parts into a folder: `part-<job>-<operator>-<subtask>-<checkpoint>-<number>.<suffix>`.

    Files are readable by their owner only, as all that a job writes. Several sinks and jobs may write into one folder.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        format: FileFormat[T_contra],  # noqa: A002
        *,
        roll_bytes: int = ROLL_BYTES,
        roll_records: int | None = None,
    ) -> None:
        """Say what is written; nothing is made yet.

        Args:
            folder: Where to; it is made if it is missing.
            format: `JsonLines`, `Csv` or `Parquet`, with the type of the records.
            roll_bytes: A part that has so many bytes is full, and the next one begins.
            roll_records: As for bytes; None: any number.

        Raises:
            PlanError: A limit is below 1, or there is no such format.
        """
        for name, limit in (("roll_bytes", roll_bytes), ("roll_records", roll_records)):
            if limit is not None and limit < 1:
                raise PlanError(f"FileSink: {name} is {limit}, expected at least 1")
        if not hasattr(format, "encoder"):
            raise PlanError(
                f"FileSink: format is {format!r}, expected one such as JsonLines(Click), Csv(Click), Parquet(Click)"
            )
        self.folder = os.fspath(folder)
        self.format = format
        self.roll_bytes = roll_bytes
        self.roll_records = roll_records

    def forked(self, name: str, /) -> FileSink[T_contra]:
        """Give the sink into the folder beside this one, `<folder>@<name>`, for the fork of this name."""
        folder = f"{self.folder.rstrip('/')}@{name}"
        return FileSink(folder, self.format, roll_bytes=self.roll_bytes, roll_records=self.roll_records)

    def writer(self, ctx: SinkContext, /) -> FileWriter[T_contra]:
        """Open the writer of one subtask."""
        return FileWriter(self, ctx)


class FileWriter(Generic[T]):
    """One subtask's `SinkWriter`. Use it in `async with`."""

    def __init__(self, sink: FileSink[T], ctx: SinkContext) -> None:
        """Take the identity; nothing is opened yet."""
        self._sink = sink
        self._ctx = ctx
        self._folder = os.path.abspath(sink.folder)
        self._world: World | None = None
        self._commits: PartCommits | None = None
        self._part: OpenPart[T] | None = None
        self._closed: list[OpenPart[T]] = []
        self._numbers = 0

    async def __aenter__(self) -> FileWriter[T]:
        """Make the folder, and fence off lower attempts.

        Raises:
            FencedError: A higher attempt has opened a writer before.
            RestoreError: The job goes on from an older checkpoint than the one it has committed here.
            StoreError: The disk refuses.
        """
        world = current_world()
        commits = PartCommits(world.files, self._folder, self._ctx)
        await world.offload.run(commits.open)
        self._world, self._commits = world, commits
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Drop what was not pre-committed: a restored job writes it again."""
        parts, self._part, self._closed = self._parts(), None, []
        self._world = self._commits = None
        for part in parts:
            part.discard()

    async def write(self, values: Sequence[T], /) -> None:
        """Add records to the part that is open; they are on the disk with the next pre-commit at the latest.

        Raises:
            CodecError: A record cannot be written in this format.
            StoreError: The disk refuses.
        """
        world, _ = self._open()
        start = 0
        while start < len(values):
            room = self._room()
            few = values[start : start + min(room, _AT_ONCE * 16)]
            start += len(few)
            if len(few) <= _AT_ONCE and self._part is not None:
                self._encode(few)
            else:
                await world.offload.run(self._encode, few)
            part = self._part
            if part is None:
                continue
            if self._room() < 1 or part.size_bytes >= self._sink.roll_bytes:
                await world.offload.run(self._close)
            elif part.waiting_bytes >= _PIECE_BYTES:
                await world.offload.run(part.flush)

    async def pre_commit(self, checkpoint: int, /) -> bytes | None:
        """Make everything written so far durable, in whole parts; None if nothing was written since the last time.

        Raises:
            FencedError: A newer attempt has taken over.
            StoreError: The disk refuses.
        """
        world, _ = self._open()
        if self._part is None and not self._closed:
            return None
        return await world.offload.run(self._finish, checkpoint)

    async def commit(self, token: bytes, /) -> None:
        """Let the token's parts be seen, unless they are already.

        Raises:
            FencedError: A newer attempt has taken over.
            StoreError: A part is missing or not whole, and was not committed before.
        """
        world, commits = self._open()
        await world.offload.run(commits.commit, decode_part_token(token))

    async def abort(self, token: bytes | None, /) -> None:
        """Drop what `token` names; None: what lower attempts left behind.

        Of other subtasks, which may be no more, only what no restored checkpoint can name: theirs to commit are others.
        """
        world, commits = self._open()
        if token is None:
            await world.offload.run(commits.remove_left_behind)
        else:
            await world.offload.run(commits.remove, decode_part_token(token))

    # ---- in a thread, or for a few records

    def _encode(self, values: Sequence[T]) -> None:
        if self._part is None:
            files, encoder = self._open()[0].files, self._sink.format.encoder()
            self._part = OpenPart(files, self._folder, self._name(), encoder, self._ctx.operator)
            self._numbers += 1
        self._part.add(values)

    def _close(self) -> None:
        part = self._part
        if part is not None:
            part.close()
            self._closed.append(part)
            self._part = None

    def _finish(self, checkpoint: int) -> bytes:
        world, commits = self._open()
        self._close()
        ctx = self._ctx
        for number, part in enumerate(self._closed):
            part.rename(self._name()._replace(checkpoint=checkpoint, number=number))
        with disk_errors(self._folder):
            world.files.sync_dir(self._folder)
        commits.refuse_older()
        token = PartToken(
            format=1,
            job=ctx.job,
            operator=ctx.operator,
            subtask=ctx.subtask,
            attempt=ctx.attempt,
            checkpoint=checkpoint,
            suffix=self._sink.format.suffix,
            parts=len(self._closed),
            size=sum(part.size_bytes for part in self._closed),
            count=sum(part.count for part in self._closed),
        )
        encoded = encode_part_token(token)
        self._closed, self._numbers = [], 0
        return encoded

    def _name(self) -> PartName:
        ctx = self._ctx
        job, operator = quoted(ctx.job), quoted(ctx.operator)
        return PartName(job, operator, ctx.subtask, ctx.attempt, None, self._numbers, self._sink.format.suffix)

    def _room(self) -> int:
        if self._sink.roll_records is None:
            return _AT_ONCE * 16
        return self._sink.roll_records - (0 if self._part is None else self._part.count)

    def _parts(self) -> list[OpenPart[T]]:
        return self._closed if self._part is None else [*self._closed, self._part]

    def _open(self) -> tuple[World, PartCommits]:
        if self._world is None or self._commits is None:
            raise InvariantError("a sink's writer was used outside its `async with`")
        return self._world, self._commits
