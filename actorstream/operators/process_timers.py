"""The timers of one process object, as its handlers and the chain's loop see them.

    handler   set(key, at, name, domain) ──> TimerTable (state/timers.py): ordered, restored, larger than memory
    loop      watermark >= soonest[0]?   ──> take(0, watermark), until nothing is due or it is time for others

A record that finds nothing due costs one comparison, one that finds a timer one call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.early_timers import EarlyTimers

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from actorstream.operators.floors import Floors
    from actorstream.state.timer_epoch import Place
    from actorstream.state.timers import TimerTable

Domain: TypeAlias = Literal["event", "processing"]


class Timer(NamedTuple):
    """A timer that fires: the time it was set to, its name, and which time that is."""

    at: datetime
    name: str
    domain: Domain


class ProcessTimers:
    """Timers of one operator in one subtask.

    Attributes:
        soonest: For both times, event and processing, before when nothing is due; `TIME_MAX`: there is no timer.
        take: Takes out the first that is due, as `TimerTable.take_due`.
        set: Lets the timer (key, name, domain) fire at a time in microseconds, as `TimerTable.set`.
    """

    __slots__ = ("_all", "_ending", "_table", "set", "soonest", "take")
    firing = False

    def __init__(self, table: TimerTable) -> None:
        """Go on with the timers in `table` (T25)."""
        self._all = table
        self._table: TimerTable | EarlyTimers = table
        self._ending = False
        self.take: Callable[[int, int], Place | None] = table.take_due
        self.set: Callable[[object, object, Domain, int], None] = table.set
        self.soonest = table.soonest
        self.soonest[:] = self._next("event"), self._next("processing")

    def on_floors(self, floors: Floors | None, watermark: int, /) -> None:
        """Let timers up to the floor of their key be due at once."""
        self._table = self._all if floors is None else EarlyTimers(self._all, floors, watermark, self._wake)
        self.take = self._table.take_due
        self.set = self._set_in_event_time if self._ending else self._table.set
        self.soonest[:] = self._next("event"), self._next("processing")

    def _wake(self) -> None:
        self.soonest[0] = TIME_MIN

    @property
    def due(self) -> int:
        """The event time at which the next timer is due, or earlier."""
        return self.soonest[0]

    @property
    def clock_due(self) -> int:
        """The same for processing time."""
        return self.soonest[1]

    def end_clock(self) -> None:
        """Set no more timers of the clock: all input has ended, and those that are pending fire now."""
        self._ending = True
        self.set = self._set_in_event_time

    def _set_in_event_time(self, key: object, name: object, domain: Domain, at_us: int) -> None:
        if domain == "event":
            self._table.set(key, name, domain, at_us)

    def cancel(self, key: object, name: str, domain: Domain) -> None:
        """Let a timer not fire."""
        self._table.cancel(key, name, domain)

    def clear(self, key: object) -> None:
        """Cancel all timers of a key."""
        self._table.clear(key)

    def _next(self, domain: Domain) -> int:
        time = self._table.next_time(domain)
        return TIME_MAX if time is None else time


class HeldTimers:
    """What a handler that may fail does to timers: it is done when the handler has ended well."""

    __slots__ = ("_calls", "_timers")

    def __init__(self, timers: ProcessTimers) -> None:
        """Hold what is meant for `timers`."""
        self._timers = timers
        self._calls: list[Callable[[], object]] = []

    def set(self, key: object, name: str, domain: Domain, at_us: int) -> None:
        """Let a timer fire."""
        self._calls.append(lambda: self._timers.set(key, name, domain, at_us))

    def cancel(self, key: object, name: str, domain: Domain) -> None:
        """Let a timer not fire."""
        self._calls.append(lambda: self._timers.cancel(key, name, domain))

    def clear(self, key: object) -> None:
        """Cancel all timers of a key."""
        self._calls.append(lambda: self._timers.clear(key))

    def begin_trial(self) -> None:
        """Start with nothing."""

    def end_trial(self, *, keep: bool) -> None:
        """Do what was asked for, or forget it."""
        calls, self._calls = self._calls, []
        if keep:
            for call in calls:
                call()
