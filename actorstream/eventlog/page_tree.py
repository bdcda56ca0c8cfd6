"""Can LMDB enter the trees of this file? Asked once, before it does: it trusts every page it meets.

    one pass over the file   leaf, branch: is it well formed? its children, its overflow pages (pages.py)
    from the roots down      every page that is reached must be well formed, and reached once

A sealed file is proved by its digest; one that is written to has none, so its pages are looked at
instead. Extents that somebody has looked at before, and whose bytes are still the same, are not
looked at again (proofs.py): then a file of 1 GiB costs 0.2 s instead of 3.

Pages that no tree reaches hold old content, or none, and are not asked.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from actorstream.errors import DataLossError, StoreError
from actorstream.eventlog.disk_errors import disk_errors
from actorstream.eventlog.meta_pages import NO_ROOT, meta_of, truncated
from actorstream.eventlog.pages import (
    BRANCH,
    EXTENT_BYTES,
    HEADER,
    LEAF,
    LEAF_OF_FREE,
    LEAF_OF_LARGE,
    Pages,
    extents,
    free_pages,
)
from actorstream.eventlog.progress import Progress
from actorstream.eventlog.proofs import Extent, Proof, extent_digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.eventlog.meta_pages import MetaPage
    from actorstream.model.world import FileSystem
    from actorstream.state.lmdb_env import Env

_LOOKS_MAX = 1_000


def prove_trees(files: FileSystem, path: str, env: Env, known: Proof | None = None) -> Proof:
    """Make sure that both trees of an open, but not yet entered file can be walked. Blocking: reads the whole file.

    The newest transaction is held while it reads, so that no writer reuses its pages.

    Args:
        files: The disk.
        path: The file.
        env: It, open.
        known: What was proved of the file before, maybe when it was another one.

    Returns:
        What is proved of it now.

    Raises:
        DataLossError: A page is damaged, or not there.
    """
    for _ in range(_LOOKS_MAX):
        with env.transaction() as txn:
            meta = meta_of(files, path, txn.id())
            if meta is None:
                continue
            with disk_errors(path):
                pages, proof = _read(files, path, meta, known or {})
            damaged = _first_damaged(pages, meta, partial(_large, files, path, meta.page_size))
            if damaged is not None and len(pages.kinds) <= damaged < meta.pages:
                raise truncated(path, len(pages.kinds) * meta.page_size, meta)
            if damaged is not None:
                raise DataLossError(f"{path}: its page {damaged} is damaged: restore the file from a copy of the log")
            return proof
    raise StoreError(f"{path}: LMDB and the file do not agree on its newest transaction: restore it from a copy")


def _read(files: FileSystem, path: str, meta: MetaPage, known: Proof) -> tuple[Pages, Proof]:
    pages = Pages(meta.page_size)
    proof: Proof = {}
    progress = Progress("event log looks at its newest segment", path, meta.pages * meta.page_size)
    for number, data in enumerate(extents(files.chunks(path))):
        before, digest, first = known.get(number), extent_digest(data), len(pages.kinds)
        same = before is not None and before.digest == digest and len(before.kinds) == len(data) // meta.page_size
        pages.add(data, before.kinds if before is not None and same else None)
        if len(data) == EXTENT_BYTES:
            proof[number] = Extent(digest, bytes(pages.kinds[first:]))
        progress.on_read(len(data))
        if len(pages.kinds) >= meta.pages:
            break
    del pages.kinds[meta.pages :]
    return pages, proof


def _first_damaged(pages: Pages, meta: MetaPage, large: Callable[[int, int], bytes]) -> int | None:
    """Give a page that a tree reaches and that is not well formed, that is reached twice, or that is free as well.

    LMDB writes into whatever its list of free pages names, and reads an old root as readily as the newest: old trees
    are well formed, but their pages are free.
    """
    reached = bytearray(max(meta.pages, 2))
    reached[:2] = b"\1\1"
    free_root, root = meta.roots
    damaged = _walk(pages, free_root, (), reached)
    leaves = [page for page in pages.free if page < len(reached) and reached[page]]
    if damaged is None:
        damaged = _walk(pages, root, (LEAF, LEAF_OF_LARGE), reached)
    if damaged is not None:
        return damaged
    for leaf in leaves:
        listed = list(pages.free[leaf])
        for first, length in pages.overflow[leaf]:
            more = free_pages(large(first, length), 0, length)
            if more is None:
                return first
            listed += more
        for page in listed:
            if page >= meta.pages or reached[page]:
                return leaf
            reached[page] = 1
    return None


def _walk(pages: Pages, root: int, leaves: tuple[int, ...], reached: bytearray) -> int | None:
    """Mark what is reached from a root, through such `leaves` too; give the first page that must not be."""
    kinds, there = pages.kinds, len(pages.kinds)
    allowed = {BRANCH, LEAF_OF_FREE, *leaves}
    to_visit = [[root]] if root != NO_ROOT else []
    while to_visit:
        for page in to_visit.pop():
            if page >= there or kinds[page] not in allowed or reached[page]:
                return page
            reached[page] = 1
            if kinds[page] == BRANCH:
                to_visit.append(pages.below[page])
            for first, length in pages.overflow.get(page, ()):
                # A value that has become shorter keeps its pages.
                end = first + pages.spans.get(first, 0)
                if end - first < -(-(length + HEADER) // pages.size) or end > there or any(reached[first:end]):
                    return first
                reached[first:end] = bytes([1]) * (end - first)
    return None


def _large(files: FileSystem, path: str, page_size: int, first: int, length: int) -> bytes:
    """Read a value that lies in overflow pages: only the longest lists of free pages do."""
    data = b"".join(islice(files.chunks(path), (first * page_size + HEADER + length >> 20) + 1))
    return data[first * page_size + HEADER :][:length]
