"""Sources for the jobs of event time: splits that pause and become idle, and one that waits for others' results."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from actorstream.model.connect import Fetched
from actorstream.testing.loop import SimulatedLoop
from actorstream.testing.session import BrokenPromiseError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.simulation.stages import Event

HELD_UP = 12.0
"""Virtual seconds that an idle split waits for the others' results."""

_AT_FIRST = 5
_LONG_AFTER = 1_000


class Rows:
    """A source whose splits are lists, read a few records at a time, with pauses."""

    def __init__(self, splits: Sequence[Sequence[Event]], pause: float) -> None:
        self.rows = splits
        self.pause = pause

    async def splits(self) -> Sequence[str]:
        return [str(number) for number in range(len(self.rows))]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, Event]]:
        loop = _loop()
        events = self.rows[int(split)]
        start = 0 if after is None else after + 1
        while start < len(events):
            await self._wait(split, start)
            end = min(self._end(split, start), start + loop.environment.randint(1, 4))
            yield Fetched(events[start:end], end - 1)
            start = end

    def _end(self, split: str, start: int) -> int:
        del start
        return len(self.rows[int(split)])

    async def _wait(self, split: str, start: int) -> None:
        if _loop().environment.random() < 0.5:
            await anyio.sleep(_loop().environment.random() * self.pause)


class Flickering(Rows):
    """Splits that are idle more often than not; the last one falls far behind the others."""

    async def _wait(self, split: str, start: int) -> None:
        slower = 3 if int(split) == len(self.rows) - 1 else 1
        await anyio.sleep(_loop().environment.random() * self.pause * slower)


class Quiet(Rows):
    """The last split gives its first records, and the others, long after them, when results have been heard of."""

    def __init__(self, splits: Sequence[Sequence[Event]], pause: float) -> None:
        *others, last = splits
        later = [replace(event, seq=event.seq + (event.seq >= _AT_FIRST) * _LONG_AFTER) for event in last]
        super().__init__([*others, later], pause)
        self.heard = anyio.Event()
        self.undisturbed = False

    def _end(self, split: str, start: int) -> int:
        last = int(split) == len(self.rows) - 1
        return _AT_FIRST if last and start < _AT_FIRST else super()._end(split, start)

    async def _wait(self, split: str, start: int) -> None:
        if int(split) < len(self.rows) - 1 or start < _AT_FIRST:
            await super()._wait(split, start)
            return
        with anyio.move_on_after(HELD_UP):
            await self.heard.wait()
            return
        if self.undisturbed:
            raise BrokenPromiseError("idle", "an idle split has held the others' windows up")


def _loop() -> SimulatedLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    return loop
