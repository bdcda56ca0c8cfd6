"""What is computed of the records of a window."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorstream.errors import PlanError
from actorstream.operators.windows.aggregates import (
    Aggregation,
    aggregating,
    applying,
    counting,
    extreme,
    extreme_by,
    folding,
    processing,
    reducing,
    summing,
)
from actorstream.state.missing import MISSING


class Mean:
    """An aggregate of a user's own."""

    def create(self) -> list[float]:
        return [0, 0]

    def add(self, accumulator: list[float], value: float, /) -> list[float]:
        accumulator[0] += value
        accumulator[1] += 1
        return accumulator

    def merge(self, left: list[float], right: list[float], /) -> list[float]:
        left[0] += right[0]
        left[1] += right[1]
        return left

    def result(self, accumulator: list[float], /) -> float:
        return accumulator[0] / accumulator[1]


def _both(left: list[int], right: list[int]) -> list[int]:
    return left + right


ALL: dict[str, tuple[Aggregation, Any]] = {
    "count": (counting(), len),
    "sum": (summing(lambda x: x * 2), lambda xs: sum(xs) * 2),
    "min": (extreme(abs, "min"), lambda xs: min(map(abs, xs))),
    "max": (extreme(abs, "max"), lambda xs: max(map(abs, xs))),
    "min_by": (extreme_by(abs, "min_by"), lambda xs: min(xs, key=abs)),
    "max_by": (extreme_by(abs, "max_by"), lambda xs: max(xs, key=abs)),
    "reduce": (reducing(max), max),
    "fold": (folding([], lambda held, x: [*held, x], _both), list),
    "aggregate": (aggregating(Mean()), lambda xs: sum(xs) / len(xs)),
}


def of(aggregation: Aggregation, records: list[int]) -> Any:
    held: Any = MISSING
    for record in records:
        held = aggregation.add(held, record)
    return held


@pytest.mark.parametrize("shape", ALL)
@given(records=st.lists(st.integers(-9, 9), min_size=1), at=st.integers(0, 100))
def test_accumulators_and_their_parts_say_the_same_as_all_records(shape: str, records: list[int], at: int) -> None:
    """Of equal ones the first; parts are merged the earlier first."""
    aggregation, meaning = ALL[shape]
    assert aggregation.shape == shape
    assert aggregation.result(of(aggregation, records)) == meaning(records)
    assert aggregation.of_kept().result(records) == meaning(records)
    left, right = records[:at], records[at:]
    if left and right:
        assert aggregation.merge is not None
        merged = aggregation.merge(of(aggregation, left), of(aggregation, right))
        assert aggregation.result(merged) == meaning(records)


def test_what_a_fold_begins_with_is_not_shared_t125() -> None:
    """Nor is the first record of a reduce: the user's function may change its first argument."""
    initial: list[int] = []

    def add(held: list[int], record: int) -> list[int]:
        held.append(record)
        return held

    assert of(folding(initial, add, None), [1, 2]) == [1, 2]
    assert initial == []
    first = [1]
    reduced = reducing(lambda left, right: left.extend(right) or left)
    assert reduced.add(reduced.add(MISSING, first), [2]) == [1, 2]
    assert first == [1]


def test_what_cannot_be_stored_is_refused_at_build() -> None:
    """And not at the first checkpoint."""
    folding(0, max, None).check_storable("total")
    with pytest.raises(PlanError, match="total: its initial value cannot be stored"):
        folding(object(), max, None).check_storable("total")


def test_an_aggregate_need_not_say_how_two_become_one() -> None:
    """Where nothing is ever merged, nobody asks it."""

    class Longest:
        def create(self) -> int:
            return 0

        def add(self, accumulator: int, value: int, /) -> int:
            return max(accumulator, value)

        def result(self, accumulator: int, /) -> int:
            return accumulator

    longest = aggregating(Longest())  # type: ignore[arg-type]  # no merge
    assert longest.merge is None
    assert longest.result(of(longest, [1, 3, 2])) == 3


def test_records_that_are_kept_have_no_accumulator() -> None:
    """They have a function of all of them."""
    assert applying(sum).is_kept
    assert applying(sum).result([1, 2]) == 3
    assert processing().is_kept
    with pytest.raises(PlanError, match="no accumulator"):
        applying(sum).add(MISSING, 1)
