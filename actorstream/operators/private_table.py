"""The map of one key as one async handler sees it: its own writes lie over what is stored, until its turn has come.

    writes of this handler         a = 3      z gone
    of handlers before it that
    have ended, not stored yet     a = 2      b = 7        (`Overlay`, of the key)
    stored                         a = 1      c = 5   z = 9      ──> a = 3, b = 7, c = 5

Stands in a `MapView` in place of the table itself (state/map_table.py). A value that may be changed in place is handed
out as a copy, and is a write from then on. While one iterates others may have their turn, so what is stored is read a
piece at a time, and each piece at once.
"""

from __future__ import annotations

from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Final

from actorstream.codec.ordered_keys import encode_key
from actorstream.codec.values import is_immutable
from actorstream.state.missing import MISSING, PLAIN, private_copy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.state.map_table import MapTable

_PIECE: Final = 64


class Overlay:
    """Writes to the map of one key: what they are by encoded map key, behind a clear of all where there was one."""

    __slots__ = ("cleared", "entries")

    def __init__(self) -> None:
        """Begin without any."""
        self.cleared = False
        self.entries: dict[bytes, tuple[object, object]] = {}

    def put(self, newer: Overlay) -> None:
        """Put newer writes over these."""
        if newer.cleared:
            self.cleared, self.entries = True, {}
        self.entries.update(newer.entries)

    def clear(self) -> None:
        """Remove everything."""
        self.cleared, self.entries = True, {}

    def store(self, table: MapTable, key: object) -> None:
        """Carry the writes out."""
        if self.cleared:
            table.clear(key)
        for item, value in self.entries.values():
            if value is MISSING:
                table.delete(key, item)
            else:
                table.set(key, item, value)


class PrivateTable:
    """A `MapTable` under one key.

    Attributes:
        writes: What this handler has written.
    """

    __slots__ = ("_before", "_edits", "_iterations", "_table", "writes")

    def __init__(self, table: MapTable, before: Overlay | None) -> None:
        """Lie over `before`, and that over `table`."""
        self.writes = Overlay()
        self._table = table
        self._before = before
        self._iterations = 0
        self._edits = 0

    def get(self, key: object, item: object) -> object:
        """Give a value; MISSING where there is none."""
        encoded, writes = encode_key(item), self.writes
        found = writes.entries.get(encoded)
        if found is not None:
            return found[1]
        if writes.cleared:
            return MISSING
        value = self._read(key, encoded, item)
        if value.__class__ in PLAIN or is_immutable(value):
            return value
        value = private_copy(value)
        writes.entries[encoded] = item, value
        return value

    def _read(self, key: object, encoded: bytes, item: object) -> object:
        before = self._before
        if before is not None:
            found = before.entries.get(encoded)
            if found is not None:
                return found[1]
            if before.cleared:
                return MISSING
        return self._table.get(key, item)

    @property
    def iterating(self) -> bool:
        """Tell whether an iterator is in use."""
        return self._iterations > 0

    def set(self, key: object, item: object, value: object) -> None:
        """Write a value."""
        if self._iterations and self.get(key, item) is MISSING:
            self._edits += 1
        self.writes.entries[encode_key(item)] = item, value

    def delete(self, key: object, item: object) -> None:
        """Remove a map key."""
        del key
        self._edits += 1
        self.writes.entries[encode_key(item)] = item, MISSING

    def clear(self, key: object) -> None:
        """Remove every map key."""
        del key
        self._edits += 1
        self.writes.clear()

    def first(self, key: object) -> object:
        """Give the first map key; MISSING where there is none."""
        return next((item for item, _ in self.items(key)), MISSING)

    def items(
        self, key: object, start: object = None, stop: object = None, *, reverse: bool = False
    ) -> Iterator[tuple[object, object]]:
        """Give (map key, value) in the order of the encoded map keys, with start <= map key < stop.

        Raises:
            RuntimeError: A map key was added or removed while the iterator was in use.
        """
        edits = self._edits
        self._iterations += 1
        try:
            low, high = (None if bound is None else encode_key(bound) for bound in (start, stop))
            written = {**({} if self.writes.cleared or self._before is None else self._before.entries)}
            written.update(self.writes.entries)
            mine = [
                (encoded, item)
                for encoded, (item, _) in written.items()
                if (low is None or low <= encoded) and (high is None or encoded < high)
            ]
            mine.sort(key=_encoded, reverse=reverse)
            stored = self._stored(key, start, stop, reverse=reverse)
            last = None
            for encoded, item in merge(mine, stored, key=_encoded, reverse=reverse):
                if encoded == last:
                    continue
                last = encoded
                value = self.get(key, item)
                if value is not MISSING:
                    yield item, value
                    if self._edits != edits:
                        raise RuntimeError("the map changed size during iteration")
        finally:
            self._iterations -= 1

    def _stored(self, key: object, start: object, stop: object, *, reverse: bool) -> Iterator[tuple[bytes, object]]:
        """Give the map keys that are stored, a piece at a time."""
        if self.writes.cleared or (self._before is not None and self._before.cleared):
            return
        last = None
        while True:
            found = self._table.items(key, start, stop, reverse=reverse)
            piece = [(encode_key(item), item) for item, _ in islice(found, _PIECE)]
            more = len(piece) == _PIECE
            for encoded, item in piece:
                if encoded != last:
                    yield encoded, item
            if not more:
                return
            last, item = piece[-1]
            if reverse:
                stop = item
            else:
                start = item


def _encoded(found: tuple[bytes, object]) -> bytes:
    return found[0]
