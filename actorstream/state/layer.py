"""A layer: an immutable, sorted LMDB file of state entries, written once, proved before it is opened.

    LayerBuilder    entries ─> durable file, and the LayerFile that a manifest lists
    prove_file      size and digest are what the LayerFile says; state/verified.py knows who need not be read
    open_written    format, then open: for what was written here, or proved
    open_checked    both

Invariants:
- A file whose size or digest is not the one in the manifest is never opened:
  LMDB has no page checksums, and a short file kills the process (SIGBUS).
- A file is never changed after it was finished.
- An open layer is counted: `retain` and `release`; the last release closes the file.
  Counts belong to the event loop; reading is free to every thread that holds one.

A file begins with an entry of its own, before all others: its format, and a
filter of its keys (state/filters.py), which is read in the map if it is large. Format 1
has no filter: then every key may be in the layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self, TypeAlias

from xxhash import xxh3_128

from actorstream.errors import InvariantError, StoreError
from actorstream.state.filters import PASS_ALL, probe_of
from actorstream.state.lmdb_env import open_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from actorstream.model.ids import LayerName
    from actorstream.model.world import FileSystem
    from actorstream.state.entries import Entry
    from actorstream.state.lmdb_env import Env, Transaction

FORMAT_KEY = b"\x00"
"""Shorter than any entry key, and before all of them."""
FORMAT = b"actorstream layer 2".ljust(32, b"\x00")
"""What its value begins with; the filter follows."""
_FORMAT_1 = b"actorstream layer 1"
_REMEDY = "put the file back from a copy, or restore an older checkpoint"

_COPIED_BYTES_MAX = 1 << 20
Probe: TypeAlias = "tuple[bytes | memoryview[int], int, Callable[[bytes], bytes | None]]"


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

    __slots__ = ("_env", "_txn", "_users", "file", "get", "probe")

    get: Callable[[bytes], bytes | None]
    """Give the value of an entry key, or None."""
    probe: Probe
    """The table of the filter, its length, and `get`: see `filters.probe_of`."""

    def __init__(self, file: LayerFile, env: Env) -> None:
        """Read from `env`, which this layer closes at the last release; the count starts at one.

        Raises:
            StoreError: It is no layer, or one of a newer format; `env` was closed.
        """
        self.file = file
        self._env = env
        try:
            table = _filter_in(env)
            self._txn: Transaction | None = env.begin_reading()
        except BaseException:
            env.close()
            raise
        self._users = 1
        self.get = self._txn.get
        self.probe = table, len(table), self.get

    def __repr__(self) -> str:
        """Show the file's name and the count."""
        return f"Layer({self.file.name}, users={self._users})"

    def __enter__(self) -> Self:
        """Keep the count."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Release one count."""
        self.release()

    def may_hold(self, entry: bytes) -> bool:
        """Tell whether the layer may hold an entry key; False is certain, True is wrong for 1 absent key in 35."""
        low, mask = probe_of(entry)
        table, size, _ = self.probe
        return not table[low % size] & mask

    def get_sorted(self, entries: Sequence[bytes]) -> list[Entry]:
        """Give the entries of those keys that are here, in a read transaction of its own: for any thread.

        One C call: give at most 1,000 keys, in their order.
        """
        self._reading()
        with self._env.transaction() as txn, txn.cursor() as cursor:
            return cursor.getmulti(entries)

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
                        if key < lower or key == FORMAT_KEY:
                            return
                        yield key, value
                elif cursor.set_range(max(lower, FORMAT_KEY + b"\x00")):
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
            # No method of this layer, which would be a cycle: it would wait for the garbage collector.
            self.get = partial(_refuse, self.file.name)
            self.probe = PASS_ALL, 1, self.get
            txn.abort()
            self._env.close()

    @property
    def closed(self) -> bool:
        """Tell whether the last user has let go."""
        return self._txn is None

    def _reading(self) -> Transaction:
        if self._txn is None:
            raise _released(self.file.name)
        return self._txn


def _refuse(layer: LayerName, key: bytes, /) -> bytes | None:
    del key
    raise _released(layer)


def _released(layer: LayerName) -> InvariantError:
    return InvariantError(f"layer {layer} is used after its last release")


def open_checked(files: FileSystem, path: str, expected: LayerFile) -> Layer:
    """Prove that the file is the one that was written, then open it. Blocking: reads the whole file.

    Raises:
        StoreError: The file is missing, damaged or of a newer format; it was not opened.
    """
    prove_file(files, path, expected)
    return open_written(path, expected)


def prove_file(
    files: FileSystem, path: str, expected: LayerFile, on_read: Callable[[int], None] = lambda size: None
) -> None:
    """Read a file to its end and compare; `on_read` is told the size of each piece.

    Raises:
        StoreError: The file is missing or damaged.
    """
    try:
        size = files.size(path)
        if size != expected.size:
            raise StoreError(f"{path}: {size} bytes were found, {expected.size} expected; {_REMEDY}")
        _, digest = size_and_digest(files, path, on_read)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error}); {_REMEDY}") from error
    if digest != expected.digest:
        raise StoreError(f"{path}: digest {digest} was found, {expected.digest} expected: it is damaged; {_REMEDY}")


def open_written(path: str, file: LayerFile) -> Layer:
    """Open a file that this process has just written or proved.

    Raises:
        StoreError: It is no layer, or one of a newer format.
    """
    return Layer(file, open_layer(path))


def _filter_in(env: Env) -> bytes | memoryview[int]:
    """Give the filter: where the map is if it is large, else a copy: 24 layers then answer in 0.7 of the time."""
    head, table = env.mapped(FORMAT_KEY, len(FORMAT))
    if head == _FORMAT_1:
        return PASS_ALL
    if head != FORMAT or not table:
        raise StoreError(
            f"{env.path}: format {head!r} was found, {FORMAT!r} expected; "
            "if a newer version of actorstream wrote it, run that version, else restore an older checkpoint"
        )
    return bytes(table) if len(table) <= _COPIED_BYTES_MAX else table


def size_and_digest(
    files: FileSystem, path: str, on_read: Callable[[int], None] = lambda size: None
) -> tuple[int, str]:
    """Read a file to its end, 1 MiB at a time."""
    state = xxh3_128()
    size = 0
    for chunk in files.chunks(path):
        state.update(chunk)
        size += len(chunk)
        on_read(len(chunk))
    return size, state.hexdigest()


def _after(prefix: bytes) -> bytes | None:
    """Give the first key behind every key that begins with `prefix`; None where there is none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,)) if kept else None
