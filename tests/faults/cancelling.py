"""One simulated process whose host task is cancelled at a chosen step of the loop, and what it leaves behind.

    host task   enter ── checkpoint, get, savepoint, rescale, stop ── leave          one visit to a running job
                      ^ step k: `task.cancel()`, from outside, wherever the host waits and whatever the job is at
    after it    no task, no lock, no file, no open handler; the next run over the store is exactly once

The step is the loop's, not the host's: while the host waits in one place, the job goes through many.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from contextlib import suppress
from os.path import join
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from actorstream import Context, EventLog, JobFailed, KeyedProcess, OperatorContext, Pipeline, Restart, ValueState
from actorstream.eventlog.folder import LogSettings
from actorstream.system.current import current_world
from actorstream.testing.loop import SimulatedLoop
from actorstream.testing.run import run_simulated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from actorstream import Stream
    from actorstream.api.run import Run
    from actorstream.testing.disk import SimulatedDisk

Total: TypeAlias = tuple[int, int]
End: TypeAlias = Literal["finished", "cancelled", "failed"]

NUMBERS = tuple(range(1, 31))
_FIRST = 10
_SMALL = LogSettings(segment_bytes=1 << 20)


class Adding(KeyedProcess[int, int, Total]):
    """Running totals; raises on a negative number. `are_open` counts its objects between open and close."""

    are_open = 0
    total: ValueState[int] = ValueState(0)

    async def open(self, place: OperatorContext, /) -> None:
        self.is_open = True
        Adding.are_open += 1

    async def close(self) -> None:
        assert self.is_open, "a handler is closed twice"
        self.is_open = False
        Adding.are_open -= 1

    def on_element(self, value: int, ctx: Context[int], /) -> list[Total]:
        if value < 0:
            raise ValueError("a negative number")
        self.total += value
        return [(ctx.key, self.total)]


class Rig:
    """The job in one simulated process: numbers from a log, or from memory, running totals of three keys into a log."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.source = EventLog(int, join(root, "numbers"), settings=_SMALL)
        self.sums = EventLog(tuple[int, int], join(root, "sums"), settings=_SMALL)
        self.totals: Stream[Total]

    def run(self, in_memory: Sequence[int] | None = None) -> Run:
        pipeline = Pipeline("sums")
        numbers = pipeline.source(self.source if in_memory is None else in_memory, name="numbers")
        self.totals = numbers.key_by(lambda number: number % 3).process(Adding)
        self.totals.sink(self.sums, name="sums")
        return pipeline.run(store=join(self.root, "store"), checkpoint_interval=0.05, restart=Restart.never())

    async def append_up_to(self, count: int) -> None:
        """Append the numbers from where the log ends."""
        there = (await self.source.summary()).records
        await self.source.extend(NUMBERS[there:count])

    async def committed(self, count: int) -> None:
        while (await self.sums.summary()).records < count:  # noqa: ASYNC110  (of a job that is under test)
            await asyncio.sleep(0.01)

    async def results(self) -> list[Total]:
        return [record.value async for record in self.sums.records(stop="now")]

    async def close(self) -> None:
        await self.source.aclose()
        await self.sums.aclose()


def expected(numbers: Sequence[int] = NUMBERS) -> list[Total]:
    return [(number % 3, sum(each for each in NUMBERS[:number] if each % 3 == number % 3)) for number in numbers]


# ---- what a host does


async def visit(rig: Rig) -> None:
    async with rig.run() as job:
        await job.checkpoint()
        await rig.append_up_to(20)
        await job.get(Adding.total, 1)
        await job.savepoint("half")
        await job.rescale(2)
        await rig.append_up_to(len(NUMBERS))
        await rig.committed(len(NUMBERS))


async def stop(rig: Rig) -> None:
    async with rig.run() as job:
        await rig.append_up_to(20)
        await job.stop()


async def stop_with_a_savepoint(rig: Rig) -> None:
    async with rig.run() as job:
        await rig.append_up_to(20)
        await job.stop(savepoint="last")


async def wait(rig: Rig) -> None:
    async with rig.run(NUMBERS) as job:
        await job.wait()


async def to_the_end(rig: Rig) -> None:
    await rig.run(NUMBERS)


async def follow(rig: Rig) -> None:
    """A subscription that is read slowly holds the job up, and must let go."""
    async with rig.run() as job, job.subscribe(rig.totals, buffer=1) as totals:
        await rig.append_up_to(len(NUMBERS))
        async for number, (_, total) in _numbered(totals):
            await asyncio.sleep(0.01)
            if total > 40 or number > 12:
                return


