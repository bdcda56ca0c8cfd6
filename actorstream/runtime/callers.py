"""Whose call a task is: for whoever has only the task.

    thread of the watchdog ──current_task(loop)──> task ──caller_of──> the actor of the async function

The tasks of calls are not run by their actor, so no frame of it is on their stack. Actors with async functions say
here that they are there, from their opening to their end. All of it may be asked in any thread.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from actorstream.runtime.subtask import Subtask


class MakesCalls(Protocol):
    """Whoever has tasks for calls."""

    def makes(self, task: asyncio.Task[Any], /) -> bool:
        """Tell whether this task is one of its calls."""
        ...


@contextmanager
def known(calls: MakesCalls, actor: Subtask) -> Iterator[None]:
    """Know whose these calls are while the block lasts."""
    with _lock:
        _callers[calls] = actor
    try:
        yield
    finally:
        with _lock:
            del _callers[calls]


def caller_of(task: asyncio.Task[Any]) -> Subtask | None:
    """Give the actor that makes this call; None: it is none's, such as a task that a call has begun itself."""
    with _lock:
        callers = list(_callers.items())
    return next((actor for calls, actor in callers if calls.makes(task)), None)


def begins_calls(actor: Subtask) -> bool:
    """Tell whether functions that an actor calls itself may be async ones, up to their first await."""
    with _lock:
        return actor in _callers.values()


_callers: dict[MakesCalls, Subtask] = {}
_lock = threading.Lock()
