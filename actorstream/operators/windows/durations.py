"""Durations of windows as users write them, in microseconds."""

from __future__ import annotations

from datetime import timedelta
from math import isfinite
from typing import Final, TypeAlias

from actorstream.errors import PlanError

Duration: TypeAlias = timedelta | float
"""A timedelta, or seconds."""

_MICROSECOND: Final = timedelta(microseconds=1)
_MOST_US: Final = 1_000 * 366 * 86_400_000_000


def span_us(value: object, what: str, *, least_us: int = 1) -> int:
    """Turn a duration into microseconds; one below 0 where `least_us` allows it.

    Raises:
        PlanError: Neither a timedelta nor a number, NaN, below `least_us`, or over a thousand years.
    """
    if isinstance(value, timedelta):
        us = value // _MICROSECOND
    elif isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
        us = round(value * 1_000_000)
    else:
        raise PlanError(f"{what} is {value!r}, expected a timedelta or seconds as a number")
    if not least_us <= us <= _MOST_US:
        least = "0 seconds" if not least_us else "1 microsecond" if least_us == 1 else "a thousand years back"
        raise PlanError(f"{what} is {value!r}, expected from {least} to a thousand years")
    return us


def offset_us(value: object, what: str) -> int:
    """Turn an offset, which may be below 0, into microseconds; raises as `span_us`."""
    return span_us(value, what, least_us=-_MOST_US)
