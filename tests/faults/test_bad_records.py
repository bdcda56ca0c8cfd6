"""Records, keys and states that cannot be kept: a clear error, nothing lost, and a corrected program goes on exactly.

Each job here has a store and the default restarts, so that a record which can never pass must not be tried for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import pytest

from actorstream import Context, EventLog, JobFailed, KeyedProcess, Pipeline, Restart, ValueState
from actorstream.errors import CodecError, PlanError, RecordTooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actorstream import Stream

NUMBERS = list(range(10))
SUMS = [sum(number for number in NUMBERS[: last + 1] if number % 2 == last % 2) for last in NUMBERS]
RESTART = Restart.exponential(initial=0.01)
Build: TypeAlias = "Callable[[bool], Callable[[Stream[int]], Stream[int]]]"
BAD = 9
TOO_LARGE = 17 << 20


class Odd:
    """No codec knows it."""


class Sum(KeyedProcess[int, int, int]):
    sum: ValueState[object] = ValueState(None)

    def __init__(self, *, bad: object) -> None:
        self.bad = bad

    def on_element(self, value: int, ctx: Context[int], /) -> list[int]:
        last = self.sum if isinstance(self.sum, int) else 0
        self.sum = self.bad if value == BAD and self.bad is not None else last + value
        return [last + value]


class TypedSum(KeyedProcess[int, int, int]):
    sum: ValueState[int] = ValueState(0)

    def __init__(self, *, bad: object) -> None:
        self.bad = bad

    def on_element(self, value: int, ctx: Context[int], /) -> list[int]:
        total = self.sum + value
        self.sum = self.bad if value == BAD and self.bad is not None else total  # type: ignore[assignment]
        return [total]


def with_state(process: type[Sum | TypedSum], bad: object) -> Build:
    def build(good: bool) -> Callable[[Stream[int]], Stream[int]]:
        def make() -> Sum | TypedSum:
            return process(bad=None if good else bad)

        return lambda numbers: numbers.key_by(lambda n: n % 2).process(make, name="sum")

    return build


def with_key(bad: object) -> Build:
    def build(good: bool) -> Callable[[Stream[int]], Stream[int]]:
        def key(number: int) -> object:
            return bad if number == BAD and not good else number % 2

        def make() -> Sum:
            return Sum(bad=None)

        return lambda numbers: numbers.key_by(key).process(make, name="sum")  # type: ignore[arg-type]

    return build


async def run(folder: Path, numbers: list[int], operators: Callable[[Stream[int]], Stream[int]]) -> None:
    pipeline = Pipeline("bad")
    sums = operators(pipeline.source(numbers, name="numbers"))
    async with EventLog(int, folder / "sums") as log:
        sums.sink(log, name="sums")
        await pipeline.run(store=folder / "store", restart=RESTART)


async def sums_in(folder: Path) -> list[int]:
    async with EventLog(int, folder / "sums") as log:
        return [record.value async for record in log.records(stop="now")]


def attempts_in(folder: Path) -> set[str]:
    return {path.name for path in (folder / "store" / "bad" / "attempts").iterdir()}


@pytest.mark.parametrize(
    ("build", "says"),
    [
        pytest.param(with_state(Sum, Odd()), r"state sum\.sum, key 1: .*Odd cannot be kept", id="state of no codec"),
        pytest.param(with_state(Sum, [1, {2: Odd()}]), r"state sum\.sum, key 1: .*Odd", id="deep inside a state"),
        pytest.param(with_state(TypedSum, "7"), r"state sum\.sum, key 1: .*str.* expected int", id="state of a type"),
        pytest.param(with_key(None), "sum: key_by gave None", id="no key"),
        pytest.param(with_key("1"), "sum: key_by gave '1', a str, after keys of type int", id="two types of keys"),
        pytest.param(with_key(True), "sum: key_by gave True, a bool, after keys of type int", id="T137"),
        pytest.param(with_key(1.0), r"sum: key_by gave 1\.0, a float, after keys of type int", id="T137 float"),
        pytest.param(with_key(Odd()), r"sum: key_by gave .*Odd", id="key of no codec"),
    ],
)
async def test_what_cannot_be_kept_is_named_and_the_corrected_program_is_exact(
    tmp_path: Path, build: Build, says: str
) -> None:
    """Three times in a row is enough: the value has no encoding tomorrow either."""
    with pytest.raises(JobFailed, match=says) as failed:
        await run(tmp_path, NUMBERS, build(False))
    assert isinstance(failed.value.__cause__, CodecError)
    assert attempts_in(tmp_path) == {"1", "2", "3"}
    assert await sums_in(tmp_path) == []

    await run(tmp_path, NUMBERS, build(True))
    assert await sums_in(tmp_path) == SUMS


async def test_a_record_too_large_for_its_log_is_named_with_size_and_limit(tmp_path: Path) -> None:
    pipeline = Pipeline("bad")
    lines = EventLog(str, tmp_path / "lines")
    pipeline.source(NUMBERS, name="numbers").map(lambda n: "x" * (TOO_LARGE if n == BAD else 1)).sink(
        lines, name="lines"
    )
    with pytest.raises(JobFailed, match=r"lines .*17,825,7\d\d bytes .*limit is 16,777,216: split it") as failed:
        await pipeline.run(store=tmp_path / "store", restart=RESTART)
    assert isinstance(failed.value.__cause__, RecordTooLargeError)
    assert attempts_in(tmp_path) == {"1", "2", "3"}
    assert (await lines.summary()).records == 0
    assert list((tmp_path / "lines" / "staged").iterdir()) == []


async def test_a_record_of_another_type_than_its_log_is_named(tmp_path: Path) -> None:
    pipeline = Pipeline("bad")
    log = EventLog(int, tmp_path / "log")
    pipeline.source(NUMBERS).map(lambda n: str(n) if n == BAD else n).sink(log, name="log")  # type: ignore[arg-type]
    with pytest.raises(JobFailed, match=r"log .*'9' \(a str\), expected int"):
        await pipeline.run(store=tmp_path / "store", restart=RESTART)
    assert (await log.summary()).records == 0


async def test_a_position_that_cannot_be_kept_names_the_source(tmp_path: Path) -> None:
    class Strange:
        async def splits(self) -> list[str]:
            return ["0"]

        async def read(self, split: str, after: object, /) -> object:
            from actorstream import Fetched  # noqa: PLC0415

            yield Fetched([1], Odd())

    pipeline = Pipeline("bad")
    pipeline.source(Strange(), name="strange").sink(print)  # type: ignore[call-overload]
    with pytest.raises(JobFailed, match=r"source strange, split '0': its position cannot be stored: .*Odd") as failed:
        await pipeline.run(store=tmp_path / "store", restart=RESTART)
    assert isinstance(failed.value.__cause__, CodecError)


def test_state_that_could_not_be_found_again_needs_a_name_once_there_is_a_store(tmp_path: Path) -> None:
    pipeline = Pipeline("bad")
    pipeline.source(NUMBERS).key_by(lambda n: n % 2).count().sink(print)
    _ = pipeline.run()
    with pytest.raises(PlanError, match=r"count 'count-1' keeps state but has no name .* say name=\.\.\."):
        _ = pipeline.run(store=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_two_operators_of_one_name_are_refused(tmp_path: Path) -> None:
    pipeline = Pipeline("bad")
    keyed = pipeline.source(NUMBERS).key_by(lambda n: n % 2)
    keyed.count(name="c").sink(print)
    keyed.fold(0, lambda total, n: total + n, name="c").sink(print)
    with pytest.raises(PlanError, match=r"two operators have the name 'c', a count and a fold: .*name=\.\.\."):
        _ = pipeline.run(store=tmp_path / "store")
    assert not (tmp_path / "store").exists()
