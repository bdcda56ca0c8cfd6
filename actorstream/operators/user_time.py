"""Times as users write them, and as we count them: microseconds UTC since 1970.

    aware datetime, Unix seconds  ──time_us──>  int  ──datetime_of──>  aware datetime in UTC

Both ways are exact to the microsecond: a datetime goes through no float, and seconds as a float are rounded to the
nearest microsecond. What no time can be is refused and the likely mistake named, for a single record whose time is
in milliseconds would carry the watermark thousands of years ahead, and make all that follow late.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Final

from actorstream.errors import TimestampError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_FIRST_US: Final = (_FIRST - _EPOCH) // _MICROSECOND
_LAST_US: Final = (_LAST - _EPOCH) // _MICROSECOND
_FIRST_S: Final = _FIRST_US // 1_000_000
_END_S: Final = _LAST_US // 1_000_000 + 1

_LIKELY_END_S: Final = (datetime(2101, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
_UNITS: Final = (("milliseconds", 1_000), ("microseconds", 1_000_000), ("nanoseconds", 1_000_000_000))
"""What else a number may have been counted in, and how many of them are a second."""


def time_us(value: object, what: str = "a timestamp") -> int:
    """Turn a time as users write it into microseconds UTC.

    Args:
        value: An aware datetime, or Unix seconds as float or int.
        what: Names the value in errors.

    Raises:
        TimestampError: It is none of these (None, a naive datetime, NaN, a bool, another type), or lies outside the
            years 1 to 9999.
    """
    if isinstance(value, float):
        if _FIRST_S <= value < _END_S:  # false for NaN
            return round(value * 1_000_000)
    elif isinstance(value, datetime):
        try:
            us = (value - _EPOCH) // _MICROSECOND
        except TypeError as error:
            raise TimestampError(_naive(value, what)) from error
        if _FIRST_US <= us <= _LAST_US:
            return us
    elif isinstance(value, int) and not isinstance(value, bool) and _FIRST_S <= value < _END_S:
        return value * 1_000_000
    raise TimestampError(_refusal(value, what))


def datetime_of(us: int) -> datetime:
    """Give the aware datetime in UTC; where `us` lies outside the years 1 to 9999, the first or last that there is."""
    if _FIRST_US <= us <= _LAST_US:
        return _EPOCH + timedelta(0, 0, us)
    return _FIRST if us < 0 else _LAST


def _naive(value: datetime, what: str) -> str:
    return (
        f"{what} is {value!r}, which has no time zone: expected an aware datetime or Unix seconds; "
        "if it is meant as UTC, give value.replace(tzinfo=datetime.UTC)"
    )


def _refusal(value: object, what: str) -> str:
    """Say what is wrong with a value that is neither a time nor a naive datetime."""
    expected = "expected an aware datetime, or Unix seconds as a number"
    if value is None:
        return f"{what} is None: {expected}; filter out records that have no time"
    if isinstance(value, datetime):
        return f"{what} is {value!r}: expected an instant of the years 1 to 9999 in UTC"
    if isinstance(value, bool) or not isinstance(value, int | float):
        # Only the type: where the whole record was given by mistake, it may be large or secret.
        parse = "; parse the text first, as datetime.fromisoformat does" if isinstance(value, str) else ""
        return f"{what} is of type {type(value).__qualname__}: {expected}{parse}"
    shown = _shown(value)
    if isinstance(value, float) and not isfinite(value):
        return f"{what} is {shown}: {expected}; filter out records that have no time"
    for unit, a_second in _UNITS:
        if 0 <= value < _LIKELY_END_S * a_second:
            return f"{what} is {shown}: {expected}. {shown} looks like {unit}: divide by {a_second}"
    return f"{what} is {shown}, far outside the years 1 to 9999: {expected}"


def _shown(value: float) -> str:
    """Show a number; one of very many digits only by its size, for its text would be as long, or be refused."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"
    return repr(value)
