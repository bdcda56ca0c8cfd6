"""Looking at a job's checkpoint store and changing nothing: what `checkpoints list|show|verify` and recovery read.

    <root>/
      JOB  LOCK  attempts/<n>            see checkpoints/lease.py
      layers/<attempt>-<host>-<n>.lmdb   written by hosts, listed by manifests
      checkpoints/<id>/manifest.json     published once, by link
      checkpoints/<id>/completed         a second link to it, made after it was durable
      savepoints/<name>/...              see checkpoints/savepoints.py

The second link tells a manifest that was lost from one that was never published:
a folder with neither is a crash before the publish and no error; a folder with
only `completed` is damage (T90), and `completed` has the content to mend it.
"""

from __future__ import annotations

import re
from os.path import join
from typing import TYPE_CHECKING

from actorstream.checkpoints.manifest import Manifest, attempt_of, unseal
from actorstream.checkpoints.put import disk_errors, names_in, read_file
from actorstream.checkpoints.savepoints import MANIFEST, SnapshotPlace, check_name, names_of_savepoints, verify_snapshot
from actorstream.errors import InvariantError, StoreError
from actorstream.model.ids import AttemptNumber, CheckpointId, JobId, LayerName
from actorstream.protocol.recovery import ManifestFact

if TYPE_CHECKING:
    from actorstream.checkpoints.manifest import LayerEntry
    from actorstream.model.world import FileSystem

COMPLETED = "completed"
_ID = re.compile(r"[1-9][0-9]{0,17}")


class StoreView:
    """One job's store, for reading. All calls block and touch the disk."""

    def __init__(self, files: FileSystem, root: str) -> None:
        """Touch nothing yet; `root` is the job's own folder, absolute."""
        self._files = files
        self._root = root
        self._checkpoints = join(root, "checkpoints")
        self._layers = join(root, "layers")
        self._savepoints = join(root, "savepoints")
        self._job: JobId | None = None

    def checkpoint_ids(self) -> list[CheckpointId]:
        """Give every id that has a folder, unfinished and unreadable ones too (T81)."""
        names = names_in(self._files, self._checkpoints)
        return sorted(CheckpointId(int(name)) for name in names if _ID.fullmatch(name))

    def manifests(self) -> list[ManifestFact]:
        """Say of each published manifest who published it and, if it cannot be restored, why.

        One that a running job deletes meanwhile is left out: see checkpoints/retention.py.
        """
        return [fact for checkpoint in self.checkpoint_ids() if (fact := self._fact(checkpoint)) is not None]

    def read(self, checkpoint: CheckpointId) -> Manifest:
        """Give a manifest.

        Raises:
            StoreError: Missing, damaged, newer, or of another job or place.
        """
        path = self._path(checkpoint, MANIFEST)
        if not self._exists(path):
            completed = self._path(checkpoint, COMPLETED)
            remedy = f"`ln {completed} {path}` puts it back" if self._exists(completed) else "it was never published"
            raise StoreError(f"{path} is missing: {remedy}")
        manifest = unseal(path, read_file(self._files, path))
        if manifest.checkpoint != checkpoint:
            raise StoreError(f"{path} holds checkpoint {manifest.checkpoint}, expected {checkpoint}: undo the move")
        if self._job is not None and manifest.job != self._job:
            raise StoreError(
                f"{path} is of job {manifest.job}, but JOB says {self._job}: files of two stores were mixed; "
                "put the right ones back"
            )
        return manifest

    def verify(self, manifest: Manifest) -> list[str]:
        """Read every layer to its end and give what is wrong, one sentence a file."""
        return verify_snapshot(self._files, self.place(CheckpointId(manifest.checkpoint)), manifest)

    @property
    def root(self) -> str:
        """The job's folder."""
        return self._root

    def place(self, checkpoint: CheckpointId) -> SnapshotPlace:
        """Give where a checkpoint lies."""
        return SnapshotPlace(self._folder(checkpoint), self._layers)

    def savepoint_folder(self, name: str) -> str:
        """Give where a savepoint of this name lies, or would; PlanError if none can be called so."""
        return join(self._savepoints, check_name(name))

    def savepoint_names(self) -> list[str]:
        """Give the names of all savepoints, unfinished ones too."""
        return names_of_savepoints(self._files, self._savepoints)

    def layer_path(self, name: LayerName) -> str:
        """Give where a layer lies, or is to be written."""
        if attempt_of(name) is None:
            raise InvariantError(f"{name!r} is no layer name: expected <attempt>-<host>-<n>.lmdb")
        return join(self._layers, name)

    def _is_published(self, checkpoint: CheckpointId) -> bool:
        """Tell whether there is, or was and is lost, a manifest."""
        return any(self._exists(self._path(checkpoint, name)) for name in (MANIFEST, COMPLETED))

    def _fact(self, checkpoint: CheckpointId) -> ManifestFact | None:
        if not self._is_published(checkpoint):
            return None
        try:
            manifest = self.read(checkpoint)
        except StoreError as error:
            return ManifestFact(checkpoint, None, str(error)) if self._is_published(checkpoint) else None
        problems = (self._layer_problem(entry) for entry in manifest.layers)
        problem = next((problem for problem in problems if problem is not None), None)
        if problem is not None and not self._is_published(checkpoint):
            return None
        return ManifestFact(checkpoint, AttemptNumber(manifest.attempt), problem)

    def _layer_problem(self, entry: LayerEntry) -> str | None:
        path = join(self._layers, entry.name)
        try:
            size = self._files.size(path)
        except OSError as error:
            return f"{path} cannot be read: {error.strerror or error}; put it back from a copy"
        if size != entry.size:
            return f"{path} has {size} bytes, expected {entry.size}; put it back from a copy"
        return None

    def _exists(self, path: str) -> bool:
        with disk_errors(path, "looking"):
            return self._files.exists(path)

    def _folder(self, checkpoint: CheckpointId) -> str:
        return join(self._checkpoints, str(checkpoint))

    def _path(self, checkpoint: CheckpointId, name: str) -> str:
        return join(self._checkpoints, str(checkpoint), name)
