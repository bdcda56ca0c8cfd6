"""Code of others is cancelled as by asyncio: once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from actorstream.system.cancelled_once import cancelled_once

if TYPE_CHECKING:
    from collections.abc import Coroutine


def within(seconds: float) -> float:
    return anyio.current_time() + seconds


async def cleans_up(steps: list[str], *, swallows: bool = False, ends: bool = True) -> str:
    try:
        await anyio.sleep_forever()
    except asyncio.CancelledError:
        for step in ("one", "two"):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            steps.append(step)
        if not ends:
            await anyio.sleep_forever()
        if not swallows:
            raise
    return "all"


async def test_cleaning_up_may_wait_more_than_once() -> None:
    steps: list[str] = []
    with anyio.move_on_after(0) as scope:
        await cancelled_once(cleans_up(steps), lambda: within(60), name="work")
    assert scope.cancelled_caught
    assert steps == ["one", "two"]


async def test_without_it_a_scope_cancels_every_await() -> None:
    """Why it is there."""
    steps: list[str] = []
    with anyio.move_on_after(0):
        await cleans_up(steps)
    assert steps == []


async def test_the_task_of_a_program_is_cancelled_as_ever() -> None:
    steps: list[str] = []
    task = asyncio.get_running_loop().create_task(_awaits(cleans_up(steps)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["one", "two"]


async def _awaits(work: Coroutine[Any, Any, object]) -> None:
    await cancelled_once(work, lambda: within(60), name="work")


async def test_who_does_not_come_to_an_end_is_cancelled_again_at_the_deadline() -> None:
    steps: list[str] = []
    after = False
    with anyio.move_on_after(0) as scope:
        await cancelled_once(cleans_up(steps, ends=False), lambda: within(0.01), name="work")
        after = True
    assert scope.cancelled_caught
    assert not after
    assert steps == ["one", "two"]


async def test_a_cancellation_that_was_swallowed_is_raised() -> None:
    """Else what follows would take it for an end that is none."""
    after = False
    with anyio.move_on_after(0) as scope:
        await cancelled_once(cleans_up([], swallows=True), lambda: within(60), name="work")
        after = True
    assert scope.cancelled_caught
    assert not after


async def test_results_and_errors_pass() -> None:
    async def gives(result: int) -> int:
        await asyncio.sleep(0)
        if not result:
            raise ValueError("none")
        return result

    assert await cancelled_once(gives(7), lambda: within(0), name="work") == 7
    with pytest.raises(ValueError, match="none"):
        await cancelled_once(gives(0), lambda: within(0), name="work")


async def test_work_may_be_inside_of_scopes_of_its_own() -> None:
    left: list[str] = []

    async def waits() -> None:
        with anyio.fail_after(60):
            try:
                await anyio.sleep_forever()
            finally:
                await asyncio.sleep(0)
                left.append("inner")
        left.append("no")

    with anyio.move_on_after(0):
        await cancelled_once(waits(), lambda: within(60), name="work")
    assert left == ["inner"]


async def test_an_error_while_it_cleans_up_is_raised() -> None:
    async def waits() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise OSError("the target is gone")

    with anyio.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(OSError, match="gone"):
            await cancelled_once(waits(), lambda: within(60), name="work")
