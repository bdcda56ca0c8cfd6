"""A savepoint as one file: a tar, compressed with zstd, that every `tar` unpacks into the savepoint's folder.

    manifest.json          first: it says what else must come, with size and digest
    layers/<layer>.lmdb    each that the manifest lists, in its order
    (end)

The same savepoint gives the same bytes, with the same zstd. Every layer is held
against the manifest while it is packed, so a damaged savepoint is never exported.

    export    lock ──> sweep drafts ──> draft: pack, sync ──> link to the target

The target appears whole or not at all. The lock keeps a second export from sweeping
the first one's draft; it is no guard of the target, which only the link gives its
name, at most once. checkpoints/unpacking.py is the way back.
"""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os.path import basename, dirname, join
from typing import TYPE_CHECKING

from xxhash import xxh3_128

from actorstream.checkpoints.archive_member import END, head, padding
from actorstream.checkpoints.archive_stream import ArchiveWriter
from actorstream.checkpoints.manifest import Manifest, unseal
from actorstream.checkpoints.put import chunks_of, discard, disk_errors, link_if_absent, names_in, read_file
from actorstream.checkpoints.savepoints import LAYERS, MANIFEST
from actorstream.errors import StoreError, StoreInUseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorstream.checkpoints.manifest import LayerEntry
    from actorstream.model.world import FileSystem

_REMEDY = "put it back from a copy; nothing was exported"


@dataclass(frozen=True, slots=True)
class Exported:
    """What went into an archive: `content_bytes` is all files of the savepoint, `archive_bytes` what they take now."""

    manifest: Manifest
    content_bytes: int
    archive_bytes: int


def export_savepoint(
    files: FileSystem,
    folder: str,
    target: str,
    *,
    token: str,
    tell: Callable[[int, int], None] | None = None,
) -> Exported:
    """Pack the savepoint in `folder` into the new file `target`. Blocks: minutes for many GB.

    Args:
        files: The disk.
        folder: The folder with manifest.json, absolute.
        target: The archive, absolute; nothing may have that name.
        token: Fresh random letters and digits, for the name of the draft.
        tell: Called with the bytes that are packed, and that there are in all. What it raises stops the export.

    Raises:
        StoreInUseError: Another export to `target` is under way.
        PutUnknownError: All is written, but whether the name survives a crash is unknown.
        StoreError: The savepoint is unfinished or damaged, the target is there, the disk refuses or is full, or
            zstd is missing. There is no target then, and no draft.
    """
    path = join(folder, MANIFEST)
    with disk_errors(path, "looking"):
        if not files.exists(path):
            raise StoreError(f"{folder} is no finished savepoint: {MANIFEST} is missing; name the savepoint's folder")
    data = read_file(files, path)
    manifest = unseal(path, data)
    for entry in manifest.layers:
        _refuse_size(files, folder, entry)
    with disk_errors(target, "looking"):
        if not files.exists(dirname(target)):
            raise StoreError(f"{dirname(target)}, where the archive should go, is missing: make that folder")
    with _only_one(files, target):
        _refuse_taken(files, target)
        draft = f"{target}.{token}.draft"
        try:
            writer = ArchiveWriter(files, draft)
            try:
                _Packing(files, folder, writer, tell).pack(data, manifest)
            finally:
                writer.close()
        except BaseException:
            discard(files, draft)
            raise
        if not link_if_absent(files, draft, target, folders=[dirname(target)]):
            raise StoreError(_taken(target))
    return Exported(manifest, content_size(data, manifest), writer.size)


def content_size(data: bytes, manifest: Manifest) -> int:
    """Give the bytes of all files of a savepoint, whose manifest is written as `data`."""
    return len(data) + sum(entry.size for entry in manifest.layers)


def member_path(entry: LayerEntry) -> str:
    """Give where a layer lies in a savepoint and in an archive."""
    return f"{LAYERS}/{entry.name}"


class _Packing:
    """One pass over a savepoint's files."""

    def __init__(
        self, files: FileSystem, folder: str, writer: ArchiveWriter, tell: Callable[[int, int], None] | None
    ) -> None:
        self._files = files
        self._folder = folder
        self._writer = writer
        self._tell = tell
        self._done = 0
        self._total = 0

    def pack(self, data: bytes, manifest: Manifest) -> None:
        self._total = content_size(data, manifest)
        self._writer.write(head(MANIFEST, len(data)))
        self._add(data)
        self._writer.write(bytes(padding(len(data))))
        for entry in manifest.layers:
            self._pack_layer(entry)
        self._writer.write(END)
        self._writer.finish()

    def _pack_layer(self, entry: LayerEntry) -> None:
        path = join(self._folder, LAYERS, entry.name)
        self._writer.write(head(member_path(entry), entry.size))
        digest, left = xxh3_128(), entry.size
        for chunk in chunks_of(self._files, path):
            left -= len(chunk)
            if left < 0:
                break
            digest.update(chunk)
            self._add(chunk)
        if left:
            more = "more" if left < 0 else f"{left} fewer"
            raise StoreError(f"{path} has {more} bytes than the {entry.size} expected: {_REMEDY}")
        if digest.hexdigest() != entry.digest:
            raise StoreError(f"{path} has digest {digest.hexdigest()}, expected {entry.digest}: {_REMEDY}")
        self._writer.write(bytes(padding(entry.size)))

    def _add(self, data: bytes) -> None:
        self._writer.write(data)
        self._done += len(data)
        if self._tell is not None:
            self._tell(self._done, self._total)


def _refuse_size(files: FileSystem, folder: str, entry: LayerEntry) -> None:
    """Find what is plainly wrong before anything is written."""
    path = join(folder, LAYERS, entry.name)
    try:
        size = files.size(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}; {_REMEDY}") from error
    if size != entry.size:
        raise StoreError(f"{path} has {size} bytes, expected {entry.size}: {_REMEDY}")


def _refuse_taken(files: FileSystem, target: str) -> None:
    with disk_errors(target, "looking"):
        taken = files.exists(target)
    if taken:
        with suppress(OSError):
            # Who made it may have died before its sync, and we are about to say that it is there.
            files.sync_dir(dirname(target))
        raise StoreError(_taken(target))


def _taken(target: str) -> str:
    return f"{target} is there already, and an export replaces nothing: give another name"


@contextmanager
def _only_one(files: FileSystem, target: str) -> Iterator[None]:
    """Keep other exports to `target` away, and remove what one that died left."""
    path = f"{target}.lock"
    with disk_errors(path, "locking"):
        lock = files.lock(path)
    if lock is None:
        raise StoreInUseError(f"another export to {target} is under way: wait for its end, or give another name")
    try:
        _sweep(files, target)
        yield
    finally:
        # Somebody who has opened this file, and locks it when it has no name any more, is alone no longer: an export
        # that begins now may sweep that one's draft, which then has an error to show, but never a wrong archive.
        discard(files, path)
        lock.release()


def _sweep(files: FileSystem, target: str) -> None:
    draft = re.compile(re.escape(basename(target)) + r"\.[0-9A-Za-z]+\.draft")
    for name in names_in(files, dirname(target)):
        if draft.fullmatch(name):
            discard(files, join(dirname(target), name))
