"""Elements of a stream for code beside the job: an async iterator with a bounded buffer."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, Literal, Self, TypeVar, cast

from actorstream.errors import PlanError, StoreError
from actorstream.runtime.mailbox import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    import anyio

T_co = TypeVar("T_co", covariant=True)


class Subscription(Generic[T_co]):
    """Elements from now on. Use it in `async with`, or it ends with the job. One reader at a time."""

    def __init__(
        self,
        buffer: int,
        overflow: Literal["wait", "drop_oldest", "error"],
        leave: Callable[[Subscription[T_co]], None],
        ended: anyio.Event,
        raise_if_failed: Callable[[], None],
    ) -> None:
        """Buffer at most `buffer` elements; made by `Job.subscribe`."""
        if buffer < 1:
            raise PlanError(f"subscribe: buffer is {buffer}, expected at least 1")
        self._buffer = buffer
        self._overflow = overflow
        self._leave = leave
        self._ended = ended
        self._raise_if_failed = raise_if_failed
        self._elements: deque[T_co] = deque()
        self._arrival = Wakeup()
        self._room: list[Wakeup] = []
        self._closed = False
        self._lost = False
        self._released = False

    async def push(self, values: Sequence[object]) -> None:
        """Take elements from an actor; waits for room where that was asked for."""
        for value in values:
            if self._closed or self._lost:
                return
            if len(self._elements) >= self._buffer and not self._released:
                if self._overflow == "wait":
                    await self._wait_room()
                elif self._overflow == "drop_oldest":
                    self._elements.popleft()
                else:
                    self._lost = True
                    self._arrival.wake()
                    return
            self._elements.append(cast("T_co", value))
        self._arrival.wake()

    async def _wait_room(self) -> None:
        self._arrival.wake()
        while len(self._elements) >= self._buffer and not (self._closed or self._released):
            wakeup = Wakeup()
            self._room.append(wakeup)
            try:
                await wakeup.wait()
            finally:
                self._room.remove(wakeup)

    def release(self) -> None:
        """Hold the job up no more: the buffer grows instead, until the job has ended."""
        self._released = True
        self._wake_room()

    def hold(self) -> None:
        """Take `release` back: the job goes on after all."""
        self._released = False

    def finish(self) -> None:
        """The job has ended: what is buffered can still be read."""
        self._arrival.wake()

    def __aiter__(self) -> Self:
        """Iterate over the elements."""
        return self

    async def __anext__(self) -> T_co:
        """Give the next element; ends with the job.

        Raises:
            StoreError: Elements were lost, and `overflow="error"` was asked for.
            JobFailed: The job has failed; what it gave before was read.
        """
        while not self._elements:
            if self._lost:
                raise StoreError(f"the subscription fell more than {self._buffer} elements behind: read faster")
            if self._closed:
                raise StopAsyncIteration
            if self._ended.is_set():
                self._raise_if_failed()
                raise StopAsyncIteration
            await self._arrival.wait()
        element = self._elements.popleft()
        if self._room:
            self._wake_room()
        return element

    def _wake_room(self) -> None:
        for wakeup in self._room:
            wakeup.wake()

    async def __aenter__(self) -> Self:
        """Follow until the block is left."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Stop following."""
        self._closed = True
        self._wake_room()
        self._leave(self)
