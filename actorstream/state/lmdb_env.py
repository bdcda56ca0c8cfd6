"""The one place that sees LMDB: environments opened by purpose, once a file and process.

    layer     immutable file, read-only, no lock file, no reader table, map fitted to the file
    building  a layer while it is written: no lock file, no sync (the caller syncs and digests)
    segment   shared between processes: lock file, reader table, each commit durable

LMDB facts held here: one environment a file and process (`_open_envs`, by device
and inode); a write transaction begins and ends in one thread, so `transaction`
never spans an await; LMDB has no page checksums and dies by SIGBUS on a short
file, so a layer is opened only after its digest was proved; an environment does
not survive fork(2), so each use checks the process id. Pages are zeroed before
use (`meminit`): files are copied and sent on, and must not carry our heap.

The collector may drop a reader anywhere, also in the midst of `_registry`'s block in
the same thread: what it gives up (`_given_up`) is then closed at the block's end.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import lmdb

from actorstream.errors import InvariantError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Transaction: TypeAlias = "lmdb.Transaction[bytes]"

KEY_BYTES_MAX = 511
MAX_READERS = 1024
_PAGE = 4096
_LOCK_FILE_BYTES = 64 * (MAX_READERS + 2)
"""How long LMDB makes a lock file: 64 bytes a reader, and 128 of its own."""
_REMEDIES = {
    errno.ENOENT: "its folder was removed or moved: put it back from a copy",
    errno.ENOSPC: "free some space on the disk",
    errno.EDQUOT: "free some space in the quota",
    errno.EROFS: "mount the disk for writing",
    errno.EACCES: "give this user the right to read and write it",
    errno.EPERM: "the file or folder is protected: make it writable",
    errno.EMFILE: "allow this process more open files (ulimit -n)",
    errno.ENFILE: "allow this machine more open files",
    errno.ENOMEM: "allow this process more memory or maps (vm.max_map_count)",
    # LMDB calls a short write so.
    errno.EIO: "the disk is full or fails: free some space, or restore the file from a copy",
}
_open_envs: dict[tuple[int, int], Env] = {}
_given_up: deque[Env] = deque()
_registry_lock = threading.RLock()
_registry_used = False


class MapFullError(StoreError):
    """The environment's map is used up: roll over, or make it larger. Nothing was written."""


class Env:
    """One open environment, shared by everyone in the process who opened the same file.

    Each `open_*` is paired with one `close`; the last one closes the file.
    """

    def __init__(self, path: str, env: lmdb.Environment, reopen: Callable[[], lmdb.Environment] | None = None) -> None:
        """Wrap an environment that was just opened, and that `reopen` opens again."""
        self.path = path
        self._env = env
        self._reopen = reopen
        self._inside = 0
        self._lost = False
        self._gate = threading.RLock()  # a dropped reader's transaction may end inside of it
        self._pid = os.getpid()
        self._users = 1
        self._identity: tuple[int, int] | None = None
        self._mapped: list[memoryview[int]] = []

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[Transaction]:
        """Run the block in a transaction: committed at its end, aborted if it raises.

        A write transaction waits for other writers, in other processes too: call it in a thread,
        and never await inside.

        Raises:
            MapFullError: The map is used up; nothing was written.
            StoreError: LMDB reports damage or a failing disk.
            InvariantError: The environment was carried over a fork.
        """
        self._refuse_forked()
        with self._gate:
            self._inside += 1
        try:
            with self._lmdb_errors(), self._begun(write=write) as txn:
                yield txn
        finally:
            with self._gate:
                self._inside -= 1

    def _begun(self, *, write: bool) -> Transaction:
        try:
            return self._env.begin(write=write, buffers=False)
        except lmdb.Error as error:
            # After a meta page that could not be written LMDB refuses everything until it is opened anew.
            with self._gate:
                if self._reopen is None or self._inside > 1 or not (self._lost or isinstance(error, lmdb.PanicError)):
                    raise
                self._lost = True
                self._env.close()
                self._env = self._reopen()
                self._lost = False
            return self._env.begin(write=write, buffers=False)

    def in_place(self) -> bool:
        """Tell whether the name still leads to this file: LMDB goes on writing into one that was replaced."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return False
        return self._identity == (status.st_dev, status.st_ino)

    def begin_reading(self) -> Transaction:
        """Begin a read transaction that stays open: for an immutable layer only, where it holds nothing back.

        The caller aborts it before `close`.
        """
        self._refuse_forked()
        return self._env.begin(buffers=False)

    @staticmethod
    def entries_in(txn: Transaction) -> int:
        """Count the entries that `txn` sees."""
        return int(txn.stat(None)["entries"])

    def mapped(self, key: bytes, head_bytes: int) -> tuple[bytes, memoryview[int]]:
        """Give the first bytes of a value, and the others as they lie in the map; both empty where there is none.

        Only for an immutable file, whose pages never move. After the last close the view is refused.
        """
        with self._lmdb_errors(), self._env.begin(buffers=True) as txn:
            value = memoryview(txn.get(key) or b"")
        view = value[head_bytes:]
        self._mapped.append(view)
        return bytes(value[:head_bytes]), view

    @property
    def map_size(self) -> int:
        """Give the size of the map in bytes."""
        with self._lmdb_errors(), self._gate:
            return int(self._env.info()["map_size"])

    def enlarge(self, map_size: int) -> None:
        """Make the map larger, outside of transactions; the file takes only what is used."""
        self._env.set_mapsize(map_size)

    @property
    def last_transaction(self) -> int:
        """Give the number of the newest committed transaction, also another process's: costs 2 µs."""
        with self._lmdb_errors(), self._gate:  # not while another thread opens it anew
            return int(self._env.info()["last_txnid"])

    def clear_dead_readers(self) -> int:
        """Free the reader slots of processes that died inside a read; give how many there were."""
        with self._lmdb_errors(), self._gate:
            return int(self._env.reader_check())

    def close(self) -> None:
        """Give up one use; the last one closes the file."""
        _given_up.append(self)
        _settle()

    def _give_up(self) -> None:
        """Count one user less, inside of `_registry`: LMDB refuses to open the file again as long as it is mapped."""
        self._users -= 1
        if self._users > 0:
            return
        # After `close_all` the file may have been opened anew: that entry is not ours to drop.
        if self._identity is not None and _open_envs.get(self._identity) is self:
            del _open_envs[self._identity]
        if os.getpid() == self._pid:
            self._unmap()

    def _refuse_forked(self) -> None:
        if os.getpid() != self._pid:
            raise InvariantError(f"{self.path} was opened before fork(): open it again in the child")

    @contextmanager
    def _lmdb_errors(self) -> Iterator[None]:
        try:
            yield
        except lmdb.MapFullError as error:
            raise MapFullError(f"{self.path}: its map of {self.map_size} bytes is full") from error
        except lmdb.Error as error:
            raise StoreError(f"{self.path}: LMDB says {error}; {_remedy(error)}") from error

    def _unmap(self) -> None:
        """Close the file. A view of what was mapped would read wild memory: it is refused from now on."""
        while self._mapped:
            self._mapped.pop().release()
        self._env.close()


