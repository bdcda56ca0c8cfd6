"""An archive made a savepoint again, by somebody who does not trust it.

    archive ──read once──> manifest.json: digest, format, limits, free space
                                │ lists
                                v
                           layers: head, size, digest as listed, nothing else ──> <folder>/layers/, synced
                                │ all there, nothing behind them
                                v
                           manifest.json, put if absent ──> now it is a savepoint

Names, sizes and number of files come from the manifest, whose layer names lead nowhere
else (checkpoints/manifest.py); the archive's own heads are only compared with that. No
more than listed is ever unpacked, and of the manifest itself no more than the limit.

`<folder>/importing` is locked while an import runs and stays if it fails: it tells what
an import has left from what others have put there, and only the former is swept by the
next import. It goes when the savepoint is complete, and never before: a lock on a file
that lost its name would keep nobody out.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from os.path import dirname, join
from typing import TYPE_CHECKING

from xxhash import xxh3_128

from actorstream.checkpoints.archive import content_size, member_path
from actorstream.checkpoints.archive_member import BLOCK_BYTES, END, head, padding, refusal, size_in
from actorstream.checkpoints.archive_stream import ArchiveReader
from actorstream.checkpoints.manifest import Manifest, attempt_of, unseal
from actorstream.checkpoints.put import PutUnknownError, discard, disk_errors, names_in, put_if_absent
from actorstream.checkpoints.savepoints import IMPORTING, LAYERS, MANIFEST, lock_in_folder
from actorstream.errors import StoreError, StoreInUseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.checkpoints.manifest import LayerEntry
    from actorstream.model.world import FileSystem

_DRAFT = f"{MANIFEST}.draft"


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What an archive may take, before it is believed.

    Attributes:
        manifest_bytes: Size of its manifest, which is held in memory: up to some 20 times that, if it is hostile.
        layers: How many files.
        content_bytes: Size of all files; None: what the disk has room for.
        spare_bytes: How much of the disk stays free.
    """

    manifest_bytes: int = 16 << 20
    layers: int = 100_000
    content_bytes: int | None = None
    spare_bytes: int = 64 << 20


_LIMITS = ArchiveLimits()


