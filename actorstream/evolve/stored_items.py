"""Stored rows as items, and items as rows, for each kind of state.

    kind      item                                      rows (state/entries.py and what it names)
    value     key -> value                              key
    map       (key, map key) -> value                   key ‖ map key
    timers    (key, domain, name) -> when it fires      02 | key ‖ domain | name, and one more by time
    slices    (begin of the slice, key) -> value        time | key
    broadcast map key -> value                          0 ‖ map key
    list      subtask -> the list                       (subtask, salt) ‖ 0

Times are datetimes in UTC; where one lies outside the years 1 to 9999, the first or last that there is. Whatever
stands first in an item is what the items are in order of, and what a range is given by.

A list state is a value, a list. Windows, joins and rolling aggregates keep their own states in these four kinds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple, TypeAlias

from actorstream.codec.ordered_keys import decode_key, decode_key_at, encode_key
from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import CodecError, StoreError
from actorstream.operators.user_time import datetime_of, time_us
from actorstream.state.entries import EXPIRING, EXPIRY_END, KIND, VALUE_TAG, take_apart
from actorstream.state.live_rows import Bounds
from actorstream.state.slice_entries import TIME_BYTES
from actorstream.state.timer_entries import BY_NAME, DOMAINS, time_bytes, time_in
from actorstream.state.unkeyed import BROADCAST_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from actorstream.codec.values import Codec
    from actorstream.state.live_rows import LiveRow

StateKind: TypeAlias = Literal["value", "map", "timers", "slices", "broadcast", "list"]
_DOMAINS: Final = ("event", "processing")
_FOR_ALL: Final = encode_key(BROADCAST_KEY)


class Place(NamedTuple):
    """Where an item is stored: its encoded key, which decides the key group, and the two parts of its entry key."""

    key: bytes
    first: bytes
    beside: bytes


class Found(NamedTuple):
    """An item that was read, and the stamp at which its value expires."""

    item: object
    value: object
    expiry: bytes | None


class Items:
    """Items of a value state, and what the other kinds share."""

    parts: ClassVar[int] = 1
    """So many stand in an item; 1: the key alone, and no tuple around it."""
    words: ClassVar[str] = "a key"
    keyed: ClassVar[bool] = True
    """Items are of keys, all of one type in an operator."""

    def __init__(self, name: str, codec: Codec[Any]) -> None:
        """Read and write the state `name`, "<operator>.<state>", by `codec`."""
        self.name = name
        self._decode = codec.decode
        self._encode = codec.encode

    def read(self, rows: Iterable[LiveRow]) -> Iterator[Found]:
        """Decode rows.

        Raises:
            CodecError: A key or value cannot be decoded; names the state and the key.
        """
        item_of, value_of = self.item_of, self.value_of
        for _, parts, value in rows:
            tagged = value if value[0] <= KIND else take_apart(value).tagged
            expiry = None
            item = item_of(parts)
            if tagged[0] == EXPIRING:
                expiry, tagged = tagged[1:EXPIRY_END], tagged[EXPIRY_END - 1 :]
            yield Found(item, value_of(item, tagged), expiry)

    def value_of(self, item: object, tagged: bytes) -> object:
        """Decode what stands behind the first byte."""
        try:
            return self._decode(tagged[1:])
        except CodecError as error:
            raise type(error)(f"state {self.name}, {item!r:.100}: {error}") from error

    def tagged_of(self, item: object, value: object) -> bytes:
        """Give tag and codec bytes of a value that does not expire.

        Raises:
            CodecError: It cannot be encoded; names the state and the item.
        """
        try:
            return VALUE_TAG + self._encode(value)
        except CodecError as error:
            raise type(error)(f"state {self.name}, {item!r:.100}: {error}") from error

    def item_of(self, parts: bytes) -> object:
        """Decode a row's parts.

        Raises:
            CodecError: They are damaged, or of an Enum that is not loaded.
        """
        with_name = self.name
        try:
            return self._item(parts)
        except CodecError as error:
            raise type(error)(f"state {with_name}: {error}") from error

    def place_of(self, item: object) -> Place:
        """Encode an item.

        Raises:
            CodecError: It has another form, or cannot be encoded.
        """
        if self.parts > 1 and not (isinstance(item, tuple) and len(item) == self.parts):
            raise CodecError(f"state {self.name}: an item is {item!r:.100}, expected {self.words}")
        try:
            return self._place(item)
        except CodecError as error:
            raise type(error)(f"state {self.name}, {item!r:.100}: {error}") from error

    def key_of(self, item: Any) -> object:  # noqa: ANN401  (a tuple, or any key)
        """Give the key of an item."""
        return item if self.parts == 1 else item[0]

    def part_of(self, parts: bytes) -> bytes:
        """Give the encoded key in a row's parts."""
        return parts

    def between(self, start: object, stop: object) -> Bounds:
        """Give the bounds of items from `start` up to but not `stop`; None is open."""
        return Bounds(b"", None if start is None else encode_key(start), None if stop is None else encode_key(stop))

    def of_key(self, part: bytes) -> Bounds:
        """Give bounds within which all items of an encoded key are."""
        return Bounds(part)

    def lookup(self, key: object) -> tuple[bytes, Bounds]:
        """Give the encoded key in whose key group what is stored under a key lies, and bounds within which it does."""
        part = encode_key(key)
        return part, self.of_key(part)

    def _item(self, parts: bytes) -> object:
        return decode_key(parts)

    def _place(self, item: Any) -> Place:  # noqa: ANN401  (its form was checked)
        part = encode_key(item)
        return Place(part, part, b"")


