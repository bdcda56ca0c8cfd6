"""Many callers, one commit: whoever finds nobody leading leads, in a thread, for all that wait.

    a ──┐                      ┌── b, c, d waited: the next group
    queue  [a]  ──lead──> thread: lock, one transaction, one sync ──> results to all, next leader

There is no task and no thread of its own: the leader is one of the callers, and only
while its own write is not done. A group is run again by the next leader if its leader
was cancelled: running is idempotent, it waits for the thread that still works on it.
So a cancelled caller's write may have happened, and never hurts another's.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import anyio

from actorstream.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorstream.eventlog.transaction import Write
    from actorstream.model.world import Offload

R = TypeVar("R")

_GROUP_WRITES_MAX = 4096
_GROUP_BYTES_MAX = 8 * 1024 * 1024
_LOCK_POLL_S = 0.001


class Request(Generic[R]):
    """One caller's write and, once settled, its result or error."""

    def __init__(self, write: Write[R]) -> None:
        """Begin unsettled."""
        self.write = write
        self.result: R | None = None
        self.error: BaseException | None = None
        self.settled = False
        self.waiter: asyncio.Future[None] | None = None

    def is_waited_for(self) -> bool:
        """Tell whether its caller, who does not lead, is still there."""
        return self.waiter is not None and not self.waiter.cancelled()

    def wake(self) -> None:
        """Let the caller look again."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class _Group:
    """Requests that share one commit."""

    def __init__(self, requests: list[Request[object]], commit: Callable[[Sequence[Request[object]]], bool]) -> None:
        self.requests = requests
        self._commit = commit
        self._lock = threading.Lock()
        self._done = False

    def run(self) -> bool:
        """Commit, in a thread; False if another process holds the writer lock just now."""
        with self._lock:
            if not self._done:
                try:
                    self._done = self._commit(self.requests)
                except BaseException as error:
                    self.fail(error)
                    raise
            return self._done

    def give_up(self) -> bool:
        """Take it back unless a thread works on it, or has."""
        if not self._lock.acquire(blocking=False):
            return False
        taken_back, self._done = not self._done, True
        self._lock.release()
        return taken_back

    def fail(self, error: BaseException) -> None:
        """Give everyone the same error."""
        self._done = True
        for request in self.requests:
            request.error = error


class GroupCommit:
    """The writes of one log on one event loop.

    Args:
        offload: Where the blocking commit runs.
        commit: Takes the writer lock, commits all requests and notes their results; False if the lock is held.
        after: Called on the loop after each commit.
        name: The log, for the error.
        lock_timeout_s: How long to wait for a lock that another process holds.
    """

    def __init__(
        self,
        offload: Offload,
        commit: Callable[[Sequence[Request[object]]], bool],
        after: Callable[[], None],
        *,
        name: str,
        lock_timeout_s: float,
    ) -> None:
        """Start with nothing to do."""
        self._offload = offload
        self._commit = commit
        self._after = after
        self._name = name
        self._lock_timeout_s = lock_timeout_s
        self._queue: deque[Request[object]] = deque()
        self._group: _Group | None = None
        self._leading = False

    async def submit(self, write: Write[R]) -> R:
        """Return what `write` gives, once it is durable; raise what it raised.

        Raises:
            StoreError: Another process held the writer lock all the time, or the disk refused.
        """
        request = Request(write)
        self._queue.append(cast("Request[object]", request))
        try:
            while not request.settled:
                if self._leading:
                    request.waiter = asyncio.get_running_loop().create_future()
                    await request.waiter
                else:
                    await self._lead(cast("Request[object]", request))
        finally:
            self._leave(cast("Request[object]", request))
        if request.error is not None:
            raise request.error
        return cast("R", request.result)

    async def _lead(self, own: Request[object]) -> None:
        self._leading = True
        try:
            while not own.settled:
                if self._group is None:
                    self._group = _Group(self._take(), self._commit)
                await self._run(self._group)
                for request in self._group.requests:
                    request.settled = True
                    request.wake()
                self._group = None
                self._after()
        finally:
            self._leading = False

    async def _run(self, group: _Group) -> None:
        deadline = anyio.current_time() + self._lock_timeout_s
        while not await self._offload.run(group.run):
            if anyio.current_time() >= deadline:
                group.fail(
                    StoreError(
                        f"{self._name}: another process has held its writer lock for {self._lock_timeout_s:g} s: look"
                        " for a stopped or hanging process that writes to this log; nothing was written"
                    )
                )
                return
            await anyio.sleep(_LOCK_POLL_S)

    def _take(self) -> list[Request[object]]:
        taken: list[Request[object]] = []
        size = 0
        while self._queue and len(taken) < _GROUP_WRITES_MAX and size < _GROUP_BYTES_MAX:
            taken.append(self._queue.popleft())
            size += taken[-1].write.size
        return taken

    def _leave(self, own: Request[object]) -> None:
        """See to it that somebody leads, or that nothing is left to lead."""
        if not own.settled and own in self._queue:
            self._queue.remove(own)
        if self._leading:
            return
        group = self._group
        if (
            group is not None
            and not any(r is not own and r.is_waited_for() for r in group.requests)
            and group.give_up()
        ):
            self._group = group = None
        waiting = [*(group.requests if group else ()), *self._queue]
        for request in waiting:
            if request is not own and request.waiter is not None and not request.waiter.done():
                request.wake()
                return
