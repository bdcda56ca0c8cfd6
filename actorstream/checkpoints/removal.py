"""A store whose job has ended and is not to be gone on with: all of it goes but the savepoints.

    REMOVING ── checkpoints, layers, attempts, JOB ── REMOVING goes

Between the first and the last step the store is neither there nor gone: whoever opens it meanwhile goes on
with the removal, and then finds it empty. So a crash leaves no checkpoint whose layers are missing.
"""

from __future__ import annotations

from os.path import join
from typing import TYPE_CHECKING

from actorstream.checkpoints.put import disk_errors
from actorstream.errors import StoreInUseError

if TYPE_CHECKING:
    from actorstream.model.world import FileSystem

REMOVING = "REMOVING"
_FOLDERS = ("checkpoints", "layers", "attempts")
_FILES = ("layers.verified", "JOB")


def remove_store(files: FileSystem, root: str) -> None:
    """Remove a job's store, which the caller has locked; blocking.

    Raises:
        StoreError: The disk refuses: whoever opens the store next goes on.
    """
    with disk_errors(root, "removing the store"):
        marker = join(root, REMOVING)
        if not files.exists(marker):
            files.create(marker).close()
        files.sync_dir(root)
        for folder in _FOLDERS:
            _empty(files, join(root, folder))
        for name in files.list_dir(root):
            if name in _FILES or name.startswith("JOB."):
                files.unlink(join(root, name))
        files.sync_dir(root)
        files.unlink(marker)
        files.sync_dir(root)


def finish_removal(files: FileSystem, root: str) -> None:
    """Go on with a removal that was cut short, if there is one.

    Raises:
        StoreInUseError: Somebody is at it.
        StoreError: The disk refuses.
    """
    with disk_errors(root, "looking"):
        if not files.exists(join(root, REMOVING)):
            return
        lock = files.lock(join(root, "LOCK"))
    if lock is None:
        raise StoreInUseError(f"{root} is being removed by another process: wait for it, or use another store")
    try:
        with disk_errors(root, "looking"):
            still = files.exists(join(root, REMOVING))
        if still:
            remove_store(files, root)
    finally:
        lock.release()


def _empty(files: FileSystem, folder: str) -> None:
    """Remove a folder, if it is there, with the files in it, and in the folders in it."""
    if not files.exists(folder):
        return
    for name in files.list_dir(folder):
        path = join(folder, name)
        for inner in files.list_dir(path) if _is_folder(files, path) else ():
            files.unlink(join(path, inner))
        files.unlink(path)
    files.sync_dir(folder)
    files.unlink(folder)


def _is_folder(files: FileSystem, path: str) -> bool:
    try:
        files.list_dir(path)
    except NotADirectoryError:
        return False
    return True
