"""The watchdog sees a stall, and says whether the loop computed or waited."""

from __future__ import annotations

import asyncio
import gc
import time

from benchmarks.loop_stalls import Stall, Watchdog, longest


async def test_blocking_call_is_a_stall_without_computing() -> None:
    """A call that blocks the loop, or a thread that has the interpreter, is the rest."""
    async with Watchdog() as dog:
        await asyncio.sleep(0.02)
        dog.take()
        time.sleep(0.06)  # noqa: ASYNC251
        await asyncio.sleep(0.02)
        worst = longest(dog.take())

    assert worst.late > 0.04
    assert worst.rest > 0.03
    assert worst.cpu < 0.02


async def test_computing_is_a_stall_of_the_loops_own() -> None:
    """A slice of work that was too long."""
    async with Watchdog() as dog:
        await asyncio.sleep(0.02)
        dog.take()
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass
        await asyncio.sleep(0.02)
        worst = longest(dog.take())

    assert worst.late > 0.03
    assert worst.cpu >= 0.05


async def test_collector_is_named() -> None:
    """A collection looks like computing, and has another remedy."""
    kept = [[each] for each in range(300_000)]
    async with Watchdog() as dog:
        await asyncio.sleep(0.02)
        dog.take()
        gc.collect()
        await asyncio.sleep(0.02)
        worst = longest(dog.take())
    assert len(kept) == 300_000
    assert worst.gc > 0.5 * worst.late
    assert hooks_left() == 0, "nothing of ours stays behind"


def hooks_left() -> int:
    return sum(getattr(each, "__self__", None).__class__ is Watchdog for each in gc.callbacks)


async def test_take_gives_each_stall_once() -> None:
    """One measurement must not see what was before it."""
    async with Watchdog() as dog:
        await asyncio.sleep(0.05)
        assert dog.take()
        assert dog.take() == []
    assert longest([]) == Stall(0.0, 0.0, 0.0, 0.0)
