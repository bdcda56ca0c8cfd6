"""Every output record held against what must come out: lost, doubled, wrong, out of order.

All expected records differ from each other, so counting tells one from the other:

    expected once, found 0 times  -> lost
    expected once, found n times  -> doubled, n - 1 times
    never expected                -> wrong
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

Record: TypeAlias = tuple[object, ...]


@dataclass(slots=True)
class Difference:
    """What is wrong with one output; all empty: nothing."""

    lost: list[Record] = field(default_factory=list)
    doubled: list[Record] = field(default_factory=list)
    wrong: list[Record] = field(default_factory=list)
    disordered: list[Hashable] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether anything is wrong."""
        return bool(self.lost or self.doubled or self.wrong or self.disordered)


def compare(expected: Sequence[Record], found: Sequence[Record], *, key: int) -> Difference:
    """Compare all records, and their order within each key.

    Args:
        expected: Each record once, in the order of the input.
        found: What is in the output.
        key: The index of the field whose records must be in order.
    """
    difference = Difference()
    counts = Counter(found)
    for record in expected:
        count = counts.pop(record, 0)
        if count == 0:
            difference.lost.append(record)
        elif count > 1:
            difference.doubled += [record] * (count - 1)
    difference.wrong = list(counts.elements())
    if not difference:
        must = _by_key(expected, key)
        difference.disordered = [name for name, records in _by_key(found, key).items() if records != must[name]]
    return difference


def _by_key(records: Iterable[Record], key: int) -> dict[object, list[Record]]:
    sorted_out: dict[object, list[Record]] = {}
    for record in records:
        sorted_out.setdefault(record[key], []).append(record)
    return sorted_out
