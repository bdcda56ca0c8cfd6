"""What the outside world implements: sources that replay, sinks that commit in step with checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

T = TypeVar("T")
Pos = TypeVar("Pos")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)
Pos_co = TypeVar("Pos_co", covariant=True)


class Fetched(NamedTuple, Generic[Pos_co, T_co]):
    """What a source reads at once: values, and the position of the last of them.

    `timestamps` are Unix seconds, one a value; None where the source knows none. `caught_up`: there is no more for
    now. A split that has never held a record and says so is not waited for.
    """

    values: Sequence[T_co]
    position: Pos_co
    timestamps: Sequence[float] | None = None
    caught_up: bool = False


@runtime_checkable
class Source(Protocol[T_co, Pos]):
    """Replayable input.

    `read` is an async generator that goes on right after a position that a
    checkpoint recorded (None: from the start); a split whose generator returns
    is finished. It is never cancelled to take a barrier (T133).
    """

    async def splits(self) -> Sequence[str]:
        """Name the parts that can be read independently."""
        ...

    def read(self, split: str, after: Pos | None, /) -> AsyncIterable[Fetched[Pos, T_co]]:
        """Yield what follows `after` in `split`, in order."""
        ...


class Taken(NamedTuple, Generic[Pos_co, T_co]):
    """Records start to start + length of a list, tuple or range, which stay where they are; their last position."""

    values: Sequence[T_co]
    start: int
    length: int
    position: Pos_co


@runtime_checkable
class InMemorySource(Protocol[T_co, Pos]):
    """A source whose records are all there: its actor takes them when it wants some, so no task reads ahead."""

    def take_in_memory(self, split: str, after: Pos | None, count: int, /) -> Taken[Pos, T_co] | None:
        """Give at most `count` records that follow `after`; None at the end. Never waits."""
        ...


def offset_behind(position: int, split: int, /) -> int:
    """Give the offset behind a position, where positions are offsets."""
    del split
    return position + 1


class Stretch(NamedTuple):
    """A part of what was recorded: `starts` and `ends` are offsets, half-open, one of each a split.

    Sources with one `place` have the same records; `known` says where those ended when somebody looked. `behind` gives
    the offset that follows a position in a split.
    """

    place: str
    starts: list[int]
    ends: list[int]
    known: list[int]
    behind: Callable[[int, int], int] = offset_behind


class Recording(Protocol[T_co, Pos]):
    """Records with the times at which they came; `read` yields them.

    Splits are "0", "1", ..., positions ints that grow by one a record.
    """

    async def stretch(self, start_us: int | None, stop_us: int | None, /) -> Stretch:
        """Give what is there now from a time on (None: from the first record) and before another (None: all)."""
        ...

    def over(self, stretch: Stretch, /) -> Source[T_co, Pos]:
        """Give a source of that part alone."""
        ...


@runtime_checkable
class RecordedSource(Protocol[T_co, Pos]):
    """A source that keeps its records with the times at which they came, so that a replay can take them in order."""

    def recorded(self) -> Recording[T_co, Pos]:
        """Give what it keeps."""
        ...


@runtime_checkable
class RetainingSource(Protocol):
    """A source that deletes old records, but none that a job may still have to read again."""

    async def keep_for(self, job: str, store: str, positions: Mapping[str, object], /) -> None:
        """Keep everything behind `positions`, by split, until `job`, a source in a job, says more.

        Called before the job reads, and after a checkpoint with the positions of the oldest one
        that is kept. A split that is absent, or at None, was not read yet.
        """
        ...


@runtime_checkable
class ReleasingSource(Protocol):
    """A source that can be told that a job needs nothing of it any more."""

    async def release(self, job: str, store: str | None = None, /) -> None:
        """Forget a job of `RetainingSource.keep_for`; one that is not known, or of another store, is fine."""
        ...


@runtime_checkable
class FedSource(Protocol):
    """A source that this process feeds, and that tells those who feed it when nobody reads it: not replayable."""

    def begin_feeding(self, job: str, /) -> None:
        """Take note that a run of a job of this name begins; refuse where another one reads it."""
        ...

    def end_feeding(self, failure: Exception | None, /) -> None:
        """Take note that it has ended, however, and with which error it has failed."""
        ...


class SinkContext(Protocol):
    """Who writes: part of every token, so that a target can refuse a zombie."""

    @property
    def job(self) -> str:
        """The job's id, with the fork's name."""
        ...

    @property
    def operator(self) -> str:
        """The sink operator's name."""
        ...

    @property
    def subtask(self) -> int:
        """Index of the writing subtask."""
        ...

    @property
    def attempt(self) -> int:
        """Number of the deployment: only grows; a target refuses a writer with a lower one."""
        ...

    @property
    def restored(self) -> int:
        """The checkpoint that this deployment goes on from, 0 if none.

        A target that has committed a later one refuses: it would get what lies between twice.
        """
        ...

    @property
    def holder(self) -> str:
        """Random, drawn by whoever holds the attempt: two jobs restored from one savepoint may share its number."""
        ...


class SinkWriter(Protocol[T_contra]):
    """One subtask's end of a sink. Calls never overlap.

    Order of calls: `commit` of what the restored checkpoint holds, `abort(None)`,
    then `write`s, `pre_commit(n)` at each barrier, `commit` once n is complete.
    """

    async def write(self, values: Sequence[T_contra], /) -> None:
        """Take records; they become visible with a commit only."""
        ...

    async def pre_commit(self, checkpoint: int, /) -> bytes | None:
        """The barrier passed: make everything written so far durable, give what names it (≤ 4 KiB)."""
        ...

    async def commit(self, token: bytes, /) -> None:
        """The checkpoint is complete: make it visible. Idempotent: comes again after a crash."""
        ...

    async def abort(self, token: bytes | None, /) -> None:
        """Drop what `token` names; None: whatever an earlier attempt left open."""
        ...


@runtime_checkable
class Sink(Protocol[T_contra]):
    """Output in step with checkpoints. One writer for each subtask, opened with its identity."""

    def writer(self, ctx: SinkContext, /) -> AbstractAsyncContextManager[SinkWriter[T_contra]]:
        """Open the writer of one subtask.

        The block is left when the attempt ends, by a cancellation also where the job ended well: on leaving,
        drop what was not pre-committed, and nothing else.
        """
        ...


@runtime_checkable
class ForkableSink(Protocol[T_contra]):
    """A sink that has a place of its own for the output of a fork."""

    def forked(self, name: str, /) -> Sink[T_contra]:
        """Give the sink that the fork of this name writes to, beside this one."""
        ...


@dataclass(frozen=True)
class ReplayableSource(Generic[T, Pos]):
    """The source that `replayable` makes of an async generator function: one split."""

    fn: Callable[[Pos | None], AsyncIterable[tuple[Pos, T]]]

    async def splits(self) -> Sequence[str]:
        """Name the one split."""
        return ["0"]

    async def read(self, split: str, after: Pos | None, /) -> AsyncIterable[Fetched[Pos, T]]:
        """Yield what the generator yields after `after`."""
        async for position, value in self.fn(after):
            yield Fetched([value], position)


def replayable(fn: Callable[[Pos | None], AsyncIterable[tuple[Pos, T]]]) -> Source[T, Pos]:
    """Make a source of an async generator that can start after a position.

    The generator yields (position, value) pairs; after a failure it is called
    again with the position of the last value that the checkpoint holds.
    """
    return ReplayableSource(fn)
