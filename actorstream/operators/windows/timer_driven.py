"""An operator whose timers say what is due: the half of a `TimedOperator` that waits for time.

set_timer ──> TimerTable, lowers `due`
fire      ──> each timer up to the watermark, by time, key and name ──> on_timer ──> results
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from actorstream.errors import InvariantError
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.early_timers import EarlyTimers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.operators.floors import Floors
    from actorstream.operators.process_timers import Domain
    from actorstream.operators.timed import Emitted, Given
    from actorstream.state.timers import Timer, TimerTable

LAST: Final = TIME_MAX - 1
"""The greatest time of a timer: TIME_MAX stands for none (T57)."""


class TimerDriven(ABC):
    """Timers of one operator in one subtask.

    Attributes:
        due: The event time at which something is due, or earlier; TIME_MAX: nothing is.
        clock_due: The same by the clock.
    """

    firing = False

    def __init__(self, timers: TimerTable | None) -> None:
        """Go on with the timers that there are (T25)."""
        if timers is None:
            raise InvariantError("an operator with timers was opened over a state without them")
        self._all = timers
        self._timers: TimerTable | EarlyTimers = timers
        self._floors: Floors | None = None
        self.due = self._next("event")
        self.clock_due = self._next("processing")

    def on_floors(self, floors: Floors | None, watermark: int, /) -> None:
        """Let timers up to the floor of their key be due at once."""
        self._floors = floors
        self._timers = self._all if floors is None else EarlyTimers(self._all, floors, watermark, self._wake)
        self.due = self._next("event")

    def _wake(self) -> None:
        self.due = TIME_MIN

    @abstractmethod
    def on_timer(self, timer: Timer, watermark: int, given: list[Emitted]) -> None:
        """Do what a timer is for, and add the results to `given`."""

    def on_other(self, key: object, value: object, timestamp: int, watermark: int, /) -> Given:
        """Refuse: there is one input."""
        raise InvariantError(f"a window got {value!r} of key {key!r} on a second input")

    def set_timer(self, key: object, name: object, domain: Domain, at: int) -> None:
        """Let a timer fire at a time and no other; in the past: the next time that is asked."""
        at = min(at, LAST)
        self._timers.set(key, name, domain, at)
        if domain == "event":
            self.due = min(self.due, at)
        else:
            self.clock_due = min(self.clock_due, at)

    def cancel_timer(self, key: object, name: object, domain: Domain) -> None:
        """Let a timer not fire."""
        self._timers.cancel(key, name, domain)

    def fire(self, watermark: int, limit: int, /) -> Sequence[Emitted]:
        """Do what is due up to and including `watermark`."""
        given = self._take("event", watermark, watermark, limit)
        self.due = self._next("event")
        return given

    def fire_clock(self, now_us: int, watermark: int, limit: int, /) -> Sequence[Emitted]:
        """Do what was due before `now_us`: a record of that instant comes before its timer (T28)."""
        given = self._take("processing", now_us - 1, watermark, limit)
        self.clock_due = self._next("processing")
        return given

    def _take(self, domain: Domain, up_to: int, watermark: int, limit: int) -> list[Emitted]:
        given: list[Emitted] = []
        floors = self._floors
        for steps, timer in enumerate(self._timers.due(domain, up_to), 1):
            if timer is None:
                break
            self.on_timer(timer, watermark if floors is None else floors.at(timer.key, watermark), given)
            if steps >= limit or len(given) >= limit:
                break
        return given

    def _next(self, domain: Domain) -> int:
        time = self._timers.next_time(domain)
        return TIME_MAX if time is None else time
