"""Bugs that the simulation must find: each replaces one small method of the real code for the time of a session.

Most are the defects of history: records of a blocked channel let through, snapshots by reference, commits before the
manifest, missing syncs. A mutant says under which circumstances it can show at all (`fixed`, handed to `draw`).
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.checkpoints import directory as checkpoint_directory
from actorstream.checkpoints import put
from actorstream.checkpoints.lease import Lease
from actorstream.checkpoints.retention import Retirement
from actorstream.eventlog.ledger import Committed
from actorstream.eventlog.transaction import LogTransaction
from actorstream.model.batch import Batch
from actorstream.model.key_groups import KeyGroupRange
from actorstream.protocol.attempts import is_void
from actorstream.protocol.coordinator import Coordinator
from actorstream.runtime import building
from actorstream.runtime.mailbox import Lane, Mailbox
from actorstream.runtime.messages import AbortCheckpoint, SnapshotReport, SplitPosition
from actorstream.runtime.restoring import ManifestWriter
from actorstream.runtime.sinks import SinkPort
from actorstream.runtime.snapshots import Snapshots
from actorstream.runtime.source import SourceSubtask
from actorstream.runtime.subtask import Subtask
from actorstream.state.epochs import Epochs, Part
from actorstream.state.map_table import MapTable
from actorstream.state.memtable import RowTable
from actorstream.state.operator_state import OperatorState
from actorstream.state.stack import LayerStack
from actorstream.testing import faults
from actorstream.testing.disk import SimulatedDisk
from tests.simulation.running import Session, draw, run_plan
from tests.simulation.zombies import draw_zombie, run_zombie

if TYPE_CHECKING:
    from actorstream.checkpoints.retention import Holdings
    from actorstream.model.world import FileSystem
    from actorstream.protocol.attempts import Claim
    from actorstream.protocol.recovery import Decision, ManifestFact
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer
    from actorstream.state.operator_state import Generation


@dataclass(frozen=True)
class Mutant:
    """One bug. `apply` is entered around each session.

    Attributes:
        name: What is wrong.
        apply: Puts it in.
        fixed: What of a plan is not left to chance.
        zombie: It shows where two processes run the job.
        disk_fails: It shows where the disk fails often.
    """

    name: str
    apply: Callable[[], AbstractContextManager[object]]
    fixed: Mapping[str, object] = field(default_factory=dict)
    zombie: bool = False
    disk_fails: bool = False

    def run(self, seed: int) -> None:
        """Run one seed with the bug at work; BrokenPromiseError if it shows."""
        if self.zombie:
            run_zombie(replace(draw_zombie(seed), **self.fixed), self.apply)  # type: ignore[arg-type]
            return
        plan = draw(seed, **self.fixed)
        if self.disk_fails:
            failing = Session(plan.sessions[0].parallelism, failing="/layers")
            plan = replace(plan, sessions=[failing, failing, plan.sessions[-1]])
        run_plan(plan, self.apply)


MUTANTS: list[Mutant] = []
_Patches = Callable[[], Sequence[AbstractContextManager[object]]]


def _mutant(name: str, *, zombie: bool = False, disk_fails: bool = False, **fixed: object) -> Callable[[_Patches], _Patches]:
    """Enter a function that gives patches under `name`."""

    def enter(patches: _Patches) -> _Patches:
        @contextmanager
        def apply() -> Iterator[None]:
            with ExitStack() as stack:
                for each in patches():
                    stack.enter_context(each)
                yield

        MUTANTS.append(Mutant(name, apply, fixed, zombie, disk_fails))
        return patches

    return enter


# -- alignment and lanes -----------------------------------------------------------------------------------------------

_MANY_LANES = {"job": "union"}


@_mutant("a blocked channel is not blocked", **_MANY_LANES)
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


@_mutant("an item that waited in a blocked lane is lost", **_MANY_LANES)
def _lost() -> Sequence[AbstractContextManager[object]]:
    def lose(lane: Lane[Any], batches: list[int]) -> None:
        if batches:
            del lane.items[batches[-1]]
            del lane._costs[batches[-1]]

    return _on_unblock(lose)


@_mutant("items that waited in a blocked lane are reordered", **_MANY_LANES)
def _reordered() -> Sequence[AbstractContextManager[object]]:
    def swap(lane: Lane[Any], batches: list[int]) -> None:
        for first, second in zip(batches, batches[1:]):
            if second == first + 1:
                lane.items[first], lane.items[second] = lane.items[second], lane.items[first]
                return

    return _on_unblock(swap)


# -- sources -----------------------------------------------------------------------------------------------------------


@_mutant("the position is that of the last record fetched, not emitted (T99)", pause=0.0)
def _position_of_fetched() -> Sequence[AbstractContextManager[object]]:
    real = SourceSubtask.report

    def report(self: SourceSubtask) -> SnapshotReport:
        found = real(self)
        positions = dict(found.positions)
        for split, lane in zip(self._splits, self.mailbox.lanes, strict=True):
            fetched = [item.fetched.position for item in lane.items if hasattr(item, "fetched")]  # type: ignore[union-attr]
            if fetched:
                positions[split] = SplitPosition(fetched[-1], finished=False)
        return replace(found, positions=positions)

    return [patch.object(SourceSubtask, "report", report)]


@_mutant(
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


# -- snapshots and state -----------------------------------------------------------------------------------------------


@_mutant("a snapshot shares the dict of the next epoch")
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


@_mutant("a value of a waiting snapshot is handed out uncopied (T135)", job="exchanges", call_delay=0.05, early_freezes=0.004, timeout=60.0)
def _uncopied() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(Epochs, "_changeable", lambda self, holder: True)]


@_mutant("a value changed in place is not written (T135)", job="in-place")
def _in_place() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(RowTable, "_hand_out", lambda self, key, row, holder: row)]


@_mutant("a map's value changed in place is not written (T135)")
def _in_place_in_map() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(MapTable, "_get", lambda self, key, map_key: self._look(key, map_key)[0])]


@_mutant(
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


@_mutant("two freezes of one subtask share a file (T134)", early_freezes=0.004)
def _two_freezes() -> Sequence[AbstractContextManager[object]]:
    real_encode, real_finish = Snapshots._encode, Snapshots._finish
    shared: dict[int, Layer] = {}

    async def encode(self: Snapshots, generation: Generation) -> list[list[Entry]]:
        entries = {key: value for part in await real_encode(self, generation) for key, value in part}
        for later in list(self._queue)[1:]:
            if later.generation is not None and not later.generation.encoded:
                entries.update(entry for part in await real_encode(self, later.generation) for entry in part)
        return [list(entries.items())]

    async def finish(self: Snapshots, frozen: Any) -> SnapshotReport:
        state, generation = self._state, frozen.generation
        if state is None or generation is None:
            return await real_finish(self, frozen)
        if generation.encoded:  # its entries are in the file of the one before
            layer = shared.pop(id(self))
        else:
            layer = await self._writer.write(self._subtask, await self._encode(generation))
        if any(later.generation is not None and later.generation.encoded for later in list(self._queue)[1:]):
            layer.retain()
            shared[id(self)] = layer
        if generation.entries:
            state.on_written(generation, layer)
        else:
            state.on_written(generation, None)
            layer.release()
        stacks = tuple((run, tuple(layers)) for run, layers in state.stack.runs())
        return replace(frozen.report, stacks=stacks)

    return [patch.object(Snapshots, "_encode", encode), patch.object(Snapshots, "_finish", finish)]


# -- checkpoints -------------------------------------------------------------------------------------------------------


@_mutant("acknowledgements of two checkpoints are mixed", timeout=0.03)
def _acks_mixed() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(Coordinator, "_is_of", lambda self, current, checkpoint: True)]


@_mutant("the manifest is written one acknowledgement short")
def _early_manifest() -> Sequence[AbstractContextManager[object]]:
    real = ManifestWriter.assemble

    def assemble(self: ManifestWriter, checkpoint: Any, reports: Any, **rest: Any) -> Any:
        nothing = {subtask: SnapshotReport() for subtask in self.plan.subtasks()}
        return real(self, checkpoint, nothing | dict(reports), **rest)

    def has_all(self: Coordinator[Any], current: Any) -> bool:
        return len(current.reports) >= len(self._known) - 1

    return [patch.object(Coordinator, "_has_all_acks", has_all), patch.object(ManifestWriter, "assemble", assemble)]


@_mutant("the manifest is written in place")
def _in_place_manifest() -> Sequence[AbstractContextManager[object]]:
    real = put.put_if_absent

    def put_in_place(files: FileSystem, path: str, data: bytes, **rest: Any) -> bool:
        if not path.endswith("manifest.json"):
            return real(files, path, data, **rest)
        rest["last_look"]()
        put._write(files, path, data)
        for folder in rest["folders"]:
            files.sync_dir(folder)
        return True

    return [patch.object(checkpoint_directory, "put_if_absent", put_in_place)]


@_mutant("layers are not synced")
def _no_sync_of_layers() -> Sequence[AbstractContextManager[object]]:
    return [_unsynced("sync", lambda path: "/layers/" in path)]


@_mutant("the folder of layers is not synced")
def _no_sync_of_layer_folder() -> Sequence[AbstractContextManager[object]]:
    return [_unsynced("sync_dir", lambda path: path.endswith("/layers"))]


@_mutant("the manifest is not synced")
def _no_sync_of_manifest() -> Sequence[AbstractContextManager[object]]:
    def write(files: FileSystem, path: str, data: bytes) -> None:
        file = files.create(path)
        file.write(data)
        if "manifest" not in path:
            file.sync()
        file.close()

    return [patch.object(put, "_write", write)]


@_mutant("the folders of the manifest are not synced")
def _no_sync_of_folders() -> Sequence[AbstractContextManager[object]]:
    return [_unsynced("sync_dir", lambda path: "/checkpoints" in path)]


def _unsynced(call: str, where: Callable[[str], bool]) -> AbstractContextManager[object]:
    real = getattr(SimulatedDisk, call)

    def sync(self: SimulatedDisk, path: str, /) -> None:
        if not where(path):
            real(self, path)

    return patch.object(SimulatedDisk, call, sync)


@_mutant("a manifest that was found at a restart is not made durable before the job goes on")
def _found_not_synced() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(checkpoint_directory.CheckpointDirectory, "_sync", lambda self, checkpoint: None)]


@_mutant("an older checkpoint than the newest is restored (T90)")
def _older() -> Sequence[AbstractContextManager[object]]:
    real = building.decide

    def decide(manifests: Sequence[ManifestFact], attempts: Sequence[Claim]) -> Decision:
        valid = [fact for fact in manifests if not is_void(fact.attempt, fact.checkpoint, attempts)]  # type: ignore[arg-type]
        return real(valid[:-1] or valid, attempts)

    return [patch.object(building, "decide", decide)]


@_mutant("retention deletes layers that a kept checkpoint lists", retained=2)
def _retention() -> Sequence[AbstractContextManager[object]]:
    real = checkpoint_directory.choose

    def choose(holdings: Holdings, **rest: Any) -> Retirement:
        chosen = real(holdings, **rest)
        dropped = [each for each in holdings.manifests if each.checkpoint in chosen.checkpoints]
        listed = frozenset(name for each in dropped for name in each.layers or ())
        return Retirement(chosen.checkpoints, tuple(sorted(listed & set(holdings.present))), frozenset())

    return [patch.object(checkpoint_directory, "choose", choose)]


@_mutant("the state of a write that failed is forgotten", disk_fails=True)
def _failed_write_forgotten() -> Sequence[AbstractContextManager[object]]:
    def on_write_failed(self: OperatorState, generation: Generation) -> None:
        for lost in self._waiting[self._waiting.index(generation) :]:
            lost.failed = True
            for table, part in lost._parts:
                table.on_write_failed(part)
                table._returned.clear()
                table._stack_up()
            self._waiting.remove(lost)

    return [patch.object(OperatorState, "on_write_failed", on_write_failed)]


# -- sinks -------------------------------------------------------------------------------------------------------------


@_mutant("output is committed at the barrier")
def _early_commit() -> Sequence[AbstractContextManager[object]]:
    real = SinkPort.pre_commit

    async def pre_commit(self: SinkPort, checkpoint: Any) -> None:
        await real(self, checkpoint)
        await self.complete(checkpoint)

    return [patch.object(SinkPort, "pre_commit", pre_commit)]


@_mutant("a commit that comes again is made again (T102)")
def _double_commit() -> Sequence[AbstractContextManager[object]]:
    real = LogTransaction.document

    def document(self: LogTransaction, key: bytes, type_: Any) -> Any:
        return None if type_ is Committed else real(self, key, type_)

    return [patch.object(LogTransaction, "document", document)]


@_mutant("pending commits are dropped at recovery (T101)")
def _dropped_commit() -> Sequence[AbstractContextManager[object]]:
    real = SinkPort.restore

    async def restore(self: SinkPort, pending: Any) -> None:
        await real(self, ())

    return [patch.object(SinkPort, "restore", restore)]


@_mutant("what an aborted checkpoint pre-committed is dropped (T104)", timeout=0.03)
def _aborted_dropped() -> Sequence[AbstractContextManager[object]]:
    real = Subtask._on_control

    async def on_control(self: Subtask, message: Any) -> None:
        if isinstance(message, AbortCheckpoint):
            for port in self.runner.ports.values():
                waiting = port._commits._waiting
                port._commits._waiting = deque(each for each in waiting if each.checkpoint != message.checkpoint)
        await real(self, message)

    return [patch.object(Subtask, "_on_control", on_control)]


@_mutant("staged output is not synced")
def _staged_not_synced() -> Sequence[AbstractContextManager[object]]:
    real = faults._InterceptedFile.sync

    def sync(self: faults._InterceptedFile) -> None:
        if "/staged/" not in self._before.keywords["path"]:  # type: ignore[attr-defined]
            real(self)

    return [patch.object(faults._InterceptedFile, "sync", sync)]


@_mutant("the folder of staged output is not synced")
def _staged_folder_not_synced() -> Sequence[AbstractContextManager[object]]:
    return [_unsynced("sync_dir", lambda path: path.endswith("/staged"))]


@_mutant("a commit to the log is not synced")
def _commit_not_synced() -> Sequence[AbstractContextManager[object]]:
    return [_unsynced("synced", lambda path: "/out" in path or "/all" in path or "/odd" in path)]


@_mutant("a publisher does not look whether it was replaced", zombie=True)
def _not_fenced() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(Lease, "check", lambda self: None)]
