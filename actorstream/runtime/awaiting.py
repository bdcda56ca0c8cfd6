"""What becomes of what an async function gave: something to await, or to iterate over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from actorstream.system.log import log

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Coroutine, Iterable

CLOSE_SECONDS: Final = 4.0
"""So long an actor waits at its end for calls that were cancelled."""


def to_await(given: object) -> Coroutine[Any, Any, object]:
    """Give a coroutine for whatever an async function gave: an object to await, or one to iterate over.

    Raises:
        TypeError: It is neither.
    """
    if hasattr(given, "__aiter__"):
        return _gathered(cast("AsyncIterable[object]", given))
    if hasattr(given, "__await__"):
        return _awaited(cast("Awaitable[object]", given))
    raise TypeError(f"gave {type(given).__name__}, expected something to await")


async def _gathered(given: AsyncIterable[object]) -> list[object]:
    return [each async for each in given]


async def _awaited(given: Awaitable[object]) -> object:
    return await given


async def end_all(tasks: Iterable[asyncio.Task[Any]], operator: str, subtask: int) -> None:
    """Cancel tasks, and wait for them, but not for ever."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        _, left = await asyncio.wait(running, timeout=CLOSE_SECONDS)
        if left:
            log.warning("calls do not end", operator=operator, subtask=subtask, calls=len(left))
