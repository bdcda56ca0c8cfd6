"""Compaction: a contiguous run of layers becomes one, so that reading and open files stay bounded.

    stack of views   L9 L8 L7 | L2          the run L9 L8 L7 becomes M
    stack of cards   L9    L7 | L3 L2       each stack keeps its own view of the run: only its layers count

A `Piece` says which key groups of which operator see which of the layers, newest
first. For each logical key the newest entry wins. A tombstone or clear mark is
dropped only where the run reaches the oldest layer of the piece (`bottom`);
elsewhere it still hides something below. Compaction copies bytes and runs no
user code. A large merge runs as a child, `python -m actorstream.state.compaction`,
with its `Merge` as JSON on standard input: in a thread it would stall the loop.

Source: O'Neil et al. 1996, "The Log-Structured Merge-Tree".
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from heapq import merge as merge_sorted
from itertools import groupby, islice
from typing import TYPE_CHECKING, NamedTuple

from actorstream.codec.documents import decode_json, encode_json
from actorstream.errors import ActorstreamError
from actorstream.model.ids import LayerName
from actorstream.state.entries import (
    CLEAR_MARK,
    PART_BYTES_MAX,
    TOMBSTONE,
    Slots,
    take_apart,
)
from actorstream.state.layer import LayerFile, open_checked, write_layer
from actorstream.system.files import RealFiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorstream.model.world import FileSystem
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer

_PART_ENTRIES = 10_000
_HEAD = 6


@dataclass(frozen=True, slots=True)
class Source:
    """A layer to read."""

    path: str
    name: str
    size: int
    digest: str
    entries: int


@dataclass(frozen=True, slots=True)
class Piece:
    """The key groups [start, end) of an operator, and the indexes of the layers that they see, newest first."""

    operator: int
    start: int
    end: int
    layers: list[int]
    bottom: bool


@dataclass(frozen=True, slots=True)
class Merge:
    """What to merge, and where to. Pieces do not overlap."""

    sources: list[Source]
    pieces: list[Piece]
    target: str


@dataclass(frozen=True, slots=True)
class Merged:
    """The new layer's file; None where nothing was left to write."""

    name: str | None
    size: int = 0
    digest: str = ""
    entries: int = 0


class _Row(NamedTuple):
    """One entry of one layer, taken apart. `map_key` is None for all but the entries of a shortened map key."""

    key: bytes
    age: int
    whole: bytes | None
    map_whole: bytes | None
    tagged: bytes


def merge(files: FileSystem, task: Merge) -> Merged:
    """Write the merged layer, durably; blocking, and reads every source whole.

    Raises:
        StoreError: A source is missing or damaged, or the target cannot be written; there is no target then.
    """
    layers: list[Layer] = []
    try:
        for source in task.sources:
            file = LayerFile(LayerName(source.name), source.size, source.digest, source.entries)
            layers.append(open_checked(files, source.path, file))
        slots = Slots()
        parts: list[list[Entry]] = []
        for piece in sorted(task.pieces, key=lambda piece: (piece.operator, piece.start)):
            entries = _merged(piece, [layers[index] for index in piece.layers], slots)
            while part := list(islice(entries, _PART_ENTRIES)):
                parts.append(part)
        if not parts:
            return Merged(None)
        written = write_layer(files, task.target, parts)
        return Merged(written.name, written.size, written.digest, written.entries)
    finally:
        for layer in layers:
            layer.release()


def _merged(piece: Piece, layers: Sequence[Layer], slots: Slots) -> Iterator[Entry]:
    """Give what a piece still needs of its layers."""
    rows = merge_sorted(*(_rows(piece, layer, age) for age, layer in enumerate(layers)))
    cleared = _Cleared()
    # Long keys with one digest may have other slots in other files, so what is one key shows only in the whole parts.
    for _, run in groupby(rows, key=lambda row: row.key[: _HEAD + PART_BYTES_MAX]):
        newest: dict[tuple[bytes, bytes | None, bytes | None], _Row] = {}
        for row in run:
            if cleared.hides(row):
                continue
            kind = row.tagged[0]
            if kind == CLEAR_MARK:
                cleared.add(row)
            identity = (_stem(row), row.whole, row.map_whole)
            if identity not in newest:
                newest[identity] = row
                if not (piece.bottom and kind in {TOMBSTONE, CLEAR_MARK}):
                    yield _entry(row, slots)


def _rows(piece: Piece, layer: Layer, age: int) -> Iterator[_Row]:
    operator = piece.operator.to_bytes(2)
    start, stop = piece.start.to_bytes(2), piece.end.to_bytes(2)
    for key, value in layer.scan(operator, start, stop):
        whole, map_whole, tagged = take_apart(value)
        yield _Row(key, age, whole, map_whole, tagged)
'''
'''
