"""Rows: the value columns of an operator, one row a key, in dicts above the layers.

    one value column     row = the value
    several              row = a tuple in column order, MISSING where a column has none
    deleted              row = MISSING, a tombstone until it is in a layer
    with a time-to-live  (value, expiry) in the place of the value: state/ttl.py

The record path is a dict: `v = live.get(k, MISSING)`, then `older(k)` if that is
MISSING, then `live[k] = v`. `older` is called once a key and epoch, so it comes
straight to the point for immutable values.

A mutable value that is handed out counts as written, and goes into `live` at
once: as a private copy if the generation that holds it is not encoded yet, else
itself (T135). A copy can then be changed in place, and the snapshot cannot. For the
same reason no eviction takes it away: `live` is never evicted from.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from actorstream.codec.values import is_immutable
from actorstream.state.epochs import Epochs
from actorstream.state.footprint import footprint
from actorstream.state.missing import ABSENT, private_copy
from actorstream.state.missing import MISSING as MISSING  # (public names of this module too)
from actorstream.state.missing import PLAIN as PLAIN
from actorstream.state.row_entries import RowEntries
from actorstream.state.ttl import ExpiringCodec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from actorstream.state.entries import Entry, Slots
    from actorstream.state.epochs import Part
    from actorstream.state.key_space import KeySpace
    from actorstream.state.operator_state import StateColumn

Rows: TypeAlias = "dict[object, object]"


class RowTable(Epochs[Rows]):
    """Get with `live.get(key, MISSING)` and then `older`; set with `live[key] = row`, where MISSING deletes.

    `live` is a plain dict, replaced by another one at each freeze: bind it anew for each batch.

    Attributes:
        entries: How rows are encoded and found in layers.
        absent: Keys of which a cold read has just found that no layer has them; good for this epoch.
        loads: How many rows `older` has read from the layers.
    """

    def __init__(self, columns: Sequence[StateColumn], space: KeySpace) -> None:
        """Hold the value columns `columns`, in this order."""
        super().__init__()
        self.entries = RowEntries(columns, space)
        self.absent: AbstractSet[object] = frozenset()
        self.loads = 0
        self._space = space
        self._single = len(columns) == 1
        self._expiring = self._single and isinstance(columns[0].codec, ExpiringCodec)

    def older(self, key: object) -> object:
        """Give the row of a key that this epoch has not written; MISSING where there is none.

        Raises:
            CodecError: What the layers hold cannot be decoded, or a mutable value cannot be copied.
        """
        if key in self.live:
            return MISSING  # deleted in this epoch: the caller looked there first
        for rows in self.unsettled:
            row = rows.get(key, ABSENT)
            if row is not ABSENT:
                return row if row.__class__ in PLAIN else self._hand_out(key, row, rows)
        row = self.clean.get(key, ABSENT)
        if row is ABSENT:
            row = self._fetch(key)
        return row if row.__class__ in PLAIN else self._hand_out(key, row, self.clean)

    def peek(self, key: object) -> object:
        """Give the row as a query may see it: nothing is loaded, marked or shared."""
        for rows in (self.live, *self.below):
            row = rows.get(key, ABSENT)
            if row is not ABSENT:
                break
        else:
            row = self.entries.load(key) if self._space.stack.layers else MISSING
        return self._copy(row)

    def in_memory(self, key: object) -> bool:
        """Tell whether some dict says what the row of a key is."""
        return key in self.live or any(key in rows for rows in self.below)

    def keep(self, key: object, row: object) -> None:
        """Put among the clean rows what the layers hold, for a key that is not in memory."""
        self.clean[key] = row

    def freeze(self) -> Part[Rows] | None:
        """Begin a new epoch; see `Epochs`."""
        self.absent = frozenset()
        return super().freeze()

    def encode(self, part: Part[Rows], slots: Slots, limit: int, *, bottom: bool) -> list[Entry]:
        """Give the next entries of a part: its frozen epoch, then what is still valid of failed ones."""
        if part.cursor is None:
            part.cursor = _Cursor(part.newest)
        count = max(limit // max(self.entries.width, 1), 1)
        keys, rows = part.cursor.take(count)
        is_last = len(keys) < count
        if is_last:
            self._revive(part, count - len(keys), keys, rows)
        entries = self.entries.encode(keys, rows, slots, self.sizes, bottom=bottom)
        if keys:
            part.cursor.give_back(keys, rows)
        elif is_last and not part.returned:
            part.drained = True
            self._stack_up()
        return entries

    @staticmethod
    def _revive(part: Part[Rows], limit: int, keys: list[object], rows: list[object]) -> None:
        """Move up to `limit` failed rows into the newest dict, where no newer one is there, and into the lists."""
        newest = part.newest
        while part.returned:
            failed = part.returned[0]
            while failed and limit:
                key, row = failed.popitem()
                limit -= 1
                if key not in newest:
                    newest[key] = row
                    keys.append(key)
                    rows.append(row)
            if failed:
                break
            part.returned.pop(0)

    def _fetch(self, key: object) -> object:
        """Give a row that no newer dict has from the aged ones or the layers, and keep it among the clean ones."""
        for rows in self._aged:
            row = rows.pop(key, ABSENT)
            if row is not ABSENT:
                self.clean[key] = row
                return row
        if not self._space.stack.layers or key in self.absent:
            return MISSING
        row = self.entries.load(key)
        if row is not MISSING:
            self.loads += 1
            self.clean[key] = row
        return row

    def _new_dict(self) -> Rows:
        return {}

    def _measure(self, key: object, value: object) -> float:
        return footprint(key, 3) + footprint(value, 3)

    def _settle_from(self, oldest: Rows, limit: int, *, keep: bool) -> int:
        clean, aged, popitem = self.clean, self._aged, oldest.popitem
        count = min(limit, len(oldest))
        for _ in range(count):
            key, row = popitem()
            if keep and row is not MISSING:
                clean[key] = row
            else:
                clean.pop(key, None)
            if aged:
                for rows in aged:
                    rows.pop(key, None)
        return count

    def _drop_from(self, oldest: Rows, limit: int) -> int:
        keys = list(islice(oldest, limit))
        for key in keys:
            del oldest[key]
        return len(keys)

    def _hand_out(self, key: object, row: object, holder: Rows) -> object:
        if self._expiring and row[0].__class__ in PLAIN:  # type: ignore[index]  # (0.2 µs less, measured)
            return row
        if self._single:
            if is_immutable(row):
                return row
        elif all(value.__class__ in PLAIN or is_immutable(value) for value in self.entries.values(row)):
            return row
        if not self._changeable(holder):
            row = self._copy(row)
        self.live[key] = row
        return row

    def _copy(self, row: object) -> object:
        if self._single or row is MISSING:
            return private_copy(row)
        return tuple([private_copy(value) for value in self.entries.values(row)])


class _Cursor:
    """Where the encoding of a frozen epoch is."""

    __slots__ = ("_again", "_keys", "_rows")

    def __init__(self, rows: Rows) -> None:
        self._keys = iter(rows)
        self._rows = iter(rows.values())
        self._again: tuple[list[object], list[object]] | None = None

    def take(self, count: int) -> tuple[list[object], list[object]]:
        """Give the next keys and their rows, up to `count`; fewer are the last ones."""
        if self._again is None:
            return list(islice(self._keys, count)), list(islice(self._rows, count))
        keys, rows = self._again
        self._again = (keys[count:], rows[count:]) if len(keys) > count else None
        keys, rows = keys[:count], rows[:count]
        keys += islice(self._keys, count - len(keys))
        rows += islice(self._rows, count - len(rows))
        return keys, rows

    def give_back(self, keys: list[object], rows: list[object]) -> None:
        """Take back the last of what was given, for which there was no room: they are given next."""
        again_keys, again_rows = self._again or ([], [])
        self._again = keys + again_keys, rows + again_rows
