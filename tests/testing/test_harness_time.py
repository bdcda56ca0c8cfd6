"""Time under the harness stands still until the test moves it, and then nothing that is due is skipped."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from actorstream import Context, KeyedProcess, Pipeline, PlanError, Settings
from actorstream.testing.harness import harness
from actorstream.testing.manual_clock import ManualClock
from tests.testing.words import Words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream import Timer


START = datetime(2026, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


async def test_the_clock_stands_still_until_it_is_moved() -> None:
    """`ctx.now` starts at a fixed instant, so that results can be written down."""
    pipeline = Pipeline("p")
    source: list[int] = []
    times = pipeline.source(source).key_by(lambda n: n).process(Now)
    async with harness(pipeline) as h:
        await h.send(source, 1)
        await h.send(source, 2)
        await h.advance(clock=timedelta(days=2, microseconds=1))
        await h.send(source, 3)

        assert h.outputs(times) == [
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2026, 1, 3, 0, 0, 0, 1, tzinfo=UTC),
        ]


class Now(KeyedProcess[int, int, datetime]):
    def on_element(self, element: int, ctx: Context[int]) -> Iterator[datetime]:
        yield ctx.now


async def test_a_day_takes_no_time() -> None:
    words = Words()
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with harness(words.pipeline) as h:
        for _ in range(24):
            await h.advance(clock=3600)

    assert loop.time() - began < 2


async def test_time_that_goes_back_is_refused() -> None:
    words = Words()
    async with harness(words.pipeline) as h:
        await h.advance(watermark=NOON)
        await h.advance(watermark=NOON)
        with pytest.raises(PlanError, match="watermark cannot go back from 2026-01-01 12:00"):
            await h.advance(watermark=NOON - timedelta(seconds=1))
        with pytest.raises(PlanError, match=r"advance: clock is -1, expected 0 seconds"):
            await h.advance(clock=-1)
        with pytest.raises(PlanError, match="no time zone"):
            await h.advance(watermark=datetime(2026, 1, 1))  # noqa: DTZ001
        with pytest.raises(PlanError, match="say how far"):
            await h.advance()


async def test_watermarks_are_part_of_what_comes_again() -> None:
    """A split's log holds them among its records: positions behind them are not read twice."""
    words = Words()
    async with harness(words.pipeline) as h:
        await h.send(words.source, "a")
        await h.advance(watermark=NOON)
        await h.send(words.source, "b")
        await h.checkpoint()
        await h.advance(watermark=NOON + timedelta(hours=1))
        await h.send(words.source, "a")
        await h.crash_and_recover()

        assert h.outputs(words.counts) == [("a", 1), ("b", 1), ("a", 2)]


class Alarm(KeyedProcess[str, float, tuple[str, float]]):
    """Sets a timer by the clock for so many seconds from now; says when it fired, and by which clock."""

    def on_element(self, element: float, ctx: Context[str]) -> None:
        ctx.set_timer(ctx.now + timedelta(seconds=element), f"{element}", domain="processing")

    def on_timer(self, timer: Timer, ctx: Context[str]) -> Iterator[tuple[str, float]]:
        yield timer.name, round((ctx.now - START).total_seconds(), 3)


class Alarms:
    def __init__(self) -> None:
        self.pipeline = Pipeline("alarms")
        self.source: list[float] = []
        self.fired = self.pipeline.source(self.source).key_by(str).process(Alarm)


async def test_the_clock_stops_wherever_something_is_due() -> None:
    """T28: each timer fires right after its instant, however far the clock goes in one step."""
    alarms = Alarms()
    async with harness(alarms.pipeline) as h:
        await h.send(alarms.source, 30.0, 10.0, 20.0)
        await h.advance(clock=5)
        assert h.outputs(alarms.fired) == []
        await h.advance(clock=3600)

        assert h.outputs(alarms.fired) == [("10.0", 10), ("20.0", 20), ("30.0", 30)]


async def test_what_is_due_at_the_instant_itself_is_not_past_yet() -> None:
    """T28: by the clock a time is over once the clock shows a later one."""
    alarms = Alarms()
    async with harness(alarms.pipeline) as h:
        await h.send(alarms.source, 10.0)
        await h.advance(clock=10)
        assert h.outputs(alarms.fired) == []
        await h.advance(clock=timedelta(microseconds=1))
        assert h.outputs(alarms.fired) == [("10.0", 10)]


class Ticks(KeyedProcess[str, int, float]):
    """Sets the next timer whenever one fires."""

    def on_element(self, element: int, ctx: Context[str]) -> None:
        ctx.set_timer(ctx.now + timedelta(seconds=60), domain="processing")

    def on_timer(self, timer: Timer, ctx: Context[str]) -> Iterator[float]:
        ctx.set_timer(timer.at + timedelta(seconds=60), domain="processing")
        yield (timer.at - START).total_seconds()


async def test_a_timer_set_by_a_timer_is_not_skipped() -> None:
    pipeline = Pipeline("p")
    source: list[int] = []
    ticks = pipeline.source(source).key_by(str).process(Ticks)
    async with harness(pipeline) as h:
        await h.send(source, 1)
        await h.advance(clock=301)

        assert h.outputs(ticks) == [60, 120, 180, 240, 300]


async def test_a_timer_by_the_clock_survives_a_crash() -> None:
    """The clock does not go back; a timer in a checkpoint still fires at its time."""
    alarms = Alarms()
    async with harness(alarms.pipeline) as h:
        await h.send(alarms.source, 10.0)
        await h.checkpoint()
        await h.crash_and_recover()
        await h.advance(clock=11)

        assert h.outputs(alarms.fired) == [("10.0", 10)]


