"""What of a simulated disk would survive: its files and folders, and what a power cut leaves of them.

    file      the bytes at its last sync; of those written since: none, all, or the first ones, then perhaps zeros
    folder    the names at its last sync_dir; of the changes since: the oldest ones

`SimulatedDisk` keeps one tree of these beside the real folder and tells it what is synced. What LMDB or a test made or
removed by itself is noticed at the next look.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

_NOTHING_SURVIVES, _ALL_SURVIVES, _ZEROS = 0.25, 0.5, 0.25


class SavedFile:
    """A file, whatever its names."""

    def __init__(self, synced: bytes = b"") -> None:
        self.synced = synced
        self.paths: list[str] = []
        self.last: bytes | None = None  # what it held when its last name went
        self.refused = False

    def content(self) -> bytes:
        """Give what processes see in it."""
        if self.last is not None:
            return self.last
        try:
            with open(self.paths[0], "rb") as file:
                return file.read()
        except (IndexError, FileNotFoundError):  # removed behind our back
            return self.synced

    def keep(self) -> None:
        """Make its content durable."""
        if not self.refused:
            self.synced = self.content()


class SavedFolder:
    """A folder's names: those that survive, those there now, and the changes between, oldest first."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.durable: dict[str, SavedFile | SavedFolder] = {}
        self.now: dict[str, SavedFile | SavedFolder] = {}
        self.changes: list[dict[str, SavedFile | SavedFolder | None]] = []  # each made, or not, as a whole

    def add(self, name: str, entry: SavedFile | SavedFolder) -> None:
        """Put a name into the folder."""
        self.now[name] = entry
        self.changes.append({name: entry})
        if isinstance(entry, SavedFile):
            entry.paths.append(f"{self.path}/{name}")

    def remove(self, name: str) -> None:
        """Take a name out of the folder."""
        entry = self.now.pop(name)
        self.changes.append({name: None})
        if isinstance(entry, SavedFile):
            entry.paths.remove(f"{self.path}/{name}")

    def rename(self, name: str, new: str) -> None:
        """Move a name, in place of one that may be there: one change."""
        if new in self.now:
            self.remove(new)
            self.changes.pop()
        entry = self.now[name]
        self.remove(name)
        self.add(new, entry)
        self.changes[-2:] = [{name: None, new: entry}]

    def notice(self) -> None:
        """Take in what came and went without our calls."""
        with os.scandir(self.path) as entries:
            found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        for name in sorted(found.keys() - self.now.keys()):
            self.add(name, SavedFolder(f"{self.path}/{name}") if found[name] else SavedFile())
        for name in sorted(self.now.keys() - found.keys()):
            self.remove(name)

    def keep(self, changes: int) -> list[tuple[str, SavedFile | SavedFolder | None]]:
        """Make the oldest so many changes durable; give the others."""
        for change in self.changes[:changes]:
            for name, entry in change.items():
                if entry is None:
                    self.durable.pop(name, None)
                else:
                    self.durable[name] = entry
        rest = [pair for change in self.changes[changes:] for pair in change.items()]
        self.changes = []
        return rest

    def files(self, *, now: bool) -> Iterator[tuple[str, SavedFile]]:
        """Give path and file of all names below, those there now or those that survive."""
        if now:
            self.notice()
        for name, entry in sorted((self.now if now else self.durable).items()):
            if isinstance(entry, SavedFolder):
                yield from entry.files(now=now)
            else:
                yield f"{self.path}/{name}", entry

    def folders(self, *, now: bool) -> Iterator[str]:
        """Give the paths of all folders below, outer ones first."""
        for _, entry in sorted((self.now if now else self.durable).items()):
            if isinstance(entry, SavedFolder):
                yield entry.path
                yield from entry.folders(now=now)


def cut_names(folder: SavedFolder, rng: random.Random, lost: list[str]) -> None:
    """Let a prefix of each folder's changes survive; add the others to `lost`."""
    for name, entry in folder.keep(rng.randint(0, len(folder.changes))):
        lost.append(f"the {'removal' if entry is None else 'name'} of {folder.path}/{name}")
    for _, entry in sorted(folder.durable.items()):
        if isinstance(entry, SavedFolder):
            cut_names(entry, rng, lost)


def cut_content(rng: random.Random, seen: bytes, synced: bytes) -> bytes:
    """Draw what is in a file after a power cut: all bytes written since its last sync, none, or the first ones."""
    if seen == synced:
        return seen
    fate = rng.random()
    if fate < _NOTHING_SURVIVES:
        return synced
    if fate < _ALL_SURVIVES:
        return seen
    cut = rng.randint(len(synced) if seen.startswith(synced) else 0, len(seen))
    torn = seen[:cut] + synced[cut:]
    # A file system may have made the file longer before it had written the bytes.
    return torn.ljust(len(seen), b"\0") if rng.random() < _ZEROS else torn


def write_back(files: dict[str, SavedFile], contents: dict[SavedFile, bytes], kept: dict[str, SavedFile]) -> None:
    """Bring back the names that are not `kept` as they were; never into a file that is there, which may be mapped."""
    homes = {file: path for path, file in kept.items()}
    for path, file in files.items():
        if path in kept:
            continue
        if file in homes:
            os.link(homes[file], path)
            continue
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            target.write(contents[file])
        homes[file] = path
