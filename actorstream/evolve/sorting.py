"""Sorting more entries than memory holds.

    add add add ──> memory, up to a limit ──sort──> a run, in a file ──┐
                    the rest ──────────────────────sort───────────────┴─merge──> in order

Runs are merged 16 at a time, so that however many there are, few files are open and memory holds a piece of each.
The files are for this process alone: nothing is synced, and whoever finds them later removes them.
"""

from __future__ import annotations

from contextlib import suppress
from heapq import merge
from typing import TYPE_CHECKING, Final

from actorstream.checkpoints.put import disk_errors
from actorstream.codec.entry_runs import decode_run, encode_run
from actorstream.errors import CodecError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actorstream.model.world import FileSystem
    from actorstream.state.entries import Entry

SORTED_AT_ONCE: Final = 64 << 20
"""Bytes, with what Python takes for an entry."""
_ENTRY_BYTES: Final = 150
_MERGED_AT_ONCE: Final = 16
_PIECE_BYTES: Final = 1 << 17
_LENGTH: Final = 4


class EntrySorter:
    """Takes entries in any order and gives them back in that of their keys, and then of their values."""

    def __init__(self, files: FileSystem, path: str, limit_bytes: int = SORTED_AT_ONCE) -> None:
        """Keep up to `limit_bytes` in memory; `path` is what the files' names begin with."""
        self._files = files
        self._path = path
        self._limit = limit_bytes
        self._waiting: list[Entry] = []
        self._waiting_bytes = 0
        self._levels: list[list[str]] = []
        self._made = 0

    def add(self, entry: Entry) -> None:
        """Take an entry.

        Raises:
            StoreError: The disk is full or fails.
        """
        self._waiting.append(entry)
        self._waiting_bytes += len(entry[0]) + len(entry[1]) + _ENTRY_BYTES
        if self._waiting_bytes > self._limit:
            self._waiting.sort()
            self._keep(self._write(self._waiting), 0)
            self._waiting, self._waiting_bytes = [], 0

    def entries(self) -> Iterator[Entry]:
        """Give all entries in order; nothing may be added from now on.

        Raises:
            StoreError: The disk fails.
        """
        self._waiting.sort()
        runs = [run for level in self._levels for run in level]
        if not runs:
            return iter(self._waiting)
        return merge(*map(self._read, runs), self._waiting)

    def close(self) -> None:
        """Remove the files; a second call does nothing."""
        self._waiting = []
        for level in self._levels:
            while level:
                with suppress(OSError):  # whoever comes next sweeps
                    self._files.unlink(level.pop())

    def _keep(self, run: str, level: int) -> None:
        if level == len(self._levels):
            self._levels.append([])
        runs = self._levels[level]
        runs.append(run)
        if len(runs) == _MERGED_AT_ONCE:
            merged = self._write(merge(*map(self._read, runs)))
            self._keep(merged, level + 1)
            while runs:
                with disk_errors(runs[-1], "removing"):
                    self._files.unlink(runs.pop())

    def _write(self, entries: Iterable[Entry]) -> str:
        self._made += 1
        path = f"{self._path}-{self._made}.run"
        with disk_errors(path, "sorting"):
            file = self._files.create(path)
            try:
                for piece in _pieces(entries):
                    data = encode_run(piece)
                    file.write(len(data).to_bytes(_LENGTH) + data)
            except BaseException:
                with suppress(OSError):
                    self._files.unlink(path)
                raise
            finally:
                file.close()
        return path

    def _read(self, path: str) -> Iterator[Entry]:
        with disk_errors(path, "sorting"):
            try:
                for piece in _frames(self._files.chunks(path)):
                    yield from decode_run(piece)
            except CodecError as error:
                raise StoreError(f"{path} is not what was written a moment ago: {error}; check the disk") from error


def _pieces(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    piece: list[Entry] = []
    size = 0
    for entry in entries:
        piece.append(entry)
        size += len(entry[0]) + len(entry[1])
        if size > _PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _frames(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Give the pieces that were written, whatever the chunks that they are read in.

    Raises:
        CodecError: They are not whole.
    """
    frame = b""
    for chunk in chunks:
        at = 0
        while at < len(chunk):
            wanted = _LENGTH if len(frame) < _LENGTH else _LENGTH + int.from_bytes(frame[:_LENGTH])
            taken = chunk[at : at + wanted - len(frame)]
            at += len(taken)
            frame += taken
            if len(frame) == wanted > _LENGTH:
                yield frame[_LENGTH:]
                frame = b""
            elif frame == bytes(_LENGTH):
                raise CodecError("a piece of 0 bytes")
    if frame:
        raise CodecError(f"its last piece has {len(frame)} bytes, and should have more")
