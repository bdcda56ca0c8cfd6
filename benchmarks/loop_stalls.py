"""How long the event loop keeps everybody waiting, and why.

    watchdog   sleep 2 ms      due |---- late ----| runs           late = what any other task of the host would wait

    late = cpu       the loop's thread computed: a slice of the job's work that was too long, or the garbage collector
         + no core   it was ready and other processes had the machine's cores
         + rest      it waited for the interpreter (another thread of ours held it), or blocked in a call

The watchdog sleeps: one that spins on sleep(0) would keep the loop from ever giving
a thread its turn, and measure the trouble that it makes itself.
"""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

PERIOD_SECONDS = 0.002
_SCHEDSTAT = Path("/proc/thread-self/schedstat")


class Stall(NamedTuple):
    """One time that the watchdog ran late, in seconds.

    Attributes:
        late: From when it was due until it ran.
        cpu: What the thread computed meanwhile; the period before is part of it, so it may be above `late`.
        no_core: How long it was ready to run and had no core; 0 where the system does not tell.
        gc: How long the garbage collector was at work, by the wall clock: it computes, or has no core.
    """

    late: float
    cpu: float
    no_core: float
    gc: float

    @property
    def rest(self) -> float:
        """Waiting for the interpreter, or for a blocking call."""
        return max(0.0, self.late - self.cpu - self.no_core)


class Watchdog:
    """Measures while its block runs; in the thread of the loop."""

    def __init__(self) -> None:
        """Measure nothing yet."""
        self._stalls: list[Stall] = []
        self._task: asyncio.Task[None] | None = None
        self._collecting = 0.0
        self._collected = 0.0

    async def __aenter__(self) -> Self:
        """Begin."""
        gc.callbacks.append(self._on_collection)
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="watchdog")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """End."""
        gc.callbacks.remove(self._on_collection)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def take(self) -> list[Stall]:
        """Give what was seen since the last time."""
        seen, self._stalls = self._stalls, []
        return seen

    async def _watch(self) -> None:
        clock, cpu_clock, sleep = time.perf_counter, time.thread_time, asyncio.sleep
        while True:
            cpu, no_core, collected, start = cpu_clock(), _waited_for_core(), self._collected, clock()
            await sleep(PERIOD_SECONDS)
            late = clock() - start - PERIOD_SECONDS
            collected = self._collected - collected
            self._stalls.append(Stall(late, cpu_clock() - cpu, _waited_for_core() - no_core, collected))

    def _on_collection(self, phase: str, info: dict[str, int]) -> None:
        """Hear of the beginning and the end of a collection, of any thread: all of them wait meanwhile."""
        if phase == "start":
            self._collecting = time.perf_counter()
        else:
            self._collected += time.perf_counter() - self._collecting


def longest(stalls: Sequence[Stall]) -> Stall:
    """Give the worst; all zero where there was none."""
    return max(stalls, default=Stall(0.0, 0.0, 0.0, 0.0))


def _waited_for_core() -> float:
    """Give how long this thread has waited for a core, in seconds since it started."""
    try:
        return int(_SCHEDSTAT.read_text(encoding="ascii").split()[1]) / 1e9
    except OSError:
        return 0.0
