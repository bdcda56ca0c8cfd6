"""Async functions in map, filter and flat_map: order, slots, what fails, and what a checkpoint holds of them."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import (
    Failure,
    OutputTag,
    Pipeline,
    PlanError,
    Retry,
    collect,
    idempotency_key,
    in_thread,
)
from actorstream.errors import StateAccessError
from actorstream.runtime import awaiting
from tests.runtime.awaiting import NUMBERS, dying, failure_of, let_run, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def slow_if_even(number: int) -> int:
    await asyncio.sleep(0.002 if number % 2 == 0 else 0)
    return number * 10


async def test_results_come_in_the_order_of_the_records() -> None:
    assert await collect(Pipeline("p").source(NUMBERS).map(slow_if_even)) == [number * 10 for number in NUMBERS]


async def test_out_of_order_nobody_waits_for_a_slow_one() -> None:
    given = await collect(Pipeline("p").source(NUMBERS).map(slow_if_even, ordered=False))
    assert sorted(given) == [number * 10 for number in NUMBERS]
    assert given != sorted(given)


async def test_so_many_calls_overlap_and_no_more() -> None:
    running = most = 0

    async def call(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.0005)
        running -= 1
        return number

    await collect(Pipeline("p").source(NUMBERS).map(call, concurrency=7))
    assert most == 7


async def test_a_slot_is_held_until_what_comes_before_is_there() -> None:
    begun: list[int] = []
    go_on = asyncio.Event()

    async def call(number: int) -> int:
        begun.append(number)
        if number == 0:
            await go_on.wait()
        return number

    pipeline = Pipeline("p")
    pipeline.source(NUMBERS).map(call, concurrency=5).sink(lambda number: None)
    async with pipeline.run() as job:
        await until(lambda: len(begun) == 5)
        await let_run()
        assert begun == [0, 1, 2, 3, 4]
        go_on.set()
        await job.wait()


async def keeps(number: int) -> bool:
    await asyncio.sleep(0)
    return number % 3 == 0


async def as_a_list(number: int) -> list[int] | None:
    await asyncio.sleep(0)
    return [number] * (number % 3) if number % 2 else None


async def as_a_generator(number: int) -> AsyncIterator[int]:
    for _ in range(number % 4):
        await asyncio.sleep(0)
        yield number


async def test_filter_and_flat_map_give_none_one_or_many() -> None:
    assert await collect(Pipeline("p").source(NUMBERS).filter(keeps)) == NUMBERS[::3]
    lists = await collect(Pipeline("p").source(NUMBERS).flat_map(as_a_list))
    assert lists == [number for number in NUMBERS if number % 2 for _ in range(number % 3)]
    generated = await collect(Pipeline("p").source(NUMBERS).flat_map(as_a_generator, ordered=False, concurrency=3))
    assert sorted(generated) == [number for number in NUMBERS for _ in range(number % 4)]


# ---- what goes wrong


async def failing_at_7(number: int) -> int:
    await asyncio.sleep(0)
    if number == 7:
        raise ValueError("seven")
    return number


def pipeline_of(fn: Any, **options: Any) -> Pipeline:
    pipeline = Pipeline("p")
    pipeline.source(NUMBERS, name="numbers").map(fn, name="ask", **options).sink(lambda given: None)
    return pipeline


async def test_a_call_that_raises_fails_the_job_with_operator_record_and_position() -> None:
    """It does not stand before the others for ever (T69)."""
    failure = await failure_of(pipeline_of(failing_at_7))
    assert (failure.operator, failure.subtask, failure.record) == ("ask", 0, 7)
    assert failure.position is not None
    assert isinstance(failure.__cause__, ValueError)
    assert "ask (subtask 0) raised ValueError: seven" in str(failure)


async def test_one_that_is_never_answered_is_over_with_its_time_also_where_it_swallows_that() -> None:
    """What comes after the timeout counts for nothing (T67, T68)."""

    async def never(number: int) -> int:
        while number == 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0.05)
                break
        return number

    failure = await failure_of(pipeline_of(never, timeout=0.01))
    assert "TimeoutError: no result within 0.01 s" in str(failure)
    assert failure.record == 3


async def test_one_that_is_cancelled_from_outside_fails_the_job() -> None:
    async def cancels_itself(number: int) -> int:
        task = asyncio.current_task()
        if number == 5 and task is not None:
            task.cancel()
        await asyncio.sleep(0)
        return number

    assert "the call was cancelled, and not by the job" in str(await failure_of(pipeline_of(cancels_itself)))


async def test_a_string_is_no_list_of_results() -> None:
    async def text(number: int) -> str:
        await asyncio.sleep(0)
        return str(number)

    pipeline = Pipeline("p")
    pipeline.source(NUMBERS).flat_map(text, name="split").sink(lambda given: None)
    assert "TypeError: gave a str, expected a list of results, or None" in str(await failure_of(pipeline))


async def test_calls_end_with_the_job_also_when_it_is_cancelled() -> None:
    """What they would have given is dropped (T72)."""
    running = 0

    async def call(number: int) -> int:
        nonlocal running
        running += 1
        try:
            await asyncio.Event().wait()
        finally:
            running -= 1
        return number

    async with dying(pipeline_of(call, concurrency=20)):
        await until(lambda: running == 20)
    assert running == 0


async def test_one_that_swallows_its_cancellation_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is waited for, but not for ever; then it is named, and left."""
    monkeypatch.setattr(awaiting, "CLOSE_SECONDS", 0.01)
    begun, release, left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stubborn(number: int) -> int:
        begun.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        left.set()
        return number

    async with dying(pipeline_of(stubborn, concurrency=1)):
        await begun.wait()
    assert "calls do not end" in caplog.text
    assert not left.is_set()
    release.set()
    await left.wait()


