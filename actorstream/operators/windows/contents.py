"""What a window holds: an accumulator, or its records.

    Folded        held = accumulator
    KeptRecords   held = (runs, newest records)        records_kept.py

`held` is a plain value in the window's own state; MISSING: nothing yet, or purged. Whatever does not
fit there lies in other tables, under names that the window's place in time makes unique.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from actorstream.errors import InvariantError
from actorstream.state.missing import MISSING, private_copy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actorstream.operators.windows.aggregates import Aggregation
    from actorstream.operators.windows.panes import Pane


class Contents(Protocol):
    """Puts records into windows, and values out."""

    def add(self, pane: Pane, value: object, moment: int) -> None:
        """Take a record into a window, by its time."""
        ...

    def join(self, pane: Pane, later: Pane) -> None:
        """Take all that a later window holds into an earlier one; `later` is used no more."""
        ...

    def values(self, pane: Pane, watermark: int, *, stays: bool) -> Iterable[object]:
        """Give the values of a window that holds something; if it `stays`, they share nothing with it."""
        ...

    def clear(self, pane: Pane) -> None:
        """Forget what a window holds."""
        ...


class Folded:
    """One accumulator a window."""

    def __init__(self, aggregation: Aggregation) -> None:
        """Compute what `aggregation` says."""
        self._add = aggregation.add
        self._merge = aggregation.merge
        self._result = aggregation.result

    def add(self, pane: Pane, value: object, moment: int) -> None:
        """Add to the accumulator."""
        del moment
        pane.held = self._add(pane.held, value)

    def join(self, pane: Pane, later: Pane) -> None:
        """Merge the accumulators."""
        if pane.held is MISSING:
            pane.held = later.held
        elif later.held is not MISSING:
            if self._merge is None:
                raise InvariantError("windows are merged whose accumulators cannot be")
            pane.held = self._merge(pane.held, later.held)

    def values(self, pane: Pane, watermark: int, *, stays: bool) -> Iterable[object]:
        """Give the one value."""
        del watermark
        value = self._result(pane.held)
        return (private_copy(value) if stays else value,)

    def clear(self, pane: Pane) -> None:
        """Forget the accumulator."""
        pane.held = MISSING
