"""Compaction: a contiguous run of layers becomes one, so that reading and open files stay bounded.

    stack of views   L9 L8 L7 | L2          the run L9 L8 L7 becomes M
    stack of cards   L9    L7 | L3 L2       each stack keeps its own view of the run: only its layers count

A `Piece` says which key groups of which operator see which of the layers, newest
first; entries that no piece sees never enter (T134). The layers are read side by
side in one order, and of each logical key the newest entry wins:

    canonical key    head | key part | map-key part, a shortened part as stem and whole part, without its slot

Invariants:
- A clear mark hides every entry of its map in older layers, none in its own.
- A tombstone or clear mark is dropped only where the run reaches the oldest layer
  of the piece (`bottom`); elsewhere it still hides something below. A tombstone
  beside a clear mark that stays hides nothing that the mark does not.
- A mark of slices (state/slice_entries.py) hides all that is below it in its key group, older or
  newer, so in the run nothing of that is left; at the bottom it has nothing to hide then, and goes.
- A value whose expiry has passed by the clock of its state is a tombstone from then
  on: it hides what is older, and goes where a tombstone goes. One that expires later
  keeps its expiry; so does every value of a state without a clock, whose values live
  on: its time-to-live was taken away, or nobody knows the time.
- A long key may have another slot in each file, and two keys one digest. Whole
  parts are the identity, and the new file's slots are given anew (T130).
- Values are copied as bytes: no user code runs, nothing is decoded.

Every layer is proved before it is read, so damage is not copied into a file with
a good digest. Memory holds what the builder collects for one transaction, however
large the layers are: a child that merges 240 MiB in 1,000,000 entries has 73 MiB of
its own, and the files mapped; it takes 3 s.

A large merge runs as a child process (state/compaction_child.py): in a thread it
would take the interpreter from the loop.

Source: O'Neil et al. 1996, "The Log-Structured Merge-Tree".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import merge as merge_sorted
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from actorstream.errors import InvariantError
from actorstream.model.ids import LayerName
from actorstream.state.entries import (
    CLEAR_MARK,
    EXPIRING,
    HEAD_BYTES,
    KIND,
    SLOTS,
    STEM_BYTES,
    TOMBSTONE,
    VALUE,
    Wholes,
    as_tombstone,
    cut_short,
    expired,
    kind_of,
    newer_format,
    stem_of,
    take_apart,
)
from actorstream.state.layer import LayerFile, open_checked
from actorstream.state.layer_builder import write_in_order
from actorstream.state.slice_entries import SLICE_MARK, first_kept

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from actorstream.model.world import FileSystem
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer

_STATE = slice(HEAD_BYTES - 2, HEAD_BYTES)
_KEY_SLOT = HEAD_BYTES + STEM_BYTES
_VALUES = frozenset({VALUE, EXPIRING})
_KNOWN = _VALUES | {TOMBSTONE, CLEAR_MARK, SLICE_MARK}
Row: TypeAlias = "tuple[bytes, int, bytes, bytes]"  # canonical key, age of the layer, key and value as they are in it


@dataclass(frozen=True, slots=True)
class Source:
    """A layer to read: what `LayerFile` says, and where it is."""

    path: str
    name: str
    size: int
    digest: str
    entries: int


@dataclass(frozen=True, slots=True)
class Piece:
    """The key groups [start, end) of an operator, and the indexes of the layers that they see, newest first.

    `bottom`: below the last of them these key groups see nothing. `clocks`: what time it is, by state number, as a
    stamp (state/ttl.py) that its expiries are compared with; no part of what a piece is.
    """

    operator: int
    start: int
    end: int
    layers: list[int]
    bottom: bool
    clocks: dict[int, int] = field(default_factory=dict[int, int], compare=False)


@dataclass(frozen=True, slots=True)
class Merge:
    """What to merge, and where to. Pieces do not overlap."""

    sources: list[Source]
    pieces: list[Piece]
    target: str


@dataclass(frozen=True, slots=True)
class Merged:
    """The new layer's file; without a name there is none, because nothing was left to write."""

    name: str | None
    size: int = 0
    digest: str = ""
    entries: int = 0


def merge(files: FileSystem, task: Merge) -> Merged:
    """Write the merged layer, durably; blocking, and reads every source whole.

    Raises:
        StoreError: A source is missing, damaged or of a newer format, or the target cannot be written;
            there is no target then.
    """
    layers: list[Layer] = []
    try:
        for source in task.sources:
            file = LayerFile(LayerName(source.name), source.size, source.digest, source.entries)
            layers.append(open_checked(files, source.path, file))
        pieces = sorted(task.pieces, key=lambda piece: (piece.operator, piece.start))
        entries = chain.from_iterable(_merged(piece, [layers[index] for index in piece.layers]) for piece in pieces)
        written = write_in_order(files, task.target, entries)
        return Merged(None) if written is None else Merged(written.name, written.size, written.digest, written.entries)
    finally:
        for layer in layers:
            layer.release()


