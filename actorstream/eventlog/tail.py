"""Waiting for the next record: woken by a writer on the same loop, else by looking now and then.

append ──commit──> ring ──> readers of this log on this loop, at once
another process ──commit──> last transaction number differs, seen after 1 ms ... 50 ms
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakValueDictionary

import anyio

if TYPE_CHECKING:
    from actorstream.state.lmdb_env import Env

_POLL_FIRST_S = 0.001
_POLL_LAST_S = 0.05
_POLL_GROWTH = 1.5


class Bell:
    """Rung after each commit; everybody who waits is woken."""

    def __init__(self) -> None:
        """Start unrung."""
        self.rung = 0
        self._waiters: list[asyncio.Future[None]] = []

    def ring(self) -> None:
        """Wake all."""
        self.rung += 1
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, seen: int, env: Env, transaction: int) -> None:
        """Return once a commit was rung for after `seen`, or the last transaction is not `transaction`, after a pause.

        The pause comes first: a commit shows in the number a little before readers can see it.
        """
        pause = _POLL_FIRST_S
        while self.rung == seen:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                with anyio.move_on_after(pause):
                    await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
            if env.last_transaction != transaction:
                return
            pause = min(pause * _POLL_GROWTH, _POLL_LAST_S)


_bells: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[str, Bell]] = WeakKeyDictionary()


def bell_of(path: str) -> Bell:
    """Give the bell of a log on the running loop: one for all who opened it."""
    bells = _bells.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    return bells.setdefault(path, Bell())
