"""Blocking calls in threads, counted, so that a busy loop knows when to make room for them.

The threads are ours, not the loop's default pool: a host that fills that pool
with slow calls must not hold up a checkpoint. They start with the first call.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from anyio import CancelScope

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

THREADS = 8


class ThreadOffload:
    """Runs each call in a worker thread."""

    def __init__(self) -> None:
        """Start with nothing at work, and no thread."""
        self.busy = 0
        self._executor: ThreadPoolExecutor | None = None

    async def run(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `fn` in a thread; a cancellation, anyio's or asyncio's own, takes effect after it has returned."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="actorstream")
        call = partial(copy_context().run, partial(fn, *args, **kwargs))
        future: asyncio.Future[R] = asyncio.get_running_loop().run_in_executor(self._executor, call)
        cancelled: asyncio.CancelledError | None = None
        self.busy += 1
        try:
            with CancelScope(shield=True):
                while not future.done():
                    try:
                        await asyncio.wait([future])
                    except asyncio.CancelledError as error:
                        cancelled = error
        finally:
            self.busy -= 1
        if cancelled is not None:
            if not future.cancelled():
                future.exception()  # seen: the cancellation is what the caller hears of
            raise cancelled
        return future.result()
