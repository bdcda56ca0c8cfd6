"""Bugs in what makes a checkpoint durable, and in which one is restored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.checkpoints import directory as checkpoint_directory
from actorstream.checkpoints import put, retention
from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.checkpoints.lease import Lease
from actorstream.checkpoints.retention import Retirement
from actorstream.protocol import recovery
from actorstream.protocol.attempts import is_void
from actorstream.runtime import opening
from actorstream.testing.faults import AttachedFiles
from actorstream.testing.session import Session
from tests.mutations.circumstances import unsynced
from tests.mutations.entering import Area
from tests.simulation.running import Plan, run_plan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from actorstream.checkpoints.retention import Holdings
    from actorstream.model.world import FileSystem
    from actorstream.protocol.attempts import Claim
    from actorstream.protocol.recovery import Decision, ManifestFact

AREA = Area("checkpoints")


@AREA.in_jobs("the manifest is written in place")
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


@AREA.in_jobs("layers are not synced")
def _no_sync_of_layers() -> Sequence[AbstractContextManager[object]]:
    return [unsynced("sync", lambda path: "/layers/" in path)]


@AREA.in_jobs("the folder of layers is not synced")
def _no_sync_of_layer_folder() -> Sequence[AbstractContextManager[object]]:
    return [unsynced("sync_dir", lambda path: path.endswith("/layers"))]


@AREA.in_jobs("the manifest is not synced")
def _no_sync_of_manifest() -> Sequence[AbstractContextManager[object]]:
    def write(files: FileSystem, path: str, data: bytes) -> None:
        file = files.create(path)
        file.write(data)
        if "manifest" not in path:
            file.sync()
        file.close()

    return [patch.object(put, "_write", write)]


@AREA.in_jobs("the folders of the manifest are not synced")
def _no_sync_of_folders() -> Sequence[AbstractContextManager[object]]:
    return [unsynced("sync_dir", lambda path: "/checkpoints" in path)]


def _killed_between(seed: int) -> Plan:
    """Kill one process between link and sync of a manifest; cut the power when the next one has committed by it."""
    linked: list[int] = []
    real = AttachedFiles.link

    def link(self: AttachedFiles, source: str, target: str, /) -> None:
        real(self, source, target)
        if target.endswith("manifest.json"):
            linked.append(self.operations)

    with patch.object(AttachedFiles, "link", link):
        run_plan(Plan(seed))
    killed = Session(crash_operation=linked[seed % len(linked)] + 1)
    return Plan(seed, sessions=(killed, Session(crash_step=80 + seed % 4 * 10, power=True), Session()))


@AREA.in_jobs("a manifest found at a restart is not made durable before the job goes on", plan=_killed_between)
def _found_not_synced() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(checkpoint_directory.CheckpointDirectory, "_sync", lambda self, checkpoint: None)]


@AREA.in_jobs("an older checkpoint than the newest is restored (T90)")
def _older() -> Sequence[AbstractContextManager[object]]:
    real = recovery.decide

    def decide(manifests: Sequence[ManifestFact], attempts: Sequence[Claim], **asked: Any) -> Decision:
        valid = [fact for fact in manifests if not is_void(fact.attempt, fact.checkpoint, attempts)]  # type: ignore[arg-type]
        return real(valid[:-1] or valid, attempts, **asked)

    return [patch.object(opening, "decide", decide)]


@AREA.in_jobs("retention deletes layers that a kept checkpoint lists", retained=2)
def _retention() -> Sequence[AbstractContextManager[object]]:
    real = retention.choose

    def choose(holdings: Holdings, **rest: Any) -> Retirement:
        chosen = real(holdings, **rest)
        dropped = [each for each in holdings.manifests if each.checkpoint in chosen.checkpoints]
        listed = frozenset(name for each in dropped for name in each.layers or ())
        return Retirement(chosen.checkpoints, tuple(sorted(listed & set(holdings.present))), frozenset())

    return [patch.object(checkpoint_directory, "choose", choose)]


@AREA.in_jobs("a publisher does not look whether it was replaced", zombie=True)
def _not_fenced() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(Lease, "check", lambda self: None)]


@AREA.in_topologies("a checkpoint's number is given again, to another one", "immutable")
def _number_again() -> Sequence[AbstractContextManager[object]]:
    real = CheckpointDirectory.publish
    published = [0]

    def publish(self: CheckpointDirectory, manifest: Any) -> None:
        real(self, manifest)
        published[0] += 1
        if published[0] % 3 == 0 and manifest.layers:
            name = f"{self._root}/layers/{manifest.layers[0].name}"
            with open(name, "r+b") as file:
                file.seek(-1, 2)
                file.write(b"\x55")

    return [patch.object(CheckpointDirectory, "publish", publish)]


@AREA.in_topologies("a manifest is written by half", "readable")
def _by_half() -> Sequence[AbstractContextManager[object]]:
    real = CheckpointDirectory.publish
    published = [0]

    def publish(self: CheckpointDirectory, manifest: Any) -> None:
        real(self, manifest)
        published[0] += 1
        if published[0] % 3 == 0:
            folder = f"{self._root}/checkpoints/{manifest.checkpoint}"
            with open(f"{folder}/manifest.json", "r+b") as file:
                file.truncate(40)

    return [patch.object(CheckpointDirectory, "publish", publish)]


_CANCELLED = {"sessions": (Session(2, cancel_step=90), Session(2))}


@AREA.in_topologies("a cancelled job does not let go of its store", "released", _CANCELLED)
def _not_released() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(CheckpointDirectory, "close", lambda self: None)]
