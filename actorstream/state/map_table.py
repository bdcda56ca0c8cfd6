"""A map column: for each key a sorted map, of which memory holds changes and the layers the rest.

    live      key -> Change(cleared, {map key: value})     newest first, as in `Epochs`
    frozen    key -> Change
    clean     key -> Change, values only
    layers    clear mark at the map's prefix, entries sorted by map key

A change whose map was `cleared`, and a clear mark in a layer, hide everything older
of that map. Map keys are identified by their encoding, so 1, 1.0 and True are
three (T137), and a scan merges changes and layers without decoding what it skips.

Mutable values follow the rule of rows: handed out, they count as written, and
come as a copy while an older generation waits to be encoded (T135).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from heapq import merge
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias

from actorstream.codec.ordered_keys import decode_key, encode_key
from actorstream.codec.values import is_immutable
from actorstream.errors import CodecError
from actorstream.model.key_groups import key_group_of
from actorstream.state.entries import (
    CLEAR_MARK,
    CLEAR_TAG,
    TOMBSTONE,
    TOMBSTONE_TAG,
    VALUE,
    VALUE_TAG,
    find,
    map_entries,
    newer_format,
    prefix_in,
)
from actorstream.state.epochs import Epochs
from actorstream.state.memtable import ABSENT, MISSING, PLAIN, private_copy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actorstream.state.entries import Entry, Slots
    from actorstream.state.epochs import Part
    from actorstream.state.key_space import KeySpace
    from actorstream.state.layer import Layer
    from actorstream.state.operator_state import StateColumn

_Found: TypeAlias = "tuple[bytes, object, bytes | None]"  # map key, value in memory, or tag and codec bytes of a layer


class Change:
    """What one epoch did to one map. `order` is the sorted map keys, made when first scanned."""

    __slots__ = ("cleared", "entries", "order")

    def __init__(self, *, cleared: bool = False) -> None:
        """Start with no entry."""
        self.cleared = cleared
        self.entries: dict[bytes, object] = {}
        self.order: list[bytes] | None = None

    def put(self, map_key: bytes, value: object) -> None:
        """Set an entry; MISSING is a tombstone."""
        if self.order is not None and map_key not in self.entries:
            insort(self.order, map_key)
        self.entries[map_key] = value

    def between(self, start: bytes | None, stop: bytes | None) -> list[_Found]:
        """Give the entries with start <= map key < stop, sorted."""
        if self.order is None:
            self.order = sorted(self.entries)
        low = 0 if start is None else bisect_left(self.order, start)
        high = len(self.order) if stop is None else bisect_left(self.order, stop)
        entries = self.entries
        return [(map_key, entries[map_key], None) for map_key in self.order[low:high]]


class MapTable(Epochs[Change]):
    """The maps of one state, one for each key."""

    def __init__(self, column: StateColumn, space: KeySpace) -> None:
        """Hold the map column `column`."""
        super().__init__()
        self._space = space
        self._name = column.name
        self._encode_value = column.codec.encode
        self._decode_value = column.codec.decode
        self._heads = space.heads(column.number)
        self._iterations = 0
        self._edits = 0
        self._removals = 0

    def get(self, key: object, map_key: object) -> object:
        """Give a map key's value; MISSING where there is none."""
        return self._get(key, encode_key(map_key))

    def contains(self, key: object, map_key: object) -> bool:
        """Tell whether a map key has a value."""
        return self._look(key, encode_key(map_key))[0] is not MISSING

    def set(self, key: object, map_key: object, value: object) -> None:
        """Set a map key's value."""
        encoded = encode_key(map_key)
        if self._iterations:
            self._edits += 1
            self._removals += self._look(key, encoded)[0] is MISSING
        self._change(key).put(encoded, value)

    def delete(self, key: object, map_key: object) -> None:
        """Remove a map key; a missing one is fine."""
        encoded = encode_key(map_key)
        self._removals += 1
        self._change(key).put(encoded, MISSING)

    def clear(self, key: object) -> None:
        """Remove every map key of `key`."""
        self._removals += 1
        self.live[key] = Change(cleared=True)

    def items(
        self, key: object, start: object = None, stop: object = None, *, reverse: bool = False
    ) -> Iterator[tuple[object, object]]:
        """Give (map key, value) in the order of the encoded map keys, with start <= map key < stop.

        Values may be set meanwhile. The layers stay open until the iterator is exhausted or dropped.

        Raises:
            RuntimeError: A map key was added or removed while the iterator was in use.
        """
        edits, removals = self._edits, self._removals
        self._iterations += 1
        try:
            for encoded, value in self._merged(key, start, stop, reverse=reverse):
                given = value
                if self._edits != edits or not (value.__class__ in PLAIN or is_immutable(value)):
                    given = self._get(key, encoded)
                yield decode_key(encoded), given
                if self._removals != removals:
                    raise RuntimeError(f"{self._space.name}.{self._name}: the map changed size during iteration")
        finally:
            self._iterations -= 1

    def len(self, key: object) -> int:
        """Count the map keys of `key`, by a scan."""
        return sum(1 for _ in self._merged(key, None, None, reverse=False))

    def peek(self, key: object) -> list[tuple[object, object]]:
        """Give a whole map as a query may see it: nothing is marked or shared."""
        merged = self._merged(key, None, None, reverse=False)
        return [(decode_key(encoded), private_copy(value)) for encoded, value in merged]

    def encode(self, part: Part[Change], slots: Slots, *, bottom: bool) -> Iterator[Entry]:
        """Give the entries of a part: its frozen epoch, then what is still valid of failed ones."""
        for key, change in part.newest.items():
            yield from self._entries(key, change.entries.items(), slots, cleared=change.cleared, bottom=bottom)
        while part.returned:
            failed = part.returned[0]
            while failed:
                key = next(reversed(failed))
                change = failed[key]
                newer = part.newest.setdefault(key, Change())
                entries, cleared = self._revive(newer, change), change.cleared and not newer.cleared
                yield from self._entries(key, entries, slots, cleared=cleared, bottom=bottom)
                newer.cleared |= change.cleared
                del failed[key]
            part.returned.pop(0)
        self._stack_up()

    @staticmethod
    def _revive(newer: Change, failed: Change) -> Iterator[tuple[bytes, object]]:
        """Move what is still valid of a failed change into the newer one, which hides it until it is there."""
        failed.order = newer.order = None
        while failed.entries:
            map_key, value = failed.entries.popitem()
            if map_key not in newer.entries and not newer.cleared:
                newer.put(map_key, value)
                yield map_key, value

    def _entries(
        self, key: object, entries: Iterable[tuple[bytes, object]], slots: Slots, *, cleared: bool, bottom: bool
    ) -> Iterator[Entry]:
        try:
            part = encode_key(key)
            head = self._head(key, part)
            if cleared and not bottom:
                yield slots.entry(head, part, b"", CLEAR_TAG)
            for map_key, value in entries:
                if value is not MISSING:
                    yield slots.entry(head, part, map_key, VALUE_TAG + self._encode_value(value))
                elif not cleared and not bottom:
                    yield slots.entry(head, part, map_key, TOMBSTONE_TAG)
        except CodecError as error:
            raise self._space.cannot_encode(self._name, key, error) from error

    def _settle_from(self, oldest: dict[object, Change], limit: int) -> int:
        moved = 0
        while oldest and moved < limit:
            key = next(reversed(oldest))
            change = oldest[key]
            if change.cleared:
                # From here on the layer's clear mark hides what is older, so entries may leave one by one.
                self.clean[key] = Change()
                change.cleared = False
            clean = self.clean.setdefault(key, Change()).entries
            change.order = None
            while change.entries and moved < limit:
                map_key, value = change.entries.popitem()
                moved += 1
                if value is MISSING:
                    clean.pop(map_key, None)
                else:
                    clean[map_key] = value
            if not change.entries:
                del oldest[key]
                moved += 1
                if not clean:
                    del self.clean[key]
        return moved

    def _change(self, key: object) -> Change:
        change = self.live.get(key)
        if change is None:
            change = self.live[key] = Change()
        return change

    def _get(self, key: object, map_key: bytes) -> object:
        value, holder = self._look(key, map_key)
        if value.__class__ in PLAIN or holder is self.live or is_immutable(value):
            return value
        if not self._changeable(holder):
            value = private_copy(value)
        self._change(key).put(map_key, value)
        return value

    def _look(self, key: object, map_key: bytes) -> tuple[object, dict[object, Change]]:
        """Give the newest value, and the dict that holds it; what the layers give goes into `clean`."""
        for holder in (self.live, *self.below):
            change = holder.get(key)
            if change is not None:
                value = change.entries.get(map_key, ABSENT)
                if value is not ABSENT:
                    return value, holder
                if change.cleared:
                    return MISSING, holder
        value = self._load(key, map_key)
        if value is not MISSING:
            self.clean.setdefault(key, Change()).entries[map_key] = value
        return value, self.clean

    def _load(self, key: object, map_key: bytes) -> object:
        if not self._space.stack.layers:
            return MISSING
        part = encode_key(key)
        head = self._head(key, part)
        for layer in self._layers(part):
            tagged = find(layer, head, part, map_key)
            if tagged is not None:
                return self._value(key, tagged)
            if self._has_clear_mark(layer, head, part):
                break
        return MISSING

    def _merged(self, key: object, start: object, stop: object, *, reverse: bool) -> Iterator[tuple[bytes, object]]:
        low = None if start is None else encode_key(start)
        high = None if stop is None else encode_key(stop)
        sources: list[Iterable[_Found]] = []
        cleared = False
        for holder in (self.live, *self.below[:-1]):
            change = holder.get(key)
            if change is not None:
                found = change.between(low, high)
                sources.append(reversed(found) if reverse else found)
                if change.cleared:
                    cleared = True
                    break
        if not cleared and self._space.stack.layers:
            sources += self._scans(key, low, high, reverse=reverse)
        last: bytes | None = None
        # Of one map key the first source is the newest: merge is stable, also in reverse.
        for map_key, value, tagged in merge(*sources, key=itemgetter(0), reverse=reverse):
            if map_key != last:
                last = map_key
                newest = value if tagged is None else self._value(key, tagged)
                if newest is not MISSING:
                    yield map_key, newest

    def _scans(
        self, key: object, low: bytes | None, high: bytes | None, *, reverse: bool
    ) -> Iterator[Iterable[_Found]]:
        part = encode_key(key)
        head = self._head(key, part)
        for layer in self._layers(part):
            prefix = prefix_in(layer, head, part)
            if prefix is not None:
                found = map_entries(layer, prefix, low, high, reverse=reverse)
                yield ((map_key, None, tagged) for map_key, tagged in found)
                if self._has_clear_mark(layer, head, part):
                    return

    def _has_clear_mark(self, layer: Layer, head: bytes, part: bytes) -> bool:
        mark = find(layer, head, part)
        return mark is not None and mark[0] == CLEAR_MARK

    def _head(self, key: object, part: bytes) -> bytes:
        head = self._heads.get(key_group_of(part, self._space.max_parallelism))
        if head is None:
            raise self._space.stranger(key)
        return head

    def _layers(self, part: bytes) -> tuple[Layer, ...]:
        return self._space.stack.layers_for(key_group_of(part, self._space.max_parallelism))

    def _value(self, key: object, tagged: bytes) -> object:
        if tagged[0] == VALUE:
            try:
                return self._decode_value(tagged[1:])
            except CodecError as error:
                raise self._space.cannot_encode(self._name, key, error) from error
        if tagged[0] != TOMBSTONE:
            raise newer_format(f"state {self._space.name}.{self._name}", tagged[0])
        return MISSING
