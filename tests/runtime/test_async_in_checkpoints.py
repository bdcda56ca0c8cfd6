"""What a checkpoint holds of calls in flight, and what a restore makes of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import (
    EventLog,
    KeyedProcess,
    Pipeline,
    PlanError,
    RestoreError,
    Settings,
    idempotency_key,
)
from tests.runtime.awaiting import NUMBERS, dying, let_run, until, written

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream import Context, Timer


class Service:
    """What calls ask: holds back answers until told, counts who asked, in a process that goes on."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, str]] = []
        self.open = asyncio.Event()

    async def ask(self, number: int) -> int:
        self.asked.append((number, idempotency_key()))
        if number % 5 == 0:
            await self.open.wait()
        return number * 10


def asking(service: Service, folder: Path, **options: Any) -> Pipeline:
    pipeline = Pipeline("p")
    numbers = pipeline.source(EventLog(int, folder / "in"), name="in")
    numbers.map(service.ask, name="ask", **options).sink(EventLog(int, folder / "out"), name="out")
    return pipeline


async def crash(pipeline: Pipeline, folder: Path, service: Service, asked: int, parallelism: int = 1) -> None:
    """Run until so many were asked and are in a checkpoint, then leave without another one."""
    async with dying(pipeline, store=folder / "store", parallelism=parallelism, checkpoint_interval=None) as job:
        await until(lambda: len(service.asked) >= asked)
        await let_run()
        await job.checkpoint()


@pytest.mark.parametrize(("first", "then"), [(1, 1), (1, 3), (3, 2)])
async def test_a_checkpoint_holds_calls_in_flight_with_their_keys_and_results(
    tmp_path: Path, first: int, then: int
) -> None:
    """T64, T66: those that had an answer are not asked again; the others are, with the key that they had."""
    async with EventLog(int, tmp_path / "in") as log:
        await log.extend(NUMBERS[:60])
    before, after = Service(), Service()
    await crash(asking(before, tmp_path, concurrency=100), tmp_path, before, 60, first)
    after.open.set()
    async with asking(after, tmp_path, concurrency=100).run(store=tmp_path / "store", parallelism=then):
        assert sorted(await written(tmp_path, 60)) == [number * 10 for number in NUMBERS[:60]]
    assert sorted(after.asked) == sorted(each for each in before.asked if each[0] % 5 == 0)


async def test_a_checkpoint_does_not_wait_for_a_thousand_calls_in_flight(tmp_path: Path) -> None:
    async with EventLog(int, tmp_path / "in") as log:
        await log.extend(range(5, 5005, 5))
    service = Service()
    async with dying(asking(service, tmp_path, concurrency=1_000), store=tmp_path / "store") as job:
        await until(lambda: len(service.asked) == 1_000)
        await job.checkpoint()
        assert not service.open.is_set()


async def test_a_barrier_does_not_wait_for_a_slot(tmp_path: Path) -> None:
    """What is before it in the lane is taken along, not begun; it comes again to slots that are all taken (T65)."""
    async with EventLog(int, tmp_path / "in") as log:
        await log.extend(range(0, 1000, 5))
    before, after = Service(), Service()
    await crash(asking(before, tmp_path, concurrency=3), tmp_path, before, 3)
    assert len(before.asked) == 3
    after.open.set()
    async with asking(after, tmp_path, concurrency=3).run(store=tmp_path / "store"):
        assert await written(tmp_path, 200) == list(range(0, 10_000, 50))


class Sealed:
    """Has no encoding."""


async def test_results_without_encoding_are_asked_for_again(tmp_path: Path) -> None:
    async with EventLog(int, tmp_path / "in") as log:
        await log.extend(range(20))
    asked: list[int] = []
    hold = asyncio.Event()

    def build() -> Pipeline:
        async def seal(number: int) -> object:
            asked.append(number)
            if number == 0:
                await hold.wait()
            return Sealed()

        pipeline = Pipeline("p")
        sealed = pipeline.source(EventLog(int, tmp_path / "in"), name="in").map(seal, name="seal", concurrency=30)
        sealed.map(lambda each: 1).sink(EventLog(int, tmp_path / "out"), name="out")
        return pipeline

    async with dying(build(), store=tmp_path / "store", checkpoint_interval=None) as job:
        await until(lambda: len(asked) == 20)
        await job.checkpoint()
    hold.set()
    async with build().run(store=tmp_path / "store"):
        assert await written(tmp_path, 20) == [1] * 20
    assert sorted(asked) == sorted([*range(20), *range(20)])


async def make_socket(number: int) -> Sealed:
    return Sealed()


async def on_sealed(sealed: Sealed) -> int:
    return 1


