"""Bugs in what is on disk: stacks of layers, filters, long keys, clear marks, and how layers are written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.model.key_groups import KeyGroupRange
from actorstream.runtime.snapshots import Snapshots
from actorstream.state import entries, layer_builder, map_table, stack, writer
from actorstream.state.filters import FilterBuilder
from actorstream.state.layer import Layer
from actorstream.state.layer_builder import LayerBuilder
from actorstream.state.lmdb_env import MapFullError
from actorstream.state.map_table import MapTable
from actorstream.state.stack import LayerStack, PinnedStack
from tests.mutations.entering import Area
from tests.state.machines import Grouped, Maps, OneDigest, Rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from actorstream.runtime.messages import SnapshotReport
    from actorstream.state.entries import Entry
    from actorstream.state.operator_state import Generation

AREA = Area("layers")


@AREA.in_jobs(
    "layers are visible to the whole job (T134)",
    job="in-place",
    early_freezes=0.002,
    call_delay=0.03,
    interval=0.06,
    timeout=60.0,
)
def _job_wide() -> Sequence[AbstractContextManager[object]]:
    real = LayerStack.covering.__func__  # type: ignore[attr-defined]
    every: dict[str, Layer] = {}

    def covering(cls: type[LayerStack], key_groups: KeyGroupRange, runs: Any = ()) -> LayerStack:
        for _, layers in runs:
            every.update({layer.file.name: layer for layer in layers if not layer.closed})
        known = sorted((layer for layer in every.values() if not layer.closed), key=_age, reverse=True)
        stack: LayerStack = real(cls, key_groups, [(KeyGroupRange(key_groups.start, key_groups.end), known)])
        return stack

    return [patch.object(LayerStack, "covering", classmethod(covering))]


def _age(layer: Layer) -> tuple[int, int]:
    attempt, _, number = layer.file.name.removesuffix(".lmdb").split("-")
    return int(attempt), int(number)


@AREA.in_jobs("two freezes of one subtask share a file (T134)", early_freezes=0.004)
def _two_freezes() -> Sequence[AbstractContextManager[object]]:
    real_finish = Snapshots._finish
    shared: dict[int, Layer] = {}

    def encode(self: Snapshots, generation: Generation) -> list[list[Entry]]:
        entries: dict[bytes, bytes] = {}
        later = [frozen.generation for frozen in list(self._queue)[1:]]
        for each in (generation, *later):
            while each is not None and not each.encoded:
                entries.update(each.encode(250))
        return [list(entries.items())]

    async def finish(self: Snapshots, frozen: Any) -> SnapshotReport:
        state, generation = self._state, frozen.generation
        if state is None or generation is None:
            return await real_finish(self, frozen)
        if generation.encoded:  # its entries are in the file of the one before
            layer = shared.pop(id(self))
        else:
            await self._pace.offload.run(dict)  # as turns pass while a large one is encoded
            layer = await self._writer.write(self._subtask, encode(self, generation))
        if any(later.generation is not None and later.generation.encoded for later in list(self._queue)[1:]):
            layer.retain()
            shared[id(self)] = layer
        if generation.entries:
            state.on_written(generation, layer)
        else:
            state.on_written(generation, None)
            layer.release()
        report: SnapshotReport = frozen.report
        return replace(report, stacks=tuple((run, tuple(layers)) for run, layers in state.stack.runs()))

    return [patch.object(Snapshots, "_finish", finish)]


@AREA.in_state("a new layer comes below the others", Rows)
def _pushed_below() -> Sequence[AbstractContextManager[object]]:
    def push(self: LayerStack, layer: Layer) -> None:
        self._settle([(groups, (*layers, layer)) for groups, layers in self._runs])

    return [patch.object(LayerStack, "push", push)]


@AREA.in_state("a scan prefers the older of two layers", Maps)
def _older_scanned_first() -> Sequence[AbstractContextManager[object]]:
    real = MapTable._scans

    def scans(self: MapTable, *of: Any, reverse: bool) -> Iterator[Any]:
        return reversed(list(real(self, *of, reverse=reverse)))

    return [patch.object(MapTable, "_scans", scans)]


@AREA.in_state("a cold read takes the row of the oldest layer", Rows)
def _oldest_read() -> Sequence[AbstractContextManager[object]]:
    def read(layers: Sequence[Layer], asked: list[bytes], found: dict[bytes, bytes]) -> None:
        for layer in layers:
            found.update(layer.get_sorted(sorted(asked)))

    return [patch.object(stack, "_read", read)]


@AREA.in_state("a cold read does not keep its layers open", Rows)
def _not_pinned() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(LayerStack, "pin", lambda self: PinnedStack(self._runs, ()))]


@AREA.in_state("a cold read never lets its layers go", Rows)
def _pinned_for_ever() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(PinnedStack, "release", lambda self: None)]


@AREA.in_state("a filter says of a key that is there that it is not", Rows)
def _not_in_filter() -> Sequence[AbstractContextManager[object]]:
    real = FilterBuilder.add

    def add(self: FilterBuilder, run: Sequence[Entry]) -> None:
        real(self, run[1:])

    return [patch.object(FilterBuilder, "add", add)]


@AREA.in_state("a clear mark does not hide what older layers hold", Maps)
def _mark_hides_nothing() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(MapTable, "_has_clear_mark", lambda self, layer, head, part: False)]


@AREA.in_state("a clear is not written", Maps)
def _mark_not_written() -> Sequence[AbstractContextManager[object]]:
    real = MapTable._entries

    def encoded(self: MapTable, *of: Any, cleared: bool, bottom: bool) -> Iterator[Entry | None]:
        return real(self, *of, cleared=False, bottom=bottom)

    return [patch.object(MapTable, "_entries", encoded)]


@AREA.in_state("a range of a layer includes its end", Maps)
def _end_included() -> Sequence[AbstractContextManager[object]]:
    def map_entries(
        layer: Layer, prefix: bytes, start: bytes | None, stop: bytes | None, *, reverse: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        return entries.map_entries(layer, prefix, start, None if stop is None else stop + b"\0", reverse=reverse)

    return [patch.object(map_table, "map_entries", map_entries)]


@AREA.in_state("a scan against the order begins one too far", Maps)
def _last_left_out() -> Sequence[AbstractContextManager[object]]:
    real = Layer.scan

    def scan(self: Layer, *of: Any, reverse: bool = False) -> Iterator[Entry]:
        rows = real(self, *of, reverse=reverse)
        if reverse:
            next(rows, None)
        return rows

    return [patch.object(Layer, "scan", scan)]


@AREA.in_state("of long keys with one digest the first is taken for all (T130)", OneDigest)
def _digest_is_enough() -> Sequence[AbstractContextManager[object]]:
    def slot_in(layer: Layer, before: bytes, part: bytes, *, of_map: bool) -> bytes | None:
        stem = before + entries.stem_of(part)
        found = next(layer.scan(stem), None)
        return None if found is None else found[0][: len(stem) + 1]

    return [patch.object(entries, "_slot_in", slot_in)]


@AREA.in_state("what waited when the map was full is not put again", Maps)
def _not_put_again() -> Sequence[AbstractContextManager[object]]:
    def write(self: LayerBuilder, change: Any) -> None:
        try:
            with self._env.transaction(write=True) as txn:
                change(txn)
        except MapFullError:
            self._env.enlarge(4 * self._env.map_size)

    return [patch.object(LayerBuilder, "_write", write)]


@AREA.in_state("of a part that is longer than one run the rest is left out", Maps)
def _rest_left_out() -> Sequence[AbstractContextManager[object]]:
    real = LayerBuilder.add

    def add(self: LayerBuilder, run: list[Entry]) -> None:
        real(self, run[: layer_builder.SORT_ENTRIES_MAX - 1])

    return [patch.object(LayerBuilder, "add", add)]


@AREA.in_state("two freezes of one owner go into one file (T134)", Grouped)
def _freezes_share_a_file() -> Sequence[AbstractContextManager[object]]:
    real = writer._Submission.__init__

    def begin(self: Any, owner: object, parts: Any) -> None:
        real(self, object(), parts)

    return [patch.object(writer._Submission, "__init__", begin)]
