"""How an entry of keyed state lies in a layer file: its key, its value, and how a long key is found.

    key     operator number 2 | key group 2 | state number 2 | key part | map-key part      big-endian
    value   tag 1 | [length 4 | whole key] | [length 4 | whole map key] | [expiry 8] | codec bytes
    tag     0 value, 1 tombstone, 2 clear mark (at a map's own prefix: hides the map in older layers),
            3 value with an expiry: it is there while now < expiry (microseconds, signed, of one of two
              clocks: state/ttl.py)
            + 0x40 the key part is shortened, + 0x80 the map-key part is

A part is what `encode_key` gives: prefix-free and sorted as the values are. LMDB
takes keys of at most 511 bytes, so a part over 200 bytes is shortened:

    first 200 bytes | 16 bytes xxh3_128 of the whole | slot 1

Invariants (T130):
- The whole part stands in the value, so that two parts with one digest are told
  apart. In one file each part has a slot of its own (`Slots`); another file may
  give it another one, so merging layers gives slots anew.
- No whole part begins with a shortened one's 200 bytes (codes are prefix-free),
  so neither an entry nor a scan can mistake one form for the other, and only
  shortened parts that share 200 bytes can be out of order (`map_entries` sorts them).
"""

from __future__ import annotations

from itertools import groupby
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from xxhash import xxh3_128_digest

from actorstream.errors import InvariantError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.state.layer import Layer

Entry: TypeAlias = tuple[bytes, bytes]

HEAD_BYTES = 6
PART_BYTES_MAX = 200
STEM_BYTES = PART_BYTES_MAX + 16
"""What a shortened part consists of before its slot."""

VALUE, TOMBSTONE, CLEAR_MARK, EXPIRING = 0, 1, 2, 3
VALUE_TAG, TOMBSTONE_TAG, CLEAR_TAG, EXPIRING_TAG = b"\x00", b"\x01", b"\x02", b"\x03"
LONG_KEY, LONG_MAP_KEY = 0x40, 0x80
KIND = 0x3F
"""Masks a tag's kind; a larger tag says that something is shortened."""

EXPIRY_END = 9
"""Where the codec bytes begin behind the tag and the expiry of an `EXPIRING` value."""

BORDER = 1 << 61
"""An expiry above is in event time, one below in processing time."""

_expiry = Struct(">q")

SLOTS = 256
BEHIND = b"\xff" * 18
"""After every digest and slot."""


def digest_of(part: bytes) -> bytes:
    """Give the 16 bytes that stand for the rest of a long part."""
    return xxh3_128_digest(part)


def head_of(operator: int, key_group: int, state: int) -> bytes:
    """Give the six bytes with which every entry of a state in a key group begins."""
    return operator.to_bytes(2) + key_group.to_bytes(2) + state.to_bytes(2)


class Slots:
    """Tells shortened parts with one digest apart, within the one file that is being written."""

    def __init__(self) -> None:
        """Start a file."""
        self._parts: dict[bytes, list[bytes]] = {}

    def entry(self, head: bytes, key: bytes, map_key: bytes, tagged: bytes) -> Entry:
        """Make an entry of a key part, a map-key part (empty where there is none), and tag and codec bytes."""
        if len(key) <= PART_BYTES_MAX and len(map_key) <= PART_BYTES_MAX:
            return head + key + map_key, tagged
        tag, whole = tagged[0], b""
        if len(key) > PART_BYTES_MAX:
            tag |= LONG_KEY
            whole += len(key).to_bytes(4) + key
            key = self._shorten(key)
        if len(map_key) > PART_BYTES_MAX:
            tag |= LONG_MAP_KEY
            whole += len(map_key).to_bytes(4) + map_key
            map_key = self._shorten(map_key)
        return head + key + map_key, bytes((tag,)) + whole + tagged[1:]

    def _shorten(self, part: bytes) -> bytes:
        short = stem_of(part)
        parts = self._parts.setdefault(short, [])
        if part not in parts:
            if len(parts) == SLOTS:
                raise InvariantError(f"{SLOTS} long keys with one 128-bit digest in one freeze: the hash is broken")
            parts.append(part)
        return short + bytes((parts.index(part),))


class Wholes(NamedTuple):
    """An entry's value, taken apart: what was shortened is None where it was not; `tagged` is all else."""

    key: bytes | None
    map_key: bytes | None
    tagged: bytes

    @property
    def expires(self) -> int | None:
        """The instant from which on the value is not there any more, in microseconds; None: it stays."""
        return _expiry.unpack_from(self.tagged, 1)[0] if self.tagged[0] == EXPIRING else None

    @property
    def live(self) -> bytes:
        """Tag and codec bytes as if there were no expiry."""
        return VALUE_TAG + self.tagged[EXPIRY_END:] if self.tagged[0] == EXPIRING else self.tagged


def take_apart(value: bytes) -> Wholes:
    """Give the whole parts that an entry's value carries, and its tag and the rest without them.

    Raises:
        StoreError: It is cut short.
    """
    tag = kind_of(value)
    key = map_key = None
    at = 1
    if tag > KIND:
        if tag & LONG_KEY:
            end = at + 4 + int.from_bytes(value[at : at + 4])
            key, at = value[at + 4 : end], end
        if tag & LONG_MAP_KEY:
            end = at + 4 + int.from_bytes(value[at : at + 4])
            map_key, at = value[at + 4 : end], end
    tagged = bytes((tag & KIND,)) + value[at:] if tag > KIND else value
    if at > len(value) or (tagged[0] == EXPIRING and len(tagged) < EXPIRY_END):
        raise cut_short(value)
    return Wholes(key, map_key, tagged)


