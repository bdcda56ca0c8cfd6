"""Times, durations and lists as sentences say them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.runtime.explain_words import counted, instant, listed, since, span
from tests.runtime.pictures import NOW_US, SECOND


@pytest.mark.parametrize(
    ("time_us", "text"),
    [
        (NOW_US, "00:00:00 UTC"),
        (NOW_US + 61 * SECOND + 500_000, "00:01:01.5 UTC"),
        (NOW_US - SECOND, "2025-12-31 23:59:59 UTC"),
        (NOW_US + 61 * SECOND - 1, "00:01:01 UTC"),
        (NOW_US + 2_345, "00:00:00.002 UTC"),
        (0, "1970-01-01 00:00:00 UTC"),
        (TIME_MIN, "before all time"),
        (TIME_MAX, "the end of time"),
    ],
)
def test_instant_has_its_date_only_where_that_is_another_day(time_us: int, text: str) -> None:
    assert instant(time_us, NOW_US) == text


@pytest.mark.parametrize(
    ("duration_us", "text"),
    [
        (-5, "0 ms"),
        (320_000, "320 ms"),
        (4_200_000, "4.2 s"),
        (45 * SECOND, "45 s"),
        (60 * SECOND, "1 min"),
        (59_960_000, "1 min"),
        (250 * SECOND, "4 min 10 s"),
        (3_600 * SECOND, "1 h"),
        (7_500 * SECOND, "2 h 5 min"),
        (90_000 * SECOND, "1 d 1 h"),
    ],
)
def test_span_has_one_or_two_units(duration_us: int, text: str) -> None:
    assert span(duration_us) == text


def test_since_says_the_time_and_how_long_ago_it_is() -> None:
    assert since(NOW_US, NOW_US + 20 * SECOND) == "00:00:00 UTC (20 s ago)"


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (["a", "b", "c", "d", "e"], "a, b, c and 2 more"),
    ],
)
def test_listed_names_three_and_counts_the_rest(names: list[str], text: str) -> None:
    assert listed(names) == text


@given(st.integers(TIME_MIN, TIME_MAX), st.integers(TIME_MIN, TIME_MAX))
def test_no_time_and_no_duration_is_too_much(time_us: int, now_us: int) -> None:
    """A watermark may be any 64 bits, and a clock may be set wrong."""
    assert instant(time_us, now_us)
    assert span(time_us - now_us)
    assert since(time_us, now_us)


@pytest.mark.parametrize(("count", "text"), [(0, "0 records"), (1, "1 record"), (2_048, "2,048 records")])
def test_counted_tells_one_from_many(count: int, text: str) -> None:
    assert counted(count, "record") == text
