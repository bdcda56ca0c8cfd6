"""Can LMDB enter the trees of this file? Asked once, before it does: it trusts every page it meets.

    one pass over the file   leaf, branch: is it well formed? its children, its overflow pages
    from the roots down      every page that is reached must be well formed, and reached once

Behind a flipped bit in an offset or a length LMDB reads outside of the file, and the process
dies. A sealed file is proved by its digest; one that is written to has none, so its pages are
looked at instead. Values are not: records and the ledger's rows have digests of their own.

Pages that no tree reaches hold old content, or none, and are not asked. Costs about 10 µs a
page of 4 KiB. Layout as in meta_pages.py; a page:

    number 8 | pad 2 | flags 2 | lower 2 | upper 2 | offsets of the nodes ... lower   upper ... nodes
    node       length 4 (of a branch: child 6, with flags) | flags 2 | key length 2 | key | value or overflow page 8
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from actorstream.errors import StoreError
from actorstream.eventlog.meta_pages import NO_ROOT, meta_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.eventlog.meta_pages import MetaPage
    from actorstream.model.world import FileSystem
    from actorstream.state.lmdb_env import Env

_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_BIG_DATA = 1
_HEADER = 16
_NODE_HEADER = 8
_PAGE = Struct("<QHHHH")  # number, pad, flags, lower, upper
_NODE = Struct("<IHH")  # length of the value, or low part of the child; flags, or its high part; length of the key
_PAGE_NUMBER = Struct("<Q")
_LOOKS_MAX = 1_000


class _Pages:
    """What one pass over a file found.

    Attributes:
        kinds: Of each page: branch, leaf, or 0 where it is not well formed as one of them.
        spans: How many pages an overflow page says it heads.
        below: Children of a branch.
        overflow: Heads and lengths of the large values of a leaf.
    """

    def __init__(self, page_size: int) -> None:
        self.kinds = bytearray()
        self.spans: dict[int, int] = {}
        self.below: dict[int, list[int]] = {}
        self.overflow: dict[int, list[tuple[int, int]]] = {}
        self._page_size = page_size

    def add(self, page: memoryview) -> None:
        number = len(self.kinds)
        own, _, kind, low, high = _PAGE.unpack_from(page)
        if own == number and kind == _OVERFLOW:
            self.spans[number] = low | high << 16
        well_formed = own == number and kind in {_BRANCH, _LEAF} and self._take(number, page)
        self.kinds.append(kind if well_formed else 0)

    def _take(self, number: int, page: memoryview) -> bool:
        """Note what a page leads to; False if an offset or a length in it leads out of it."""
        _, _, kind, lower, upper = _PAGE.unpack_from(page)
        size = self._page_size
        if lower & 1 or not _HEADER < lower <= upper <= size:
            return False
        below: list[int] = []
        overflow: list[tuple[int, int]] = []
        for node in page[_HEADER:lower].cast("H"):
            if not upper <= node <= size - _NODE_HEADER:
                return False
            length, flags, key = _NODE.unpack_from(page, node)
            end = node + _NODE_HEADER + key
            if kind == _BRANCH:
                below.append(length | flags << 32)
            elif flags == 0:
                end += length
            elif flags == _BIG_DATA and end + _PAGE_NUMBER.size <= size:
                overflow.append((_PAGE_NUMBER.unpack_from(page, end)[0], length))
            else:
                return False
            if end > size:
                return False
        if below:
            self.below[number] = below
        if overflow:
            self.overflow[number] = overflow
        return True


def prove_trees(files: FileSystem, path: str, env: Env) -> None:
    """Make sure that both trees of an open, but not yet entered file can be walked. Blocking: reads the whole file.

    The newest transaction is held while it reads, so that no writer reuses its pages.

    Raises:
        StoreError: A page is damaged.
    """
    for _ in range(_LOOKS_MAX):
        with env.transaction() as txn:
            meta = meta_of(files, path, txn.id())
            if meta is None:
                continue
            damaged = _first_damaged(_read(files, path, meta), meta)
            if damaged is not None:
                raise StoreError(f"{path}: its page {damaged} is damaged: restore the file from a copy of the log")
            return
    raise StoreError(f"{path}: LMDB and the file do not agree on its newest transaction: restore it from a copy")


def _read(files: FileSystem, path: str, meta: MetaPage) -> _Pages:
    pages = _Pages(meta.page_size)
    for page in _cut(files.chunks(path), meta.page_size):
        if len(pages.kinds) == meta.pages:
            break
        pages.add(page)
    return pages


def _cut(chunks: Iterator[bytes], size: int) -> Iterator[memoryview]:
    rest = b""
    for chunk in chunks:
        data = rest + chunk if rest else chunk
        view = memoryview(data)
        whole = len(data) - len(data) % size
        for start in range(0, whole, size):
            yield view[start : start + size]
        rest = data[whole:]


def _first_damaged(pages: _Pages, meta: MetaPage) -> int | None:
    """Give a page that a tree reaches and that is not well formed, or that is reached twice."""
    kinds, size = pages.kinds, meta.page_size
    reached = bytearray(len(kinds))
    to_visit = [root for root in meta.roots if root != NO_ROOT]
    while to_visit:
        page = to_visit.pop()
        if page >= len(kinds) or not kinds[page] or reached[page]:
            return page
        reached[page] = 1
        to_visit += pages.below.get(page, ())
        for first, length in pages.overflow.get(page, ()):
            # A value that has become shorter keeps its pages.
            end = first + pages.spans.get(first, 0)
            if end - first < -(-(length + _HEADER) // size) or end > len(kinds) or any(reached[first:end]):
                return first
            reached[first:end] = bytes([1]) * (end - first)
    return None
