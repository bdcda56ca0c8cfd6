"""Bugs in what is on disk: stacks of layers, filters, long keys, merges, expiry, restores, the writer."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.codec.ordered_keys import decode_key_at
from actorstream.model.key_groups import KeyGroupRange
from actorstream.state import compaction, entries, layer_builder, map_table, stack, writer
from actorstream.state.entries import CLEAR_MARK, HEAD_BYTES, KIND, VALUE, take_apart
from actorstream.state.filters import FilterBuilder
from actorstream.state.layer import Layer
from actorstream.state.layer_builder import LayerBuilder
from actorstream.state.lmdb_env import MapFullError
from actorstream.state.map_table import MapTable
from actorstream.state.missing import MISSING
from actorstream.state.operator_state import OperatorState
from actorstream.state.stack import LayerStack, PinnedStack
from tests.state.machines import Expiring, Grouped, Maps, OneDigest, Rows
from tests.state.mutation import mutant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from actorstream.state.compaction import Piece
    from actorstream.state.entries import Entry

_merge, _covering, _settle = compaction._merged, LayerStack.covering, LayerStack._settle


# ---- stacks, and how they are read -----------------------------------------------------------------------------------


@mutant("a new layer comes below the others", Rows)
def _pushed_below() -> Sequence[AbstractContextManager[object]]:
    def push(self: LayerStack, layer: Layer) -> None:
        self._settle([(groups, (*layers, layer)) for groups, layers in self._runs])

    return [patch.object(LayerStack, "push", push)]


@mutant("a scan prefers the older of two layers", Maps)
def _older_scanned_first() -> Sequence[AbstractContextManager[object]]:
    real = MapTable._scans

    def scans(self: MapTable, *of: Any, reverse: bool) -> Iterator[Any]:
        return reversed(list(real(self, *of, reverse=reverse)))

    return [patch.object(MapTable, "_scans", scans)]


@mutant("a cold read takes the row of the oldest layer", Rows)
def _oldest_read() -> Sequence[AbstractContextManager[object]]:
    def read(layers: Sequence[Layer], asked: list[bytes], found: dict[bytes, bytes]) -> None:
        for layer in layers:
            found.update(layer.get_sorted(sorted(asked)))

    return [patch.object(stack, "_read", read)]


@mutant("a cold read does not keep its layers open", Rows)
def _not_pinned() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(LayerStack, "pin", lambda self: PinnedStack(self._runs, ()))]


@mutant("a cold read never lets its layers go", Rows)
def _pinned_for_ever() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(PinnedStack, "release", lambda self: None)]


@mutant("a filter says of a key that is there that it is not", Rows)
def _not_in_filter() -> Sequence[AbstractContextManager[object]]:
    real = FilterBuilder.add

    def add(self: FilterBuilder, run: Sequence[Entry]) -> None:
        real(self, run[1:])

    return [patch.object(FilterBuilder, "add", add)]


@mutant("a clear mark does not hide what older layers hold", Maps)
def _mark_hides_nothing() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(MapTable, "_has_clear_mark", lambda self, layer, head, part: False)]


@mutant("a clear is not written", Maps)
def _mark_not_written() -> Sequence[AbstractContextManager[object]]:
    real = MapTable._entries

    def encoded(self: MapTable, *of: Any, cleared: bool, bottom: bool) -> Iterator[Entry | None]:
        return real(self, *of, cleared=False, bottom=bottom)

    return [patch.object(MapTable, "_entries", encoded)]


@mutant("a range of a layer includes its end", Maps)
def _end_included() -> Sequence[AbstractContextManager[object]]:
    def map_entries(
        layer: Layer, prefix: bytes, start: bytes | None, stop: bytes | None, *, reverse: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        return entries.map_entries(layer, prefix, start, None if stop is None else stop + b"\0", reverse=reverse)

    return [patch.object(map_table, "map_entries", map_entries)]


@mutant("a scan against the order begins one too far", Maps)
def _last_left_out() -> Sequence[AbstractContextManager[object]]:
    real = Layer.scan

    def scan(self: Layer, *of: Any, reverse: bool = False) -> Iterator[Entry]:
        rows = real(self, *of, reverse=reverse)
        if reverse:
            next(rows, None)
        return rows

    return [patch.object(Layer, "scan", scan)]


@mutant("of long keys with one digest the first is taken for all (T130)", OneDigest)
def _digest_is_enough() -> Sequence[AbstractContextManager[object]]:
    def slot_in(layer: Layer, before: bytes, part: bytes, *, of_map: bool) -> bytes | None:
        stem = before + entries.stem_of(part)
        found = next(layer.scan(stem), None)
        return None if found is None else found[0][: len(stem) + 1]

    return [patch.object(entries, "_slot_in", slot_in)]


# ---- merges and expiry -----------------------------------------------------------------------------------------------


@mutant("a merge keeps the older of two values", Rows)
def _older_kept() -> Sequence[AbstractContextManager[object]]:
    def merged(piece: Piece, layers: Sequence[Layer]) -> Iterator[Entry]:
        return _merge(piece, layers[::-1])

    return [patch.object(compaction, "_merged", merged)]


@mutant("a merge drops a tombstone above older layers", Rows)
def _tombstone_dropped() -> Sequence[AbstractContextManager[object]]:
    def merged(piece: Piece, layers: Sequence[Layer]) -> Iterator[Entry]:
        return _merge(replace(piece, bottom=True), layers)

    return [patch.object(compaction, "_merged", merged)]


@mutant("a merge drops a clear mark above older layers", Maps)
def _mark_dropped() -> Sequence[AbstractContextManager[object]]:
    def merged(*of: Any) -> Iterator[Entry]:
        return (entry for entry in _merge(*of) if entry[1][0] & KIND != CLEAR_MARK)

    return [patch.object(compaction, "_merged", merged)]


@mutant("a merge keeps what a clear mark hides", Maps)
def _mark_not_heeded() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(compaction, "CLEAR_MARK", None)]


@mutant("a merge takes in key groups that are another's (T134)", Rows)
def _other_groups_merged() -> Sequence[AbstractContextManager[object]]:
    def rows(piece: Piece, layer: Layer, age: int) -> Iterator[Any]:
        return compaction.canonical_rows(layer, layer.scan(piece.operator.to_bytes(2)), age)

    return [patch.object(compaction, "_rows", rows)]


@mutant("a merged layer takes the place of the old ones for other key groups too", Rows)
def _replaced_everywhere() -> Sequence[AbstractContextManager[object]]:
    real = LayerStack.replace

    def replace_all(self: LayerStack, old: Sequence[Layer], new: Layer | None, **_: Any) -> None:
        real(self, old, new)

    return [patch.object(LayerStack, "replace", replace_all)]


@mutant("long keys keep their slots in a merged layer (T130)", OneDigest)
def _slots_kept() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(compaction.NewSlots, "renumbered", lambda self, key, value: key)]


@mutant("a merge forgets expiry", Expiring)
def _nothing_expires() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(compaction, "expired", lambda value, now_us: False)]


@mutant("a value expires a moment early", Expiring)
def _expired_early() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(compaction, "expired", lambda value, now_us: entries.expired(value, now_us + 1))]


@mutant("a value that expires uncovers an older one", Expiring)
def _older_uncovered() -> Sequence[AbstractContextManager[object]]:
    real, gone = layer_builder.runs_of, b""

    def runs(merged: Iterable[Entry]) -> Iterator[list[Entry]]:
        return real(entry for entry in merged if entry[1] is not gone)

    return [patch.object(compaction, "as_tombstone", lambda value: gone), patch.object(layer_builder, "runs_of", runs)]


# ---- restores with more or fewer subtasks ----------------------------------------------------------------------------


@mutant("a restore has the oldest layer on top", Rows)
def _restored_upside_down() -> Sequence[AbstractContextManager[object]]:
    def covering(key_groups: KeyGroupRange, runs: Iterable[Any] = ()) -> LayerStack:
        return _covering(key_groups, [(groups, layers[::-1]) for groups, layers in runs])

    return [patch.object(LayerStack, "covering", covering)]


@mutant("a merge of key groups forgets the stack of one owner", Rows)
def _one_owner_forgotten() -> Sequence[AbstractContextManager[object]]:
    def covering(key_groups: KeyGroupRange, runs: Iterable[Any] = ()) -> LayerStack:
        return _covering(key_groups, [run for run in runs if run[0].start <= key_groups.start])

    return [patch.object(LayerStack, "covering", covering)]


@mutant("after a merge of key groups all see the stack of the first owner", Rows)
def _first_owner_counts() -> Sequence[AbstractContextManager[object]]:
    def settle(self: LayerStack, runs: list[Any]) -> None:
        _settle(self, [(KeyGroupRange(runs[0][0].start, runs[-1][0].end), runs[0][1])])

    return [patch.object(LayerStack, "_settle", settle)]


@mutant("the first key group of a run is looked for in the run before", Rows)
def _run_before() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(stack, "bisect_right", bisect_left)]


@mutant("after a split a subtask reads the other half's key groups", Rows)
def _other_half_read() -> Sequence[AbstractContextManager[object]]:
    def stored_key(self: OperatorState) -> object:
        for _, layers in self.stack.runs():
            for layer in layers:
                entry = next(layer.scan(self._space.operator.to_bytes(2)), None)
                if entry is not None and take_apart(entry[1]).live[0] == VALUE:
                    whole = take_apart(entry[1]).key
                    return decode_key_at(whole or entry[0], 0 if whole else HEAD_BYTES)[0]
        return MISSING

    return [patch.object(OperatorState, "stored_key", stored_key)]


# ---- writing ---------------------------------------------------------------------------------------------------------


@mutant("what waited when the map was full is not put again", Maps)
def _not_put_again() -> Sequence[AbstractContextManager[object]]:
    def write(self: LayerBuilder, change: Any) -> None:
        try:
            with self._env.transaction(write=True) as txn:
                change(txn)
        except MapFullError:
            self._env.enlarge(4 * self._env.map_size)

    return [patch.object(LayerBuilder, "_write", write)]


@mutant("of a part that is longer than one run the rest is left out", Maps)
def _rest_left_out() -> Sequence[AbstractContextManager[object]]:
    real = LayerBuilder.add

    def add(self: LayerBuilder, run: list[Entry]) -> None:
        real(self, run[: layer_builder.SORT_ENTRIES_MAX - 1])

    return [patch.object(LayerBuilder, "add", add)]


@mutant("two freezes of one owner go into one file (T134)", Grouped)
def _freezes_share_a_file() -> Sequence[AbstractContextManager[object]]:
    real = writer._Submission.__init__

    def begin(self: Any, owner: object, parts: Any) -> None:
        real(self, object(), parts)

    return [patch.object(writer._Submission, "__init__", begin)]
