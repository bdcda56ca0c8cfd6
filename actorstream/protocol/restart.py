"""Restart strategies: whether a failed job runs again, and after how long.

    never           fail ──> give up
    fixed delay     fail ──d──> fail ──d──> fail ──> give up after so many restarts
    exponential     fail ─d─> fail ──2d──> fail ────4d────> fail ... up to a maximum, back to d after a quiet time
    failure rate    as long as no more than so many failures fall into the last so many seconds

Whatever the strategy: a job that fails three times in a row at the same place (the
same record in the same operator) would fail for ever, and gives up.

Invariant: 0 <= delay <= the strategy's delay or maximum, jitter included.

Pure: the time and the random fraction are handed in.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from actorstream.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Hashable
    from datetime import timedelta

Duration: TypeAlias = "timedelta | float"

SAME_PLACE_MAX = 3
"""So many failures in a row at one place end the job."""


@dataclass(frozen=True, slots=True)
class Never:
    """Give up at the first failure."""


@dataclass(frozen=True, slots=True)
class FixedDelay:
    """Restart at most `attempts` times in the life of the job, each after `delay_us`."""

    attempts: int
    delay_us: int


@dataclass(frozen=True, slots=True)
class Exponential:
    """Double the delay with each failure; start over when `reset_after_us` passed since the one before."""

    initial_us: int
    maximum_us: int
    jitter: float
    reset_after_us: int
    attempts: int | None


@dataclass(frozen=True, slots=True)
class FailureRate:
    """Restart while at most `failures` of them fall into the last `per_us`."""

    failures: int
    per_us: int
    delay_us: int


Strategy: TypeAlias = Never | FixedDelay | Exponential | FailureRate


@dataclass(frozen=True, slots=True)
class Restart:
    """What to do when a job fails. Made by one of the functions below.

    Gives up as well when the same record fails three times in a row at the same
    place. Durations are seconds or timedelta; a negative or unreal one is a `PlanError`.
    """

    strategy: Strategy

    @staticmethod
    def never() -> Restart:
        """Give up at the first failure."""
        return Restart(Never())

    @staticmethod
    def fixed_delay(attempts: int = 3, *, delay: Duration = 1.0) -> Restart:
        """Restart at most `attempts` times, each after `delay`."""
        return Restart(FixedDelay(_count(attempts, "attempts"), _us(delay, "delay")))

    @staticmethod
    def exponential(
        *,
        initial: Duration = 0.1,
        maximum: Duration = 60.0,
        jitter: float = 0.1,
        reset_after: Duration = 600.0,
        attempts: int | None = None,
    ) -> Restart:
        """Restart after `initial`, then after twice as long each time, up to `maximum`.

        Args:
            initial: First delay.
            maximum: Longest delay, jitter included.
            jitter: Share of the delay by which it is varied up and down, 0 to 1, so that
                many jobs that failed together do not come back together.
            reset_after: Time between two failures after which the next one counts as the first.
            attempts: Restarts at most, since the last such reset; None: no limit.
        """
        if not 0 <= jitter <= 1:
            raise PlanError(f"Restart: jitter is {jitter!r}, expected a share from 0 to 1")
        first_us, longest_us = _us(initial, "initial"), _us(maximum, "maximum")
        if longest_us < first_us:
            raise PlanError(f"Restart: maximum ({maximum!r}) is below initial ({initial!r}); give a longer maximum")
        limit = None if attempts is None else _count(attempts, "attempts")
        return Restart(Exponential(first_us, longest_us, jitter, _us(reset_after, "reset_after"), limit))

    @staticmethod
    def failure_rate(failures: int, *, per: Duration, delay: Duration = 1.0) -> Restart:
        """Restart after `delay`; give up when more than `failures` fall into the last `per`."""
        per_us = _us(per, "per")
        if per_us == 0:
            raise PlanError("Restart: per is 0, expected a duration above 0 s in which failures are counted")
        return Restart(FailureRate(_count(failures, "failures"), per_us, _us(delay, "delay")))


@dataclass(frozen=True, slots=True)
class RestartAfter:
    """Wait so long, then start the next attempt."""

    delay_us: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Fail the job. `reason` says which limit was reached."""

    reason: str


Effect: TypeAlias = RestartAfter | GiveUp


class RestartState:
    """The failures of one job so far, as its strategy counts them."""

    def __init__(self, restart: Restart) -> None:
        """Start with no failure."""
        self._strategy = restart.strategy
        self._failures = 0
        self._last_failure_us: int | None = None
        self._recent_us: deque[int] = deque()
        self._place: Hashable | None = None
        self._at_place = 0

    def on_failure(self, now_us: int, place: Hashable | None, fraction: float) -> Effect:
        """Decide after an attempt failed.

        Args:
            now_us: Any clock that does not go back.
            place: What identifies (operator, subtask, record); None where the failure has no such place.
            fraction: A random number in [0, 1), for the jitter.
        """
        self._count_place(place)
        strategy = self._strategy
        if isinstance(strategy, Never):
            return GiveUp("the restart strategy is never")
        if self._at_place >= SAME_PLACE_MAX:
            return GiveUp(f"the same record failed {self._at_place} times in a row at the same place")
        match strategy:
            case FixedDelay():
                return self._after_fixed_delay(strategy)
            case Exponential():
                return self._after_growing_delay(strategy, now_us, fraction)
            case FailureRate():
                return self._within_rate(strategy, now_us)

    def _count_place(self, place: Hashable | None) -> None:
        same = place is not None and place == self._place
        self._at_place = self._at_place + 1 if same else int(place is not None)
        self._place = place

    def _after_fixed_delay(self, strategy: FixedDelay) -> Effect:
        self._failures += 1
        if self._failures > strategy.attempts:
            return GiveUp(f"{strategy.attempts} restarts are used up")
        return RestartAfter(strategy.delay_us)

    def _after_growing_delay(self, strategy: Exponential, now_us: int, fraction: float) -> Effect:
        last_us, self._last_failure_us = self._last_failure_us, now_us
        if last_us is not None and now_us - last_us >= strategy.reset_after_us:
            self._failures = 0
        self._failures += 1
        if strategy.attempts is not None and self._failures > strategy.attempts:
            return GiveUp(f"{strategy.attempts} restarts are used up")
        # 2**62 us is longer than any maximum: the exponent must not grow with the age of the job.
        delay_us = min(strategy.initial_us << min(self._failures - 1, 62), strategy.maximum_us)
        varied_us = int(delay_us * (1 + strategy.jitter * (2 * fraction - 1)))
        return RestartAfter(min(varied_us, strategy.maximum_us))

    def _within_rate(self, strategy: FailureRate, now_us: int) -> Effect:
        self._recent_us.append(now_us)
        while self._recent_us[0] <= now_us - strategy.per_us:
            self._recent_us.popleft()
        if len(self._recent_us) > strategy.failures:
            return GiveUp(
                f"{len(self._recent_us)} failures within {strategy.per_us / 1e6:g} s, {strategy.failures} may"
            )
        return RestartAfter(strategy.delay_us)


def _us(duration: Duration, name: str) -> int:
    seconds = duration if isinstance(duration, int | float) else duration.total_seconds()
    if not math.isfinite(seconds) or seconds < 0:
        raise PlanError(f"Restart: {name} is {duration!r}, expected a duration of 0 s or more")
    return round(seconds * 1_000_000)


def _count(number: int, name: str) -> int:
    if number < 0:
        raise PlanError(f"Restart: {name} is {number}, expected 0 or more")
    return number
