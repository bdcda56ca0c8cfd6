"""User code that raises: who, where, on what; tried again, and given up at the third time in a row."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING

import pytest

from actorstream import Context, EventLog, JobFailed, KeyedProcess, Pipeline, Restart, ValueState, replayable
from actorstream.errors import RestoreError, UserCodeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from actorstream import Stream, Summary

NUMBERS = list(range(1, 41))
RESTART = Restart.exponential(initial=0.01)
POISON = 23


class PoisonError(Exception):
    pass


class Fuse:
    """Raises at one number, so many times."""

    def __init__(self, times: int, at: int = POISON) -> None:
        self.left = times
        self.at = at

    def check(self, number: int) -> int:
        if number == self.at and self.left:
            self.left -= 1
            raise PoisonError(f"number {number}")
        return number

    def several(self, number: int) -> Iterator[int]:
        yield number
        yield self.check(number)


class Sum(KeyedProcess[int, int, int]):
    sum: ValueState[int] = ValueState(0)

    def __init__(self, fuse: Fuse) -> None:
        self.fuse = fuse

    def on_element(self, value: int, ctx: Context[int], /) -> Iterator[int]:
        self.sum += value
        yield -self.sum
        self.fuse.check(value)
        yield self.sum


def with_map(numbers: Stream[int], fuse: Fuse) -> Stream[int]:
    return numbers.map(fuse.check, name="user")


def with_flat_map(numbers: Stream[int], fuse: Fuse) -> Stream[int]:
    return numbers.flat_map(fuse.several, name="user")


def with_key(numbers: Stream[int], fuse: Fuse) -> Stream[int]:
    return (
        numbers.map(lambda n: n, name="user").key_by(fuse.check).fold(0, lambda a, n: n, name="f").map(lambda i: i[1])
    )


def with_process(numbers: Stream[int], fuse: Fuse) -> Stream[int]:
    return numbers.key_by(lambda n: n % 2).process(lambda: Sum(fuse), name="user")


def with_fold(numbers: Stream[int], fuse: Fuse) -> Stream[int]:
    sums = numbers.key_by(lambda n: n % 2).fold(0, lambda total, n: total + fuse.check(n), name="user")
    return sums.map(lambda item: item[1])


OPERATORS = pytest.mark.parametrize("operators", [with_map, with_flat_map, with_key, with_process, with_fold])


async def run(
    folder: Path, operators: Callable[[Stream[int], Fuse], Stream[int]], fuse: Fuse, restart: Restart = RESTART
) -> Summary:
    """Run to the end of the numbers, which come from a log a few at a time."""
    pipeline = Pipeline("user")
    async with EventLog(int, folder / "in") as numbers, EventLog(int, folder / "out") as out:
        if not (await numbers.summary()).records:
            await numbers.extend(NUMBERS)
        operators(pipeline.source(numbers.view(stop="now"), name="numbers"), fuse).sink(out, name="out")
        return await pipeline.run(store=folder / "store", restart=restart, checkpoint_interval=0.01)


async def outputs_in(folder: Path) -> list[int]:
    async with EventLog(int, folder / "out") as log:
        return [record.value async for record in log.records(stop="now")]


@OPERATORS
async def test_the_error_names_operator_subtask_position_and_keeps_the_original(
    tmp_path: Path, operators: Callable[[Stream[int], Fuse], Stream[int]]
) -> None:
    """Three times in a row on one record: given up, with the first three attempts used."""
    with pytest.raises(JobFailed, match=r"the same record failed 3 times in a row") as failed:
        await run(tmp_path, operators, Fuse(1_000))
    error = failed.value.__cause__
    assert isinstance(error, UserCodeError)
    assert f"user (subtask 0) raised PoisonError: number {POISON}" in str(error)
    assert (error.operator, error.subtask, error.record) == ("user", 0, POISON)
    assert error.position is not None
    assert "read from split '0' up to position" in str(error)
    original = error.__cause__
    assert isinstance(original, PoisonError)
    assert [frame.name for frame in traceback.extract_tb(original.__traceback__)][-1] == "check"
    assert {path.name for path in (tmp_path / "store" / "user" / "attempts").iterdir()} == {"1", "2", "3"}


@OPERATORS
async def test_two_failures_and_a_success_give_each_output_once(
    tmp_path: Path, operators: Callable[[Stream[int], Fuse], Stream[int]]
) -> None:
    """What the failed attempts had emitted and kept is gone with them."""
    summary = await run(tmp_path, operators, Fuse(2))
    assert summary.restarts == 2
    clean = tmp_path / "clean"
    await run(clean, operators, Fuse(0))
    assert await outputs_in(tmp_path) == await outputs_in(clean) != []


@OPERATORS
async def test_a_corrected_program_goes_on_where_the_failed_one_stood(
    tmp_path: Path, operators: Callable[[Stream[int], Fuse], Stream[int]]
) -> None:
    with pytest.raises(JobFailed):
        await run(tmp_path, operators, Fuse(1), Restart.never())
    await run(tmp_path, operators, Fuse(0))
    await run(tmp_path / "clean", operators, Fuse(0))
    assert await outputs_in(tmp_path) == await outputs_in(tmp_path / "clean") != []


async def test_records_that_fail_in_turn_are_not_one_record_that_fails(tmp_path: Path) -> None:
    """Two each at two places: four failures, none the third in a row."""
    first, second = Fuse(2, 5), Fuse(2, 31)
    summary = await run(tmp_path, lambda numbers, _: numbers.map(first.check).map(second.check), Fuse(0))
    assert summary.restarts == 4
    assert await outputs_in(tmp_path) == NUMBERS


async def test_a_source_that_raises_is_read_again_behind_what_was_recorded(tmp_path: Path) -> None:
    fuse = Fuse(2)

    @replayable
    async def numbers(after: int | None) -> AsyncIterator[tuple[int, int]]:
        for number in NUMBERS[0 if after is None else after :]:
            yield number, fuse.check(number)

    pipeline = Pipeline("user")
    out = EventLog(int, tmp_path / "out")
    pipeline.source(numbers, name="numbers").sink(out, name="out")
    summary = await pipeline.run(store=tmp_path / "store", restart=RESTART)
    assert summary.restarts == 2
    assert await outputs_in(tmp_path) == NUMBERS


async def test_a_source_that_always_raises_is_named_with_split_and_position(tmp_path: Path) -> None:
    fuse = Fuse(1_000)

    @replayable
    async def numbers(after: int | None) -> AsyncIterator[tuple[int, int]]:
        for number in NUMBERS[0 if after is None else after :]:
            yield number, fuse.check(number)

    pipeline = Pipeline("user")
    pipeline.source(numbers, name="numbers").sink(EventLog(int, tmp_path / "out"), name="out")
    says = r"source numbers \(subtask 0\) raised PoisonError while reading split '0' after position .*: number 23"
    with pytest.raises(JobFailed, match=says) as failed:
        await pipeline.run(store=tmp_path / "store", restart=Restart.fixed_delay(5, delay=0))
    error = failed.value.__cause__
    assert isinstance(error, UserCodeError)
    assert isinstance(error.__cause__, PoisonError)
    assert error.operator == "numbers"
    assert "restarts" in str(failed.value), "no record is to blame: what it reads may be out of reach for a while"


async def test_a_generator_that_an_error_has_ended_is_refused_not_taken_for_its_end(tmp_path: Path) -> None:
    """It cannot be read again, so no restart helps: what it had still to give is lost, and the job says so."""
    pipeline = Pipeline("user")
    pipeline.source((Fuse(1).check(number) for number in NUMBERS), name="once").sink(print)
    with pytest.raises(JobFailed, match="cannot go on: an error or a cancellation has ended it") as failed:
        await pipeline.run(store=tmp_path / "store", restart=RESTART)
    assert isinstance(failed.value.__cause__, RestoreError)


async def test_a_generator_that_ends_early_is_an_input_that_ended(tmp_path: Path) -> None:
    """Its end is its own decision: all it gave is committed, with the final checkpoint."""

    async def few() -> AsyncIterator[int]:
        for number in NUMBERS:
            if number == POISON:
                return
            yield number
            await asyncio.sleep(0)

    pipeline = Pipeline("user")
    out = EventLog(int, tmp_path / "out")
    pipeline.source(few, name="few").sink(out, name="out")
    summary = await pipeline.run(store=tmp_path / "store", restart=RESTART, checkpoint_interval=None)
    assert (summary.restarts, summary.checkpoints) == (0, 1)
    assert await outputs_in(tmp_path) == NUMBERS[: POISON - 1]


@pytest.mark.parametrize("place", ["open", "close"])
async def test_open_and_close_that_raise_are_the_operators(tmp_path: Path, place: str) -> None:
    class Breaks(KeyedProcess[int, int, int]):
        def on_element(self, value: int, ctx: Context[int], /) -> list[int]:
            return [value]

        async def open(self, ctx: object, /) -> None:
            if place == "open":
                raise PoisonError(place)

        async def close(self) -> None:
            if place == "close":
                raise PoisonError(place)

    pipeline = Pipeline("user")
    out = EventLog(int, tmp_path / "out")
    pipeline.source(NUMBERS).key_by(lambda n: n).process(Breaks, name="breaks").sink(out, name="out")
    run = pipeline.run(store=tmp_path / "store", restart=Restart.never())
    if place == "open":
        with pytest.raises(JobFailed, match=r"breaks \(subtask 0\) raised PoisonError: open"):
            await run
        assert await outputs_in(tmp_path) == []
    else:
        await run
        assert await outputs_in(tmp_path) == NUMBERS
