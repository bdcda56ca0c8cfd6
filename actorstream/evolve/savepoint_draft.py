"""A savepoint's folder while it is written: there as a whole, or not at all.

    <path>/writing              locked by the one who writes; goes at the end
           sorting/…            what does not fit memory; goes before the end
           layers/<layer>.lmdb  built here, linked or copied from the base
           manifest.json        last, by a link: from then on it is a savepoint

A folder without `manifest.json` is no savepoint, whatever else is in it. What a crash has left is removed by the next
one who writes there, or by `savepoint delete`; never by a job. `writing` tells it from what others have put there, as
`<n>.making` and `importing` do for a job and an import: without it, or with anything of somebody else's, a folder that
is not empty is refused.
"""

from __future__ import annotations

import re
from contextlib import suppress
from os.path import basename, dirname, join
from typing import TYPE_CHECKING, Final

from actorstream.checkpoints.manifest import attempt_of, seal
from actorstream.checkpoints.put import PutUnknownError, disk_errors, names_in, put_if_absent
from actorstream.checkpoints.savepoints import LAYERS, MANIFEST, SORTING, WRITING, link_or_copy, lock_in_folder
from actorstream.errors import StoreError, StoreInUseError
from actorstream.state.verified import RECORD

if TYPE_CHECKING:
    from actorstream.checkpoints.manifest import Manifest
    from actorstream.model.world import FileLock, FileSystem

_RUN: Final = re.compile(r".*\.run")
_DRAFT: Final = re.compile(r"manifest\.json\.[0-9]+\.draft")


class SavepointDraft:
    """The folder of one savepoint that is being written. All calls block.

    Attributes:
        layers: Where layers go.
        sorting: Where runs go.
    """

    def __init__(self, files: FileSystem, path: str) -> None:
        """Touch nothing yet."""
        self.layers = join(path, LAYERS)
        self.sorting = join(path, SORTING)
        self._files = files
        self._path = path
        self._lock: FileLock | None = None
        self._made = False
        self._ours = False

    def begin(self) -> None:
        """Make the folder, or take one that is empty or was left unfinished.

        Raises:
            StoreInUseError: Somebody else is writing there.
            StoreError: It is a savepoint already, holds something else, or the disk refuses.
        """
        files, path = self._files, self._path
        with disk_errors(path, "making it"):
            self._made = not files.exists(path)
            if not self._made:
                self._refuse_taken()
            self._lock = lock_in_folder(files, path, WRITING)
            if self._lock is None:
                raise StoreInUseError(f"{path} is being written by another process: let it end, or give another path")
            self._refuse_taken()  # once more: whoever wrote here may have finished between the first look and the lock
            self._ours = True
            # What says that all of this is ours must be durable before any of it.
            files.sync_dir(path)
            self._sweep()
            for folder in (self.layers, self.sorting):
                files.make_dirs(folder)

    def take(self, source: str, name: str) -> None:
        """Link a layer, or copy it where that cannot be.

        Raises:
            FileNotFoundError: It is gone.
            StoreError: The disk refuses.
        """
        target = join(self.layers, name)
        try:
            link_or_copy(self._files, source, target)
        except FileNotFoundError:
            raise
        except OSError:
            with disk_errors(target, "linking"):
                raise

    def clear(self) -> None:
        """Remove the layers that were taken."""
        with disk_errors(self.layers, "tidying"):
            for name in names_in(self._files, self.layers):
                self._files.unlink(join(self.layers, name))

    def drop(self, name: str) -> None:
        """Remove a layer that was taken and is not needed."""
        with disk_errors(self.layers, "tidying"):
            self._files.unlink(join(self.layers, name))

    def publish(self, manifest: Manifest) -> None:
        """Make it a savepoint, durably.

        Raises:
            PutUnknownError: It may or may not be there after a power cut: look, and write it again if it is not.
            StoreError: It is none, the disk refuses.
        """
        with disk_errors(self._path, "finishing"):
            self._remove(self.sorting, _RUN)
            self._files.sync_dir(self.layers)
        place = join(self._path, MANIFEST)
        draft = f"{place}.{manifest.attempt}.draft"
        folders = (self._path, dirname(self._path))
        if not put_if_absent(self._files, place, seal(manifest), draft=draft, folders=folders):
            raise StoreError(f"{place} was written by somebody else at this moment: give another path")
        self._end()

    def abandon(self, error: BaseException) -> None:
        """Leave nothing behind, unless the error leaves open whether it is finished."""
        if isinstance(error, PutUnknownError):
            self._let_go()  # if the manifest is lost after all, `writing` says whose the rest is
        elif self._lock is not None:
            if self._ours:
                with suppress(OSError, StoreError):
                    self._sweep()
            self._end()
            if self._made:
                with suppress(OSError):
                    self._files.unlink(self._path)
                    self._files.sync_dir(dirname(self._path))
        elif self._made:
            with suppress(OSError):
                self._files.unlink(self._path)

    def _end(self) -> None:
        with suppress(OSError):
            self._files.unlink(join(self._path, WRITING))
        self._let_go()

    def _let_go(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _refuse_taken(self) -> None:
        path = self._path
        if self._files.exists(join(path, MANIFEST)):
            raise StoreError(f"{path} is a savepoint already: give another path, or remove that folder first")
        names, known = names_in(self._files, path), {LAYERS, LAYERS + RECORD, SORTING, WRITING}
        strange = [name for name in names if WRITING not in names or (name not in known and not _DRAFT.fullmatch(name))]
        for folder, mine in ((self.layers, _is_layer), (self.sorting, _is_run)):
            strange += [join(basename(folder), name) for name in names_in(self._files, folder) if not mine(name)]
        if strange:
            raise StoreError(f"{path} holds {strange[0]!r}, which nobody left who writes here: give a path of its own")

    def _sweep(self) -> None:
        """Remove what an unfinished savepoint consists of."""
        for name in names_in(self._files, self._path):
            if _DRAFT.fullmatch(name) or name == LAYERS + RECORD:
                self._files.unlink(join(self._path, name))
        for folder in (self.layers, self.sorting):
            for name in names_in(self._files, folder):
                self._files.unlink(join(folder, name))
            self._files.unlink(folder)

    def _remove(self, folder: str, what: re.Pattern[str]) -> None:
        for name in names_in(self._files, folder):
            if what.fullmatch(name):
                self._files.unlink(join(folder, name))
        self._files.unlink(folder)


def _is_layer(name: str) -> bool:
    return attempt_of(name) is not None


def _is_run(name: str) -> bool:
    return _RUN.fullmatch(name) is not None
