"""A job tells a log what it still needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.eventlog.ledger import Consumer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorstream.eventlog.open_log import OpenLog


async def register_consumer(log: OpenLog, job: str, store: str, positions: Mapping[int, int | None]) -> None:
    """Keep what lies behind `positions` (the last offset read; absent or None: nothing yet), then let the rest go."""
    read = [positions.get(partition) for partition in range(log.partitions)]
    lowest = [-1 if offset is None else offset for offset in read]
    await log.register(Consumer(job, store, lowest, log.world.clock.now_us()))
