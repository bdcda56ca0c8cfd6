"""What one epoch holds of the maps of a state: for each key a change, for each change its entries.

    MapEpoch    dict: key -> Change        counts the entries of all its changes
    Change      dict: encoded map key -> value, sorted when first scanned

A map may be larger than any slice of work, so what removes entries removes a number of
them, and a change that may be large is never let go whole: it is handed back to its
caller, who empties it by slices.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from heapq import merge
from itertools import islice
from sys import getsizeof
from typing import TypeAlias

from actorstream.state.footprint import footprint
from actorstream.state.missing import ABSENT

Found: TypeAlias = "tuple[bytes, object, bytes | None]"
"""Map key, value in memory, or tag and codec bytes of a layer."""

CHANGE_BYTES = 220
"""About what a change takes beside its entries: the object 72, an empty dict 64, the key 60, and their rounding."""

_RUN = 64
_SMALL = 1_000  # entries that may be freed at once
_SORTED_AT_ONCE = 10_000


class Change:
    """What one epoch did to one map. `order` is the sorted map keys, made when first scanned."""

    __slots__ = ("cleared", "entries", "order")

    def __init__(self, *, cleared: bool = False) -> None:
        """Start with no entry."""
        self.cleared = cleared
        self.entries: dict[bytes, object] = {}
        self.order: list[bytes] | None = None

    def between(self, start: bytes | None, stop: bytes | None) -> list[Found]:
        """Give the entries with start <= map key < stop, sorted."""
        order, entries = self._sorted(), self.entries
        low = 0 if start is None else bisect_left(order, start)
        high = len(order) if stop is None else bisect_left(order, stop)
        return [(map_key, entries[map_key], None) for map_key in order[low:high]]

    def end_of_run(self, start: bytes | None) -> bytes | None:
        """Give a map key with a few entries between `start` and it; None where there are no more than a few."""
        order = self._sorted()
        end = (0 if start is None else bisect_left(order, start)) + _RUN
        return order[end] if end < len(order) else None

    def _sorted(self) -> list[bytes]:
        if self.order is None:
            self.order = _in_order(self.entries)
        return self.order


class MapEpoch(dict[object, Change]):
    """The changes of one epoch.

    Attributes:
        entries: How many map entries all changes hold together.
    """

    __slots__ = ("entries",)

    def __init__(self) -> None:
        """Start with no change."""
        super().__init__()
        self.entries = 0

    def put(self, key: object, map_key: bytes, value: object) -> None:
        """Set an entry; MISSING is a tombstone, in an epoch that may hold one."""
        change = self.get(key) or self.begin(key)
        if map_key not in change.entries:
            self.entries += 1
            if change.order is not None:
                insort(change.order, map_key)
        change.entries[map_key] = value

    def begin(self, key: object) -> Change:
        """Put an empty change where there is none."""
        change = self[key] = Change()
        return change

    def take(self, key: object, map_key: bytes) -> object:
        """Remove an entry and give its value, ABSENT if there is none; a change without entries goes too."""
        change = self.get(key)
        if change is None:
            return ABSENT
        value = change.entries.pop(map_key, ABSENT)
        if value is not ABSENT:
            change.order = None
            self.entries -= 1
            if not change.entries and not change.cleared:
                del self[key]
        return value

    def take_over(self, newer: MapEpoch) -> list[dict[bytes, object]]:
        """Put what a newer epoch did over what this one did; give entries to empty by slices."""
        waste = []
        for key, change in newer.items():
            hidden = self.replace(key, Change(cleared=True)) if change.cleared else None
            waste += [] if hidden is None else [hidden]
            for map_key, value in change.entries.items():
                self.put(key, map_key, value)
        return waste

    def replace(self, key: object, new: Change | None) -> dict[bytes, object] | None:
        """Put an empty change in the place of what there is of a key, or nothing; give entries to empty by slices."""
        old = self.pop(key, None)
        if new is not None:
            self[key] = new
        if old is None:
            return None
        self.entries -= len(old.entries)
        return old.entries if len(old.entries) > _SMALL else None

    def shed(self, change: Change, limit: int) -> int:
        """Drop up to `limit` entries of one of the changes, which stays; give how many were dropped."""
        count = min(limit, len(change.entries))
        change.order = None
        for _ in range(count):
            change.entries.popitem()
        self.entries -= count
        return count

    def drop_first(self, limit: int) -> int:
        """Drop up to `limit` entries, of the first keys first; give how many, a change counting for one."""
        dropped = 0
        for key in list(islice(self, limit)):
            change = self[key]
            dropped += self.shed(change, limit - dropped)
            if change.entries:
                break
            del self[key]
            dropped += 1
            if dropped >= limit:
                break
        return dropped

    def drop_last(self, limit: int) -> int:
        """Drop up to `limit` entries, in any order; give how many, a change counting for one."""
        dropped = 0
        while self and dropped < limit:
            key, change = self.popitem()
            dropped += 1 + self.shed(change, limit - dropped)
            if change.entries:
                self[key] = change
        return dropped

    def bytes_at(self, entry: float) -> float:
        """Estimate what this takes, `entry` bytes an entry."""
        return getsizeof(self) + len(self) * CHANGE_BYTES + self.entries * entry


def entry_bytes(entries: dict[bytes, object], map_key: bytes, value: object) -> float:
    """Measure one of `entries`, its place in the dict included; held by their names and one tuple too."""
    return footprint(map_key, 3) + footprint(value, 3) + (getsizeof(entries) - _EMPTY_BYTES) / len(entries)


def _in_order(entries: dict[bytes, object]) -> list[bytes]:
    if len(entries) <= _SORTED_AT_ONCE:
        return sorted(entries)
    map_keys = iter(entries)
    return list(merge(*iter(lambda: sorted(islice(map_keys, _SORTED_AT_ONCE)), [])))


_EMPTY_BYTES = getsizeof({})
