"""The sessions of all keys: where each lies, and what it holds.

    state.rows              key -> ((start, end), (start, end), ...)    in order; none touches another
    state.maps["windows"]   key -> {start: what is remembered}          as of all windows: panes.py

The first is what makes finding the sessions that a record touches a look at a few pairs of numbers. It is
written when a session grows, begins or goes, once a record and not otherwise (T63). A session that grows at its
end stays where it is in the second.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from actorstream.errors import InvariantError
from actorstream.operators.windows.panes import Pane, PaneTable
from actorstream.state.missing import MISSING

if TYPE_CHECKING:
    from actorstream.operators.windows.assigners import Span
    from actorstream.state.map_table import MapTable
    from actorstream.state.memtable import RowTable

SPANS: Final = "spans"
"""The state that says where sessions lie."""

Spans: TypeAlias = "tuple[Span, ...]"


class SessionTable(PaneTable):
    """The sessions of all keys."""

    __slots__ = ("_rows",)

    def __init__(self, rows: RowTable, table: MapTable) -> None:
        """Keep places in `rows`, and what sessions hold in `table`."""
        super().__init__(table)
        self._rows = rows

    def spans(self, key: object) -> Spans:
        """Give the sessions of a key, in order."""
        row = self._rows.live.get(key, MISSING)
        if row is MISSING:
            row = self._rows.older(key)
        return () if row is MISSING else cast("Spans", row)

    def place(self, key: object, spans: Spans) -> None:
        """Say where the sessions of a key lie from now on."""
        self._rows.live[key] = spans or MISSING

    def drop(self, pane: Pane) -> None:
        """Forget a session."""
        super().drop(pane)
        self.place(pane.key, tuple([span for span in self.spans(pane.key) if span != pane.span]))

    def forget(self, pane: Pane) -> None:
        """Forget what a session held that has become part of another one."""
        super().drop(pane)

    def open(self, key: object, span: Span) -> Pane:
        """Give what is remembered of a session.

        Raises:
            InvariantError: Nothing is.
        """
        pane = self.load(key, span)
        if pane is None:
            raise InvariantError(f"session {span} of key {key!r} has a place, and holds nothing")
        return pane

    def at(self, key: object, instant: int) -> Pane | None:
        """Give the session that an instant lies in."""
        spans = self.spans(key)
        place = bisect_right(spans, instant, key=_start)
        if not place or instant >= spans[place - 1][1]:
            return None
        return self.open(key, spans[place - 1])

    def _map_key(self, span: Span) -> object:
        return span[0]


def _start(span: Span) -> int:
    return span[0]
