"""Sealed segments are read through once a boot, before LMDB enters them, to prove their digests.

    segments/.proved    a line a proof:   xxh3_64 of the rest | segment | its digest | its identity

An identity (`FileSystem.identity`: boot, device, inode, size, time of last change) is the same only
while nobody changes the file through the file system: so a process that starts after a crash reads
no segment a second time. The record decides nothing but what is read: a line that is torn, altered
or out of date is passed over, nothing is synced, and nothing fails for it. Small segments are read by
each process: that takes a few milliseconds.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from xxhash import xxh3_64_hexdigest

from actorstream.errors import DataLossError
from actorstream.eventlog.progress import Progress
from actorstream.eventlog.segment import digest_of

if TYPE_CHECKING:
    from actorstream.eventlog.ledger import Sealed
    from actorstream.model.world import FileSystem

_WORTH_BYTES = 16 * 1024 * 1024


class SealedProofs:
    """Proves the sealed segments of one log, each once. Blocking; from any thread."""

    def __init__(self, files: FileSystem, folder: str, *, worth_bytes: int = _WORTH_BYTES) -> None:
        """Take the folder of the segments; smaller ones than `worth_bytes` are not remembered after the process."""
        self._files = files
        self._record = f"{folder}/.proved"
        self._worth_bytes = worth_bytes
        self._proved: set[int] = set()
        self._lock = threading.Lock()

    def prove(self, path: str, sealed: Sealed) -> None:
        """Return once the file at `path` is known to be what was sealed.

        Raises:
            DataLossError: It is damaged.
            OSError: It cannot be read.
        """
        with self._lock:
            if sealed.segment in self._proved:
                return
            if sealed.size < self._worth_bytes:
                self._read(path, sealed)
            else:
                # Before it is read: a change meanwhile gives another identity.
                identity = self._files.identity(path)
                line = f"{sealed.segment} {sealed.digest} {identity}"
                if line not in self._noted():
                    self._read(path, sealed)
                    with suppress(OSError):
                        self._files.append(self._record, f"\n{xxh3_64_hexdigest(line.encode())} {line}\n".encode())
            self._proved.add(sealed.segment)

    def _read(self, path: str, sealed: Sealed) -> None:
        found = digest_of(self._files, path, Progress("event log proves a segment", path, sealed.size).on_read)
        if found != sealed.digest:
            raise DataLossError(
                f"{path} is damaged: digest {found} found, {sealed.digest} expected: restore it from a copy"
            )

    def _noted(self) -> set[str]:
        try:
            text = self._files.read(self._record).decode(errors="replace")
        except OSError:
            return set()
        lines = (line.partition(" ") for line in text.split("\n"))
        return {line for own, _, line in lines if own == xxh3_64_hexdigest(line.encode())}
