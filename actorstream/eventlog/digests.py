"""The digests of segments that were sealed just now: calculated beside the appends, a slice after each.

    roll-over ──> waiting ──slice──slice──slice──> ready ──in the next transaction──> the ledger (`Sealed`)

Reading a segment of 1 GiB takes half a second or more, and no append waits for that. A slice is a few
times what was just appended, so a segment is done long before the next one is full. Whoever commits
looks for segments that the ledger does not list: a crash in between leaves the work to the next
writer, and until it is done the segment is proved as one that is written to: page by page.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from xxhash import xxh3_128

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from actorstream.eventlog.ledger import Sealed
    from actorstream.model.world import FileSystem


class Digests:
    """Calculates what is waiting, oldest first. Blocking; one thread at a time.

    Attributes:
        ready: Segments with their digests, until they are taken out.
    """

    def __init__(self, files: FileSystem, path: Callable[[int], str]) -> None:
        """Take where a segment lies, by number; nothing waits yet."""
        self.ready: dict[int, Sealed] = {}
        self._files = files
        self._path = path
        self._waiting: dict[int, Sealed] = {}
        self._chunks: Iterator[bytes] | None = None
        self._digest = xxh3_128()
        self._size = 0

    def want(self, sealed: Iterable[Sealed]) -> None:
        """Let these wait for their turn, in order, and no others."""
        wanted = {entry.segment: entry for entry in sealed if entry.segment not in self.ready}
        if self._waiting and next(iter(self._waiting)) not in wanted:
            self.close()
        self._waiting = wanted

    def read(self, budget_bytes: int) -> None:
        """Read on, for about so many bytes, at least one piece where anything waits.

        Raises:
            OSError: The disk fails; the segment is begun anew the next time.
        """
        while self._waiting and budget_bytes > 0:
            number, entry = next(iter(self._waiting.items()))
            if self._chunks is None:
                self._chunks = self._files.chunks(self._path(number))
                self._digest, self._size = xxh3_128(), 0
            try:
                chunk = next(self._chunks, b"")
            except FileNotFoundError:
                # Another process was faster, and retention has removed it since.
                del self._waiting[number]
                self.close()
                continue
            except OSError:
                self.close()
                raise
            self._digest.update(chunk)
            self._size += len(chunk)
            budget_bytes -= len(chunk)
            if not chunk:
                del self._waiting[number]
                self.ready[number] = replace(entry, size=self._size, digest=self._digest.hexdigest())
                self.close()

    def close(self) -> None:
        """Let go of the file; another `read` begins it anew."""
        self._chunks = None
