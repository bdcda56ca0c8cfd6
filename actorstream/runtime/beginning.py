"""What a run was told to begin from: a savepoint, or a checkpoint of another store.

    store       savepoint        what happens
    not there   of job J         the job moves: the store becomes J's, numbers go on above the savepoint's
    not there   of J, fork "x"   a new job, beside J, with a store and an id of its own
    J's         of J             back to that savepoint, if no later output is committed
    begun from the very same     goes on from its own newest checkpoint: so a service may say the same at each start
    another's                    refused

Its layers are linked into the store before anything reads them, so no path leads out of it, and nobody minds when the
savepoint goes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from os.path import basename, dirname, isabs, join
from typing import TYPE_CHECKING

from actorstream.checkpoints.lease import Origin
from actorstream.checkpoints.put import disk_errors
from actorstream.checkpoints.savepoints import LAYERS, SnapshotPlace, find_snapshot, link_or_copy, read_snapshot
from actorstream.errors import RestoreError
from actorstream.model.ids import AttemptNumber, CheckpointId, LayerName
from actorstream.protocol.attempts import Claim

if TYPE_CHECKING:
    from actorstream.checkpoints.directory import CheckpointDirectory
    from actorstream.checkpoints.manifest import Manifest
    from actorstream.model.world import FileSystem

_OF_A_STORE = frozenset({"savepoints", "checkpoints"})


@dataclass(frozen=True, slots=True)
class Beginning:
    """A snapshot outside the row of the store's own checkpoints. `fork`: the name of the job that begins from it."""

    place: SnapshotPlace
    manifest: Manifest
    fork: str = ""

    @property
    def origin(self) -> Origin:
        """What the store notes of it."""
        return Origin(self.manifest.job, self.manifest.checkpoint, self.manifest.digest)

    @property
    def claim(self) -> Claim:
        """Above what a job that goes on from it counts."""
        return Claim(AttemptNumber(self.manifest.attempt), CheckpointId(self.manifest.checkpoint))

    @property
    def checkpoint(self) -> CheckpointId:
        """Its id."""
        return CheckpointId(self.manifest.checkpoint)

    @property
    def is_savepoint(self) -> bool:
        """Tell whether it is a person's, with layers of its own, and not a checkpoint that a store still uses."""
        return self.place.layers == join(self.place.folder, LAYERS)

    def adopt(self, files: FileSystem, layers_folder: str, attempt: AttemptNumber) -> Manifest:
        """Link its layers into a store, under names of the attempt; give the manifest that lists these.

        A fork commits nothing that its origin has pre-committed.

        Raises:
            StoreError: A layer is missing, or the disk refuses.
        """
        layers = []
        with disk_errors(self.place.folder, "syncing"):
            root = dirname(self.place.folder)
            if basename(root) in _OF_A_STORE:
                # Its maker may have died between link and sync: were a power cut to take it back, nobody could go on
                # from what is committed of it now.
                files.sync_dir(self.place.folder)
                files.sync_dir(root)
        with disk_errors(self.place.folder, "linking its layers into the store"):
            for number, entry in enumerate(self.manifest.layers, start=1):
                name = LayerName(f"{attempt}-restored-{number}.lmdb")
                link_or_copy(files, join(self.place.layers, entry.name), join(layers_folder, name))
                layers.append(replace(entry, name=name))
            files.sync_dir(layers_folder)
        manifest = replace(self.manifest, layers=layers)
        return replace(manifest, sinks=[]) if self.fork else manifest


def look_up(files: FileSystem, path: str, savepoints: str | None, fork: str) -> Beginning:
    """Find what `restore=` names: a folder, or a savepoint of the store by its name.

    Raises:
        StoreError: There is none, or it is damaged.
    """
    named = None if savepoints is None or isabs(path) or "/" in path else join(savepoints, path)
    place = find_snapshot(files, named if named is not None and files.exists(named) else path)
    return Beginning(place, read_snapshot(files, place), fork)


def check_store(directory: CheckpointDirectory, beginning: Beginning | None, *, fork: str) -> None:
    """Refuse an open store that is not the one meant: for this snapshot to begin from, or this fork.

    Raises:
        RestoreError: It is of another job or fork, or was begun from a snapshot and never got further.
    """
    note, root = directory.note, directory.root
    if note.fork != fork:
        is_fork = f"the fork {note.fork!r}" if note.fork else "no fork"
        raise RestoreError(f"{root} is the store of {is_fork}: run it with fork={note.fork or None!r}")
    if beginning is None:
        if note.origin is not None and not directory.manifests():
            raise RestoreError(
                f"{root} was begun from savepoint {note.origin.checkpoint} of job {note.origin.job} and has no "
                "checkpoint of its own yet: name that savepoint again (restore=), or delete the folder"
            )
        return
    is_its = note.origin == beginning.origin if fork else note.job == beginning.manifest.job
    if not is_its:
        whose = f"job {note.job}" if note.origin is None else f"job {note.job}, begun from {_spoken(note.origin)}"
        raise RestoreError(
            f"{root} is the store of {whose}, but {beginning.place.folder} is {_spoken(beginning.origin)}: restore it "
            f"into an empty store, or run beside the other job (fork={'another name' if fork else 'a name'!r})"
        )


def _spoken(origin: Origin) -> str:
    return f"snapshot {origin.checkpoint} of job {origin.job}"
