"""A live feed into a log: what cannot be asked for again is made durable before any job reads it.

    WebSocket, server-sent events ──connect(last)──> |bounded queue| ──extend──> EventLog ──> jobs
             ^                                                                     │
             └── reconnect, with back-off, behind the last record of the log ──────┘

Who can be asked for what follows a record (a Last-Event-ID, an offset) is asked for what follows the last one that is
durable: each comes once. From others comes what they send while the connection stands: what they sent while nobody
was connected is lost, and what they send again is told by its id, which the log remembers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import anyio

from actorstream.connectors.push import Push
from actorstream.errors import PlanError
from actorstream.eventlog.positions import LogPosition
from actorstream.protocol.restart import GiveUp, Restart, RestartState
from actorstream.system.cancelled_once import cancelled_once
from actorstream.system.current import current_world
from actorstream.system.log import log as _say

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Hashable, Sequence

    from actorstream.eventlog.log import EventLog

T = TypeVar("T")

_QUEUE_RECORDS = 1_024
_CLOSE_SECONDS = 5.0


class FeedEndedError(ConnectionError):
    """A feed has ended by itself, and the restart strategy does not ask it again."""


async def ingest(
    log: EventLog[T],
    connect: Callable[[T | None], AsyncIterable[T]],
    *,
    restart: Restart | None = None,
    id_of: Callable[[T], Hashable] | None = None,
    remember: int = 1_024,
) -> None:
    """Append to `log` what a feed gives, and connect again when it breaks off; until cancelled.

    Back-pressure reaches the feed: at most 1,024 records wait for the disk.

    Args:
        log: Takes the records; of one partition, so that its last record is the last one that came.
        connect: Opens a connection: an async generator of records, given the last record of the log, or None.
        restart: How often and after how long to connect again; default `Restart.exponential()`. A connection that
            gave records starts the count over.
        id_of: Tells a record's id, for a feed that sends its last ones again to whoever connects: those whose id is
            among the last `remember` of the log are left out.
        remember: How many ids. At least as many as the feed may send again.

    Raises:
        Exception: What the last connection raised, once the strategy gives up; FeedEndedError where it just ended.
        StoreError: The log refuses; or another of its errors. It is not tried again.
        PlanError: The log has several partitions, or `remember` is no number of records.
    """
    if remember < 1:
        raise PlanError(f"ingest: remember={remember}, expected 1 or more: how many records may be sent again")
    strategy = Restart.exponential() if restart is None else restart
    world = current_world()
    failures = RestartState(strategy)
    while True:
        newest = await _newest_records(log, 1 if id_of is None else remember)
        known = None if id_of is None else _Known(newest, id_of, remember)
        count, failure = await _receive(log, connect(newest[-1] if newest else None), known)
        if count:
            failures = RestartState(strategy)
        decided = failures.on_failure(int(world.clock.monotonic() * 1e6), None, world.random.fraction())
        if isinstance(decided, GiveUp):
            raise failure
        seconds = decided.delay_us / 1e6
        _say.info(
            "feed is connected to again", log=log.path, after_seconds=seconds, received=count, reason=str(failure)
        )
        await anyio.sleep(seconds)


class _Known(Generic[T]):
    """The ids of the newest records: those of the log, then those on their way into it."""

    def __init__(self, newest: Sequence[T], id_of: Callable[[T], Hashable], remember: int) -> None:
        self._id_of = id_of
        self._order: deque[Hashable] = deque(maxlen=remember)
        self._ids: set[Hashable] = set()
        for record in newest:
            self.add(record)

    def add(self, record: T) -> bool:
        """Take a record's id; False if it was known."""
        id_ = self._id_of(record)
        if id_ in self._ids:
            return False
        if len(self._order) == self._order.maxlen:
            self._ids.remove(self._order[0])
        self._order.append(id_)
        self._ids.add(id_)
        return True


async def _receive(log: EventLog[T], records: AsyncIterable[T], known: _Known[T] | None) -> tuple[int, Exception]:
    """Append what one connection gives and is not known; tell how much it gave, and how it ended."""
    queue: Push[T] = Push(cast("type[T]", object), capacity=_QUEUE_RECORDS)
    ended: list[Exception] = []
    refused: list[Exception] = []
    count = 0

    async def read() -> None:
        nonlocal count
        async with aclosing(records) if isinstance(records, AsyncGenerator) else nullcontext():
            async for record in records:
                count += 1
                if known is None or known.add(record):
                    await queue.send(record)

    async def receive() -> None:
        try:
            await cancelled_once(read(), _closing_deadline, name=f"feed of {log.path}")
            ended.append(FeedEndedError("the feed has ended"))
        except Exception as error:  # noqa: BLE001  (whatever a client of others raises: it is asked again)
            ended.append(error)
        finally:
            queue.close()

    async with anyio.create_task_group() as group:
        group.start_soon(receive)
        try:
            async for fetched in queue.read("0", None):
                await log.extend(fetched.values)
        except Exception as error:  # noqa: BLE001  (raised below: not as a group)
            refused.append(error)
            group.cancel_scope.cancel()
    if refused:
        raise refused[0]
    return count, ended[0]


def _closing_deadline() -> float:
    return anyio.current_time() + _CLOSE_SECONDS


async def _newest_records(log: EventLog[T], count: int) -> list[T]:
    summary = await log.summary()
    if summary.partitions != 1:
        raise PlanError(
            f"ingest: log {log.path} has {summary.partitions} partitions, so the record that came last cannot be told: "
            "make it with one, and spread the work by key_by"
        )
    start = max(summary.first[0], summary.next[0] - count)
    if start == summary.next[0]:
        return []
    return [record.value async for record in log.records(start=[LogPosition(0, start)], stop="now")]
