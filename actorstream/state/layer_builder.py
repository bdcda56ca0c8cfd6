"""Writes a layer file from runs of entries, however many: the one way a layer comes into being.

    add      runs wait until there are some MiB of them ──one transaction──> LMDB file
    finish   the rest, and the filter ─> fsync file and folder ─> digest in 1 MiB reads ─> LayerFile
    abandon  the file is gone

A transaction begins and ends within one call. When the map is full, it is made
larger and the waiting runs are put again, never those before them.

No sort spans more than 10,000 entries: one long C call stalls the event loop, also
from a thread. A small layer is sorted whole and appended; of a large one each run
is sorted, and LMDB brings them in order. In a process of its own (`alone`) all that
waits is sorted at once: 1,000,000 entries in no order take 1.6 s and 135 MB, where
LMDB takes 2.1 s and leaves its pages half empty, 234 MB (2 shared cores).
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Self

from actorstream.errors import InvariantError, StoreError
from actorstream.model.ids import LayerName
from actorstream.state.filters import FilterBuilder
from actorstream.state.layer import FORMAT, FORMAT_KEY, LayerFile, size_and_digest
from actorstream.state.lmdb_env import MapFullError, create_building
from actorstream.state.verified import identity_of, note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from actorstream.model.world import FileSystem
    from actorstream.state.entries import Entry
    from actorstream.state.lmdb_env import Transaction

SORT_ENTRIES_MAX = 10_000
_MAP_BYTES = 64 << 20  # address space, neither memory nor disk
_WAITING_BYTES = 32 << 20
_ALONE_BYTES = 256 << 20
_RUNS_AT_ONCE = 10
_ENTRY_BYTES = 150  # what two bytes objects and a tuple take beside their content
_RUN_ENTRIES = 2_000
_RUN_BYTES = 1 << 20
_key_of = itemgetter(0)


class LayerBuilder:
    """A layer being written. All calls block; one at a time, from any thread.

    After an error there is no file of ours, and the builder is over. A context
    manager that abandons what was not finished.

    Attributes:
        entries: How many were added.
    """

    def __init__(self, files: FileSystem, path: str, *, in_order: bool = False, alone: bool = False) -> None:
        """Begin the file `path`.

        Args:
            files: The disk.
            path: A name not yet used, in a folder that is there.
            in_order: All entries come in the order of their keys.
            alone: No event loop runs in this process: long sorts hurt nobody.

        Raises:
            StoreError: The name is taken, or the folder cannot be written.
        """
        self.entries = 0
        self._files = files
        self._path = path
        self._in_order = in_order
        self._alone = alone
        self._waiting: list[list[Entry]] = []
        self._waiting_bytes = 0
        self._committed = 0
        self._filter = FilterBuilder()
        self._env = create_building(path, _MAP_BYTES)
        self._over = False

    def __enter__(self) -> Self:
        """Go on."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Abandon the layer if it is not finished."""
        self.abandon()

    def add(self, run: list[Entry]) -> None:
        """Add entries, at most 10,000, each key once in the whole layer; the list is the builder's from now on.

        Raises:
            StoreError: The disk is full or fails.
            InvariantError: Entries announced as in order are not.
        """
        with self._abandoning():
            self._filter.add(run)
            self.entries += len(run)
            if not (self._in_order or self._alone):
                run.sort(key=_key_of)
            self._waiting.append(run)
            self._waiting_bytes += sum([len(key) + len(value) for key, value in run]) + _ENTRY_BYTES * len(run)
            if self._waiting_bytes > (_ALONE_BYTES if self._alone else _WAITING_BYTES):
                self._commit()

    def finish(self) -> LayerFile:
        """Make the layer durable, content and name, and give what a manifest says about it.

        Raises:
            StoreError: The disk is full or fails.
            InvariantError: Two entries have one key.
        """
        files, (folder, _, name) = self._files, self._path.rpartition("/")
        with self._abandoning():
            self._commit()
            head = FORMAT + self._filter.table()
            self._write(lambda txn: txn.put(FORMAT_KEY, head))
            self._env.close()
            files.sync(self._path)
            files.sync_dir(folder)
            identity = identity_of(files, self._path)
            size, digest = size_and_digest(files, self._path)
        self._over = True
        file = LayerFile(LayerName(name), size, digest, self.entries)
        note(files, folder, [(file, identity)])
        return file

    def abandon(self) -> None:
        """Remove the file; does nothing after `finish`, or a second time."""
        if not self._over:
            self._over = True
            self._waiting.clear()
            self._env.close()
            with suppress(OSError):  # what brought us here says more
                self._files.unlink(self._path)

    def _commit(self) -> None:
        """Put what waits into the file."""
        runs, append = self._arranged()
        for at in range(0, len(runs), _RUNS_AT_ONCE):
            some = runs[at : at + _RUNS_AT_ONCE]
            self._committed += sum(map(len, some))
            self._write(partial(self._put, some, append=append))
        self._waiting = []
        self._waiting_bytes = 0

    def _arranged(self) -> tuple[list[list[Entry]], bool]:
        """Give what waits, and whether it can be appended: in one order, and nothing is there that was not."""
        if self._in_order:
            return self._waiting, True
        if self._alone or self.entries <= SORT_ENTRIES_MAX:
            entries = sorted(chain.from_iterable(self._waiting), key=_key_of)
            pieces = range(0, len(entries), SORT_ENTRIES_MAX)
            return [entries[at : at + SORT_ENTRIES_MAX] for at in pieces], not self._committed
        return self._waiting, False

    def _put(self, runs: list[list[Entry]], txn: Transaction, *, append: bool) -> None:
        with txn.cursor() as cursor:
            for run in runs:
                cursor.putmulti(run, append=append)
        if self._env.entries_in(txn) != self._committed:
            raise InvariantError(
                f"{self._path}: an entry key came twice or out of order: two freezes of one owner in one file (T134)?"
            )

    def _write(self, change: Callable[[Transaction], object]) -> None:
        """Make a change in a transaction; when the map is full, in a larger one again."""
        while True:
            try:
                with self._env.transaction(write=True) as txn:
                    change(txn)
            except MapFullError:
                self._env.enlarge(4 * self._env.map_size)
            else:
                return

    @contextmanager
    def _abandoning(self) -> Iterator[None]:
        """Leave nothing behind if the block fails, and say what the disk said."""
        if self._over:
            raise InvariantError(f"{self._path}: the layer was finished or abandoned before")
        try:
            yield
        except OSError as error:
            self.abandon()
            raise StoreError(
                f"{self._path}: cannot be written ({error}); free space or mend the disk, then go on"
            ) from error
        except BaseException:
            self.abandon()
            raise


