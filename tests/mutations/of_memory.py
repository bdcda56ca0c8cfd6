"""Bugs in what memory holds: rows, maps, what is handed out of them, and what a question is answered with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.api.job import Job
from actorstream.codec.ordered_keys import decode_key, encode_key
from actorstream.state import memtable
from actorstream.state.epochs import Epochs
from actorstream.state.map_changes import Change, MapEpoch
from actorstream.state.map_table import MapTable
from actorstream.state.memtable import RowTable
from actorstream.state.missing import ABSENT, MISSING
from actorstream.state.operator_state import OperatorState
from tests.mutations.entering import Area
from tests.state.machines import Maps, Rows, WideRows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from actorstream.state.map_changes import Found

AREA = Area("memory")


@AREA.in_state("a row that this epoch deleted is looked for below", Rows)
def _deleted_row_comes_back() -> Sequence[AbstractContextManager[object]]:
    real = RowTable.older

    def older(self: RowTable, key: object) -> object:
        tombstone = self.live.pop(key, ABSENT)
        row = real(self, key)
        if tombstone is not ABSENT:
            self.live.setdefault(key, tombstone)
        return row

    return [patch.object(RowTable, "older", older)]


@AREA.in_state("a row that is changed in place is not written (T135)", Rows)
def _row_not_dirty() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(RowTable, "_hand_out", lambda self, key, row, holder: row)]


@AREA.in_state("a row is changed in place while its snapshot waits to be encoded (T135)", Rows)
def _frozen_row_changed() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(RowTable, "_changeable", lambda self, holder: True)]


@AREA.in_state("a list in a tuple counts as immutable (T135)", WideRows)
def _shallow_look() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(memtable, "is_immutable", lambda value: not isinstance(value, (list, set, dict)))]


@AREA.in_state("clear_key forgets the row and keeps the maps", Maps)
def _maps_not_cleared() -> Sequence[AbstractContextManager[object]]:
    def clear_key(self: OperatorState, key: object) -> None:
        self.rows.live[key] = MISSING

    return [patch.object(OperatorState, "clear_key", clear_key)]


@AREA.in_state("a value of a map that is changed in place is not written (T135)", Maps)
def _map_value_not_dirty() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(MapTable, "_get", lambda self, key, map_key: self._look(key, map_key)[0])]


@AREA.in_state("a query is given the values themselves", Maps)
def _query_shares() -> Sequence[AbstractContextManager[object]]:
    def peek(self: MapTable, key: object) -> list[tuple[object, object]]:
        return [(decode_key(encoded), value) for encoded, value in self._merged(key, None, None, reverse=False)]

    return [patch.object(MapTable, "peek", peek)]


@AREA.in_state("a clear leaves what lies below", Maps)
def _clears_memory_only() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(MapTable, "clear", lambda self, key: self._discard(self.live, key, Change()))]


@AREA.in_state("a deleted map key comes back in iteration", Maps)
def _deleted_map_key_comes_back() -> Sequence[AbstractContextManager[object]]:
    real = Change.between

    def between(self: Change, start: bytes | None, stop: bytes | None) -> list[Found]:
        return [found for found in real(self, start, stop) if found[1] is not MISSING]

    return [patch.object(Change, "between", between)]


@AREA.in_state("iteration gives a map key twice that memory and a layer hold", Maps)
def _given_twice() -> Sequence[AbstractContextManager[object]]:
    real = MapTable._merged

    def merged(self: MapTable, key: object, *rest: Any, reverse: bool) -> Iterator[tuple[bytes, object]]:
        for map_key, value in real(self, key, *rest, reverse=reverse):
            yield map_key, value
            if key in self.live and map_key in self.live[key].entries and self._load(key, map_key) is not MISSING:
                yield map_key, value

    return [patch.object(MapTable, "_merged", merged)]


@AREA.in_state("a range in memory leaves its first bound out", Maps)
def _first_left_out() -> Sequence[AbstractContextManager[object]]:
    real = Change.between

    def between(self: Change, start: bytes | None, stop: bytes | None) -> list[Found]:
        return [found for found in real(self, start, stop) if found[0] != start]

    return [patch.object(Change, "between", between)]


@AREA.in_state("a map key that is set after a scan is not in the next one", Maps)
def _order_out_of_date() -> Sequence[AbstractContextManager[object]]:
    def put(self: MapEpoch, key: object, map_key: bytes, value: object) -> None:
        change = self.get(key) or self.begin(key)
        self.entries += map_key not in change.entries
        change.entries[map_key] = value

    return [patch.object(MapEpoch, "put", put)]


@AREA.in_state("a walk goes on through a map that has lost a key", Maps)
def _walk_not_stopped() -> Sequence[AbstractContextManager[object]]:
    def delete(self: MapTable, key: object, map_key: object) -> None:
        self.live.put(key, encode_key(map_key), MISSING)

    return [patch.object(MapTable, "delete", delete)]


@AREA.in_state("a walk gives what a value was when it began", Maps)
def _walk_not_told() -> Sequence[AbstractContextManager[object]]:
    real = MapTable.set

    def set_quietly(self: MapTable, key: object, map_key: object, value: object) -> None:
        edits = self._edits
        real(self, key, map_key, value)
        self._edits = edits

    return [patch.object(MapTable, "set", set_quietly)]


@AREA.in_jobs(
    "a value of a waiting snapshot is handed out uncopied (T135)",
    job="exchanges",
    call_delay=0.1,
    early_freezes=0.2,
    timeout=60.0,
)
def _uncopied() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(Epochs, "_changeable", lambda self, holder: True)]


@AREA.in_jobs("a value changed in place is not written (T135)", job="in-place")
def _in_place() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(RowTable, "_hand_out", lambda self, key, row, holder: row)]


@AREA.in_jobs("a map's value changed in place is not written (T135)")
def _in_place_in_map() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(MapTable, "_get", lambda self, key, map_key: self._look(key, map_key)[0])]


@AREA.in_topologies("a question is answered from what was frozen last", "query", tail="table", poison=False)
def _stale() -> Sequence[AbstractContextManager[object]]:
    real = Job.get
    known: dict[object, object] = {}

    async def get(self: Job, of: Any, key: Any, /, **given: Any) -> Any:
        answer = await real(self, of, key, **given)
        return known.setdefault((id(self), key), answer)

    return [patch.object(Job, "get", get)]


@AREA.in_topologies("a question is answered while the attempt's state is let go", "query", tail="table", poison=False)
def _let_go() -> Sequence[AbstractContextManager[object]]:
    real = RowTable.peek
    asked = [0]

    def peek(self: RowTable, key: Any) -> Any:
        asked[0] += 1
        return MISSING if asked[0] % 9 == 0 else real(self, key)

    return [patch.object(RowTable, "peek", peek)]
