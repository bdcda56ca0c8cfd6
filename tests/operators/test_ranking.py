"""A ranking is that of all records, sorted: the greatest first, of equal ones the first to come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actorstream.operators.ranking import Ranking


@given(st.lists(st.tuples(st.integers(0, 5), st.integers())), st.integers(1, 4))
def test_a_ranking_is_the_first_of_all_sorted(records: list[tuple[int, int]], n: int) -> None:
    """Python's sort is stable, so equal ones keep their order."""
    held: tuple[object, ...] = ()
    for count, record in enumerate(records, 1):
        before, held = held, Ranking(n, lambda each: each[0]).enter(held, record)
        assert list(held) == sorted(records[:count], key=lambda each: -each[0])[:n]
        assert (held is before) is (held == before)


def test_a_record_that_may_change_is_not_shared() -> None:
    """T125: others have it too."""
    record = [3]
    held = Ranking(2, len).enter((), record)
    record.append(4)

    assert held == ([3],)
