"""A disk that loses power: which bytes and names a machine would find after a crash.

Files are real, in a folder of their own (LMDB maps them), and hold what running processes see. Beside them the disk
keeps what would survive, by the rules of POSIX: content after `sync`, names after `sync_dir`.

    what processes see        the folder itself
    what surely survives      per file the bytes at its last sync; per folder the names at its last sync_dir
    in between, power_cut:    per folder a prefix of the changes of names made since, drawn at random;
                              per file nothing, all, or a prefix of the bytes written since (torn), then perhaps zeros

    SimulatedDisk ──attach()──> AttachedFiles      a process's view: counts its changes, dies or fails at the k-th one,
                                                   and is fenced for ever once the process is dead

Invariants:
    - What was synced survives, under every name that was synced.
    - A fenced process reads and changes nothing: its `finally` blocks cannot reach the disk its successor uses.
    - Files that LMDB makes or changes by itself count as made at the next call on their folder and as not synced until
      `sync` or `synced` names them.
    - After a failed `sync` the file's new bytes are not made durable by another `sync`, as on Linux: write a new file.
"""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from xxhash import xxh3_128_hexdigest

from actorstream.state.lmdb_env import close_all
from actorstream.system.files import RealFiles
from actorstream.testing.faults import AttachedFiles, disk_error
from actorstream.testing.loop import SimulatedCrash
from actorstream.testing.surviving import SavedFile, SavedFolder, cut_content, cut_names, write_back

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from actorstream.model.world import FileLock, NewFile

R = TypeVar("R")

_MEMORY_FOLDER = "/dev/shm"  # LMDB syncs for real: there it costs nothing


