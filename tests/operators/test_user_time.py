"""Times as users write them: exact both ways, and what is none is refused with the likely mistake named."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.errors import TimestampError
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.user_time import datetime_of, time_us

FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
FIRST_US, LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999


@settings(max_examples=200, deadline=None)
@given(st.integers(FIRST_US, LAST_US))
def test_each_microsecond_comes_back(us: int) -> None:
    """No float is on the way: near the year 9999 one would be 32 us wide."""
    instant = datetime_of(us)

    assert time_us(instant) == us
    assert instant.utcoffset() == timedelta(0)
    assert instant - datetime(1970, 1, 1, tzinfo=UTC) == timedelta(microseconds=us)


@settings(max_examples=100, deadline=None)
@given(
    st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.timezones())  # noqa: DTZ001  (bounds are naive)
)
def test_time_zone_makes_no_difference(instant: datetime) -> None:
    """Summer time and folds included: it is the instant that counts."""
    assert datetime_of(time_us(instant)) == instant.astimezone(UTC)


def test_second_pass_of_an_hour_is_later() -> None:
    """02:30 comes twice when summer time ends; `fold` says which."""
    first = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))

    assert time_us(first.replace(fold=1)) - time_us(first) == 3_600_000_000


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 4_102_444_800_000_000))
def test_seconds_as_a_float_keep_the_microsecond(us: int) -> None:
    """From 1970 to 2100 a float still tells microseconds apart."""
    assert time_us(us / 1_000_000) == us


@pytest.mark.parametrize(
    ("seconds", "us"),
    [
        (0, 0),
        (0.0, 0),
        (-1, -1_000_000),
        (-1.5, -1_500_000),
        (1_700_000_000, 1_700_000_000_000_000),
        (1_700_000_000.123456, 1_700_000_000_123_456),
        (0.000_000_5, 0),
        (0.000_001_5, 2),
        (-62_135_596_800, FIRST_US),
        (253_402_300_799, LAST_US - 999_999),
    ],
)
def test_seconds_are_rounded_to_the_nearest_microsecond(seconds: float, us: int) -> None:
    """Halves to even, so that no direction is preferred."""
    assert time_us(seconds) == us
    assert type(time_us(seconds)) is int


def test_subclasses_are_what_they_stand_for() -> None:
    """As pandas and numpy have them."""

    class Stamp(datetime):
        pass

    class Seconds(float):
        pass

    class Hour(IntEnum):
        ONE = 3600

    assert time_us(Stamp(1970, 1, 1, 0, 0, 1, tzinfo=UTC)) == 1_000_000
    assert time_us(Seconds(1.5)) == 1_500_000
    assert time_us(Hour.ONE) == 3_600_000_000


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "is None: expected an aware datetime, or Unix seconds"),
        (datetime(2024, 1, 1), "has no time zone"),  # noqa: DTZ001
        (float("nan"), "is nan"),
        (float("inf"), "is inf"),
        (float("-inf"), "is -inf"),
        (True, "is of type bool"),
        ("2024-01-01T00:00:00Z", "is of type str.*parse the text first"),
        (date(2024, 1, 1), "is of type date"),
        (Decimal(1), "is of type Decimal"),
        (timedelta(1), "is of type timedelta"),
        ({"password": 1}, "is of type dict"),
        (1.7e12, r"1700000000000\.0 looks like milliseconds: divide by 1000$"),
        (1_700_000_000_000, "1700000000000 looks like milliseconds: divide by 1000$"),
        (1_700_000_000_000_000, "looks like microseconds: divide by 1000000$"),
        (1_700_000_000_000_000_000, "looks like nanoseconds: divide by 1000000000$"),
        (-1_700_000_000_000, "is -1700000000000, far outside the years 1 to 9999"),
        (253_402_300_800, "looks like milliseconds"),
        (-62_135_596_801, "far outside"),
        (-62_135_596_800.01, "far outside"),
        (1e300, r"is 1e\+300, far outside"),
        pytest.param(10**5000, "is an integer of 16610 bits, far outside", id="very large"),
        (FIRST.replace(tzinfo=timezone(timedelta(hours=1))), "expected an instant of the years 1 to 9999"),
        (LAST.replace(tzinfo=timezone(timedelta(hours=-1))), "expected an instant of the years 1 to 9999"),
    ],
)
def test_what_is_no_time_is_refused_with_the_likely_mistake(value: object, message: str) -> None:
    """One record in milliseconds would carry the watermark to the year 55841, and make all others late."""
    with pytest.raises(TimestampError, match=message):
        time_us(value)


def test_error_names_the_place_and_keeps_a_record_to_itself() -> None:
    """Where the function gives the record instead of its time, the record may be secret."""
    with pytest.raises(TimestampError, match=r"^the timestamp of 'orders' is of type dict") as caught:
        time_us({"password": "hunter2"}, "the timestamp of 'orders'")

    assert "hunter2" not in str(caught.value)


def test_time_that_is_not_a_time_after_all_is_refused() -> None:
    """As NaT of pandas, which is a datetime by class, and whose difference from a time is no number."""

    class NotATime(datetime):
        def __sub__(self, _: object) -> float:  # type: ignore[override]
            return float("nan")

    with pytest.raises(TimestampError, match="NotATime"):
        time_us(NotATime(2024, 1, 1, tzinfo=UTC))


def test_time_beyond_the_calendar_is_shown_as_its_end() -> None:
    """TIME_MIN and TIME_MAX are watermarks, and users see watermarks as datetimes."""
    assert datetime_of(TIME_MIN) == datetime_of(FIRST_US - 1) == datetime_of(FIRST_US) == FIRST
    assert datetime_of(TIME_MAX) == datetime_of(LAST_US + 1) == datetime_of(LAST_US) == LAST