def open_layer(path: str) -> Env:
    """Open an immutable layer for reading. Prove its digest first: see the module's docstring."""
    size = os.stat(path).st_size
    return _shared(
        path,
        map_size=-(-size // _PAGE) * _PAGE,
        readonly=True,
        lock=False,
        readahead=False,
        max_spare_txns=4,
    )


def create_building(path: str, map_size: int) -> Env:
    """Make a new file to write a layer into; nothing is durable until the caller syncs it.

    Raises:
        StoreError: The name is taken, or the folder cannot be written.
    """
    if os.path.lexists(path):
        raise StoreError(f"{path} exists already: layer names are never used twice")
    return Env(
        path,
        _open(path, map_size=map_size, lock=False, sync=False, metasync=False, readahead=False),
    )


def open_segment(path: str, *, map_size: int, readonly: bool = False) -> Env:
    """Open, or make, a file that several processes share; each commit is durable when it returns."""
    return _shared(path, map_size=map_size, readonly=readonly, max_readers=MAX_READERS, readahead=False)


def close_all() -> None:
    """Close every environment of this process: for a simulated crash, when nobody is left to do it."""
    with _registry():
        for env in _open_envs.values():
            env._unmap()  # noqa: SLF001
        _open_envs.clear()


@contextmanager
def _registry() -> Iterator[None]:
    """Keep other threads from `_open_envs`, and this one from closing meanwhile what it drops."""
    global _registry_used  # noqa: PLW0603
    try:
        with _registry_lock:
            _registry_used = True
            try:
                yield
            finally:
                _registry_used = False
    finally:
        _settle()


def _settle() -> None:
    """Close what was given up; inside of this thread's own `_registry` that waits for the end of it."""
    global _registry_used  # noqa: PLW0603
    while _given_up:
        with _registry_lock:
            if _registry_used:
                return
            _registry_used = True
            try:
                while _given_up:
                    _given_up.popleft()._give_up()  # noqa: SLF001
            finally:
                _registry_used = False


def _shared(path: str, **options: object) -> Env:
    with _registry():
        if os.path.exists(path):
            status = os.stat(path)
            known = _open_envs.get((status.st_dev, status.st_ino))
            if known is not None and known._pid == os.getpid():  # noqa: SLF001
                known._users += 1  # noqa: SLF001
                return known
        if not options["readonly"]:
            _back_lock_file(f"{path}-lock")
        reopen = partial(_open, path, **options)
        env = Env(path, reopen(), reopen)
        status = os.stat(path)
        env._identity = (status.st_dev, status.st_ino)  # noqa: SLF001
        _open_envs[env._identity] = env  # noqa: SLF001
        return env


def _open(path: str, **options: object) -> lmdb.Environment:
    try:
        return lmdb.open(path, subdir=False, mode=0o600, max_dbs=0, **options)  # type: ignore[arg-type]
    except ValueError as error:
        raise StoreError(f"{path!r}: LMDB takes no such path ({error}): use a folder whose name is UTF-8") from error
    except lmdb.Error as error:
        raise StoreError(f"{path}: LMDB cannot open it: {error}; {_remedy(error)}") from error


def _back_lock_file(path: str) -> None:
    """Give a lock file its blocks before LMDB maps it: a write to a hole of it ends the process where the disk is full.

    Only while it is not open here: closing any descriptor of it would drop LMDB's locks.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, _LOCK_FILE_BYTES)
        finally:
            os.close(fd)
    except OSError as error:
        raise StoreError(f"{path}: cannot be made: {error.strerror}; {_remedy(error)}") from error


def _remedy(error: lmdb.Error | OSError) -> str:
    code = error.errno if isinstance(error, OSError) else error.code
    return _REMEDIES.get(code or 0, "check the disk, or restore the file from a copy")
