"""The wall clock is set forwards or backwards by a day while a job runs: what goes by other time does not notice.

    monotonic   0 ─── 1 ─── 2 ─── 3 ─── 4 ─── 5      checkpoints, time-outs, idleness, back-off of restarts
    wall        0 ─── 1 ─── 2 ┐                      timers and windows of the clock, time-to-live, retention
                              └ +1 d ── +1 d ──
    event       as the records say, whatever clocks do

What goes by the wall clock goes by what that says now: it has no memory of another time (guides: timers, state).
"""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from os.path import join
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import anyio
import pytest

from actorstream import (
    Context,
    EventLog,
    KeyedProcess,
    Pipeline,
    Restart,
    Settings,
    Timer,
    Tumbling,
    ValueState,
)
from actorstream.eventlog.folder import LogSettings
from actorstream.model.world import World
from actorstream.system.current import current_world, use_world
from actorstream.testing.disk import temporary_disk
from actorstream.testing.run import run_simulated
from actorstream.testing.world import START_US

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from actorstream import Job
    from actorstream.model.world import Clock
    from actorstream.operators.windows.results import WindowResult

T = TypeVar("T")
DAY_US = 86_400_000_000
DAY = timedelta(days=1)
JUMPS = pytest.mark.parametrize("jump_us", [DAY_US, -DAY_US], ids=["a day on", "a day back"])


NEGATIVE = re.compile(r"-\d[\d.]* (ms|s|min|h|d)\b")


