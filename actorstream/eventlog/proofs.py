"""What has been proved of a file that is still written to, kept beside it, so that it need not be proved again.

    000003.lmdb    extent 0 | extent 1 | extent 2 | ...        256 KiB each
    000003.proof   digest, kinds of the pages       ...        of extents whose every page was looked at

An extent whose digest is the one that is kept holds the very bytes that were looked at, at the same
place: what was found then is true now, whatever has happened in between: a crash, another boot, a
copy to another machine. An extent that was written to since, or has a flipped bit, has another
digest, and is looked at anew. So a proof can be old, short or absent, never wrong; it is never
synced, it may not fail anything, and nothing is lost with it.

LMDB gives pages that became free to later transactions. What lies a few MiB behind the end is
seldom written to again: there a writer looks at extents as its file grows (`GrowingProof`).

The file is appended to, in blocks:
    magic 8 | first extent 4 | extents 4 | pages in each 4 | for each: digest 16, a byte a page | digest of the block 8
"""

from __future__ import annotations

from contextlib import suppress
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from xxhash import xxh3_64_digest, xxh3_128_digest

from actorstream.eventlog.meta_pages import newest_meta
from actorstream.eventlog.pages import EXTENT_BYTES, Pages, extents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.model.world import FileSystem

_MAGIC = b"ASPROOF1"
_BLOCK = Struct("<8sIII")
_DIGEST_BYTES = 16
_SUM_BYTES = 8
LAG_BYTES = 4 * 1024 * 1024
_EXTENTS_AT_ONCE = 4
"""A mebibyte: what `FileSystem.chunks` reads at once."""


class Extent(NamedTuple):
    """What was found in one extent: the digest of its bytes, and the kind of each page (pages.py)."""

    digest: bytes
    kinds: bytes


Proof: TypeAlias = dict[int, Extent]
"""Extents by number."""


def extent_digest(data: bytes) -> bytes:
    """Give what stands for the bytes of an extent."""
    return xxh3_128_digest(data)


def load_proof(files: FileSystem, path: str) -> Proof:
    """Read what was proved of the segment at `path` before; a proof that is damaged is dropped from there on."""
    try:
        data = files.read(proof_path(path))
    except OSError:
        return {}
    proof, end = _blocks(data)
    if end < len(data):
        # What is appended behind a torn block would never be read.
        with suppress(OSError):
            files.unlink(proof_path(path))
            _append(files, path, proof)
    return proof


def add_to_proof(files: FileSystem, path: str, proof: Proof, known: Proof) -> None:
    """Keep what was proved and is not `known`, of extents that will hardly be written to again."""
    with suppress(OSError):
        settled = (files.size(path) - LAG_BYTES) // EXTENT_BYTES
        # The first one holds the meta pages, which every transaction writes.
        _append(files, path, {n: extent for n, extent in proof.items() if 0 < n < settled and known.get(n) != extent})


def drop_proof(files: FileSystem, path: str) -> None:
    """Remove the proof of a segment that is gone, or proved by its digest from now on."""
    if files.exists(proof_path(path)):
        files.unlink(proof_path(path))


def proof_path(path: str) -> str:
    """Give the path of a segment's proof."""
    return f"{path.removesuffix('.lmdb')}.proof"


class GrowingProof:
    """Looks at the extents of a segment while it grows, some way behind its end. Blocking; one thread at a time."""

    def __init__(self, files: FileSystem, path: str, *, lag_bytes: int = LAG_BYTES) -> None:
        """Begin at the file's start; what the proof holds already is passed over."""
        self.path = path
        self._files = files
        self._lag_bytes = lag_bytes
        self._known: frozenset[int] | None = None
        self._page_size = 0
        self._extents: Iterator[bytes] | None = None
        self._at = 0

    def follow(self, budget_bytes: int) -> None:
        """Look at what lies far enough behind the end now, for about so many bytes, at least a mebibyte.

        Raises:
            OSError: The file cannot be read.
            StoreError: Its first pages are damaged.
        """
        piece_bytes = _EXTENTS_AT_ONCE * EXTENT_BYTES
        # A whole piece must be there: a short read would end the iterator.
        settled = self._files.size(self.path) - self._lag_bytes - piece_bytes
        while budget_bytes > 0 and self._at * EXTENT_BYTES <= settled:
            self._look_at_piece()
            budget_bytes -= piece_bytes

    def _look_at_piece(self) -> None:
        if self._known is None:
            self._known = frozenset(load_proof(self._files, self.path))
            self._page_size = newest_meta(self._files, self.path).page_size
        if self._extents is None:
            self._extents = extents(self._files.chunks(self.path))
        news: Proof = {}
        for _ in range(_EXTENTS_AT_ONCE):
            data = next(self._extents)
            if self._at not in self._known and self._at > 0:
                pages = Pages(self._page_size, self._at * (EXTENT_BYTES // self._page_size))
                pages.add(data)
                news[self._at] = Extent(extent_digest(data), bytes(pages.kinds))
            self._at += 1
        with suppress(OSError):
            _append(self._files, self.path, news)


def _append(files: FileSystem, path: str, proof: Proof) -> None:
    """Append blocks of extents that follow each other."""
    numbers = sorted(proof)
    start = 0
    blocks = []
    for at, number in enumerate(numbers):
        if at + 1 == len(numbers) or numbers[at + 1] != number + 1:
            blocks.append(_block(numbers[start], [proof[n] for n in numbers[start : at + 1]]))
            start = at + 1
    if blocks:
        files.append(proof_path(path), b"".join(blocks))


def _block(first: int, run: list[Extent]) -> bytes:
    parts = [_BLOCK.pack(_MAGIC, first, len(run), len(run[0].kinds))]
    for extent in run:
        parts += extent
    block = b"".join(parts)
    return block + xxh3_64_digest(block)


def _blocks(data: bytes) -> tuple[Proof, int]:
    """Give the extents of all whole blocks, and where the last of these ends."""
    proof: Proof = {}
    at = 0
    while at + _BLOCK.size <= len(data):
        magic, first, count, pages = _BLOCK.unpack_from(data, at)
        entry = _DIGEST_BYTES + pages
        end = at + _BLOCK.size + count * entry
        if magic != _MAGIC or data[end : end + _SUM_BYTES] != xxh3_64_digest(data[at:end]):
            break
        for number, start in enumerate(range(at + _BLOCK.size, end, entry), first):
            middle = start + _DIGEST_BYTES
            proof[number] = Extent(data[start:middle], data[middle : start + entry])
        at = end + _SUM_BYTES
    return proof, at