def kind_of(value: bytes) -> int:
    """Give the tag of an entry's value; -1, which is no kind, where it is empty."""
    return value[0] if value else -1


def cut_short(data: bytes) -> StoreError:
    """Make the error for an entry that ends before what it says is in it."""
    return StoreError(
        f"an entry of a layer is cut short: {data!r:.60} was found. The layer has a right digest, so it was not damaged"
        " but written so, by something else than actorstream: restore an older checkpoint"
    )


def whole_parts(entry_key: bytes, value: bytes) -> bytes:
    """Give an entry's key part and map-key part as they were before any was shortened, without the head."""
    parts = entry_key[HEAD_BYTES:]
    if kind_of(value) > KIND:
        wholes = take_apart(value)
        if wholes.key is not None:
            parts = wholes.key + parts[STEM_BYTES + 1 :]
        if wholes.map_key is not None:
            parts = parts[: -STEM_BYTES - 1] + wholes.map_key
    return parts


def expiring(tagged: bytes, at_us: int) -> bytes:
    """Give a value's tag and codec bytes an expiry, before `Slots.entry` takes them."""
    return EXPIRING_TAG + _expiry.pack(at_us) + tagged[1:]


def expired(value: bytes, now_us: int) -> bool:
    """Tell whether an entry's value has an expiry of the clock of `now_us` that has passed."""
    expires = take_apart(value).expires
    return expires is not None and expires <= now_us and (expires > BORDER) == (now_us > BORDER)


def as_tombstone(value: bytes) -> bytes:
    """Give the value of a tombstone for the same key: whole parts stay, they are its identity."""
    long = kind_of(value) & ~KIND
    kept = len(value) - len(take_apart(value).tagged) if long else 0
    return bytes((long | TOMBSTONE,)) + value[1 : kept + 1]


def find(layer: Layer, head: bytes, key: bytes, map_key: bytes = b"") -> bytes | None:
    """Give the tag, expiry and codec bytes that one layer holds, or None where it says nothing.

    Whether an expiry has passed is not asked.
    """
    prefix = prefix_in(layer, head, key)
    if prefix is None:
        return None
    if len(map_key) <= PART_BYTES_MAX:
        entry = prefix + map_key
        value = layer.get(entry) if layer.may_hold(entry) else None
    else:
        found = _slot_in(layer, prefix, map_key, of_map=True)
        value = layer.get(found) if found is not None else None
    return None if value is None else take_apart(value).tagged


def prefix_in(layer: Layer, head: bytes, key: bytes) -> bytes | None:
    """Give the prefix of a key's entries in one layer; None where a long key has none there."""
    return head + key if len(key) <= PART_BYTES_MAX else _slot_in(layer, head, key, of_map=False)


def map_entries(
    layer: Layer, prefix: bytes, start: bytes | None, stop: bytes | None, *, reverse: bool
) -> Iterator[tuple[bytes, bytes]]:
    """Give (whole map-key part, tag, expiry and codec bytes) of one map in one layer, sorted by the part.

    The range is start <= part < stop; the map's own clear mark is left out, expiries as in `find`.
    """
    cut = len(prefix)
    lower = start[:PART_BYTES_MAX] if start is not None else b"\x00"
    upper = stop if stop is None or len(stop) <= PART_BYTES_MAX else stop[:PART_BYTES_MAX] + BEHIND
    rows = layer.scan(prefix, lower, upper, reverse=reverse)
    for stem, run in groupby(rows, lambda row: row[0][cut : cut + PART_BYTES_MAX]):
        parts: list[tuple[bytes, bytes]] = []
        for entry_key, value in run:
            wholes = take_apart(value)
            parts.append((entry_key[cut:] if wholes.map_key is None else wholes.map_key, wholes.tagged))
        if len(stem) == PART_BYTES_MAX:
            parts.sort(reverse=reverse)
        for part, tagged in parts:
            if (start is None or part >= start) and (stop is None or part < stop):
                yield part, tagged


def newer_format(where: str, kind: int) -> StoreError:
    """Make the error for an entry of a kind that this version does not know."""
    return StoreError(
        f"{where}: an entry of {f'kind {kind}' if kind >= 0 else 'no kind'} was found, 0 to 3 are known: "
        "a newer version of actorstream wrote it; run that version, or restore an older checkpoint"
    )


def stem_of(part: bytes) -> bytes:
    """Give what a long part is shortened to, without its slot."""
    return part[:PART_BYTES_MAX] + digest_of(part)


def _slot_in(layer: Layer, before: bytes, part: bytes, *, of_map: bool) -> bytes | None:
    stem = before + stem_of(part)
    cut = len(stem)
    slot = 0
    while slot < SLOTS:
        found = next(layer.scan(stem, bytes((slot,)), None), None)
        if found is None:
            return None
        key, value = found
        whole = take_apart(value)
        if (whole.map_key if of_map else whole.key) == part:
            return key[: cut + 1]
        slot = key[cut] + 1
    return None
