"""Records in flight, as a checkpoint holds them: what had been sent to a subtask and was not in its state yet.

    channels of a subtask             its part of the checkpoint, in a layer, under operator number 0
    lane  views:0 from 1   a b  ──>    0 | part | 0   head: whose it is, its channels, how many items follow
    lane  views:0 from 2   c           0 | part | 1   channel 0, frame of a
    back  again:1 from 0   d           0 | part | 2   channel 1, frame of c ...

An item is what travels in a channel (codec/frames.py): a batch with its timestamps, keys and marks, a watermark,
idleness. Of one channel they stand in the order in which they were sent; a channel's place says how far its event time
had come before the first of them. The key group of a record follows from its key, so a restore at another parallelism
sends each record where its key group is.

A restore gives all of a part back before anything new: `read_part`. Operator numbers begin at 1, so no subtask finds
these entries in its stack, and a merge leaves them out. Who is behind a channel:

    lane    the subtask `sender` of an exchange's sending chain
    split   a source: what it had taken of a split and not worked through
    back    a loop's back edge

Invariants:
- A file holds one part of a subtask at most, and a part may lie in several files (T134: each is named by the manifest).
- What is not as it was written is a StoreError that names the file, never another record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from xxhash import xxh3_128_digest

from actorstream.codec.documents import Int64, decode_json, encode_json
from actorstream.codec.frames import decode_item, encode_item
from actorstream.errors import CodecError, StoreError
from actorstream.model.batch import Batch
from actorstream.model.signals import Idle, Watermark
from actorstream.model.times import TIME_MIN
from actorstream.state.entries import VALUE, VALUE_TAG, kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.model.signals import ChannelItem
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer

OPERATOR: Final = bytes(2)
"""Operator number 0, which no operator has."""

ChannelKind: TypeAlias = Literal["lane", "split", "back"]
Carried: TypeAlias = "Batch | Watermark | Idle"
"""What may be in flight: barriers and ends are of the run that sent them."""

_number = Struct(">Q")
_channel = Struct(">I")
_HEAD_AT: Final = 0
_REMEDY = "restore an older checkpoint"


class InFlightChannel(NamedTuple):
    """One way into a subtask: an exchange and the subtask that sends, one `of` so many; a split, or a back edge.

    `watermark` and `idle` say how far its event time had come before the first recorded item.
    """

    exchange: str
    sender: Int64 = 0
    kind: ChannelKind = "lane"
    watermark: Int64 = TIME_MIN
    idle: bool = False
    of: Int64 = 1


@dataclass(frozen=True, slots=True)
class _Head:
    """The first entry of a part; `before`: how many items of it are in the files before this one."""

    chain: str
    subtask: Int64
    channels: list[InFlightChannel]
    before: Int64
    items: Int64
    parallelism: Int64 = 1


@dataclass(slots=True)
class InFlightPart:
    """What was in flight to one subtask of `parallelism`: the items, each with the index of its channel."""

    chain: str
    subtask: int
    channels: list[InFlightChannel] = field(default_factory=list)
    items: list[tuple[int, Carried]] = field(default_factory=list)
    parallelism: int = 1

    def renamed(self, chain: str) -> InFlightPart:
        """Give it as that of a chain that is called so now; exchanges go by the name of who receives."""
        if chain == self.chain:
            return self
        places = [
            place if place.kind == "split" else place._replace(exchange=_exchange_of(chain, place.exchange))
            for place in self.channels
        ]
        return InFlightPart(chain, self.subtask, places, self.items, self.parallelism)


def _exchange_of(receiver: str, exchange: str) -> str:
    return f"{receiver}:{exchange.rpartition(':')[2]}"


class InFlightWriter:
    """Encodes one subtask's part as it is recorded.

    Attributes:
        chain: Whose it is.
        items: How many items it holds.
        overtaken: How many of them barriers had overtaken: all but those of back edges, and those that are awaited.
        records: How many records are in them.
        size_bytes: About how much of a file they take.
    """

    def __init__(self, chain: str, subtask: int, channels: Sequence[InFlightChannel], parallelism: int = 1) -> None:
        """Start with nothing recorded of these channels; `parallelism` is the chain's."""
        self.chain = chain
        self.items = 0
        self.overtaken = 0
        self.records = 0
        self.size_bytes = 0
        self._subtask = subtask
        self._parallelism = parallelism
        self._channels = list(channels)
        self._prefix = _prefix(chain, subtask)
        self._entries: list[Entry] = []
        self._taken = 0

    def add(self, channel: int, item: Carried, *, awaited: bool = False) -> None:
        """Encode an item that was sent on a channel, behind all that were added of it before.

        `awaited`: it had come before the barrier, and a call was or will be made for it.

        Nothing that becomes of the item later changes what was recorded (T125).

        Raises:
            CodecError: A record in it cannot be encoded; names the exchange.
        """
        try:
            frame = encode_item(item)
        except CodecError as error:
            place = self._channels[channel]
            otherwise = "" if place.kind == "back" else ", or take aligned checkpoints (alignment_timeout=None)"
            raise CodecError(
                f"a record in flight on {place.exchange!r} to {self.chain} cannot be stored: {error}; give it a type "
                f"that can (docs/guides/schema.md){otherwise}"
            ) from error
        self.items += 1
        self.overtaken += not awaited and self._channels[channel].kind != "back"
        self.records += len(item.values) if isinstance(item, Batch) else 0
        value = VALUE_TAG + _channel.pack(channel) + frame
        self.size_bytes += len(value)
        self._entries.append((self._prefix + _number.pack(self.items), value))

    def take_entries(self) -> list[Entry]:
        """Give the entries of one file: all that were added since the last call, and their head."""
        entries, self._entries = self._entries, []
        head = _Head(self.chain, self._subtask, self._channels, self._taken, len(entries), self._parallelism)
        self._taken = self.items
        entries.append((self._prefix + _number.pack(_HEAD_AT), VALUE_TAG + encode_json(head)))
        return entries


