"""Durations of windows."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actorstream.errors import PlanError
from actorstream.operators.windows.durations import offset_us, span_us


def test_both_ways_to_say_it() -> None:
    """A timedelta is exact, seconds are rounded to the microsecond."""
    assert span_us(timedelta(days=800, microseconds=1), "x") == 800 * 86_400_000_000 + 1
    assert span_us(0.1, "x") == 100_000
    assert span_us(0, "x", least_us=0) == 0
    assert offset_us(timedelta(hours=-8), "x") == -8 * 3_600_000_000


@pytest.mark.parametrize("value", [None, "1", True, float("inf"), float("nan"), 0, -1, timedelta(0), 1e12])
def test_anything_else_is_refused(value: object) -> None:
    """And named."""
    with pytest.raises(PlanError, match="the gap is"):
        span_us(value, "the gap")
