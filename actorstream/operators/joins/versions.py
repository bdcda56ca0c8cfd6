"""The versions of a table's values: what was valid when, as far back as somebody may ask.

    versions of a key   ──3 a────7 b─────────12 deleted───▶      at 6: a, at 7: b, at 12: nothing
    nobody asks before           ▲ at 8
                          kept:  7 b, 12 deleted

Once nobody asks for a time before a version, it supersedes the older ones. A deletion is a version
too, for an older one may still come; when it is the oldest it is dropped: no version says the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.state.missing import private_copy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.state.map_table import MapTable


class Versions:
    """Values by key and the time from which they are valid; None is a deletion."""

    def __init__(self, table: MapTable) -> None:
        """Go on with what `table` holds."""
        self._table = table

    def put(self, key: object, since: int, value: object) -> bool:
        """Let a value be valid from a time on, up to the next version; tell whether it replaced one of that time."""
        replaced = self._table.contains(key, since)
        self._table.set(key, since, value)
        return replaced

    def at(self, key: object, time: int) -> object:
        """Give a private copy of the value that is valid at a time; None if there is none."""
        for _, value in self._table.items(key, None, time + 1, reverse=True):
            return private_copy(value)
        return None

    def after(self, key: object, time: int) -> Iterator[int]:
        """Give the times after `time` at which versions begin."""
        for since, _ in self._table.items(key, time + 1):
            yield since  # type: ignore[misc]  # as `put` has put it

    def supersede(self, key: object, since: int) -> int:
        """Drop what the version of a time supersedes, and it too if it then says nothing; give how many."""
        gone = [older for older, _ in self._table.items(key, None, since)]
        if self._table.get(key, since) is None:
            gone.append(since)
        for time in gone:
            self._table.delete(key, time)
        return len(gone)
