"""Jobs to be explained: a clock by hand, sinks that do not come back, records with a time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from actorstream.system.current import current_world, use_world
from actorstream.testing.manual_clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from actorstream.api.stream import Stream
    from actorstream.model.connect import SinkContext

START = datetime(2026, 1, 1, tzinfo=UTC)
"""Where clocks by hand stand at first."""

Timed = tuple[str, float]
"""A key, and the seconds after START at which it happened."""


def key(record: Timed) -> str:
    return record[0]


def time_of(record: Timed) -> datetime:
    return START + timedelta(seconds=record[1])


def timed(
    stream: Stream[Timed], *, idle_timeout: float | None, out_of_orderness: float = 0, name: str = "times"
) -> Stream[Timed]:
    return stream.assign_timestamps(time_of, out_of_orderness=out_of_orderness, idle_timeout=idle_timeout, name=name)


@contextmanager
def clock_by_hand() -> Iterator[ManualClock]:
    """Let runs that are made inside go by a clock that only the test moves."""
    clock = ManualClock()
    with use_world(replace(current_world(), clock=clock)):
        yield clock


def move(clock: ManualClock, seconds: float) -> None:
    clock.move_to(clock.now_us() + round(seconds * 1e6))


class Stuck:
    """A sink whose writer does not come back from one of its calls until it is released, or raises in it."""

    def __init__(self, call: str, error: Exception | None = None) -> None:
        self.inside = asyncio.Event()
        self.released = asyncio.Event()
        self.error = error
        self.call = call

    @asynccontextmanager
    async def writer(self, ctx: SinkContext, /) -> AsyncIterator[StuckWriter]:
        """Open the one writer."""
        yield StuckWriter(self)


class StuckWriter:
    def __init__(self, sink: Stuck) -> None:
        self._sink = sink

    async def write(self, values: Sequence[Any], /) -> None:
        """Take records."""
        await self._enter("write")

    async def pre_commit(self, checkpoint: int, /) -> bytes | None:
        """Give a token."""
        await self._enter("pre_commit")
        return b"token"

    async def commit(self, token: bytes, /) -> None:
        """Commit it."""
        await self._enter("commit")

    async def abort(self, token: bytes | None, /) -> None:
        """Nothing is left open."""

    async def _enter(self, call: str) -> None:
        if call == self._sink.call:
            if self._sink.error is not None:
                raise self._sink.error
            self._sink.inside.set()
            await self._sink.released.wait()
