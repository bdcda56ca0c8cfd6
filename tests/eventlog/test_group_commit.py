from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import pytest

from actorstream.errors import StoreError
from actorstream.eventlog.group_commit import GroupCommit, Request
from actorstream.system.offload import ThreadOffload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorstream.eventlog.transaction import LogTransaction


@dataclass(frozen=True)
class Number:
    value: int
    size: int = 10

    def apply(self, txn: LogTransaction, /) -> int:
        del txn
        return self.value


class Target:
    """A commit that can be held up, and notes what it was given."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.may_go = threading.Event()
        self.may_go.set()
        self.begun = threading.Event()
        self.locked = False
        self.error: Exception | None = None

    def commit(self, requests: Sequence[Request[object]]) -> bool:
        if self.locked:
            return False
        self.begun.set()
        assert self.may_go.wait(10)
        if self.error is not None:
            raise self.error
        self.groups.append([])
        for request in requests:
            assert isinstance(request.write, Number)
            request.result = request.write.value
            self.groups[-1].append(request.write.value)
        return True


def queue_for(target: Target, after: Callable[[], None] = lambda: None, timeout: float = 5.0) -> GroupCommit:
    return GroupCommit(ThreadOffload(), target.commit, after, name="the log", lock_timeout_s=timeout)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def begun(target: Target) -> None:
    await anyio.to_thread.run_sync(target.begun.wait)


async def test_writes_that_wait_together_share_one_commit() -> None:
    target = Target()
    rings: list[int] = []
    queue = queue_for(target, lambda: rings.append(len(target.groups)))
    results: dict[int, int] = {}

    async def write(value: int) -> None:
        results[value] = await queue.submit(Number(value))

    target.may_go.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write, 0)
        await begun(target)
        for value in range(1, 50):
            tasks.start_soon(write, value)
        await turns()
        target.may_go.set()
    assert target.groups == [[0], list(range(1, 50))]
    assert results == {i: i for i in range(50)}
    assert rings == [1, 2]


@pytest.mark.parametrize("way", ["scope", "task"])
async def test_a_cancelled_leader_hurts_nobody(way: str) -> None:
    """Its thread may still be at work, or not: whoever waits takes over, and nothing is written twice."""
    target = Target()
    queue = queue_for(target)
    results: list[int] = []
    target.may_go.clear()
    async with anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()

        async def lead() -> None:
            with scope:
                await queue.submit(Number(1))

        async def follow(value: int) -> None:
            results.append(await queue.submit(Number(value)))

        leader = asyncio.get_running_loop().create_task(lead())
        await begun(target)
        tasks.start_soon(follow, 2)
        tasks.start_soon(follow, 3)
        await turns()
        if way == "scope":
            scope.cancel()
        else:
            leader.cancel()
        await turns()
        target.may_go.set()
        await asyncio.wait([leader])
    assert sorted(results) == [2, 3]
    assert target.groups == [[1], [2, 3]]


async def test_a_cancelled_follower_is_left_out_and_the_rest_goes_on() -> None:
    target = Target()
    queue = queue_for(target)
    results: list[int] = []
    target.may_go.clear()

    async def write(value: int) -> None:
        results.append(await queue.submit(Number(value)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write, 1)
        await begun(target)
        with anyio.move_on_after(0):
            await write(2)
        tasks.start_soon(write, 3)
        await turns()
        target.may_go.set()
    assert results == [1, 3]
    assert target.groups == [[1], [3]]


async def test_a_leader_cancelled_before_its_commit_began_leaves_nothing_behind() -> None:
    """A write that nobody waits for must not turn up with somebody's later write."""
    target = Target()
    target.locked = True
    queue = queue_for(target)
    with anyio.move_on_after(0.01):
        await queue.submit(Number(1))
    target.locked = False
    assert await queue.submit(Number(2)) == 2
    assert target.groups == [[2]]


async def test_a_lock_that_stays_held_is_an_error_that_names_the_log() -> None:
    target = Target()
    target.locked = True
    queue = queue_for(target, timeout=0.01)
    with pytest.raises(StoreError, match=r"the log: another process has held its writer lock for 0.01 s"):
        await queue.submit(Number(1))
    target.locked = False
    assert await queue.submit(Number(2)) == 2


async def test_an_error_of_the_commit_goes_to_everybody_in_the_group() -> None:
    target = Target()
    queue = queue_for(target)
    errors: list[str] = []

    async def write(value: int) -> None:
        try:
            await queue.submit(Number(value))
        except StoreError as error:
            errors.append(str(error))

    target.may_go.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write, 0)
        await begun(target)
        tasks.start_soon(write, 1)
        tasks.start_soon(write, 2)
        await turns()
        target.error = StoreError("disk full")
        target.may_go.set()
    assert errors == ["disk full"] * 3
    target.error = None
    assert await queue.submit(Number(3)) == 3
