"""A savepoint beside a job that runs, and the records that it needs: kept together, or not at all.

    here     make savepoint ──> register with the logs ──> is the checkpoint still there? ─ yes ─> done
                                                                └──────────── no ── take it back, make another
    the job  retire the checkpoint ──> tell the logs ──> they let records go

The job deletes a checkpoint before it lets a log know. So where the checkpoint is there after the log was told of the
savepoint, nothing had gone by then.
"""

from __future__ import annotations

from os.path import join
from typing import TYPE_CHECKING

from actorstream.checkpoints.keeping import keep_checkpoint
from actorstream.checkpoints.savepoints import MANIFEST
from actorstream.errors import StoreError
from actorstream.evolve.registering import register_written, take_back
from actorstream.model.ids import CheckpointId

if TYPE_CHECKING:
    from actorstream.checkpoints.manifest import Manifest
    from actorstream.checkpoints.savepoints import SnapshotPlace
    from actorstream.checkpoints.view import StoreView
    from actorstream.model.world import FileSystem

_TRIES = 5


def keep_registered(
    files: FileSystem, view: StoreView, name: str, checkpoint: CheckpointId | None = None
) -> tuple[SnapshotPlace, Manifest]:
    """Make a savepoint of a checkpoint, the newest one if none is named, for which logs keep records; blocking.

    Raises:
        StoreError: As for `keep_checkpoint`; a log could not be told; or the job retired the checkpoint meanwhile.
            There is no savepoint, unless the message says otherwise.
    """
    for tried in range(1, _TRIES + 1):
        place, manifest = keep_checkpoint(files, view, name, checkpoint)
        register_written(place.folder, manifest)
        kept = CheckpointId(manifest.checkpoint)
        if not manifest.logs or files.exists(join(view.place(kept).folder, MANIFEST)):
            return place, manifest
        take_back(place.folder, manifest)
        if checkpoint is not None or tried == _TRIES:
            raise StoreError(
                f"the job deleted checkpoint {kept} before its logs were told to keep what {place.folder} needs: that "
                "is taken back; try again without naming an old checkpoint, or have the running job make it "
                "(job.savepoint)"
            )
    raise AssertionError  # the last try returns or raises
