"""Letting go of the loop: for the others always, with a real pause while a thread of ours works."""

from __future__ import annotations

import asyncio

import anyio

from actorstream.runtime.pace import Pace
from actorstream.system.current import SystemClock
from actorstream.system.offload import ThreadOffload


async def test_giving_way_lets_every_ready_task_run() -> None:
    pace = Pace(SystemClock(), ThreadOffload())
    turns: list[str] = []

    async def worker(name: str) -> None:
        for _ in range(2):
            turns.append(name)
            await pace.give_way()

    async with anyio.create_task_group() as group:
        group.start_soon(worker, "a")
        group.start_soon(worker, "b")
    assert turns == ["a", "b", "a", "b"]


async def test_thread_gets_the_interpreter_while_the_loop_is_busy() -> None:
    """With `sleep(0)` alone a Python thread beside a busy loop takes a hundred times as long."""
    offload, clock = ThreadOffload(), SystemClock()
    pace = Pace(clock, offload, burst=0.001)
    turns = 0

    def work() -> int:
        return sum(range(20_000))

    async def spin() -> None:
        nonlocal turns
        while True:
            end = clock.monotonic() + pace.burst
            while clock.monotonic() < end:
                pass
            turns += 1
            await pace.give_way()

    async with anyio.create_task_group() as group:
        group.start_soon(spin)
        await asyncio.sleep(0)
        assert await offload.run(work) == sum(range(20_000))
        assert offload.busy == 0
        assert turns < 1_000
        group.cancel_scope.cancel()