def import_savepoint(
    files: FileSystem,
    archive: str,
    folder: str,
    *,
    limits: ArchiveLimits = _LIMITS,
    tell: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Unpack `archive` into `folder`, and check every byte. Blocks: minutes for many GB.

    Args:
        files: The disk.
        archive: What `export_savepoint` has made, absolute.
        folder: Where the savepoint goes, absolute: missing, empty, or left by an import that was cut short.
        limits: What the archive may take.
        tell: Called with the bytes that are unpacked, and that there are in all. What it raises stops the import.

    Returns:
        The manifest of the savepoint, which is complete and durable.

    Raises:
        StoreInUseError: Another import into `folder` is under way.
        PutUnknownError: All is written, but whether the savepoint is complete after a crash is unknown.
        StoreError: The archive is damaged, cut off, newer, over a limit or none of ours; the folder is in use for
            something else; the disk refuses or is full, or zstd is missing. There is no savepoint in `folder` then
            that was not there before.
    """
    reader = ArchiveReader(files, archive)
    data = _read_manifest(reader, archive, limits)
    manifest = unseal(f"{archive}: {MANIFEST}", data)
    _refuse_over_limits(archive, manifest, content_size(data, manifest), limits)
    _refuse_full(files, folder, content_size(data, manifest) + limits.spare_bytes)
    with disk_errors(folder, "making it"):
        lock = lock_in_folder(files, folder, IMPORTING)
    if lock is None:
        raise StoreInUseError(f"another import into {folder} is under way: wait for its end, or give another folder")
    try:
        for path in _leftovers(files, folder):
            with disk_errors(path, "removing what an import has left"):
                files.unlink(path)
        unpacking = _Unpacking(files, reader, archive, folder, tell)
        try:
            unpacking.unpack(data, manifest)
        except PutUnknownError:
            raise
        except BaseException:
            unpacking.withdraw()
            raise
        discard(files, join(folder, IMPORTING))
    finally:
        lock.release()
    return manifest


class _Unpacking:
    """One pass over an archive, behind its manifest."""

    def __init__(
        self,
        files: FileSystem,
        reader: ArchiveReader,
        archive: str,
        folder: str,
        tell: Callable[[int, int], None] | None,
    ) -> None:
        self._files = files
        self._reader = reader
        self._archive = archive
        self._folder = folder
        self._tell = tell
        self._made: list[str] = []
        self._done = 0
        self._total = 0

    def unpack(self, data: bytes, manifest: Manifest) -> None:
        """Write all layers, then the manifest."""
        layers, path = join(self._folder, LAYERS), join(self._folder, MANIFEST)
        self._total = content_size(data, manifest)
        self._add(data)
        with disk_errors(layers, "making it"):
            # What says that all of this is an import's must be durable before any of it.
            self._files.sync_dir(self._folder)
            self._files.make_dirs(layers)
        self._unpack_layers(manifest)
        with disk_errors(layers, "syncing"):
            self._files.sync_dir(layers)
        draft = join(self._folder, _DRAFT)
        if not put_if_absent(self._files, path, data, draft=draft, folders=[self._folder]):
            raise StoreError(f"{path} was made by somebody else meanwhile: give another folder")

    def withdraw(self) -> None:
        """Remove what was written, unless it has become a savepoint."""
        with suppress(OSError):
            if not self._files.exists(join(self._folder, MANIFEST)):
                for path in self._made:
                    discard(self._files, path)

    def _unpack_layers(self, manifest: Manifest) -> None:
        listed = {member_path(entry): entry for entry in manifest.layers}
        waiting = {head(path, entry.size): entry for path, entry in listed.items()}
        while waiting:
            block = self._reader.read(BLOCK_BYTES)
            entry = waiting.pop(block, None)
            if entry is None:
                why = refusal(block, listed) if any(block) else f"it ends, and {len(waiting)} of its layers are missing"
                raise StoreError(_unlike(self._archive, why))
            self._unpack_layer(entry)
        if self._reader.read(len(END)) != END:
            raise StoreError(_unlike(self._archive, f"more follows the {len(listed)} layers of its manifest"))
        self._reader.end()

    def _unpack_layer(self, entry: LayerEntry) -> None:
        path = join(self._folder, LAYERS, entry.name)
        digest = xxh3_128()
        with disk_errors(path, "writing"):
            file = self._files.create(path)
        self._made.append(path)
        try:
            for piece in self._reader.pieces(entry.size):
                digest.update(piece)
                with disk_errors(path, "writing"):
                    file.write(piece)
                self._add(piece)
            _refuse_padding(self._reader, self._archive, entry.size)
            if digest.hexdigest() != entry.digest:
                why = f"{member_path(entry)!r} has digest {digest.hexdigest()}, its manifest says {entry.digest}"
                raise StoreError(_unlike(self._archive, why))
            with disk_errors(path, "writing"):
                file.sync()
        finally:
            file.close()

    def _add(self, piece: bytes) -> None:
        self._done += len(piece)
        if self._tell is not None:
            self._tell(self._done, self._total)


def _read_manifest(reader: ArchiveReader, archive: str, limits: ArchiveLimits) -> bytes:
    block = reader.read(BLOCK_BYTES)
    size = size_in(block, MANIFEST)
    if size is None:
        why = refusal(block, [MANIFEST])
        raise StoreError(f"{archive} is no archive of a savepoint: it should begin with {MANIFEST}, but {why}")
    if size > limits.manifest_bytes:
        raise StoreError(
            f"{archive}: {MANIFEST} has {size} bytes, over the limit of {limits.manifest_bytes}: raise "
            "ArchiveLimits.manifest_bytes if you trust the archive"
        )
    data = reader.read(size)
    _refuse_padding(reader, archive, size)
    return data


def _refuse_padding(reader: ArchiveReader, archive: str, size: int) -> None:
    if any(reader.read(padding(size))):
        raise StoreError(_unlike(archive, "there are bytes between two of its files"))


def _refuse_over_limits(archive: str, manifest: Manifest, size: int, limits: ArchiveLimits) -> None:
    if any(entry.size < 0 for entry in manifest.layers):
        raise StoreError(_unlike(archive, "its manifest lists a layer of less than 0 bytes"))
    if len(manifest.layers) > limits.layers:
        raise StoreError(
            f"{archive}: its manifest lists {len(manifest.layers)} layers, over the limit of {limits.layers}: raise "
            "ArchiveLimits.layers if you trust the archive"
        )
    if limits.content_bytes is not None and size > limits.content_bytes:
        raise StoreError(
            f"{archive} has a content of {size} bytes, over the limit of {limits.content_bytes}: raise "
            "ArchiveLimits.content_bytes if you trust the archive"
        )


def _refuse_full(files: FileSystem, folder: str, needed: int) -> None:
    """Look whether there is room, what is left of an earlier import counted as free."""
    left = _leftovers(files, folder)
    place = folder
    with disk_errors(folder, "looking"):
        while not files.exists(place):
            place = dirname(place)
        free = files.free_bytes(place) + sum(_size(files, path) for path in left)
    if free < needed:
        raise StoreError(
            f"{folder}: the disk is too full for this savepoint, {free} bytes are free of the {needed} that it needs, "
            "with a reserve: free some space, or give a folder on another disk"
        )


def _size(files: FileSystem, path: str) -> int:
    try:
        return files.size(path)
    except FileNotFoundError:
        return 0  # another import is at work here: the lock will say so


def _leftovers(files: FileSystem, folder: str) -> list[str]:
    """Give every file that an import which was cut short has left.

    Raises:
        StoreError: There is a savepoint, or something else that is not ours to remove.
    """
    names = names_in(files, folder)
    if MANIFEST in names:
        with suppress(OSError):
            # Who made it may have died before its sync, and we are about to say that it is there.
            files.sync_dir(folder)
            for name in (_DRAFT, IMPORTING):
                files.unlink(join(folder, name))
        raise StoreError(f"there is a savepoint in {folder} already, and an import replaces nothing: give a new folder")
    left = [join(folder, _DRAFT)] if _DRAFT in names else []
    foreign = [name for name in names if name not in {IMPORTING, LAYERS, _DRAFT}]
    if LAYERS in names:
        layers = names_in(files, join(folder, LAYERS))
        left += [join(folder, LAYERS, name) for name in layers if attempt_of(name) is not None]
        foreign += [f"{LAYERS}/{name}" for name in layers if attempt_of(name) is None]
    if names and IMPORTING not in names:
        foreign = names
    if foreign:
        raise StoreError(
            f"{folder} holds {foreign[0]!r}, which is not what an import leaves that was cut short: give a new folder"
        )
    return left


def _unlike(archive: str, why: str) -> str:
    return f"{archive} is damaged, or was made by somebody else than `savepoint export`: {why}; nothing was imported"
