"""The folder that a replay writes into, which says whether it is whole.

    <into>/UNFINISHED      from before the first record until after the last
           LOCK            held while a replay is at work here
           <log> ...       one folder for each output log
           REPLAY          what was replayed; there when all logs are whole

A folder with UNFINISHED in it is a replay that was killed, or that failed: the same call clears it and begins anew,
which gives the same records. It is finished when REPLAY is there and UNFINISHED is not, and then never touched again.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from os.path import join
from typing import TYPE_CHECKING

from actorstream.checkpoints.put import disk_errors
from actorstream.codec.documents import encode_json
from actorstream.errors import StoreError

if TYPE_CHECKING:
    from actorstream.model.world import FileLock, FileSystem

UNFINISHED = "UNFINISHED"
FINISHED = "REPLAY"
LOCK = "LOCK"
NAMES = frozenset({UNFINISHED, FINISHED, LOCK})
_NOT_EMPTY = frozenset({errno.ENOTEMPTY, errno.EEXIST})


@dataclass(frozen=True, slots=True)
class ReplayNote:
    """The document REPLAY: what was replayed, for people and for whoever compares.

    `reads` holds for each source the offsets read, by split; `logs` how many records each output log has.
    """

    pipeline: str
    savepoint: str | None
    reads: dict[str, dict[str, tuple[int, int]]]
    logs: dict[str, int]


class ReplayFolder:
    """One replay's folder, while it is at work. Blocking."""

    def __init__(self, files: FileSystem, path: str, lock: FileLock) -> None:
        """Made by `begin`."""
        self.path = path
        self._files = files
        self._lock: FileLock | None = lock

    def finish(self, note: ReplayNote) -> None:
        """Say that all is there."""
        files = self._files
        with disk_errors(self.path, "finishing the replay"):
            _put(files, join(self.path, FINISHED), encode_json(note))
            files.sync_dir(self.path)
            files.unlink(join(self.path, UNFINISHED))
            files.unlink(join(self.path, LOCK))
            files.sync_dir(self.path)
        self.release()

    def release(self) -> None:
        """Let others try; a second call does nothing."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()


def begin(files: FileSystem, path: str) -> ReplayFolder:
    """Take an empty folder, or clear that of an unfinished replay. Blocking.

    Raises:
        StoreError: It holds something else, or another process is at work there, or the disk refuses.
    """
    with disk_errors(path, "beginning a replay"):
        _refuse_foreign(files, path)
        files.make_dirs(path)
        lock = files.lock(join(path, LOCK))
        if lock is None:
            raise StoreError(f"{path}: another process is replaying into it: wait for that, or choose another folder")
        try:
            _refuse_foreign(files, path)
            if not files.exists(join(path, UNFINISHED)):
                _put(files, join(path, UNFINISHED), b"")
            files.sync_dir(path)
            for name in files.list_dir(path):
                if name not in {UNFINISHED, LOCK}:
                    _remove(files, join(path, name))
            files.sync_dir(path)
        except BaseException:
            lock.release()
            raise
    return ReplayFolder(files, path, lock)


def _refuse_foreign(files: FileSystem, path: str) -> None:
    names = set(files.list_dir(path)) - {LOCK}
    if not names or UNFINISHED in names:
        return
    if FINISHED in names:
        raise StoreError(f"{path} holds a finished replay: choose another folder, or delete that one")
    raise StoreError(f"{path} is not empty (it has {sorted(names)[:5]}): choose a folder that is, or a new one")


def _remove(files: FileSystem, path: str) -> None:
    try:
        files.unlink(path)
    except OSError as error:
        if error.errno not in _NOT_EMPTY:
            raise
        for name in files.list_dir(path):
            _remove(files, join(path, name))
        files.unlink(path)


def _put(files: FileSystem, path: str, data: bytes) -> None:
    files.unlink(path)
    file = files.create(path)
    try:
        file.write(data)
        file.sync()
    finally:
        file.close()
