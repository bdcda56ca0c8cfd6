"""Records that a function gets many at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from actorstream import (
    EventLog,
    Pipeline,
    collect,
    idempotency_key,
)
from tests.runtime.awaiting import NUMBERS, failure_of, written

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


async def doubled(numbers: Sequence[int]) -> list[int]:
    await asyncio.sleep(0)
    return [number * 2 for number in numbers]


async def test_batches_are_as_large_as_was_said_and_what_is_left_comes_at_the_end() -> None:
    sizes: list[int] = []

    def double(numbers: Sequence[int]) -> list[int]:
        sizes.append(len(numbers))
        return [number * 2 for number in numbers]

    given = await collect(Pipeline("p").source(NUMBERS).map_batches(double, max_size=64, max_delay=60))
    assert given == [number * 2 for number in NUMBERS]
    assert sizes == [64, 64, 64, 64, 44]
    assert await collect(Pipeline("p").source(NUMBERS).map_batches(doubled, max_size=7, concurrency=3)) == given


async def test_the_first_record_of_a_batch_waits_so_long(tmp_path: Path) -> None:
    log = EventLog(int, tmp_path / "in")
    pipeline = Pipeline("p")
    pipeline.source(log, name="in").map_batches(doubled, name="double", max_size=1_000, max_delay=0.02).sink(
        EventLog(int, tmp_path / "out"), name="out"
    )
    async with pipeline.run(checkpoint_interval=0.01):
        await log.append(1)
        assert await written(tmp_path, 1) == [2]
    await log.aclose()


async def test_as_many_results_as_records() -> None:
    def fewer(numbers: Sequence[int]) -> list[int]:
        return list(numbers[1:])

    pipeline = Pipeline("p")
    pipeline.source(NUMBERS).map_batches(fewer, name="fewer", max_size=10).sink(lambda given: None)
    assert "gave 9 results for 10 records, expected one for each" in str(await failure_of(pipeline))


async def test_a_batch_has_no_key() -> None:
    async def call(numbers: Sequence[int]) -> list[str]:
        return [idempotency_key() for _ in numbers]

    pipeline = Pipeline("p")
    pipeline.source(NUMBERS).map_batches(call, name="call").sink(lambda given: None)
    assert "a recovery may put records together anew" in str(await failure_of(pipeline))
