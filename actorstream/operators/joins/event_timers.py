"""What all joins do with timers: those of event time, and none of the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import InvariantError
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.columns import Column
from actorstream.operators.early_timers import EarlyTimers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.operators.floors import Floors
    from actorstream.operators.timed import Emitted
    from actorstream.state.operator_state import OperatorState
    from actorstream.state.timers import TimerTable

LAST: Final = TIME_MAX - 1
"""The latest time that something is due; TIME_MAX as `due` says that nothing is."""

TIMERS: Final = Column("timers", "timers", SELF_DESCRIBING)
"""The column to declare."""


class EventTimers:
    """The part of a `TimedOperator` that is about when, for one that only knows event time."""

    def __init__(self, state: OperatorState) -> None:
        """Go on with the timers in `state`."""
        if state.timers is None:
            raise InvariantError("a join has no column of timers in its state")
        self._all = state.timers
        self._timers: TimerTable | EarlyTimers = state.timers
        self.clock_due = TIME_MAX
        self.due = TIME_MAX
        self._look_at_timers()

    def on_floors(self, floors: Floors | None, watermark: int, /) -> None:
        """Let timers up to the floor of their key be due at once."""
        self._timers = self._all if floors is None else EarlyTimers(self._all, floors, watermark, self._wake)
        self._look_at_timers()

    def _wake(self) -> None:
        self.due = TIME_MIN

    def _set_timer(self, key: object, name: object, at: int) -> None:
        at = min(at, LAST)
        self._timers.set(key, name, "event", at)
        self.due = min(self.due, at)

    def _look_at_timers(self) -> None:
        at = self._timers.next_time("event")
        self.due = TIME_MAX if at is None else at

    def fire_clock(self, now_us: int, watermark: int, limit: int) -> Sequence[Emitted]:
        """Do nothing: the clock has no part in it."""
        del now_us, watermark, limit
        return ()
