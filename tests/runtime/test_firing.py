"""A storm of timers that are due at once: barriers and the host's loop get through in the middle of it (T24)."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from typing import TYPE_CHECKING

import pytest

from actorstream import Context, Domain, KeyedProcess, Pipeline, Restart, Timer, replayable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from actorstream import Job

STORM = int(os.environ.get("STORM_TIMERS", "50000"))
"""How many timers; 1,000,000 where there is time."""

PER_KEY = 100
DUE_AFTER = 3.0
"""Seconds from the start: by then all timers are set."""
HOLD_SECONDS_MAX = 0.05
"""How long the loop may be held: 10 ms on a quiet machine; more where tests run beside each other."""


class Fired:
    """The timers that fired, in order."""

    def __init__(self) -> None:
        self.timers: list[tuple[int, str]] = []
        self.began = asyncio.Event()

    def take(self, timer: tuple[int, str]) -> None:
        self.timers.append(timer)
        self.began.set()


class Storm(KeyedProcess[int, tuple[int, float], tuple[int, str]]):
    """Sets timers for each key, all of which are due at the same moment."""

    def __init__(self, domain: Domain) -> None:
        self.domain: Domain = domain

    def on_element(self, element: tuple[int, float], ctx: Context[int]) -> None:
        key, at = element
        if key >= 0:
            for number in range(PER_KEY):
                ctx.set_timer(at + DUE_AFTER + number / 1_000, str(number), domain=self.domain)

    def on_timer(self, timer: Timer, ctx: Context[int]) -> Iterator[tuple[int, str]]:
        yield ctx.key, timer.name


class Feed:
    """Gives a record for each key, and one whose time makes all timers due."""

    def __init__(self, start: float, *, ends: bool) -> None:
        self.start = start
        self.ends = ends

    def pipeline(self, domain: Domain, fired: Fired) -> Pipeline:
        @replayable
        async def feed(after: int | None) -> AsyncIterator[tuple[int, tuple[int, float]]]:
            keys = STORM // PER_KEY
            for key in range(0 if after is None else after + 1, keys):
                yield key, (key, self.start)
            if after != keys:
                yield keys, (-1, self.start + 1_000)
            if not self.ends:
                await asyncio.Event().wait()

        pipeline = Pipeline("storm")
        timed = pipeline.source(feed, name="feed").assign_timestamps(lambda element: element[1], name="time")
        keyed = timed.map(lambda element: element, new_chain=True, name="on-the-way").key_by(lambda element: element[0])
        keyed.process(lambda: Storm(domain), name="storm").sink(fired.take, name="out")
        return pipeline


class Collecting:
    """How long the garbage collector has worked: it walks all results that the test has, and is not ours."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def __call__(self, phase: str, _: object) -> None:
        if phase == "start":
            self._began = time.thread_time()
        else:
            self.seconds += time.thread_time() - self._began


async def holds_of(job: Job, fired: list[tuple[int, str]]) -> list[float]:
    """Tick until all has fired; give how long the loop was held between two ticks, in time of the processor."""
    holds: list[float] = []
    collecting = Collecting()
    gc.callbacks.append(collecting)
    before = time.thread_time()
    while len(fired) < STORM and job.status == "running":
        await asyncio.sleep(0)
        now = time.thread_time() - collecting.seconds
        holds.append(now - before)
        before = now
    gc.callbacks.remove(collecting)
    return holds


class _DiedError(Exception):
    pass


async def die_in_the_storm(job: Job, fired: Fired) -> None:
    """Take a checkpoint in the middle, look how the loop is held, and die."""
    ticking = asyncio.ensure_future(holds_of(job, fired.timers))
    await fired.began.wait()
    await job.checkpoint()
    holds = await ticking
    assert max(holds) < HOLD_SECONDS_MAX
    raise _DiedError


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("domain", ["event", "processing"])
async def test_a_checkpoint_completes_in_a_storm_and_what_was_left_fires_after_its_restore(
    tmp_path: Path, domain: Domain
) -> None:
    """T24: the barrier passes in the middle, the loop is not held, and each timer fires once after all.

    T25 as well: timers of the clock are due again though nothing registers after the restore.
    """
    start = time.time()
    first = Fired()
    store = tmp_path / "store"
    try:
        run = Feed(start, ends=False).pipeline(domain, first)
        async with run.run(store=store, checkpoint_interval=None, restart=Restart.never()) as job:
            await die_in_the_storm(job, first)
    except _DiedError:
        pass

    rest = Fired()
    again = Feed(start, ends=True).pipeline(domain, rest)
    async with again.run(store=store, checkpoint_interval=None, restart=Restart.never()) as job:
        await job.wait()
    everything = {(key, str(number)) for key in range(STORM // PER_KEY) for number in range(PER_KEY)}
    assert 0 < len(rest.timers) < STORM, "the barrier was to pass in the middle"
    before_the_barrier = first.timers[: STORM - len(rest.timers)]
    assert sorted([*before_the_barrier, *rest.timers]) == sorted(everything)
