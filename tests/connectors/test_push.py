"""A push source: what a sender is told while the job is behind, fails, stops, or is gone."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any, NewType

import anyio
import anyio.lowlevel
import pytest

from actorstream import JobFailed, Pipeline, PlanError, Push, PushClosedError, Restart, Source, UserCodeError

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path


def job(push: Push[Any], seen: list[Any]) -> Pipeline:
    pipeline = Pipeline("fed")
    pipeline.source(push).sink(seen.append)
    return pipeline


async def started(call: Awaitable[None]) -> asyncio.Task[None]:
    """Begin a call and let it come to its first wait."""
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0)
    return task


async def take(push: Push[int], count: int) -> list[int]:
    """Read as a job does, until `count` records came."""
    values: list[int] = []
    async for fetched in push.read("0", None):
        values += fetched.values
        if len(values) >= count:
            break
    return values


def test_it_is_a_source_that_says_that_it_cannot_be_replayed() -> None:
    push = Push(int)
    assert isinstance(push, Source)
    described = job(push, []).describe()
    assert "source Push" in described
    assert "not replayable: records in flight at a crash are lost" in described


async def test_what_is_sent_comes_in_order_until_it_is_closed() -> None:
    push, seen = Push(int), list[int]()
    await push.send(1)  # before there is a job
    async with job(push, seen).run() as running:
        for number in range(2, 3_000):
            await push.send(number)
        push.close()
        push.close()
        await running.wait()

    assert seen == list(range(1, 3_000))


async def test_a_full_one_lets_senders_wait_and_serves_them_in_turn() -> None:
    push = Push(int, capacity=2)
    await push.send(1)
    await push.send(2)
    third, fourth = await started(push.send(3)), await started(push.send(4))
    assert not third.done()
    assert push.waiting == 2

    assert await take(push, 2) == [1, 2]
    await asyncio.gather(third, fourth)
    assert await take(push, 2) == [3, 4]


async def test_a_sender_that_gives_up_waiting_has_sent_nothing_and_holds_nobody_up() -> None:
    push = Push(int, capacity=1)
    await push.send(1)
    second, third = await started(push.send(2)), await started(push.send(3))
    second.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await second

    assert await take(push, 1) == [1]
    await third
    assert await take(push, 1) == [3]


async def test_who_waits_when_it_is_closed_is_still_served() -> None:
    push = Push(int, capacity=1)
    await push.send(1)
    second = await started(push.send(2))
    push.close()

    assert [value async for fetched in push.read("0", None) for value in fetched.values] == [1, 2]
    await second
    with pytest.raises(PushClosedError, match="it was closed"):
        await push.send(3)


async def test_back_pressure_of_a_slow_job_reaches_the_sender() -> None:
    """However fast it is sent, no more is taken than fits: into the queue, the lane, and the job's hands."""
    push, go_on, seen = Push(int, capacity=8), anyio.Event(), list[int]()

    async def slow(number: int) -> None:
        await go_on.wait()
        seen.append(number)

    pipeline = Pipeline("slow")
    pipeline.source(push).sink(slow)
    sent = 0

    async def send_all() -> None:
        nonlocal sent
        for number in range(20_000):
            await push.send(number)
            sent = number + 1
        push.close()

    async with pipeline.run() as running:
        sender = asyncio.ensure_future(send_all())
        before = -1
        while before < sent:  # until nothing moves any more
            before = sent
            for _ in range(200):
                await asyncio.sleep(0)
        assert sent < 10_000
        go_on.set()
        await sender
        await running.wait()
    assert seen == list(range(20_000))


