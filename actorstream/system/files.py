"""The real disk: one system call, or one small idiom of them, for each method of `FileSystem`."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.model.world import FileLock, NewFile

_CHUNK_BYTES = 1 << 20


class _RealNewFile:
    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes, /) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def sync(self) -> None:
        os.fsync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class _RealLock:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class RealFiles:
    """`FileSystem` on the machine's own disk."""

    def make_dirs(self, path: str, /) -> None:
        """Make a folder and its parents, each name durable before the next is made.

        An existing folder's own name is synced too: whoever made it may have died before
        that. A parent that may not be read was not made by us, so it is passed over.
        """
        parent = os.path.dirname(path)
        if os.path.isdir(path):
            with suppress(PermissionError):
                self.sync_dir(parent)
            return
        self.make_dirs(parent)
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        self.sync_dir(parent)

    def create(self, path: str, /) -> NewFile:
        """Open a new file for writing."""
        return _RealNewFile(path)

    def read(self, path: str, /) -> bytes:
        """Give a whole file."""
        with open(path, "rb") as file:
            return file.read()

    def chunks(self, path: str, /) -> Iterator[bytes]:
        """Give a file in pieces of at most 1 MiB."""
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    def size(self, path: str, /) -> int:
        """Give a file's length in bytes."""
        return os.stat(path).st_size

    def exists(self, path: str, /) -> bool:
        """Tell whether the name is there."""
        return os.path.lexists(path)

    def list_dir(self, path: str, /) -> list[str]:
        """Give the sorted names in a folder."""
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def link(self, source: str, target: str, /) -> None:
        """Give a file a second name."""
        os.link(source, target, follow_symlinks=False)

    def unlink(self, path: str, /) -> None:
        """Remove a name, an empty folder's too; a missing one is fine."""
        with suppress(FileNotFoundError):
            try:
                os.unlink(path)
            except (IsADirectoryError, PermissionError):
                # Linux says the one for a folder, POSIX the other, which may also be meant.
                if not os.path.isdir(path) or os.path.islink(path):
                    raise
                os.rmdir(path)

    def sync(self, path: str, /) -> None:
        """Fsync an existing file."""
        self._fsync(path, os.O_RDONLY)

    def sync_dir(self, path: str, /) -> None:
        """Fsync a folder."""
        self._fsync(path, os.O_RDONLY | os.O_DIRECTORY)

    def synced(self, path: str, /) -> None:
        """Do nothing: the disk knows."""

    def temporary(self, name: str, /) -> str:
        """Give a path in the system's folder for temporary files."""
        return os.path.join(tempfile.gettempdir(), name)

    def make_temporary(self, path: str, /) -> None:
        """Make a folder and its parents, with no sync."""
        os.makedirs(path, 0o700, exist_ok=True)

    def remove_tree(self, path: str, /) -> None:
        """Remove a temporary folder."""
        shutil.rmtree(path, ignore_errors=True)

    def lock(self, path: str, /) -> FileLock | None:
        """Take a flock: it ends with the process, however that ends."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except OSError:
            os.close(fd)
            raise
        return _RealLock(fd)

    @staticmethod
    def _fsync(path: str, flags: int) -> None:
        fd = os.open(path, flags | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
