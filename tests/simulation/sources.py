"""How the events of a simulated job come in: from a log, a few at a time, or from memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio

from actorstream.model.connect import Fetched, Taken
from actorstream.testing.loop import SimulatedLoop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from actorstream.eventlog.view import LogView
    from tests.simulation.stages import Event


class Trickle:
    """A log's view as a source that gives a few records at a time, with pauses: as a live input does."""

    def __init__(self, view: LogView[Event], pause: float) -> None:
        self._view = view
        self._pause = pause

    async def splits(self) -> Sequence[str]:
        return await self._view.splits()

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, Event]]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        rng = loop.environment
        async for fetched in self._view.read(split, after):
            values = list(fetched.values)
            before = fetched.position - len(values)
            start = 0
            while start < len(values):
                end = min(len(values), start + rng.randint(1, 3))
                if rng.random() < 0.5:
                    await anyio.sleep(rng.random() * self._pause)
                yield Fetched(values[start:end], before + end)
                start = end


class Pile:
    """The same records in memory. Nothing waits there, so time passes as it does while a user's function works."""

    def __init__(self, partitions: Sequence[Sequence[Event]], pause: float) -> None:
        self._partitions = partitions
        self._pause = pause

    async def splits(self) -> Sequence[str]:
        return [str(partition) for partition in range(len(self._partitions))]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, Event]]:
        raise AssertionError("a job takes from it")
        yield

    def take_in_memory(self, split: str, after: int | None, count: int, /) -> Taken[int, Event] | None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        rng = loop.environment
        if rng.random() < 0.5:
            loop._now += rng.random() * self._pause
        events = self._partitions[int(split)]
        start = 0 if after is None else after + 1
        stop = min(len(events), start + min(count, rng.randint(1, 3)))
        return None if start == stop else Taken(events, start, stop - start, stop - 1)
