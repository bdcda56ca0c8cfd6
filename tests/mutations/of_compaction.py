"""Bugs in merges of layers: which of two values counts, what may be dropped, and what has expired."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.state import compaction, entries, layer_builder
from actorstream.state.entries import CLEAR_MARK, KIND
from actorstream.state.stack import LayerStack
from tests.mutations.entering import Area
from tests.state.machines import Expiring, Maps, OneDigest, Rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from actorstream.state.compaction import Piece
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer

AREA = Area("compaction")

_merge = compaction._merged


@AREA.in_state("a merge keeps the older of two values", Rows)
def _older_kept() -> Sequence[AbstractContextManager[object]]:
    def merged(piece: Piece, layers: Sequence[Layer]) -> Iterator[Entry]:
        return _merge(piece, layers[::-1])

    return [patch.object(compaction, "_merged", merged)]


@AREA.in_state("a merge drops a tombstone above older layers", Rows)
def _tombstone_dropped() -> Sequence[AbstractContextManager[object]]:
    def merged(piece: Piece, layers: Sequence[Layer]) -> Iterator[Entry]:
        return _merge(replace(piece, bottom=True), layers)

    return [patch.object(compaction, "_merged", merged)]


@AREA.in_state("a merge drops a clear mark above older layers", Maps)
def _mark_dropped() -> Sequence[AbstractContextManager[object]]:
    def merged(*of: Any) -> Iterator[Entry]:
        return (entry for entry in _merge(*of) if entry[1][0] & KIND != CLEAR_MARK)

    return [patch.object(compaction, "_merged", merged)]


@AREA.in_state("a merge keeps what a clear mark hides", Maps)
def _mark_not_heeded() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(compaction, "CLEAR_MARK", None)]


@AREA.in_state("a merge takes in key groups that are another's (T134)", Rows)
def _other_groups_merged() -> Sequence[AbstractContextManager[object]]:
    def rows(piece: Piece, layer: Layer, age: int) -> Iterator[Any]:
        return compaction.canonical_rows(layer, layer.scan(piece.operator.to_bytes(2)), age)

    return [patch.object(compaction, "_rows", rows)]


@AREA.in_state("a merged layer takes the place of the old ones for other key groups too", Rows)
def _replaced_everywhere() -> Sequence[AbstractContextManager[object]]:
    real = LayerStack.replace

    def replace_all(self: LayerStack, old: Sequence[Layer], new: Layer | None, **_: Any) -> None:
        real(self, old, new)

    return [patch.object(LayerStack, "replace", replace_all)]


@AREA.in_state("long keys keep their slots in a merged layer (T130)", OneDigest)
def _slots_kept() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(compaction.NewSlots, "renumbered", lambda self, key, value: key)]


@AREA.in_state("a merge forgets expiry", Expiring)
def _nothing_expires() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(compaction, "expired", lambda value, now_us: False)]


@AREA.in_state("a value expires a moment early", Expiring)
def _expired_early() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(compaction, "expired", lambda value, now_us: entries.expired(value, now_us + 1))]


@AREA.in_state("a value that expires uncovers an older one", Expiring)
def _older_uncovered() -> Sequence[AbstractContextManager[object]]:
    real, gone = layer_builder.runs_of, b""

    def runs(merged: Iterable[Entry]) -> Iterator[list[Entry]]:
        return real(entry for entry in merged if entry[1] is not gone)

    return [patch.object(compaction, "as_tombstone", lambda value: gone), patch.object(layer_builder, "runs_of", runs)]
