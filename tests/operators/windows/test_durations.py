"""Durations of windows."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from actorstream.errors import PlanError
from actorstream.operators.windows.durations import offset_us, span_us

if TYPE_CHECKING:
    from collections.abc import Callable


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


@pytest.mark.parametrize(
    ("refused", "says"),
    [
        (lambda: span_us(0, "x"), "x is 0, expected from 1 microsecond to a thousand years"),
        (lambda: span_us(-1, "x", least_us=0), "x is -1, expected from 0 seconds to a thousand years"),
        (
            lambda: offset_us(-1e12, "x"),
            "x is -1000000000000.0, expected from a thousand years back to a thousand years",
        ),
    ],
)
def test_who_is_refused_hears_what_would_do(refused: Callable[[], object], says: str) -> None:
    """From where to where."""
    with pytest.raises(PlanError, match=f"^{says}$"):
        refused()


def test_a_thousand_years_are_allowed() -> None:
    """All leap years, to be sure."""
    assert span_us(timedelta(days=366_000), "x") == 366_000 * 86_400_000_000
    with pytest.raises(PlanError):
        span_us(timedelta(days=366_000, microseconds=1), "x")
