"""Where a record lies, and the positions of many, kept small.

`extend` may place a million records: `Positions` holds a partition number (2
bytes) of each, and the first offsets of the pieces they were written in; offsets
and `LogPosition`s are made when somebody looks.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime  # noqa: TC003  (a field's type: codecs look it up)
from functools import cached_property
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


class _Piece:
    """Records that were written together: their partitions, and the first offset of each partition."""

    def __init__(self, partitions: Sequence[int], firsts: dict[int, int]) -> None:
        self.partitions = partitions
        self._firsts = firsts

    @cached_property
    def offsets(self) -> Sequence[int]:
        """The offset of each record, counted when somebody asks: most who append never do."""
        if len(self._firsts) == 1:
            (first,) = self._firsts.values()
            return range(first, first + len(self.partitions))
        following = dict(self._firsts)
        counted = array("Q")
        for partition in self.partitions:
            counted.append(following[partition])
            following[partition] += 1
        return counted


class Positions(Sequence[LogPosition]):
    """The positions of records in the order in which they were given."""

    def __init__(self) -> None:
        """Start with none."""
        self._pieces: list[_Piece] = []
        self._starts: list[int] = []
        self._length = 0

    def add(self, partitions: Sequence[int], firsts: dict[int, int]) -> None:
        """Add records in `partitions`, each partition's counted from `firsts[partition]`."""
        self._starts.append(self._length)
        self._pieces.append(_Piece(partitions, firsts))
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
        within = index - self._starts[piece]
        return LogPosition(self._pieces[piece].partitions[within], self._pieces[piece].offsets[within])

    def __iter__(self) -> Iterator[LogPosition]:
        """Give each position in order."""
        for piece in self._pieces:
            yield from map(LogPosition, piece.partitions, piece.offsets)

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