async def test_after_a_restart_it_goes_on_and_only_what_was_in_flight_is_lost(tmp_path: Path) -> None:
    push, seen, poison = Push(int, capacity=4), list[int](), [3]

    def fail_once(number: int) -> int:
        if number in poison:
            poison.remove(number)
            raise ValueError("poison")
        return number

    pipeline = Pipeline("restarts")
    pipeline.source(push).map(fail_once).sink(seen.append)
    async with pipeline.run(store=tmp_path, restart=Restart.fixed_delay(3, delay=0.0)) as running:
        for number in range(100):
            await push.send(number)
        push.close()
        await running.wait()

    assert seen[-1] == 99
    assert 3 not in seen
    assert sorted(set(seen)) == seen  # nothing twice, nothing out of order


async def test_when_the_job_fails_whoever_waits_is_told_why() -> None:
    push = Push(int, capacity=1)

    def refuse(number: int) -> None:
        raise ValueError(f"no {number}")

    pipeline = Pipeline("failing")
    pipeline.source(push).sink(refuse)

    async def send_for_ever() -> None:
        while True:
            await push.send(7)

    with pytest.raises(JobFailed):
        await _beside(pipeline, send_for_ever)
    with pytest.raises(PushClosedError, match="job 'failing' has failed") as refused:
        await push.send(8)
    assert isinstance(refused.value.__cause__, JobFailed)
    assert isinstance(refused.value.__cause__.__cause__, UserCodeError)


async def _beside(pipeline: Pipeline, send: Any) -> None:
    async with pipeline.run() as running:
        sender = asyncio.ensure_future(send())
        try:
            await running.wait()
        finally:
            with pytest.raises(PushClosedError):
                await sender


async def test_between_two_runs_nothing_is_taken_and_the_next_goes_on_with_what_waits() -> None:
    push, seen = Push(int), list[int]()
    async with job(push, seen).run():
        await push.send(1)
        await _until(lambda: seen == [1])
    with pytest.raises(PushClosedError, match="job 'fed' has ended"):
        await push.send(2)
    async with job(push, seen).run() as running:
        await push.send(3)
        push.close()
        await running.wait()
    assert seen == [1, 3]


async def test_after_wait_the_end_is_known() -> None:
    """No send is taken between the end of the job and the end of its block: nobody would ever read it."""
    push = Push(int)
    pipeline = Pipeline("short")
    pipeline.source(push).sink(print_nothing)
    async with pipeline.run() as running:
        await push.send(1)
        await _until(lambda: push.waiting == 0)
        await running.stop()
        with pytest.raises(PushClosedError):
            await push.send(2)


def print_nothing(number: int) -> None:
    del number


async def _until(holds: Any) -> None:
    with anyio.fail_after(10):
        while not holds():
            await anyio.lowlevel.checkpoint()


async def test_two_jobs_cannot_share_one() -> None:
    push = Push(int)
    async with job(push, []).run():
        with pytest.raises(PlanError, match="read by job 'fed' already"):
            async with job(push, []).run():
                pass
        await push.send(1)  # the first one goes on


async def test_a_send_from_another_loop_is_refused() -> None:
    push, told = Push(int), list[Exception]()

    def elsewhere() -> None:
        try:
            asyncio.run(push.send(1))
        except PlanError as error:
            told.append(error)

    async with job(push, []).run():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert "run_coroutine_threadsafe" in str(told[0])


Word = NewType("Word", str)


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (int, 1, "1"),
        (float, 1, "1"),
        ((int, str), "x", 1.0),
        (list[int], [1], (1,)),
    ],
)
async def test_a_record_of_another_type_is_refused(kind: Any, right: object, wrong: object) -> None:
    push: Push[object] = Push(kind)
    await push.send(right)
    with pytest.raises(PlanError, match="this Push takes"):
        await push.send(wrong)


async def test_types_that_cannot_be_told_at_run_time_are_not_checked() -> None:
    await Push[Any](Word).send(1)


@pytest.mark.parametrize("capacity", [0, -1, 1.5, True])
def test_a_capacity_that_makes_no_sense_is_refused(capacity: Any) -> None:
    with pytest.raises(PlanError, match="capacity"):
        Push(int, capacity=capacity)
