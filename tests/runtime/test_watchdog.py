"""Code that holds the event loop is named, with its operator and stack, while it does and when it is over.

No test waits for a time: what blocks goes on until the watchdog has spoken (`Listener`), or else fails.
"""

from __future__ import annotations

import asyncio
import logging
import re
import selectors
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import ActorstreamError, Pipeline, Restart, Settings
from actorstream.runtime.watchdog import Watch, _dogs, _Watchdog
from actorstream.testing.manual_clock import ManualClock
from actorstream.testing.run import run_simulated
from tests.runtime import blocking
from tests.runtime.blocking import PLACES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from actorstream import Job

ROOT = Path(__file__).parents[2]
SECONDS = 0.02
DEADLINE = 20.0
SOON = Settings(watchdog=SECONDS)


class Listener(logging.Handler):
    """Hears what the watchdog says, in its thread, and asks the job that it speaks of."""

    def __init__(self) -> None:
        super().__init__()
        self.holder = "wait_and_hold"
        self.job: Job | None = None
        self.said: list[str] = []
        self.explained: list[str] = []
        self.stands_still = threading.Event()
        self.goes_on = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if "stands still" in said and self.holder not in said:
            return  # a busy machine held the loop up somewhere else
        self.said.append(said)
        if "stands still" in said:
            if self.job is not None:
                self.explained.append(self.job.explain())
            self.stands_still.set()
        elif "goes on" in said and self.stands_still.is_set():
            self.goes_on.set()

    def wait_and_hold(self, *_: Any) -> None:
        """Hold the loop until the watchdog has said so."""
        if not self.stands_still.is_set():
            assert self.stands_still.wait(DEADLINE), "nobody has seen that the loop stands still"

    async def until_it_goes_on(self) -> None:
        assert await asyncio.to_thread(self.goes_on.wait, DEADLINE)


@pytest.fixture
def listener() -> Iterator[Listener]:
    logger, listening = logging.getLogger("actorstream"), Listener()
    logger.addHandler(listening)
    yield listening
    logger.removeHandler(listening)


def threads() -> int:
    return sum(thread.name == "actorstream watchdog" for thread in threading.enumerate())


@pytest.mark.parametrize("place", PLACES)
async def test_who_holds_the_loop_is_named_with_operator_and_stack(place: str, listener: Listener) -> None:
    """Two actors a job: which one it was is not to be guessed from the chain's name."""
    pipeline = Pipeline("p")
    function = PLACES[place](pipeline, listener.wait_and_hold)
    async with pipeline.run(settings=SOON) as job:
        await job.wait()
    said = next(said for said in listener.said if "stands still" in said)
    assert "operator=slow subtask=0" in said
    assert f"{function} ({blocking.__file__}:" in said
    assert "wait_and_hold" in said.rpartition(" > ")[0], "the innermost function comes last"
    assert "/actorstream/runtime/" not in said


@pytest.mark.parametrize("place", ["map", "async map"])
def test_who_holds_a_loop_without_frames_is_named_too(place: str, listener: Listener) -> None:
    """That of uvloop is all C: what lies above who runs it is what it runs."""
    pipeline = Pipeline("p")
    function = PLACES[place](pipeline, listener.wait_and_hold)

    async def main() -> None:
        async with pipeline.run(settings=SOON) as job:
            await job.wait()

    with asyncio.Runner(loop_factory=pytest.importorskip("uvloop").new_event_loop) as runner:
        runner.run(main())
    said = next(said for said in listener.said if "stands still" in said)
    assert "operator=slow subtask=0" in said
    assert f"{function} ({blocking.__file__}:" in said


async def test_explain_names_it_while_it_does_and_when_it_is_over(listener: Listener) -> None:
    pipeline = Pipeline("p")
    numbers = asyncio.Queue[int]()

    async def read() -> AsyncIterator[int]:
        while True:
            yield await numbers.get()

    def blocks(number: int) -> int:
        listener.wait_and_hold()
        return number

    pipeline.source(read).map(blocks, name="slow").sink(lambda _: None)
    async with pipeline.run(settings=SOON) as job:
        listener.job = job
        numbers.put_nowait(1)
        await listener.until_it_goes_on()
        after = job.explain()
    (during,) = listener.explained
    assert re.search(
        r"^'slow' has held the event loop for \d+ ms, in \S*wait\S* \(.*:\d+\): nothing else on it", during
    )
    assert re.search(
        r"'slow' held the event loop for .* from .* UTC \(.* ago\), in .* and nothing else on it ran: ", after
    )
    assert "Nothing is wrong" not in after


