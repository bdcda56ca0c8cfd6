"""How slices lie in layers: under the head of key group and state, by time, then by key (‖: what may be shortened).

    (nothing)        -> 4 | mark 8        below this slice there is none, in this layer and all older ones
    time 8 | key ‖   -> codec bytes       the value of a key in the slice that begins at this time

Times are signed microseconds, so encoded that they sort (state/timer_entries.py): a slice
is one short scan in each key group, and no key needs a timer. The key group is that of
the key alone, so the slices of a key stay together.

A mark stands before all slices of its key group, and compaction, which reads in this order, drops
what lies below it. No value is ever written below a mark, so it also holds for newer layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from actorstream.codec.ordered_keys import decode_key, encode_key, encode_keys
from actorstream.errors import CodecError
from actorstream.model.key_groups import key_group_of, key_hash
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.state.entries import (
    HEAD_BYTES,
    PART_BYTES_MAX,
    VALUE,
    cut_short,
    find,
    kind_of,
    newer_format,
    take_apart,
)
from actorstream.state.footprint import footprint
from actorstream.state.large_values import tag_and_encode
from actorstream.state.missing import MISSING
from actorstream.state.timer_entries import time_bytes, time_in
from actorstream.state.ttl import encoder_of, tag_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from actorstream.state.entries import Entry, Slots
    from actorstream.state.footprint import EntrySizes
    from actorstream.state.key_space import KeySpace
    from actorstream.state.layer import Layer
    from actorstream.state.operator_state import StateColumn
    from actorstream.state.stack import Run

SLICE_MARK: Final = 4
"""The kind of entry that a mark is, beside those of state/entries.py."""
TIME_BYTES: Final = 8

Items: TypeAlias = "list[tuple[object, object]]"

_KEY_AT = HEAD_BYTES + TIME_BYTES
_SAMPLE_EVERY = 256
_ROWS = 500
"""How many rows of layers are read before the caller may give way: about 1 ms."""


def first_kept(head: bytes, mark: bytes) -> bytes:
    """Give what the first slice that is not below a mark begins with, from the mark's key and value."""
    return head + mark[1 : 1 + TIME_BYTES]


