"""The check for growth finds what grows, and lets pass what only goes up and down."""

from __future__ import annotations

import random

import pytest

from tests.endurance.flat import growth

TIMES = range(300)


def test_what_grows_is_seen_through_noise() -> None:
    """A leak of a tenth of the noise for each reading."""
    rng = random.Random(1)

    assert growth(TIMES, [100 + 0.1 * second + rng.gauss(0, 1) for second in TIMES]) == pytest.approx(30, abs=3)


@pytest.mark.parametrize("period", [7, 30, 60])
def test_saw_tooth_does_not_grow(period: int) -> None:
    """Segments that fill and are removed, layers that pile up and are merged: five teeth are enough."""
    assert abs(growth(TIMES, [100 + second % period for second in TIMES])) < 0.4 * period


def test_one_jump_at_the_end_is_no_growth() -> None:
    """An outlier: the bound of each reading is another check."""
    assert growth(TIMES, [5.0] * 295 + [500.0] * 5) == 0


def test_steps_that_go_on_are_growth() -> None:
    """A file each hundred seconds."""
    assert growth(TIMES, [second // 20 for second in TIMES]) == pytest.approx(15, abs=1)


def test_what_shrinks_is_below_nothing() -> None:
    """A job that catches up."""
    assert growth(TIMES, [1_000 - second for second in TIMES]) == -299
