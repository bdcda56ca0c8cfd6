"""What all who encode state on one loop share: a slice of each of its turns, and room for what they have encoded.

    turn of the loop   | actor … | a b c (2 ms) | actor … | c d (2 ms) | …
    encoded entries    a a a b b c c c ──written──>           above 50,000: nobody begins

2,000 subtasks reach the same barrier together. With a slice each they would hold the
loop for seconds, and what they have encoded would wait for the one disk in memory. So
whoever finds the slice used up waits in a row for the next turn, and whoever finds the
room used up waits before it begins. Who has begun goes on, so nobody waits for each
other.

A slice begins when the first asks for it in a turn, not with the turn: an actor may
work for 5 ms in between.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.model.world import Clock, Offload

SLICE_SECONDS = 0.002
HELD_ENTRIES_MAX = 50_000

_LOOKING_MAX = 50  # if each of 2,000 looked in every turn, that alone would take longer than the slice
_ROOM_FOR_THREADS = 0.0001


class EncodingShare:
    """Shared by all subtasks of a host."""

    def __init__(self, clock: Clock, offload: Offload) -> None:
        """Begin with a turn in which nothing was encoded, and nothing held."""
        self._clock = clock
        self._offload = offload
        self._slice_ends: float | None = None
        self._looking = 0
        self._row: deque[asyncio.Future[None]] = deque()
        self._held = 0
        self._gathering = 0
        self._room = asyncio.Event()
        self._room.set()

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Let who writes wait for what is encoded in this block, which takes a few turns at most."""
        self._gathering += 1
        try:
            yield
        finally:
            self._gathering -= 1

    async def wait_gathered(self) -> None:
        """Wait until nobody gathers, or enough is held to be written."""
        await checkpoint()
        while self._gathering and self._held <= HELD_ENTRIES_MAX // 2:
            await checkpoint()

    async def wait_to_begin(self) -> None:
        """Wait for room and for time: to encode the first of a generation."""
        while True:
            await self._room.wait()
            await self.wait_turn()
            if self._room.is_set():
                return

    async def wait_turn(self) -> None:
        """Wait until something may be encoded; in a row, if many wait."""
        if not self._row and self.time_left():
            return
        if self._looking >= _LOOKING_MAX:
            await self._wait_in_row()
        self._looking += 1
        try:
            while True:
                # As in `Pace`: a thread beside a loop that never sleeps would starve.
                await asyncio.sleep(_ROOM_FOR_THREADS if self._offload.busy else 0)
                if self.time_left():
                    return
        finally:
            self._looking -= 1
            self._call_next()

    def time_left(self) -> bool:
        """Tell whether something may be encoded in this turn of the loop."""
        now = self._clock.monotonic()
        if self._slice_ends is None:
            self._slice_ends = now + SLICE_SECONDS
            asyncio.get_running_loop().call_soon(self._turn_over)
        return now < self._slice_ends

    def hold(self, entries: int) -> None:
        """Count entries that were encoded."""
        self._held += entries
        if self._held > HELD_ENTRIES_MAX:
            self._room.clear()

    def let_go(self, entries: int) -> None:
        """Count entries that were written, or sent to the writer, or dropped."""
        self._held -= entries
        if self._held <= HELD_ENTRIES_MAX // 2:
            self._room.set()

    def _turn_over(self) -> None:
        self._slice_ends = None

    async def _wait_in_row(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._row.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._row:
                self._row.remove(waiter)
            else:
                self._call_next()  # it had been called
            raise

    def _call_next(self) -> None:
        if self._row:
            waiter = self._row.popleft()
            if not waiter.done():
                waiter.set_result(None)
