"""A part of a log as a source: from somewhere to somewhere, in every partition.

    earliest | latest | a time | positions   <= offsets <   now | a time | positions | never

"now" and "latest" are resolved once a view, when it is first used, so that all splits
and every restart within the process mean the same end. Intervals are half-open.

Where other records take the log's place (generations.py), a reader without a fixed end goes on among
them, at the first that differs from what it has read; one with a fixed end is refused, since that end
was meant for other records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar, cast

import anyio

from actorstream.errors import PlanError, PromotedError, StoreError
from actorstream.eventlog.instants import Time, instant, instant_us
from actorstream.eventlog.positions import LogPosition, LogRecord
from actorstream.eventlog.reading import FETCH_RECORDS, PartitionReader, Records
from actorstream.eventlog.registering import register_consumer
from actorstream.model.connect import Fetched, Stretch
from actorstream.system.log import log as _log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from actorstream.eventlog.log import EventLog
    from actorstream.eventlog.open_log import OpenLog
    from actorstream.eventlog.schemas import RecordSchemas

T = TypeVar("T")

_SPLIT_CHARS_MAX = 4
_LOOK_S = 1.0
"""How often a reader that waits looks whether other records have taken the log's place, in another process."""

LogStart: TypeAlias = Literal["earliest", "latest"] | Time | Sequence[LogPosition]
LogStop: TypeAlias = Literal["now"] | Time | Sequence[LogPosition]


@dataclass(frozen=True)
class _Bounds:
    """Offsets, one a partition; `starts` None: the earliest; `ends` None: no end, or that of `stop_us`."""

    starts: list[int] | None
    ends: list[int] | None
    stop_us: int | None
    generation: int


