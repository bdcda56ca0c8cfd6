"""Windows that keep their records: for functions of all of them, and where accumulators cannot be merged.

    held = [runs, newest]
             │      └ the records that came last, fewer than 64: (time, record)
             └ (start, end, number): so many full entries of the table "records", under
                 (start, end, 0), (start, end, 1), ...

So a record is written to disk once or twice however large its window becomes, and a window of few
records is one entry. A run is named after the window that began it. When sessions become one, runs are
joined, not moved (T52): a name stays unique, because the window that it was is inside the one that it is.

The user's function gets the records in the order of their time, those of one time as they came. That
order is the same however they were mixed on the way, and does not depend on which sessions there
were in between: records of one time are never in two of a key's sessions.
"""

from __future__ import annotations

from heapq import merge
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from actorstream.errors import InvariantError
from actorstream.state.missing import MISSING, private_copy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actorstream.operators.windows.aggregates import Aggregation
    from actorstream.operators.windows.panes import Pane
    from actorstream.state.map_table import MapTable

RUN_RECORDS: Final = 64
"""How many records an entry holds: a checkpoint writes fewer than these again."""

_SORTED_AT_ONCE: Final = 10_000

_Record: TypeAlias = "tuple[int, object]"
_time = itemgetter(0)


class KeptRecords:
    """All records of a window, and a function of them."""

    def __init__(self, aggregation: Aggregation, table: MapTable) -> None:
        """Keep full runs in `table`."""
        self._result = aggregation.result
        self._table = table

    def add(self, pane: Pane, value: object, moment: int) -> None:
        """Keep a record."""
        if pane.held is MISSING:
            pane.held = [[], [(moment, value)]]
            return
        runs, newest = cast("Any", pane.held)
        newest.append((moment, value))
        if len(newest) >= RUN_RECORDS:
            start, end, number = runs.pop() if runs else (*pane.span, 0)
            self._table.set(pane.key, (start, end, number), tuple(newest))
            runs.append((start, end, number + 1))
            newest.clear()

    def join(self, pane: Pane, later: Pane) -> None:
        """Join the runs."""
        if pane.held is MISSING:
            pane.held = later.held
        elif later.held is not MISSING:
            runs, newest = cast("Any", pane.held)
            later_runs, later_newest = cast("Any", later.held)
            runs += later_runs
            newest += later_newest

    def values(self, pane: Pane, watermark: int, *, stays: bool) -> Iterable[object]:
        """Give what the user's function makes of all records."""
        del watermark
        value = self._result(self.records(pane))
        return (private_copy(value) if stays else value,)

    def records(self, pane: Pane) -> Sequence[object]:
        """Give the records in the order of their time."""
        runs, newest = cast("Any", pane.held)
        timed: list[_Record] = []
        for start, end, number in runs:
            for place in range(number):
                run = self._table.get(pane.key, (start, end, place))
                if run is MISSING:
                    raise InvariantError(f"records {start}..{end}, run {place}, of key {pane.key!r} are not there")
                timed += cast("tuple[_Record, ...]", run)
        timed += newest
        return [record for _, record in _in_order(timed)]

    def clear(self, pane: Pane) -> None:
        """Forget the records."""
        if pane.held is not MISSING:
            runs, _ = cast("Any", pane.held)
            for start, end, number in runs:
                for place in range(number):
                    self._table.delete(pane.key, (start, end, place))
            pane.held = MISSING


def _in_order(timed: list[_Record]) -> Iterable[_Record]:
    """Sort by time, those of one time as they are; many of them in steps that hold nobody up for long."""
    if len(timed) <= _SORTED_AT_ONCE:
        timed.sort(key=_time)
        return timed
    steps = range(0, len(timed), _SORTED_AT_ONCE)
    return merge(*[sorted(timed[at : at + _SORTED_AT_ONCE], key=_time) for at in steps], key=_time)
