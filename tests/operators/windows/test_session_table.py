"""Where sessions lie, and what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.errors import InvariantError
from actorstream.operators.windows.aggregates import counting
from actorstream.operators.windows.assigners import Session
from actorstream.operators.windows.definition import WindowDefinition
from actorstream.operators.windows.panes import Pane
from actorstream.operators.windows.session_table import SessionTable
from tests.operators.windows.rig import Driver, us

if TYPE_CHECKING:
    from tests.state.rig import Shelf


def table(shelf: Shelf) -> tuple[Driver, SessionTable]:
    driver = Driver(WindowDefinition(Session(us(10)), counting()), shelf)
    return driver, SessionTable(driver.state.rows, driver.state.maps["windows"])


def test_an_instant_is_in_one_session_at_most(shelf: Shelf) -> None:
    """Starts are in it, ends are not."""
    _, sessions = table(shelf)
    for span in ((0, 10), (20, 30)):
        sessions.save(Pane("a", span, span[0]))
    sessions.place("a", ((0, 10), (20, 30)))
    found = {at: sessions.at("a", at) for at in (-1, 0, 9, 10, 19, 20, 29, 30)}
    assert {at: pane.held for at, pane in found.items() if pane is not None} == {0: 0, 9: 0, 20: 20, 29: 20}
    assert sessions.at("b", 5) is None


def test_the_last_session_leaves_nothing(shelf: Shelf) -> None:
    """Not even an empty list of places."""
    driver, sessions = table(shelf)
    panes = [Pane("a", (0, 10), 1), Pane("a", (20, 30), 2)]
    sessions.place("a", tuple(pane.span for pane in panes))
    for pane in panes:
        sessions.save(pane)
    driver.checkpoint()
    sessions.drop(panes[0])
    assert sessions.spans("a") == ((20, 30),)
    sessions.drop(panes[1])
    assert sessions.spans("a") == ()
    driver.checkpoint()
    assert driver.stored() == {}


def test_places_are_written_once_a_record_and_only_if_they_change_t63(shelf: Shelf) -> None:
    """A record inside its session moves nothing."""
    driver = Driver(WindowDefinition(Session(us(10)), counting()), shelf)
    driver.records("a", (1, 0), (1, 9))
    before = driver.state.rows.live["a"]
    driver.record("a", 1, 5)
    assert driver.state.rows.live["a"] is before == ((0, 19),)


def test_a_place_without_a_session_is_a_bug_that_says_so(shelf: Shelf) -> None:
    """It must not look like a late record."""
    _, sessions = table(shelf)
    sessions.place("a", ((0, 10),))
    with pytest.raises(InvariantError, match=r"session \(0, 10\) of key 'a'"):
        sessions.at("a", 5)
