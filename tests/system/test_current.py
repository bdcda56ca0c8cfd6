from __future__ import annotations

from dataclasses import replace

import anyio
import anyio.lowlevel

from actorstream.system.current import SystemClock, SystemRandom, current_world, use_world
from actorstream.system.files import RealFiles
from actorstream.system.offload import ThreadOffload


class LateClock:
    """One second after the epoch, for ever."""

    def now_us(self) -> int:
        """Give a constant."""
        return 1_000_000

    def monotonic(self) -> float:
        """Give a constant."""
        return 1.0


def test_the_world_is_the_real_one_unless_told_otherwise() -> None:
    world = current_world()
    assert isinstance(world.clock, SystemClock)
    assert isinstance(world.files, RealFiles)
    assert isinstance(world.offload, ThreadOffload)
    assert isinstance(world.random, SystemRandom)


def test_a_world_holds_for_its_block_only() -> None:
    real = current_world()
    other = replace(real, clock=LateClock())
    with use_world(other) as used:
        assert used is other
        assert current_world() is other
    assert current_world() is real


async def test_tasks_started_in_the_block_keep_its_world() -> None:
    """An event log made at import finds the world of the loop it is used on; two jobs do not disturb each other."""
    seen: list[int] = []

    async def task() -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(current_world().clock.now_us())

    async with anyio.create_task_group() as tasks:
        with use_world(replace(current_world(), clock=LateClock())):
            tasks.start_soon(task)
        tasks.start_soon(task)
    assert 1_000_000 in seen
    assert sum(reading == 1_000_000 for reading in seen) == 1


def test_the_clock_is_in_microseconds_and_seconds() -> None:
    clock = SystemClock()
    assert 1_700_000_000_000_000 < clock.now_us() < 10_000_000_000_000_000
    before = clock.monotonic()
    assert clock.monotonic() >= before


def test_tokens_are_128_random_bits_and_fractions_lie_below_one() -> None:
    random = SystemRandom()
    tokens = {random.token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) == 32 and int(token, 16) >= 0 for token in tokens)
    assert all(0 <= random.fraction() < 1 for _ in range(100))
