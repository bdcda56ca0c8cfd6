"""The real disk: one system call, or one small idiom of them, for each method of `FileSystem`."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actorstream.model.world import FileLock, NewFile

R = TypeVar("R")

_CHUNK_BYTES = 1 << 20
_READERS = 4
_TICK_NS = 20_000_000
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


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

    def read_at(self, path: str, offset: int, size: int, /) -> bytes:
        """Give a part of a file."""
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            pieces = []
            while size > 0 and (piece := file.read(size)):
                pieces.append(piece)
                size -= len(piece)
            return b"".join(pieces)

    def size(self, path: str, /) -> int:
        """Give a file's length in bytes."""
        return os.stat(path).st_size

    def exists(self, path: str, /) -> bool:
        """Tell whether the name is there."""
        return os.path.lexists(path)

    def free_bytes(self, path: str, /) -> int:
        """Give the free space of the file system, without what is kept for root."""
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize

    def list_dir(self, path: str, /) -> list[str]:
        """Give the sorted names in a folder."""
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def link(self, source: str, target: str, /) -> None:
        """Give a file a second name."""
        os.link(source, target, follow_symlinks=False)

    def rename(self, source: str, target: str, /) -> None:
        """Give a file another name in its folder."""
        os.rename(source, target)

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

    def append(self, path: str, data: bytes, /) -> None:
        """Add to a file's end: one write, which no other process's comes into."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)

    def identity(self, path: str, /) -> str:
        """Give boot, device, inode, size and time of the last change.

        Linux before 6.13 counts that time in ticks of up to 10 ms, and two changes in one tick look like one. So what
        was changed just now gets a text that no other reading gives.
        """
        status, now = os.stat(path), time.time_ns()
        text = f"{_boot()} {status.st_dev} {status.st_ino} {status.st_size} {status.st_ctime_ns}"
        return text if now - status.st_ctime_ns > _TICK_NS else f"{text} {now}"

    def read_each(self, read: Callable[[str], R], paths: Sequence[str], /) -> list[R]:
        """Call `read` in a few threads, which end when this returns."""
        with ThreadPoolExecutor(_READERS) as threads:
            try:
                return list(threads.map(read, paths))
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise

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
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(path, fd):
                    return _RealLock(fd)
            except BlockingIOError:
                os.close(fd)
                return None
            except OSError:
                os.close(fd)
                raise
            os.close(fd)  # who had it has removed it since it was opened: it would keep nobody out

    @staticmethod
    def _fsync(path: str, flags: int) -> None:
        fd = os.open(path, flags | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _is_at(path: str, fd: int) -> bool:
    """Tell whether the open file is the one of this name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


@cache
def _boot() -> str:
    """Name the time since the machine was turned on; where it has no name, the time of this process."""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return secrets.token_hex(16)
