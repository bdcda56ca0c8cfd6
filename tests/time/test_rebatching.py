"""Batch boundaries never change a result (T136): the same input per channel in other batches, the same output."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.time.cases import CASES
from tests.time.driving import Manner, Step, by_key, plans, run

OTHERS = (Manner(batch=7, fired=1, piece=3), Manner(batch=1_000, fired=2, piece=512), Manner(batch=0, fired=3, piece=1))


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=5, deadline=None)
@given(steps=plans(), seed=st.integers(0, 1_000))
def test_batches_change_neither_results_nor_their_order_nor_what_is_late(
    case: str, steps: list[Step], seed: int
) -> None:
    """T136: records one by one, by sevens, all that were sent together, and at random, and fired a few at a time."""
    one_by_one = run(CASES[case], steps, Manner(batch=1))
    for manner in OTHERS:
        again = run(CASES[case], steps, Manner(manner.batch, manner.fired, manner.piece, seed=seed))
        assert again == one_by_one, manner


@pytest.mark.parametrize("case", [name for name in CASES if "itself" not in name])
@settings(max_examples=2, deadline=None)
@given(steps=plans(), parallelism=st.sampled_from([2, 3]), seed=st.integers(0, 1_000))
def test_batches_change_nothing_of_a_key_where_it_is_one_of_many_subtasks(
    case: str, steps: list[Step], parallelism: int, seed: int
) -> None:
    """T136: results travel between actors, so each lane carries watermarks of its own.

    Those behind are left out, and joins of a stream with itself: they have several channels with records at the same
    time, and in which order these are read is not fixed.
    """
    one_by_one = run(CASES[case], steps, Manner(batch=1, parallelism=parallelism))
    for manner in (Manner(1_000, 2, 512, parallelism), Manner(0, 3, 1, parallelism, seed)):
        again = run(CASES[case], steps, manner)
        assert _results(again) == _results(one_by_one), manner


def _results(outputs: dict[str, list[Any]]) -> dict[str, dict[str, list[Any]]]:
    return by_key({name: values for name, values in outputs.items() if name != "behind"})
