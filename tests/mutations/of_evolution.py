"""Bugs in savepoints, upgrades, moves and forks, and in what keeps two instances of a job apart."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.api import run
from actorstream.checkpoints import directory as checkpoint_directory
from actorstream.checkpoints import savepoints
from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.checkpoints.savepoints import LAYERS, SnapshotPlace, make_savepoint, sweep_savepoints
from actorstream.codec import evolution
from actorstream.model.ids import AttemptNumber, CheckpointId
from actorstream.protocol import recovery
from actorstream.protocol.attempts import Claim
from actorstream.runtime import adapting, opening
from actorstream.runtime.beginning import Beginning
from actorstream.testing.disk import SimulatedDisk
from actorstream.testing.session import Session
from tests.mutations.circumstances import SAVED_AND_DEAD, STOPPED, STOPPED_AGAIN, act, in_turns
from tests.mutations.entering import Area
from tests.simulation.evolution_plans import Part, Turn, draw_evolution

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from actorstream.checkpoints.manifest import Manifest
    from actorstream.model.world import FileSystem

AREA = Area("evolution")

_PENDING = in_turns(SAVED_AND_DEAD, Turn(Session(power=True), (Part("move"),)), interval=None)


@AREA.in_jobs("what is pending is not in a savepoint", evolve=_PENDING)
def _tokens_forgotten() -> Sequence[AbstractContextManager[object]]:
    real = CheckpointDirectory.publish_savepoint

    def publish(self: CheckpointDirectory, manifest: Manifest, name: str) -> SnapshotPlace:
        return real(self, replace(manifest, sinks=[]), name)

    return [patch.object(CheckpointDirectory, "publish_savepoint", publish)]


@AREA.in_jobs("a savepoint's layers are linked after its manifest", evolve=draw_evolution)
def _layers_after() -> Sequence[AbstractContextManager[object]]:
    real = savepoints.link_or_copy

    def make(files: FileSystem, place: SnapshotPlace, folder: str, manifest: Manifest, last_look: Any) -> None:
        with patch.object(savepoints, "link_or_copy", lambda *_: None):
            make_savepoint(files, place, folder, manifest, last_look)
        for entry in manifest.layers:
            real(files, f"{place.layers}/{entry.name}", f"{folder}/{LAYERS}/{entry.name}")

    return [patch.object(checkpoint_directory, "make_savepoint", make)]


@AREA.in_jobs("the folder of a savepoint's layers is not synced", evolve=in_turns(SAVED_AND_DEAD, SAVED_AND_DEAD))
def _layers_not_synced() -> Sequence[AbstractContextManager[object]]:
    real = SimulatedDisk.sync_dir

    def sync_dir(self: SimulatedDisk, path: str, /) -> None:
        if not ("/savepoints/" in path and path.endswith(f"/{LAYERS}")):
            real(self, path)

    return [patch.object(SimulatedDisk, "sync_dir", sync_dir)]


@AREA.in_jobs(
    "a savepoint takes the place of another one",
    evolve=in_turns(Turn(Session(), (Part(acts=(act(0.1, "savepoint twice"),)),))),
)
def _replaced() -> Sequence[AbstractContextManager[object]]:
    real = make_savepoint

    def make(files: FileSystem, place: SnapshotPlace, folder: str, manifest: Manifest, last_look: Any) -> None:
        if files.exists(folder):
            savepoints.delete_savepoint(files, folder)
        real(files, place, folder, manifest, last_look)

    return [patch.object(checkpoint_directory, "make_savepoint", make)]


@AREA.in_jobs("the numbers of savepoints are given again (T81)", evolve=draw_evolution)
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


@AREA.in_jobs(
    "positions do not follow a source's new name", evolve=in_turns(STOPPED, replace(STOPPED_AGAIN, version=1))
)
def _positions_stay() -> Sequence[AbstractContextManager[object]]:
    real = adapting._renamed

    def renamed(manifest: Manifest, names: Mapping[str, str]) -> Manifest:
        return replace(real(manifest, names), sources={})

    return [patch.object(adapting, "_renamed", renamed)]


@AREA.in_jobs(
    "a fork commits what its origin has pending (T111)",
    evolve=in_turns(SAVED_AND_DEAD, Turn(Session(power=True), (Part("fork"),)), interval=None),
)
def _fork_commits() -> Sequence[AbstractContextManager[object]]:
    real = Beginning.adopt

    def adopt(self: Beginning, files: FileSystem, layers_folder: str, attempt: AttemptNumber) -> Manifest:
        return real(replace(self, fork=""), files, layers_folder, attempt)

    return [patch.object(Beginning, "adopt", adopt)]


@AREA.in_jobs(
    "a moved store counts attempts from 1",
    evolve=in_turns(STOPPED, STOPPED_AGAIN, Turn(Session(power=True), (Part("move"),))),
)
def _attempts_at_1() -> Sequence[AbstractContextManager[object]]:
    def claim(self: Beginning) -> Claim:
        return Claim(AttemptNumber(0), CheckpointId(self.manifest.checkpoint))

    return [patch.object(Beginning, "claim", property(claim))]


@AREA.in_jobs("a job goes back behind what its store has committed", evolve=draw_evolution)
def _goes_back() -> Sequence[AbstractContextManager[object]]:
    real = recovery.decide_savepoint

    def decide(*facts: Any, savepoint: CheckpointId, begun_from: bool, accept_duplicates: bool) -> Any:
        return real(*facts, savepoint=CheckpointId(10**9), begun_from=begun_from, accept_duplicates=accept_duplicates)

    return [patch.object(opening, "decide_savepoint", decide)]


_FORKED = {
    "sessions": (
        Session(2, savepoints=(0.0,), crash_step=400),
        Session(2, fork="f", crash_step=300),
        Session(1),
        Session(1, fork="f"),
    ),
    "pause": 0.1,
}
_UPGRADED = {
    "sessions": (Session(2, stop_after=0.1, keeps=True), Session(2, version=1, crash_step=300), Session(1, version=2)),
    "pause": 0.1,
}


@AREA.in_topologies("a fork writes into the logs of its origin", "fork", _FORKED, poison=False)
def _into_its_origin() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(run, "fork_sinks", lambda *_: {})]


@AREA.in_topologies("what was of an older type is taken for nothing", "cut", _UPGRADED, poison=False)
def _nothing_of_older_types() -> Sequence[AbstractContextManager[object]]:
    real = evolution._migrating

    def migrating(*given: Any) -> Any:
        read = real(*given)
        return lambda data: type(read(data))()

    return [patch.object(evolution, "_migrating", migrating)]
