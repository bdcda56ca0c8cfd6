"""What a checkpoint holds of a process with async handlers: its records in flight, and the state without them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import pytest

from actorstream import EventLog, KeyedProcess, MapState, Pipeline, ValueState, idempotency_key
from actorstream.evolve import replay
from tests.runtime.awaiting import dying, let_run, until, written
from tests.simulation.key_handlers import AsyncBook, Book, Row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actorstream import Context, Timer


class Service:
    """Holds back every fifth answer until told, in a process that goes on."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, str]] = []
        self.open = asyncio.Event()

    async def ask(self, number: int) -> int:
        self.asked.append((number, idempotency_key()))
        if number % 5 == 0:
            await self.open.wait()
        return number


class Sums(KeyedProcess[int, int, int]):
    """Adds up what a service says."""

    total: ValueState[int] = ValueState(0)
    counts: MapState[int, int] = MapState()

    def __init__(self, service: Service) -> None:
        self.service = service

    async def on_element(self, value: int, ctx: Context[int]) -> list[int]:
        self.counts[value % 2] = self.counts.get(value % 2, 0) + 1
        self.total += await self.service.ask(value)
        return [self.total * 1000 + sum(self.counts.values())]


class PlainSums(Sums):
    """The same in the next version, without a service."""

    def on_element(self, value: int, ctx: Context[int]) -> list[int]:  # type: ignore[override]
        self.counts[value % 2] = self.counts.get(value % 2, 0) + 1
        self.total += value
        return [self.total * 1000 + sum(self.counts.values())]


def summing(folder: Path, make: Callable[[], Sums], **options: Any) -> Pipeline:
    pipeline = Pipeline("p")
    numbers = pipeline.source(EventLog(int, folder / "in"), name="in")
    sums = numbers.key_by(lambda number: number % 7).process(make, name="sums", **options)
    sums.sink(EventLog(int, folder / "out"), name="out")
    return pipeline


def right(count: int) -> list[int]:
    totals: dict[int, tuple[int, int]] = {}
    rows = []
    for number in range(count):
        total, seen = totals.get(number % 7, (0, 0))
        totals[number % 7] = total + number, seen + 1
        rows.append((total + number) * 1000 + seen + 1)
    return rows


async def crash(pipeline: Pipeline, folder: Path, service: Service, parallelism: int = 1) -> None:
    """Run until handlers wait, take a checkpoint with them in flight, and leave."""
    async with dying(pipeline, store=folder / "store", parallelism=parallelism, checkpoint_interval=None) as job:
        await until(lambda: len(service.asked) >= 7)
        await let_run()
        await job.checkpoint()
        assert not service.open.is_set()


async def fill(folder: Path, count: int) -> None:
    async with EventLog(int, folder / "in") as log:
        await log.extend(range(count))


@pytest.mark.parametrize(("first", "then"), [(1, 1), (1, 3), (3, 2)])
async def test_records_in_flight_are_handled_again_with_the_keys_that_they_had(
    tmp_path: Path, first: int, then: int
) -> None:
    await fill(tmp_path, 60)
    before, after = Service(), Service()
    await crash(summing(tmp_path, lambda: Sums(before), concurrency=100), tmp_path, before, first)
    after.open.set()
    async with summing(tmp_path, lambda: Sums(after), concurrency=100).run(store=tmp_path / "store", parallelism=then):
        assert sorted(await written(tmp_path, 60)) == sorted(right(60))
    again = dict(after.asked)
    assert all(again.get(number, key) == key for number, key in before.asked)


