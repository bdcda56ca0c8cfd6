"""Calls in flight when a process dies: nothing is lost, nothing comes twice, and results keep their order.

The pipelines are run by the public simulation, against the plain numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from actorstream import EventLog, Pipeline, Retry, Settings, Tumbling, idempotency_key
from actorstream.testing import simulate
from tests.simulation.budget import SECONDS, seeds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from actorstream import Stream

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(180 + SECONDS)]

NUMBERS = [number % 40 for number in range(120)]


async def slowly(number: int) -> int:
    await anyio.sleep(0.001 * (number % 7))
    return number + 1


async def keeps(number: int) -> bool:
    await anyio.sleep(0.001 * (number % 5))
    return number % 3 != 0


async def several(number: int) -> AsyncIterator[int]:
    for each in range(number % 4):
        await anyio.sleep(0.001)
        yield 100 * number + each


async def many(numbers: Sequence[int]) -> list[int]:
    await anyio.sleep(0.003)
    return [number + 1 for number in numbers]


async def asks(number: int) -> int:
    key = idempotency_key()
    await anyio.sleep(0.002)
    assert key == idempotency_key()
    return number + 1


KINDS: dict[str, tuple[Callable[[Stream[int]], Stream[int]], list[int]]] = {
    "ordered": (lambda stream: stream.map(slowly, name="ask"), [number + 1 for number in NUMBERS]),
    "unordered, few slots": (
        lambda stream: stream.map(slowly, name="ask", ordered=False, concurrency=3),
        [number + 1 for number in NUMBERS],
    ),
    "filter": (
        lambda stream: stream.filter(keeps, name="ask", concurrency=5),
        [number for number in NUMBERS if number % 3],
    ),
    "flat_map": (
        lambda stream: stream.flat_map(several, name="ask", timeout=60),
        [100 * number + each for number in NUMBERS for each in range(number % 4)],
    ),
    "batches": (
        lambda stream: stream.map_batches(many, name="ask", max_size=7, max_delay=0.002, concurrency=3),
        [number + 1 for number in NUMBERS],
    ),
    "with keys and retries": (
        lambda stream: stream.map(asks, name="ask", retry=Retry(3, backoff=0.001), rate=5_000),
        [number + 1 for number in NUMBERS],
    ),
}


def asking(kind: str) -> Callable[[], Pipeline]:
    """Count what comes of the numbers, by the last digit."""

    def build() -> Pipeline:
        pipeline = Pipeline("asking")
        awaited, _ = KINDS[kind]
        rows = awaited(pipeline.source(list(NUMBERS), name="numbers")).key_by(lambda number: number % 10)
        rows.count(name="out").sink(EventLog(tuple[int, int], "counts"), name="counts")
        return pipeline

    return build


def counts(kind: str) -> list[tuple[int, int]]:
    """Give what `asking` gives."""
    _, right = KINDS[kind]
    so_far: dict[int, int] = {}
    given = []
    for number in right:
        so_far[number % 10] = so_far.get(number % 10, 0) + 1
        given.append((number % 10, so_far[number % 10]))
    return given


def one_after_the_other() -> Pipeline:
    """One source, one subtask: what comes out is what came in."""
    pipeline = Pipeline("order")
    numbers = pipeline.source(list(range(80)), name="numbers", parallelism=1)
    asked = numbers.map(slowly, name="ask", parallelism=1, concurrency=8)
    asked.sink(EventLog(int, "out"), name="out", parallelism=1)
    return pipeline


def in_windows() -> Pipeline:
    """A watermark waits for the records before it: none is late behind a call."""
    pipeline = Pipeline("windows")
    numbers = pipeline.source(list(range(100)), name="numbers", parallelism=1)
    timed = numbers.assign_timestamps(float, out_of_orderness=2).map(slowly, name="ask", ordered=False)
    sums = timed.key_by(lambda number: number % 2).window(Tumbling(10)).count(name="counts")
    sums.map(lambda row: row.value).sink(EventLog(int, "out"), name="out")
    return pipeline


def windows() -> list[int]:
    """Give what `in_windows` gives."""
    return [5] * 20


def nothing(_: object) -> int:
    return 0


@pytest.mark.parametrize("alignment_timeout", [None, 0.0], ids=["aligned", "overtaking"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_crash_with_calls_in_flight_changes_no_result(kind: str, alignment_timeout: float | None) -> None:
    settings = Settings(alignment_timeout=alignment_timeout)
    report = simulate(
        asking(kind),
        seeds=seeds(4, "async functions", 14),
        reference=lambda: counts(kind),
        in_order_by=lambda row: row[0],
        settings=settings,
    )
    report.check()
    assert report.crashes


def test_in_order_means_in_order_also_over_crashes() -> None:
    report = simulate(
        one_after_the_other,
        seeds=seeds(4, "async functions", 14),
        reference=lambda: list(range(1, 81)),
        in_order_by=nothing,
        parallelism=1,
    )
    report.check()
    assert report.crashes


def test_no_record_is_late_behind_a_call() -> None:
    report = simulate(in_windows, seeds=seeds(4, "async functions", 14), reference=windows)
    report.check()
    assert report.crashes
