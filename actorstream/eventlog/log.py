"""The embedded event log: durable, partitioned, replayable; a source, and a transactional sink.

append / extend ──> group commit ──> newest segment        <── tail, view, records
job's sink ──> staged file ──> token ──> commit ──^            job's source

values      encoding.py      writes      group_commit.py, transaction.py
one file    segment.py       all files   row.py
reading     reading.py, view.py          jobs that come back   retention.py
damage      page by page     page_tree.py, proofs.py      by digest   digests.py, once_a_boot.py
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast

import anyio

from actorstream.codec.evolution import Evolution
from actorstream.codec.values import codec_for
from actorstream.errors import InvariantError, PlanError, PromotedError, StoreError
from actorstream.eventlog.encoding import Encoded, RecordEncoder
from actorstream.eventlog.folder import LogSettings, check_partitions, open_folder
from actorstream.eventlog.generations import find_generation
from actorstream.eventlog.instants import Duration, Time, duration_us
from actorstream.eventlog.ledger import DeclaredType
from actorstream.eventlog.open_log import OpenLog
from actorstream.eventlog.positions import LogPosition, LogRecord, Positions, in_array
from actorstream.eventlog.promoting import tidy_up_if_needed
from actorstream.eventlog.registering import register_consumer
from actorstream.eventlog.schemas import RecordSchemas
from actorstream.eventlog.sink import LogWriter
from actorstream.eventlog.transaction import Append, DeclareType, Drop
from actorstream.eventlog.view import LogStart, LogStop, LogView
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from actorstream.codec.contract import Codec
    from actorstream.eventlog.ledger import Consumer
    from actorstream.model.connect import Fetched, SinkContext

T = TypeVar("T")
StrPath: TypeAlias = "str | os.PathLike[str]"

_SLICE = 256
_PIECE_RECORDS = 16_384
_PIECE_BYTES = 4 * 1024 * 1024
_TURN_S = 0.004


@dataclass(frozen=True)
class LogSummary:
    """A log at one moment; a list's index is a partition, offsets are half-open.

    Attributes:
        path: Its folder.
        id: Drawn when it was made.
        partitions: How many it has.
        first: The first offset that is still there.
        next: The offset that the next record gets.
        records: How many records are there.
        bytes: What the segments take on the disk.
        segments: How many files there are.
        types: Shapes of the types of which records were written.
    """

    path: str
    id: str
    partitions: int
    first: list[int]
    next: list[int]
    records: int
    bytes: int
    segments: int
    types: list[object]


class EventLog(Generic[T]):
    """An embedded, durable, partitioned, replayable log in the folder `path`. Opened on first use.

    As a source it starts at the earliest record and follows the tail for ever; `view` narrows that. As a
    sink it is transactional. Several processes may read and write it at the same time.

    Args:
        type_: What records are: a class, another annotation, or a tuple of classes.
        path: The folder; made on first use.
        partitions: Fixed when the log is made, default 1; None takes what is there.
        key: Records of equal key keep their order: they go to one partition. None: to each partition in turn.
        timestamp: Gives a record's time; None: the wall clock at the append.
        retention: Sealed segments older than this are removed, once no registered job needs them. None: never.
        settings: Rare knobs.
        version: Of `type_`: grows where records of an older one must go through a function.
        migrate: For each older version what makes a newer record of its plain value (a dataclass is a dict).
        rename: From old names of fields to new ones, in every class of `type_`.
    """

    _makes = True

    def __init__(  # noqa: PLR0913
        self,
        type_: type[T] | tuple[type[T], ...],
        path: StrPath,
        *,
        partitions: int | None = None,
        key: Callable[[T], Hashable] | None = None,
        timestamp: Callable[[T], Time] | None = None,
        retention: Duration | None = None,
        settings: LogSettings | None = None,
        version: int = 1,
        migrate: Mapping[int, Callable[[Any], Any]] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> None:
        """Check the arguments; the folder is not touched yet."""
        check_partitions(partitions)
        self._evolution = Evolution(version, migrate or {}, rename or {})
        if (problem := self._evolution.problem()) is not None:
            raise PlanError(f"EventLog({os.fspath(path)!r}): {problem}")
        self.path = os.path.abspath(os.fspath(path))
        self._type: object = type_
        self._partitions = partitions
        self._key = key
        self._timestamp = timestamp
        self._retention_us = None if retention is None else duration_us(retention, "retention")
        self._settings = settings or LogSettings()
        self._known_codec: Codec[T] | None = None
        self._open: OpenLog | None = None
        self._schemas: RecordSchemas[T] | None = None
        self._writing: tuple[OpenLog, RecordEncoder[T]] | None = None
        self._everything: LogView[T] = self._view("earliest", None)

    def __repr__(self) -> str:
        """Show the folder."""
        return f"EventLog({getattr(self._type, '__name__', self._type)}, {self.path!r})"

    async def append(self, value: T, /) -> LogPosition:
        """Return where `value` lies, once it is durable. Appends that wait together share one sync.

        A cancelled append may have happened.

        Raises:
            CodecError: The value or its key cannot be encoded, or is too large; nothing was written.
            StoreError: The disk refuses, or another process has held the writer lock too long.
        """
        log, encoder = await self._writable()
        encoded = encoder.encode([value], log.world.clock.now_us())
        firsts = await self._append(log, encoder, encoded)
        ((partition, offset),) = firsts.items()
        return LogPosition(partition, offset)

    async def extend(self, values: Iterable[T], /) -> Sequence[LogPosition]:
        """Append many values in order; return where each lies, once all are durable.

        They are written in pieces of at most 16,384 records or 4 MiB; a piece is there whole or not at all.

        Raises:
            CodecError: As for `append`; earlier pieces may have been written.
            StoreError: As for `append`.
        """
        positions = Positions()
        source = iter(values)
        while True:
            log, encoder = await self._writable()
            if (piece := await self._next_piece(log, encoder, source)) is None:
                return positions
            positions.add(piece.partitions, await self._append(log, encoder, piece))

    def view(self, *, start: LogStart = "earliest", stop: LogStop | None = None) -> LogView[T]:
        """Give a part of the log as a source: see `LogView`."""
        return self._view(start, stop)

    def records(self, *, start: LogStart = "earliest", stop: LogStop | None = None) -> AsyncIterator[LogRecord[T]]:
        """Yield records with position and time, each partition in order, the partitions in turn."""
        return self._view(start, stop).records()

    async def splits(self) -> Sequence[str]:
        """Name the partitions: the splits of this source."""
        return await self._everything.splits()

    def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, T]]:
        """Yield what follows position `after` (None: from the earliest on) in one partition, for ever.

        Positions are what this gives: offsets, until other records take the log's place (generations.py).
        """
        return self._everything.read(split, after)

    def recorded(self) -> LogView[T]:
        """Give all of it, for a replay to take a part of."""
        return self._everything

    def forked(self, name: str, /) -> EventLog[T]:
        """Give the log beside this one, `<path>@<name>`, that a fork of this name writes to."""
        return self.at(f"{self.path}@{name}")

    def at(self, path: StrPath, *, partitions: int | None = None) -> EventLog[T]:
        """Give a log of the same records in another folder, by default with the partitions said of this one."""
        return EventLog(
            cast("type[T]", self._type),
            path,
            partitions=self._partitions if partitions is None else partitions,
            key=self._key,
            timestamp=self._timestamp,
            settings=self._settings,
            version=self._evolution.version,
            migrate=self._evolution.migrate,
            rename=self._evolution.rename,
        )

    def writer(self, ctx: SinkContext, /) -> LogWriter[T]:
        """Open a transactional writer for one subtask of a job."""
        return LogWriter(ctx, self._writable)

    async def register_consumer(self, job: str, store: str, positions: Mapping[int, int | None]) -> None:
        """Keep what lies behind `positions` from retention, until the job says more or is dropped.

        Args:
            job: The job's id.
            store: Where its checkpoints are, for people.
            positions: The last offset read of each partition; absent or None: nothing yet.
        """
        await register_consumer(await self._opened(), job, store, positions)

    async def keep_for(self, job: str, store: str, positions: Mapping[str, object], /) -> None:
        """Do what `register_consumer` does, with positions by split: the runtime calls it."""
        await self._everything.keep_for(job, store, positions)

    async def release(self, job: str, store: str | None = None, /) -> None:
        """Forget a job, if it is known, and told of by `store`: the runtime calls it when a job has ended for good."""
        log = await self._opened()
        if await log.submit(Drop(job, store)):
            await log.retire()

    async def consumers(self) -> list[Consumer]:
        """Give the registered jobs."""
        log = await self._opened()
        return await log.world.offload.run(log.consumers)

    async def drop_consumer(self, name: str) -> None:
        """Forget a job: retention does not wait for it any more.

        Raises:
            StoreError: There is no consumer of that name.
        """
        log = await self._opened()
        if not await log.submit(Drop(name)):
            raise StoreError(f"{self.path} has no consumer {name!r}: list them with `actorstream log consumers`")
        await log.retire()

    async def summary(self) -> LogSummary:
        """Read how much is in the log."""
        log = await self._opened()
        return await log.world.offload.run(_summary, log)

    async def aclose(self) -> None:
        """Close the files. The next use opens them again; readers at work keep theirs."""
        log, self._open, self._writing = self._open, None, None
        if log is not None:
            with anyio.CancelScope(shield=True):
                await log.world.offload.run(log.close)

    async def __aenter__(self) -> Self:
        """Open the log."""
        await self._opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Close the files."""
        await self.aclose()

    def _view(self, start: LogStart, stop: LogStop | None) -> LogView[T]:
        return LogView(self._opened, self._readable, start, stop, self)

    def _codec(self) -> Codec[T]:
        if self._known_codec is None:
            self._known_codec = codec_for(self._type)
            if (problem := self._evolution.problem(self._known_codec.schema)) is not None:
                raise PlanError(f"{self!r}: {problem}")
        return self._known_codec

    def _readable(self) -> RecordSchemas[T]:
        if self._schemas is None:
            raise InvariantError("a log was read before it was opened")
        return self._schemas

    async def _opened(self) -> OpenLog:
        """Give the open log of the running world; two first users may both open it, one is kept."""
        world = current_world()
        known = self._open
        if known is not None and known.world is world:
            if not known.is_superseded():
                return known
            await self.aclose()
        document = await open_folder(world, self.path, self._partitions, self._settings, make=self._makes)
        generation = await world.offload.run(find_generation, world.files, self.path, document)
        log = OpenLog(world, self.path, generation, self._settings, self._retention_us)
        try:
            schemas = await world.offload.run(self._schemas_of, log)
        except StoreError:
            log.close()
            if not log.is_superseded():
                raise
            return await self._opened()  # other records took its place while it was opened
        except BaseException:
            log.close()
            raise
        if self._open is not None and self._open.world is world and not self._open.is_superseded():
            log.close()
            return self._open
        self._open, self._schemas, self._writing = log, schemas, None
        if self._makes and generation.number > 1:
            await world.offload.run(tidy_up_if_needed, log)
        return log

    def _schemas_of(self, log: OpenLog) -> RecordSchemas[T]:
        return RecordSchemas(self._codec(), self._evolution, log.declared_types, repr(self))

    async def _writable(self) -> tuple[OpenLog, RecordEncoder[T]]:
        """Give the open log, with this log's type declared in it."""
        log = await self._opened()
        if self._writing is None or self._writing[0] is not log:
            try:
                declared = await self._declare(log)
            except PromotedError:
                return await self._writable()
            encoder = RecordEncoder(
                self._codec(),
                log.partitions,
                key=self._key,
                timestamp=self._timestamp,
                what=repr(self),
                declared=declared,
            )
            if self._writing is None or self._writing[0] is not log:
                self._writing = (log, encoder)
        return self._writing

    async def _append(self, log: OpenLog, encoder: RecordEncoder[T], encoded: Encoded) -> dict[int, int]:
        """Append to the log, or to the records that take its place meanwhile, if these number types as it does.

        Raises:
            PromotedError: They do not: what is encoded here would be taken for another type's.
        """
        while True:
            try:
                return await log.submit(Append(encoded.bodies, encoded.size))
            except PromotedError:
                log, current = await self._writable()
                if current.header != encoder.header:  # also that of whoever wrote first after the promotion
                    raise

    async def _declare(self, log: OpenLog) -> DeclaredType | None:
        """Give this type with the number that stands before its records, once it is in the ledger."""
        schema = self._codec().schema
        declared = DeclaredType(schema.fingerprint, schema.shape, self._evolution.version)
        return await log.submit(DeclareType(declared, self._readable().check))

    async def _next_piece(self, log: OpenLog, encoder: RecordEncoder[T], source: Iterator[T]) -> Encoded | None:
        """Encode the next values, in slices, and let others run every few milliseconds."""
        clock = log.world.clock
        partitions = in_array(())
        bodies: dict[int, list[bytes]] = {}
        size = 0
        turn = clock.monotonic() + _TURN_S
        while len(partitions) < _PIECE_RECORDS and size < _PIECE_BYTES:
            values = list(islice(source, encoder.slice_for(_SLICE, _PIECE_BYTES)))
            if not values:
                break
            encoded = encoder.encode(values, clock.now_us())
            partitions.extend(encoded.partitions)
            size += encoded.size
            for partition, part in encoded.bodies.items():
                bodies.setdefault(partition, []).extend(part)
            if clock.monotonic() > turn:
                await anyio.sleep(0.0001 if log.world.offload.busy else 0)
                turn = clock.monotonic() + _TURN_S
        return Encoded(partitions, bodies, size) if partitions else None


def _summary(log: OpenLog) -> LogSummary:
    sealed = log.row.sealed()
    newest = log.row.newest()
    first, following = log.row.first_offsets(), newest.ends()
    return LogSummary(
        path=log.folder,
        id=log.document.id,
        partitions=log.partitions,
        first=first,
        next=following,
        records=sum(following) - sum(first),
        bytes=log.row.bytes_on_disk(),
        segments=len(sealed) + 1,
        types=[declared.shape for declared in log.declared_types()],
    )
