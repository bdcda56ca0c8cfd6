"""File systems between the code under test and the real one, where calls can be made to fail.

    code under test ──> InterceptedFiles ──> inner FileSystem
                            │
                            └ `_before(kind, path)` sees every call first; it raises to keep the call from being made

`FaultyFiles` is the one with a plan: the n-th call of the chosen kinds fails, once. A test repeats its program with
n = 1, 2, 3, … until no fault fires, and so has met a fault at every place (the way of SQLite's tests):

    for nth in itertools.count(1):
        files = FaultyFiles(RealFiles(), Fault(nth, "ENOSPC"))
        …
        if files.fired is None:
            break
"""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple, NoReturn, TypeAlias, TypeVar

from actorstream.testing.loop import SimulatedCrash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from actorstream.model.world import FileLock, FileSystem, NewFile
    from actorstream.testing.disk import SimulatedDisk

R = TypeVar("R")
CallKind: TypeAlias = Literal[
    "make_dirs", "create", "write", "sync", "sync_dir", "link", "rename", "unlink", "lock", "read"
]
Effect: TypeAlias = Literal["EIO", "ENOSPC", "short write", "kill", "kill in write"]

CHANGES: frozenset[CallKind] = frozenset(
    ("make_dirs", "create", "write", "sync", "sync_dir", "link", "rename", "unlink", "lock")
)
ALL_CALLS: frozenset[CallKind] = CHANGES | {"read"}
_end_process = partial(os._exit, 137)


class FileCall(NamedTuple):
    """A call about to be made. `chunks` and looking (`size`, `exists`, `free_bytes`, …) are "read"."""

    kind: CallKind
    path: str


@dataclass(frozen=True, slots=True)
class Fault:
    """The `nth` call (from 1) of one of `kinds` meets `effect` instead of being made.

    "EIO" and "ENOSPC" are OSErrors. "short write" writes half and raises ENOSPC. "kill" ends the process as SIGKILL
    would, "kill in write" when half is written. The two of half a write count writes only, whatever kinds are chosen.
    """

    nth: int
    effect: Effect
    kinds: frozenset[CallKind] = ALL_CALLS

    def counts(self, kind: CallKind) -> bool:
        """Tell whether a call of this kind is counted."""
        return kind in self.kinds and (kind == "write" or self.effect not in {"short write", "kill in write"})