class MapItems(Items):
    """Items of a map state."""

    parts = 2
    words = "a tuple (key, map key)"

    def part_of(self, parts: bytes) -> bytes:
        """Give the encoded key."""
        return parts[: decode_key_at(parts, 0)[1]]

    def __init__(self, name: str, codec: Codec[Any]) -> None:
        """Read and write the state `name` by `codec`."""
        super().__init__(name, codec)
        self._last: tuple[bytes, object] = b"\xff", None

    def _item(self, parts: bytes) -> object:
        # One key's entries come in a row, and no encoded key is a prefix of another.
        part, key = self._last
        if not parts.startswith(part):
            key, end = decode_key_at(parts, 0)
            self._last = part, _ = parts[:end], key
        return key, decode_key(parts[len(part) :])

    def _place(self, item: Any) -> Place:  # noqa: ANN401  (its form was checked)
        part = encode_key(item[0])
        return Place(part, part, encode_key(item[1]))


class TimerItems(Items):
    """Items of an operator's timers: those by name, which know all that those by time do."""

    parts = 3
    words = 'a tuple (key, "event" or "processing", name)'

    def part_of(self, parts: bytes) -> bytes:
        """Give the encoded key."""
        return parts[1 : decode_key_at(parts, 1)[1]]

    def value_of(self, item: object, tagged: bytes) -> datetime:
        """Give when it fires."""
        if len(tagged) != 1 + TIME_BYTES:
            raise StoreError(f"state {self.name}: a timer without a time was found: use an older checkpoint")
        return datetime_of(time_in(tagged, 1))

    def tagged_of(self, item: object, value: object) -> bytes:
        """Give tag and time."""
        return VALUE_TAG + time_bytes(time_us(value, f"state {self.name}, timer {item!r:.100}"))

    def between(self, start: object, stop: object) -> Bounds:
        """Give the bounds of timers by their keys."""
        within = super().between(start, stop)
        return Bounds(BY_NAME, within.start, within.stop)

    def of_key(self, part: bytes) -> Bounds:
        """Give the bounds of the timers of a key."""
        return Bounds(BY_NAME + part)

    def _item(self, parts: bytes) -> object:
        key, end = decode_key_at(parts, 1)
        if parts[end : end + 1] not in DOMAINS:
            raise CodecError(f"a timer without a domain was found: {parts[end : end + 1]!r} is none")
        return key, _DOMAINS[parts[end]], decode_key(parts[end + 1 :])

    def _place(self, item: Any) -> Place:  # noqa: ANN401  (its form was checked)
        key, domain, name = item
        if domain not in _DOMAINS:
            raise CodecError(f"the domain is {domain!r:.50}, expected {' or '.join(map(repr, _DOMAINS))}")
        part = encode_key(key)
        return Place(part, BY_NAME + part, bytes((_DOMAINS.index(domain),)) + encode_key(name))


