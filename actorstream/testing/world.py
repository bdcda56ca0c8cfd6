"""The world of a simulated process: every source of time, randomness and threads is one seed's.

clock     the loop's virtual time; the wall clock starts where the test says
files     the process's view of a simulated disk
offload   the loop's stand-in for threads: a delay, the call as a whole, a delay
random    seeded, apart from the scheduler's and the environment's streams
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from anyio import CancelScope
from anyio.lowlevel import checkpoint

from actorstream.model.world import FileSystem, World
from actorstream.testing.loop import SimulatedCrash

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.testing.loop import SimulatedLoop

P = ParamSpec("P")
R = TypeVar("R")

START_US = 1_700_000_000_000_000


class SimulatedClock:
    """Both clocks read the loop's virtual time, which stands still while code runs."""

    def __init__(self, loop: SimulatedLoop, start_us: int) -> None:
        """Let the wall clock read `start_us` when the loop is new."""
        self._loop = loop
        self._start_us = start_us

    def now_us(self) -> int:
        """Read the wall clock in microseconds."""
        return self._start_us + round(self._loop.time() * 1e6)

    def monotonic(self) -> float:
        """Read the virtual time in seconds."""
        return self._loop.time()


class SimulatedOffload:
    """Runs each call on the loop, whole, at a virtual moment of the environment's choice."""

    def __init__(self, loop: SimulatedLoop) -> None:
        """Start with nothing at work."""
        self._loop = loop
        self.busy = 0

    async def run(  # type: ignore[return]  # the scope swallows nothing
        self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call `fn`; a cancellation, anyio's or asyncio's own, takes effect before it has started or has returned."""
        await checkpoint()
        self.busy += 1
        try:
            with CancelScope(shield=True):
                outcome = self._loop.offload(partial(fn, *args, **kwargs))
                outcome.cancel = _wait_first  # type: ignore[method-assign]  # `Task.cancel` asks it
                return await outcome
        finally:
            self.busy -= 1


def _wait_first(msg: object = None) -> bool:
    """Refuse: then the task that waits is cancelled once it has waited."""
    return False


class SimulatedRandom:
    """A seeded stream of ids and fractions."""

    def __init__(self, seed: int | str) -> None:
        """Begin the stream of `seed`."""
        self._rng = random.Random(f"{seed} ids")

    def token(self) -> str:
        """Give 32 hexadecimal digits."""
        return f"{self._rng.getrandbits(128):032x}"

    def fraction(self) -> float:
        """Give a number in [0, 1)."""
        return self._rng.random()


class SimulatedWorld(World):
    """One simulated process's world.

    Attributes:
        loop: The loop of the process; its `environment` is the randomness for doubles of outside systems.
    """

    __slots__ = ("loop",)
    loop: SimulatedLoop

    def __init__(
        self, loop: SimulatedLoop, files: FileSystem, *, seed: int | str = 0, start_us: int = START_US
    ) -> None:
        """Make the world of the process that runs on `loop`.

        Args:
            loop: Gives time and threads.
            files: What the process sees as its disk.
            seed: Decides ids and jitter. Two processes with one seed draw the same ids: give each its own.
            start_us: What the wall clock reads at the loop's time 0.
        """
        super().__init__(SimulatedClock(loop, start_us), files, SimulatedOffload(loop), SimulatedRandom(seed))
        object.__setattr__(self, "loop", loop)

    def ensure_alive(self) -> None:
        """Raise SimulatedCrash once the process is dead: for a double of an outside system, before it changes."""
        if self.loop.crashed is not None or self.loop.is_closed():
            raise SimulatedCrash("the process is dead: what outlives it is out of its reach")