class SimulatedDisk(RealFiles):
    """`FileSystem` over a real folder, and what of it survives. It outlives processes; each gets its own `attach`.

    Attributes:
        root: The folder. All paths lie below it.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Take the folder as it is: what it holds counts as durable."""
        self.root = os.path.abspath(root)
        self._tree = SavedFolder(self.root)
        self._locked: set[SavedFile] = set()
        self._attached: list[AttachedFiles] = []
        self._cuts = 0
        self._adopt()

    def attach(
        self,
        *,
        crash_at: int | None = None,
        fail_at: Mapping[int, int] | None = None,
        on_crash: Callable[[str], SimulatedCrash] = SimulatedCrash,
    ) -> AttachedFiles:
        """Give a new process its view of the disk.

        Args:
            crash_at: The process dies in place of its change of this number, counted from 1; a write is made by half.
            fail_at: errno by number: that change fails with OSError, and is not made.
            on_crash: Told the reason when the process dies; gives what to raise.
        """
        files = AttachedFiles(self, crash_at, fail_at or {}, on_crash)
        self._attached.append(files)
        return files

    def kill(self) -> None:
        """End all processes: they are fenced, their locks and LMDB environments end, what they saw stays."""
        for files in self._attached:
            files.fence()
        self._attached.clear()
        close_all()

    def power_cut(self, rng: random.Random) -> list[str]:
        """Turn the machine off and on: leave what a disk might have kept. Give what was lost, a line each."""
        self.kill()
        self._cuts += 1
        lost: list[str] = []
        before = dict(self._tree.files(now=True))
        folders_before = set(self._tree.folders(now=True))
        cut_names(self._tree, rng, lost)
        after = dict(self._tree.files(now=False))
        folders = list(self._tree.folders(now=False))
        contents: dict[SavedFile, bytes] = {}
        changed: set[SavedFile] = set()
        for path, file in after.items():
            if file not in contents:
                seen = file.content()
                contents[file] = cut_content(rng, seen, file.synced)
                if contents[file] != seen:
                    changed.add(file)
                    lost.append(f"{len(seen)} bytes of {path}: {len(contents[file])} are there, torn or old")
        kept = {path: file for path, file in before.items() if after.get(path) is file and file not in changed}
        for path in before.keys() - kept.keys():
            os.unlink(path)
        for path in sorted(folders_before.difference(folders), reverse=True):
            os.rmdir(path)
        for path in folders:
            os.makedirs(path, mode=0o700, exist_ok=True)
        write_back(after, contents, kept)
        self._tree = SavedFolder(self.root)
        self._adopt()
        return lost

    # -- FileSystem --------------------------------------------------------------------------------------------------

    def make_dirs(self, path: str, /) -> None:
        """Make a folder and its parents, durable names included; an existing one's name becomes durable too."""
        parent = os.path.dirname(path)
        if not self.exists(path):
            self.make_dirs(parent)
            self.make_dir(path)
        if path != self.root:
            self.sync_dir(parent)

    def make_dir(self, path: str) -> None:
        """Make one folder, whose name is not durable yet."""
        parent, name = self._place(path)
        os.mkdir(path, 0o700)
        parent.add(name, SavedFolder(path))

    def create(self, path: str, /) -> NewFile:
        """Open a new file for writing."""
        folder, name = self._place(path)
        real, file = super().create(path), SavedFile()
        folder.add(name, file)
        return _OpenFile(real, file)

    def link(self, source: str, target: str, /) -> None:
        """Give a file a second name."""
        file = self._file(source)
        folder, name = self._place(target)
        super().link(source, target)
        folder.add(name, file)

    def rename(self, source: str, target: str, /) -> None:
        """Give a file another name in its folder: after a power cut it has the one or the other."""
        folder, name = self._place(source)
        other, new = self._place(target)
        if folder is not other:
            raise ValueError(f"{source} to {target}: a name is moved within its folder")
        self._file(source)
        replaced = folder.now.get(new)
        if isinstance(replaced, SavedFile) and len(replaced.paths) == 1:
            replaced.last = replaced.content()
        super().rename(source, target)
        folder.rename(name, new)

    def unlink(self, path: str, /) -> None:
        """Remove a name, an empty folder's too. It comes back at a power cut before the folder above is synced."""
        folder, name = self._place(path)
        entry = folder.now.get(name)
        if entry is None:
            return
        if isinstance(entry, SavedFile) and len(entry.paths) == 1:
            entry.last = entry.content()
        super().unlink(path)
        folder.remove(name)

    def append(self, path: str, data: bytes, /) -> None:
        """Add to a file's end; it is not synced."""
        folder, name = self._place(path)
        if name not in folder.now:
            super().create(path).close()
            folder.add(name, SavedFile())
        super().append(path, data)

    def identity(self, path: str, /) -> str:
        """Give how often the power was cut, and a digest of the content: the same in every run of a simulation."""
        return f"{self._cuts} {xxh3_128_hexdigest(self._file(path).content())}"

    def read_each(self, read: Callable[[str], R], paths: Sequence[str], /) -> list[R]:
        """Call `read` on one path after another."""
        return [read(path) for path in paths]

    def sync(self, path: str, /) -> None:
        """Make an existing file's content durable."""
        self._file(path).keep()

    def sync_dir(self, path: str, /) -> None:
        """Make the names in a folder durable."""
        folder = self._folder(path)
        folder.notice()
        folder.keep(len(folder.changes))

    def synced(self, path: str, /) -> None:
        """Take note that LMDB has just made `path` durable."""
        self.sync(path)

    def refuse_sync(self, path: str) -> None:
        """Take note that a sync of `path` failed: later ones only seem to work."""
        self._file(path).refused = True

    def temporary(self, name: str, /) -> str:
        """Give a path on this disk."""
        return f"{self.root}/{name}"

    def make_temporary(self, path: str, /) -> None:
        """Make a temporary folder."""
        self.make_dirs(path)

    def lock(self, path: str, /) -> FileLock | None:
        """Take an exclusive lock; None if another process, or this one, holds it."""
        folder, name = self._place(path)
        if name not in folder.now:
            super().create(path).close()
            folder.add(name, SavedFile())
        file = self._file(path)
        if file in self._locked:
            return None
        self._locked.add(file)
        return _Lock(self._locked, file)

    def locks_held(self) -> list[str]:
        """Name the files that are locked."""
        return sorted(file.paths[0] if file.paths else "a removed file" for file in self._locked)

    # -- the tree ----------------------------------------------------------------------------------------------------

    def _folder(self, path: str) -> SavedFolder:
        if path != self.root and not path.startswith(f"{self.root}/"):
            raise ValueError(f"{path} is not on this disk: give a path below {self.root}")
        folder = self._tree
        for name in path[len(self.root) + 1 :].split("/") if path != self.root else ():
            if name not in folder.now:
                folder.notice()
            entry = folder.now.get(name)
            if not isinstance(entry, SavedFolder):
                raise disk_error(errno.ENOENT if entry is None else errno.ENOTDIR, path)
            folder = entry
        return folder

    def _place(self, path: str) -> tuple[SavedFolder, str]:
        parent, _, name = path.rpartition("/")
        folder = self._folder(parent)
        folder.notice()
        return folder, name

    def _file(self, path: str) -> SavedFile:
        folder, name = self._place(path)
        entry = folder.now.get(name)
        if not isinstance(entry, SavedFile):
            raise disk_error(errno.ENOENT if entry is None else errno.EISDIR, path)
        return entry

    def _adopt(self) -> None:
        """Take what is there as durable, hard links as one file."""
        known: dict[tuple[int, int], SavedFile] = {}
        for path, names, files in os.walk(self.root):
            folder = self._folder(path)
            names.sort()
            for name in names:
                folder.add(name, SavedFolder(f"{path}/{name}"))
            for name in sorted(files):
                status = os.lstat(f"{path}/{name}")
                folder.add(name, known.setdefault((status.st_dev, status.st_ino), SavedFile()))
            folder.keep(len(folder.changes))
        for file in known.values():
            file.keep()


class _OpenFile:
    """A new file being written, whose syncs the disk remembers."""

    def __init__(self, real: NewFile, file: SavedFile) -> None:
        self._real = real
        self._file = file

    def write(self, data: bytes, /) -> None:
        self._real.write(data)

    def sync(self) -> None:
        self._file.keep()

    def close(self) -> None:
        self._real.close()


class _Lock:
    def __init__(self, locked: set[SavedFile], file: SavedFile) -> None:
        self._locked = locked
        self._file: SavedFile | None = file

    def release(self) -> None:
        if self._file is not None:
            self._locked.discard(self._file)
            self._file = None


@contextmanager
def temporary_disk() -> Iterator[SimulatedDisk]:
    """Give a new disk for the block, in memory where the machine has a folder for that."""
    with tempfile.TemporaryDirectory(dir=_MEMORY_FOLDER if os.path.isdir(_MEMORY_FOLDER) else None) as root:
        yield SimulatedDisk(root)