def read_part(layers: Sequence[Layer], chain: str, subtask: int, items: int) -> InFlightPart:
    """Read what was in flight to a subtask, from the files that the manifest names, in their order; blocking.

    Raises:
        StoreError: A file does not hold what the manifest says; names it.
    """
    part = InFlightPart(chain, subtask)
    for layer in layers:
        with_error = _Damage(layer.file.name, chain, subtask)
        try:
            _read_file(layer, part, with_error)
        except CodecError as error:
            raise with_error.because(str(error)) from error
    if len(part.items) != items:
        names = ", ".join(layer.file.name for layer in layers)
        raise _Damage(names, chain, subtask).because(f"{len(part.items)} items were found, {items} expected")
    return part


class _Damage(NamedTuple):
    layer: str
    chain: str
    subtask: int

    def because(self, reason: str) -> StoreError:
        return StoreError(
            f"{self.layer}: records in flight to {self.chain} (subtask {self.subtask}) cannot be read: {reason}; "
            f"{_REMEDY}"
        )


def _read_file(layer: Layer, part: InFlightPart, damage: _Damage) -> None:
    prefix = _prefix(part.chain, part.subtask)
    first = layer.get(prefix + _number.pack(_HEAD_AT))
    if first is None:
        raise damage.because("there are none")
    head = decode_json(_Head, _content(first))
    if (head.chain, head.subtask) != (part.chain, part.subtask):
        raise damage.because(f"they are of subtask {head.subtask} of another chain")
    if part.channels and head.channels != part.channels:
        raise damage.because("another file of them has other channels")
    if head.before != len(part.items):
        raise damage.because(f"{head.before} items should be in the files before it, {len(part.items)} were")
    part.channels, part.parallelism = head.channels, head.parallelism
    for number, (key, value) in enumerate(layer.scan(prefix, _number.pack(_HEAD_AT + 1)), start=head.before + 1):
        if key != prefix + _number.pack(number):
            raise damage.because(f"item {number} is missing")
        content = _content(value)
        if len(content) < _channel.size:
            raise damage.because(f"item {number} is cut short")
        (channel,) = _channel.unpack_from(content)
        if channel >= len(part.channels):
            raise damage.because(f"item {number} is of channel {channel}, there are {len(part.channels)}")
        part.items.append((channel, _carried(decode_item(content[_channel.size :]))))
    if len(part.items) != head.before + head.items:
        raise damage.because(f"{len(part.items) - head.before} items were found, {head.items} expected")


def _carried(item: ChannelItem) -> Carried:
    if isinstance(item, Batch | Watermark | Idle):
        return item
    raise CodecError(f"a {type(item).__name__} is no record in flight")


def _content(value: bytes) -> bytes:
    if kind_of(value) != VALUE:
        raise CodecError(f"an entry of kind {kind_of(value)} was found, {VALUE} expected")
    return value[1:]


def _prefix(chain: str, subtask: int) -> bytes:
    """Begin the keys of a subtask's entries; the head says whose they are, whatever a digest could do."""
    return OPERATOR + xxh3_128_digest(f"{subtask}/{chain}".encode())
