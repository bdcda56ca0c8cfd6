"""How many records may pass now: one subtask's share of a rate.

    due ─┬──1/rate──┬──1/rate──┬──>      each record that passes moves `due` on; while it is ahead of the clock none may
         └── at most BURST_SECONDS behind the clock: what was not used lately is not made up for later

A record that becomes a hundred in front of the throttle passes as a hundred, and is paid for afterwards. So over any
time no more pass than rate * (time + BURST_SECONDS), one, and what one piece of records has become.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actorstream.model.world import Clock

BURST_SECONDS = 0.1
"""A wait that takes longer than it should does not slow the rate down, up to this."""


class Throttle:
    """Counts what has passed. Nothing in here waits: the actor asks before it takes more.

    Attributes:
        rate: How many records may pass in a second.
    """

    def __init__(self, rate: float, clock: Clock) -> None:
        """Let `rate` records a second pass, the first one now."""
        self.rate = rate
        self._clock = clock
        self._due = clock.monotonic()

    def passed(self, count: int) -> None:
        """Note that so many records have passed."""
        if count:
            self._due = max(self._due, self._clock.monotonic() - BURST_SECONDS) + count / self.rate

    def seconds_to_wait(self) -> float:
        """Tell how long no record may pass; 0.0: one may now."""
        return max(0.0, self._due - self._clock.monotonic())

    def allowance(self) -> int:
        """Tell how many records may pass now."""
        spare = min(self._clock.monotonic() - self._due, BURST_SECONDS)
        return int(spare * self.rate) + 1 if spare >= 0 else 0
