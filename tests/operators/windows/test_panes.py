"""What is remembered of a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.operators.windows.aggregates import counting
from actorstream.operators.windows.assigners import FOREVER, Tumbling
from actorstream.operators.windows.definition import WindowDefinition
from actorstream.operators.windows.panes import Pane, PaneTable
from actorstream.state.missing import MISSING
from tests.operators.windows.rig import Driver, us

if TYPE_CHECKING:
    from tests.state.rig import Shelf


@pytest.mark.parametrize("held", [MISSING, None, 5, [1, 2], (), (1, 2, 3)])
@pytest.mark.parametrize("remembers", [(), ("trigger",), ("timers", "own")])
def test_a_pane_comes_back_as_it_was(shelf: Shelf, held: object, remembers: tuple[str, ...]) -> None:
    """Purged or not, with whatever is remembered beside what it holds, from memory and from layers."""
    driver = Driver(WindowDefinition(Tumbling(us(10)), counting()), shelf)
    for _ in range(2):
        panes = PaneTable(driver.state.maps["windows"])
        for span in ((0, 10), FOREVER):
            pane = panes.load("a", span) or Pane("a", span, held)
            for name in remembers:
                getattr(pane, name)["x", "y"] = (1, 2)
            panes.save(pane)
            found = panes.load("a", span)
            assert found is not None
            assert found.held == held
            for name in ("trigger", "timers", "own"):
                assert getattr(found, name) == ({("x", "y"): (1, 2)} if name in remembers else {})
        driver.crash_after_checkpoint()


def test_a_pane_that_is_dropped_is_not_there(shelf: Shelf) -> None:
    """Nor in what a checkpoint has written before."""
    driver = Driver(WindowDefinition(Tumbling(us(10)), counting()), shelf)
    panes = PaneTable(driver.state.maps["windows"])
    panes.save(Pane("a", (0, 10), 1))
    driver.checkpoint()
    panes.drop(Pane("a", (0, 10)))
    assert panes.load("a", (0, 10)) is None
    driver.crash_after_checkpoint()
    assert driver.stored() == {}
