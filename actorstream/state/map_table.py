"""A map column: for each key a sorted map, of which memory holds changes and the layers the rest.

    live      key -> Change(cleared, {map key: value})     newest first, as in `Epochs`
    frozen    key -> Change
    clean     key -> Change, values only: some of the map's entries, as many as there is room for
    layers    clear mark at the map's prefix, entries sorted by map key

A change whose map was `cleared`, and a clear mark in a layer, hide everything older
of that map. Map keys are identified by their encoding, so 1, 1.0 and True are
three (T137), and a scan merges changes and layers without decoding what it skips.

Mutable values follow the rule of rows: handed out, they count as written, and
come as a copy while an older generation waits to be encoded (T135).
"""

from __future__ import annotations

from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from actorstream.codec.ordered_keys import decode_key, encode_key
from actorstream.codec.values import is_immutable
from actorstream.errors import CodecError
from actorstream.model.key_groups import key_group_of
from actorstream.state.entries import (
    CLEAR_MARK,
    CLEAR_TAG,
    EXPIRING,
    PART_BYTES_MAX,
    TOMBSTONE,
    TOMBSTONE_TAG,
    VALUE,
    find,
    kind_of,
    map_entries,
    newer_format,
    prefix_in,
)
from actorstream.state.epochs import Epochs
from actorstream.state.large_values import LARGE_BYTES, Room
from actorstream.state.map_changes import Change, MapEpoch, entry_bytes
from actorstream.state.missing import ABSENT, MISSING, PLAIN, private_copy
from actorstream.state.ttl import decoders_of, encoder_of, tag_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actorstream.state.entries import Entry, Slots
    from actorstream.state.epochs import Part
    from actorstream.state.key_space import KeySpace
    from actorstream.state.layer import Layer
    from actorstream.state.map_changes import Found
    from actorstream.state.operator_state import StateColumn
_SAMPLE_EVERY = 64