class SliceEntries:
    """The layout for one operator's slices, and what the layers say.

    Attributes:
        heads: For each key group of this subtask what its entries begin with.
    """

    def __init__(self, column: StateColumn, space: KeySpace) -> None:
        """Read and write what `column` says."""
        self.heads = space.heads(column.number)
        self._name = column.name
        self._tag = tag_of(column.codec)
        self._encode = encoder_of(column.codec)
        self._decode = column.codec.decode
        self._space = space

    def check_slice(self, start: int) -> None:
        """Refuse a slice that cannot be written.

        Raises:
            CodecError: Its start is not of 64 bits.
        """
        if not TIME_MIN <= start <= TIME_MAX:
            raise CodecError(
                f"{self._space.name}: a slice beginning at {start} was asked for, 64 bits of microseconds are possible"
            )

    # ---- writing -----------------------------------------------------------------------------------------------------

    def encode(
        self, start: int, keys: list[object], values: list[object], slots: Slots, sizes: EntrySizes, room: int
    ) -> tuple[list[Entry], int]:
        """Give the entries of a slice's keys and their values, and the bytes of these.

        What is encoded is taken out of the lists: with the value that exceeds `room` bytes it is enough.

        Raises:
            CodecError: A key or value cannot be encoded: the message names operator, state and key.
            InvariantError: A key belongs to another subtask.
        """
        time = time_bytes(start)
        try:
            return self._at_once(time, keys, values, sizes, room)
        except (CodecError, KeyError):
            return self._one_by_one(time, keys, values, slots, room)

    def _at_once(
        self, time: bytes, keys: list[object], values: list[object], sizes: EntrySizes, room: int
    ) -> tuple[list[Entry], int]:
        """Encode keys and values each in one go: what is out of the ordinary is a KeyError."""
        parts = encode_keys(keys)
        if max(map(len, parts), default=0) > PART_BYTES_MAX - TIME_BYTES:
            raise KeyError
        heads, max_parallelism = self.heads, self._space.max_parallelism
        tagged, size = tag_and_encode(self._tag, self._encode, values, room)
        del parts[len(tagged) :]
        entries = [
            (heads[key_hash(part) % max_parallelism] + time + part, each)
            for part, each in zip(parts, tagged, strict=True)
        ]
        samples = range(0, len(tagged), _SAMPLE_EVERY)
        measured = [(footprint(keys[at], 1) + footprint(values[at], 1), len(tagged[at])) for at in samples]
        sizes.learn(measured, len(tagged), size)
        del keys[: len(tagged)], values[: len(tagged)]
        return entries, size

    def _one_by_one(
        self, time: bytes, keys: list[object], values: list[object], slots: Slots, room: int
    ) -> tuple[list[Entry], int]:
        entries: list[Entry] = []
        size = 0
        for key, value in zip(keys, values, strict=True):
            entries.append(self._entry(time, key, value, slots))
            size += len(entries[-1][1])
            if size > room:
                break
        del keys[: len(entries)], values[: len(entries)]
        return entries, size

    def _entry(self, time: bytes, key: object, value: object, slots: Slots) -> Entry:
        try:
            part = encode_key(key)
            return slots.entry(self._head(key, part), time + part, b"", self._tag + self._encode(value))
        except CodecError as error:
            raise self._space.cannot_encode(self._name, key, error) from error

    def mark(self, group: int, floor: int) -> Entry:
        """Give the entry that says of a key group that below `floor` there is nothing."""
        return self.heads[group], bytes((SLICE_MARK,)) + time_bytes(floor)

    # ---- reading -----------------------------------------------------------------------------------------------------

    def marks(self) -> dict[int, int]:
        """Give the mark of each key group; TIME_MIN where there is none."""
        found: dict[int, int] = {}
        for group, head in self.heads.items():
            tagged = self._space.stack.get(group, head)
            if tagged is not None and kind_of(tagged) != SLICE_MARK:
                raise newer_format(f"slices of {self._space.name}", kind_of(tagged))
            found[group] = TIME_MIN if tagged is None else time_in(tagged, 1)
        return found

    def slices(self, marks: Mapping[int, int]) -> set[int]:
        """Give the slices that the layers hold above the marks, one look at each in a layer and key group."""
        found: set[int] = set()
        for group, head in self.heads.items():
            for layer in self._space.stack.layers_for(group):
                at = marks[group]
                while (entry := next(layer.scan(head, time_bytes(at)), None)) is not None:
                    if len(entry[0]) <= _KEY_AT:
                        raise cut_short(entry[0])  # the search would not come past it
                    at = time_in(entry[0], HEAD_BYTES)
                    found.add(at)
                    if at == TIME_MAX:
                        break
                    at += 1
        return found

    def load(self, start: int, key: object, marks: Mapping[int, int]) -> object:
        """Give the value of a key in a slice from the layers; MISSING where they have none.

        Raises:
            CodecError: The key cannot be encoded, or what a layer holds not be decoded.
            InvariantError: The key belongs to another subtask.
        """
        part = encode_key(key)
        group, head = key_group_of(part, self._space.max_parallelism), self._head(key, part)
        if start < marks[group]:
            return MISSING
        part = time_bytes(start) + part
        if len(part) <= PART_BYTES_MAX:
            tagged = self._space.stack.get(group, head + part)
        else:
            found = (find(layer, head, part) for layer in self._space.stack.layers_for(group))
            tagged = next((each for each in found if each is not None), None)
        return MISSING if tagged is None else self._value(key, tagged)

    def read(
        self, start: int, marks: Mapping[int, int], runs: Sequence[Run], newer: Sequence[Collection[object]]
    ) -> Iterator[Items]:
        """Give what layers hold of a slice but for keys in `newer`, in pieces, also empty ones; no order.

        Memory holds the encoded entries of one key group meanwhile.
        """
        for groups, layers in runs:
            for group in range(*groups):
                if start >= marks[group]:
                    yield from self._read_group(self.heads[group] + time_bytes(start), layers, newer)

    def _read_group(
        self, prefix: bytes, layers: Sequence[Layer], newer: Sequence[Collection[object]]
    ) -> Iterator[Items]:
        newest: dict[bytes, bytes] = {}
        rows = 0
        for layer in layers:
            for entry_key, value in layer.scan(prefix):
                rows += 1
                if kind_of(value) == VALUE:
                    newest.setdefault(entry_key[_KEY_AT:], value)
                else:
                    wholes = take_apart(value)
                    part = entry_key[HEAD_BYTES:] if wholes.key is None else wholes.key
                    newest.setdefault(part[TIME_BYTES:], wholes.tagged)
                if rows % _ROWS == 0:
                    yield []
        while newest:
            some = [newest.popitem() for _ in range(min(_ROWS, len(newest)))]
            found = [(decode_key(part), tagged) for part, tagged in some]
            for holder in newer:
                found = [each for each in found if each[0] not in holder]
            yield [(key, self._value(key, tagged)) for key, tagged in found]

    def _value(self, key: object, tagged: bytes) -> object:
        if (kind := kind_of(tagged)) != VALUE:
            raise newer_format(f"state {self._space.name}.{self._name}", kind)
        try:
            return self._decode(tagged[1:])
        except CodecError as error:
            raise self._space.cannot_encode(self._name, key, error) from error

    def _head(self, key: object, part: bytes) -> bytes:
        head = self.heads.get(key_group_of(part, self._space.max_parallelism))
        if head is None:
            raise self._space.stranger(key)
        return head
