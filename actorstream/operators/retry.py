"""Whether a call that failed is made again, and after how long.

    attempt 1 ──fails──> backoff ──> attempt 2 ──fails──> backoff · factor ──> attempt 3 ──fails──> its error

Each wait is lengthened by chance, by up to `jitter` of itself, so that calls that failed together are not made
together again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from actorstream.errors import PlanError


@dataclass(frozen=True, slots=True)
class Retry:
    """Make a call again that raised: `attempts` times in all, the first one included.

    Attributes:
        attempts: How often it is made at most.
        backoff: How long to wait before the second attempt; seconds, or a timedelta.
        factor: How many times as long each further wait is.
        jitter: By what part of itself a wait is lengthened at most.
        on: After which errors; after any other the call has failed.

    Raises:
        PlanError: A number makes no sense.
    """

    attempts: int = 3
    backoff: float | timedelta = 0.1
    factor: float = 2.0
    jitter: float = 0.1
    on: type[Exception] | tuple[type[Exception], ...] = Exception

    def __post_init__(self) -> None:
        """Check the numbers."""
        if type(self.attempts) is not int or self.attempts < 1:
            raise PlanError(f"Retry(attempts={self.attempts!r}): expected 1 or more, the first attempt included")
        numbers: tuple[tuple[str, object, float], ...] = (
            ("backoff", self._backoff_seconds, 0.0),
            ("factor", self.factor, 1.0),
            ("jitter", self.jitter, 0.0),
        )
        for name, number, least in numbers:
            if isinstance(number, bool) or not isinstance(number, int | float) or not least <= number < float("inf"):
                raise PlanError(f"Retry({name}={number!r}): expected a number from {least:g}")
        kinds: tuple[object, ...] = self.on if isinstance(self.on, tuple) else (self.on,)
        if not kinds or not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
            raise PlanError(f"Retry(on={self.on!r}): expected a class of exceptions, or a tuple of some")

    @property
    def _backoff_seconds(self) -> float:
        return self.backoff.total_seconds() if isinstance(self.backoff, timedelta) else self.backoff

    def seconds_before(self, attempt: int, fraction: float) -> float:
        """Give how long to wait before the second attempt, the third ...; `fraction` in [0, 1) is by chance."""
        return self._backoff_seconds * float(self.factor) ** (attempt - 2) * (1 + self.jitter * fraction)
