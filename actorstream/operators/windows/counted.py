"""Windows of a number of records: each key counts its own.

    Count(4, slide=2)     records of a key   0 1 2 3 4 5 6 7
                          window 0          |-------|
                          window 2              |-------|
                          window 4                  |---       not full: no result yet

State: the number of the next record, and for each window that is open, under the number of its first record, when that
was and what it holds. Where nothing is open and the next record starts a window, there is no state.

No time goes by here. A result has the event time of the record that it came with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from actorstream.errors import InvariantError
from actorstream.model.times import TIME_MAX
from actorstream.operators.timed import Aside
from actorstream.operators.user_time import datetime_of
from actorstream.operators.windows.panes import Pane
from actorstream.operators.windows.results import WindowResult
from actorstream.state.missing import MISSING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.operators.timed import Emitted, Given
    from actorstream.operators.windows.assigners import Count
    from actorstream.operators.windows.contents import Contents
    from actorstream.state.operator_state import OperatorState

NUMBER: Final = "number"
"""The state that holds the number of the next record."""


class CountedWindows:
    """One subtask's windows of a number of records.

    Attributes:
        due: Never.
        clock_due: Never.
    """

    due = TIME_MAX
    clock_due = TIME_MAX
    firing = False

    def __init__(self, windows: Count, contents: Contents, state: OperatorState, table: str, *, updates: bool) -> None:
        """Go on with the windows in the map `table`; with `updates` each record gives results."""
        self._size, self._slide = windows.size, windows.slide
        self._contents = contents
        self._rows = state.rows
        self._table = state.maps[table]
        self._updates = updates

    def on_element(self, key: object, value: object, timestamp: int, watermark: int, /) -> Given:
        """Add the record to the windows that it falls in; give those that are full."""
        size, slide = self._size, self._slide
        number = self._rows.live.get(key, MISSING)
        if number is MISSING:
            number = self._rows.older(key)
        number = 0 if number is MISSING else cast("int", number)
        given: list[Emitted] = []
        is_open = False
        for first in range(max(-((size - 1 - number) // slide) * slide, 0), number + 1, slide):
            is_full = number - first == size - 1
            is_open |= not is_full
            began, pane = self._load(key, first, timestamp)
            self._contents.add(pane, value, number)
            if is_full or self._updates:
                start, end = datetime_of(began), datetime_of(timestamp)
                for each in self._contents.values(pane, watermark, stays=not is_full):
                    aside = each.__class__ is Aside
                    given.append((each if aside else WindowResult(key, start, end, each), timestamp))
            if is_full:
                self._contents.clear(pane)
                self._table.delete(key, first)
            else:
                self._table.set(key, first, (began, pane.held, pane.own))
        number += 1
        self._rows.live[key] = number if is_open or number % slide else MISSING
        return given or None

    def _load(self, key: object, first: int, timestamp: int) -> tuple[int, Pane]:
        stored = cast("Any", self._table.get(key, first))
        pane = Pane(key, (first, first + self._size))
        if stored is not MISSING:
            timestamp, pane.held, pane.own = stored
        return timestamp, pane

    def on_other(self, key: object, value: object, timestamp: int, watermark: int, /) -> Given:
        """Refuse: there is one input."""
        raise InvariantError(f"a window got {value!r} of key {key!r} on a second input")

    def fire(self, watermark: int, limit: int, /) -> Sequence[Emitted]:
        """Give nothing."""
        return ()

    def fire_clock(self, now_us: int, watermark: int, limit: int, /) -> Sequence[Emitted]:
        """Give nothing."""
        return ()
