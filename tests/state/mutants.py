"""Bugs in what memory holds: rows and maps, epochs, generations, eviction, cold reads, the budget."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.codec.ordered_keys import decode_key, encode_key
from actorstream.state import budget, memtable
from actorstream.state.budget import Budget
from actorstream.state.cold_read import ColdRead
from actorstream.state.epochs import Epochs, Part
from actorstream.state.map_changes import Change, MapEpoch
from actorstream.state.map_table import MapTable
from actorstream.state.memtable import RowTable
from actorstream.state.missing import ABSENT, MISSING
from actorstream.state.operator_state import Generation, OperatorState
from tests.state.machines import Maps, Rows, WideRows
from tests.state.mutation import mutant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from actorstream.state.layer import Layer
    from actorstream.state.map_changes import Found


# ---- rows ------------------------------------------------------------------------------------------------------------


@mutant("a row that this epoch deleted is looked for below", Rows)
def _deleted_row_comes_back() -> Sequence[AbstractContextManager[object]]:
    real = RowTable.older

    def older(self: RowTable, key: object) -> object:
        tombstone = self.live.pop(key, ABSENT)
        row = real(self, key)
        if tombstone is not ABSENT:
            self.live.setdefault(key, tombstone)
        return row

    return [patch.object(RowTable, "older", older)]


@mutant("a row that is changed in place is not written (T135)", Rows)
def _row_not_dirty() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(RowTable, "_hand_out", lambda self, key, row, holder: row)]


@mutant("a row is changed in place while its snapshot waits to be encoded (T135)", Rows)
def _frozen_row_changed() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(RowTable, "_changeable", lambda self, holder: True)]


@mutant("a list in a tuple counts as immutable (T135)", WideRows)
def _shallow_look() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(memtable, "is_immutable", lambda value: not isinstance(value, (list, set, dict)))]


@mutant("a tombstone that settles leaves the older clean row", Rows)
def _tombstone_settles_nothing() -> Sequence[AbstractContextManager[object]]:
    def settle_from(self: RowTable, oldest: dict[object, object], limit: int, *, keep: bool) -> int:
        for count in range(limit):
            if not oldest:
                return count
            key, row = oldest.popitem()
            if keep and row is not MISSING:
                self.clean[key] = row
            for rows in self._aged:
                rows.pop(key, None)
        return limit

    return [patch.object(RowTable, "_settle_from", settle_from)]


@mutant("a row that settles leaves the older aged one", Rows)
def _settles_beside_aged() -> Sequence[AbstractContextManager[object]]:
    real = RowTable._settle_from

    def settle_from(self: RowTable, oldest: dict[object, object], limit: int, *, keep: bool) -> int:
        with patch.object(self, "_aged", []):
            return real(self, oldest, limit, keep=keep)

    return [patch.object(RowTable, "_settle_from", settle_from)]


@mutant("clear_key forgets the row and keeps the maps", Maps)
def _maps_not_cleared() -> Sequence[AbstractContextManager[object]]:
    def clear_key(self: OperatorState, key: object) -> None:
        self.rows.live[key] = MISSING

    return [patch.object(OperatorState, "clear_key", clear_key)]


# ---- maps ------------------------------------------------------------------------------------------------------------


@mutant("a value of a map that is changed in place is not written (T135)", Maps)
def _map_value_not_dirty() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(MapTable, "_get", lambda self, key, map_key: self._look(key, map_key)[0])]


@mutant("a query is given the values themselves", Maps)
def _query_shares() -> Sequence[AbstractContextManager[object]]:
    def peek(self: MapTable, key: object) -> list[tuple[object, object]]:
        return [(decode_key(encoded), value) for encoded, value in self._merged(key, None, None, reverse=False)]

    return [patch.object(MapTable, "peek", peek)]


@mutant("a clear leaves what lies below", Maps)
def _clears_memory_only() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(MapTable, "clear", lambda self, key: self._discard(self.live, key, Change()))]


@mutant("a deleted map key comes back in iteration", Maps)
def _deleted_map_key_comes_back() -> Sequence[AbstractContextManager[object]]:
    real = Change.between

    def between(self: Change, start: bytes | None, stop: bytes | None) -> list[Found]:
        return [found for found in real(self, start, stop) if found[1] is not MISSING]

    return [patch.object(Change, "between", between)]


@mutant("iteration gives a map key twice that memory and a layer hold", Maps)
def _given_twice() -> Sequence[AbstractContextManager[object]]:
    real = MapTable._merged

    def merged(self: MapTable, key: object, *rest: Any, reverse: bool) -> Iterator[tuple[bytes, object]]:
        for map_key, value in real(self, key, *rest, reverse=reverse):
            yield map_key, value
            if key in self.live and map_key in self.live[key].entries and self._load(key, map_key) is not MISSING:
                yield map_key, value

    return [patch.object(MapTable, "_merged", merged)]


@mutant("a range in memory leaves its first bound out", Maps)
def _first_left_out() -> Sequence[AbstractContextManager[object]]:
    real = Change.between

    def between(self: Change, start: bytes | None, stop: bytes | None) -> list[Found]:
        return [found for found in real(self, start, stop) if found[0] != start]

    return [patch.object(Change, "between", between)]


@mutant("a map key that is set after a scan is not in the next one", Maps)
def _order_out_of_date() -> Sequence[AbstractContextManager[object]]:
    def put(self: MapEpoch, key: object, map_key: bytes, value: object) -> None:
        change = self.get(key) or self.begin(key)
        self.entries += map_key not in change.entries
        change.entries[map_key] = value

    return [patch.object(MapEpoch, "put", put)]


@mutant("a walk goes on through a map that has lost a key", Maps)
def _walk_not_stopped() -> Sequence[AbstractContextManager[object]]:
    def delete(self: MapTable, key: object, map_key: object) -> None:
        self.live.put(key, encode_key(map_key), MISSING)

    return [patch.object(MapTable, "delete", delete)]


@mutant("a walk gives what a value was when it began", Maps)
def _walk_not_told() -> Sequence[AbstractContextManager[object]]:
    real = MapTable.set

    def set_quietly(self: MapTable, key: object, map_key: object, value: object) -> None:
        edits = self._edits
        real(self, key, map_key, value)
        self._edits = edits

    return [patch.object(MapTable, "set", set_quietly)]


@mutant("a clear that settles leaves the clean entries", Maps)
def _clear_settles_nothing() -> Sequence[AbstractContextManager[object]]:
    real = MapTable._discard

    def discard(self: MapTable, epoch: MapEpoch, key: object, new: Change | None = None) -> None:
        if new is not None:
            real(self, epoch, key, new)

    return [patch.object(MapTable, "_discard", discard)]


# ---- generations -----------------------------------------------------------------------------------------------------


@mutant("the next epoch goes on in the frozen dict", Rows)
def _live_shared() -> Sequence[AbstractContextManager[object]]:
    real = Epochs.freeze

    def freeze(self: RowTable) -> Part[Any] | None:
        part = real(self)
        if part is not None:
            self.live = part.newest
        return part

    return [patch.object(RowTable, "freeze", freeze)]


@mutant("a tombstone is dropped while an older generation waits", Rows)
def _dropped_above_waiting() -> Sequence[AbstractContextManager[object]]:
    real = OperatorState.freeze

    def freeze(self: OperatorState) -> Generation | None:
        generation = real(self)
        if generation is not None:
            generation._bottom = not self.stack.layers
        return generation

    return [patch.object(OperatorState, "freeze", freeze)]


@mutant("what was encoded over the limit is lost", WideRows)
def _surplus_lost() -> Sequence[AbstractContextManager[object]]:
    real = Generation._next

    def next_entries(self: Generation, limit: int) -> list[Any]:
        self._surplus = []
        return real(self, limit)

    return [patch.object(Generation, "_next", next_entries)]


@mutant("a failed write forgets its entries", Maps)
def _failed_write_forgotten() -> Sequence[AbstractContextManager[object]]:
    def on_write_failed(self: Epochs[Any], part: Part[Any]) -> None:
        self._frozen.remove(part)
        self._stack_up()

    return [patch.object(Epochs, "on_write_failed", on_write_failed)]


@mutant("a failed write leaves newer generations on their way", Rows)
def _newer_go_on() -> Sequence[AbstractContextManager[object]]:
    def on_write_failed(self: OperatorState, generation: Generation) -> None:
        if generation in self._waiting:
            generation.take_back()
            self._waiting.remove(generation)

    return [patch.object(OperatorState, "on_write_failed", on_write_failed)]


@mutant("of two failed writes the older counts", Rows)
def _older_returned_first() -> Sequence[AbstractContextManager[object]]:
    def on_write_failed(self: Epochs[Any], part: Part[Any]) -> None:
        self._frozen.remove(part)
        self._returned[:0] = part.dicts()
        self._stack_up()

    return [patch.object(Epochs, "on_write_failed", on_write_failed)]


@mutant("a row whose write failed comes over a newer one when it goes out again", Rows)
def _failed_row_over_newer() -> Sequence[AbstractContextManager[object]]:
    def revive(part: Part[Any], limit: int, keys: list[object], rows: list[object]) -> None:
        while part.returned and limit:
            if not part.returned[0]:
                part.returned.pop(0)
                continue
            key, part.newest[key] = part.returned[0].popitem()
            limit -= 1
            keys.append(key)
            rows.append(part.newest[key])

    return [patch.object(RowTable, "_revive", staticmethod(revive))]


@mutant("entries of a map whose write failed come over a newer clear", Maps)
def _failed_entries_over_clear() -> Sequence[AbstractContextManager[object]]:
    real = MapTable._revive

    def revive(newest: MapEpoch, key: object, newer: Any, failed: MapEpoch, change: Change) -> Any:
        return real(newest, key, SimpleNamespace(cleared=False, entries=newer.entries), failed, change)  # type: ignore[arg-type]

    return [patch.object(MapTable, "_revive", staticmethod(revive))]


@mutant("a clear whose write failed hides nothing when its entries have gone out again", Maps)
def _failed_clear_forgotten() -> Sequence[AbstractContextManager[object]]:
    real = MapTable._revive

    def revive(newest: MapEpoch, key: object, newer: Change, failed: MapEpoch, change: Change) -> Any:
        change.cleared = False
        return real(newest, key, newer, failed, change)

    return [patch.object(MapTable, "_revive", staticmethod(revive))]


@mutant("a generation comes to the stack before an older one", Rows)
def _order_not_kept() -> Sequence[AbstractContextManager[object]]:
    real = OperatorState.on_written

    def on_written(self: OperatorState, generation: Generation, layer: Layer | None) -> None:
        if generation in self._waiting:
            self._waiting.remove(generation)
            self._waiting.insert(0, generation)
        real(self, generation, layer)

    return [patch.object(OperatorState, "on_written", on_written)]


@mutant("a generation that was taken back comes to the stack all the same", Rows)
def _late_layer_pushed() -> Sequence[AbstractContextManager[object]]:
    real = OperatorState.on_written

    def on_written(self: OperatorState, generation: Generation, layer: Layer | None) -> None:
        if generation.failed and layer is not None:
            self.stack.push(layer)
        real(self, generation, layer)

    return [patch.object(OperatorState, "on_written", on_written)]


# ---- eviction, cold reads, the budget --------------------------------------------------------------------------------


@mutant("eviction drops what was written and not frozen", Maps)
def _live_evicted() -> Sequence[AbstractContextManager[object]]:
    real = Epochs.evict

    def evict(self: Epochs[Any], limit: int) -> int:
        return real(self, limit) or self._drop_from(self.live, limit)

    return [patch.object(Epochs, "evict", evict)]


@mutant("eviction drops what was encoded and is not in a layer", Rows)
def _frozen_evicted() -> Sequence[AbstractContextManager[object]]:
    real = Epochs.evict

    def evict(self: Epochs[Any], limit: int) -> int:
        return real(self, limit) or sum(self._drop_from(part.newest, limit) for part in self._frozen if part.encoded)

    return [patch.object(Epochs, "evict", evict)]


@mutant("an aged row that is read is aged and clean", Rows)
def _aged_and_clean() -> Sequence[AbstractContextManager[object]]:
    real = RowTable._fetch

    def fetch(self: RowTable, key: object) -> object:
        kept = [(rows, rows[key]) for rows in self._aged if key in rows]
        row = real(self, key)
        for rows, again in kept:
            rows[key] = again
        return row

    return [patch.object(RowTable, "_fetch", fetch)]


@mutant("a cold read overwrites what memory holds", Rows)
def _cold_read_overwrites() -> Sequence[AbstractContextManager[object]]:
    return [
        patch.object(RowTable, "in_memory", lambda self, key: False),
        patch.object(ColdRead, "on_freeze", lambda self: None),
    ]


@mutant("a cold read does not heed what was written and has left memory since", Rows)
def _cold_read_out_of_date() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(ColdRead, "on_freeze", lambda self: None)]


@mutant("what a cold read did not find is absent for ever", Rows)
def _absent_for_ever() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(RowTable, "freeze", Epochs.freeze)]


@mutant("three generations wait", Rows)
def _three_wait() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(budget, "WAITING_MAX", 3)]


@mutant("what a state took is counted when it has left the budget", Rows)
def _counted_for_ever() -> Sequence[AbstractContextManager[object]]:
    def leave(self: Budget, state: OperatorState) -> None:
        self._members.pop(state)
        self._moved.pop(state, None)
        state.join(None)

    return [patch.object(Budget, "leave", leave)]