def _merged(piece: Piece, layers: Sequence[Layer]) -> Iterator[Entry]:
    """Give what a piece still needs of its layers, in the order of the new keys."""
    slots = NewSlots()
    clock_of = piece.clocks.get
    last = mark = kept = b""
    mark_age = 0
    for canonical, age, key, value in merge_sorted(*(_rows(piece, layer, age) for age, layer in enumerate(layers))):
        if canonical == last:
            continue  # an older entry of the same key: rows come by canonical key, then by age
        last = canonical
        # Parts are prefix-free, so behind a mark come exactly the entries of its map.
        if mark and not canonical.startswith(mark):
            mark = b""
        if (mark and age > mark_age) or canonical < kept:
            continue
        kind, stays = value[0] & KIND if value else -1, value
        if kind == EXPIRING and (now := clock_of(int.from_bytes(key[_STATE]))) is not None and expired(value, now):
            kind, stays = TOMBSTONE, as_tombstone(value)
        if kind == CLEAR_MARK:
            mark, mark_age = canonical, age
        elif kind == SLICE_MARK:
            kept = first_kept(key, value)
        elif kind not in _KNOWN:
            raise newer_format(f"layer {layers[age].file.name}", kind)
        if kind in _VALUES or not (piece.bottom or (mark and kind == TOMBSTONE)):
            yield (key if value[0] <= KIND else slots.renumbered(key, value)), stays


def _rows(piece: Piece, layer: Layer, age: int) -> Iterator[Row]:
    """Give a piece's entries of one layer, in the order of their canonical keys."""
    start, stop = piece.start.to_bytes(2), piece.end.to_bytes(2)
    return canonical_rows(layer, layer.scan(piece.operator.to_bytes(2), start, stop), age)


def canonical_rows(layer: Layer, entries: Iterable[Entry], age: int, alone: bytes | None = None) -> Iterator[Row]:
    """Put entries of one layer into canonical order, which is another one only where parts share a digest.

    `alone` is the stem of a long key that need not be asked for others of its digest.
    """
    passed: bytes | None = None
    for key, value in entries:
        if kind_of(value) <= KIND:
            yield key, age, key, value
            continue
        if passed is not None and key.startswith(passed):
            continue
        wholes = _wholes(key, value)
        canonical = key
        if wholes.key is not None:
            stem = key[:_KEY_SLOT]
            if stem != alone:
                slots = _slots_under(layer, stem)
                if len(slots) > 1:
                    passed = stem
                    for slot in slots:
                        yield from canonical_rows(layer, layer.scan(stem + slot), age, stem)
                    continue
                alone = stem
            canonical = stem + wholes.key + key[_KEY_SLOT + 1 :]
        if wholes.map_key is not None:
            passed = key[:-1]
            found = [(_wholes(slotted, each).map_key or b"", slotted, each) for slotted, each in layer.scan(passed)]
            for whole, slotted, each in sorted(found):
                yield canonical[:-1] + whole, age, slotted, each
        else:
            yield canonical, age, key, value


def _wholes(key: bytes, value: bytes) -> Wholes:
    """Take the value of an entry with something long in it apart; `cut_short` if it is not what its key shortens."""
    wholes = take_apart(value)
    if (wholes.key is not None and key[HEAD_BYTES:_KEY_SLOT] != stem_of(wholes.key)) or (
        wholes.map_key is not None and key[-STEM_BYTES - 1 : -1] != stem_of(wholes.map_key)
    ):
        raise cut_short(key)
    if len(key) <= _KEY_SLOT:
        raise cut_short(key)
    return wholes


def _slots_under(layer: Layer, stem: bytes) -> list[bytes]:
    """Give the slots of the keys with this stem in a layer, in the order of their whole parts."""
    found: list[tuple[bytes, bytes]] = []
    slot = 0
    while slot < SLOTS:
        entry = next(layer.scan(stem, bytes((slot,))), None)
        if entry is None:
            break
        slot = entry[0][_KEY_SLOT]
        found.append((take_apart(entry[1]).key or b"", bytes((slot,))))
        slot += 1
    return [each for _, each in sorted(found)]


class NewSlots:
    """Gives slots in a new file: keys come in canonical order, so those with one stem come in a row."""

    def __init__(self) -> None:
        self._keys = _Numbering()
        self._map_keys = _Numbering()

    def renumbered(self, key: bytes, value: bytes) -> bytes:
        """Give the key of an entry with something long in it, with the slots of the new file."""
        wholes = take_apart(value)
        if wholes.key is not None:
            stem = key[:_KEY_SLOT]
            key = stem + self._keys.slot_of(stem, wholes.key) + key[_KEY_SLOT + 1 :]
        if wholes.map_key is not None:
            stem = key[:-1]
            key = stem + self._map_keys.slot_of(stem, wholes.map_key)
        return key


class _Numbering:
    """Numbers the whole parts under one stem, then those under the next."""

    def __init__(self) -> None:
        self._stem = self._whole = b""
        self._slot = 0

    def slot_of(self, stem: bytes, whole: bytes) -> bytes:
        if stem != self._stem:
            self._stem, self._whole, self._slot = stem, whole, 0
        elif whole != self._whole:
            self._whole = whole
            self._slot += 1
            if self._slot == SLOTS:
                raise InvariantError(f"over {SLOTS} long keys with one 128-bit digest in one layer: the hash is broken")
        return bytes((self._slot,))
