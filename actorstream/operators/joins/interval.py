"""Interval joins: each pair of one key whose times are near enough.

    a.timestamp - before <= b.timestamp <= a.timestamp + after

    left    ──────a───────────────────▶         a is of use to those b up to a + after: its reach
                  ├──before+after──┤            and kept until no b can come that needs it
    right   ────[·······b·····]───────▶
             before     after

Late is a record that no partner still to be expected could need: `timestamp + reach <= watermark`,
where the reach is `after` on the left and `before` on the right. A record that is not late may lie
behind the watermark by less than its reach, and a partner may lie below it by the other bound. So
a record is kept for both together: whoever is not late finds all partners that were not late (T51).
Results then depend on what is late, and on nothing else: not on which side came first.

An outer row without a partner comes out when it is dropped, and has its own timestamp: it is behind
the watermark by what `delay_us` says.

State of a key: the records of each side, sorted by (timestamp, number), each with a timer that
drops it. On an outer side a record is kept beside the word whether it had a partner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import PlanError
from actorstream.operators.columns import Column
from actorstream.operators.joins.arrivals import LEFT, RIGHT, Arrivals
from actorstream.operators.joins.event_timers import TIMERS, EventTimers
from actorstream.operators.timed import LATE, TimedDefinition
from actorstream.state.missing import private_copy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.model.world import Clock
    from actorstream.operators.timed import Emitted, Given
    from actorstream.state.map_table import MapTable
    from actorstream.state.operator_state import OperatorState
    from actorstream.state.timers import Timer

How: TypeAlias = Literal["inner", "left", "right", "full"]
_Marked: TypeAlias = "tuple[object, bool]"
"""A record of an outer side, and whether it had a partner."""

_OUTER: dict[How, tuple[bool, bool]] = {
    "inner": (False, False),
    "left": (True, False),
    "right": (False, True),
    "full": (True, True),
}


@dataclass(frozen=True, slots=True)
class IntervalJoin(TimedDefinition):
    """Pairs (a, b) with a.timestamp - before <= b.timestamp <= a.timestamp + after; a bound may be negative.

    Raises:
        PlanError: No instant is within the bounds, or `how` is unknown.
    """

    before_us: int
    after_us: int
    how: How = "inner"

    def __post_init__(self) -> None:
        """Check the bounds."""
        if self.before_us + self.after_us < 0:
            raise PlanError(
                f"interval_join: before is {self.before_us / 1e6:g} s and after is {self.after_us / 1e6:g} s, between "
                "which there is no instant: their sum must not be negative"
            )
        if self.how not in _OUTER:
            raise PlanError(f"interval_join: how is {self.how!r}, expected one of {', '.join(_OUTER)}")

    @property
    def kind(self) -> str:
        """The user's word."""
        return "interval_join"

    @property
    def inputs(self) -> int:
        """Two."""
        return 2

    @property
    def event_time(self) -> bool:
        """Records need timestamps."""
        return True

    @property
    def delay_us(self) -> int:
        """How far behind the watermark an outer row without a partner may come out; 0 for an inner join."""
        return max((keep for keep, outer in zip(self.kept_us, _OUTER[self.how], strict=True) if outer), default=0)

    @property
    def reach_us(self) -> tuple[int, int]:
        """How long after its timestamp a record on the left, and on the right, can still be needed."""
        return max(self.after_us, 0), max(self.before_us, 0)

    @property
    def kept_us(self) -> tuple[int, int]:
        """How long after its timestamp a record is kept: until those that need it are all late."""
        left, right = self.reach_us
        return self.after_us + right, self.before_us + left

    def columns(self, operator: str) -> list[Column]:
        """Give the states; an outer side has another one, for what it keeps is of another form."""
        del operator
        sides = [Column(name, "map", SELF_DESCRIBING) for name in self.sides]
        return [Arrivals.column(), *sides, TIMERS]

    @property
    def sides(self) -> tuple[str, str]:
        """The names of the two maps."""
        left, right = _OUTER[self.how]
        return "left_outer" if left else "left", "right_outer" if right else "right"

    def open(self, operator: str, state: OperatorState, clock: Clock) -> IntervalJoinOperator:
        """Make one subtask's operator."""
        del operator, clock
        return IntervalJoinOperator(self, state)