def write_layer(files: FileSystem, path: str, parts: Sequence[list[Entry]]) -> LayerFile:
    """Write entries, in any order and each key once, into a new file; blocking, so call it in a thread.

    When it returns, content and name are durable. After an error there is no file of ours.

    Raises:
        StoreError: The name is taken, the disk is full or fails.
        InvariantError: Two entries have one key.
    """
    with LayerBuilder(files, path) as builder:
        for part in parts:
            for at in range(0, len(part), SORT_ENTRIES_MAX):
                builder.add(part[at : at + SORT_ENTRIES_MAX])
        return builder.finish()


def write_in_order(files: FileSystem, path: str, entries: Iterable[Entry]) -> LayerFile | None:
    """Write entries that come in the order of their keys, in bounded memory; None, and no file, if none comes.

    Blocking. When it returns, content and name are durable. After an error there is no file of ours.

    Raises:
        StoreError: The name is taken, the disk is full or fails.
        InvariantError: They come in another order, or one key comes twice.
    """
    runs = runs_of(entries)
    first = next(runs, None)
    if first is None:
        return None
    with LayerBuilder(files, path, in_order=True) as builder:
        for run in chain([first], runs):
            builder.add(run)
        return builder.finish()


def runs_of(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Cut entries into runs that are small in number and in bytes."""
    run: list[Entry] = []
    size = 0
    for entry in entries:
        run.append(entry)
        size += len(entry[0]) + len(entry[1])
        if size >= _RUN_BYTES or len(run) == _RUN_ENTRIES:
            yield run
            run, size = [], 0
    if run:
        yield run
