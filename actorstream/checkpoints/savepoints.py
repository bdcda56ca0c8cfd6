"""Savepoints: snapshots that belong to people. A folder that holds all it needs, and can be moved.

    savepoints/<name>/manifest.json    as of a checkpoint; its digest covers it
                      layers/<layer>   the files it lists, linked from the store's, copied where that cannot be
                      <n>.making       only while it is made, in the time of attempt n; locked by the one who makes it

It exists from the moment when manifest.json is linked, which is last, and until that
name goes, which is first when it is deleted. The job deletes none. What somebody who
died has half made carries the number of the attempt then, or is an empty folder: the
next one sweeps it away, and before that whoever finds it unlocked and makes one of the
same name. Between two attempts their numbers decide, also against a lock; within one
the lock does.
"""

from __future__ import annotations

import errno
import re
from contextlib import suppress
from dataclasses import dataclass
from os.path import basename, dirname, join
from typing import TYPE_CHECKING

from xxhash import xxh3_128

from actorstream.checkpoints.manifest import Manifest, overtaken_in, seal, unseal
from actorstream.checkpoints.put import PutUnknownError, discard, disk_errors, names_in, put_if_absent, read_file
from actorstream.errors import PlanError, StoreError, StoreInUseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from actorstream.checkpoints.manifest import LayerEntry
    from actorstream.model.ids import AttemptNumber
    from actorstream.model.world import FileLock, FileSystem

MANIFEST = "manifest.json"
LAYERS = "layers"
WRITING = "writing"
"""Instead of `<n>.making` where one is made without a job (evolve/savepoint_draft.py)."""
SORTING = "sorting"
"""Beside `WRITING`: a folder of files that are of no use afterwards."""
IMPORTING = "importing"
"""Instead of that where one is unpacked (checkpoints/unpacking.py)."""
_PARTS = frozenset({MANIFEST, LAYERS, f"{LAYERS}.verified", SORTING, IMPORTING})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MAKING = re.compile(r"([1-9][0-9]{0,17})\.making")
_TRIES = 3
_NOT_LINKABLE = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


@dataclass(frozen=True, slots=True)
class SnapshotPlace:
    """Where a savepoint or checkpoint lies: its folder, and that of its layers."""

    folder: str
    layers: str

    @property
    def name(self) -> str:
        """Give the savepoint's name, or the checkpoint's id."""
        return basename(self.folder)


def check_name(name: str) -> str:
    """Give a savepoint's name back if it can be one.

    Raises:
        PlanError: It could lead elsewhere, or be hidden.
    """
    if not _NAME.fullmatch(name):
        raise PlanError(
            f"a savepoint cannot be called {name!r}: expected 1 to 128 letters, digits, dots, dashes and underscores, "
            "of which the first is a letter or digit"
        )
    return name


def find_snapshot(files: FileSystem, path: str) -> SnapshotPlace:
    """Give the place of the savepoint, or of the checkpoint in a store, whose folder is `path`.

    Raises:
        StoreError: There is none; says what is there.
    """
    with disk_errors(path, "looking"):
        if files.exists(join(path, MANIFEST)):
            own = join(path, LAYERS)
            of_store = join(dirname(dirname(path)), LAYERS)
            is_checkpoint = basename(dirname(path)) == "checkpoints" and not files.exists(own)
            return SnapshotPlace(path, of_store if is_checkpoint else own)
        if not files.exists(path):
            raise StoreError(f"{path} is not there: expected the folder of a savepoint")
        names = files.list_dir(path)
    if LAYERS in names:
        raise StoreError(
            f"{path} is a savepoint that was not finished, or one that is being deleted: it has no {MANIFEST}; "
            "take another"
        )
    raise StoreError(f"{path} holds no {MANIFEST}, but {names[:5] or 'nothing'}: expected the folder of a savepoint")


def read_snapshot(files: FileSystem, place: SnapshotPlace) -> Manifest:
    """Give a snapshot's manifest, after a look at the size of every layer it lists.

    Raises:
        StoreError: It is damaged, newer, or a layer is missing or of another size.
    """
    path = join(place.folder, MANIFEST)
    manifest = unseal(path, read_file(files, path))
    for entry in manifest.layers:
        layer = join(place.layers, entry.name)
        with disk_errors(layer, "looking"):
            size = files.size(layer)
        if size != entry.size:
            raise StoreError(f"{layer} has {size} bytes, expected {entry.size}; put it back from a copy")
    return manifest


def verify_snapshot(files: FileSystem, place: SnapshotPlace, manifest: Manifest) -> list[str]:
    """Read every layer to its end and give what is wrong, one sentence a file."""
    return [problem for entry in manifest.layers if (problem := _problem(files, join(place.layers, entry.name), entry))]


