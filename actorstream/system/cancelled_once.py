"""Cancellation as asyncio has it, for code of others: once, and then there is time to clean up.

    anyio's scope is cancelled ──> task.cancel() ──> the work's `finally`, its awaits left alone ──> raised
                                                     └── a deadline: cancelled again, named and left

A cancelled scope of anyio cancels each further await, too. Code that was written for asyncio does not expect that: its
`async with connect(...)` would be left without having said goodbye, and its socket be left to the garbage collector.
So the work is a task of its own, whose one owner waits for it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import CancelScope

from actorstream.system.log import log

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

R = TypeVar("R")


async def cancelled_once(work: Coroutine[Any, Any, R], deadline: Callable[[], float], *, name: str) -> R:
    """Await `work`; what cancels it from outside is told it once.

    Args:
        work: Runs as a task of its own, as long as this is awaited.
        deadline: Asked when it was cancelled: until when, on the loop's clock, it may clean up.
        name: What it is, for the log, should it not end by then.

    Raises:
        CancelledError: It was cancelled, also where it has swallowed that.
        BaseException: What `work` raises.
    """
    task = asyncio.get_running_loop().create_task(work, name=name)
    try:
        await asyncio.wait([task])
        return task.result()
    except asyncio.CancelledError:
        task.cancel()
        await _wait_ended(task, deadline())
        if not task.done():
            task.cancel()
            log.warning("cancelled code does not end", what=name)
        elif (error := _error_of(task)) is not None:
            raise error from None
        raise
    finally:
        del task  # an error's traceback has this frame, and a task its error: files would wait for the collector


def _error_of(task: asyncio.Task[Any]) -> BaseException | None:
    try:
        return task.exception()
    except asyncio.CancelledError:  # the task keeps it, and what its frames hold, until somebody has asked
        return None


async def _wait_ended(task: asyncio.Task[Any], deadline: float) -> None:
    """Wait, also if asyncio's own cancellation, which no shield keeps off, comes again: it is raised already."""
    with CancelScope(shield=True, deadline=deadline) as scope:
        while not task.done() and not scope.cancel_called:
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
