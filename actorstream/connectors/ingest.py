"""A live feed into a log: what cannot be asked for again is made durable before any job reads it.

    WebSocket, server-sent events ──connect(last)──> |bounded queue| ──extend──> EventLog ──> jobs
             ^                                                                     │
             └── reconnect, with back-off, behind the last record of the log ──────┘

Who can be asked for what follows a record (a Last-Event-ID, an offset) is asked for what follows the last one that is
durable: each comes once. From others comes what they send while the connection stands.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, TypeVar, cast

import anyio

from actorstream.connectors.push import Push
from actorstream.errors import PlanError
from actorstream.eventlog.positions import LogPosition
from actorstream.protocol.restart import GiveUp, Restart, RestartState
from actorstream.system.current import current_world
from actorstream.system.log import log as _say

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable

    from actorstream.eventlog.log import EventLog

T = TypeVar("T")

_QUEUE_RECORDS = 1_024


class FeedEndedError(ConnectionError):
    """A feed has ended by itself, and the restart strategy does not ask it again."""


async def ingest(
    log: EventLog[T],
    connect: Callable[[T | None], AsyncIterable[T]],
    *,
    restart: Restart | None = None,
) -> None:
    """Append to `log` what a feed gives, and connect again when it breaks off; until cancelled.

    Back-pressure reaches the feed: at most 1,024 records wait for the disk.

    Args:
        log: Takes the records; of one partition, so that its last record is the last one that came.
        connect: Opens a connection: an async generator of records, given the last record of the log, or None.
        restart: How often and after how long to connect again; default `Restart.exponential()`. A connection that
            gave records starts the count over.

    Raises:
        Exception: What the last connection raised, once the strategy gives up; FeedEndedError where it just ended.
        StoreError: The log refuses; or another of its errors. It is not tried again.
        PlanError: The log has several partitions.
    """
    strategy = Restart.exponential() if restart is None else restart
    world = current_world()
    failures = RestartState(strategy)
    while True:
        last = await _last_record(log)
        count, failure = await _receive(log, connect(last))
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


async def _receive(log: EventLog[T], records: AsyncIterable[T]) -> tuple[int, Exception]:
    """Append what one connection gives; tell how much that was, and how it ended."""
    queue: Push[T] = Push(cast("type[T]", object), capacity=_QUEUE_RECORDS)
    ended: list[Exception] = []
    refused: list[Exception] = []
    count = 0

    async def receive() -> None:
        try:
            async for record in records:
                await queue.send(record)
            ended.append(FeedEndedError("the feed has ended"))
        except Exception as error:  # noqa: BLE001  (whatever a client of others raises: it is asked again)
            ended.append(error)
        finally:
            queue.close()
            if isinstance(records, AsyncGenerator):
                with anyio.CancelScope(shield=True):
                    await records.aclose()

    async with anyio.create_task_group() as group:
        group.start_soon(receive)
        try:
            async for fetched in queue.read("0", None):
                await log.extend(fetched.values)
                count += len(fetched.values)
        except Exception as error:  # noqa: BLE001  (raised below: not as a group)
            refused.append(error)
            group.cancel_scope.cancel()
    if refused:
        raise refused[0]
    return count, ended[0]


async def _last_record(log: EventLog[T]) -> T | None:
    summary = await log.summary()
    if summary.partitions != 1:
        raise PlanError(
            f"ingest: log {log.path} has {summary.partitions} partitions, so the record that came last cannot be told: "
            "make it with one, and spread the work by key_by"
        )
    if summary.next[0] == summary.first[0]:
        return None
    last = None
    async for record in log.records(start=[LogPosition(0, summary.next[0] - 1)], stop="now"):
        last = record.value
    return last
