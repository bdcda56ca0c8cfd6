"""The comparison must see every single record that is too few, too many, wrong or out of order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.cli.demo.comparison import compare

EXPECTED = [("a", 1), ("b", 1), ("a", 2), ("a", 3), ("b", 2)]


def test_the_same_records_are_no_difference() -> None:
    """Order between keys is nobody's promise."""
    assert not compare(EXPECTED, EXPECTED, key=0)
    assert not compare(EXPECTED, [("b", 1), ("b", 2), ("a", 1), ("a", 2), ("a", 3)], key=0)


def test_a_missing_record_is_lost() -> None:
    difference = compare(EXPECTED, [record for record in EXPECTED if record != ("a", 2)], key=0)
    assert difference
    assert (difference.lost, difference.doubled, difference.wrong) == ([("a", 2)], [], [])


def test_a_repeated_record_is_doubled_as_often_as_it_is_too_many() -> None:
    difference = compare(EXPECTED, [*EXPECTED, ("b", 1), ("b", 1)], key=0)
    assert difference
    assert (difference.lost, difference.doubled, difference.wrong) == ([], [("b", 1), ("b", 1)], [])


def test_a_record_that_nobody_expects_is_wrong() -> None:
    """A changed value is one lost and one wrong: both must show."""
    difference = compare(EXPECTED, [*EXPECTED[:-1], ("b", 7)], key=0)
    assert (difference.lost, difference.wrong) == ([("b", 2)], [("b", 7)])


def test_records_of_one_key_out_of_order_are_seen() -> None:
    """All are there, once each, and still a reader of the log would be misled."""
    difference = compare(EXPECTED, [("a", 2), ("a", 1), ("a", 3), ("b", 1), ("b", 2)], key=0)
    assert difference
    assert difference.disordered == ["a"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=8), st.lists(st.integers(-2, 10), max_size=10))
def test_every_output_but_the_right_one_is_a_difference(keys: list[int], picks: list[int]) -> None:
    """Whatever is dropped, doubled, moved or made up."""
    expected = [(key, number) for number, key in enumerate(keys)]
    found = [expected[pick] if 0 <= pick < len(expected) else (9, pick) for pick in picks]
    same = all(
        [record for record in expected if record[0] == key] == [record for record in found if record[0] == key]
        for key in {record[0] for record in [*expected, *found]}
    )
    assert bool(compare(expected, found, key=0)) != same
