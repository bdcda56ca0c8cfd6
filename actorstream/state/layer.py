"""A layer: an immutable, sorted LMDB file of state entries, written once, proved before it is opened.

    write_layer   entries -> LMDB file -> fsync -> digest in 1 MiB reads      (in a thread)
    write_sorted  the same for entries in order, streamed
    open_checked  size and digest, then format, then open

Invariants:
- A file whose size or digest is not the one in the manifest is never opened:
  LMDB has no page checksums, and a short file kills the process (SIGBUS).
- A file is never changed after `write_layer` has returned.
- No sort spans more than 10,000 entries: one long C call stalls the event loop,
  also from a thread. A small layer is sorted whole and appended; a large one is
  put in sorted pieces, and LMDB brings them in order.
- An open layer is counted: `retain` and `release`; the last release closes the file.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Self

from xxhash import xxh3_128

from actorstream.errors import InvariantError, StoreError
from actorstream.model.ids import LayerName
from actorstream.state.lmdb_env import MapFullError, create_building, open_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from actorstream.model.world import FileSystem
    from actorstream.state.entries import Entry
    from actorstream.state.lmdb_env import Env, Transaction

SORT_ENTRIES_MAX = 10_000
_FORMAT_KEY = b"\x00"  # shorter than any entry key and before all of them
_FORMAT = b"actorstream layer 1"
_REMEDY = "put the file back from a copy, or restore an older checkpoint"


@dataclass(frozen=True, slots=True)
class LayerFile:
    """What a manifest says about a layer: enough to prove the file."""

    name: LayerName
    size: int
    digest: str
    entries: int


class Layer:
    """An open layer file. `get` is the bound method of one read transaction, kept open: 0.75 µs a call.

    A context manager that releases one count at its end.
    """

    __slots__ = ("_env", "_txn", "_users", "file", "get")

    get: Callable[[bytes], bytes | None]
    """Give the value of an entry key, or None."""

    def __init__(self, file: LayerFile, env: Env) -> None:
        """Read from `env`, which this layer closes at the last release; the count starts at one."""
        self.file = file
        self._env = env
        self._txn: Transaction | None = env.begin_reading()
        self._users = 1
        self.get = self._txn.get

    def __repr__(self) -> str:
        """Show the file's name and the count."""
        return f"Layer({self.file.name}, users={self._users})"

    def __enter__(self) -> Self:
        """Keep the count."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Release one count."""
        self.release()

    def scan(
        self, prefix: bytes, start: bytes | None = None, stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[Entry]:
        """Give the entries under `prefix` in the order of their keys, or against it.

        `start` (included) and `stop` (excluded) are what follows the prefix; None is its end.
        The layer stays open until the iterator is exhausted or dropped.
        """
        lower = prefix + (start or b"")
        upper = prefix + stop if stop is not None else _after(prefix)
        txn = self._reading()
        self.retain()
        try:
            with txn.cursor() as cursor:
                if reverse:
                    found = cursor.set_range(upper) if upper is not None else False
                    found = cursor.prev() if found else cursor.last()
                    for key, value in cursor.iterprev() if found else ():
                        if key < lower or key == _FORMAT_KEY:
                            return
                        yield key, value
                elif cursor.set_range(max(lower, _FORMAT_KEY + b"\x00")):
                    for key, value in cursor.iternext():
                        if upper is not None and key >= upper:
                            return
                        yield key, value
        finally:
            self.release()

    def retain(self) -> None:
        """Count one more user."""
        self._reading()
        self._users += 1

    def release(self) -> None:
        """Count one user less; the last one closes the file.

        Raises:
            InvariantError: There was no user left.
        """
        txn = self._reading()
        self._users -= 1
        if self._users == 0:
            self._txn = None
            self.get = self._refuse
            txn.abort()
            self._env.close()

    @property
    def closed(self) -> bool:
        """Tell whether the last user has let go."""
        return self._txn is None

    def _reading(self) -> Transaction:
        if self._txn is None:
            raise InvariantError(f"layer {self.file.name} is used after its last release")
        return self._txn

    def _refuse(self, key: bytes, /) -> bytes | None:
        self._reading()
        return None


def write_layer(files: FileSystem, path: str, parts: Sequence[list[Entry]]) -> LayerFile:
    """Write entries, in any order and each key once, into a new file; blocking, so call it in a thread.

    When it returns, content and name are durable. After an error there is no file of ours.

    Raises:
        StoreError: The name is taken, the disk is full or fails.
        InvariantError: Two entries have one key.
    """
    if sum(map(len, parts)) <= SORT_ENTRIES_MAX:
        small = [sorted(chain.from_iterable(parts))]
        return _write(files, path, lambda: small, _map_size_for(parts), append=True)

    def pieces() -> Iterator[list[Entry]]:
        for part in parts:
            for at in range(0, len(part), SORT_ENTRIES_MAX):
                yield sorted(part[at : at + SORT_ENTRIES_MAX])

    return _write(files, path, pieces, _map_size_for(parts), append=False)


def write_sorted(
    files: FileSystem, path: str, pieces: Callable[[], Iterable[list[Entry]]], size_estimate: int
) -> LayerFile:
    """Write entries that come in the order of their keys, a piece at a time; else as `write_layer`.

    Args:
        files: The disk.
        path: A name not yet used.
        pieces: Gives at most 10,000 entries a piece; called again if the estimate was too low by far.
        size_estimate: About how many bytes the file will have.
    """
    return _write(files, path, pieces, 65_536 + 2 * size_estimate, append=True)


def _write(
    files: FileSystem, path: str, pieces: Callable[[], Iterable[list[Entry]]], map_size: int, *, append: bool
) -> LayerFile:
    folder, _, name = path.rpartition("/")
    entries = 0
    try:
        while True:
            try:
                entries = _build(files, path, pieces(), map_size, append=append)
                break
            except MapFullError:
                map_size *= 4
        try:
            files.sync(path)
            files.sync_dir(folder)
            size, digest = _size_and_digest(files, path)
        except BaseException:
            _remove(files, path)
            raise
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error}); free space or mend the disk, then go on") from error
    return LayerFile(LayerName(name), size, digest, entries)