def _problem(files: FileSystem, path: str, entry: LayerEntry) -> str | None:
    digest, size = xxh3_128(), 0
    try:
        for chunk in files.chunks(path):
            digest.update(chunk)
            size += len(chunk)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}; put it back from a copy"
    if (size, digest.hexdigest()) != (entry.size, entry.digest):
        return (
            f"{path} has {size} bytes with digest {digest.hexdigest()}, expected {entry.size} with {entry.digest}; "
            "put it back from a copy"
        )
    return None


def make_savepoint(
    files: FileSystem,
    place: SnapshotPlace,
    folder: str,
    manifest: Manifest,
    last_look: Callable[[], None],
    *,
    attempt: int | None = None,
) -> None:
    """Put a savepoint into `folder`, which must not be one yet; blocking.

    Args:
        files: The disk.
        place: Where the layers lie that `manifest` lists.
        folder: `<store>/savepoints/<name>`; made. What an attempt left there half made is swept away first.
        manifest: What it says.
        last_look: Called before it appears; what it raises stops it. It must see every attempt above `attempt`.
        attempt: The highest there is, if it is not that of the manifest.

    Raises:
        StoreInUseError: Somebody else is making one of this name.
        StoreError: There is one of this name, or an unfinished one of somebody else; or the disk refuses. Then it does
            not exist, unless the message says that this is unknown.
    """
    overtaken = overtaken_in(manifest)
    if overtaken:
        raise StoreError(
            f"checkpoint {manifest.checkpoint} holds {overtaken:,} batches in flight, which its barriers have "
            "overtaken, and a savepoint has none: name an older checkpoint that is aligned, or have the running job "
            "make it (job.savepoint)"
        )
    last_look()
    number = manifest.attempt if attempt is None else attempt
    lock = _begin(files, folder, number)
    draft = f"{join(folder, MANIFEST)}.{number}.draft"
    try:
        with disk_errors(folder, "linking its layers"):
            files.make_dirs(join(folder, LAYERS))
            for entry in manifest.layers:
                link_or_copy(files, join(place.layers, entry.name), join(folder, LAYERS, entry.name))
            files.sync_dir(join(folder, LAYERS))
        linked = put_if_absent(
            files,
            join(folder, MANIFEST),
            seal(manifest),
            draft=draft,
            folders=(folder, dirname(folder)),
            last_look=last_look,
        )
        if not linked:
            raise StoreError(f"{folder} is a savepoint already: somebody made it at this moment")
        discard(files, _marker(folder, number))
    except PutUnknownError:
        raise
    except StoreError:
        _give_up(files, folder, number)
        last_look()
        raise
    finally:
        lock.release()


def _begin(files: FileSystem, folder: str, number: int) -> FileLock:
    """Make the folder, or take one over that was left half made; its marker is then durable, and locked."""
    with disk_errors(folder, "making it"):
        _refuse_taken(files, folder, number)
        lock = lock_in_folder(files, folder, basename(_marker(folder, number)))
        if lock is None:
            raise StoreInUseError(f"{folder} is being made at this moment: let that end, or choose another name")
        try:
            try:
                _refuse_taken(files, folder, number)  # once more: it may have been finished between look and lock
                _refuse_busy(files, folder, number)
            except StoreError:
                discard(files, _marker(folder, number))
                raise
            _take_over(files, folder, number)
            files.sync_dir(folder)
        except BaseException:
            lock.release()
            raise
    return lock


def lock_in_folder(files: FileSystem, folder: str, name: str) -> FileLock | None:
    """Make a folder, and lock a file in it; None if somebody else has that.

    An empty folder may be swept away by a job that starts: then it is made again.
    """
    for _ in range(_TRIES):
        files.make_dirs(folder)
        with suppress(FileNotFoundError):
            return files.lock(join(folder, name))
    files.make_dirs(folder)
    return files.lock(join(folder, name))


def _refuse_taken(files: FileSystem, folder: str, number: int) -> None:
    """Refuse what is a savepoint, or is being made by somebody who is not to be swept away."""
    names = files.list_dir(folder)
    if MANIFEST in names:
        raise StoreError(f"{folder} is a savepoint already: give the new one another name, or delete that one")
    if names and max(_makers(names), default=number + 1) > number:
        raise StoreError(f"{folder} holds something that no job has made: choose another name, or delete that")


def _refuse_busy(files: FileSystem, folder: str, number: int) -> None:
    """Refuse what somebody of a lower number is at: it is too late for that one, which will find out."""
    for maker in _makers(files.list_dir(folder)):
        if maker != number:
            other = files.lock(_marker(folder, maker))
            if other is None:
                raise StoreInUseError(f"{folder} is being made at this moment: let that end, or choose another name")
            other.release()


def _take_over(files: FileSystem, folder: str, number: int) -> None:
    """Remove what others have left half made."""
    if not _keep_from_finishing(files, folder):
        raise StoreError(f"{folder} is a savepoint already: somebody made it at this moment")
    _empty(files, folder, but=basename(_marker(folder, number)))


