"""Which world this code runs in: the real one, unless a simulation has set its own.

A context variable, so that an `EventLog` made at import finds the world of the
loop it is used on.
"""

from __future__ import annotations

import random
import secrets
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from actorstream.model.world import World
from actorstream.system.files import RealFiles
from actorstream.system.offload import ThreadOffload

if TYPE_CHECKING:
    from collections.abc import Iterator


class SystemClock:
    """The machine's own clocks."""

    def now_us(self) -> int:
        """Read the wall clock in microseconds."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Read the monotonic clock in seconds."""
        return time.monotonic()


class SystemRandom:
    """The machine's own randomness."""

    def token(self) -> str:
        """Give 32 hexadecimal digits."""
        return secrets.token_hex(16)

    def fraction(self) -> float:
        """Give a number in [0, 1)."""
        return random.random()


_REAL = World(SystemClock(), RealFiles(), ThreadOffload(), SystemRandom(), processes=True, threads=True)
_current: ContextVar[World] = ContextVar("actorstream_world", default=_REAL)


def current_world() -> World:
    """Give the world of the running context."""
    return _current.get()


@contextmanager
def use_world(world: World) -> Iterator[World]:
    """Run the block, and the tasks started in it, in `world`."""
    token = _current.set(world)
    try:
        yield world
    finally:
        _current.reset(token)
