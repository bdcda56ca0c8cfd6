"""The simulated clock, threads and randomness: virtual, seeded, and true to the contract of `World`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from actorstream.system.current import current_world
from actorstream.testing.loop import SimulatedLoop
from actorstream.testing.run import run_simulated

if TYPE_CHECKING:
    from actorstream.model.world import World


def test_clocks_read_virtual_time() -> None:
    """An hour of sleeping is an hour on both clocks."""

    async def main() -> tuple[int, float]:
        clock = current_world().clock
        wall, monotonic = clock.now_us(), clock.monotonic()
        await anyio.sleep(3600.5)
        return clock.now_us() - wall, clock.monotonic() - monotonic

    assert run_simulated(main).value() == (3_600_500_000, 3600.5)


def test_the_next_process_may_go_on_where_the_clock_stood() -> None:
    """A restart must not see the wall clock jump back unless the test wants that."""

    async def main() -> int:
        await anyio.sleep(1)
        return current_world().clock.now_us()

    first = run_simulated(main)
    second = run_simulated(main, start_us=first.ended_us)

    assert first.ended_us == first.value()
    assert second.value() == first.value() + 1_000_000


def test_calls_in_threads_take_virtual_time_and_overtake_each_other() -> None:
    """A layer write may end after one that began later; the order is the environment's, by the seed."""

    async def main() -> tuple[str, float]:
        world = current_world()
        order: list[str] = []

        async def call(name: str) -> None:
            order.append(await world.offload.run(str.lower, name))

        async with anyio.create_task_group() as group:
            for name in "ABC":
                group.start_soon(call, name)
        assert world.offload.busy == 0
        return "".join(order), world.clock.monotonic()

    ends = [run_simulated(main, seed=seed).value() for seed in range(30)]

    assert len({order for order, _ in ends}) > 3
    assert all(sorted(order) == ["a", "b", "c"] and moment > 0 for order, moment in ends)
    assert run_simulated(main, seed=7).value() == run_simulated(main, seed=7).value()


def test_a_call_in_a_thread_is_not_cut_short_by_cancellation() -> None:
    """The contract of `Offload.run`: once begun, the caller is freed only when the call has ended."""

    async def main() -> tuple[list[str], int]:
        world = current_world()
        log: list[str] = []
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(world.offload.run, log.append, "called")
                while world.offload.busy == 0:
                    await anyio.lowlevel.checkpoint()
                scope.cancel()
        log.append("cancelled")
        return log, world.offload.busy

    for seed in range(20):
        assert run_simulated(main, seed=seed).value() == (["called", "cancelled"], 0)


def test_a_call_in_a_thread_is_not_cut_short_by_a_task_that_is_cancelled() -> None:
    """By asyncio itself, twice: as with `ThreadOffload`, what the call makes is there by then, and can be let go."""

    async def main() -> list[str]:
        world, loop = current_world(), asyncio.get_running_loop()
        log: list[str] = []
        task = loop.create_task(world.offload.run(log.append, "called"), name="caller")
        while world.offload.busy == 0:
            await anyio.lowlevel.checkpoint()
        task.cancel()
        await anyio.lowlevel.checkpoint()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        log.append("cancelled")
        return log

    for seed in range(20):
        assert run_simulated(main, seed=seed).value() == ["called", "cancelled"]


def test_an_error_in_a_thread_reaches_the_caller() -> None:
    """As from a real thread, with its own type."""

    async def main() -> None:
        def fail() -> None:
            raise OSError(28, "full")

        with pytest.raises(OSError, match="full"):
            await current_world().offload.run(fail)

    assert run_simulated(main).error is None


def test_ids_are_the_seeds() -> None:
    """Same seed, same ids; another process of the test gets another seed and so other ids."""

    async def main() -> list[object]:
        source = current_world().random
        return [source.token(), source.token(), source.fraction()]

    first = run_simulated(main, seed="a").value()
    token = str(first[0])

    assert len(token) == 32
    assert int(token, 16) >= 0
    assert token != first[1]
    assert 0 <= float(str(first[2])) < 1
    assert run_simulated(main, seed="a").value() == first
    assert run_simulated(main, seed="b").value() != first


def test_environment_and_scheduler_are_separate_streams() -> None:
    """Drawing one more delay must not change who runs next: else a fault plan moves the schedule."""
    plain, drawn = SimulatedLoop(seed=5), SimulatedLoop(seed=5)
    drawn.environment.random()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(anyio.lowlevel.checkpoint)

    for loop in (plain, drawn):
        loop.run_until_complete(main())
        loop.close()
    assert plain.digest == drawn.digest


def test_the_real_world_is_back_afterwards() -> None:
    """A simulation inside a test must not leak into the next one."""
    before: World = current_world()

    async def main() -> bool:
        return current_world() is before

    assert run_simulated(main).value() is False
    assert current_world() is before