async def test_code_of_the_host_is_told_apart_from_the_jobs(listener: Listener) -> None:
    pipeline = Pipeline("p")

    async def never() -> AsyncIterator[int]:
        await asyncio.Event().wait()
        yield 1

    pipeline.source(never).sink(lambda _: None)
    async with pipeline.run(settings=SOON) as job:
        listener.job = job
        listener.wait_and_hold()
        await listener.until_it_goes_on()
    (during,) = listener.explained
    assert during.startswith("Code that is not the job's has held the event loop for")
    said = next(said for said in listener.said if "stands still" in said)
    assert "operator= subtask= " in said
    assert test_code_of_the_host_is_told_apart_from_the_jobs.__name__ in said


async def test_c_code_that_keeps_the_interpreter_is_named_when_it_returns(listener: Listener) -> None:
    """No thread of Python runs meanwhile: the watchdog is late, but the stack is still that of the call."""
    listener.holder = "backtracks"

    def backtracks(number: int) -> int:
        size = 18
        while not listener.stands_still.is_set() and size < 34:
            re.match(r"(a+)+$", "a" * size + "b")  # each step takes twice as long
            size += 1
        return number

    pipeline = Pipeline("p")
    pipeline.source([1]).map(backtracks, name="slow").sink(lambda _: None)
    await pipeline.run(settings=Settings(watchdog=0.3))
    assert any("operator=slow" in said and "backtracks" in said for said in listener.said)


async def test_function_over_50_ms_is_named_afterwards(listener: Listener) -> None:
    """It holds the loop too shortly for the watchdog, and too long for a service."""
    pipeline, sleeper = Pipeline("p"), threading.Event()
    arrived = asyncio.Event()

    def slow(number: int) -> int:
        sleeper.wait(0.06)
        arrived.set()
        return number

    async def one() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    pipeline.source(one).sink(slow, name="slow")
    async with pipeline.run() as job:
        await arrived.wait()
        text = job.explain()
    assert re.search(r"'slow' takes up to \d+ ms for one record, the last time at .*, and holds the event loop", text)
    assert sum("holds the event loop" in said for said in listener.said) == 1


# ---- the thread


def idle_pipeline() -> Pipeline:
    async def never() -> AsyncIterator[int]:
        await asyncio.Event().wait()
        yield 1

    pipeline = Pipeline("p")
    pipeline.source(never).sink(lambda _: None)
    return pipeline


async def test_all_jobs_of_a_loop_share_one_thread_which_ends_with_the_last() -> None:
    assert threads() == 0
    async with idle_pipeline().run():
        assert threads() == 1
        async with idle_pipeline().run():
            assert threads() == 1
        assert threads() == 1
    assert threads() == 0
    assert not _dogs


