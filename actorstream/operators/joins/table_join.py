"""A stream joined with a table: each record beside the value of its key.

    as_of="arrival"       the newest value when the record comes; nobody waits

    as_of="event_time"    table   ──a───────b──────        the value that was valid at the record's timestamp:
                          stream  ──────1──────2───        (1, a), (2, b), in whatever order they came

In event time a record waits in the state until the watermark has reached its timestamp, for until
then a version may still come. Versions stay for `versions_us` longer than the watermark needs
them: for as long a record behind the watermark finds its version, and comes out at once. After that
it is late: `timestamp + versions <= watermark`. A change of the table is never late: it takes its place
among the versions and counts from there on, for the records that have not come out. Only, a deletion is
forgotten as other versions are, so an older change that comes after that brings the key back: a table
that is read slowly, or from old files, must not lose what it says.

Results have the timestamp of the stream's record, and come by it, then key, then arrival.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, cast

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import PlanError
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.columns import Column
from actorstream.operators.joins.arrivals import LEFT, RIGHT, Arrivals
from actorstream.operators.joins.event_timers import TIMERS, EventTimers
from actorstream.operators.joins.versions import Versions
from actorstream.operators.timed import LATE, TimedDefinition
from actorstream.state.missing import MISSING, private_copy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.model.world import Clock
    from actorstream.operators.changes import Change
    from actorstream.operators.timed import Emitted, Given
    from actorstream.state.operator_state import OperatorState
    from actorstream.state.timers import Timer

_SUPERSEDE: Final = "supersede"
"""Timers named (this, since) drop versions. Those named by a time join its records, and sort first."""

_AT_ONCE: Final = 200
"""How many records of a key and instant are joined in one step. (Versions are superseded one by one.)"""


@dataclass(frozen=True, slots=True)
class TableJoin(TimedDefinition):
    """(record, value) for each record of the stream; without a value (record, None), or nothing where `how` is inner.

    The left input is the stream, the right one the table's changes (`Change`) by key.

    Raises:
        PlanError: `how` or `as_of` is unknown, or the versions' time is negative.
    """

    how: Literal["left", "inner"] = "left"
    as_of: Literal["arrival", "event_time"] = "arrival"
    versions_us: int = 0

    def __post_init__(self) -> None:
        """Check the words."""
        if self.how not in {"left", "inner"}:
            raise PlanError(f"join_table: how is {self.how!r}, expected 'left' or 'inner'")
        if self.as_of not in {"arrival", "event_time"}:
            raise PlanError(f"join_table: as_of is {self.as_of!r}, expected 'arrival' or 'event_time'")
        if self.versions_us < 0:
            raise PlanError(f"join_table: versions is {self.versions_us / 1e6:g} seconds, expected 0 or more")

    @property
    def kind(self) -> str:
        """The user's word."""
        return "join_table"

    @property
    def inputs(self) -> int:
        """Two."""
        return 2

    @property
    def event_time(self) -> bool:
        """Whether records need timestamps."""
        return self.as_of == "event_time"

    def columns(self, operator: str) -> list[Column]:
        """Give the states: the newest value, or versions and the records that wait."""
        del operator
        if self.as_of == "arrival":
            return [Column("newest", "value", SELF_DESCRIBING)]
        maps = [Column(name, "map", SELF_DESCRIBING) for name in ("versions", "waiting")]
        return [Arrivals.column(), *maps, TIMERS]

    def open(self, operator: str, state: OperatorState, clock: Clock) -> NewestJoinOperator | VersionJoinOperator:
        """Make one subtask's operator."""
        del operator, clock
        return NewestJoinOperator(self, state) if self.as_of == "arrival" else VersionJoinOperator(self, state)


