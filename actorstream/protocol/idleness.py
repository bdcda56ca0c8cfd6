"""When an input is idle: it could have given a record for so long, and gave none.

    timeout 10     record ──4── paused ═══30═══ resumed ──6── idle
                             4 of 10                     10 of 10

The clock stands while nothing could come: the reader waits for the operators behind it (back-pressure), or for other
sources (alignment). Else a slow sink would make every input idle, and the watermark run ahead of the records that
wait (T44). Reasons to stand overlap; the clock goes on when the last is gone.

Only a record ends idleness: a pause does not. Pure: the time is handed in, from a clock of the process.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from actorstream.errors import InvariantError

Pause: TypeAlias = Literal["back_pressure", "alignment"]
"""Why nothing can come."""

BACK_PRESSURE: Final = "back_pressure"
ALIGNMENT: Final = "alignment"


class IdleClock:
    """How long one input has been quiet, not counting pauses.

    Invariant: a time that goes back counts as no time.
    """

    __slots__ = ("_pauses", "_quiet_us", "_since_us", "_timeout_us")

    def __init__(self, timeout_us: int, started_us: int | None = None) -> None:
        """Start without a record.

        Args:
            timeout_us: How long an input is waited for, at least 1.
            started_us: Now, for an input that is waited for as if a record had just come. If not given it is idle
                until its first record: a split that was idle before a restart, or one that need not have any.

        Raises:
            InvariantError: The timeout is below 1.
        """
        if timeout_us < 1:
            raise InvariantError(f"an input is idle after 1 us or more, got {timeout_us}")
        self._timeout_us = timeout_us
        self._quiet_us = timeout_us if started_us is None else 0
        self._since_us = started_us
        self._pauses: set[Pause] = set()

    def on_record(self, now_us: int) -> None:
        """Take note of one record or many: the input is not idle. During a pause the time before it is forgotten."""
        self._quiet_us = 0
        self._since_us = None if self._pauses else now_us

    def on_paused(self, now_us: int, why: Pause = BACK_PRESSURE) -> None:
        """Stop the clock, for this reason too. Stopped for it already: nothing happens."""
        self._quiet_us = self._quiet_at(now_us)
        self._since_us = None
        self._pauses.add(why)

    def on_resumed(self, now_us: int, why: Pause = BACK_PRESSURE) -> None:
        """Let the clock go on if it stood for this reason alone. Not stopped for it: nothing happens."""
        if why in self._pauses:
            self._pauses.remove(why)
            if not self._pauses:
                self._since_us = now_us

    def is_idle(self, now_us: int) -> bool:
        """Tell whether the input has been quiet for the timeout."""
        return self._quiet_at(now_us) >= self._timeout_us

    def idle_at(self, now_us: int) -> int | None:
        """Give when it will be idle if nothing happens; None while paused, as nobody knows, and when idle already."""
        if self._since_us is None or self.is_idle(now_us):
            return None
        return now_us + self._timeout_us - self._quiet_at(now_us)

    def _quiet_at(self, now_us: int) -> int:
        return self._quiet_us if self._since_us is None else self._quiet_us + max(0, now_us - self._since_us)
