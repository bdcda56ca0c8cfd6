"""Bugs in joins: which records are partners, how long one is kept for them, and what an outer row needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.operators.joins import interval, sliced_cogroup
from actorstream.operators.joins.arrivals import Arrivals
from actorstream.operators.joins.interval import IntervalJoin, IntervalJoinOperator
from actorstream.operators.joins.sessions import Sessions
from actorstream.operators.joins.sliced_cogroup import SlicedCoGroupOperator
from actorstream.operators.joins.table_join import VersionJoinOperator
from actorstream.operators.joins.versions import Versions
from actorstream.operators.joins.window_rows import WindowRows
from actorstream.state.map_table import MapTable
from tests.mutations.circumstances import OFTEN
from tests.mutations.entering import Area

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from actorstream.operators.windows.assigners import Span

AREA = Area("joins")


# -- interval joins ----------------------------------------------------------------------------------------------------


def _sides(low: int, high: int, keep: int) -> Sequence[AbstractContextManager[object]]:
    """Move the bounds within which a side looks for partners, and for how long it keeps its own."""
    real = interval._Side.__init__

    def init(self: interval._Side, join: IntervalJoin, number: int, table: MapTable) -> None:
        real(self, join, number, table)
        self.low += low
        self.high += high
        self.keep += keep

    return [patch.object(interval._Side, "__init__", init)]


@AREA.in_time("the upper bound of an interval is left out", job="join")
def _bound_left_out() -> Sequence[AbstractContextManager[object]]:
    return _sides(0, -1, 0)


@AREA.in_time("a record is dropped before its last partner has come", job="join")
def _dropped_early() -> Sequence[AbstractContextManager[object]]:
    return _sides(0, 0, -4_000_000)


@AREA.in_time("both sides look for partners as the left one does", job="join")
def _bounds_of_left() -> Sequence[AbstractContextManager[object]]:
    real = interval._Side.__init__

    def init(self: interval._Side, join: IntervalJoin, number: int, table: MapTable) -> None:
        real(self, join, number, table)
        self.low, self.high = -join.before_us, join.after_us + 1

    return [patch.object(interval._Side, "__init__", init)]


@AREA.in_time("a record that has met a partner comes out alone all the same", job="join")
def _not_marked() -> Sequence[AbstractContextManager[object]]:
    real = IntervalJoinOperator._pairs

    def pairs(side: interval._Side, other: interval._Side, *record: Any) -> Any:
        with patch.object(MapTable, "set", lambda *_: None):
            return real(side, other, *record)

    return [patch.object(IntervalJoinOperator, "_pairs", staticmethod(pairs))]


@AREA.in_time("records of one side are counted on the other when they go", job="join")
def _counted_on_the_other() -> Sequence[AbstractContextManager[object]]:
    real = Arrivals.drop
    return [patch.object(Arrivals, "drop", lambda self, key, lefts, rights: real(self, key, rights, lefts))]


# -- joins by windows --------------------------------------------------------------------------------------------------


@AREA.in_time("what a window had sealed is lost when it seals again", job="itself", events=200)
def _sealed_over() -> Sequence[AbstractContextManager[object]]:
    real = SlicedCoGroupOperator.seal

    def seal(self: SlicedCoGroupOperator, start: int, key: object, held: list[Any]) -> None:
        if held[0] == sliced_cogroup._MARK:
            held[1] = 0
        real(self, start, key, held)

    return [patch.object(sliced_cogroup, "SEALED_AT", 6), patch.object(SlicedCoGroupOperator, "seal", seal)]


@AREA.in_time("a record of the right that comes first in a window counts as one of the left", job="itself")
def _first_is_left() -> Sequence[AbstractContextManager[object]]:
    real = sliced_cogroup._sides

    def sides(sides: list[int], held: list[Any]) -> Any:
        return real([0, *sides[1:]], held)

    return [patch.object(sliced_cogroup, "_sides", sides)]


@AREA.in_time("two sessions that a record brings together stay two", job="grouped")
def _not_together() -> Sequence[AbstractContextManager[object]]:
    real = Sessions.around

    def around(self: Sessions, key: object, span: Span) -> tuple[Span, list[Span]]:
        _, parts = real(self, key, span)
        one = parts[:1]
        return (min(start for start, _ in [span, *one]), max(end for _, end in [span, *one])), one

    return [patch.object(Sessions, "around", around)]


@AREA.in_time("sessions that become one leave the latest of them where it was", job="grouped")
def _latest_left() -> Sequence[AbstractContextManager[object]]:
    real = Sessions.around

    def around(self: Sessions, key: object, span: Span) -> tuple[Span, list[Span]]:
        merged, parts = real(self, key, span)
        return merged, parts[1:] if len(parts) > 1 else parts

    return [patch.object(Sessions, "around", around)]


@AREA.in_time("a session that ends takes the key's other records with it", job="grouped")
def _all_dropped() -> Sequence[AbstractContextManager[object]]:
    real = WindowRows.drop

    def drop(self: WindowRows, key: object, span: Span) -> Iterator[None]:
        return real(self, key, (span[0], span[1] + 60_000_000))

    return [patch.object(WindowRows, "drop", drop)]


# -- joins with tables -------------------------------------------------------------------------------------------------


@AREA.in_time("a version is not valid yet at its own instant", job="table")
def _valid_later() -> Sequence[AbstractContextManager[object]]:
    real = Versions.at
    return [patch.object(Versions, "at", lambda self, key, time: real(self, key, time - 1))]


@AREA.in_time("versions are superseded before the watermark has come to them", job="table", **OFTEN)
def _superseded_early() -> Sequence[AbstractContextManager[object]]:
    real = VersionJoinOperator._supersede_later

    def later(self: VersionJoinOperator, key: object, since: int) -> None:
        real(self, key, since - self._keep - 10_000_000)

    return [patch.object(VersionJoinOperator, "_supersede_later", later)]


@AREA.in_time("a record is joined with what is known when it comes, not when its time has come", job="table")
def _not_waiting() -> Sequence[AbstractContextManager[object]]:
    real = VersionJoinOperator.on_element

    def on_element(self: VersionJoinOperator, key: object, value: object, timestamp: int, watermark: int) -> Any:
        return real(self, key, value, timestamp, max(watermark, timestamp))

    return [patch.object(VersionJoinOperator, "on_element", on_element)]


@AREA.in_time("of records that wait for one instant the last is forgotten", job="table")
def _last_forgotten() -> Sequence[AbstractContextManager[object]]:
    real = Arrivals.of

    def of(self: Arrivals, key: object) -> tuple[int, int, int]:
        number, lefts, rights = real(self, key)
        return number // 2 * 2, lefts, rights

    return [patch.object(Arrivals, "of", of)]
