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
from os.path import abspath, join
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from actorstream.checkpoints.finding import JOB, find_store
from actorstream.checkpoints.lease import Lease
from actorstream.checkpoints.put import disk_errors
from actorstream.checkpoints.savepoints import LAYERS, MANIFEST, SnapshotPlace, find_snapshot, read_snapshot
from actorstream.checkpoints.view import StoreView
from actorstream.errors import PlanError, StoreError
from actorstream.protocol.recovery import Refuse, RestoreFrom, decide
from actorstream.state.layer import LayerFile, open_written
from actorstream.state.verified import prove

if TYPE_CHECKING:
    from actorstream.checkpoints.manifest import Manifest
    from actorstream.model.world import FileSystem
    from actorstream.state.layer import Layer

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

    def path_of(self, name: str) -> str:
        """Give where a layer lay when it was opened."""
        return join(self.folder, name)

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


def open_layers(files: FileSystem, path: str) -> OpenSnapshot:
    """Open a snapshot; blocking, and reads every file that this machine has not found good since it was turned on.

    Raises:
        StoreError: There is none, it is not finished, or a file of it is missing, damaged or of a newer format.
    """
    tried = 0
    while True:
        tried += 1
        place = _find(files, path)
        try:
            return _open(files, place)
        except StoreError:
            with disk_errors(path, "looking"):
                if files.exists(join(place.folder, MANIFEST)) or tried == _TRIES:
                    raise


def _find(files: FileSystem, path: str) -> SnapshotPlace:
    with disk_errors(path, "looking"):
        if files.exists(join(path, MANIFEST)) or (
            files.exists(join(path, LAYERS)) and not files.exists(join(path, JOB))
        ):
            return find_snapshot(files, path)
    return _newest(files, find_store(files, path, expected="a savepoint, a checkpoint, or a job's folder in a store"))


def _newest(files: FileSystem, root: str) -> SnapshotPlace:
    view = StoreView(files, root)
    match decide(view.manifests(), Lease(files, root).claims()):
        case RestoreFrom(checkpoint):
            return view.place(checkpoint)
        case Refuse(reason):
            raise StoreError(f"{root}: {reason}")
        case _:
            raise StoreError(f"{root} holds no complete checkpoint: the job has not taken one yet")


def _open(files: FileSystem, place: SnapshotPlace) -> OpenSnapshot:
    opened = OpenSnapshot(read_snapshot(files, place), place.layers, [])
    wanted = {
        opened.path_of(entry.name): LayerFile(entry.name, entry.size, entry.digest, entry.entries)
        for entry in opened.manifest.layers
    }
    try:
        prove(files, wanted, remember=False)
        for path, file in wanted.items():
            with disk_errors(path, "opening"):
                opened.layers.append(open_written(path, file))
    except BaseException:
        opened.close()
        raise
    return opened
