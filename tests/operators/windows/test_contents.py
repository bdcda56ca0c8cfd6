"""What a window holds."""

from __future__ import annotations

import pytest

from actorstream.errors import InvariantError
from actorstream.operators.windows.aggregates import counting, folding
from actorstream.operators.windows.contents import Folded
from actorstream.operators.windows.panes import Pane
from actorstream.state.missing import MISSING


def add(held: list[int], value: int) -> list[int]:
    held.append(value)
    return held


def test_a_result_is_shared_only_by_a_window_that_goes_t125() -> None:
    """A copy costs something: a window that has given its last result needs none."""
    folded, pane = Folded(folding([], add, None)), Pane("a", (0, 10))
    folded.add(pane, 1, 0)
    (stays,), (goes,) = folded.values(pane, 0, stays=True), folded.values(pane, 0, stays=False)
    assert stays == goes == [1]
    assert stays is not pane.held
    assert goes is pane.held


def test_nothing_is_merged_with_something() -> None:
    """Of a purged session the other one's accumulator is all there is."""
    folded = Folded(counting())
    for left, right, both in ((MISSING, 2, 2), (1, MISSING, 1), (1, 2, 3), (MISSING, MISSING, MISSING)):
        pane = Pane("a", (0, 10), left)
        folded.join(pane, Pane("a", (5, 20), right))
        assert pane.held is both or pane.held == both


def test_what_cannot_be_merged_is_not() -> None:
    """Windows that merge keep their records then."""
    with pytest.raises(InvariantError, match="cannot be"):
        Folded(folding(0, max, None)).join(Pane("a", (0, 10), 1), Pane("a", (5, 20), 2))