class InterceptedFiles:
    """`FileSystem` that asks `_before` ahead of each call and hands the call on to another one."""

    def __init__(self, inner: FileSystem) -> None:
        """Hand calls on to `inner`."""
        self._inner = inner

    def _before(self, kind: CallKind, path: str, half: Callable[[], None] | None = None) -> None:
        """Raise, and the call is not made. `half` makes half of it, where it can be cut: a write."""
        raise NotImplementedError

    def make_dirs(self, path: str, /) -> None:
        """Make a folder and its parents."""
        self._before("make_dirs", path)
        self._inner.make_dirs(path)

    def create(self, path: str, /) -> NewFile:
        """Open a new file for writing, whose calls are intercepted too."""
        self._before("create", path)
        return _InterceptedFile(self._inner.create(path), partial(self._before, path=path))

    def read(self, path: str, /) -> bytes:
        """Give a whole file."""
        self._before("read", path)
        return self._inner.read(path)

    def chunks(self, path: str, /) -> Iterator[bytes]:
        """Give a file in pieces."""
        self._before("read", path)
        return self._inner.chunks(path)

    def read_at(self, path: str, offset: int, size: int, /) -> bytes:
        """Give a part of a file."""
        self._before("read", path)
        return self._inner.read_at(path, offset, size)

    def size(self, path: str, /) -> int:
        """Give a file's length in bytes."""
        self._before("read", path)
        return self._inner.size(path)

    def exists(self, path: str, /) -> bool:
        """Tell whether the name is there."""
        self._before("read", path)
        return self._inner.exists(path)

    def free_bytes(self, path: str, /) -> int:
        """Give the free space of the disk."""
        self._before("read", path)
        return self._inner.free_bytes(path)

    def temporary(self, name: str, /) -> str:
        """Give the path of a temporary folder."""
        return self._inner.temporary(name)

    def make_temporary(self, path: str, /) -> None:
        """Make a temporary folder, which is no place to fail at either."""
        self._inner.make_temporary(path)

    def remove_tree(self, path: str, /) -> None:
        """Remove a temporary folder: nobody relies on it, so it is no place to fail at."""
        self._inner.remove_tree(path)

    def list_dir(self, path: str, /) -> list[str]:
        """Give the sorted names in a folder."""
        self._before("read", path)
        return self._inner.list_dir(path)

    def link(self, source: str, target: str, /) -> None:
        """Give a file a second name."""
        self._before("link", target)
        self._inner.link(source, target)

    def rename(self, source: str, target: str, /) -> None:
        """Give a file another name."""
        self._before("rename", target)
        self._inner.rename(source, target)

    def unlink(self, path: str, /) -> None:
        """Remove a name."""
        self._before("unlink", path)
        self._inner.unlink(path)

    def append(self, path: str, data: bytes, /) -> None:
        """Add to a file's end: a write, which can be cut."""
        self._before("write", path, partial(self._inner.append, path, data[: len(data) // 2]))
        self._inner.append(path, data)

    def identity(self, path: str, /) -> str:
        """Give what stands for a file as it is."""
        self._before("read", path)
        return self._inner.identity(path)

    def read_each(self, read: Callable[[str], R], paths: Sequence[str], /) -> list[R]:
        """Let the inner one call `read`, whose own calls come by here."""
        return self._inner.read_each(read, paths)

    def sync(self, path: str, /) -> None:
        """Make an existing file's content durable."""
        self._before("sync", path)
        self._inner.sync(path)

    def sync_dir(self, path: str, /) -> None:
        """Make the names in a folder durable."""
        self._before("sync_dir", path)
        self._inner.sync_dir(path)

    def synced(self, path: str, /) -> None:
        """Hand the note on: LMDB has synced, nothing can fail any more."""
        self._inner.synced(path)

    def lock(self, path: str, /) -> FileLock | None:
        """Take an exclusive lock."""
        self._before("lock", path)
        return self._inner.lock(path)


class _InterceptedFile:
    def __init__(self, inner: NewFile, before: Callable[..., None]) -> None:
        self._inner = inner
        self._before = before

    def write(self, data: bytes, /) -> None:
        self._before("write", half=partial(self._inner.write, data[: len(data) // 2]))
        self._inner.write(data)

    def sync(self) -> None:
        self._before("sync")
        self._inner.sync()

    def close(self) -> None:
        self._inner.close()


class FaultyFiles(InterceptedFiles):
    """`FileSystem` in which one call fails, by plan. May be called from several threads.

    Attributes:
        calls: Every call so far, the failed one too.
        fired: The call that failed, or None as yet.
    """

    def __init__(
        self, inner: FileSystem, fault: Fault | None = None, *, kill: Callable[[], object] = _end_process
    ) -> None:
        """Stand before `inner`.

        Args:
            inner: Where calls go.
            fault: What fails; nothing if None, and calls are only recorded.
            kill: What a kill does; in a simulation `AttachedFiles.die`. If it returns, SimulatedCrash is raised.
        """
        super().__init__(inner)
        self.calls: list[FileCall] = []
        self.fired: FileCall | None = None
        self._fault = fault
        self._kill = kill
        self._counted = 0
        self._lock = threading.Lock()

    def _before(self, kind: CallKind, path: str, half: Callable[[], None] | None = None) -> None:
        fault, call = self._fault, FileCall(kind, path)
        with self._lock:
            self.calls.append(call)
            if fault is None or not fault.counts(kind):
                return
            self._counted += 1
            if self._counted != fault.nth:
                return
            self.fired = call
        match fault.effect:
            case "kill" | "kill in write":
                if fault.effect == "kill in write" and half is not None:
                    half()
                self._kill()
                raise SimulatedCrash(f"killed before {kind} of {path}")
            case "short write":
                if half is not None:
                    half()
                raise disk_error(errno.ENOSPC, path)
            case "ENOSPC":
                raise disk_error(errno.ENOSPC, path)
            case "EIO":
                raise disk_error(errno.EIO, path)


class AttachedFiles(InterceptedFiles):
    """A simulated process's view of a `SimulatedDisk`: made by `SimulatedDisk.attach`.

    Attributes:
        operations: How many changes it has begun: each is a place to crash at.
        fenced: Whether the process is dead: every call raises SimulatedCrash.
    """

    def __init__(
        self,
        disk: SimulatedDisk,
        crash_at: int | None,
        fail_at: Mapping[int, int],
        on_crash: Callable[[str], SimulatedCrash],
    ) -> None:
        super().__init__(disk)
        self._disk = disk
        self._crash_at = crash_at
        self._fail_at = fail_at
        self._on_crash = on_crash
        self._files: list[NewFile] = []
        self._locks: list[FileLock] = []
        self.operations = 0
        self.fenced = False

    def fence(self) -> None:
        """End the process's use of the disk: its files are closed, its locks free."""
        self.fenced = True
        for file in self._files:
            file.close()
        for lock in self._locks:
            lock.release()

    def die(self, reason: str = "killed by a fault") -> NoReturn:
        """End the process here: what a `FaultyFiles` in front of this one takes as its `kill`."""
        self.fence()
        raise self._on_crash(reason)

    def make_dirs(self, path: str, /) -> None:
        """Make a folder and its parents, two changes each: a crash may come between."""
        self._refuse_dead()
        parent = os.path.dirname(path)
        if not self._disk.exists(path):
            self.make_dirs(parent)
            self._before("make_dirs", path)
            self._disk.make_dir(path)
        if path != self._disk.root:
            self.sync_dir(parent)

    def create(self, path: str, /) -> NewFile:
        """Open a new file, which is closed at the latest when the process dies."""
        file = super().create(path)
        self._files.append(file)
        return file

    def synced(self, path: str, /) -> None:
        """Take the note first: LMDB's sync is over when we hear of it, and a crash can only follow."""
        self._refuse_dead()
        self._disk.synced(path)
        self._count("synced", path, None)

    def lock(self, path: str, /) -> FileLock | None:
        """Take an exclusive lock, which ends with the process."""
        lock = super().lock(path)
        if lock is not None:
            self._locks.append(lock)
        return lock

    def _before(self, kind: CallKind, path: str, half: Callable[[], None] | None = None) -> None:
        self._refuse_dead()
        if kind not in CHANGES:
            return
        self._count(kind, path, half)
        if (number := self._fail_at.get(self.operations)) is not None:
            if kind == "sync":
                self._disk.refuse_sync(path)
            raise disk_error(number, path)

    def _count(self, what: str, path: str, half: Callable[[], None] | None) -> None:
        self.operations += 1
        if self.operations == self._crash_at:
            if half is not None:
                half()
            self.die(f"crash at disk operation {self.operations}, {what} of {path}")

    def _refuse_dead(self) -> None:
        if self.fenced:
            raise SimulatedCrash("the process is dead: its disk belongs to its successor")


def disk_error(number: int, path: str) -> OSError:
    """Give the OSError that the machine would raise."""
    return OSError(number, os.strerror(number), path)