def delete_savepoint(files: FileSystem, folder: str) -> None:
    """Delete a savepoint, finished or not; its layers stay in the stores that have linked them.

    Raises:
        StoreError: It is none, or the disk refuses: then the rest goes when this is called again.
    """
    with disk_errors(folder, "deleting"):
        _refuse_others(files, folder)
        files.unlink(join(folder, MANIFEST))
        # Were it to come back after a power cut, it would list layers that have gone.
        files.sync_dir(folder)
        _remove(files, folder)
        files.sync_dir(dirname(folder))


def _refuse_others(files: FileSystem, folder: str) -> None:
    """Refuse a folder that is no savepoint, whole or half, or holds more: a checkpoint, a job's whole store."""
    if not files.exists(folder):
        raise StoreError(f"{folder} is not there: nothing was deleted")
    names = files.list_dir(folder)
    if MANIFEST in names and find_snapshot(files, folder).layers != join(folder, LAYERS):
        raise StoreError(f"{folder} is a checkpoint, which its job deletes when it is time: nothing was deleted")
    strange = next((name for name in names if not _is_part(name)), None)
    if strange is not None:
        raise StoreError(f"{folder} is no savepoint, or holds more: {strange!r} is no part of one; nothing was deleted")


def _is_part(name: str) -> bool:
    """Tell whether a name in a savepoint's folder is one that a savepoint has, or may have while it is made."""
    return name in _PARTS or _is_mark(name) or (name.startswith(f"{MANIFEST}.") and name.endswith(".draft"))


def names_of_savepoints(files: FileSystem, root: str) -> list[str]:
    """Give the name of every savepoint in `<store>/savepoints`, unfinished ones too."""
    return [name for name in names_in(files, root) if _NAME.fullmatch(name)]


def sweep_savepoints(files: FileSystem, root: str, attempt: AttemptNumber) -> Iterator[Manifest]:
    """Keep lower attempts from finishing what they make, and give the manifest of every savepoint that can be read.

    Raises:
        StoreError: A draft cannot be removed.
    """
    for name in names_of_savepoints(files, root):
        folder = join(root, name)
        with disk_errors(folder, "sweeping"):
            if not files.exists(join(folder, MANIFEST)):
                _sweep(files, folder, attempt)
            if not files.exists(join(folder, MANIFEST)):
                continue
        try:
            yield unseal(folder, read_file(files, join(folder, MANIFEST)))
        except StoreError:
            continue  # whoever restores it is told


def link_or_copy(files: FileSystem, source: str, target: str) -> None:
    """Give an immutable, durable file a second name; a copy where it cannot have one. The caller syncs the folder."""
    try:
        files.link(source, target)
    except OSError as error:
        if error.errno not in _NOT_LINKABLE:
            raise
        files.unlink(target)
        file = files.create(target)
        try:
            for chunk in files.chunks(source):
                file.write(chunk)
            file.sync()
        finally:
            file.close()


def _sweep(files: FileSystem, folder: str, below: int) -> None:
    """Keep attempts below this number from finishing it, and remove what they have half made, if that is all.

    One who is at it still finds out that it is too late, and removes it: two would take from each other what is new.
    """
    names = files.list_dir(folder)
    if not names and files.exists(join(folder, ".")):  # not where a link leads to a disk that is away
        discard(files, folder)
    newest = max(_makers(names), default=below)
    if newest < below and _keep_from_finishing(files, folder):
        lock = files.lock(_marker(folder, newest))
        if lock is not None:
            with suppress(OSError):  # somebody begins a new one there, or the next attempt comes by again
                _remove(files, folder)
            lock.release()


def _keep_from_finishing(files: FileSystem, folder: str) -> bool:
    """Take away what could still become the manifest; False if it has become that."""
    for name in files.list_dir(folder):
        if name.endswith(".draft"):
            files.unlink(join(folder, name))
    return not files.exists(join(folder, MANIFEST))


def _give_up(files: FileSystem, folder: str, number: int) -> None:
    """Remove what was half made under our lock; if the disk refuses, the next attempt does it."""
    with suppress(OSError):
        if max(_makers(files.list_dir(folder)), default=0) == number and _keep_from_finishing(files, folder):
            _remove(files, folder)


def _remove(files: FileSystem, folder: str) -> None:
    """Remove a folder without a manifest; what says that it is unfinished goes last."""
    _empty(files, folder)
    files.unlink(folder)


def _empty(files: FileSystem, folder: str, *, but: str = "") -> None:
    for inner in (LAYERS, SORTING):
        for name in files.list_dir(join(folder, inner)):
            files.unlink(join(folder, inner, name))
    for name in sorted(files.list_dir(folder), key=_is_mark):
        if name != but:
            files.unlink(join(folder, name))


def _marker(folder: str, number: int) -> str:
    return join(folder, f"{number}.making")


def _makers(names: Iterable[str]) -> list[int]:
    """Give the numbers of those who say that they are making it."""
    return [int(match[1]) for name in names if (match := _MAKING.fullmatch(name))]


def _is_mark(name: str) -> bool:
    """Tell whether it says that a savepoint is unfinished."""
    return name == WRITING or _MAKING.fullmatch(name) is not None