class _Side:
    """One side: its records, and where to look for partners of a new one."""

    __slots__ = ("high", "keep", "low", "number", "outer", "reach", "table")

    def __init__(self, join: IntervalJoin, number: int, table: MapTable) -> None:
        self.number = number
        self.table = table
        self.outer = _OUTER[join.how][number]
        self.reach = join.reach_us[number]
        self.keep = join.kept_us[number]
        self.low, self.high = (
            (-join.before_us, join.after_us + 1) if number == LEFT else (-join.after_us, join.before_us + 1)
        )


class IntervalJoinOperator(EventTimers):
    """One subtask's interval join."""

    firing = False

    def __init__(self, join: IntervalJoin, state: OperatorState) -> None:
        """Go on with what is in `state`."""
        super().__init__(state)
        left, right = (state.maps[name] for name in join.sides)
        self._left, self._right = _Side(join, LEFT, left), _Side(join, RIGHT, right)
        self._arrivals = Arrivals(state.rows)

    def on_element(self, key: object, value: object, timestamp: int, watermark: int) -> Given:
        """Take in a record of the left; give its pairs, by the partner's timestamp, then arrival."""
        return self._on_record(self._left, self._right, key, value, timestamp, watermark)

    def on_other(self, key: object, value: object, timestamp: int, watermark: int) -> Given:
        """Take in a record of the right; give its pairs, by the partner's timestamp, then arrival."""
        return self._on_record(self._right, self._left, key, value, timestamp, watermark)

    def _on_record(
        self, side: _Side, other: _Side, key: object, value: object, timestamp: int, watermark: int
    ) -> Given:
        if timestamp + side.reach <= watermark:
            return LATE
        arrivals = self._arrivals.of(key)
        number = arrivals[0]
        results = self._pairs(side, other, key, value, timestamp) if arrivals[1 + other.number] else None
        side.table.set(key, (timestamp, number), (value, results is not None) if side.outer else value)
        self._arrivals.add(key, arrivals, side.number)
        self._set_timer(key, (timestamp, number, side.number), timestamp + side.keep)
        return results

    @staticmethod
    def _pairs(side: _Side, other: _Side, key: object, value: object, timestamp: int) -> list[Emitted] | None:
        """Join a record with those of the other side; what is emitted shares nothing mutable with state (T125)."""
        table, outer, mine_first = other.table, other.outer, side.number == LEFT
        results: list[Emitted] = []
        # A list first: a partner's mark must not be set under the scan.
        for place, kept in list(table.items(key, (timestamp + side.low,), (timestamp + side.high,))):
            partner = kept
            if outer:
                marked: _Marked = kept  # type: ignore[assignment]  # as `_on_record` has put it
                partner = marked[0]
                if not marked[1]:
                    table.set(key, place, (partner, True))
            mine, partner = private_copy(value), private_copy(partner)
            pair = (mine, partner) if mine_first else (partner, mine)
            results.append((pair, max(timestamp, place[0])))  # type: ignore[index]  # (timestamp, number)
        return results or None

    def fire(self, watermark: int, limit: int) -> Sequence[Emitted]:
        """Drop what nobody can need any more; give the outer rows among it that had no partner."""
        results: list[Emitted] = []
        for step, timer in enumerate(self._timers.due("event", watermark), 1):
            if timer is not None:
                self._drop(timer, results)
            if step >= limit:
                break
        self._look_at_timers()
        return results

    def _drop(self, timer: Timer, results: list[Emitted]) -> None:
        key = timer.key
        name: tuple[int, int, int] = timer.name  # type: ignore[assignment]  # as `_on_record` has named it
        timestamp, number, which = name
        side = self._right if which == RIGHT else self._left
        place = (timestamp, number)
        if side.outer:
            marked: _Marked = side.table.get(key, place)  # type: ignore[assignment]
            if not marked[1]:
                results.append(((None, marked[0]) if which == RIGHT else (marked[0], None), timestamp))
        side.table.delete(key, place)
        self._arrivals.drop(key, 1 - which, which)
