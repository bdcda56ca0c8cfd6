"""Which layer files this machine has found good since it was turned on: they are not read again.

    layers/             the files
    layers.verified     a line a proof:   xxh3_64 of the rest | file name | its digest | its identity

    LayerBuilder.finish   has just written and digested a file ──┐
    prove, at a restore   has read a file to its end ────────────┴─> appended to layers.verified
                          finds the file as it was noted ──────────> does not read it

An identity (`FileSystem.identity`: boot, device, inode, size, time of last change)
stays the same only while nobody changes the file through the file system. So after
a process crash a restart does not grow with the state; after a reboot, on another
machine or for a copy every file is read once, several at a time.

What this cannot see is a change that no file system call makes: the disk, or
memory, may alter an unchanged file, and until the next boot nothing here notices.
`actorstream checkpoints verify` reads every byte and asks nobody.

Invariants:
- Only a digest that was calculated from the file is noted, with the identity from
  before it was read: a change while it is read shows as another identity.
- The record decides nothing but what is read. A line that is torn, altered or out
  of date is passed over; without the record everything is read. So it is never
  synced, and it may not fail anything: what cannot be noted is read next time.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from xxhash import xxh3_64_hexdigest

from actorstream.state.layer import prove_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from actorstream.model.world import FileSystem
    from actorstream.state.layer import LayerFile

RECORD = ".verified"
"""What the record is called, behind the name of the files' folder."""
_RECORD_BYTES_MAX = 1 << 20


def prove(
    files: FileSystem,
    wanted: Mapping[str, LayerFile],
    tell: Callable[[int, int], None] = lambda done_bytes, total_bytes: None,
    *,
    remember: bool = True,
) -> None:
    """Make sure that layer files are what was written; blocking, for a thread.

    Args:
        files: The disk.
        wanted: By path, what a manifest says about a file. They are in one folder, with the record.
        tell: Called with the bytes read so far and to be read, from one thread at a time; not at all where
            nothing is. What it raises ends the reading.
        remember: Note what was proved. Who only looks leaves the folder as it is.

    Raises:
        StoreError: A file is missing or damaged.
    """
    if not wanted:
        return
    folder = next(iter(wanted)).rpartition("/")[0]
    noted = _noted(files, folder)
    identities = {path: identity_of(files, path) for path in wanted}
    unproved = [
        path
        for path, file in wanted.items()
        if not identities[path] or noted.get(file.name) != (file.digest, identities[path])
    ]
    if not unproved:
        return
    reading = _Reading(sum(wanted[path].size for path in unproved), tell)
    files.read_each(lambda path: prove_file(files, path, wanted[path], reading.on_read), unproved)
    if remember:
        note(files, folder, [(wanted[path], identities[path]) for path in unproved])


def identity_of(files: FileSystem, path: str) -> str:
    """Give a file's identity, to be asked before it is read; empty where the disk does not tell."""
    try:
        return files.identity(path)
    except OSError:
        return ""


def note(files: FileSystem, folder: str, proofs: Iterable[tuple[LayerFile, str]]) -> None:
    """Note files whose digests were calculated, each with its identity from before that."""
    path = folder + RECORD
    lines = [_line(file.name, file.digest, identity) for file, identity in proofs if identity]
    # The first line break ends what a crash may have cut short.
    with suppress(OSError):
        files.append(path, "".join(["\n", *lines]).encode())
        if files.size(path) > _RECORD_BYTES_MAX:
            _shorten(files, folder)


def _shorten(files: FileSystem, folder: str) -> None:
    """Drop what stands for files that are gone; of the rest the newer half of what there is room for."""
    present = set(files.list_dir(folder))
    lines = [
        _line(name, digest, identity) for name, (digest, identity) in _noted(files, folder).items() if name in present
    ]
    kept: list[str] = []
    room = _RECORD_BYTES_MAX // 2
    for line in reversed(lines):
        room -= len(line)
        if room < 0:
            break
        kept.append(line)
    files.unlink(folder + RECORD)
    files.append(folder + RECORD, "".join(reversed(kept)).encode())


def _line(name: str, digest: str, identity: str) -> str:
    text = f"{name} {digest} {identity}"
    return f"{xxh3_64_hexdigest(text.encode())} {text}\n"


def _noted(files: FileSystem, folder: str) -> dict[str, tuple[str, str]]:
    """Give digest and identity by file name, in the order in which they were noted last."""
    try:
        text = files.read(folder + RECORD).decode(errors="replace")
    except OSError:
        return {}
    noted: dict[str, tuple[str, str]] = {}
    for name, digest, identity in _whole_lines(text):
        noted.pop(name, None)
        noted[name] = digest, identity
    return noted


def _whole_lines(text: str) -> Iterator[tuple[str, str, str]]:
    for line in text.split("\n"):
        own, _, rest = line.partition(" ")
        parts = rest.split(" ", 2)
        if len(parts) == 3 and own == xxh3_64_hexdigest(rest.encode()):
            yield parts[0], parts[1], parts[2]


class _Reading:
    """Adds up what several threads have read."""

    def __init__(self, total: int, tell: Callable[[int, int], None]) -> None:
        self._total = total
        self._tell = tell
        self._done = 0
        self._lock = threading.Lock()

    def on_read(self, size: int) -> None:
        with self._lock:
            self._done += size
            self._tell(self._done, self._total)
