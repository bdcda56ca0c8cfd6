"""Is this LMDB file whole? Asked before it is opened: LMDB maps it, and dies by SIGBUS behind a short end.

    page 0, page 1    meta pages: magic, version, map size, roots of two trees, last page, transaction (even, odd)
    ...               trees of branch pages (1), leaf pages (2), overflow pages (4)

The newer meta page says which page was the last one given out. A file as long as
that is whole. A file that is a few pages shorter may still be: pages given out and
dropped within one transaction are never written. Then the two trees are walked:
whole means that every page they reach is there.

Layout of LMDB 0.9 on 64-bit machines, little endian.
"""

from __future__ import annotations

from struct import Struct, unpack_from
from struct import error as StructError  # noqa: N812
from typing import TYPE_CHECKING, NamedTuple

from actorstream.errors import StoreError
from actorstream.eventlog.disk_errors import disk_errors

if TYPE_CHECKING:
    from actorstream.model.world import FileSystem

_MAGIC = 0xBEEFC0DE
_VERSION = 1
_META_AT = 16
_META = Struct("<IIQQ")  # magic, version, address, map size
_TREES_AT = 40
_TREE = Struct("<IHHQQQQQ")  # page size (first tree), flags, depth, branch, leaf, overflow pages, entries, root
_LAST_AT = _TREES_AT + 2 * _TREE.size
NO_ROOT = (1 << 64) - 1
_BRANCH, _LEAF = 1, 2
_BIG_DATA = 1
_SHORTAGE_PAGES_MAX = 64
_HEADER = 16


class MetaPage(NamedTuple):
    """What the newest transaction recorded about the file."""

    page_size: int
    map_size: int
    roots: tuple[int, int]
    pages: int
    transaction: int


def check_whole(files: FileSystem, path: str) -> MetaPage:
    """Prove that `path` is an LMDB file whose every needed page is there.

    Raises:
        StoreError: It is missing, truncated or no LMDB file; names it and the remedy.
    """
    meta = newest_meta(files, path)
    with disk_errors(path):
        size = files.size(path)
    expected = meta.pages * meta.page_size
    if size < expected and (
        expected - size > _SHORTAGE_PAGES_MAX * meta.page_size or not _reaches_only(files.read(path), meta)
    ):
        raise StoreError(
            f"{path} is truncated: {size} bytes found, {expected} expected: restore it from a copy of the log"
        )
    return meta


def newest_meta(files: FileSystem, path: str) -> MetaPage:
    """Read what the newest transaction recorded.

    Raises:
        StoreError: The file is missing or no LMDB file, or its meta pages are damaged.
    """
    with disk_errors(path):
        try:
            # A second look, for a writer that was between the two pages at the first one.
            meta = _newer(files, path) or _newer(files, path)
        except FileNotFoundError as error:
            raise StoreError(f"{path} is missing: restore it from a copy of the log") from error
    if meta is None:
        raise StoreError(
            f"{path} is no segment of an event log, or its first pages are damaged: restore it from a copy"
        )
    return meta


def meta_of(files: FileSystem, path: str, transaction: int) -> MetaPage | None:
    """Read what one of the two newest transactions recorded; None if it is neither.

    LMDB announces a transaction in its lock file after it has written the meta page. A writer killed between
    the two leaves a newer page than the one that everybody reads by, and the next writer overwrites it: nobody
    was told of that commit.
    """
    with disk_errors(path):
        return next((meta for meta in _both(files, path) if meta.transaction == transaction), None)


def _newer(files: FileSystem, path: str) -> MetaPage | None:
    """Give the newer meta page; None unless both are whole, and of two transactions in a row.

    Each transaction writes the page that is older. LMDB takes the higher number: a flipped bit in one
    would make it forget the last transaction, and nobody would notice.
    """
    both = _both(files, path)
    if not both:
        return None
    older, newer = sorted(both, key=lambda meta: meta.transaction)
    in_a_row = newer.transaction - older.transaction == 1 and newer is both[newer.transaction % 2]
    return newer if in_a_row or newer.transaction == 0 else None


def _both(files: FileSystem, path: str) -> tuple[MetaPage, ...]:
    """Give both meta pages in their order in the file; nothing unless both are whole."""
    head = next(iter(files.chunks(path)), b"")
    first = _meta_at(head, 0)
    second = None if first is None else _meta_at(head, first.page_size)
    return () if first is None or second is None else (first, second)


def _meta_at(head: bytes, start: int) -> MetaPage | None:
    if len(head) < start + _LAST_AT + 16:
        return None
    magic, version, _, map_size = _META.unpack_from(head, start + _META_AT)
    if magic != _MAGIC or version != _VERSION:
        return None
    trees = [_TREE.unpack_from(head, start + _TREES_AT + i * _TREE.size) for i in (0, 1)]
    last, transaction = unpack_from("<QQ", head, start + _LAST_AT)
    page_size = trees[0][0]
    if page_size < 512 or page_size > 65536:
        return None
    return MetaPage(page_size, map_size, (trees[0][-1], trees[1][-1]), last + 1, transaction)


def _reaches_only(data: bytes, meta: MetaPage) -> bool:
    """Walk both trees; False at the first page that is not, or not wholly, in `data`."""
    there = len(data) // meta.page_size
    to_visit = [root for root in meta.roots if root != NO_ROOT]
    try:
        while to_visit:
            page = to_visit.pop()
            if page >= there:
                return False
            children, ends = _page_at(data, page * meta.page_size, meta.page_size)
            if any(end > there for end in ends):
                return False
            to_visit += children
    except StructError:
        return False
    return True


def _page_at(data: bytes, start: int, page_size: int) -> tuple[list[int], list[int]]:
    """Give the child pages of a branch page, and where the overflow pages of a leaf page end."""
    flags, lower = unpack_from("<HH", data, start + 10)
    children: list[int] = []
    ends: list[int] = []
    for i in range((lower - _HEADER) // 2):
        (node,) = unpack_from("<H", data, start + _HEADER + 2 * i)
        low, high, node_flags, key_size = unpack_from("<HHHH", data, start + node)
        if flags & _BRANCH:
            children.append(low | high << 16 | node_flags << 32)
        elif flags & _LEAF and node_flags & _BIG_DATA:
            (page,) = unpack_from("<Q", data, start + node + 8 + key_size)
            length = low | high << 16
            ends.append(page + -(-(length + _HEADER) // page_size))
    return children, ends
