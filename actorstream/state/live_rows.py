"""What the layers of one state hold, without a job: of each key the newest, nothing that is hidden or has expired.

    layers of a key group   L9  b=2   c=gone          newest first
                            L4  a=1   b=7   c=5       ──merge──>   a=1   b=2

This is what a job that is restored from them finds. Nothing is decoded: a row is

    order   what its entry key sorts by behind the head: the parts, a long one as stem and whole part
    parts   the encoded key, and behind it what stands with it (map key; domain and name of a timer), whole
    value   the entry's value as it lies in the layer

Rows come by `order`, which is the order of the encoded keys, except among keys over 200 bytes whose first 200 are
the same: these come by their digests, in the same order in every layer and snapshot. So nothing needs to be sorted, and
memory holds one row of each layer however large the state is.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import merge
from typing import TYPE_CHECKING, TypeAlias

from actorstream.state.compaction import canonical_rows
from actorstream.state.entries import (
    BEHIND,
    BORDER,
    CLEAR_MARK,
    EXPIRING,
    HEAD_BYTES,
    KIND,
    LONG_KEY,
    LONG_MAP_KEY,
    PART_BYTES_MAX,
    STEM_BYTES,
    TOMBSTONE,
    VALUE,
    kind_of,
    newer_format,
    stem_of,
    take_apart,
    whole_parts,
)
from actorstream.state.slice_entries import SLICE_MARK, first_kept

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer

LiveRow: TypeAlias = "tuple[bytes, bytes, bytes]"
"""Order, parts, value."""

_KEY_SLOT = HEAD_BYTES + STEM_BYTES


@dataclass(frozen=True, slots=True)
class Instants:
    """What time it is by both clocks, as stamps (state/ttl.py)."""

    processing: int
    event: int

    def is_over(self, stamp: int) -> bool:
        """Tell whether a value with this expiry is not there any more."""
        return stamp <= (self.event if stamp > BORDER else self.processing)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which rows of a state: those whose parts begin with `prefix`, and then lie from `start` up to but not `stop`.

    `start` and `stop` are encoded keys, or prefixes of encodings, compared behind `prefix`; None is open.
    """

    prefix: bytes = b""
    start: bytes | None = None
    stop: bytes | None = None

    def scan(self, layer: Layer, head: bytes) -> Iterator[Entry]:
        """Give the entries among which they are: all, unless parts over 200 bytes begin alike."""
        prefix, start, stop = self.prefix, self.start or b"", self.stop
        if len(prefix) > PART_BYTES_MAX:
            return layer.scan(head + stem_of(prefix))
        room = PART_BYTES_MAX - len(prefix)
        upper = stop if stop is None or len(stop) <= room else stop[:room] + BEHIND
        return layer.scan(head + prefix, start[:room], upper)

    @property
    def exact(self) -> bool:
        """Tell whether what `scan` gives is all within."""
        longest = max(len(self.prefix), *(len(self.prefix + each) for each in (self.start, self.stop) if each), 0)
        return longest <= PART_BYTES_MAX

    def hold(self, parts: bytes) -> bool:
        """Tell whether a row is within."""
        at = len(self.prefix)
        return (
            parts.startswith(self.prefix)
            and (self.start is None or parts[at:] >= self.start)
            and (self.stop is None or parts[at:] < self.stop)
        )


EVERYTHING = Bounds()


def live_rows(
    layers: Sequence[Layer], head: bytes, bounds: Bounds = EVERYTHING, now: Instants | None = None
) -> Iterator[LiveRow]:
    """Give the rows of one state in one key group, in order.

    Args:
        layers: What the key group sees, newest first.
        head: Operator, key group and state: see `entries.head_of`.
        bounds: Which rows. With map keys or timers it must not cut between rows of one key.
        now: When values expire; None: they stay.

    Raises:
        StoreError: A layer has an entry of a kind that this version does not know.
    """
    found = [canonical_rows(layer, bounds.scan(layer, head), age) for age, layer in enumerate(layers)]
    exact = bounds.exact
    last = mark = b""
    mark_age = 0
    kept = _first_slice(layers, head)
    for canonical, age, key, value in merge(*found) if len(found) > 1 else found[0] if found else ():
        if canonical == last:
            continue  # an older row of the same key
        last = canonical
        # No whole key is a prefix of another, so behind a mark come exactly the rows of its map.
        if mark and not canonical.startswith(mark):
            mark = b""
        if (mark and age > mark_age) or canonical < kept:
            continue
        kind = value[0] & KIND if value else -1
        if kind == CLEAR_MARK:
            mark, mark_age = canonical, age
        elif kind == VALUE or (kind == EXPIRING and not _is_over(value, now)):
            parts = canonical[HEAD_BYTES:] if value[0] <= KIND else whole_parts(key, value)
            if exact or bounds.hold(parts):
                yield canonical[HEAD_BYTES:], parts, value
        elif kind not in {EXPIRING, TOMBSTONE, SLICE_MARK}:
            raise newer_format(f"layer {layers[age].file.name}", kind)


def canonical_entry(head: bytes, key: bytes, beside: bytes, tagged: bytes) -> Entry:
    """Make an entry in canonical form: what it sorts by, and its value with whole parts.

    Args:
        head: See `entries.head_of`.
        key: The key part.
        beside: What stands with it; empty where nothing does.
        tagged: Tag, expiry and codec bytes.
    """
    long_key, long_beside = len(key) > PART_BYTES_MAX, len(beside) > PART_BYTES_MAX
    if not (long_key or long_beside):
        return head + key + beside, tagged
    whole = b""
    tag = tagged[0]
    if long_key:
        tag |= LONG_KEY
        whole += len(key).to_bytes(4) + key
        key = stem_of(key) + key
    if long_beside:
        tag |= LONG_MAP_KEY
        whole += len(beside).to_bytes(4) + beside
        beside = stem_of(beside) + beside
    return head + key + beside, bytes((tag,)) + whole + tagged[1:]


def first_slotted(canonical: bytes, value: bytes) -> bytes:
    """Give the entry key of a canonical entry with something long in it, its slots all 0: `NewSlots` gives others."""
    wholes = take_apart(value)
    key = canonical
    if wholes.map_key is not None:
        key = key[: -len(wholes.map_key)] + b"\x00"
    if wholes.key is not None:
        key = key[:_KEY_SLOT] + b"\x00" + key[_KEY_SLOT + len(wholes.key) :]
    return key


def _is_over(value: bytes, now: Instants | None) -> bool:
    stamp = take_apart(value).expires
    return now is not None and stamp is not None and now.is_over(stamp)


def _first_slice(layers: Sequence[Layer], head: bytes) -> bytes:
    """Give what the first slice that was not dropped begins with; no other kind of state has an entry there."""
    marks = (layer.get(head) for layer in layers)
    mark = next((mark for mark in marks if mark is not None), None)
    return b"" if mark is None or kind_of(mark) != SLICE_MARK else first_kept(head, mark)
