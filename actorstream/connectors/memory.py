"""A sequence in memory as a source: the only one that a test or a first try needs.

    values   a b c d e          position of "c" = 2, its index
    restored after position 2   goes on with d e

Replayable as long as the sequence keeps its order: it is read where it stands,
not copied, so a list must not change before its end while a job reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from actorstream.errors import RestoreError
from actorstream.model.connect import Fetched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

T_co = TypeVar("T_co", covariant=True)

FETCH_RECORDS = 512
"""How many records a source of ours gives at once: more costs memory and buys nothing (measured)."""


class SequenceSource(Generic[T_co]):
    """One split, "0", whose positions are indexes."""

    def __init__(self, values: Sequence[T_co]) -> None:
        """Keep a reference to `values`."""
        self._values = values

    async def splits(self) -> Sequence[str]:
        """Name the one split."""
        return ["0"]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, T_co]]:
        """Yield what follows `after`, in slices."""
        while (fetched := self.take(after, FETCH_RECORDS)) is not None:
            yield fetched
            after = fetched.position

    def take(self, after: int | None, count: int) -> Fetched[int, T_co] | None:
        """Give up to `count` records that follow position `after`; None at the end.

        The same as `read` without the cost of an async generator, for a runtime
        that knows in-memory sources.

        Raises:
            RestoreError: The sequence is shorter than it was when `after` was recorded.
        """
        values = self._values
        start = 0 if after is None else after + 1
        stop = min(start + count, len(values))
        if start > len(values):
            raise RestoreError(
                f"the checkpoint was taken after element {after} of a sequence that now has {len(values)}: "
                "restore with the sequence of that run, or start in another store"
            )
        if start == stop:
            return None
        if isinstance(values, list | tuple | range):
            return Fetched(values[start:stop], stop - 1)
        # Other sequences (a deque) may have no slices.
        return Fetched([values[index] for index in range(start, stop)], stop - 1)