class SliceItems(Items):
    """Items of window slices, by time."""

    parts = 2
    words = "a tuple (begin of the slice, key)"

    def part_of(self, parts: bytes) -> bytes:
        """Give the encoded key."""
        return parts[TIME_BYTES:]

    def key_of(self, item: Any) -> object:  # noqa: ANN401  (a tuple)
        """Give the key of an item."""
        return item[1]

    def between(self, start: object, stop: object) -> Bounds:
        """Give the bounds of slices that begin in a range of times."""
        return Bounds(
            b"",
            None if start is None else time_bytes(time_us(start, "start")),
            None if stop is None else time_bytes(time_us(stop, "stop")),
        )

    def of_key(self, part: bytes) -> Bounds:
        """Give everything: a key's slices lie apart."""
        return Bounds()

    def _item(self, parts: bytes) -> object:
        return datetime_of(time_in(parts)), decode_key(parts[TIME_BYTES:])

    def _place(self, item: Any) -> Place:  # noqa: ANN401  (its form was checked)
        part = encode_key(item[1])
        return Place(part, time_bytes(time_us(item[0], "the begin of a slice")) + part, b"")


class BroadcastItems(Items):
    """Items of a broadcast state: what all subtasks have, stored once."""

    words = "a map key"
    keyed = False

    def part_of(self, parts: bytes) -> bytes:
        """Give what stands for a key."""
        return _FOR_ALL

    def between(self, start: object, stop: object) -> Bounds:
        """Give the bounds of entries by their map keys."""
        within = super().between(start, stop)
        return Bounds(_FOR_ALL, within.start, within.stop)

    def lookup(self, key: object) -> tuple[bytes, Bounds]:
        """Give where an entry is."""
        return _FOR_ALL, Bounds(_FOR_ALL + encode_key(key))

    def _item(self, parts: bytes) -> object:
        return decode_key(parts[len(_FOR_ALL) :])

    def _place(self, item: Any) -> Place:  # noqa: ANN401  (its form was checked)
        return Place(_FOR_ALL, _FOR_ALL, encode_key(item))


class ListItems(Items):
    """The lists of an operator, each under the index of the subtask that had it. They are read only."""

    words = "the index of a subtask"
    keyed = False

    def part_of(self, parts: bytes) -> bytes:
        """Give what stands for a key."""
        return parts[: decode_key_at(parts, 0)[1]]

    def between(self, start: object, stop: object) -> Bounds:
        """Give the bounds of lists by their subtasks."""
        return Bounds(b"", *(None if end is None else encode_key((end, 0)) for end in (start, stop)))

    def _item(self, parts: bytes) -> object:
        slot: Any = decode_key_at(parts, 0)[0]
        return slot[0]

    def _place(self, item: Any) -> Place:  # noqa: ANN401  (its form was checked)
        raise CodecError("an operator's lists are carried over as they are: what is to change them is migrate=")


_KINDS: Final[dict[StateKind, type[Items]]] = {
    "value": Items,
    "map": MapItems,
    "timers": TimerItems,
    "slices": SliceItems,
    "broadcast": BroadcastItems,
    "list": ListItems,
}


def items_of(kind: StateKind, name: str, codec: Codec[Any] = SELF_DESCRIBING) -> Items:
    """Give what reads and writes the items of a state."""
    return _KINDS[kind](name, codec)