async def test_a_call_is_made_again_after_the_errors_that_were_named() -> None:
    """Also when the input has ended meanwhile, and with the same waits (T70)."""
    tries: dict[int, int] = {}

    async def flaky(number: int) -> int:
        tries[number] = tries.get(number, 0) + 1
        await asyncio.sleep(0)
        if tries[number] <= number % 3:
            raise ConnectionError("come again")
        return number

    retry = Retry(3, backoff=0.001, on=ConnectionError)
    assert await collect(Pipeline("p").source(NUMBERS).map(flaky, retry=retry)) == NUMBERS
    assert tries == {number: number % 3 + 1 for number in NUMBERS}
    tries.clear()
    failure = await failure_of(pipeline_of(flaky, retry=Retry(2, backoff=0.001, on=ConnectionError)))
    assert "ConnectionError: come again after 2 attempts at a record of type int" in str(failure)
    tries.clear()
    assert "come again" in str(await failure_of(pipeline_of(flaky, retry=Retry(9, on=KeyError))))


def test_retries_wait_longer_and_longer() -> None:
    retry = Retry(5, backoff=1, factor=3, jitter=0.5)
    assert [retry.seconds_before(attempt, 0) for attempt in (2, 3, 4)] == [1, 3, 9]
    assert retry.seconds_before(3, 0.5) == pytest.approx(3.75)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"concurrency": 0}, "concurrency is 0, expected 1 to"),
        ({"ordered": "no"}, "ordered is 'no', expected True or False"),
        ({"timeout": -1}, "timeout is -1"),
        ({"rate": 0}, "rate is 0, expected calls a second, above 0"),
        ({"retry": 3}, "retry is 3, expected Retry"),
        ({"concurrent": 3}, "concurrent"),
    ],
)
def test_words_that_make_no_sense_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(PlanError, match=told):
        Pipeline("p").source(NUMBERS).map(slow_if_even, **options)


def test_words_for_calls_are_refused_of_plain_functions() -> None:
    with pytest.raises(PlanError, match=r"concurrency=, timeout= is for async functions"):
        Pipeline("p").source(NUMBERS).map(str, concurrency=3, timeout=1)  # type: ignore[arg-type]
    for wrong in ({"attempts": 0}, {"backoff": -1.0}, {"factor": 0.5}, {"jitter": "x"}, {"on": KeyboardInterrupt}):
        with pytest.raises(PlanError, match="Retry"):
            Retry(**wrong)


async def test_a_rate_is_kept() -> None:
    began = time.monotonic()
    assert await collect(Pipeline("p").source(NUMBERS[:50]).map(slow_if_even, rate=500)) == [
        number * 10 for number in NUMBERS[:50]
    ]
    assert time.monotonic() - began >= 49 / 500


# ---- threads and keys


async def test_a_blocking_function_runs_in_a_thread() -> None:
    main = threading.get_ident()

    def blocking(number: int) -> bool:
        return threading.get_ident() == main

    assert await collect(Pipeline("p").source(NUMBERS).map(in_thread(blocking))) == [False] * len(NUMBERS)


async def test_a_key_is_the_same_for_each_attempt_and_different_for_equal_records_in_flight() -> None:
    seen: list[tuple[int, str]] = []

    async def call(number: int) -> str:
        key = idempotency_key()
        seen.append((number, key))
        await asyncio.sleep(0.001)
        assert idempotency_key() == key
        if len(seen) == 3:
            raise OSError("again")
        return key

    keys = await collect(Pipeline("p").source([1, 2, 1, 1]).map(call, retry=Retry(2, backoff=0)))
    assert len(set(keys)) == 4
    assert {key for number, key in seen if number == 1} == {keys[0], keys[2], keys[3]}


async def test_there_is_no_key_outside_of_a_call() -> None:
    with pytest.raises(StateAccessError, match="no async function of a stream is running"):
        idempotency_key()


FAILED: OutputTag[Failure[int]] = OutputTag("failed")


@pytest.mark.parametrize("ordered", [True, False])
async def test_what_a_call_raises_goes_to_a_side_output_where_that_was_said(ordered: bool) -> None:
    async def odd_fails(number: int) -> int:
        await asyncio.sleep(0)
        if number % 2:
            raise ValueError(f"{number} is odd")
        return number

    pipeline = Pipeline("p")
    asked = pipeline.source(NUMBERS).map(
        odd_fails, name="ask", errors=FAILED, ordered=ordered, retry=Retry(2, backoff=0)
    )
    right, failures = list[int](), list[Failure[int]]()
    asked.sink(right.append)
    asked.side_output(FAILED).sink(failures.append)
    await pipeline.run()
    assert sorted(right) == NUMBERS[::2]
    assert sorted(failure.value or 0 for failure in failures) == NUMBERS[1::2]
    first = next(failure for failure in failures if failure.value == 1)
    assert (first.operator, first.error, first.attempts) == ("ask", "ValueError: 1 is odd", 2)
    assert "odd_fails" in first.traceback
