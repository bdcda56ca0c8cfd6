"""Blocking calls in threads, counted, so that a busy loop knows when to make room for them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from anyio import to_thread

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


class ThreadOffload:
    """Runs each call in a worker thread of the running loop."""

    def __init__(self) -> None:
        """Start with nothing at work."""
        self.busy = 0

    async def run(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `fn` in a thread; a cancellation takes effect after it has returned."""
        self.busy += 1
        try:
            return await to_thread.run_sync(partial(fn, *args, **kwargs))
        finally:
            self.busy -= 1
