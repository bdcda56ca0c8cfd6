"""Bugs in what is made durable and shown to others: checkpoints, layers, logs, sinks, fences."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.checkpoints import directory as checkpoint_directory
from actorstream.checkpoints import put, retention
from actorstream.checkpoints.lease import Lease
from actorstream.checkpoints.retention import Retirement
from actorstream.eventlog.ledger import Committed
from actorstream.eventlog.transaction import LogTransaction
from actorstream.protocol import recovery
from actorstream.protocol.attempts import is_void
from actorstream.protocol.coordinator import Coordinator
from actorstream.runtime import opening
from actorstream.runtime.messages import AbortCheckpoint, SnapshotReport
from actorstream.runtime.restoring import ManifestWriter
from actorstream.runtime.sinks import SinkPort
from actorstream.runtime.subtask import Subtask
from actorstream.state.operator_state import OperatorState
from actorstream.testing import faults
from actorstream.testing.disk import SimulatedDisk
from actorstream.testing.session import Session
from tests.simulation.mutation import mutant
from tests.simulation.running import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from actorstream.checkpoints.retention import Holdings
    from actorstream.model.world import FileSystem
    from actorstream.protocol.attempts import Claim
    from actorstream.protocol.recovery import Decision, ManifestFact
    from actorstream.state.operator_state import Generation


# -- checkpoints -------------------------------------------------------------------------------------------------------


@mutant("acknowledgements of two checkpoints are mixed", timeout=0.03)
def _acks_mixed() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(Coordinator, "_is_of", lambda self, current, checkpoint: True)]


@mutant("the manifest is written one acknowledgement short")
def _early_manifest() -> Sequence[AbstractContextManager[object]]:
    real = ManifestWriter.assemble

    def assemble(self: ManifestWriter, checkpoint: Any, reports: Any, **rest: Any) -> Any:
        nothing = {subtask: SnapshotReport() for subtask in self.plan.subtasks()}
        return real(self, checkpoint, nothing | dict(reports), **rest)

    def has_all(self: Coordinator[Any], current: Any) -> bool:
        return len(current.reports) >= len(self._known) - 1

    return [patch.object(Coordinator, "_has_all_acks", has_all), patch.object(ManifestWriter, "assemble", assemble)]


@mutant("the manifest is written in place")
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


@mutant("layers are not synced")
def _no_sync_of_layers() -> Sequence[AbstractContextManager[object]]:
    return [_unsynced("sync", lambda path: "/layers/" in path)]


@mutant("the folder of layers is not synced")
def _no_sync_of_layer_folder() -> Sequence[AbstractContextManager[object]]:
    return [_unsynced("sync_dir", lambda path: path.endswith("/layers"))]


@mutant("the manifest is not synced")
def _no_sync_of_manifest() -> Sequence[AbstractContextManager[object]]:
    def write(files: FileSystem, path: str, data: bytes) -> None:
        file = files.create(path)
        file.write(data)
        if "manifest" not in path:
            file.sync()
        file.close()

    return [patch.object(put, "_write", write)]


@mutant("the folders of the manifest are not synced")
def _no_sync_of_folders() -> Sequence[AbstractContextManager[object]]:
    return [_unsynced("sync_dir", lambda path: "/checkpoints" in path)]


def _unsynced(call: str, where: Callable[[str], bool]) -> AbstractContextManager[object]:
    real = getattr(SimulatedDisk, call)

    def sync(self: SimulatedDisk, path: str, /) -> None:
        if not where(path):
            real(self, path)

    return patch.object(SimulatedDisk, call, sync)


def _killed_between(seed: int) -> Plan:
    """Kill one process at each of its disk operations in turn, also between link and sync; then cut the power."""
    killed, cut = divmod(seed, 3)
    sessions = (Session(crash_operation=60 + killed), Session(crash_step=70 + 15 * cut, power=True), Session())
    return Plan(seed, sessions=sessions)


@mutant("a manifest found at a restart is not made durable before the job goes on", plan=_killed_between)
def _found_not_synced() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(checkpoint_directory.CheckpointDirectory, "_sync", lambda self, checkpoint: None)]


@mutant("an older checkpoint than the newest is restored (T90)")
def _older() -> Sequence[AbstractContextManager[object]]:
    real = recovery.decide

    def decide(manifests: Sequence[ManifestFact], attempts: Sequence[Claim]) -> Decision:
        valid = [fact for fact in manifests if not is_void(fact.attempt, fact.checkpoint, attempts)]  # type: ignore[arg-type]
        return real(valid[:-1] or valid, attempts)

    return [patch.object(opening, "decide", decide)]


@mutant("retention deletes layers that a kept checkpoint lists", retained=2)
def _retention() -> Sequence[AbstractContextManager[object]]:
    real = retention.choose

    def choose(holdings: Holdings, **rest: Any) -> Retirement:
        chosen = real(holdings, **rest)
        dropped = [each for each in holdings.manifests if each.checkpoint in chosen.checkpoints]
        listed = frozenset(name for each in dropped for name in each.layers or ())
        return Retirement(chosen.checkpoints, tuple(sorted(listed & set(holdings.present))), frozenset())

    return [patch.object(checkpoint_directory, "choose", choose)]


@mutant("the state of a write that failed is forgotten", disk_fails=True)
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


@mutant("output is committed at the barrier")
def _early_commit() -> Sequence[AbstractContextManager[object]]:
    real = SinkPort.pre_commit

    async def pre_commit(self: SinkPort, checkpoint: Any) -> None:
        await real(self, checkpoint)
        await self.complete(checkpoint)

    return [patch.object(SinkPort, "pre_commit", pre_commit)]


@mutant("a commit that comes again is made again (T102)")
def _double_commit() -> Sequence[AbstractContextManager[object]]:
    real = LogTransaction.document

    def document(self: LogTransaction, key: bytes, type_: Any) -> Any:
        return None if type_ is Committed else real(self, key, type_)

    return [patch.object(LogTransaction, "document", document)]


@mutant("pending commits are dropped at recovery (T101)")
def _dropped_commit() -> Sequence[AbstractContextManager[object]]:
    real = SinkPort.restore

    async def restore(self: SinkPort, pending: Any) -> None:
        await real(self, ())

    return [patch.object(SinkPort, "restore", restore)]


@mutant("what an aborted checkpoint pre-committed is dropped (T104)", timeout=0.03)
def _aborted_dropped() -> Sequence[AbstractContextManager[object]]:
    real = Subtask._on_control

    async def on_control(self: Subtask, message: Any) -> None:
        if isinstance(message, AbortCheckpoint):
            for port in self.runner.ports.values():
                waiting = port._commits._waiting
                port._commits._waiting = deque(each for each in waiting if each.checkpoint != message.checkpoint)
        await real(self, message)

    return [patch.object(Subtask, "_on_control", on_control)]


@mutant("staged output is not synced")
def _staged_not_synced() -> Sequence[AbstractContextManager[object]]:
    real = faults._InterceptedFile.sync

    def sync(self: faults._InterceptedFile) -> None:
        if "/staged/" not in self._before.keywords["path"]:  # type: ignore[attr-defined]
            real(self)

    return [patch.object(faults._InterceptedFile, "sync", sync)]


@mutant("the folder of staged output is not synced")
def _staged_folder_not_synced() -> Sequence[AbstractContextManager[object]]:
    return [_unsynced("sync_dir", lambda path: path.endswith("/staged"))]


@mutant("a commit to the log is not synced")
def _commit_not_synced() -> Sequence[AbstractContextManager[object]]:
    return [_unsynced("synced", lambda path: "/out" in path or "/all" in path or "/odd" in path)]


@mutant("a publisher does not look whether it was replaced", zombie=True)
def _not_fenced() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(Lease, "check", lambda self: None)]