async def test_a_job_that_fails_or_is_cancelled_leaves_no_thread() -> None:
    pipeline = Pipeline("p")
    pipeline.source([1]).map(lambda number: number // 0, name="bad").sink(lambda _: None)
    with pytest.raises(ActorstreamError):
        await pipeline.run(restart=Restart.never())
    assert threads() == 0
    with pytest.raises(asyncio.CancelledError):
        async with idle_pipeline().run():
            raise asyncio.CancelledError
    assert threads() == 0


async def test_nobody_looks_where_the_setting_says_so() -> None:
    async with idle_pipeline().run(settings=Settings(watchdog=0)):
        assert threads() == 0


def test_a_simulated_world_has_no_such_thread() -> None:
    """Its time is not the real one, and a thread could not be repeated."""

    async def main() -> int:
        async with idle_pipeline().run():
            return threads()

    assert run_simulated(main).value() == 0


class TestLook:
    """The thread's own step, by hand: its clock, and a loop that runs only when told."""

    @pytest.fixture
    def loop(self) -> Iterator[asyncio.AbstractEventLoop]:
        loop = asyncio.new_event_loop()
        yield loop
        loop.close()

    def test_a_loop_that_does_not_run_is_held_by_nobody(
        self, loop: asyncio.AbstractEventLoop, listener: Listener
    ) -> None:
        """Between two `run_until_complete` somebody may do what he likes."""
        clock = ManualClock()
        dog = _Watchdog(loop, clock)
        dog._seconds = 1.0
        for _ in range(20):
            clock.move_to(clock.now_us() + 250_000)
            dog._look()
        assert listener.said == []

    def test_a_process_that_was_stopped_is_held_by_nobody(
        self, loop: asyncio.AbstractEventLoop, listener: Listener
    ) -> None:
        """SIGSTOP for an hour: thread and loop wake up together, and the thread may be first."""
        clock = ManualClock()
        dog = _Watchdog(loop, clock)
        dog._seconds = 1.0

        async def looks() -> None:
            dog._look()
            clock.move_to(clock.now_us() + 3_600_000_000)
            dog._look()

        loop.run_until_complete(looks())
        assert listener.said == []

    def test_a_loop_that_waits_for_events_is_held_by_nobody(
        self, loop: asyncio.AbstractEventLoop, listener: Listener
    ) -> None:
        """On a machine with too much to do it does not get to its turn; nobody's code is to blame."""
        running = threading.Thread(target=loop.run_forever)
        running.start()
        dog = _Watchdog(loop, ManualClock())
        assert running.ident is not None
        dog._ident, dog._answered = running.ident, False
        while sys._current_frames()[running.ident].f_code.co_filename != selectors.__file__:
            pass
        dog._held_seconds, dog._next_report = 2.0, 1.0
        dog._report()
        loop.call_soon_threadsafe(loop.stop)
        running.join()
        assert listener.said == []

    def test_a_loop_without_frames_that_waits_for_events_is_held_by_nobody(self, listener: Listener) -> None:
        """That of uvloop is all C: on the stack there is only who runs it, and he is not to blame."""
        loop = pytest.importorskip("uvloop").new_event_loop()
        running = threading.Thread(target=loop.run_forever)
        running.start()
        dog, turn = _Watchdog(loop, ManualClock()), threading.Event()
        loop.call_soon_threadsafe(dog._answer)
        loop.call_soon_threadsafe(turn.set)
        assert turn.wait(DEADLINE)
        assert running.ident is not None
        while sys._current_frames()[running.ident].f_code is not threading.Thread.run.__code__:
            pass
        dog._answered, dog._held_seconds, dog._next_report = False, 2.0, 1.0
        dog._report()
        loop.call_soon_threadsafe(loop.stop)
        running.join()
        loop.close()
        assert listener.said == []

    def test_one_that_goes_on_for_long_is_told_again_whenever_that_has_doubled(
        self, loop: asyncio.AbstractEventLoop, listener: Listener
    ) -> None:
        listener.holder = "_report"
        clock = ManualClock()
        dog = _Watchdog(loop, clock)
        dog._seconds = 1.0
        watch = Watch()
        dog._watches[watch] = 1.0

        async def holds() -> None:
            for _ in range(4 * 60):
                clock.move_to(clock.now_us() + 250_000)
                dog._look()

        loop.run_until_complete(holds())
        seconds = [float(said.partition("seconds=")[2].partition(" ")[0]) for said in listener.said]
        assert [round(each) for each in seconds] == [1, 2, 4, 8, 16, 32]
        loop.run_until_complete(asyncio.sleep(0))
        clock.move_to(clock.now_us() + 250_000)
        dog._look()
        assert "goes on" in listener.said[-1]
        assert watch.block is not None
        assert watch.block.over
        assert 59 < watch.block.seconds < 61


ABANDONED = """
import asyncio
from actorstream import Pipeline, Settings

async def never():
    await asyncio.Event().wait()
    yield 1

async def enter():
    pipeline = Pipeline("p")
    pipeline.source(never).sink(print)
    kept.append(pipeline.run(settings=Settings(watchdog=0.01)))
    await kept[0].__aenter__()

kept = []
loop = asyncio.new_event_loop()
loop.run_until_complete(enter())
{ending}
print("the end", flush=True)
"""


@pytest.mark.parametrize("ending", ["", "loop.close()"])
def test_it_keeps_no_process_alive(ending: str) -> None:
    """A job that was never left, on a loop that nobody runs any more, or has closed."""
    program = ABANDONED.format(ending=ending)
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "the end\n"
    assert "watchdog" not in ended.stderr
