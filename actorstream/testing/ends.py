"""Inputs and outputs that misbehave: a source that pauses and loses its connection, a sink that is slow or refuses.

    list, EventLog  ──> Trickle  a few records at a time, with pauses   ──x DisturbanceError at the n-th reading
    list            ──> Pile     still in memory; nothing waits there, so time passes as it does while a function works
    any other       ──> Trickle  as it gives them, with pauses
    any sink        ──> SlowSink each call takes a while                ──x DisturbanceError at the n-th call

None of it changes which records there are, nor their order.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio

from actorstream.connectors.memory import SequenceSource
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.view import LogView
from actorstream.model.connect import Fetched, ForkableSink, Taken
from actorstream.testing.session import DisturbanceError, Places
from actorstream.testing.surroundings import simulated_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from actorstream.model.connect import Sink, SinkContext, SinkWriter, Source

T = TypeVar("T")
_PIECE = 3


class Trickle(Generic[T]):
    """A source that gives a few records at a time, with pauses: as a live input does."""

    def __init__(self, inner: Source[T, Any], pause: float, places: Places | None = None) -> None:
        """Stand before `inner`.

        Args:
            inner: Has the records.
            pause: Virtual seconds, at most, before every second reading.
            places: Counts readings; where one is drawn, the source is out of reach.
        """
        self._inner = inner
        self._pause = pause
        self._places = places or Places()
        self._counts = isinstance(inner, SequenceSource | EventLog | LogView)  # positions are those of single records

    async def splits(self) -> Sequence[str]:
        """Ask the inner one."""
        self._reach("when it was asked for its splits")
        return await self._inner.splits()

    async def read(self, split: str, after: Any, /) -> AsyncIterator[Fetched[Any, T]]:  # noqa: ANN401
        """Yield what the inner one does, in pieces."""
        async with _closing(self._inner.read(split, after)) as reading:
            async for fetched in reading:
                for piece in self._pieces(fetched):
                    rng = simulated_loop().environment
                    if rng.random() < 0.5:
                        await anyio.sleep(rng.random() * self._pause)
                    self._reach(f"in split {split}")
                    yield piece

    def _pieces(self, fetched: Fetched[Any, T]) -> Iterator[Fetched[Any, T]]:
        length = len(fetched.values)
        if not self._counts or not length:
            yield fetched
            return
        start = 0
        while start < length:
            end = min(length, start + simulated_loop().environment.randint(1, _PIECE))
            stamps = None if fetched.timestamps is None else fetched.timestamps[start:end]
            yield Fetched(fetched.values[start:end], fetched.position - (length - end), stamps)
            start = end

    def _reach(self, where: str) -> None:
        if self._places.here():
            raise DisturbanceError(f"the simulation let the source lose its connection, {where}")


class RetainingTrickle(Trickle[T]):
    """The same of a source that has to be told what a job still needs."""

    async def keep_for(self, job: str, store: str, positions: Mapping[str, object], /) -> None:
        """Tell the inner one."""
        await self._inner.keep_for(job, store, positions)  # type: ignore[attr-defined]

    async def release(self, job: str, /) -> None:
        """Tell the inner one."""
        await self._inner.release(job)  # type: ignore[attr-defined]


class Pile(Generic[T]):
    """Records in memory. Nothing waits there, so time passes as it does while a user's function works."""

    def __init__(self, partitions: Sequence[Sequence[T]], pause: float) -> None:
        """Take each split's records."""
        self._partitions = partitions
        self._pause = pause

    async def splits(self) -> Sequence[str]:
        """Name them by number."""
        return [str(partition) for partition in range(len(self._partitions))]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, T]]:
        """Refuse: a job takes from it."""
        raise AssertionError(f"a job takes from {split}, it does not read")
        yield Fetched([], after or 0)

    def take_in_memory(self, split: str, after: int | None, count: int, /) -> Taken[int, T] | None:
        """Show the next few."""
        loop = simulated_loop()
        if loop.environment.random() < 0.5:
            loop._now += loop.environment.random() * self._pause  # noqa: SLF001
        values = self._partitions[int(split)]
        start = 0 if after is None else after + 1
        stop = min(len(values), start + min(count, loop.environment.randint(1, _PIECE)))
        return None if start == stop else Taken(values, start, stop - start, stop - 1)


class SlowSink(Generic[T]):
    """A sink whose every call takes up to `slow` virtual seconds; where one is drawn by `places`, it refuses."""

    def __init__(self, inner: Sink[T], slow: float, places: Places) -> None:
        """Stand before `inner`."""
        self._inner = inner
        self._slow = slow
        self._places = places

    def writer(self, ctx: SinkContext, /) -> AbstractAsyncContextManager[SinkWriter[T]]:
        """Open the writer of one subtask."""
        return self._open(ctx)

    def forked(self, name: str, /) -> SlowSink[T]:
        """Give one that is as slow before the inner one's fork, if that can have one."""
        inner = self._inner.forked(name) if isinstance(self._inner, ForkableSink) else self._inner
        return SlowSink(inner, self._slow, self._places)

    @asynccontextmanager
    async def _open(self, ctx: SinkContext) -> AsyncIterator[SinkWriter[T]]:
        await _work("open", self._slow, self._places)
        async with self._inner.writer(ctx) as writer:
            yield _SlowWriter(writer, self._slow, self._places)


class _SlowWriter(Generic[T]):
    def __init__(self, inner: SinkWriter[T], slow: float, places: Places) -> None:
        self._inner = inner
        self._slow = slow
        self._places = places

    async def write(self, values: Sequence[T], /) -> None:
        await self._call("write", self._inner.write(values))

    async def pre_commit(self, checkpoint: int, /) -> bytes | None:
        await _work("pre_commit", self._slow, self._places)
        return await self._inner.pre_commit(checkpoint)

    async def commit(self, token: bytes, /) -> None:
        """Refuse before it is done, or after: who asked cannot tell."""
        await _work("commit", self._slow, self._places)
        await self._call("commit", self._inner.commit(token))

    async def abort(self, token: bytes | None, /) -> None:
        await self._call("abort", self._inner.abort(token))

    async def _call(self, what: str, call: Awaitable[None]) -> None:
        await call
        await _work(what, self._slow, self._places)


@asynccontextmanager
async def _closing(reading: AsyncIterable[Fetched[Any, T]]) -> AsyncIterator[AsyncIterable[Fetched[Any, T]]]:
    """Close a generator when the block is left, not when Python finds it."""
    try:
        yield reading
    finally:
        if isinstance(reading, AsyncGenerator):
            await reading.aclose()


async def _work(what: str, slow: float, places: Places) -> None:
    if slow:
        await anyio.sleep(simulated_loop().environment.random() * slow)
    if places.here():
        raise DisturbanceError(f"the simulation let {what} of a sink fail")
