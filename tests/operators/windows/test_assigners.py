"""Which windows a record is in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorstream.errors import PlanError, TimestampError
from actorstream.operators.user_time import datetime_of
from actorstream.operators.windows.assigners import (
    FOREVER,
    Count,
    Global,
    Session,
    Sliding,
    Tumbling,
    Window,
    WindowAssigner,
)
from tests.operators.windows.rig import us

if TYPE_CHECKING:
    from collections.abc import Iterable

TIMES = st.integers(-1_000, 1_000)


@given(TIMES, st.integers(1, 40), st.integers(-100, 100))
def test_a_tumbling_window_holds_its_record_t59(time: int, size: int, offset: int) -> None:
    """Starts are multiples of the size from the offset on: also below 0, where division could round to 0."""
    ((start, end),) = Tumbling(us(size), offset=us(offset)).assign_us(None, time)
    assert start <= time < end == start + size
    assert (start - offset) % size == 0


@given(TIMES, st.integers(1, 40), st.integers(1, 40), st.integers(-100, 100))
def test_a_record_is_in_every_sliding_window_around_it_t59(time: int, size: int, slide: int, offset: int) -> None:
    """In order; in none where the slide is beyond the size and the record falls between."""
    expected = [
        (start, start + size)
        for start in range(time - size + 1, time + 1)
        if start % slide == offset % slide and start <= time < start + size
    ]
    assert list(Sliding(us(size), slide=us(slide), offset=us(offset)).assign_us(None, time)) == expected


@given(TIMES, st.integers(1, 40))
def test_tumbling_is_sliding_by_its_size(time: int, size: int) -> None:
    """Two ways to say one thing."""
    assert [*Tumbling(us(size)).assign_us(None, time)] == [*Sliding(us(size), slide=us(size)).assign_us(None, time)]


def test_a_record_stands_for_a_gap() -> None:
    """One of all, or its own."""
    assert list(Session[object](us(7)).assign_us(None, -3)) == [(-3, 4)]
    assert list(Session(us).assign_us(5, 10)) == [(10, 15)]


def test_assign_shows_what_assign_us_counts() -> None:
    """One meaning for users and for us."""
    at = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
    minute = Window(at.replace(second=0), at.replace(minute=1, second=0))
    assert list(Tumbling(60).assign(None, at)) == [minute]
    assert list(Sliding(timedelta(minutes=1), slide=60.0).assign(None, at)) == [minute]
    assert list(Session[object](30).assign(None, at)) == [Window(at, at + timedelta(seconds=30))]
    assert list(Session(us).assign(30_000_000, at)) == [Window(at, at + timedelta(seconds=30))]
    ((start, end),) = Global().assign(None, at)
    assert (start.year, end.year) == (1, 9999)
    assert Global().assign_us(None, 5) == (FOREVER,)


def unchecked(value: Any) -> Any:
    """Give what no type checker would let through."""
    return value


class Given(WindowAssigner[Any]):
    """Gives what the record is."""

    def assign(self, value: Any, timestamp: datetime, /) -> Iterable[Window]:
        given: list[Window] = value
        return given


def test_windows_of_a_users_own_are_told_once_and_in_order() -> None:
    """However they were given: results must not depend on it. Any zone, and plain seconds, are fine."""
    east = timezone(timedelta(hours=2))
    late = Window(datetime_of(30_000_000), datetime_of(40_000_000))
    early: Any = (datetime.fromtimestamp(10, east), 20)
    assert Given().assign_us([late, early, late], 0) == [(10_000_000, 20_000_000), (30_000_000, 40_000_000)]


@pytest.mark.parametrize(
    ("windows", "error", "says"),
    [
        ([Window(datetime_of(5), datetime_of(5))], PlanError, "does not end after its start"),
        ([5], PlanError, "expected Window"),
        ([(1, 2, 3)], PlanError, "expected Window"),
        ([Window(datetime(2026, 1, 1), datetime(2026, 1, 2))], TimestampError, "start"),  # noqa: DTZ001
    ],
)
def test_what_is_no_window_is_refused(windows: Any, error: type[Exception], says: str) -> None:
    """At once, and not as a window that never closes."""
    with pytest.raises(error, match=says):
        Given().assign_us(windows, 0)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Tumbling(0), "Tumbling: size is 0"),
        (lambda: Tumbling(-1), "size is -1"),
        (lambda: Tumbling(float("nan")), "nan, expected a timedelta or seconds"),
        (lambda: Tumbling(unchecked("60")), "'60', expected"),
        (lambda: Tumbling(True), "True, expected"),
        (lambda: Tumbling(60, domain=unchecked("clock")), "domain is 'clock', expected 'event' or 'processing'"),
        (lambda: Tumbling(60, offset=unchecked(None)), "offset is None"),
        (lambda: Sliding(60, slide=0), "Sliding: slide is 0"),
        (lambda: Sliding(0, slide=5), "Sliding: size is 0"),
        (lambda: Session(timedelta(0)), "Session: gap"),
        (lambda: Session(us).assign_us(0, 5), "the gap of a record"),
        (lambda: Session(unchecked(lambda _: None)).assign_us(0, 5), "the gap of a record is None"),
        (lambda: Count(0), "Count: size is 0"),
        (lambda: Count(unchecked(2.0)), "size is 2.0"),
        (lambda: Count(5, slide=0), "slide is 0"),
        (lambda: Count(5).assign(None, datetime_of(0)), "number of records"),
    ],
)
def test_sizes_that_cannot_be_are_refused(make: Any, says: str) -> None:
    """With what was given and what was expected."""
    with pytest.raises(PlanError, match=says):
        make()
