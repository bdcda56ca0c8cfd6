"""How long our own work holds the event loop, and how it lets go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actorstream.model.world import Clock, Offload

BURST_SECONDS = 0.005
ROOM_FOR_THREADS = 0.0001
CLOCK_LOOK_SECONDS = 10.0
"""Who waits for a time by the clock looks at it so often: who sleeps for ten hours does not notice that it was set."""


class Pace:
    """Shared by all actors of a job.

    A thread beside a loop that yields with `sleep(0)` starves: the loop lets go
    of the interpreter for microseconds only, and the thread loses that race. So
    while a thread of ours has work, we yield with a short real sleep (measured:
    a 10 ms job took 2.5 s without it).

    The burst is shared by the actors that have work: in one turn of the loop each
    of them runs once, and the host waits for all.
    """

    def __init__(self, clock: Clock, offload: Offload, burst: float = BURST_SECONDS) -> None:
        """Work for at most `burst` seconds in one turn of the loop."""
        self.clock = clock
        self.burst = burst
        self.offload = offload
        self._awake = 0

    def wake(self) -> None:
        """An actor has work from here on."""
        self._awake += 1

    def rest(self) -> None:
        """An actor waits, or has ended."""
        self._awake -= 1

    def share(self) -> float:
        """Give the seconds that one actor may work before it gives way."""
        return self.burst / self._awake if self._awake > 1 else self.burst

    async def give_way(self) -> None:
        """Let every other ready task, and a thread of ours, run."""
        await asyncio.sleep(ROOM_FOR_THREADS if self.offload.busy else 0)