class NewestJoinOperator:
    """One subtask's join with the newest values: nothing is ever due."""

    firing = False

    def __init__(self, definition: TableJoin, state: OperatorState) -> None:
        """Go on with what is in `state`."""
        self.due = self.clock_due = TIME_MAX
        self._rows = state.rows
        self._left = definition.how == "left"

    def on_element(self, key: object, value: object, timestamp: int, watermark: int) -> Given:
        """Join a record of the stream."""
        del watermark
        newest = self._rows.live.get(key, MISSING)
        if newest is MISSING:
            newest = self._rows.older(key)
        if newest is not MISSING:
            return (((value, private_copy(newest)), timestamp),)
        return (((value, None), timestamp),) if self._left else None

    def on_other(self, key: object, value: object, timestamp: int, watermark: int) -> Given:
        """Take in a change of the table."""
        del timestamp, watermark
        new = cast("Change[object, object]", value).new
        self._rows.live[key] = MISSING if new is None else new
        return None

    def fire(self, watermark: int, limit: int) -> Sequence[Emitted]:
        """Do nothing."""
        del watermark, limit
        return ()

    def fire_clock(self, now_us: int, watermark: int, limit: int) -> Sequence[Emitted]:
        """Do nothing."""
        del now_us, watermark, limit
        return ()


class VersionJoinOperator(EventTimers):
    """One subtask's join with the values that were valid at the records' times."""

    firing = False

    def __init__(self, definition: TableJoin, state: OperatorState) -> None:
        """Go on with what is in `state`."""
        super().__init__(state)
        self._left = definition.how == "left"
        self._keep = definition.versions_us
        self._versions = Versions(state.maps["versions"])
        self._waiting = state.maps["waiting"]
        self._arrivals = Arrivals(state.rows)

    def on_element(self, key: object, value: object, timestamp: int, watermark: int) -> Given:
        """Join a record of the stream that the watermark has reached; let another one wait."""
        if timestamp <= watermark:
            if timestamp + self._keep <= watermark:
                return LATE
            valid = self._versions.at(key, timestamp)
            return (((value, valid), timestamp),) if valid is not None or self._left else None
        row = self._arrivals.of(key)
        self._waiting.set(key, (timestamp, row[0]), value)
        self._arrivals.add(key, row, LEFT)
        self._set_timer(key, timestamp, timestamp)
        return None

    def on_other(self, key: object, value: object, timestamp: int, watermark: int) -> Given:
        """Take in a change of the table."""
        del watermark
        new = cast("Change[object, object]", value).new
        row = self._arrivals.of(key)
        known = row[2]
        replaced = self._versions.put(key, timestamp, new)
        if not replaced:
            self._arrivals.add(key, row, RIGHT)
        if known or new is None:  # the only version, if it is a value, supersedes nothing
            self._supersede_later(key, timestamp)
            if known == 1 and not replaced:
                for newer in self._versions.after(key, timestamp):
                    self._supersede_later(key, newer)
        return None

    def _supersede_later(self, key: object, since: int) -> None:
        """Have older versions dropped when the watermark says that nobody asks for a time before `since`."""
        self._set_timer(key, (_SUPERSEDE, since), max(since + self._keep - 1, TIME_MIN))

    def fire(self, watermark: int, limit: int) -> Sequence[Emitted]:
        """Join the records that have waited; drop the versions that nobody asks for any more."""
        results: list[Emitted] = []
        for step, timer in enumerate(self._timers.due("event", watermark), 1):
            if timer is not None:
                if isinstance(timer.name, int):
                    self._answer(timer, timer.name, results)
                else:
                    self._supersede(timer, timer.name[1])  # type: ignore[index]  # as `_supersede_later` has named it
            if step >= limit or len(results) >= limit:
                break
        self._look_at_timers()
        return results

    def _answer(self, timer: Timer, timestamp: int, results: list[Emitted]) -> None:
        """Join the records of a key and time; what is left of many is due again at once, before all else of the key."""
        key = timer.key
        waiting = list(islice(self._waiting.items(key, (timestamp,), (timestamp + 1,)), _AT_ONCE))
        valid = self._versions.at(key, timestamp)
        for place, value in waiting:
            self._waiting.delete(key, place)
            if valid is not None or self._left:
                results.append(((value, private_copy(valid)), timestamp))
        self._arrivals.drop(key, len(waiting), 0)
        if len(waiting) == _AT_ONCE:
            self._set_timer(key, timer.name, timer.at)

    def _supersede(self, timer: Timer, since: int) -> None:
        dropped = self._versions.supersede(timer.key, since)
        if dropped:
            self._arrivals.drop(timer.key, 0, dropped)
