"""Async handlers of a process: whatever dies at whichever await, it comes to what the same plain process comes to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import pytest

from actorstream import (
    EventLog,
    Failure,
    KeyedProcess,
    MapState,
    OutputTag,
    Pipeline,
    Retry,
    Settings,
    ValueState,
    idempotency_key,
)
from actorstream.testing import simulate
from tests.simulation.budget import SECONDS, seeds
from tests.simulation.key_handlers import AsyncBook, Book, Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from actorstream import Context, Timer

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(180 + SECONDS)]

NUMBERS = [number * 37 % 101 for number in range(150)]
BOTH = pytest.mark.parametrize("alignment_timeout", [None, 0.0], ids=["aligned", "overtaking"])
FAILED: OutputTag[Failure[int]] = OutputTag("failed")


def books(process: type[Book | AsyncBook], out: Callable[[Row], object] | None = None) -> Callable[[], Pipeline]:
    """Write what a process makes of the numbers to a log, or give it to `out`; one subtask, since it asks for time."""

    def build() -> Pipeline:
        pipeline = Pipeline("books")
        numbers = pipeline.source(list(enumerate(NUMBERS)), name="numbers", parallelism=1)
        timed = numbers.assign_timestamps(lambda row: float(row[0] // 2), out_of_orderness=3, parallelism=1)
        keyed = timed.map(lambda row: row[1], parallelism=1).key_by(lambda number: number % 6)
        concurrency = None if process is Book else 5
        rows = keyed.process(process, name="books", parallelism=1, concurrency=concurrency)
        if out is None:
            rows.sink(EventLog(Row, "rows"), name="rows", parallelism=1)
        else:
            rows.sink(out)
        return pipeline

    return build


def plain_rows() -> list[Row]:
    """Give what comes of plain handlers, with nothing in their way."""
    rows: list[Row] = []

    async def main() -> None:
        async with books(Book, rows.append)().run() as job:
            await job.wait()

    asyncio.run(main())
    return rows


@BOTH
def test_a_crash_at_any_await_changes_nothing(alignment_timeout: float | None) -> None:
    report = simulate(
        books(AsyncBook),
        seeds=seeds(6, "async handlers", 4),
        reference=plain_rows,
        in_order_by=lambda row: row[0],
        settings=Settings(alignment_timeout=alignment_timeout),
    )
    report.check()
    assert report.crashes


class Tally(KeyedProcess[int, int, tuple[int, int, int]]):
    """Counts, awaiting; some records fail when they have changed all that there is."""

    count: ValueState[int] = ValueState(0)
    seen: MapState[int, int] = MapState()
    waiting: ValueState[list[int]] = ValueState(factory=list)

    async def on_element(self, number: int, ctx: Context[int]) -> AsyncIterator[tuple[int, int, int]]:
        """Count a number."""
        key, before = idempotency_key(), self.count
        self.count += 1
        self.seen[number % 4] = self.seen.get(number % 4, 0) + 1
        self.waiting.append(number)
        await anyio.sleep(0.001 * (number % 5))
        if number % 10 == 7:
            raise ValueError(f"{number} is bad")
        yield ctx.key, self.count, sum(self.seen.values())
        await anyio.sleep(0.001)
        ctx.set_timer(ctx.now.timestamp() + 0.001 * (number % 9), "soon", domain="processing")
        assert (self.count, idempotency_key()) == (before + 1, key)

    async def on_timer(self, timer: Timer, ctx: Context[int]) -> list[tuple[int, int, int]]:
        """Say how many there were since the last time."""
        waiting = self.waiting
        del self.waiting
        await anyio.sleep(0.002)
        return [(-1, number, ctx.key) for number in waiting]


def tallies() -> Pipeline:
    """Count at any parallelism; every number comes out once behind a timer of the clock as well, or as a failure."""
    pipeline = Pipeline("tallies")
    numbers = pipeline.source(list(range(160)), name="numbers", parallelism=1)
    tallied = numbers.key_by(lambda number: number % 7).process(
        Tally, concurrency=4, timeout=60, retry=Retry(2, backoff=0.001), errors=FAILED, name="tally"
    )
    failed = tallied.side_output(FAILED).map(lambda each: (-2, each.value or 0, each.attempts), name="failed")
    failed.sink(EventLog(tuple[int, int, int], "failed"), name="failures")
    # In the actor of the process: what barriers overtake between two is in no order at another parallelism.
    tallied.sink(EventLog(tuple[int, int, int], "rows"), name="rows")
    return pipeline


def tallied() -> list[tuple[int, int, int]]:
    """Give what `tallies` gives."""
    counts: dict[int, int] = {}
    rows = []
    for number in range(160):
        if number % 10 == 7:
            rows.append((-2, number, 2))
            continue
        counts[number % 7] = counts.get(number % 7, 0) + 1
        rows += [(number % 7, counts[number % 7], counts[number % 7]), (-1, number, number % 7)]
    return rows


@BOTH
def test_handlers_that_fail_and_timers_of_the_clock_at_any_parallelism(alignment_timeout: float | None) -> None:
    report = simulate(
        tallies,
        seeds=seeds(6, "async handlers", 4),
        reference=tallied,
        in_order_by=lambda row: row if row[0] < 0 else row[0],
        settings=Settings(alignment_timeout=alignment_timeout),
    )
    report.check()
    assert report.crashes
