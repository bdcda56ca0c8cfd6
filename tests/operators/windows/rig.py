"""A window operator over a real state, driven as the generated loop drives it, and restarted at will."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from actorstream.model.ids import StateNumber
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.timed import LATE, Lateness
from actorstream.operators.user_time import datetime_of
from actorstream.operators.windows.results import WindowResult
from actorstream.state.operator_state import StateColumn
from actorstream.state.stack import LayerStack
from tests.state.rig import ALL, state_over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.operators.timed import Emitted, TimedOperator
    from actorstream.operators.windows.definition import WindowDefinition
    from actorstream.state.operator_state import OperatorState
    from tests.state.rig import Shelf

Outcome = list[tuple[Any, int]]
"""Results as (result, event time)."""


def us(number: int) -> timedelta:
    """Give a duration."""
    return timedelta(microseconds=number)


def result(
    key: object, start: int, end: int, value: object, time: int | None = None
) -> tuple[WindowResult[Any, Any], int]:
    """Give a result as operators do."""
    return WindowResult(key, datetime_of(start), datetime_of(end), value), end - 1 if time is None else time


@dataclass
class ManualClock:
    """A clock that stands still."""

    now: int = 0

    def now_us(self) -> int:
        """Read it."""
        return self.now

    def monotonic(self) -> float:
        """Read it in seconds."""
        return self.now / 1e6


@dataclass
class Driver:
    """One subtask.

    Attributes:
        limit: How much one call of `fire` may do.
        watermark: Where event time stands.
    """

    definition: WindowDefinition
    shelf: Shelf
    limit: int = 64
    clock: ManualClock = field(default_factory=ManualClock)
    watermark: int = TIME_MIN
    late: list[object] = field(default_factory=list)
    state: OperatorState = field(init=False)
    operator: TimedOperator = field(init=False)

    def __post_init__(self) -> None:
        """Start with nothing."""
        self._open(None)

    def _open(self, stack: LayerStack | None) -> None:
        columns = [
            StateColumn(StateNumber(number), column.name, column.kind, column.codec)
            for number, column in enumerate(self.definition.columns("windows"), 1)
        ]
        self.state = state_over(stack, columns)
        self.operator = self.definition.open("windows", self.state, self.clock)

    def record(self, key: object, value: object, timestamp: int, watermark: int | None = None) -> Outcome:
        """Take in a record, before which the watermark has come to `watermark`."""
        found = [] if watermark is None else self.advance(watermark)
        given = self.operator.on_element(key, value, timestamp, self.watermark)
        if isinstance(given, Lateness):
            assert given is LATE
            self.late.append(value)
        else:
            found += given or ()
        return found

    def records(self, key: object, *timed: tuple[object, int]) -> Outcome:
        """Take in records of one key at the watermark that there is."""
        return [each for value, timestamp in timed for each in self.record(key, value, timestamp)]

    def advance(self, watermark: int) -> Outcome:
        """Let event time come to `watermark`."""
        self.watermark = max(self.watermark, watermark)
        found: list[Emitted] = []
        while self.operator.due <= self.watermark and self.operator.due < TIME_MAX:
            found += self.operator.fire(self.watermark, self.limit)
        return found

    def tick(self, now: int) -> Outcome:
        """Let the clock come to `now`."""
        self.clock.now = now
        found: list[Emitted] = []
        while now > self.operator.clock_due:
            found += self.operator.fire_clock(now, self.watermark, self.limit)
        return found

    def end(self) -> Outcome:
        """Let the input end."""
        return self.advance(TIME_MAX)

    def checkpoint(self) -> None:
        """Write what has changed to a layer."""
        self.shelf.checkpoint(self.state)

    def crash_after_checkpoint(self) -> None:
        """Lose the process, and go on from what a checkpoint has written."""
        self.checkpoint()
        runs = self.state.stack.runs()
        self._open(LayerStack.covering(ALL, runs))

    def stored(self) -> dict[str, list[object]]:
        """Give what is left: entries of every table, by key."""
        self.checkpoint()
        left: dict[str, list[object]] = {}
        for name, table in self.state.maps.items():
            left[name] = [(key, *entry) for key in ("a", "b", "c", 1, 2) for entry in table.peek(key)]
        timers = self.state.timers
        for domain in ("event", "processing"):
            if timers is not None:
                left[domain] = [timer for timer in timers.due(domain, TIME_MAX) if timer is not None]
        return {name: entries for name, entries in left.items() if entries}


def values(outcome: Sequence[tuple[Any, int]]) -> list[object]:
    """Give the values of results."""
    return [each.value for each, _ in outcome]