@pytest.mark.parametrize("plain_first", [False, True])
async def test_the_next_version_may_have_plain_handlers_or_async_ones(tmp_path: Path, *, plain_first: bool) -> None:
    await fill(tmp_path, 60)
    service = Service()
    if plain_first:
        async with summing(tmp_path, lambda: PlainSums(service)).run(store=tmp_path / "store"):
            await written(tmp_path, 60)
        async with EventLog(int, tmp_path / "in") as log:
            await log.extend(range(60, 90))
        service.open.set()
        following = summing(tmp_path, lambda: Sums(service), concurrency=9)
    else:
        await crash(summing(tmp_path, lambda: Sums(service), concurrency=100), tmp_path, service)
        async with EventLog(int, tmp_path / "in") as log:
            await log.extend(range(60, 90))
        following = summing(tmp_path, lambda: PlainSums(service))
    async with following.run(store=tmp_path / "store"):
        assert sorted(await written(tmp_path, 90)) == sorted(right(90))


async def test_a_savepoint_does_not_wait_for_handlers_and_goes_on_elsewhere(tmp_path: Path) -> None:
    await fill(tmp_path, 40)
    before, after = Service(), Service()
    pipeline = summing(tmp_path, lambda: Sums(before), concurrency=50)
    async with dying(pipeline, store=tmp_path / "store") as job:
        await until(lambda: len(before.asked) >= 7)
        savepoint = await job.savepoint("v1")
        assert await job.get(Sums.total, 0, operator="sums") == 0
    after.open.set()
    pipeline = summing(tmp_path, lambda: Sums(after), concurrency=50)
    async with pipeline.run(store=tmp_path / "then", restore=savepoint, parallelism=2):
        assert sorted(await written(tmp_path, 40)) == sorted(right(40))


class Late(KeyedProcess[int, int, int]):
    """A timer whose handler waits."""

    bell = asyncio.Event()
    fired: ClassVar[list[str]] = []

    async def on_element(self, value: int, ctx: Context[int]) -> None:
        ctx.set_timer(40 + value / 100)

    async def on_timer(self, timer: Timer, ctx: Context[int]) -> list[int]:
        self.fired.append(idempotency_key())
        await self.bell.wait()
        return [ctx.key]


def firing(folder: Path) -> Pipeline:
    pipeline = Pipeline("p")
    numbers = pipeline.source(EventLog(int, folder / "in"), name="in").assign_timestamps(float)
    numbers.key_by(lambda number: number).process(Late, name="late").sink(EventLog(int, folder / "out"), name="out")
    return pipeline


async def test_a_timer_whose_handler_runs_is_still_to_come_for_a_checkpoint(tmp_path: Path) -> None:
    """Event time stands before it; after the crash it fires again, once."""
    Late.bell, Late.fired = asyncio.Event(), []
    async with EventLog(int, tmp_path / "in") as log:
        await log.extend([*range(28), 60])
    async with dying(firing(tmp_path), store=tmp_path / "store", checkpoint_interval=None) as job:
        await until(lambda: len(Late.fired) == 16)
        await job.checkpoint()
        await let_run()
        await job.checkpoint()
    first = list(Late.fired)
    Late.bell.set()
    async with firing(tmp_path).run(store=tmp_path / "store"):
        assert await written(tmp_path, 29) == [*range(28), 60]
    assert set(first) <= set(Late.fired[16:])
    assert len(set(Late.fired)) == len(Late.fired) - 16


async def test_a_replay_gives_what_one_of_the_plain_process_gives(tmp_path: Path) -> None:
    async with EventLog(int, tmp_path / "in") as log:
        await log.extend([number * 37 % 101 for number in range(200)])
    given: list[list[Row]] = []
    for process in (Book, AsyncBook):
        pipeline = Pipeline("p")
        timed = pipeline.source(EventLog(int, tmp_path / "in")).assign_timestamps(float, out_of_orderness=20)
        books = timed.key_by(lambda number: number % 6).process(process, name="books")
        books.sink(EventLog(Row, tmp_path / "rows"))
        into = tmp_path / process.__name__
        with anyio.fail_after(30):
            await replay(pipeline, start="earliest", until="now", into=into)
        async with EventLog(Row, into / "rows") as rows:
            given.append([record.value async for record in rows.records(stop="now")])
    assert len(given[0]) > 400
    assert given[0] == given[1]
