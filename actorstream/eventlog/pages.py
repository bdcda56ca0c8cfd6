"""The pages of an LMDB file, looked at without LMDB: is each well formed, and what does it lead to?

    extent   64 pages of 4 KiB: what is looked at, and remembered, at a time (proofs.py)

Behind a flipped bit in an offset or a length LMDB reads outside of the file, and the process
dies. Values are not looked at: records and the ledger's rows have digests of their own. Costs
about 10 µs a page of 60 records. Layout of LMDB 0.9, little endian; a page:

    number 8 | pad 2 | flags 2 | lower 2 | upper 2 | offsets of the nodes ... lower   upper ... nodes
    node       length 4 (of a branch: child 6, with flags) | flags 2 | key length 2 | key | value or overflow page 8
"""

from __future__ import annotations

from functools import cache
from struct import Struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXTENT_BYTES = 256 * 1024
STRANGE, BRANCH, LEAF, LEAF_OF_LARGE, OVERFLOW, LEAF_OF_FREE = range(6)
"""Kinds of pages: not well formed as any other; leaf with values that lie in overflow pages; the first of those; leaf
that may belong to the tree of free pages."""

HEADER = 16
_NODE_HEADER = 8
_BRANCH_FLAG, _LEAF_FLAG, _OVERFLOW_FLAG = 1, 2, 4
_BIG_DATA = 1
_PAGE = Struct("<QHHHH")  # number, pad, flags, lower, upper
_NODE = Struct("<IHH")  # length of the value, or low part of the child; flags, or its high part; length of the key
_PAGE_NUMBER = Struct("<Q")
_FREE_KEY_BYTES = 8
"""A transaction's number. No row of a log has a key of that length, but any other file's may have."""
_LEADS_NOWHERE = bytes((STRANGE, LEAF))


class Pages:
    """What one pass over a file, or a part of it, found.

    Attributes:
        size: Of a page, in bytes.
        kinds: Of each page, from number `first` on.
        spans: How many pages an overflow page says it heads.
        below: Children of a branch.
        overflow: First pages and lengths of the large values of a leaf.
        free: Page numbers that a leaf of the tree of free pages lists.
    """

    def __init__(self, page_size: int, first: int = 0) -> None:
        """Begin in front of page `first`."""
        self.kinds = bytearray()
        self.spans: dict[int, int] = {}
        self.below: dict[int, list[int]] = {}
        self.overflow: dict[int, list[tuple[int, int]]] = {}
        self.free: dict[int, list[int]] = {}
        self.size = page_size
        self._first = first

    def add(self, data: bytes, kinds: bytes | None = None) -> None:
        """Look at the next pages; at those of known `kinds` only as far as they lead to others."""
        if kinds is not None and not kinds.strip(_LEADS_NOWHERE):
            self.kinds += kinds
            return
        for at in range(0, len(data) - self.size + 1, self.size):
            if kinds is not None and kinds[at // self.size] in _LEADS_NOWHERE:
                self.kinds.append(kinds[at // self.size])
            else:
                self.kinds.append(self._look(data, at))

    def _look(self, data: bytes, at: int) -> int:
        """Note what a page leads to; STRANGE if an offset or a length in it leads out of it."""
        number = self._first + len(self.kinds)
        own, _, flags, lower, upper = _PAGE.unpack_from(data, at)
        if own != number:
            return STRANGE
        if flags == _OVERFLOW_FLAG:
            self.spans[number] = lower | upper << 16
            return OVERFLOW
        if flags not in {_LEAF_FLAG, _BRANCH_FLAG} or lower & 1 or not HEADER < lower <= upper <= self.size:
            return STRANGE
        places = _offsets((lower - HEADER) // 2)(data, at + HEADER)
        if min(places) < upper or max(places) > self.size - _NODE_HEADER:
            return STRANGE
        return self._leaf(number, data, at, places) if flags == _LEAF_FLAG else self._branch(number, data, at, places)

    def _branch(self, number: int, data: bytes, at: int, places: tuple[int, ...]) -> int:
        unpack, last = _NODE.unpack_from, self.size - _NODE_HEADER
        below = []
        for place in places:
            low, high, key = unpack(data, at + place)
            if place + key > last:
                return STRANGE
            below.append(low | high << 32)
        self.below[number] = below
        return BRANCH

    def _leaf(self, number: int, data: bytes, at: int, places: tuple[int, ...]) -> int:
        unpack, last = _NODE.unpack_from, self.size - _NODE_HEADER
        if unpack(data, at + places[0])[2] == _FREE_KEY_BYTES and self._lists_free_pages(number, data, at, places):
            return LEAF_OF_FREE
        overflow = []
        for place in places:
            length, flags, key = unpack(data, at + place)
            if not flags:
                if place + key + length > last:
                    return STRANGE
            elif flags == _BIG_DATA and place + key + _PAGE_NUMBER.size <= last:
                (page,) = _PAGE_NUMBER.unpack_from(data, at + place + _NODE_HEADER + key)
                overflow.append((page, length))
            else:
                return STRANGE
        if not overflow:
            return LEAF
        self.overflow[number] = overflow
        return LEAF_OF_LARGE

    def _lists_free_pages(self, number: int, data: bytes, at: int, places: tuple[int, ...]) -> bool:
        """Tell whether each value is a list of pages that one transaction gave up: how many, then their numbers."""
        overflow: list[tuple[int, int]] = []
        free: list[int] = []
        for place in places:
            length, flags, key = _NODE.unpack_from(data, at + place)
            start, end = place + _NODE_HEADER + _FREE_KEY_BYTES, self.size
            if key != _FREE_KEY_BYTES or flags not in {0, _BIG_DATA} or length % 8 or not length:
                return False
            if flags and start + _PAGE_NUMBER.size <= end:
                overflow.append((_PAGE_NUMBER.unpack_from(data, at + start)[0], length))
            elif flags or start + length > end:
                return False
            else:
                listed = free_pages(data, at + start, length)
                if listed is None:
                    return False
                free += listed
        self.free[number] = free
        self.overflow[number] = overflow
        return True


def free_pages(data: bytes, start: int, length: int) -> tuple[int, ...] | None:
    """Read a list of page numbers; None if it says that it has more than there is room for."""
    (count,) = _PAGE_NUMBER.unpack_from(data, start)
    if 8 * (count + 1) > length:
        return None
    return tuple(_list_of(count)(data, start + 8))


def extents(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Cut a file's pieces into extents; the last one may be shorter."""
    rest = b""
    for chunk in chunks:
        data = rest + chunk if rest else chunk
        whole = len(data) - len(data) % EXTENT_BYTES
        for start in range(0, whole, EXTENT_BYTES):
            yield data[start : start + EXTENT_BYTES]
        rest = data[whole:]
    if rest:
        yield rest


@cache
def _offsets(count: int) -> Callable[..., tuple[Any, ...]]:
    return Struct(f"<{count}H").unpack_from


@cache
def _list_of(count: int) -> Callable[..., tuple[int, ...]]:
    return Struct(f"<{count}Q").unpack_from