@pytest.mark.parametrize(("timers_at_end", "fired"), [("wait", [("10.0", 10)]), ("fire", [("10.0", 0)]), ("drop", [])])
async def test_at_the_end_timers_of_the_clock_are_as_the_settings_say(
    timers_at_end: str, fired: list[tuple[str, float]]
) -> None:
    """T35: where they are waited for, the clock moves; nobody waits ten seconds."""
    alarms = Alarms()
    settings = Settings(timers_at_end=timers_at_end)  # type: ignore[arg-type]  # each of the three
    async with harness(alarms.pipeline, settings=settings) as h:
        await h.send(alarms.source, 10.0)
        await h.end_input()

        assert h.outputs(alarms.fired) == fired


class Reminder(KeyedProcess[str, float, float]):
    """Sets a timer of event time at each element."""

    def on_element(self, element: float, ctx: Context[str]) -> None:
        ctx.set_timer(at(element), f"{element}")

    def on_timer(self, timer: Timer, ctx: Context[str]) -> Iterator[float]:
        yield (timer.at - START).total_seconds()


@pytest.mark.parametrize("assigned", [False, True])
@pytest.mark.parametrize("parallelism", [1, 3])
async def test_a_watermark_fires_what_is_due_in_event_time(assigned: bool, parallelism: int) -> None:
    """Also behind assign_timestamps, which makes watermarks of its own: the test's word counts as a record's."""
    pipeline = Pipeline("p")
    source: list[float] = []
    stream = pipeline.source(source)
    if assigned:
        stream = stream.assign_timestamps(at, out_of_orderness=3600)
    fired = stream.key_by(str).process(Reminder)
    async with harness(pipeline, parallelism=parallelism) as h:
        await h.send(source, 30.0, 10.0, 20.0)
        assert h.outputs(fired) == []
        await h.advance(watermark=at(20))
        assert sorted(h.outputs(fired)) == [10, 20]
        await h.crash_and_recover()
        assert h.outputs(fired) == []
        await h.end_input()
        assert h.outputs(fired) == [30]


async def test_a_watermark_that_would_have_no_effect_is_refused() -> None:
    """Times assigned behind a union follow the records alone: nothing would happen, and a test would show nothing."""
    pipeline = Pipeline("p")
    source: list[float] = []
    both = pipeline.source(source).union(pipeline.source([]))
    fired = both.assign_timestamps(at, name="late_times").key_by(str).process(Reminder)
    async with harness(pipeline) as h:
        with pytest.raises(PlanError, match="does not get past late_times"):
            await h.advance(watermark=at(20))
        await h.send(source, 10.0, 20.0)
        await h.end_input()
        assert h.outputs(fired) == [10, 20]


async def test_records_bring_watermarks_of_their_own_where_times_are_assigned() -> None:
    pipeline = Pipeline("p")
    source: list[float] = []
    fired = pipeline.source(source).assign_timestamps(at, out_of_orderness=5).key_by(str).process(Reminder)
    async with harness(pipeline) as h:
        await h.send(source, 10.0, 15.0)
        assert h.outputs(fired) == []
        await h.send(source, 15.000002)
        assert h.outputs(fired) == [10]


async def test_a_split_that_nothing_was_sent_to_holds_nobody_back() -> None:
    """As an empty partition of a log; from its first record on it counts."""
    pipeline = Pipeline("p")
    source: list[float] = []
    fired = pipeline.source(source).assign_timestamps(at).key_by(str).process(Reminder)
    async with harness(pipeline, splits=2) as h:
        await h.send(source, 10.0, 20.0)
        assert h.outputs(fired) == [10]
        await h.send(source, 21.0, split=1)
        assert h.outputs(fired) == []
        await h.send(source, 30.0)
        assert h.outputs(fired) == [20]
        await h.advance(watermark=at(25))
        assert h.outputs(fired) == [21]


async def test_a_split_becomes_idle_by_the_clock() -> None:
    """T44: it held event time up, and does so no more once it gave nothing for its idle timeout."""
    pipeline = Pipeline("p")
    source: list[float] = []
    timed = pipeline.source(source).assign_timestamps(at, idle_timeout=30)
    fired = timed.key_by(str).process(Reminder)
    async with harness(pipeline, splits=2) as h:
        await h.send(source, 10.0)
        await h.send(source, 10.0, split=1)
        await h.advance(clock=20)
        await h.send(source, 50.0)
        assert h.outputs(fired) == []
        await h.advance(clock=9)
        assert h.outputs(fired) == []
        await h.advance(clock=2)
        assert h.outputs(fired) == [10]


def test_the_clock_does_not_go_back() -> None:
    clock = ManualClock()
    clock.move_to(clock.now_us() + 5)
    with pytest.raises(PlanError, match=r"cannot go back by 2e-06 s"):
        clock.move_to(clock.now_us() - 2)


def test_both_clocks_move_together() -> None:
    """A reading costs ten microseconds of the monotonic one, so that whoever works in bursts gives way."""
    clock = ManualClock(0)
    before = clock.monotonic()
    clock.move_to(7_000_000)

    assert clock.now_us() == 7_000_000
    assert clock.monotonic() - before == pytest.approx(7, abs=1e-4)
    assert clock.monotonic() < clock.monotonic()
