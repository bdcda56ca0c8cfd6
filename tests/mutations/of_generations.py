"""Bugs in what becomes of memory at a freeze: generations, writes that fail, eviction, cold reads, the budget."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.state import budget
from actorstream.state.budget import Budget
from actorstream.state.cold_read import ColdRead
from actorstream.state.epochs import Epochs, Part
from actorstream.state.map_table import MapTable
from actorstream.state.memtable import RowTable
from actorstream.state.missing import MISSING
from actorstream.state.operator_state import Generation, OperatorState
from tests.mutations.entering import Area
from tests.state.machines import Maps, Rows, WideRows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from actorstream.state.layer import Layer
    from actorstream.state.map_changes import Change, MapEpoch

AREA = Area("generations")


@AREA.in_state("the next epoch goes on in the frozen dict", Rows)
def _live_shared() -> Sequence[AbstractContextManager[object]]:
    real = Epochs.freeze

    def freeze(self: RowTable) -> Part[Any] | None:
        part = real(self)
        if part is not None:
            self.live = part.newest
        return part

    return [patch.object(RowTable, "freeze", freeze)]


@AREA.in_state("a tombstone is dropped while an older generation waits", Rows)
def _dropped_above_waiting() -> Sequence[AbstractContextManager[object]]:
    real = OperatorState.freeze

    def freeze(self: OperatorState) -> Generation | None:
        generation = real(self)
        if generation is not None:
            generation._bottom = not self.stack.layers
        return generation

    return [patch.object(OperatorState, "freeze", freeze)]


@AREA.in_state("what was encoded over the limit is lost", WideRows)
def _surplus_lost() -> Sequence[AbstractContextManager[object]]:
    real = Generation._next

    def next_entries(self: Generation, limit: int) -> list[Any]:
        self._surplus = []
        return real(self, limit)

    return [patch.object(Generation, "_next", next_entries)]


@AREA.in_state("a failed write forgets its entries", Maps)
def _failed_write_forgotten() -> Sequence[AbstractContextManager[object]]:
    def on_write_failed(self: Epochs[Any], part: Part[Any]) -> None:
        self._frozen.remove(part)
        self._stack_up()

    return [patch.object(Epochs, "on_write_failed", on_write_failed)]


@AREA.in_state("a failed write leaves newer generations on their way", Rows)
def _newer_go_on() -> Sequence[AbstractContextManager[object]]:
    def on_write_failed(self: OperatorState, generation: Generation) -> None:
        if generation in self._waiting:
            generation.take_back()
            self._waiting.remove(generation)

    return [patch.object(OperatorState, "on_write_failed", on_write_failed)]


@AREA.in_state("of two failed writes the older counts", Rows)
def _older_returned_first() -> Sequence[AbstractContextManager[object]]:
    def on_write_failed(self: Epochs[Any], part: Part[Any]) -> None:
        self._frozen.remove(part)
        self._returned[:0] = part.dicts()
        self._stack_up()

    return [patch.object(Epochs, "on_write_failed", on_write_failed)]


@AREA.in_state("a row whose write failed comes over a newer one when it goes out again", Rows)
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


@AREA.in_state("entries of a map whose write failed come over a newer clear", Maps)
def _failed_entries_over_clear() -> Sequence[AbstractContextManager[object]]:
    real = MapTable._revive

    def revive(newest: MapEpoch, key: object, newer: Any, failed: MapEpoch, change: Change) -> Any:
        return real(newest, key, SimpleNamespace(cleared=False, entries=newer.entries), failed, change)  # type: ignore[arg-type]

    return [patch.object(MapTable, "_revive", staticmethod(revive))]


@AREA.in_state("a clear whose write failed hides nothing when its entries have gone out again", Maps)
def _failed_clear_forgotten() -> Sequence[AbstractContextManager[object]]:
    real = MapTable._revive

    def revive(newest: MapEpoch, key: object, newer: Change, failed: MapEpoch, change: Change) -> Any:
        change.cleared = False
        return real(newest, key, newer, failed, change)

    return [patch.object(MapTable, "_revive", staticmethod(revive))]


@AREA.in_state("a generation comes to the stack before an older one", Rows)
def _order_not_kept() -> Sequence[AbstractContextManager[object]]:
    real = OperatorState.on_written

    def on_written(self: OperatorState, generation: Generation, layer: Layer | None) -> None:
        if generation in self._waiting:
            self._waiting.remove(generation)
            self._waiting.insert(0, generation)
        real(self, generation, layer)

    return [patch.object(OperatorState, "on_written", on_written)]


@AREA.in_state("a generation that was taken back comes to the stack all the same", Rows)
def _late_layer_pushed() -> Sequence[AbstractContextManager[object]]:
    real = OperatorState.on_written

    def on_written(self: OperatorState, generation: Generation, layer: Layer | None) -> None:
        if generation.failed and layer is not None:
            self.stack.push(layer)
        real(self, generation, layer)

    return [patch.object(OperatorState, "on_written", on_written)]


@AREA.in_state("a tombstone that settles leaves the older clean row", Rows)
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


@AREA.in_state("a row that settles leaves the older aged one", Rows)
def _settles_beside_aged() -> Sequence[AbstractContextManager[object]]:
    real = RowTable._settle_from

    def settle_from(self: RowTable, oldest: dict[object, object], limit: int, *, keep: bool) -> int:
        with patch.object(self, "_aged", []):
            return real(self, oldest, limit, keep=keep)

    return [patch.object(RowTable, "_settle_from", settle_from)]


@AREA.in_state("a clear that settles leaves the clean entries", Maps)
def _clear_settles_nothing() -> Sequence[AbstractContextManager[object]]:
    real = MapTable._discard

    def discard(self: MapTable, epoch: MapEpoch, key: object, new: Change | None = None) -> None:
        if new is not None:
            real(self, epoch, key, new)

    return [patch.object(MapTable, "_discard", discard)]


@AREA.in_state("eviction drops what was written and not frozen", Maps)
def _live_evicted() -> Sequence[AbstractContextManager[object]]:
    real = Epochs.evict

    def evict(self: Epochs[Any], limit: int) -> int:
        return real(self, limit) or self._drop_from(self.live, limit)

    return [patch.object(Epochs, "evict", evict)]


@AREA.in_state("eviction drops what was encoded and is not in a layer", Rows)
def _frozen_evicted() -> Sequence[AbstractContextManager[object]]:
    real = Epochs.evict

    def evict(self: Epochs[Any], limit: int) -> int:
        return real(self, limit) or sum(self._drop_from(part.newest, limit) for part in self._frozen if part.encoded)

    return [patch.object(Epochs, "evict", evict)]


@AREA.in_state("an aged row that is read is aged and clean", Rows)
def _aged_and_clean() -> Sequence[AbstractContextManager[object]]:
    real = RowTable._fetch

    def fetch(self: RowTable, key: object) -> object:
        kept = [(rows, rows[key]) for rows in self._aged if key in rows]
        row = real(self, key)
        for rows, again in kept:
            rows[key] = again
        return row

    return [patch.object(RowTable, "_fetch", fetch)]


@AREA.in_state("a cold read overwrites what memory holds", Rows)
def _cold_read_overwrites() -> Sequence[AbstractContextManager[object]]:
    return [
        patch.object(RowTable, "in_memory", lambda self, key: False),
        patch.object(ColdRead, "on_freeze", lambda self: None),
    ]


@AREA.in_state("a cold read does not heed what was written and has left memory since", Rows)
def _cold_read_out_of_date() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(ColdRead, "on_freeze", lambda self: None)]


@AREA.in_state("what a cold read did not find is absent for ever", Rows)
def _absent_for_ever() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(RowTable, "freeze", Epochs.freeze)]


@AREA.in_state("three generations wait", Rows)
def _three_wait() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(budget, "WAITING_MAX", 3)]


@AREA.in_state("what a state took is counted when it has left the budget", Rows)
def _counted_for_ever() -> Sequence[AbstractContextManager[object]]:
    def leave(self: Budget, state: OperatorState) -> None:
        self._members.pop(state)
        self._moved.pop(state, None)
        state.join(None)

    return [patch.object(Budget, "leave", leave)]


@AREA.in_jobs("a snapshot shares the dict of the next epoch", early_freezes=0.0, job="keyed", call_delay=0.05)
def _by_reference() -> Sequence[AbstractContextManager[object]]:
    def freeze(self: Epochs[Any]) -> Part[Any] | None:
        if not self.live and not self._returned:
            return None
        part = Part(self.live, self._returned)
        self._returned = []
        self._frozen.insert(0, part)
        self._stack_up()
        return part

    return [patch.object(Epochs, "freeze", freeze)]


@AREA.in_jobs("the state of a write that failed is forgotten", disk_fails=True)
def _state_of_failed_write_forgotten() -> Sequence[AbstractContextManager[object]]:
    def on_write_failed(self: OperatorState, generation: Generation) -> None:
        for lost in self._waiting[self._waiting.index(generation) :]:
            lost.failed = True
            for table, part in lost._parts:
                table.on_write_failed(part)
                table._returned.clear()
                table._stack_up()
            self._waiting.remove(lost)

    return [patch.object(OperatorState, "on_write_failed", on_write_failed)]
