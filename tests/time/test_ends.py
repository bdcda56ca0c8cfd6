"""What event time is at the ends of a job, and after them: stop, end of input, restart, crash."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import pytest

from actorstream import (
    Context,
    Fetched,
    KeyedProcess,
    OperatorContext,
    Pipeline,
    Restart,
    Session,
    Settings,
    Sliding,
    Source,
    Timer,
    Tumbling,
    WindowResult,
    replayable,
)
from actorstream.testing import harness
from tests.firing import fired_at_once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


async def test_a_stop_is_no_end_of_time() -> None:
    """T49: windows that are open when a job stops are in its state, and must not give half of their results."""
    pipeline = Pipeline("p")
    source: list[int] = []
    timed = pipeline.source(source).assign_timestamps(float)
    windows = timed.key_by(lambda _: "k").window(Tumbling(10)).count()
    async with harness(pipeline) as h:
        await h.send(source, 1, 2, 3)
    assert h.outputs(windows) == []


async def test_what_a_source_says_of_time_survives_a_crash() -> None:
    """T47: a window that has fired does not fire again, and what was late is late."""
    pipeline = Pipeline("p")
    source: list[str] = []
    windows = pipeline.source(source).key_by(lambda each: each).window(Tumbling(10)).count()
    late = windows.late
    async with harness(pipeline) as h:
        await h.send(source, "a", at=5)
        await h.advance(watermark=100)
        assert len(h.outputs(windows)) == 1
        await h.checkpoint()
        await h.crash_and_recover()
        await h.send(source, "a", at=6)
        await h.end_input()
        assert h.outputs(windows) == []
        assert h.outputs(late) == ["a"]


class Both(KeyedProcess[str, float, tuple[str, str]]):
    """Has timers of both times that are not due yet."""

    def on_element(self, at: float, ctx: Context[str]) -> None:
        ctx.set_timer(at + 50)
        for number in range(3):
            ctx.set_timer(ctx.now + timedelta(hours=number + 1), f"{number}", domain="processing")

    def on_timer(self, timer: Timer, ctx: Context[str]) -> Iterator[tuple[str, str]]:
        yield timer.domain, timer.name


AT_THE_END = {
    "fire": [("event", ""), ("processing", "0"), ("processing", "1"), ("processing", "2")],
    "drop": [("event", "")],
    "wait": [("event", ""), ("processing", "0"), ("processing", "1"), ("processing", "2")],
}


@pytest.mark.parametrize("how", ["fire", "drop", "wait"])
async def test_what_the_clock_gives_at_the_end_follows_what_event_time_gave(
    how: Literal["fire", "drop", "wait"],
) -> None:
    """T35, and one at a time: the first of them must not tell those behind that nothing follows."""
    with fired_at_once(1):
        pipeline = Pipeline("p")
        source: list[float] = []
        fired = pipeline.source(source).assign_timestamps(float).key_by(lambda _: "k").process(Both)
        seen = fired.key_by(lambda each: each[0]).window(Session(10)).count()
        async with harness(pipeline, settings=Settings(timers_at_end=how)) as h:
            await h.send(source, 1.0)
            await h.end_input()
            assert h.outputs(fired) == AT_THE_END[how]
            # Results of the clock have its times: none of them is late behind what event time gave.
            assert sum(result.value for result in h.outputs(seen)) == len(AT_THE_END[how])


async def test_a_source_that_had_ended_before_a_restart_holds_nobody_back(tmp_path: Path) -> None:
    """T48: it has nothing more to read, so it must say anew that its time is over."""
    results = Results()
    for last in (30, 60):
        pipeline = Pipeline("p")
        ended = pipeline.source([1, 2, 3], name="ended").assign_timestamps(float, idle_timeout=None, name="t1")
        goes_on = pipeline.source(ticks_until(last), name="goes").assign_timestamps(float, idle_timeout=None, name="t2")
        windows = ended.union(goes_on).key_by(lambda _: "k").window(Tumbling(10)).count(name="w")
        windows.sink(results.take, name="out")
        run = pipeline.run(store=tmp_path / "store", checkpoint_interval=None, restart=Restart.never())
        async with run as job, asyncio.timeout(10):
            await results.wait_for(last // 10)
            await job.checkpoint()
    assert results.values == [5, 2, 2, 2, 2, 2]


class Results:
    """A sink that can be waited for."""

    def __init__(self) -> None:
        self.values: list[int] = []
        self._came = asyncio.Event()

    def take(self, result: WindowResult[str, int]) -> None:
        self.values.append(result.value)
        self._came.set()

    async def wait_for(self, number: int) -> None:
        while len(self.values) < number:
            self._came.clear()
            await self._came.wait()


def ticks_until(last: int) -> Source[int, int]:
    """Give each fifth second until `last`, and then wait for ever."""

    @replayable
    async def ticks(after: int | None) -> AsyncIterator[tuple[int, int]]:
        for at in range(0 if after is None else after + 5, last + 1, 5):
            yield at, at
        await asyncio.Event().wait()

    return ticks


class SlowToOpen(KeyedProcess[str, int, int]):
    """Takes longer to open than a split may be quiet."""

    async def open(self, ctx: OperatorContext, /) -> None:
        await asyncio.sleep(0.2)

    def on_element(self, value: int, ctx: Context[str], /) -> list[int]:
        return [value]


class TwoSplits:
    """Both have records, one of them later ones."""

    async def splits(self) -> list[str]:
        return ["early", "late"]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, int]]:
        for number in range(20):
            yield Fetched([number + (100 if split == "early" else 0)], number)
            await asyncio.sleep(0)


async def test_nobody_is_idle_because_the_job_takes_long_to_start() -> None:
    """T44: no record could come before every operator was open, nor while state was restored."""
    pipeline = Pipeline("p")
    timed = pipeline.source(TwoSplits()).assign_timestamps(float, idle_timeout=0.1)
    late: list[int] = []
    windows = timed.key_by(lambda _: "k").window(Tumbling(10)).count()
    windows.late.sink(late.append)
    timed.key_by(lambda _: "k").process(SlowToOpen)
    async with pipeline.run(settings=Settings(burst=0.0001)) as job:
        await job.wait()
    assert late == []


@pytest.mark.parametrize("widths", [(1, 2), (2, 1), (2, 3)])
async def test_windows_that_have_fired_do_not_fire_again_with_another_parallelism(
    widths: tuple[int, int], tmp_path: Path
) -> None:
    """T47: with one subtask the windows are in the source's actor, with two in actors of their own."""
    ends: list[float] = []
    for width, last in zip(widths, (30, 60), strict=True):
        pipeline = Pipeline("p")
        came = asyncio.Event()

        def take(result: WindowResult[str, int], last: int = last, came: asyncio.Event = came) -> None:
            ends.append(result.end.timestamp())
            if ends[-1] > last - 4:
                came.set()

        timed = pipeline.source(ticks_until(last), name="goes").assign_timestamps(float, idle_timeout=None, name="t")
        windows = timed.key_by(lambda _: "k").window(Sliding(12, slide=4)).count(name="w")
        windows.sink(take, name="out")
        run = pipeline.run(
            store=tmp_path / "store", checkpoint_interval=None, restart=Restart.never(), parallelism=width
        )
        async with run, asyncio.timeout(10):
            await came.wait()
    assert ends == [float(end) for end in range(4, 61, 4)]


class Heartbeat(KeyedProcess[str, str, int]):
    """Beats once a second, for ever."""

    def on_element(self, value: str, ctx: Context[str], /) -> None:
        ctx.set_timer(ctx.now + timedelta(seconds=1), domain="processing")

    def on_timer(self, timer: Timer, ctx: Context[str], /) -> list[int]:
        ctx.set_timer(timer.at + timedelta(seconds=1), domain="processing")
        return [1]


async def test_a_timer_that_sets_the_next_one_lets_the_job_end() -> None:
    """T35: what is pending at the end fires once; the clock does not go on for what is set then."""
    pipeline = Pipeline("p")
    source: list[str] = []
    beats = pipeline.source(source).key_by(lambda each: each).process(Heartbeat)
    async with harness(pipeline) as h:
        await h.send(source, "a", "b")
        async with asyncio.timeout(10):
            await h.end_input()
        assert h.outputs(beats) == [1, 1]