class LogView(Generic[T]):
    """A bounded or unbounded part of a log: a `Source` with one split a partition.

    Args:
        opened: Opens the log, or gives the open one.
        schemas: Read the payloads, once the log is open.
        start: The first record to read. A time: the first one at or after it, or the end if there is none yet.
            Positions: one for each partition.
        stop: Where to end, exclusive. A time: at the first record at or after it; a partition that has none
            ends once that time has passed. None: follow the tail for ever.
    """

    def __init__(
        self,
        opened: Callable[[], Awaitable[OpenLog]],
        schemas: Callable[[], RecordSchemas[T]],
        start: LogStart,
        stop: LogStop | None,
        log: EventLog[T],
    ) -> None:
        """Check what can be checked without opening the log."""
        self.path = log.path
        self.release = log.release
        self._part = log.view
        self._opened = opened
        self._schemas = schemas
        self._start = _checked(start, ("earliest", "latest"), "start")
        self._stop = None if stop is None else _checked(stop, ("now",), "stop")
        self._bounds: _Bounds | None = None

    async def splits(self) -> Sequence[str]:
        """Name the partitions."""
        log = await self._opened()
        await self._resolve(log)
        return [str(partition) for partition in range(log.partitions)]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, T]]:
        """Yield what follows offset `after` (None: the view's start), up to the view's end.

        A view that does not start at the earliest record first yields no values with the position in front
        of its start, so that a snapshot knows where it began even if nothing has come yet. Where there is
        nothing to read at first, it says that it has caught up.

        Raises:
            DataLossError: The position is gone, or a record is damaged: trying again cannot help.
            PromotedError: The view has a fixed end, and other records have taken the log's place since its first use.
            StoreError: The position was never there, or the disk fails.
        """
        log = await self._opened()
        partition = _partition(split, log)
        bounds = await self._resolve(log)
        if after is None:
            first = await self._first(log, bounds, partition)
            if bounds.starts is not None:
                yield Fetched([], log.generation.position(first - 1), [])
        else:
            first = log.generation.next_offset(after, partition)
        with _BoundedReader(log, self._schemas, bounds, partition, first, self._opened) as reader:
            silent = after is None
            while not reader.ended:
                records = await reader.fetch()
                if records is not None:
                    silent = False
                    stamps = [us / 1_000_000 for us in records.stamps]
                    yield Fetched(records.values, reader.position(records.first + len(stamps) - 1), stamps)
                elif silent:
                    silent = False
                    yield Fetched([], reader.position(reader.offset - 1), [], caught_up=True)
                elif not reader.ended:
                    await reader.wait()

    async def keep_for(self, job: str, store: str, positions: Mapping[str, object], /) -> None:
        """Keep what lies behind `positions`, by split, from retention until `job` says more."""
        log = await self._opened()
        offsets: dict[int, int | None] = {}
        for split, position in positions.items():
            partition = _partition(split, log)
            known = cast("int | None", position)
            offsets[partition] = None if known is None else log.generation.next_offset(known, partition) - 1
        await register_consumer(log, job, store, offsets)

    def recorded(self) -> LogView[T]:
        """Give itself: a replay may take a part of it."""
        return self

    async def stretch(self, start_us: int | None, stop_us: int | None, /) -> Stretch:
        """Give the offsets of what is in the view now, from a time on and before another.

        A view that follows the tail from "latest" on is taken from the earliest record: what is recorded is wanted.
        """
        log = await self._opened()
        start = "earliest" if self._start == "latest" else self._start
        return await log.world.offload.run(_stretch, log, (start, self._stop), (start_us, stop_us))

    def over(self, stretch: Stretch, /) -> LogView[T]:
        """Give the view of that part of the log alone."""
        starts, ends = (
            [LogPosition(*place) for place in enumerate(offsets)] for offsets in (stretch.starts, stretch.ends)
        )
        return self._part(start=starts, stop=ends)

    async def records(self) -> AsyncIterator[LogRecord[T]]:
        """Yield all records: in order within a partition, the partitions in turn."""
        log = await self._opened()
        bounds = await self._resolve(log)
        readers = [
            _BoundedReader(
                log, self._schemas, bounds, partition, await self._first(log, bounds, partition), self._opened
            )
            for partition in range(log.partitions)
        ]
        try:
            while reading := [reader for reader in readers if not reader.ended]:
                idle = True
                for reader in reading:
                    if (records := await reader.fetch()) is not None:
                        idle = False
                        for offset, (us, value) in enumerate(
                            zip(records.stamps, records.values, strict=True), records.first
                        ):
                            yield LogRecord(reader.partition, offset, instant(us), value)
                if idle and not reading[0].ended:
                    await reading[0].wait()
        finally:
            for reader in readers:
                reader.close()

    async def _first(self, log: OpenLog, bounds: _Bounds, partition: int) -> int:
        if bounds.starts is not None:
            return bounds.starts[partition]
        return (await log.world.offload.run(log.row.first_offsets))[partition]

    async def _resolve(self, log: OpenLog) -> _Bounds:
        known = self._bounds
        if known is None or known.generation != log.generation.number:
            if known is not None and known.ends is not None:
                raise PromotedError(
                    f"{log.folder} was promoted: other records have taken the place of those among which this view"
                    " ends; give its end anew, in a new view"
                )
            bounds = await log.world.offload.run(_resolve, log, self._start, self._stop)
            if known is not None and known.starts is not None:
                # Where the view began, not where it would begin now: what lies between has been promised.
                carried = partial(log.generation.carried, since=known.generation)
                starts = [carried(offset, partition) for partition, offset in enumerate(known.starts)]
                bounds = replace(bounds, starts=starts)
            if self._bounds is known:
                self._bounds = bounds
        return cast("_Bounds", self._bounds)


