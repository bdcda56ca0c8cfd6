"""The timers of one process object, as its handlers and the chain's loop see them.

    handler   set(key, at, name, domain) ──> TimerTable (state/timers.py): ordered, restored, larger than memory
    loop      watermark >= due?          ──> fire(watermark): (key, time, Timer), a bounded number of them

`due` is a plain attribute, so that a record that finds nothing due costs one comparison.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from actorstream.operators.user_time import datetime_of
from actorstream.state.timer_entries import TIME_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

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
        due: The event time at which the next timer is due, or earlier; `TIME_MAX`: there is none.
        clock_due: The same for processing time.
        ending: All input has ended, and what is pending by the clock fires now: what is set from here on never does.
    """

    __slots__ = ("_table", "clock_due", "due", "ending")

    def __init__(self, table: TimerTable) -> None:
        """Go on with the timers in `table` (T25)."""
        self._table = table
        self.ending = False
        self.due = self._next("event")
        self.clock_due = self._next("processing")

    def set(self, key: object, at_us: int, name: str, domain: Domain) -> None:
        """Let the timer (key, domain, name) fire at `at_us`, and at no other time."""
        if self.ending and domain == "processing":
            return
        self._table.set(key, name, domain, at_us)
        if domain == "event":
            if at_us < self.due:  # noqa: PLR1730  (min() would be a call more a timer)
                self.due = at_us
        elif at_us < self.clock_due:
            self.clock_due = at_us

    def cancel(self, key: object, name: str, domain: Domain) -> None:
        """Let a timer not fire."""
        self._table.cancel(key, name, domain)

    def clear(self, key: object) -> None:
        """Cancel all timers of a key."""
        self._table.clear(key)

    def fire(self, watermark: int, limit: int) -> Iterator[tuple[object, int, Timer]]:
        """Take out up to `limit` event timers up to and including `watermark`: (key, time, timer)."""
        take, soonest = self._table.take_due, self._table.soonest
        while limit and (found := take("event", watermark)) is not None:
            limit -= 1
            time, key, name = found
            yield key, time, Timer(datetime_of(time), name, "event")  # type: ignore[arg-type]  # names are str
            if soonest[0] > watermark:
                break
        self.due = soonest[0]

    def fire_clock(self, now_us: int, watermark: int, limit: int) -> Iterator[tuple[object, int, Timer]]:
        """Take out up to `limit` processing timers before `now_us`: what comes at that instant is before them (T28)."""
        del watermark
        while limit and (found := self._table.take_due("processing", now_us - 1)) is not None:
            limit -= 1
            time, key, name = found
            yield key, time, Timer(datetime_of(time), name, "processing")  # type: ignore[arg-type]  # names are str
        self.clock_due = self._table.soonest[1]

    def _next(self, domain: Domain) -> int:
        time = self._table.next_time(domain)
        return TIME_MAX if time is None else time
