"""OSError from the disk, as a StoreError that says which file and what to do."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from actorstream.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

_REMEDIES = {
    errno.ENOENT: "it was removed or moved: put it back from a copy",
    errno.EMFILE: "allow this process more open files (ulimit -n)",
    errno.ENOSPC: "free space on the disk, then start again",
    errno.EDQUOT: "free space in the quota, then start again",
    errno.EACCES: "give this user access to the folder",
    errno.EPERM: "give this user access to the folder",
    errno.EROFS: "mount the disk writable",
    errno.EIO: "the disk fails: restore the log from a copy",
}


@contextmanager
def disk_errors(path: str) -> Iterator[None]:
    """Run the block; what the disk refuses becomes a StoreError about the file it names, or `path`."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "look at the folder and the disk")
        raise StoreError(f"{error.filename or path}: {error.strerror or error}: {remedy}") from error
