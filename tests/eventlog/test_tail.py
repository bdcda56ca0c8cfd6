from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio

from actorstream.eventlog.tail import Bell, bell_of
from actorstream.state.lmdb_env import open_segment

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_ring_wakes_everybody_who_waits(tmp_path: Path) -> None:
    env = open_segment(str(tmp_path / "f"), map_size=1 << 20)
    bell = Bell()
    woken: list[int] = []

    async def wait(number: int) -> None:
        await bell.wait(bell.rung, env, env.last_transaction)
        woken.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(wait, number)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert woken == []
        bell.ring()
    assert sorted(woken) == [0, 1, 2]
    env.close()


async def test_a_ring_before_the_wait_is_not_missed(tmp_path: Path) -> None:
    """A fetch may run in a thread: the commit can fall between what it saw and the wait."""
    env = open_segment(str(tmp_path / "f"), map_size=1 << 20)
    bell = Bell()
    seen = bell.rung
    bell.ring()
    with anyio.fail_after(1):
        await bell.wait(seen, env, env.last_transaction)
    env.close()


async def test_a_commit_that_nobody_rang_for_is_seen(tmp_path: Path) -> None:
    """As another process's: only the transaction number tells."""
    env = open_segment(str(tmp_path / "f"), map_size=1 << 20)
    bell = Bell()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bell.wait, bell.rung, env, env.last_transaction)
        await asyncio.sleep(0)
        with env.transaction(write=True) as txn:
            txn.put(b"k", b"v")
    env.close()


async def test_a_loop_has_one_bell_for_a_log() -> None:
    bell = bell_of("/a")
    assert bell_of("/a") is bell
    assert bell_of("/b") is not bell
