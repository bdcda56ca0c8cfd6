"""A job that goes no faster since it was told not to: `explain` names who holds back, and what he was told."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import Context, KeyedProcess, Pipeline
from tests.runtime.awaiting import let_run, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from actorstream import Stream


class Service:
    """Answers odd numbers at once, others when it is told."""

    def __init__(self, *, all_wait: bool = True) -> None:
        self.asked = 0
        self.open = asyncio.Event()
        self.all_wait = all_wait

    async def ask(self, number: int) -> int:
        self.asked += 1
        if self.all_wait or number == 0:
            await self.open.wait()
        return number

    async def ask_for_many(self, numbers: Any) -> Any:
        self.asked += 1
        await self.open.wait()
        return numbers


class Asks(KeyedProcess[int, int, int]):
    service: Service

    async def on_element(self, number: int, ctx: Context[int]) -> list[int]:
        return [await self.service.ask(number)]


def asking(how: str, service: Service, numbers: Stream[int]) -> Stream[int]:
    if how == "handlers":
        Asks.service = service
        return numbers.key_by(abs).process(Asks, concurrency=3, name="ask")
    if how == "batches":
        return numbers.map_batches(service.ask_for_many, max_size=2, concurrency=3, name="ask")
    return numbers.map(service.ask, concurrency=3, ordered=how == "ordered", name="ask")


@pytest.mark.parametrize("how", ["ordered", "unordered", "batches", "handlers"])
async def test_an_async_function_without_a_free_slot_is_named(how: str) -> None:
    """Many records wait: not for the processor, but for what is asked."""
    service, pipeline = Service(), Pipeline("p")
    asking(how, service, pipeline.source(range(5_000), name="in")).sink(lambda number: None)
    async with pipeline.run(checkpoint_interval=None) as job:
        await until(lambda: service.asked == 3)
        await let_run()
        text = job.explain()
        metrics = {name.rpartition(".")[2]: value for name, value in job.metrics().items() if "calls" in name}
        service.open.set()
        await job.wait()
    assert re.search(
        r"^'ask' has as many calls under way as concurrency=3 lets it, with [\d,]+ records in front of it\. "
        r"What it asks is the slow part: raise concurrency=",
        text,
    )
    assert "Nothing is wrong" not in text
    assert metrics == {"calls_running": 3}


async def test_one_slow_call_before_many_that_have_ended_is_told() -> None:
    """They hold their slots until what comes before them is there."""
    service, pipeline = Service(all_wait=False), Pipeline("p")
    asking("ordered", service, pipeline.source(range(5_000), name="in")).sink(lambda number: None)
    async with pipeline.run(checkpoint_interval=None) as job:
        await until(lambda: service.asked == 3)
        await let_run()
        text = job.explain()
        service.open.set()
        await job.wait()
    assert "Only 1 of them still run: 2 have their result and wait for one before them" in text
    assert "with ordered=False nobody waits" in text


async def test_whoever_is_slow_since_calls_wait_is_the_end_of_the_back_pressure() -> None:
    """More parallelism is no advice for one who waits."""
    service, pipeline = Service(), Pipeline("p")
    numbers = pipeline.source(range(50_000), name="in").map(abs, name="abs", new_chain=True)
    asking("ordered", service, numbers).sink(lambda number: None)
    async with pipeline.run(checkpoint_interval=None) as job:
        await until(lambda: "'in' waits for 'abs', which waits for 'ask'" in job.explain())
        text = job.explain()
        service.open.set()
    assert "The slowest is 'ask': it has no slot left for another call." in text
    assert "Give it more parallelism" not in text


async def test_a_rate_of_calls_is_named() -> None:
    service, pipeline = Service(), Pipeline("p")
    service.open.set()
    pipeline.source(range(100), name="in").map(service.ask, rate=0.5, name="ask").sink(lambda number: None)
    async with pipeline.run(checkpoint_interval=None) as job:
        await until(lambda: service.asked > 0)
        await let_run()
        text = job.explain()
        await job.stop()
    assert re.search(r"^'ask' begins 0.5 calls a second, as its rate= says, with \d+ records in front of it\.", text)


@pytest.mark.parametrize("in_memory", [True, False])
async def test_a_throttle_is_named(in_memory: bool) -> None:
    seen: list[int] = []

    async def read() -> AsyncIterator[int]:
        for number in range(1_000):
            yield number
        await asyncio.Event().wait()

    pipeline = Pipeline("p")
    numbers = pipeline.source(range(1_000), name="in") if in_memory else pipeline.source(read, name="in")
    numbers.throttle(0.5, name="slowly").sink(seen.append)
    async with pipeline.run(checkpoint_interval=None) as job:
        await until(lambda: bool(seen))
        await let_run()
        text = job.explain()
        await job.stop()
    assert re.search(
        r"^'slowly' lets 0.5 records a second pass, as it was told to, with [\w,]+( records)? in front", text
    )
