"""Bytes through zstd, to and from a file, in pieces: a few MiB of memory, whatever the size.

    write ──> compress (level 3) ──> draft
    read  <── decompress         <── one frame, no byte behind it

What is read may be hostile: a piece is asked for by its length, so no more is ever
unpacked than somebody has a use for, and the window, zstd's memory, is bounded.

Python has zstd from 3.14 on (PEP 784). Before that the same code comes as backports.zstd,
by the same author, with the extra `archive`: the one API of the two that will stay.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from actorstream.checkpoints.put import chunks_of, disk_errors
from actorstream.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from actorstream.model.world import FileSystem

LEVEL = 3
PIECE_BYTES = 1 << 20
_WINDOW_LOG_MAX = 23  # 8 MiB, what RFC 8878 asks every reader to take; our own frames need 2 MiB
_MAGIC = b"\x28\xb5\x2f\xfd"


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class ArchiveWriter:
    """A new file, compressed. Call `finish`, then it is whole and synced; call `close` in any case.

    Attributes:
        size: How many bytes were written so far.
    """

    def __init__(self, files: FileSystem, path: str) -> None:
        """Make the file.

        Raises:
            StoreError: The disk refuses, or there is no zstd.
        """
        self._zstd = _compressor()
        self._path = path
        self.size = 0
        with disk_errors(path, "writing"):
            self._file = files.create(path)

    def write(self, data: bytes) -> None:
        """Append to the content."""
        self._append(self._zstd.compress(data))

    def finish(self) -> None:
        """Write the end, and return once everything is durable (the name needs more)."""
        self._append(self._zstd.flush())
        with disk_errors(self._path, "writing"):
            self._file.sync()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()

    def _append(self, piece: bytes) -> None:
        if piece:
            with disk_errors(self._path, "writing"):
                self._file.write(piece)
            self.size += len(piece)


class ArchiveReader:
    """A compressed file, read once from its start."""

    def __init__(self, files: FileSystem, path: str) -> None:
        """Touch nothing yet.

        Raises:
            StoreError: There is no zstd.
        """
        self._zstd, self._error = _decompressor()
        self._path = path
        self._chunks = chunks_of(files, path)
        self._started = False

    def read(self, size: int) -> bytes:
        """Give exactly so many bytes of the content.

        Raises:
            StoreError: The file ends before that, is damaged or no archive, or the disk refuses.
        """
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[bytes]:
        """Give exactly so many bytes, in pieces of at most 1 MiB; errors as for `read`."""
        while size:
            piece = self._some(min(size, PIECE_BYTES))
            if not piece:
                raise StoreError(
                    f"{self._path} ends too early: {size} bytes or more are missing; copy the file again, whole"
                )
            size -= len(piece)
            yield piece

    def end(self) -> None:
        """Make sure that nothing follows.

        Raises:
            StoreError: Something does, or the file is damaged.
        """
        if self._some(1) or self._zstd.unused_data or any(self._chunks):
            raise StoreError(f"{self._path} goes on behind its end: it is damaged, or no archive of ours")
        if not self._zstd.eof:
            raise StoreError(f"{self._path} ends too early: its last bytes are missing; copy the file again, whole")

    def _some(self, limit: int) -> bytes:
        """Give at most `limit` bytes; none where the content ends, or the file does."""
        while not self._zstd.eof:
            data = b""
            if self._zstd.needs_input:
                data = next(self._chunks, b"")
                if not self._started:
                    self._refuse_foreign(data)
                if not data:
                    break
            try:
                piece = self._zstd.decompress(data, max_length=limit)
            except self._error as error:
                raise StoreError(f"{self._path} is damaged: {error}; copy the file again") from error
            if piece:
                return piece
        return b""

    def _refuse_foreign(self, data: bytes) -> None:
        if not data.startswith(_MAGIC):
            found = f"starts with {data[:8]!r}" if data else "is empty"
            raise StoreError(
                f"{self._path} {found} and is no archive of a savepoint, which starts with {_MAGIC!r} (zstd): "
                "give a file that `savepoint export` has made"
            )
        self._started = True


def _compressor() -> _Compressor:
    zstd = _zstd()
    options = {zstd.CompressionParameter.compression_level: LEVEL, zstd.CompressionParameter.checksum_flag: 1}
    compressor: _Compressor = zstd.ZstdCompressor(options=options)
    return compressor


def _decompressor() -> tuple[_Decompressor, type[Exception]]:
    zstd = _zstd()
    options = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX}
    decompressor: _Decompressor = zstd.ZstdDecompressor(options=options)
    return decompressor, zstd.ZstdError


def _zstd() -> ModuleType:
    try:
        return import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    except ImportError as error:
        raise StoreError("archives of savepoints need zstd: pip install 'actorstream[archive]'") from error
