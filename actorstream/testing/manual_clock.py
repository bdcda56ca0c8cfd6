"""A clock that stands still until the test moves it."""

from __future__ import annotations

from actorstream.errors import PlanError

START_US = 1_767_225_600_000_000
"""2026-01-01T00:00Z."""

_READING_SECONDS = 1e-5


class ManualClock:
    """Both clocks start together and move together, by `move_to`.

    A reading of the monotonic clock takes ten microseconds of it: who works in bursts would never give way by a clock
    that stands still, and an operator that goes on for ever could not be reported.
    """

    def __init__(self, start_us: int = START_US) -> None:
        """Let the wall clock read `start_us`."""
        self._start_us = start_us
        self._now_us = start_us
        self._readings = 0

    def now_us(self) -> int:
        """Read the wall clock in microseconds."""
        return self._now_us

    def monotonic(self) -> float:
        """Read the seconds since the start."""
        self._readings += 1
        return (self._now_us - self._start_us) / 1e6 + self._readings * _READING_SECONDS

    def move_to(self, instant_us: int) -> None:
        """Let the wall clock read `instant_us`.

        Raises:
            PlanError: That would be backwards.
        """
        if instant_us < self._now_us:
            raise PlanError(f"the clock cannot go back by {(self._now_us - instant_us) / 1e6:g} s")
        self._now_us = instant_us