async def _numbered(totals: AsyncIterator[Total]) -> AsyncIterator[tuple[int, Total]]:
    number = 0
    async for total in totals:
        number += 1
        yield number, total


async def ask_while_it_rescales(rig: Rig) -> None:
    """`get` waits for the next attempt, and may be cancelled there."""
    async with rig.run() as job:
        rescaling = asyncio.get_running_loop().create_task(job.rescale(3), name="rescale")
        try:
            while not rescaling.done():
                await job.get(Adding.total, 1)
                await asyncio.sleep(0.001)
        finally:
            rescaling.cancel()
            while not rescaling.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([rescaling])


async def fail_inside(rig: Rig) -> None:
    """The job ends by itself, and cancels its host: that, and a cancellation from outside, must not be mixed up."""
    async with rig.run([*NUMBERS, -1]) as job:
        await job.wait()


DEEDS: dict[str, Callable[[Rig], Coroutine[Any, Any, None]]] = {
    deed.__name__: deed
    for deed in (visit, stop, stop_with_a_savepoint, wait, to_the_end, follow, ask_while_it_rescales, fail_inside)
}


# ---- the cancellation


class Ended(NamedTuple):
    """How a host ended: `steps` is how many the loop took up to then, `late_s` the time since it was last cancelled."""

    end: End
    steps: int
    cancellations: int
    late_s: float


def cancelled(deed: str, disk: SimulatedDisk, at: Sequence[int] = (), seed: int = 0) -> Ended:
    """Let a host do `deed`, cancel it at those steps, and run the job to its end after it.

    Raises:
        AssertionError: Something was left behind, or the output is not exact.
    """
    outcome = run_simulated(lambda: _main(deed, disk.root, at), seed=f"{deed} {seed}", disk=disk)
    disk.kill()
    return outcome.value()


async def _main(deed: str, root: str, at: Sequence[int]) -> Ended:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    Adding.are_open = 0
    files = open_files()
    rig = Rig(root)
    await rig.append_up_to(_FIRST)
    host = loop.create_task(DEEDS[deed](rig), name="host")
    began = loop.steps
    times = _cancel_at(loop, host, [began + step for step in at])
    await asyncio.wait([host])
    ended = loop.steps - began
    late_s = loop.time() - times[-1] if times else 0.0

    left = [task.get_name() for task in loop.waiting() if task is not asyncio.current_task()]
    assert left == [], f"tasks are left: {left}"
    assert Adding.are_open == 0, "a handler was not closed"
    _assert_unlocked(join(root, "store", "sums", "LOCK"))
    error = None if host.cancelled() else host.exception()
    if error is not None and not isinstance(error, JobFailed):
        raise error
    end: End = "cancelled" if host.cancelled() else "finished" if error is None else "failed"
    assert host.cancelling() == len(times), "the host's own count of cancellations is no longer right"
    await _go_on(deed, rig)
    await rig.close()
    assert open_files() == files, f"left open: {open_files() - files}"
    return Ended(end, ended, len(times), late_s)


def _cancel_at(loop: SimulatedLoop, host: asyncio.Task[None], steps: Sequence[int]) -> list[float]:
    """Cancel the host in front of each of these steps, unless it has ended; give when it was."""
    times: list[float] = []
    wanted = list(steps)
    go_on = loop._run_once

    def run_once() -> None:
        while wanted and loop.steps >= wanted[0]:
            del wanted[0]
            if host.cancel():
                times.append(loop.time())
        go_on()

    loop._run_once = run_once  # type: ignore[method-assign]  # between two steps nobody else has a turn
    return times


async def _go_on(deed: str, rig: Rig) -> None:
    """Run the job again over the same store: what comes out is exact."""
    if deed in {"wait", "to_the_end", "fail_inside"}:
        await rig.run(NUMBERS)
    else:
        await rig.append_up_to(len(NUMBERS))
        async with rig.run():
            await rig.committed(len(NUMBERS))
    by_key = sorted(await rig.results())
    assert by_key == sorted(expected()), f"{by_key}"


def open_files() -> Counter[str]:
    """Name the files that this process has open."""
    return Counter(filter(None, map(_target, os.listdir("/proc/self/fd"))))


def _target(number: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except FileNotFoundError:  # the one that lists them
        return ""


def _assert_unlocked(path: str) -> None:
    files = current_world().files
    if files.exists(path):
        lock = files.lock(path)
        assert lock is not None, "the store is still locked"
        lock.release()
