"""Where two snapshots differ: a walk through both at once, in the one order that all snapshots have.

    a   ann=1   bob=2          cid=4
    b   ann=1   bob=3   bea=9          ──>   1 same, 1 different, 1 only in a, 1 only in b

Key groups, layers and expiries do not count, nor does what bytes a value has: an item is
different if its value is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from actorstream.state.entries import EXPIRING, EXPIRY_END, KIND, take_apart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.evolve.offline_state import OfflineState
    from actorstream.evolve.snapshots import Snapshot
    from actorstream.state.live_rows import LiveRow

Side: TypeAlias = "tuple[object, object] | None"


@dataclass(slots=True)
class StateDifference:
    """What two snapshots have of one state.

    Attributes:
        operator: Its operator.
        name: Its name.
        samples: The first items that differ, each with its value as it is in a, and in b; None where it is not.
    """

    operator: str
    name: str
    only_a: int = 0
    only_b: int = 0
    different: int = 0
    same: int = 0
    samples: list[tuple[Side, Side]] = field(default_factory=list)

    def __bool__(self) -> bool:
        """True when nothing differs."""
        return not (self.only_a or self.only_b or self.different)


def differences(
    a: Snapshot, b: Snapshot, *, operator: str | None = None, name: str | None = None, samples: int = 10
) -> Iterator[StateDifference]:
    """Compare two snapshots, state by state; one that a snapshot does not have is empty there.

    Args:
        a: One.
        b: The other.
        operator: Only this one.
        name: Only states of this name.
        samples: How many items are kept of each state.

    Raises:
        CodecError: A value cannot be decoded.
    """
    operators = sorted({*a.operators, *b.operators}) if operator is None else [operator]
    for each in operators:
        for state in sorted({*_states(a, each), *_states(b, each)}):
            if name is None or state == name:
                yield _compare(a, b, StateDifference(each, state), samples)


def _states(snapshot: Snapshot, operator: str) -> list[str]:
    return list(snapshot.states(operator)) if operator in snapshot.operators else []


def _compare(a: Snapshot, b: Snapshot, found: StateDifference, samples: int) -> StateDifference:
    left, right = _state(a, found), _state(b, found)
    alike = left is not None and right is not None and _alike(a, b, found)
    for row_a, row_b in _side_by_side(_rows(left), _rows(right)):
        if row_a is None:
            found.only_b += 1
        elif row_b is None:
            found.only_a += 1
        elif (alike and _bytes(row_a) == _bytes(row_b)) or _read(left, row_a) == _read(right, row_b):
            found.same += 1
            continue
        else:
            found.different += 1
        if len(found.samples) < samples:
            found.samples.append((_read(left, row_a), _read(right, row_b)))
    return found


def _state(snapshot: Snapshot, found: StateDifference) -> OfflineState | None:
    return snapshot.state(found.operator, found.name) if found.name in _states(snapshot, found.operator) else None


def _alike(a: Snapshot, b: Snapshot, found: StateDifference) -> bool:
    """Tell whether the same bytes are the same value: what one number stands for in both, is one schema."""
    left, right = (snapshot.states(found.operator)[found.name] for snapshot in (a, b))
    known = {each.number: each for each in left.schemas}
    return left.kind == right.kind and all(known.get(each.number, each) == each for each in right.schemas)


def _rows(state: OfflineState | None) -> Iterator[LiveRow]:
    return iter(()) if state is None else state.rows()


def _side_by_side(a: Iterator[LiveRow], b: Iterator[LiveRow]) -> Iterator[tuple[LiveRow | None, LiveRow | None]]:
    """Give the rows of both, those of one order together."""
    left, right = next(a, None), next(b, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left[0] < right[0]):
            yield left, None
            left = next(a, None)
        elif left is None or right[0] < left[0]:
            yield None, right
            right = next(b, None)
        else:
            yield left, right
            left, right = next(a, None), next(b, None)


def _bytes(row: LiveRow) -> bytes:
    """Give the codec bytes of a row."""
    value = row[2]
    tagged = value if value[0] <= KIND else take_apart(value).tagged
    return tagged[EXPIRY_END if tagged[0] == EXPIRING else 1 :]


def _read(state: OfflineState | None, row: LiveRow | None) -> Side:
    if state is None or row is None:
        return None
    (found,) = state.of.read([row])
    return found.item, found.value
