"""Rows: the value columns of an operator, one row a key, in dicts above the layers.

    one value column     row = the value
    several              row = a tuple in column order, MISSING where a column has none
    deleted              row = MISSING, a tombstone until it is in a layer

The record path is a dict: `v = live.get(k, MISSING)`, then `older(k)` if that is
MISSING, then `live[k] = v`. `older` is called once a key and epoch, so it comes
straight to the point for immutable values.

A mutable value that is handed out counts as written, and goes into `live` at
once: as a private copy if the generation that holds it is not encoded yet, else
itself (T135). A copy can then be changed in place, and the snapshot cannot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorstream.codec.ordered_keys import encode_key
from actorstream.codec.values import copy_value, is_immutable
from actorstream.errors import CodecError, InvariantError
from actorstream.model.key_groups import key_group_of
from actorstream.state.entries import PART_BYTES_MAX, TOMBSTONE, TOMBSTONE_TAG, VALUE, VALUE_TAG, find, newer_format
from actorstream.state.epochs import Epochs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from actorstream.state.entries import Entry, Slots
    from actorstream.state.epochs import Part
    from actorstream.state.key_space import KeySpace
    from actorstream.state.layer import Layer
    from actorstream.state.operator_state import StateColumn


class _Missing:
    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "MISSING"  # copies are the same object


MISSING: Final = _Missing()
"""No value: not even None."""

ABSENT: Final = object()
"""A dict says nothing about a key, where MISSING says that it was deleted."""

PLAIN: Final = frozenset({bool, int, float, str, bytes, type(None), _Missing})
"""Classes whose instances can be handed out without a second look."""


def private_copy(value: object) -> object:
    """Copy a value that may be changed in place; MISSING stays what it is."""
    return value if value.__class__ in PLAIN else copy_value(value)


class _Column:
    """A value column, with what its entries begin with in each key group."""

    __slots__ = ("decode", "encode", "heads", "name")

    def __init__(self, column: StateColumn, space: KeySpace) -> None:
        self.name = column.name
        self.encode = column.codec.encode
        self.decode = column.codec.decode
        self.heads = space.heads(column.number)


class RowTable(Epochs[object]):
    """Get with `live.get(key, MISSING)` and then `older`; set with `live[key] = row`, where MISSING deletes.

    `live` is a plain dict, replaced by another one at each freeze: bind it anew for each batch.
    """

    def __init__(self, columns: Sequence[StateColumn], space: KeySpace) -> None:
        """Hold the value columns `columns`, in this order."""
        super().__init__()
        self._space = space
        self._columns = [_Column(column, space) for column in columns]
        self._single = len(columns) == 1

    def older(self, key: object) -> object:
        """Give the row of a key that this epoch has not written; MISSING where there is none.

        Raises:
            CodecError: What the layers hold cannot be decoded, or a mutable value cannot be copied.
        """
        if key in self.live:
            return MISSING  # deleted in this epoch: the caller looked there first
        for rows in self.below:
            row = rows.get(key, ABSENT)
            if row is not ABSENT:
                return row if row.__class__ in PLAIN else self._hand_out(key, row, rows)
        row = self._load(key)
        if row is MISSING:
            return row
        self.clean[key] = row
        return row if row.__class__ in PLAIN else self._hand_out(key, row, self.clean)

    def peek(self, key: object) -> object:
        """Give the row as a query may see it: nothing is loaded, marked or shared."""
        for rows in (self.live, *self.below):
            row = rows.get(key, ABSENT)
            if row is not ABSENT:
                break
        else:
            row = self._load(key)
        return self._copy(row)

    def encode(self, part: Part[object], slots: Slots, *, bottom: bool) -> Iterator[Entry]:
        """Give the entries of a part: its frozen epoch, then what is still valid of failed ones."""
        yield from self._entries(part.newest.items(), slots, bottom=bottom)
        while part.returned:
            yield from self._entries(self._revive(part, part.returned[0]), slots, bottom=bottom)
            part.returned.pop(0)
        self._stack_up()

    def _revive(self, part: Part[object], failed: dict[object, object]) -> Iterator[tuple[object, object]]:
        newest = part.newest
        while failed:
            key, row = failed.popitem()
            if key not in newest:
                newest[key] = row
                yield key, row

    def _entries(self, rows: Iterable[tuple[object, object]], slots: Slots, *, bottom: bool) -> Iterator[Entry]:
        if self._single:
            return self._entries_of_one(self._columns[0], rows, slots, bottom=bottom)
        return self._entries_of_several(rows, slots, bottom=bottom)

    def _entries_of_one(
        self, column: _Column, rows: Iterable[tuple[object, object]], slots: Slots, *, bottom: bool
    ) -> Iterator[Entry]:
        """Do the same as for several columns, in a third of the time: most operators have one."""
        max_parallelism, heads, encode = self._space.max_parallelism, column.heads, column.encode
        key: object = MISSING
        try:
            for key, row in rows:
                part = encode_key(key)
                head = heads.get(key_group_of(part, max_parallelism))
                if head is None:
                    raise self._space.stranger(key)
                if row is not MISSING:
                    tagged = VALUE_TAG + encode(row)
                elif not bottom:
                    tagged = TOMBSTONE_TAG
                else:
                    continue
                yield (head + part, tagged) if len(part) <= PART_BYTES_MAX else slots.entry(head, part, b"", tagged)
        except CodecError as error:
            raise self._space.cannot_encode(column.name, key, error) from error

    def _entries_of_several(
        self, rows: Iterable[tuple[object, object]], slots: Slots, *, bottom: bool
    ) -> Iterator[Entry]:
        max_parallelism = self._space.max_parallelism
        for key, row in rows:
            name = ""
            try:
                part = encode_key(key)
                group = key_group_of(part, max_parallelism)
                for column, value in zip(self._columns, self._values(row), strict=True):
                    name = column.name
                    if value is MISSING:
                        if bottom:
                            continue
                        tagged = TOMBSTONE_TAG
                    else:
                        tagged = VALUE_TAG + column.encode(value)
                    head = column.heads.get(group)
                    if head is None:
                        raise self._space.stranger(key)
                    if len(part) <= PART_BYTES_MAX:
                        yield head + part, tagged
                    else:
                        yield slots.entry(head, part, b"", tagged)
            except CodecError as error:
                raise self._space.cannot_encode(name, key, error) from error

    def _values(self, row: object) -> Sequence[object]:
        if self._single:
            return (row,)
        if row is MISSING:
            return (MISSING,) * len(self._columns)
        if not isinstance(row, tuple) or len(row) != len(self._columns):
            raise InvariantError(f"{self._space.name}: a row must be a tuple of {len(self._columns)} columns: {row!r}")
        return row

    def _settle_from(self, oldest: dict[object, object], limit: int) -> int:
        clean = self.clean
        moved = 0
        while oldest and moved < limit:
            key, row = oldest.popitem()
            moved += 1
            if row is MISSING:
                clean.pop(key, None)
            else:
                clean[key] = row
        return moved

    def _hand_out(self, key: object, row: object, holder: dict[object, object]) -> object:
        if self._single:
            if is_immutable(row):
                return row
        elif all(value.__class__ in PLAIN or is_immutable(value) for value in self._values(row)):
            return row
        if not self._changeable(holder):
            row = self._copy(row)
        self.live[key] = row
        return row

    def _copy(self, row: object) -> object:
        if self._single or row is MISSING:
            return private_copy(row)
        return tuple([private_copy(value) for value in self._values(row)])

    def _load(self, key: object) -> object:
        stack = self._space.stack
        if not stack.layers:
            return MISSING
        part = encode_key(key)
        group = key_group_of(part, self._space.max_parallelism)
        layers = stack.layers_for(group)
        if self._single:
            return self._load_value(self._columns[0], key, part, group, layers)
        row = tuple([self._load_value(column, key, part, group, layers) for column in self._columns])
        return MISSING if all(value is MISSING for value in row) else row

    def _load_value(self, column: _Column, key: object, part: bytes, group: int, layers: Iterable[Layer]) -> object:
        head = column.heads.get(group)
        if head is None:
            raise self._space.stranger(key)
        tagged: bytes | None = None
        entry = head + part
        for layer in layers:
            tagged = layer.get(entry) if len(part) <= PART_BYTES_MAX else find(layer, head, part)
            if tagged is not None:
                break
        if tagged is None or tagged[0] == TOMBSTONE:
            return MISSING
        if tagged[0] != VALUE:
            raise newer_format(f"state {self._space.name}.{column.name}", tagged[0])
        try:
            return column.decode(tagged[1:])
        except CodecError as error:
            raise self._space.cannot_encode(column.name, key, error) from error
