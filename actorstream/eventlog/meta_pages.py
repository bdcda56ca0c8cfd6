"""Is this LMDB file long enough? Asked before it is opened: LMDB maps it, and dies by SIGBUS behind a short end.

    page 0, page 1    meta pages: magic, version, map size, roots of two trees, last page, transaction (even, odd)
    ...               pages of the trees (pages.py)

The newer meta page says which page was the last one given out. A file as long as
that is whole. A file that is a few pages shorter may still be: pages given out and
dropped within one transaction are never written. Whether the trees reach what is
not there is found out when they are proved (page_tree.py).

Layout of LMDB 0.9 on 64-bit machines, little endian.
"""

from __future__ import annotations

from struct import Struct, unpack_from
from typing import TYPE_CHECKING, NamedTuple

from actorstream.errors import DataLossError, StoreError
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
_SHORTAGE_PAGES_MAX = 64


class MetaPage(NamedTuple):
    """What the newest transaction recorded about the file."""

    page_size: int
    map_size: int
    roots: tuple[int, int]
    pages: int
    transaction: int


def check_whole(files: FileSystem, path: str) -> MetaPage:
    """Prove that `path` is an LMDB file, and not shorter than LMDB may leave it.

    Raises:
        StoreError: It is missing, truncated or no LMDB file; names it and the remedy.
    """
    meta = newest_meta(files, path)
    with disk_errors(path):
        size = files.size(path)
    if size < (meta.pages - _SHORTAGE_PAGES_MAX) * meta.page_size:
        raise truncated(path, size, meta)
    return meta


def truncated(path: str, size: int, meta: MetaPage) -> DataLossError:
    """Say that a file is shorter than its newest transaction left it."""
    return DataLossError(
        f"{path} is truncated: {size} bytes found, {meta.pages * meta.page_size} expected: restore it from a copy of"
        " the log"
    )


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
        raise DataLossError(
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
    if not 512 <= page_size <= 65536 or page_size & page_size - 1:
        return None
    return MetaPage(page_size, map_size, (trees[0][-1], trees[1][-1]), last + 1, transaction)
