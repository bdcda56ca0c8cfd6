"""Where a snapshot lies, and opening it beside a job that may delete it meanwhile.

    <store>/<pipeline>                      a job: its newest checkpoint
    <store>/<pipeline>/checkpoints/<id>     one checkpoint; its layers lie in <store>/<pipeline>/layers
    <store>                                 where there is one job only, that job
    <folder>/manifest.json                  a savepoint; its layers lie in <folder>/layers

Nothing is changed and no lock is taken. A job that runs deletes old checkpoints, files and all: so every layer is
opened at once, and from then on is there as long as it is open. If one went before that, the job's newest is asked for
again.

No file is opened that was not proved: LMDB ends the process where one is cut short. A newest checkpoint that is damaged
is an error, and no older one is taken in its place (T90).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from os.path import abspath, basename, dirname, join
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from actorstream.checkpoints.lease import Lease
from actorstream.checkpoints.manifest import unseal
from actorstream.checkpoints.put import disk_errors, read_file
from actorstream.checkpoints.view import MANIFEST, StoreView
from actorstream.errors import PlanError, StoreError
from actorstream.model.ids import CheckpointId
from actorstream.protocol.recovery import Refuse, RestoreFrom, decide
from actorstream.state.layer import LayerFile, open_written
from actorstream.state.verified import prove

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.checkpoints.manifest import Manifest
    from actorstream.model.world import FileSystem
    from actorstream.state.layer import Layer

LAYERS = "layers"
_CHECKPOINTS = "checkpoints"
_JOB = "JOB"
_TRIES = 10


@runtime_checkable
class HasPath(Protocol):
    """A savepoint, as `job.savepoint` gives it."""

    @property
    def path(self) -> str:
        """Its folder."""
        ...


SnapshotPath: TypeAlias = "str | os.PathLike[str] | HasPath"


@dataclass(frozen=True, slots=True)
class OpenSnapshot:
    """A manifest, and the layers that it lists, open; in its order."""

    manifest: Manifest
    folder: str
    layers: list[Layer]

    def path_of(self, layer: Layer) -> str:
        """Give where a layer lay when it was opened."""
        return join(self.folder, layer.file.name)

    def close(self) -> None:
        """Let go of the layers."""
        while self.layers:
            self.layers.pop().release()


def path_of(snapshot: SnapshotPath) -> str:
    """Give the absolute path of what a user names.

    Raises:
        PlanError: It is no path, nor has one.
    """
    given = snapshot.path if isinstance(snapshot, HasPath) else snapshot
    if not isinstance(given, str | os.PathLike):
        raise PlanError(f"a snapshot is named by its folder or by a Savepoint, not by {given!r:.100}")
    return abspath(os.fspath(given))


def open_layers(
    files: FileSystem, path: str, tell: Callable[[int, int], None] = lambda done_bytes, total_bytes: None
) -> OpenSnapshot:
    """Open a snapshot; blocking, and reads every file that this machine has not found good since it was turned on.

    Raises:
        StoreError: There is none, it is not finished, or a file of it is missing, damaged or of a newer format.
    """
    tried = 0
    while True:
        tried += 1
        manifest, folder, still_there = _find(files, path)
        try:
            return _open(files, manifest, folder, tell)
        except StoreError:
            if still_there() or tried == _TRIES:
                raise


def _find(files: FileSystem, path: str) -> tuple[Manifest, str, Callable[[], bool]]:
    """Give the manifest, the folder of its layers, and what tells whether it has not been deleted since."""
    with disk_errors(path, "looking"):
        if not files.exists(path):
            raise StoreError(f"{path} is missing: expected a savepoint, a checkpoint, or a job's folder in a store")
        root = dirname(dirname(path))
        if basename(dirname(path)) == _CHECKPOINTS and files.exists(join(root, _JOB)):
            return _checkpoint(files, root, basename(path))
        if files.exists(join(path, MANIFEST)):
            return _savepoint(files, path)
        root = _job_in(files, path)
    return _newest(files, root)


def _savepoint(files: FileSystem, path: str) -> tuple[Manifest, str, Callable[[], bool]]:
    place = join(path, MANIFEST)
    return unseal(place, read_file(files, place)), join(path, LAYERS), lambda: True


def _checkpoint(files: FileSystem, root: str, name: str) -> tuple[Manifest, str, Callable[[], bool]]:
    if not name.isdecimal():
        raise StoreError(f"{join(root, _CHECKPOINTS, name)} is no checkpoint: expected a number")
    return _read(files, StoreView(files, root), root, CheckpointId(int(name)))


def _newest(files: FileSystem, root: str) -> tuple[Manifest, str, Callable[[], bool]]:
    view = StoreView(files, root)
    for tried in range(1, _TRIES + 1):
        match decide(view.manifests(), Lease(files, root).claims()):
            case RestoreFrom(checkpoint):
                try:
                    return _read(files, view, root, checkpoint)
                except StoreError:
                    if checkpoint in view.checkpoint_ids() or tried == _TRIES:
                        raise
            case Refuse(reason):
                raise StoreError(f"{root}: {reason}")
            case _:
                break
    raise StoreError(f"{root} holds no complete checkpoint: the job has not taken one yet")


def _read(
    files: FileSystem, view: StoreView, root: str, checkpoint: CheckpointId
) -> tuple[Manifest, str, Callable[[], bool]]:
    place = join(root, _CHECKPOINTS, str(checkpoint), MANIFEST)

    def still_there() -> bool:
        with disk_errors(place, "looking"):
            return files.exists(place)

    return view.read(checkpoint), join(root, LAYERS), still_there


def _job_in(files: FileSystem, path: str) -> str:
    """Give the folder of a job: `path` itself, or the only one in it."""
    if files.exists(join(path, _JOB)):
        return path
    if files.exists(join(path, LAYERS)):
        raise StoreError(
            f"{path} has {LAYERS} and no {MANIFEST}: it is a savepoint that was not finished; write it again"
        )
    jobs = [name for name in files.list_dir(path) if files.exists(join(path, name, _JOB))]
    if len(jobs) != 1:
        found = f"the jobs {', '.join(jobs)}: name one of these folders" if jobs else "neither a snapshot nor a job"
        raise StoreError(f"{path} holds {found}; expected a savepoint, a checkpoint, or a job's folder in a store")
    return join(path, jobs[0])


def _open(files: FileSystem, manifest: Manifest, folder: str, tell: Callable[[int, int], None]) -> OpenSnapshot:
    opened = OpenSnapshot(manifest, folder, [])
    wanted = {
        join(folder, entry.name): LayerFile(entry.name, entry.size, entry.digest, entry.entries)
        for entry in manifest.layers
    }
    try:
        prove(files, wanted, tell, remember=False)
        for path, file in wanted.items():
            with disk_errors(path, "opening"):
                opened.layers.append(open_written(path, file))
    except BaseException:
        opened.close()
        raise
    return opened
