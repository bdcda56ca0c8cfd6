"""Times and durations as users give them, as the integers that are kept."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from actorstream.errors import PlanError

Time: TypeAlias = datetime | float
Duration: TypeAlias = timedelta | float

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST_US = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


def instant_us(time: object) -> int:
    """Give microseconds since 1970 UTC.

    Raises:
        PlanError: `time` is naive, not a number, or outside the years 1 to 9999.
    """
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise PlanError(f"{time!r} has no time zone: use datetime(..., tzinfo=UTC), or Unix seconds")
        return (time - _EPOCH) // _MICROSECOND
    if isinstance(time, bool) or not isinstance(time, int | float) or not math.isfinite(time):
        raise PlanError(f"{time!r} is no time: give an aware datetime, or Unix seconds")
    us = round(time * 1_000_000)
    if not _FIRST_US <= us <= _LAST_US:
        raise PlanError(f"{time!r} is not in the years 1 to 9999: Unix seconds are expected, not milliseconds")
    return us


def instant(us: int) -> datetime:
    """Give the aware datetime of microseconds since 1970 UTC; the first or last that there is for one that is none.

    A record's time is eight bytes: whoever wrote it may have put anything there.
    """
    return _EPOCH + timedelta(microseconds=min(max(us, _FIRST_US), _LAST_US))


def duration_us(duration: object, what: str) -> int:
    """Give microseconds.

    Raises:
        PlanError: `duration` is below 0 or not a number; `what` names the option.
    """
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds < 0:
        raise PlanError(f"{what}={duration!r}: give a timedelta or seconds, not below 0")
    return round(seconds * 1_000_000)