class _BoundedReader(PartitionReader[T]):
    """A partition's reader that knows where to end, and goes over to the records that take the log's place."""

    def __init__(
        self,
        log: OpenLog,
        readable: Callable[[], RecordSchemas[T]],
        bounds: _Bounds,
        partition: int,
        first: int,
        opened: Callable[[], Awaitable[OpenLog]],
    ) -> None:
        super().__init__(log, readable(), partition, first)
        self._readable = readable
        self._clock = log.world.clock
        self._opened = opened
        self.partition = partition
        self._end = None if bounds.ends is None else bounds.ends[partition]
        self._stop_us = bounds.stop_us
        self.ended = self._end is not None and first >= self._end

    def position(self, offset: int) -> int:
        """Give what a checkpoint keeps of the last offset read."""
        return self._log.generation.position(offset)

    async def fetch(self, limit: int = FETCH_RECORDS) -> Records[T] | None:
        """Read on, up to the end.

        Raises:
            StoreError: Other records took the log's place while these were read to a fixed end, or as for any reader.
        """
        stop_us = self._stop_us
        passed = stop_us is not None and self._clock.now_us() >= stop_us
        records = await self._fetch_newest(limit if self._end is None else min(limit, self._end - self.offset))
        if records is None:
            self.ended = passed
            return None
        if stop_us is not None:
            cut = next((i for i, us in enumerate(records.stamps) if us >= stop_us), None)
            if cut is not None:
                self.ended = True
                records = Records(records.first, records.stamps[:cut], records.values[:cut])
        self.ended = self.ended or (self._end is not None and self.offset >= self._end)
        return records if records.values else None

    async def wait(self) -> None:
        """Return once something was committed, or the end's time has come, or the log's name is due for a look."""
        longest = _LOOK_S
        if self._stop_us is not None:
            longest = min(longest, max(0.0, (self._stop_us - self._clock.now_us()) / 1_000_000))
        with anyio.move_on_after(longest):
            await super().wait()

    async def _fetch_newest(self, limit: int) -> Records[T] | None:
        while True:
            if self._log.is_superseded():
                await self._go_over()
            try:
                return await super().fetch(limit)
            except StoreError:
                # What was open here may have been moved away since the look.
                if not self._log.is_superseded():
                    raise

    async def _go_over(self) -> None:
        before, was_at = self._log, self.offset
        if self._end is not None:
            before.refuse_superseded()
        log = await self._opened()
        self.close()
        self._log, self._bell, self._schemas = log, log.bell, self._readable()
        self.offset = log.generation.carried(was_at, self.partition, before.generation.number)
        _log.info(
            "event log was promoted: a reader goes on among other records",
            path=log.folder,
            partition=self.partition,
            was_at=was_at,
            goes_on_at=self.offset,
        )


def _checked(bound: object, words: Sequence[str], what: str) -> object:
    """Give a word as it is, a time as microseconds, positions as a list."""
    if isinstance(bound, str):
        if bound not in words:
            raise PlanError(f"{what}={bound!r}: give {' or '.join(map(repr, words))}, a time, or positions")
        return bound
    if isinstance(bound, Sequence):
        positions = [LogPosition(*position) for position in bound]
        if len({position.partition for position in positions}) != len(positions):
            raise PlanError(f"{what}={positions}: a partition is named twice")
        return positions
    return instant_us(bound)


def _partition(split: str, log: OpenLog) -> int:
    if len(split) <= _SPLIT_CHARS_MAX and split.isdecimal() and int(split) < log.partitions:
        return int(split)
    raise PlanError(f"{log.folder} has no split {split!r}: its splits are '0' to '{log.partitions - 1}'")


def _resolve(log: OpenLog, start: object, stop: object) -> _Bounds:
    """Turn words, times and positions into offsets. Blocking."""
    number = log.generation.number
    ends = log.row.newest().ends()
    starts: list[int] | None = None
    if start == "latest":
        starts = ends
    elif isinstance(start, int):
        starts = [end if first is None else first for first, end in zip(log.row.first_at(start), ends, strict=True)]
    elif isinstance(start, list):
        starts = _offsets(log, start, "start")
    if stop == "now":
        return _Bounds(starts, ends, None, number)
    if isinstance(stop, list):
        return _Bounds(starts, _offsets(log, stop, "stop"), None, number)
    return _Bounds(starts, None, stop if isinstance(stop, int) else None, number)


def _stretch(log: OpenLog, view: tuple[object, object], times_us: tuple[int | None, int | None]) -> Stretch:
    """Give what is both in a view and between two times. Blocking."""
    starts, known = log.row.first_offsets(), log.row.newest().ends()
    ends = known
    for start, stop in (view, times_us):
        bounds = _resolve(log, "earliest" if start is None else start, None if isinstance(stop, int) else stop)
        if bounds.starts is not None:
            starts = list(map(max, starts, bounds.starts))
        if bounds.ends is not None:
            ends = list(map(min, ends, bounds.ends))
        if isinstance(stop, int):
            first = log.row.first_at(stop)
            ends = [end if at is None else min(at, end) for at, end in zip(first, ends, strict=True)]
    return Stretch(log.folder, starts, list(map(max, starts, ends)), known, log.generation.next_offset)


def _offsets(log: OpenLog, positions: list[LogPosition], what: str) -> list[int]:
    named = dict(positions)
    if sorted(named) != list(range(log.partitions)):
        raise PlanError(
            f"{what}={positions}: name one position for each partition of {log.folder}, 0 to {log.partitions - 1}"
        )
    return [named[partition] for partition in range(log.partitions)]
