"""The sessions of each key: windows that became one where they touched.

    kept       [─────)        [────)
    record          [──────────)          touches both
    then       [───────────────────)

Two of a key never touch each other, so their starts tell them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actorstream.operators.windows.assigners import Span
    from actorstream.state.map_table import MapTable


class Sessions:
    """Start and end by key."""

    def __init__(self, table: MapTable) -> None:
        """Go on with what `table` holds."""
        self._table = table

    def around(self, key: object, span: Span) -> tuple[Span, list[Span]]:
        """Give the session that a window would become, and those that are there now and would become it."""
        start, end = span
        parts: list[Span] = []
        for part_start, part_end in self._table.items(key, None, end + 1, reverse=True):
            if part_end < span[0]:  # type: ignore[operator]  # ints, as `replace` has put them
                break
            parts.append((part_start, part_end))  # type: ignore[arg-type]
        for part_start, part_end in parts:
            start, end = min(start, part_start), max(end, part_end)
        return (start, end), parts

    def replace(self, key: object, parts: list[Span], merged: Span) -> None:
        """Put one session in the place of others."""
        for start, _ in parts:
            if start != merged[0]:
                self._table.delete(key, start)
        self._table.set(key, *merged)

    def drop(self, key: object, span: Span) -> None:
        """Forget a session."""
        self._table.delete(key, span[0])