def open_checked(files: FileSystem, path: str, expected: LayerFile) -> Layer:
    """Prove that the file is the one that was written, then open it. Blocking: reads the whole file.

    Raises:
        StoreError: The file is missing, damaged or of a newer format; it was not opened.
    """
    try:
        size = files.size(path)
        if size != expected.size:
            raise StoreError(f"{path}: {size} bytes were found, {expected.size} expected; {_REMEDY}")
        _, digest = _size_and_digest(files, path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error}); {_REMEDY}") from error
    if digest != expected.digest:
        raise StoreError(f"{path}: digest {digest} was found, {expected.digest} expected: it is damaged; {_REMEDY}")
    return open_written(path, expected)


def open_written(path: str, file: LayerFile) -> Layer:
    """Open a file that this process has just written or proved.

    Raises:
        StoreError: It is no layer, or one of a newer format.
    """
    layer = Layer(file, open_layer(path))
    found = layer.get(_FORMAT_KEY)
    if found != _FORMAT:
        layer.release()
        raise StoreError(
            f"{path}: format {found!r} was found, {_FORMAT!r} expected; "
            "if a newer version of actorstream wrote it, run that version, else restore an older checkpoint"
        )
    return layer


def _build(files: FileSystem, path: str, pieces: Iterable[list[Entry]], map_size: int, *, append: bool) -> int:
    env = create_building(path, map_size)
    entries = 0
    try:
        with env.transaction(write=True) as txn:
            txn.put(_FORMAT_KEY, _FORMAT)
            with txn.cursor() as cursor:
                for piece in pieces:
                    cursor.putmulti(piece, append=append)
                    entries += len(piece)
            if env.entries_in(txn) != entries + 1:
                raise InvariantError(
                    f"{path}: an entry key came twice or out of order: two freezes of one owner in one file (T134)?"
                )
    except BaseException:
        env.close()
        _remove(files, path)
        raise
    env.close()
    return entries


def _map_size_for(parts: Sequence[list[Entry]]) -> int:
    """Give room for half-empty pages; the file takes only what is used, and a full map is made larger."""
    return 65_536 + 4 * sum(len(key) + len(value) + 32 for part in parts for key, value in part)


def _size_and_digest(files: FileSystem, path: str) -> tuple[int, str]:
    state = xxh3_128()
    size = 0
    for chunk in files.chunks(path):
        state.update(chunk)
        size += len(chunk)
    return size, state.hexdigest()


def _remove(files: FileSystem, path: str) -> None:
    with suppress(OSError):  # the error that brought us here says more
        files.unlink(path)


def _after(prefix: bytes) -> bytes | None:
    """Give the first key behind every key that begins with `prefix`; None where there is none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,)) if kept else None
