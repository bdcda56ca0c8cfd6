"""A savepoint of a job's newest checkpoint, made beside a job that may be running: no lock, no job needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.checkpoints.lease import Lease
from actorstream.checkpoints.savepoints import LAYERS, SnapshotPlace, make_savepoint
from actorstream.errors import StoreError
from actorstream.protocol.attempts import is_void

if TYPE_CHECKING:
    from actorstream.checkpoints.manifest import Manifest
    from actorstream.checkpoints.view import StoreView
    from actorstream.model.ids import CheckpointId
    from actorstream.model.world import FileSystem

_TRIES = 5


def keep_checkpoint(
    files: FileSystem, view: StoreView, name: str, checkpoint: CheckpointId | None = None
) -> tuple[SnapshotPlace, Manifest]:
    """Make a savepoint of a checkpoint, the newest one if none is named; blocking.

    A running job may delete the checkpoint meanwhile: then the next newest is taken.

    Raises:
        StoreError: There is no such checkpoint, or none that is good; or a savepoint of this name; or the disk refuses.
    """
    folder = view.savepoint_folder(name)
    for attempt in range(1, _TRIES + 1):
        chosen = checkpoint if checkpoint is not None else newest_of(files, view)
        manifest = view.read(chosen)
        try:
            make_savepoint(files, view.place(chosen), folder, manifest, lambda: None)
        except StoreError:
            gone = checkpoint is None and newest_of(files, view) != chosen
            if not gone or attempt == _TRIES:
                raise
            continue
        return SnapshotPlace(folder, f"{folder}/{LAYERS}"), manifest
    raise AssertionError  # the last try returns or raises


def newest_of(files: FileSystem, view: StoreView) -> CheckpointId:
    """Give the newest checkpoint that counts.

    Raises:
        StoreError: There is none.
    """
    claims = Lease(files, view.root).claims()
    numbers = [
        fact.checkpoint
        for fact in view.manifests()
        if fact.attempt is None or not is_void(fact.attempt, fact.checkpoint, claims)
    ]
    if not numbers:
        raise StoreError(f"{view.root} holds no complete checkpoint")
    return numbers[-1]
