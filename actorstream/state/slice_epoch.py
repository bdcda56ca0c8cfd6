"""What one epoch holds of the slices of an operator: a plain dict of keys for each slice.

The record path writes into those dicts, so nobody counts as they grow: entries are
counted when asked for. A slice may be larger than any step of work, so it is let go whole
only when it is small.
"""

from __future__ import annotations

from itertools import islice
from sys import getsizeof
from typing import TypeAlias

Slice: TypeAlias = "dict[object, object]"

_FREED_AT_ONCE = 1_000  # entries


class SliceEpoch(dict[int, Slice]):
    """The entries of one epoch, by the start of their slice. True while there is one, or a mark to be written.

    Attributes:
        floor: At the freeze, the first slice that was not dropped.
        buried: Layers may have entries below it: marks are written.
    """

    __slots__ = ("buried", "floor")

    def __init__(self, floor: int) -> None:
        """Start with no entry."""
        super().__init__()
        self.floor = floor
        self.buried = False

    def __bool__(self) -> bool:
        """Tell whether there is something to write, or to free."""
        return self.buried or any(self.values())

    @property
    def entries(self) -> int:
        """Count the entries of all slices."""
        return sum(map(len, self.values()))

    def bytes_at(self, entry: float) -> float:
        """Estimate what this takes, `entry` bytes an entry."""
        return getsizeof(self) + sum(map(getsizeof, self.values())) + self.entries * entry

    def bury(self, floor: int) -> list[Slice]:
        """Take out the slices below `floor`; give those that must be freed by steps."""
        large: list[Slice] = []
        for start in [start for start in self if start < floor]:
            entries = self.pop(start)
            if len(entries) > _FREED_AT_ONCE:
                large.append(entries)
        return large

    def empty(self, limit: int) -> int:
        """Free up to `limit` entries, any; give how many, a slice counting for one."""
        freed = 0
        while len(self) and freed < limit:
            start, entries = self.popitem()
            freed += 1 + empty(entries, limit - freed)
            if entries:
                self[start] = entries
        self.buried = False
        return freed

    def drop_first(self, start: int, limit: int) -> int:
        """Free up to `limit` entries of a slice, the first ones; give how many."""
        entries = self[start]
        if len(entries) <= limit:
            dropped = len(entries)
            if dropped <= _FREED_AT_ONCE:
                del self[start]
                return dropped
        keys = list(islice(entries, limit))
        for key in keys:
            del entries[key]
        if not entries:
            del self[start]
        return len(keys)


def empty(entries: Slice, limit: int) -> int:
    """Free up to `limit` entries, any; give how many."""
    count = min(limit, len(entries))
    if count == len(entries) <= _FREED_AT_ONCE:
        entries.clear()
    else:
        for _ in range(count):
            entries.popitem()
    return count
