"""Giving a file its name at most once: the put-if-absent of a folder.

    draft ── write, sync ──> last look ──> LINK ──> unlink the draft, sync the folders ──> durable
             └── an error: nothing was put ──┘      └── an error: outcome unknown ──┘

A name that appears through a link has its whole content from the start, so a
crash leaves a draft or a complete file, never half of one. Between the link and
the sync the name is visible but may still be lost: an error there must not be
taken for a failure, nor for a success (RELIABILITY 2.4.3).
"""

from __future__ import annotations

import errno
from contextlib import contextmanager, suppress
from os.path import dirname
from typing import TYPE_CHECKING

from actorstream.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actorstream.model.world import FileSystem

_CERTAIN = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOENT, errno.ENOTDIR}
)
_REMEDIES = {
    errno.ENOENT: "it was removed or moved: put it back from a copy, or start with an empty store",
    errno.ENOTDIR: "there is a file where a folder should be: name a folder",
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the quota is used up: free some space",
    errno.EROFS: "mount the disk for writing",
    errno.EACCES: "give this user the right to read and write the store",
    errno.EPERM: "the file or folder is protected: make it writable",
}


class PutUnknownError(StoreError):
    """The name may or may not be there after a crash: only the next recovery can tell."""


@contextmanager
def disk_errors(path: str, doing: str) -> Iterator[None]:
    """Turn an `OSError` of the block into a `StoreError` that names `path` and a remedy."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "check the disk")
        raise StoreError(f"{path}: {doing} failed: {error.strerror or error}; {remedy}") from error


def put_if_absent(
    files: FileSystem,
    path: str,
    data: bytes,
    *,
    draft: str,
    folders: Sequence[str],
    last_look: Callable[[], None] | None = None,
) -> bool:
    """Write `data` under a name that nobody has, durably; give False if the name is taken.

    Args:
        files: The disk.
        path: The final name.
        data: The whole content.
        draft: A name in the same folder that only this caller uses.
        folders: Which folders to sync after the link.
        last_look: Called between the synced draft and the link; what it raises stops the put.

    Raises:
        PutUnknownError: An error after, or of, the link: the name may or may not survive.
        StoreError: Nothing was put.
    """
    try:
        with disk_errors(draft, "writing"):
            files.unlink(draft)
            _write(files, draft, data)
        if last_look is not None:
            last_look()
    except StoreError:
        discard(files, draft)
        raise
    return link_if_absent(files, draft, path, folders=folders)


def link_if_absent(files: FileSystem, draft: str, path: str, *, folders: Sequence[str]) -> bool:
    """Give a whole and synced draft its final name, durably; give False if the name is taken. The draft goes.

    Raises:
        PutUnknownError: An error after, or of, the link: the name may or may not survive.
        StoreError: Nothing was put.
    """
    try:
        linked = _link(files, draft, path)
    except StoreError:
        discard(files, draft)
        raise
    discard(files, draft)
    if linked:
        try:
            for folder in folders:
                files.sync_dir(folder)
        except OSError as error:
            raise PutUnknownError(
                f"{path} was linked, but its folder could not be synced ({error.strerror or error}): "
                "whether it is durable is unknown until the next recovery reads it"
            ) from error
    return linked


def discard(files: FileSystem, path: str) -> None:
    """Remove a leftover that does no harm; if the disk refuses, a later sweep comes by again."""
    with suppress(OSError):
        files.unlink(path)


def read_file(files: FileSystem, path: str) -> bytes:
    """Give a whole file, or raise a `StoreError` that names it."""
    with disk_errors(path, "reading"):
        return files.read(path)


def chunks_of(files: FileSystem, path: str) -> Iterator[bytes]:
    """Give a file in pieces of at most 1 MiB, or raise a `StoreError` that names it."""
    with disk_errors(path, "reading"):
        yield from files.chunks(path)


def names_in(files: FileSystem, path: str) -> list[str]:
    """Give the sorted names in a folder, or raise a `StoreError` that names it."""
    with disk_errors(path, "listing"):
        return files.list_dir(path)


def _write(files: FileSystem, path: str, data: bytes) -> None:
    file = files.create(path)
    try:
        file.write(data)
        file.sync()
    finally:
        file.close()


def _link(files: FileSystem, draft: str, path: str) -> bool:
    try:
        files.link(draft, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in _CERTAIN:
            with disk_errors(path, f"linking in {dirname(path)}"):
                raise
        raise PutUnknownError(
            f"{path}: the link failed with {error.strerror or error}, which leaves open whether it was made"
        ) from error
    return True
