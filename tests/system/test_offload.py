from __future__ import annotations

import asyncio
import threading

import anyio
import pytest

from actorstream.system.offload import ThreadOffload


async def test_the_call_runs_in_another_thread_with_its_arguments() -> None:
    def call(a: int, *, b: int) -> tuple[int, int]:
        return a + b, threading.get_ident()

    result, thread = await ThreadOffload().run(call, 1, b=2)
    assert result == 3
    assert thread != threading.get_ident()


async def test_busy_counts_the_calls_at_work() -> None:
    """A saturated actor yields with a real sleep only while there is a thread to make room for."""
    offload = ThreadOffload()
    started, gate = threading.Semaphore(0), threading.Event()

    def call() -> None:
        started.release()
        gate.wait()

    assert offload.busy == 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(offload.run, call)
        tasks.start_soon(offload.run, call)
        await offload.run(lambda: [started.acquire() for _ in range(2)])
        assert offload.busy == 2
        gate.set()
    assert offload.busy == 0


async def test_an_error_comes_back_and_is_not_counted_on() -> None:
    offload = ThreadOffload()

    def call() -> None:
        raise OSError(5, "disk")

    with pytest.raises(OSError, match="disk"):
        await offload.run(call)
    assert offload.busy == 0


async def test_a_cancelled_call_ends_before_its_waiter_does() -> None:
    """A publish that were left running in a thread would meet its successor (T87)."""
    offload = ThreadOffload()
    started, gate = threading.Event(), threading.Event()
    ended: list[str] = []

    def call() -> None:
        started.set()
        gate.wait()
        ended.append("call")

    async def waiter() -> None:
        try:
            await offload.run(call)
        finally:
            ended.append("waiter")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waiter)
        await offload.run(started.wait)
        tasks.cancel_scope.cancel()
        gate.set()
    assert ended == ["call", "waiter"]
    assert offload.busy == 0


async def test_a_call_ends_before_its_waiter_also_when_asyncio_cancels() -> None:
    """`task.cancel()` goes past anyio's shields: the job's root task is cancelled so."""
    offload = ThreadOffload()
    started, gate = threading.Event(), threading.Event()
    ended: list[str] = []

    def call() -> None:
        started.set()
        gate.wait()
        ended.append("call")

    task = asyncio.get_running_loop().create_task(offload.run(call))
    await offload.run(started.wait)
    task.cancel()
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["call"]
    assert offload.busy == 0
