"""Bugs on the way of records and in what is remembered of them: lanes, sources, snapshots, state."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.model.batch import Batch
from actorstream.model.key_groups import KeyGroupRange
from actorstream.operators.step_text import Lists
from actorstream.runtime.chain_runner import ChainRunner
from actorstream.runtime.mailbox import Lane, Mailbox
from actorstream.runtime.messages import SnapshotReport, SplitPosition
from actorstream.runtime.snapshots import Snapshots
from actorstream.runtime.source import SourceSubtask
from actorstream.state.epochs import Epochs, Part
from actorstream.state.map_table import MapTable
from actorstream.state.memtable import RowTable
from actorstream.state.stack import LayerStack
from actorstream.testing.session import Session
from tests.simulation.mutation import mutant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer
    from actorstream.state.operator_state import Generation


# -- alignment and lanes -----------------------------------------------------------------------------------------------

_MANY_LANES: dict[str, Any] = {"job": "union", "interval": 0.02, "timeout": 60.0, "pause": 0.004, "early_freezes": 0.0}


@mutant("a blocked channel is not blocked", **_MANY_LANES)
def _not_blocked() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(Mailbox, "block", lambda self, channel: None)]


def _on_unblock(change: Callable[[Lane[Any], list[int]], None]) -> Sequence[AbstractContextManager[object]]:
    real = Mailbox.unblock

    def unblock(self: Mailbox[Any, Any], channels: Any) -> None:
        for channel in channels:
            lane = self.lanes[channel]
            change(lane, [at for at, item in enumerate(lane.items) if isinstance(item, Batch)])
        real(self, channels)

    return [patch.object(Mailbox, "unblock", unblock)]


@mutant("an item that waited in a blocked lane is lost", **_MANY_LANES)
def _lost() -> Sequence[AbstractContextManager[object]]:
    def lose(lane: Lane[Any], batches: list[int]) -> None:
        if batches:
            del lane.items[batches[-1]]
            del lane._costs[batches[-1]]

    return _on_unblock(lose)


@mutant("items that waited in a blocked lane are reordered", **_MANY_LANES)
def _reordered() -> Sequence[AbstractContextManager[object]]:
    def swap(lane: Lane[Any], batches: list[int]) -> None:
        for first, second in itertools.pairwise(batches):
            if second == first + 1:
                lane.items[first], lane.items[second] = lane.items[second], lane.items[first]
                return

    return _on_unblock(swap)


# -- sources -----------------------------------------------------------------------------------------------------------


@mutant("the position is that of the last record fetched, not emitted (T99)", pause=0.0)
def _position_of_fetched() -> Sequence[AbstractContextManager[object]]:
    real = SourceSubtask.report

    def report(self: SourceSubtask) -> SnapshotReport:
        found = real(self)
        positions = dict(found.positions)
        for split, lane in zip(self._splits, self.mailbox.lanes, strict=True):
            fetched = [item.fetched.position for item in lane.items if hasattr(item, "fetched")]
            if fetched:
                positions[split] = SplitPosition(fetched[-1], finished=False)
        return replace(found, positions=positions)

    return [patch.object(SourceSubtask, "report", report)]


@mutant(
    "a barrier comes between emission and position",
    job="exchanges",
    interval=0.02,
    lane_records=1,
    pause=0.0,
    timeout=60.0,
)
def _between() -> Sequence[AbstractContextManager[object]]:
    real = SourceSubtask._on_item

    async def on_item(self: SourceSubtask, channel: Any, item: Any) -> None:
        work = self.runner.work

        async def work_and_serve(batch: Batch) -> None:
            await work(batch)
            while self.mailbox.control:
                await self._on_control(self.mailbox.control.popleft())

        with patch.object(self.runner, "work", work_and_serve):
            await real(self, channel, item)

    return [patch.object(SourceSubtask, "_on_item", on_item)]


_IN_MEMORY: dict[str, Any] = {"in_memory": True, "live": False, "interval": 0.02, "pause": 0.02, "timeout": 60.0}


async def _serve(source: SourceSubtask) -> None:
    while source.mailbox.control:
        await source._on_control(source.mailbox.control.popleft())


def _on_take(take: Callable[..., Any]) -> Sequence[AbstractContextManager[object]]:
    """Have `take(source, split, taken, do)` carry out one piece of a split in memory."""
    real = SourceSubtask._take

    async def mutated(self: SourceSubtask, channel: Any, split: str) -> None:
        do = self.runner.piece

        async def piece(batch: Batch, start: int, count: int) -> None:
            assert batch.origin is not None
            await take(self, split, batch.origin[1], lambda: do(batch, start, count))

        with patch.object(self.runner, "piece", piece):
            await real(self, channel, split)

    return [patch.object(SourceSubtask, "_take", mutated)]


@mutant("in memory, the position is advanced before its piece is done, where a barrier can come", **_IN_MEMORY)
def _position_first() -> Sequence[AbstractContextManager[object]]:
    async def take(source: SourceSubtask, split: str, position: Any, do: Callable[[], Any]) -> None:
        source.positions[split] = SplitPosition(position, finished=False)
        await asyncio.sleep(0.001)  # as where credit is waited for
        await _serve(source)
        await do()

    return _on_take(take)


@mutant("in memory, a barrier comes between a piece and its position", **_IN_MEMORY)
def _between_piece_and_position() -> Sequence[AbstractContextManager[object]]:
    async def take(source: SourceSubtask, split: str, position: Any, do: Callable[[], Any]) -> None:
        await do()
        await _serve(source)

    return _on_take(take)


# -- a key in the middle of a chain ------------------------------------------------------------------------------------

_ALONE: dict[str, Any] = {"job": "around", "sessions": (Session(1, stop_after=0.12), Session(1, power=True))}


@mutant("the part after the key is run twice for what was fetched", **_ALONE)
def _after_key_twice() -> Sequence[AbstractContextManager[object]]:
    real = ChainRunner._before_key

    async def before_key(self: ChainRunner, *piece: Any, timed: bool) -> tuple[float, Lists]:
        seconds, lists = await real(self, *piece, timed=timed)
        compiled = self._step_for("after key", timed=timed)
        results = compiled.step.run(lists.values, lists.keys, lists.timestamps, lists.marks, 0, len(lists.values))
        await self._deliver(compiled, results)
        return seconds, lists

    return [patch.object(ChainRunner, "_before_key", before_key)]


@mutant("what the part before the key gives to others is lost", **_ALONE)
def _before_key_not_delivered() -> Sequence[AbstractContextManager[object]]:
    real_deliver, real_before = ChainRunner._deliver, ChainRunner._before_key

    async def nothing(self: ChainRunner, compiled: Any, results: Any) -> None:
        """Lose it."""

    async def before_key(self: ChainRunner, *piece: Any, timed: bool) -> tuple[float, Lists]:
        with patch.object(ChainRunner, "_deliver", nothing):
            return await real_before(self, *piece, timed=timed)

    return [patch.object(ChainRunner, "_before_key", before_key), patch.object(ChainRunner, "_deliver", real_deliver)]


@mutant("the chain is done whole after its part before the key", **_ALONE)
def _whole_after_part() -> Sequence[AbstractContextManager[object]]:
    real = ChainRunner._before_key

    async def before_key(
        self: ChainRunner, values: Any, timestamps: Any, marks: Any, start: int, count: int, *, timed: bool
    ) -> Lists:
        await real(self, values, timestamps, marks, start, count, timed=timed)
        whole = self._step_for("whole", timed=timed)
        await self._deliver(whole, whole.step.run(values, None, timestamps, marks, start, count))
        return Lists([], [], None)

    return [patch.object(ChainRunner, "_before_key", before_key)]


# -- snapshots and state -----------------------------------------------------------------------------------------------


@mutant("a snapshot shares the dict of the next epoch", early_freezes=0.0, job="keyed", call_delay=0.05)
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


@mutant(
    "a value of a waiting snapshot is handed out uncopied (T135)",
    job="exchanges",
    call_delay=0.1,
    early_freezes=0.02,
    timeout=60.0,
)
def _uncopied() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(Epochs, "_changeable", lambda self, holder: True)]


@mutant("a value changed in place is not written (T135)", job="in-place")
def _in_place() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(RowTable, "_hand_out", lambda self, key, row, holder: row)]


@mutant("a map's value changed in place is not written (T135)")
def _in_place_in_map() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(MapTable, "_get", lambda self, key, map_key: self._look(key, map_key)[0])]


@mutant(
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


@mutant("two freezes of one subtask share a file (T134)", early_freezes=0.004)
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
