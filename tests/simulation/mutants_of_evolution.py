"""Bugs in savepoints, rescales, upgrades, moves and forks, and in what keeps two instances of a job apart."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.checkpoints import directory as checkpoint_directory
from actorstream.checkpoints import savepoints
from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.checkpoints.savepoints import LAYERS, SnapshotPlace, make_savepoint, sweep_savepoints
from actorstream.eventlog.ledger import Committed
from actorstream.eventlog.transaction import LogTransaction, RaiseFence
from actorstream.model.ids import AttemptNumber, CheckpointId
from actorstream.protocol import recovery
from actorstream.protocol.attempts import Claim
from actorstream.protocol.coordinator import Coordinator
from actorstream.protocol.coordinator_effects import Complete
from actorstream.runtime import adapting, opening
from actorstream.runtime.beginning import Beginning
from actorstream.runtime.coordinator import CoordinatorActor
from actorstream.runtime.messages import ResumeReading
from actorstream.runtime.operator_life import OperatorLife
from actorstream.testing.disk import SimulatedDisk
from actorstream.testing.session import Session
from tests.simulation.evolution_plans import Act, Evolution, Part, Turn, draw_evolution
from tests.simulation.mutation import mutant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from actorstream.checkpoints.manifest import Manifest
    from actorstream.model.world import FileSystem
    from actorstream.protocol.commit import PendingCommit


def _turns(*turns: Turn, **fixed: Any) -> Callable[[int], Evolution]:
    """Draw the plan, under these turns."""

    def draw(seed: int) -> Evolution:
        usual = {"job": "keyed", "interval": 0.2, "timeout": 60.0, "early_freezes": 0.0, "live": False}
        evolution = draw_evolution(seed, **{**usual, **fixed})
        return Evolution(evolution.plan, turns)

    return draw


def _at(at: float, asked: Any, name: str = "s", number: int = 1) -> Act:
    return Act(at, asked, name, number)


_DIES = Session(crash_step=500, power=True)
_SAVED_AND_DEAD = Turn(_DIES, (Part(acts=(_at(0.08, "savepoint"), _at(0.2, "savepoint", "t")), parallelism=2),))
_STOPPED = Turn(Session(power=True), (Part(acts=(_at(0.2, "stop"),), parallelism=2),))
_STOPPED_AGAIN = Turn(Session(power=True), (Part(acts=(_at(0.1, "stop", "t"),), parallelism=2),))


# -- making a savepoint ------------------------------------------------------------------------------------------------


@mutant("a savepoint's completion commits", evolve=_turns(_SAVED_AND_DEAD, interval=None))
def _completes() -> Sequence[AbstractContextManager[object]]:
    real = Coordinator.on_published

    def on_published(self: Coordinator[Any], now_us: int, checkpoint: CheckpointId) -> list[Any]:
        current = self._publishing(checkpoint)
        effects = real(self, now_us, checkpoint)
        return [Complete(checkpoint), *effects] if current is not None and current.savepoint is not None else effects

    return [patch.object(Coordinator, "on_published", on_published)]


_PENDING = _turns(_SAVED_AND_DEAD, Turn(Session(power=True), (Part("move"),)), interval=None)


@mutant("what is pending is not in a savepoint", evolve=_PENDING)
def _tokens_forgotten() -> Sequence[AbstractContextManager[object]]:
    real = CheckpointDirectory.publish_savepoint

    def publish(self: CheckpointDirectory, manifest: Manifest, name: str) -> SnapshotPlace:
        return real(self, replace(manifest, sinks=[]), name)

    return [patch.object(CheckpointDirectory, "publish_savepoint", publish)]


@mutant("a savepoint's layers are linked after its manifest", evolve=draw_evolution)
def _layers_after() -> Sequence[AbstractContextManager[object]]:
    real = savepoints.link_or_copy

    def make(files: FileSystem, place: SnapshotPlace, folder: str, manifest: Manifest, last_look: Any) -> None:
        with patch.object(savepoints, "link_or_copy", lambda *_: None):
            make_savepoint(files, place, folder, manifest, last_look)
        for entry in manifest.layers:
            real(files, f"{place.layers}/{entry.name}", f"{folder}/{LAYERS}/{entry.name}")

    return [patch.object(checkpoint_directory, "make_savepoint", make)]


@mutant("the folder of a savepoint's layers is not synced", evolve=_turns(_SAVED_AND_DEAD, _SAVED_AND_DEAD))
def _layers_not_synced() -> Sequence[AbstractContextManager[object]]:
    real = SimulatedDisk.sync_dir

    def sync_dir(self: SimulatedDisk, path: str, /) -> None:
        if not ("/savepoints/" in path and path.endswith(f"/{LAYERS}")):
            real(self, path)

    return [patch.object(SimulatedDisk, "sync_dir", sync_dir)]


@mutant(
    "a savepoint takes the place of another one",
    evolve=_turns(Turn(Session(), (Part(acts=(_at(0.1, "savepoint twice"),)),))),
)
def _replaced() -> Sequence[AbstractContextManager[object]]:
    real = make_savepoint

    def make(files: FileSystem, place: SnapshotPlace, folder: str, manifest: Manifest, last_look: Any) -> None:
        if files.exists(folder):
            savepoints.delete_savepoint(files, folder)
        real(files, place, folder, manifest, last_look)

    return [patch.object(checkpoint_directory, "make_savepoint", make)]


@mutant("the numbers of savepoints are given again (T81)", evolve=draw_evolution)
def _not_counted() -> Sequence[AbstractContextManager[object]]:
    def sweep(files: FileSystem, root: str, attempt: AttemptNumber) -> Iterator[Manifest]:
        list(sweep_savepoints(files, root, attempt))
        return iter(())

    def publish(self: CheckpointDirectory, manifest: Manifest, name: str) -> SnapshotPlace:
        place = SnapshotPlace(f"{self._savepoints}/{name}", self._layers)
        make_savepoint(self._files, place, place.folder, manifest, lambda: self._last_look(manifest))
        return place

    return [
        patch.object(checkpoint_directory, "sweep_savepoints", sweep),
        patch.object(CheckpointDirectory, "publish_savepoint", publish),
    ]


# -- stopping and rescaling --------------------------------------------------------------------------------------------


@mutant(
    "after a stop that failed nobody reads on",
    evolve=_turns(
        Turn(Session(failing="/savepoints", power=True), (Part(acts=(_at(0.1, "stop"), _at(0.2, "stop"))),)),
    ),
)
def _no_resume() -> Sequence[AbstractContextManager[object]]:
    real = CoordinatorActor._tell_all

    def tell_all(self: CoordinatorActor, message: Any) -> None:
        if not isinstance(message, ResumeReading):
            real(self, message)

    return [patch.object(CoordinatorActor, "_tell_all", tell_all)]


@mutant(
    "pending output of subtasks that are no more is lost (T109)",
    evolve=_turns(
        _SAVED_AND_DEAD,
        Turn(Session(power=True), (Part("move", parallelism=1),)),
        interval=None,
    ),
)
def _only_survivors() -> Sequence[AbstractContextManager[object]]:
    def restored(self: OperatorLife, operator: str) -> Sequence[PendingCommit]:
        return self.deployment.restored_tokens.get(operator, {}).get(self.identity.subtask, ())

    return [patch.object(OperatorLife, "_restored_tokens", restored)]


# -- upgrades ----------------------------------------------------------------------------------------------------------


@mutant("positions do not follow a source's new name", evolve=_turns(_STOPPED, replace(_STOPPED_AGAIN, version=1)))
def _positions_stay() -> Sequence[AbstractContextManager[object]]:
    real = adapting._renamed

    def renamed(manifest: Manifest, names: Mapping[str, str]) -> Manifest:
        return replace(real(manifest, names), sources={})

    return [patch.object(adapting, "_renamed", renamed)]


# -- moves, forks, zombies ---------------------------------------------------------------------------------------------


@mutant(
    "a fork commits what its origin has pending (T111)",
    evolve=_turns(_SAVED_AND_DEAD, Turn(Session(power=True), (Part("fork"),)), interval=None),
)
def _fork_commits() -> Sequence[AbstractContextManager[object]]:
    real = Beginning.adopt

    def adopt(self: Beginning, files: FileSystem, layers_folder: str, attempt: AttemptNumber) -> Manifest:
        return real(replace(self, fork=""), files, layers_folder, attempt)

    return [patch.object(Beginning, "adopt", adopt)]


@mutant(
    "a moved store counts attempts from 1",
    evolve=_turns(_STOPPED, _STOPPED_AGAIN, Turn(Session(power=True), (Part("move"),))),
)
def _attempts_at_1() -> Sequence[AbstractContextManager[object]]:
    def claim(self: Beginning) -> Claim:
        return Claim(AttemptNumber(0), CheckpointId(self.manifest.checkpoint))

    return [patch.object(Beginning, "claim", property(claim))]


@mutant("of two with one attempt number both write", evolve=draw_evolution)
def _holder_ignored() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(LogTransaction, "refuse_another", lambda *_: None)]


def _as_before(kind: type[Any], same: Callable[[Any, RaiseFence], bool]) -> Sequence[AbstractContextManager[object]]:
    """Let a writer that opens see only those entries of this kind that are the `same`."""
    real, everything = RaiseFence.apply, LogTransaction.each_document

    def apply(self: RaiseFence, txn: LogTransaction, /) -> None:
        def each(txn: LogTransaction, prefix: bytes, type_: type[Any]) -> Iterator[Any]:
            return (entry for entry in everything(txn, prefix, type_) if type_ is not kind or same(entry, self))

        with patch.object(LogTransaction, "each_document", each):
            real(self, txn)

    return [patch.object(RaiseFence, "apply", apply)]


_FEWER = _turns(
    Turn(Session(power=True), (Part(acts=(_at(0.1, "savepoint"), _at(0.4, "stop", "t")), parallelism=4),)),
    Turn(Session(power=True), (Part("move", parallelism=1, pick=0.0),)),
)


@mutant("a log looks only at what the same subtask has committed (T111)", evolve=_FEWER)
def _own_mark() -> Sequence[AbstractContextManager[object]]:
    return _as_before(Committed, lambda mark, writer: mark.subtask == writer.subtask)


@mutant(
    "a log looks only at what was committed under the same name (T111)",
    evolve=_turns(
        Turn(Session(power=True), (Part(acts=(_at(0.1, "savepoint"), _at(0.4, "stop", "t")), parallelism=4),)),
        Turn(Session(power=True), (Part("move", pick=0.0),), version=1),
    ),
)
def _own_name() -> Sequence[AbstractContextManager[object]]:
    return _as_before(Committed, lambda mark, writer: mark.operator == writer.operator)


@mutant("a job goes back behind what its store has committed", evolve=draw_evolution)
def _goes_back() -> Sequence[AbstractContextManager[object]]:
    real = recovery.decide_savepoint

    def decide(*facts: Any, savepoint: CheckpointId, begun_from: bool, accept_duplicates: bool) -> Any:
        return real(*facts, savepoint=CheckpointId(10**9), begun_from=begun_from, accept_duplicates=accept_duplicates)

    return [patch.object(opening, "decide_savepoint", decide)]
