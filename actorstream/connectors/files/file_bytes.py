"""A file's bytes from a place on, in pieces: plain, or those of a .gz as if it were not compressed.

Nothing stays open between two pieces, so a reader that is given up leaves nothing behind.
"""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, Final

from actorstream.errors import InputError, RestoreError
from actorstream.eventlog.disk_errors import disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.model.world import FileSystem

PIECE_BYTES: Final = 128 * 1024
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS


class FileBytes:
    """One file that is read.

    Attributes:
        files: Where it is.
        path: Its absolute path.
        name: What it is called in errors.
    """

    def __init__(self, files: FileSystem, name: str) -> None:
        """Take the place; nothing is read yet."""
        self.files = files
        self.path = os.path.abspath(name)
        self.name = name
        self.compressed = name.endswith(".gz")

    def size(self) -> int:
        """Give its length as it is now, compressed where it is."""
        with disk_errors(self.path):
            return self.files.size(self.path)

    def part(self, offset: int, size: int) -> bytes:
        """Give a part of it as it is on the disk."""
        with disk_errors(self.path):
            return self.files.read_at(self.path, offset, size)

    def pieces(self, start: int, bound: int | None) -> Iterator[bytes]:
        """Give what follows a place, uncompressed: up to the bound; None: for ever, an empty piece where no more is.

        Raises:
            RestoreError: The file is shorter than it was when the place was noted.
            InputError: It is cut short, or no gzip file.
        """
        if self.compressed:
            yield from self._unpacked(start)
            return
        offset = start
        while bound is None or offset < bound:
            piece = self.part(offset, PIECE_BYTES if bound is None else min(PIECE_BYTES, bound - offset))
            if not piece and bound is not None:
                raise InputError(
                    f"{self.name} ends at byte {offset}, but had {bound} bytes when its reading began: it was cut "
                    "short meanwhile; put the whole file in its place, and write it under a name that is not read"
                )
            offset += len(piece)
            yield piece

    def _unpacked(self, start: int) -> Iterator[bytes]:
        unpacked = 0
        for piece in self._all_unpacked():
            unpacked += len(piece)
            if unpacked > start:
                yield piece[max(0, start - (unpacked - len(piece))) :]
        if unpacked < start:
            raise self.too_short(start, unpacked)

    def _all_unpacked(self) -> Iterator[bytes]:
        offset, unpacker = 0, zlib.decompressobj(_GZIP_WINDOW)
        begun = False
        while data := self.part(offset, PIECE_BYTES):
            offset += len(data)
            while data:
                begun = True
                try:
                    piece = unpacker.decompress(data, PIECE_BYTES)
                except zlib.error as error:
                    raise InputError(
                        f"{self.name} is no gzip file, or damaged near byte {offset} ({error}): put the right file in "
                        "its place, or call it by another name than .gz if it is not compressed"
                    ) from error
                if piece:
                    yield piece
                data = unpacker.unconsumed_tail
                if unpacker.eof:  # a gzip file may be several, one behind the other
                    data, unpacker, begun = unpacker.unused_data.lstrip(b"\0"), zlib.decompressobj(_GZIP_WINDOW), False
        if begun:
            raise InputError(f"{self.name} is cut short at byte {offset}: put the whole file in its place")

    def too_short(self, start: int, size: int) -> RestoreError:
        """Give the error about a place that is not there any more."""
        return RestoreError(
            f"the checkpoint was taken at {start} of {self.name}, which now ends at {size}: it is not the file of that "
            "run; put that one back, or start in another store"
        )
