"""A source that the program itself feeds: a bounded queue, whose senders wait while the job is behind.

    await push.send(x) ──> | x x x x |  ──read──> job          at most `capacity` wait here
    await push.send(y)       full: y waits with its sender, and comes in by its turn

Not replayable: it keeps nothing that was read. What was accepted and is in no checkpoint yet is lost when the job
fails or stops; what is still in the queue is read by the next attempt, and by the next run in this process. Append
to an EventLog what must not be lost, and read that.

Invariant: a sender waits only while the queue is full, or is not read by anybody and full.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar, get_origin

from actorstream.connectors.memory import FETCH_RECORDS, count_before
from actorstream.errors import PlanError, PushClosedError
from actorstream.model.connect import Fetched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

T = TypeVar("T")

CAPACITY = 1_024


class Push(Generic[T]):
    """Records that this process sends to a job, under back-pressure: `pipeline.source(push)`, `await push.send(x)`.

    For one job and one event loop at a time. Positions count records, for error reports.
    """

    def __init__(self, type_: type[T] | tuple[type[T], ...], *, capacity: int = CAPACITY) -> None:
        """Make an empty one; it may be made where no event loop runs, and be sent to before a job reads it.

        Args:
            type_: What is sent; a class is checked at `send`.
            capacity: How many records may wait here. What the job has read and not yet worked on comes on top of it.

        Raises:
            PlanError: The capacity is no whole number of at least 1.
        """
        if type(capacity) is not int or capacity < 1:
            raise PlanError(f"Push: capacity is {capacity!r}, expected a whole number of at least 1")
        self._types = _classes(type_)
        self._capacity = capacity
        self._queue: deque[T] = deque()
        self._senders: deque[tuple[asyncio.Future[None], T]] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._job: str | None = None
        self._closed = False
        self._refusal: str | None = None
        self._cause: Exception | None = None

    async def send(self, record: T, /) -> None:
        """Give a record to the job; returns once there was room for it, which is not yet when it was worked on.

        Senders are served in the order in which they came. A send that is cancelled may have happened.

        Raises:
            PushClosedError: It was closed, or its job has ended: the record was not taken. A failed job's error is
                the cause.
            PlanError: The record is of another type, or an event loop other than the job's runs here.
        """
        if self._types and not isinstance(record, self._types):
            names = " or ".join(each.__name__ for each in self._types)
            raise PlanError(f"send({record!r:.60}): a {type(record).__name__}, and this Push takes {names}")
        self._check_open()
        loop = self._own_loop()
        if len(self._queue) < self._capacity and not self._senders:
            self._queue.append(record)
            self._wake()
            return
        taken: asyncio.Future[None] = loop.create_future()
        self._senders.append((taken, record))
        try:
            await taken
        finally:
            if not taken.done() or taken.cancelled():
                self._senders = deque(each for each in self._senders if each[0] is not taken)

    def close(self) -> None:
        """Say that nothing more will be sent: once what was sent is read, this input has ended. Again: nothing.

        An input that has ended stays so for a job with a store: to stop a service, leave the run's block instead.
        """
        self._closed = True
        self._wake()

    @property
    def waiting(self) -> int:
        """How many records were accepted and not read yet."""
        return len(self._queue)

    # ---- the job's side

    async def splits(self) -> Sequence[str]:
        """Name the one split."""
        return ["0"]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, T]]:
        """Yield what is sent, until it was closed and all is read."""
        position = count_before(after) - 1
        while True:
            if not self._queue:
                if self._closed:
                    return
                await self._wait_sent()
                continue
            values = self._take()
            position += len(values)
            yield Fetched(values, position)

    def begin_feeding(self, job: str, /) -> None:
        """Take note that a job reads this from now on: sends are taken again.

        Raises:
            PlanError: Another job reads it.
        """
        if self._job is not None:
            raise PlanError(
                f"a Push is read by job {self._job!r} already: each record would go to one of the two; "
                f"make a Push for each job, or let both read an EventLog (job {job!r})"
            )
        self._job, self._loop, self._refusal, self._cause = job, asyncio.get_running_loop(), None, None

    def end_feeding(self, failure: Exception | None, /) -> None:
        """Take note that the job has ended: whoever waits, or sends from now on, is told so."""
        how = "has ended" if failure is None else "has failed"
        self._refusal, self._cause, self._loop, self._job = f"job {self._job!r} {how}", failure, None, None
        senders, self._senders = self._senders, deque()
        for taken, _ in senders:
            if not taken.done():
                taken.set_exception(self._refused(self._refusal))

    def _take(self) -> list[T]:
        values = [self._queue.popleft() for _ in range(min(len(self._queue), FETCH_RECORDS))]
        while self._senders and len(self._queue) < self._capacity:
            taken, record = self._senders.popleft()
            if not taken.done():
                self._queue.append(record)
                taken.set_result(None)
        return values

    async def _wait_sent(self) -> None:
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _check_open(self) -> None:
        if self._closed:
            raise self._refused("it was closed")
        if self._refusal is not None:
            raise self._refused(self._refusal)

    def _refused(self, why: str) -> PushClosedError:
        error = PushClosedError(f"the record was not taken: {why}; run the job again, or keep records in an EventLog")
        error.__cause__ = self._cause
        return error

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        """Give the loop of senders and reader, which is one: a Push is no bridge between threads."""
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop:
            raise PlanError(
                "send() was called on another event loop than the job's: from a thread, use "
                "asyncio.run_coroutine_threadsafe(push.send(record), loop)"
            )
        return loop


def _classes(type_: object) -> tuple[type, ...]:
    """Give what `isinstance` can tell of the declared types; nothing where it cannot tell one of them."""
    classes: list[type] = []
    for each in type_ if isinstance(type_, tuple) else (type_,):
        origin: object = get_origin(each)
        plain = each if origin is None else origin
        if not isinstance(plain, type) or not _tells(plain):
            return ()  # a TypedDict, a NewType, a protocol: type checkers see those
        classes.append(plain)
    return (*classes, int) if float in classes else tuple(classes)


def _tells(kind: type) -> bool:
    try:
        isinstance(None, kind)
    except TypeError:
        return False
    return True
