"""Where a record lies, and the positions of many, kept small.

`extend` may place a million records: `Positions` holds a partition number (2
bytes) and, for a run in one partition, no offset at all; a `LogPosition` is made
when somebody looks.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime  # noqa: TC003  (a field's type: codecs look it up)
from typing import Generic, NamedTuple, TypeVar, overload

T = TypeVar("T")


class LogPosition(NamedTuple):
    """One record's place: offsets count from 0 in each partition, without gaps."""

    partition: int
    offset: int


class LogRecord(NamedTuple, Generic[T]):
    """One record with its place and its time."""

    partition: int
    offset: int
    timestamp: datetime
    value: T


class Positions(Sequence[LogPosition]):
    """The positions of records in the order in which they were given."""

    def __init__(self) -> None:
        """Start with none."""
        self._pieces: list[tuple[Sequence[int], Sequence[int]]] = []
        self._starts: list[int] = []
        self._length = 0

    def add(self, partitions: Sequence[int], firsts: dict[int, int]) -> None:
        """Add records in `partitions`, each partition's counted from `firsts[partition]`."""
        offsets: Sequence[int]
        if len(firsts) == 1:
            (first,) = firsts.values()
            offsets = range(first, first + len(partitions))
        else:
            following = dict(firsts)
            counted = array("Q")
            for partition in partitions:
                counted.append(following[partition])
                following[partition] += 1
            offsets = counted
        self._starts.append(self._length)
        self._pieces.append((partitions, offsets))
        self._length += len(partitions)

    def __len__(self) -> int:
        """Count the records."""
        return self._length

    @overload
    def __getitem__(self, index: int) -> LogPosition: ...
    @overload
    def __getitem__(self, index: slice) -> list[LogPosition]: ...
    def __getitem__(self, index: int | slice) -> LogPosition | list[LogPosition]:
        """Give one position, or a list of some."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._length))]
        if index < 0:
            index += self._length
        if not 0 <= index < self._length:
            raise IndexError(f"{self._length} positions")
        piece = bisect_right(self._starts, index) - 1
        partitions, offsets = self._pieces[piece]
        within = index - self._starts[piece]
        return LogPosition(partitions[within], offsets[within])

    def __iter__(self) -> Iterator[LogPosition]:
        """Give each position in order."""
        for partitions, offsets in self._pieces:
            yield from map(LogPosition, partitions, offsets)

    def __eq__(self, other: object) -> bool:
        """Compare with any sequence of positions."""
        if not isinstance(other, Sequence) or len(other) != self._length:
            return NotImplemented
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Show the first few."""
        shown = ", ".join(f"({p}, {o})" for p, o in self[:3])
        return f"<{self._length} positions: {shown}{', ...' if self._length > 3 else ''}>"


def same_partition(partition: int, count: int) -> array[int]:
    """Give `count` times one partition, two bytes each."""
    return array("H", [partition]) * count


def dealt_partitions(start: int, count: int, partitions: int) -> array[int]:
    """Give partitions in turn, from `start` on."""
    turn = array("H", [(start + i) % partitions for i in range(partitions)])
    return (turn * (count // partitions + 1))[:count]


def in_array(partitions: Iterable[int]) -> array[int]:
    """Keep partitions in two bytes each."""
    return array("H", partitions)