async def test_what_is_awaited_must_have_an_encoding() -> None:
    pipeline = Pipeline("p")
    pipeline.source(NUMBERS).map(make_socket, name="open").map(on_sealed, name="use").sink(lambda given: None)
    with pytest.raises(PlanError, match=r"what 'use' awaits becomes part of checkpoints, but 'open' gives Sealed"):
        await pipeline.run()


async def later(number: int) -> int:
    return number


async def test_with_a_store_it_needs_a_name(tmp_path: Path) -> None:
    pipeline = Pipeline("p")
    pipeline.source(NUMBERS).map(later).sink(lambda given: None)
    with pytest.raises(PlanError, match="has calls in flight in checkpoints but has no name of its own"):
        await pipeline.run(store=tmp_path)


async def test_what_was_awaited_may_be_plain_in_the_next_version(tmp_path: Path) -> None:
    async with EventLog(int, tmp_path / "in") as log:
        await log.extend(NUMBERS[:20])
    before = Service()
    await crash(asking(before, tmp_path, concurrency=30), tmp_path, before, 20)
    pipeline = Pipeline("p")
    numbers = pipeline.source(EventLog(int, tmp_path / "in"), name="in")
    numbers.map(lambda number: number * 10, name="ask").sink(EventLog(int, tmp_path / "out"), name="out")
    async with pipeline.run(store=tmp_path / "store"):
        assert await written(tmp_path, 20) == [number * 10 for number in NUMBERS[:20]]


async def test_a_savepoint_holds_calls_in_flight_too(tmp_path: Path) -> None:
    """It goes on elsewhere; a version without the operator is refused, and told what to do."""
    async with EventLog(int, tmp_path / "in") as log:
        await log.extend(NUMBERS[:40])
    before, after = Service(), Service()
    async with dying(asking(before, tmp_path, concurrency=50), store=tmp_path / "store") as job:
        await until(lambda: len(before.asked) == 40)
        savepoint = await job.savepoint("v1")
    without = Pipeline("p")
    without.source(EventLog(int, tmp_path / "in"), name="in").sink(EventLog(int, tmp_path / "out"), name="out")
    with pytest.raises(RestoreError, match=r"records that were awaited by, .*'ask', which the pipeline does not have"):
        await without.run(store=tmp_path / "other", restore=savepoint)
    after.open.set()
    async with asking(after, tmp_path, concurrency=50).run(store=tmp_path / "then", restore=savepoint):
        assert sorted(await written(tmp_path, 40)) == [number * 10 for number in NUMBERS[:40]]
    assert sorted(after.asked) == sorted(each for each in before.asked if each[0] % 5 == 0)


class Waits(KeyedProcess[int, int, int]):
    """Sets a timer of the clock that is far away."""

    async def on_element(self, value: int, ctx: Context[int]) -> None:
        await asyncio.sleep(0)
        ctx.set_timer(ctx.now.timestamp() + 1_000, domain="processing")

    def on_timer(self, timer: Timer, ctx: Context[int]) -> None: ...


class WaitsPlainly(Waits):
    def on_element(self, value: int, ctx: Context[int]) -> None:  # type: ignore[override]
        ctx.set_timer(ctx.now.timestamp() + 1_000, domain="processing")


async def never(number: int) -> int:
    await asyncio.Event().wait()
    return number


@pytest.mark.parametrize("how", ["call", "async handlers", "plain handlers"])
async def test_checkpoints_and_a_stop_need_nobody_whose_inputs_have_ended_to_come_to_an_end(how: str) -> None:
    """No barrier comes from sources that have ended: whoever goes on working is triggered itself."""
    pipeline = Pipeline("p")
    numbers = pipeline.source([1, 2, 3], name="in")
    if how == "call":
        numbers.map(never, name="never").sink(print)
    else:
        numbers.key_by(abs).process(Waits if how == "async handlers" else WaitsPlainly, new_chain=True).sink(print)
    async with pipeline.run(settings=Settings(timers_at_end="wait"), checkpoint_interval=None) as job:
        for _ in range(2):
            await let_run()
            await asyncio.wait_for(job.checkpoint(), 5)
        await asyncio.wait_for(job.stop(), 5)


async def test_the_end_of_an_input_does_not_wait_for_a_slot() -> None:
    """All that is left stands before it in the lane: until it was taken, a checkpoint had nobody to trigger."""
    pipeline = Pipeline("p")
    pipeline.source(range(20), name="in").map(never, concurrency=3, name="never").sink(print)
    async with pipeline.run(checkpoint_interval=None) as job:
        for _ in range(2):
            await let_run()
            await asyncio.wait_for(job.checkpoint(), 5)
        await asyncio.wait_for(job.stop(), 5)
