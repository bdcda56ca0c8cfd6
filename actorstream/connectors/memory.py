"""A sequence in memory as a source: the only one that a test or a first try needs.

    values   a b c d e          position of "c" = 2, its index
    restored after position 2   goes on with d e

Replayable as long as the sequence keeps its order: it is read where it stands,
not copied, so a list must not change before its end while a job reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from actorstream.errors import RestoreError
from actorstream.model.connect import Fetched, Taken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

T_co = TypeVar("T_co", covariant=True)
_STEPPED = frozenset({list, tuple, range})

FETCH_RECORDS = 512
"""How many records a source of ours gives at once: more costs memory and buys nothing (measured)."""


def count_before(position: object) -> int:
    """Give how many records came up to a position that counts them from 0; None stands before the first.

    Raises:
        RestoreError: It is no such position.
    """
    if position is None:
        return 0
    if not isinstance(position, int) or not -1 <= position < 1 << 63:
        raise RestoreError(
            f"the checkpoint holds {_shown(position)} as a position of this source, expected a count from -1 on: it is "
            "of another source; restore with the one of that run, or start in another store"
        )
    return position + 1


def _shown(position: object) -> str:
    return "an int out of range" if isinstance(position, int) else f"{position!r:.60}"


class SequenceSource(Generic[T_co]):
    """One split, "0", whose positions are indexes. `values` is what it reads."""

    def __init__(self, values: Sequence[T_co]) -> None:
        """Keep a reference to `values`."""
        self.values = values

    async def splits(self) -> Sequence[str]:
        """Name the one split."""
        return ["0"]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, T_co]]:
        """Yield what follows `after`, in slices."""
        while (taken := self.take_in_memory(split, after, FETCH_RECORDS)) is not None:
            yield Fetched(taken.values[taken.start : taken.start + taken.length], taken.position)
            after = taken.position

    def take_in_memory(self, split: str, after: int | None, count: int, /) -> Taken[int, T_co] | None:
        """Show up to `count` records that follow position `after`; None at the end.

        Raises:
            RestoreError: The sequence is shorter than it was when `after` was recorded.
        """
        values = self.values
        start = count_before(after)
        stop = min(start + count, len(values))
        if start > len(values):
            raise RestoreError(
                f"the checkpoint was taken after element {after} of a sequence that now has {len(values)}: "
                "restore with the sequence of that run, or start in another store"
            )
        if start == stop:
            return None
        if type(values) in _STEPPED:
            return Taken(values, start, stop - start, stop - 1)
        # Other sequences (a deque) have iterators that cannot be set to a place.
        return Taken([values[index] for index in range(start, stop)], 0, stop - start, stop - 1)