class MapTable(Epochs[MapEpoch]):
    """The maps of one state, one for each key."""

    def __init__(self, column: StateColumn, space: KeySpace) -> None:
        """Hold the map column `column`."""
        super().__init__()
        self._space = space
        self._name = column.name
        self._encode_value = encoder_of(column.codec)
        self._tag = tag_of(column.codec)
        self._decode_value, self._decode_expiring = decoders_of(column.codec)
        self._heads = space.heads(column.number)
        self._room = Room()
        self._iterations = self._edits = self._removals = self._unmeasured = 0
        self._samples: list[tuple[float, int]] = []

    def get(self, key: object, map_key: object) -> object:
        """Give a map key's value; MISSING where there is none."""
        return self._get(key, encode_key(map_key))

    @property
    def iterating(self) -> bool:
        """Tell whether an iterator is in use."""
        return self._iterations > 0

    def contains(self, key: object, map_key: object) -> bool:
        """Tell whether a map key has a value."""
        return self._look(key, encode_key(map_key))[0] is not MISSING

    def set(self, key: object, map_key: object, value: object) -> None:
        """Set a map key's value."""
        encoded = encode_key(map_key)
        if self._iterations:
            self._edits += 1
            self._removals += self._look(key, encoded)[0] is MISSING
        if self._gone is not None and encoded < self._gone[1]:
            self._gone = None
        self.live.put(key, encoded, value)

    def delete(self, key: object, map_key: object) -> None:
        """Remove a map key; a missing one is fine."""
        encoded = encode_key(map_key)
        self._removals += 1
        self.live.put(key, encoded, MISSING)

    def clear(self, key: object) -> None:
        """Remove every map key of `key`."""
        self._removals += 1
        self._discard(self.live, key, Change(cleared=True))

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
            low, high = (None if bound is None else encode_key(bound) for bound in (start, stop))
            for encoded, value in self._merged(key, low, high, reverse=reverse):
                given = value
                if self._edits != edits or not (value.__class__ in PLAIN or is_immutable(value)):
                    given = self._get(key, encoded)
                yield decode_key(encoded), given
                if self._removals != removals:
                    raise RuntimeError(f"{self._space.name}.{self._name}: the map changed size during iteration")
        finally:
            self._iterations -= 1

    def first(self, key: object) -> object:
        """Give the first map key; MISSING where there is none. What is gone before it is not looked at again."""
        low = self._gone[1] if self._gone is not None and self._gone[0] == key else None
        while True:
            changes = [change for epoch in (self.live, *self.unsettled) if (change := epoch.get(key)) is not None]
            high = min((end for change in changes if (end := change.end_of_run(low)) is not None), default=None)
            for encoded, _ in self._merged(key, low, high, reverse=False):
                self._gone = key, encoded
                return decode_key(encoded)
            if high is None:
                return MISSING
            self._gone, low = (key, high), high

    def peek(self, key: object) -> list[tuple[object, object]]:
        """Give a whole map as a query may see it: nothing is marked or shared."""
        merged = self._merged(key, None, None, reverse=False)
        return [(decode_key(encoded), private_copy(value)) for encoded, value in merged]

    def _take_over(self, newer: MapEpoch) -> None:
        self._waste += self.live.take_over(newer)

    def encode(self, part: Part[MapEpoch], slots: Slots, limit: int, *, bottom: bool) -> list[Entry]:
        """Give the next entries of a part: its frozen epoch, then what is still valid of failed ones."""
        if part.cursor is None:
            part.cursor = self._walk(part, slots, bottom=bottom)
        self._room.begin()
        looked_at: list[Entry | None] = list(islice(part.cursor, limit))
        if len(looked_at) < limit:
            part.drained = True
            self._stack_up()
        entries = [entry for entry in looked_at if entry is not None]
        self.sizes.learn(self._samples, len(entries), sum([len(tagged) for _, tagged in entries]))
        self._samples.clear()
        return entries

    def _walk(self, part: Part[MapEpoch], slots: Slots, *, bottom: bool) -> Iterator[Entry | None]:
        """Give all entries of a part, one by one; None where one is not written, or the step has to end."""
        for key, change in part.newest.items():
            yield from self._entries(key, change.entries.items(), slots, cleared=change.cleared, bottom=bottom)
            self._measure_for(change)
        while part.returned:
            while part.returned[0]:
                key, change = part.returned[0].popitem()
                part.returned[0][key] = change  # it stays where it hides older ones until the newer one does
                newer = part.newest.get(key) or part.newest.begin(key)
                entries = self._revive(part.newest, key, newer, part.returned[0], change)
                cleared = change.cleared and not newer.cleared
                yield from self._entries(key, entries, slots, cleared=cleared, bottom=bottom)
                newer.cleared |= change.cleared
                del part.returned[0][key]
            part.returned.pop(0)

    @staticmethod
    def _revive(
        newest: MapEpoch, key: object, newer: Change, failed: MapEpoch, change: Change
    ) -> Iterator[tuple[bytes, object] | None]:
        """Move what is still valid of a failed change into the newer one, which hides it until it is there."""
        hidden = newer.cleared
        while change.entries:
            change.order = None  # each time: a scan may have made it again since the last slice
            map_key, value = change.entries.popitem()
            failed.entries -= 1
            if hidden or map_key in newer.entries:
                yield None
            else:
                newest.put(key, map_key, value)
                yield map_key, value

    def _entries(
        self,
        key: object,
        entries: Iterable[tuple[bytes, object] | None],
        slots: Slots,
        *,
        cleared: bool,
        bottom: bool,
    ) -> Iterator[Entry | None]:
        tag, encode = self._tag, self._encode_value
        try:
            part = encode_key(key)
            head = self._head(key, part)
            if cleared and not bottom:
                yield slots.entry(head, part, b"", CLEAR_TAG)
            prefix, short_key = head + part, len(part) <= PART_BYTES_MAX
            for entry in entries:
                if entry is None:
                    yield None
                    continue
                map_key, value = entry
                if value is not MISSING:
                    tagged = tag + encode(value)
                elif cleared or bottom:
                    yield None
                    continue
                else:
                    tagged = TOMBSTONE_TAG
                is_short = short_key and len(map_key) <= PART_BYTES_MAX
                yield (prefix + map_key, tagged) if is_short else slots.entry(head, part, map_key, tagged)
                if len(tagged) >= LARGE_BYTES:
                    yield from self._room.rest_after(tagged)
        except CodecError as error:
            raise self._space.cannot_encode(self._name, key, error) from error

    def _measure_for(self, change: Change) -> None:
        """Measure one entry of a change that was encoded, if there was none for a while."""
        self._unmeasured += len(change.entries)
        if self._unmeasured >= _SAMPLE_EVERY:
            self._unmeasured = 0
            for map_key, value in islice(change.entries.items(), 1):
                coded = 0 if value is MISSING else len(self._encode_value(value))
                self._samples.append((entry_bytes(change.entries, map_key, value), coded))

    def _new_dict(self) -> MapEpoch:
        return MapEpoch()

    def _entries_in(self, epoch: MapEpoch) -> int:
        return epoch.entries

    def _bytes_of(self, epoch: MapEpoch, entry: float) -> float:
        return epoch.bytes_at(entry)

    def _measure(self, key: object, value: Change) -> float | None:
        for map_key, item in value.entries.items():
            return entry_bytes(value.entries, map_key, item)
        return None

    def _settle_from(self, oldest: MapEpoch, limit: int, *, keep: bool) -> int:
        moved = 0
        while oldest and moved < limit:
            key, change = oldest.popitem()
            if change.cleared:
                # From here on the layer's clear mark hides what is older, so entries may leave one by one.
                for epoch in (self.clean, *self._aged):
                    self._discard(epoch, key)
                change.cleared = False
            change.order = None
            count = min(limit - moved, len(change.entries))
            for _ in range(count):
                map_key, value = change.entries.popitem()
                for epoch in self._aged:
                    epoch.take(key, map_key)
                if keep and value is not MISSING:
                    self.clean.put(key, map_key, value)
                else:
                    self.clean.take(key, map_key)
            oldest.entries -= count
            moved += count
            if change.entries:
                oldest[key] = change
            else:
                moved += 1
        return moved

    def _drop_from(self, oldest: MapEpoch, limit: int) -> int:
        return oldest.drop_first(limit)

    def _empty(self, unseen: dict[Any, Any], limit: int) -> int:
        return unseen.drop_last(limit) if isinstance(unseen, MapEpoch) else super()._empty(unseen, limit)

    def _discard(self, epoch: MapEpoch, key: object, new: Change | None = None) -> None:
        """Put `new`, or nothing, in the place of a whole change; a large one is freed by slices."""
        entries = epoch.replace(key, new)
        if entries is not None:
            self._waste.append(entries)

    def _get(self, key: object, map_key: bytes) -> object:
        value, epoch = self._look(key, map_key)
        if value.__class__ in PLAIN or epoch is self.live or is_immutable(value):
            return value
        if not self._changeable(epoch):
            value = private_copy(value)
        self.live.put(key, map_key, value)
        return value

    def _look(self, key: object, map_key: bytes) -> tuple[object, MapEpoch]:
        """Give the newest value, and the epoch that holds it; an aged one, and what layers give, goes into `clean`."""
        for epoch in (self.live, *self.unsettled, self.clean):
            change = epoch.get(key)
            if change is not None:
                value = change.entries.get(map_key, ABSENT)
                if value is not ABSENT:
                    return value, epoch
                if change.cleared:
                    return MISSING, epoch
        value = ABSENT
        for epoch in self._aged:
            value = epoch.take(key, map_key)
            if value is not ABSENT:
                break
        else:
            value = self._load(key, map_key)
        if value is not MISSING:
            self.clean.put(key, map_key, value)
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

    def _merged(
        self, key: object, low: bytes | None, high: bytes | None, *, reverse: bool
    ) -> Iterator[tuple[bytes, object]]:
        sources: list[Iterable[Found]] = []
        cleared = False
        for epoch in (self.live, *self.unsettled):
            change = epoch.get(key)
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

    def _scans(self, key: object, low: bytes | None, high: bytes | None, *, reverse: bool) -> Iterator[Iterable[Found]]:
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
        kind = kind_of(tagged)
        if kind in {VALUE, EXPIRING}:
            try:
                return (self._decode_value if kind == VALUE else self._decode_expiring)(tagged[1:])
            except CodecError as error:
                raise self._space.cannot_encode(self._name, key, error) from error
        if kind != TOMBSTONE:
            raise newer_format(f"state {self._space.name}.{self._name}", kind)
        return MISSING