class JumpingClock:
    """Another clock, whose wall time somebody sets."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ahead_us = 0

    def now_us(self) -> int:
        return self._clock.now_us() + self.ahead_us

    def monotonic(self) -> float:
        return self._clock.monotonic()


def by_a_clock_that_jumps(main: Callable[[JumpingClock, str], Coroutine[Any, Any, T]]) -> T:
    """Run a simulated process whose clock `main` may set; it gets a folder, too."""
    with temporary_disk() as disk:

        async def process() -> T:
            world = current_world()
            clock = JumpingClock(world.clock)
            with use_world(World(clock, world.files, world.offload, world.random)):
                return await main(clock, disk.root)

        return run_simulated(process, disk=disk).value()


class Reading(NamedTuple):
    key: str
    at: float
    value: int


async def readings(count: int) -> AsyncIterator[Reading]:
    """Two readings a second for `count` seconds, of two keys; times of their own."""
    for number in range(2 * count):
        await anyio.sleep(0.5)
        yield Reading("ab"[number % 2], 1_000.0 + number, number)


class Seen(NamedTuple):
    """What a job did in 20 s, and how it went."""

    windows: list[WindowResult[str, int]]
    checkpoints: int
    failed: float
    seconds: float
    said: tuple[str, ...]


async def run_windows(clock: JumpingClock, jump_us: int) -> Seen:
    pipeline = Pipeline("windows")
    windows: list[WindowResult[str, int]] = []
    timed = pipeline.source(lambda: readings(20)).assign_timestamps(lambda reading: reading.at, idle_timeout=2)
    counts = timed.key_by(lambda reading: reading.key).window(Tumbling(5)).count(name="counts")
    counts.sink(windows.append)
    said = []
    async with pipeline.run(checkpoint_interval=1, settings=Settings(checkpoint_timeout=5)) as job:
        for second in range(20):
            await anyio.sleep(1)
            if second == 5:
                clock.ahead_us = jump_us
            said.append(job.explain())
        metrics = job.metrics()
        summary = await job.wait()
    assert all(value >= 0 for name, value in metrics.items() if "watermark" not in name), metrics
    failed = metrics["job.failed_checkpoints"]
    return Seen(windows, summary.checkpoints, failed, summary.seconds, tuple(said))


@JUMPS
def test_event_time_and_checkpoints_do_not_notice(jump_us: int) -> None:
    usual = by_a_clock_that_jumps(lambda clock, _: run_windows(clock, 0))
    seen = by_a_clock_that_jumps(lambda clock, _: run_windows(clock, jump_us))
    assert seen.windows == usual.windows
    assert len(seen.windows) == 16
    assert seen.checkpoints == usual.checkpoints >= 19
    assert seen.failed == 0
    assert seen.seconds == usual.seconds
    assert [each for each in seen.said if NEGATIVE.search(each)] == [], "a duration is negative"


class Remind(KeyedProcess[str, float, tuple[str, datetime]]):
    """Says after `value` seconds by the clock that they have passed."""

    def on_element(self, value: float, ctx: Context[str], /) -> None:
        ctx.set_timer(ctx.now + timedelta(seconds=value), domain="processing")

    def on_timer(self, timer: Timer, ctx: Context[str], /) -> list[tuple[str, datetime]]:
        return [(ctx.key, ctx.now)]


async def run_reminder(clock: JumpingClock, seconds: float, work: Callable[[Job], Awaitable[None]]) -> list[datetime]:
    """Set one timer, let nothing else come, and do `work`; give when it fired."""
    pipeline, fired = Pipeline("reminder"), list[tuple[str, datetime]]()

    async def one() -> AsyncIterator[float]:
        yield seconds
        await asyncio.Event().wait()

    pipeline.source(one).key_by(lambda _: "a").process(Remind).sink(fired.append)
    async with pipeline.run(checkpoint_interval=None) as job:
        await anyio.sleep(1)
        await work(job)
    return [at for _, at in fired]


def test_a_timer_of_the_clock_fires_soon_after_the_clock_has_leapt_past_it() -> None:
    """Its actor sleeps for ten hours, and no record wakes it: so it also is when a machine wakes up from its sleep."""

    async def main(clock: JumpingClock, folder: str) -> list[datetime]:
        async def leap(job: Job) -> None:
            clock.ahead_us = DAY_US
            await anyio.sleep(15)

        return await run_reminder(clock, 36_000, leap)

    (at,) = by_a_clock_that_jumps(main)
    assert at < datetime.fromtimestamp(START_US / 1e6, UTC) + DAY + timedelta(seconds=15)


def test_a_timer_of_the_clock_waits_for_its_time_where_that_was_set_back_and_fires_once() -> None:
    """It is a time of the clock, not a duration; the job goes on meanwhile, and ends when it is told to."""

    async def main(clock: JumpingClock, folder: str) -> list[datetime]:
        async def fall_back(job: Job) -> None:
            clock.ahead_us = -DAY_US
            await anyio.sleep(3_600)
            assert "Nothing is wrong" in job.explain() or "timer" in job.explain()
            assert await job.checkpoint() > 0
            clock.ahead_us = 0
            await anyio.sleep(15)
            clock.ahead_us = -DAY_US
            await anyio.sleep(3_600)
            clock.ahead_us = 0
            await anyio.sleep(15)

        return await run_reminder(clock, 60, fall_back)

    assert len(by_a_clock_that_jumps(main)) == 1


class Counting(KeyedProcess[str, str, int]):
    count: ValueState[int] = ValueState(0, ttl=60)

    def on_element(self, value: str, ctx: Context[str], /) -> list[int]:
        self.count += 1
        return [self.count]


def test_state_expires_by_what_the_clock_says_and_does_not_come_back() -> None:
    """A day on: it has expired. A day back: it has not lived longer for that (T129)."""

    async def main(clock: JumpingClock, folder: str) -> list[int]:
        counts: list[int] = []

        async def words() -> AsyncIterator[str]:
            for jump_us in (0, 0, DAY_US, DAY_US, 0, 0):
                await anyio.sleep(1)
                clock.ahead_us = jump_us
                yield "word"

        pipeline = Pipeline("counting")
        pipeline.source(words).key_by(str).process(Counting).sink(counts.append)
        await pipeline.run()
        return counts

    assert by_a_clock_that_jumps(main) == [1, 2, 1, 2, 3, 4]


@JUMPS
def test_a_restart_waits_as_long_as_it_should(jump_us: int) -> None:
    """The clock is set while the job waits for its next try."""

    async def main(clock: JumpingClock, folder: str) -> tuple[float, str]:
        tries: list[float] = []

        def fails(number: int) -> int:
            tries.append(clock.monotonic())
            if len(tries) == 1:
                raise ValueError("once")
            return number

        pipeline = Pipeline("fails")
        pipeline.source([1]).map(fails, name="fails").sink(lambda _: None)
        async with pipeline.run(restart=Restart.fixed_delay(3, delay=5)) as job:
            while job.status != "restarting":  # noqa: ASYNC110  (a turn of the virtual loop)
                await anyio.sleep(0.1)
            clock.ahead_us = jump_us
            said = job.explain()
            await job.wait()
        return tries[1] - tries[0], said

    seconds, said = by_a_clock_that_jumps(main)
    assert 5 <= seconds < 6
    assert not NEGATIVE.search(said), said
    assert re.search(r"The next attempt starts at .*, in \d(\.\d)? s\.", said), said


@JUMPS
def test_retention_keeps_what_a_job_needs_whatever_the_clock_says(jump_us: int) -> None:
    """A day on, all sealed segments are old: those that the job has not read stay, the others go."""

    async def main(clock: JumpingClock, folder: str) -> tuple[list[int], int, int]:
        source = EventLog(bytes, join(folder, "in"), retention=3_600, settings=LogSettings(segment_bytes=1 << 20))
        got: list[int] = []
        may_go_on = asyncio.Event()

        async def take(value: bytes) -> None:
            number = int(value[:8])
            if number == 100:
                await may_go_on.wait()
            got.append(number)

        pipeline = Pipeline("slow")
        pipeline.source(source, name="in").sink(take, name="take")
        async with source, pipeline.run(store=join(folder, "store"), checkpoint_interval=1) as job:
            for first in range(0, 200, 25):
                await source.extend(b"%08d" % number + bytes(32_000) for number in range(first, first + 25))
            await anyio.sleep(5)
            before = (await source.summary()).segments
            clock.ahead_us = jump_us
            await anyio.sleep(5)
            await source.append(b"%08d" % 200)
            may_go_on.set()
            while len(got) < 201:  # noqa: ASYNC110  (turns of the virtual loop)
                await anyio.sleep(0.1)
            await job.checkpoint()
            await source.append(b"%08d" % 201)
            return got, before, (await source.summary()).segments

    got, before, after = by_a_clock_that_jumps(main)
    assert got[:201] == list(range(201))
    assert before > 3
    assert after < 3 if jump_us > 0 else after >= before
