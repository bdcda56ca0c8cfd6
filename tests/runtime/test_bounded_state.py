"""State that is larger than the memory it may take: early freezes, cold keys, and actors that wait for the disk."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import Fetched, Pipeline
from actorstream.state.budget import WAITING_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from actorstream.api.job import Job
    from actorstream.runtime.built import Built

KEYS = 12_000
MEMORY = 1 << 20


class Feed:
    """A source that gives what it is told to, and ends when told so."""

    def __init__(self) -> None:
        self._batches: asyncio.Queue[list[int] | None] = asyncio.Queue()

    async def read(self) -> AsyncIterator[int]:
        while (batch := await self._batches.get()) is not None:
            for value in batch:
                yield value

    def give(self, values: list[int]) -> None:
        self._batches.put_nowait(values)

    def end(self) -> None:
        self._batches.put_nowait(None)


class Numbers:
    """A replayable source that gives 0 to stop - 1, and then waits."""

    read_before = 0

    def __init__(self, stop: int) -> None:
        self._stop = stop

    async def splits(self) -> list[str]:
        return ["0"]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, int]]:
        start = 0 if after is None else after + 1
        for at in range(start, self._stop, 500):
            stop = min(at + 500, self._stop)
            yield Fetched(range(at, stop), stop - 1)
        await asyncio.Event().wait()


def built_of(job: Job) -> Built:
    attempt = job._supervisor.attempt
    assert attempt is not None
    return attempt.built


def text(before: str, value: int) -> str:
    return f"{value:07d}" * 12 + before[-1:]


class Seen(list[Any]):
    """A sink that can be waited for."""

    def __init__(self) -> None:
        self._more = asyncio.Event()

    def take(self, value: object) -> None:
        self.append(value)
        self._more.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(25):
            while len(self) < count:
                self._more.clear()
                await self._more.wait()


@pytest.mark.parametrize("parallelism", [1, 2])
async def test_state_larger_than_its_memory_is_exact(parallelism: int) -> None:
    """Without a checkpoint: what is changed goes to disk early, and comes back when it is asked for."""
    chance = random.Random(parallelism)
    values = [chance.randrange(KEYS) for _ in range(4 * KEYS)]
    feed, seen = Feed(), Seen()
    pipeline = Pipeline("bounded")
    texts = pipeline.source(feed.read).key_by(lambda n: n).fold("", text, name="texts")
    texts.sink(seen.take)

    async with pipeline.run(checkpoint_interval=None, parallelism=parallelism, state_memory=MEMORY) as job:
        feed.give(values)
        await seen.until(len(values))
        built = built_of(job)
        read = built.deployment.budget.statistics()
        assert read.evicted > KEYS
        assert read.live_bytes + read.clean_bytes < 2 * MEMORY
        assert all(subtask.state.stack.layers for subtask in built.subtasks.values() if subtask.state is not None)
        expected: dict[int, str] = {}
        for value in values:
            expected[value] = text(expected.get(value, ""), value)
        assert dict(seen) == expected
        for key in chance.sample(sorted(expected), 300):
            assert await job.get(texts, key) == expected[key]
        feed.end()
        await job.wait()


async def test_restored_state_larger_than_its_memory_goes_on_exactly(tmp_path: Path) -> None:
    """Every key is cold at first: they are fetched ahead, by a thread."""

    async def run(stop: int) -> Seen:
        sums = Seen()
        pipeline = Pipeline("restored")
        keyed = pipeline.source(Numbers(stop), name="numbers").key_by(lambda n: n % KEYS)
        keyed.fold(0, lambda total, n: total + n, name="sums").sink(sums.take)
        async with pipeline.run(store=tmp_path, checkpoint_interval=None, state_memory=MEMORY) as job:
            await sums.until(stop - Numbers.read_before)
            Numbers.read_before = stop
            subtask = next(iter(built_of(job).subtasks.values()))
            assert subtask.state is not None
            assert subtask.state.rows.loads < 2_000
        return sums

    Numbers.read_before = 0
    await run(KEYS)
    again = await run(2 * KEYS)

    assert dict(again) == {n: n + n + KEYS for n in range(KEYS)}


async def test_actors_behind_a_closed_gate_take_checkpoints_and_no_records() -> None:
    feed, seen = Feed(), Seen()
    pipeline = Pipeline("gated")
    pipeline.source(feed.read).key_by(lambda n: n).count().sink(seen.take)

    async with pipeline.run(checkpoint_interval=None) as job:
        feed.give([1, 2])
        await seen.until(2)
        gate = built_of(job).deployment.gate
        gate.hold(True)
        feed.give([3])
        assert await job.checkpoint() > 0
        assert len(seen) == 2
        gate.hold(False)
        await seen.until(3)
        feed.end()
        await job.wait()


async def test_actor_waits_while_two_generations_are_on_their_way() -> None:
    """The disk has to catch up: what is changed must not pile up in memory."""
    feed, seen = Feed(), Seen()
    pipeline = Pipeline("waiting")
    pipeline.source(feed.read).key_by(lambda n: n).count().sink(seen.take)

    async with pipeline.run(checkpoint_interval=None) as job:
        feed.give([1])
        await seen.until(1)
        (subtask,) = built_of(job).subtasks.values()
        assert subtask.state is not None
        frozen = []
        for n in range(WAITING_MAX):
            subtask.state.rows.live[n] = 7
            frozen.append(subtask.state.freeze())
        assert subtask.held
        feed.give([2])
        await asyncio.sleep(0)
        for generation in frozen:
            assert generation is not None
            subtask.snapshots.submit_early(generation)
        await seen.until(2)
        assert not subtask.held
        feed.end()
        await job.wait()
