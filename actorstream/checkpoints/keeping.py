"""A savepoint of a job's newest checkpoint, made beside a job that may be running: no lock, no job needed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from actorstream.checkpoints.lease import Lease
from actorstream.checkpoints.savepoints import LAYERS, SnapshotPlace, make_savepoint
from actorstream.errors import FencedError, StoreError
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

    A running job may delete the checkpoint meanwhile: then the next newest is taken. It may also be started again, and
    sweep away what is unfinished: then it is made again.

    Raises:
        StoreError: There is no such checkpoint, or none that is good; or a savepoint of this name; or the disk refuses.
    """
    folder, lease = view.savepoint_folder(name), Lease(files, view.root)
    for tried in range(1, _TRIES + 1):
        highest = max(lease.numbers(), default=None)
        chosen = checkpoint if checkpoint is not None else newest_of(files, view)
        manifest = view.read(chosen)
        last_look = partial(_refuse_newer, lease, highest)
        try:
            make_savepoint(files, view.place(chosen), folder, manifest, last_look, attempt=highest)
        except FencedError:
            if tried == _TRIES:
                raise
        except StoreError:
            gone = checkpoint is None and newest_of(files, view) != chosen
            if not gone or tried == _TRIES:
                raise
        else:
            return SnapshotPlace(folder, f"{folder}/{LAYERS}"), manifest
    raise AssertionError  # the last try returns or raises


def _refuse_newer(lease: Lease, highest: int | None) -> None:
    """See to it that no attempt has begun since, which has swept or will sweep what is made here."""
    newest = max(lease.numbers(), default=None)
    if newest is not None and newest > (highest or 0):
        raise FencedError(f"the job was started again meanwhile, as attempt {newest}: make the savepoint again")


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
