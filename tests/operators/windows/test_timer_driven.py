"""The half of an operator that waits for time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import InvariantError
from actorstream.model.ids import StateNumber
from actorstream.model.key_groups import KeyGroupRange
from actorstream.model.times import TIME_MAX
from actorstream.operators.floors import Floor, Floors
from actorstream.operators.windows.timer_driven import LAST, TimerDriven
from actorstream.state.operator_state import StateColumn
from tests.state.rig import state_over

if TYPE_CHECKING:
    from actorstream.operators.timed import Emitted, Given
    from actorstream.state.timers import Timer

TIMERS = StateColumn(StateNumber(1), "timers", "timers", SELF_DESCRIBING)


class Bells(TimerDriven):
    """Gives each timer as it fires; one named "again" sets one more, and one named "silent" gives nothing."""

    def on_element(self, key: object, value: object, timestamp: int, watermark: int, /) -> Given:
        return None

    def on_timer(self, timer: Timer, watermark: int, given: list[Emitted]) -> None:
        if timer.name == "again":
            self.set_timer(timer.key, "set", timer.domain, timer.at)
        if timer.name != "silent":
            given.append((timer.name, timer.at))


def bells() -> Bells:
    return Bells(state_over(columns=[TIMERS]).timers)


def test_due_is_never_too_late() -> None:
    """It goes down with an earlier timer, and after firing to the next one (T27)."""
    operator = bells()
    assert (operator.due, operator.clock_due) == (TIME_MAX, TIME_MAX)
    operator.set_timer("a", "x", "event", 9)
    operator.set_timer("a", "y", "event", 5)
    operator.set_timer("a", "z", "processing", 7)
    assert (operator.due, operator.clock_due) == (5, 7)
    assert operator.fire(8, 10) == [("y", 5)]
    assert (operator.due, operator.clock_due) == (9, 7)


def test_the_clock_fires_what_was_before_it_t28() -> None:
    """A record of that microsecond may still come."""
    operator = bells()
    operator.set_timer("a", "x", "processing", 7)
    assert operator.fire_clock(7, 0, 10) == []
    assert operator.fire_clock(8, 0, 10) == [("x", 7)]
    assert operator.clock_due == TIME_MAX


def test_a_timer_set_for_the_same_time_fires_in_the_same_pass_t26() -> None:
    """And once."""
    operator = bells()
    operator.set_timer("a", "again", "event", 5)
    assert operator.fire(5, 10) == [("again", 5), ("set", 5)]
    assert operator.due == TIME_MAX


@pytest.mark.parametrize("name", ["loud", "silent"])
def test_a_storm_is_sliced_t24(name: str) -> None:
    """By results and by steps: then it is still due, so that it is called again."""
    operator = bells()
    for key in range(10):
        operator.set_timer(key, name, "event", key)
    assert len(operator.fire(100, 4)) == (4 if name == "loud" else 0)
    assert operator.due == 4
    operator.fire(100, 4)
    assert len(operator.fire(100, 4)) == (2 if name == "loud" else 0)
    assert operator.due == TIME_MAX


def test_what_has_fired_before_a_pause_is_given() -> None:
    """Where the next timer is hard to find: many were cancelled before it."""
    operator = bells()
    operator.set_timer("a", "first", "event", 1)
    for key in range(5_000):
        operator.set_timer(key, "x", "event", 2)
        operator.cancel_timer(key, "x", "event")
    operator.set_timer("a", "last", "event", 3)
    rounds = []
    while operator.due <= 9:
        rounds.append(list(operator.fire(9, 10)))
    assert rounds[0] == [("first", 1)]
    assert rounds[-1] == [("last", 3)]
    assert len(rounds) > 1


def test_a_timer_of_the_clock_sees_the_floor_of_its_key_t33() -> None:
    """After a rescale: how far time had come where the key was before, as long as that is further."""
    seen: list[int] = []

    class Told(Bells):
        def on_timer(self, timer: Timer, watermark: int, given: list[Emitted]) -> None:
            seen.append(watermark)

    operator = Told(state_over(columns=[TIMERS]).timers)
    operator.on_floors(Floors([Floor(KeyGroupRange(7, 8), 90)], lambda key: 7 if key == "a" else 8), 30)
    for key in ("a", "b"):
        operator.set_timer(key, "x", "processing", 5)
    operator.fire_clock(6, 30, 10)
    operator.on_floors(None, 100)
    operator.set_timer("a", "x", "processing", 6)
    operator.fire_clock(7, 100, 10)
    assert seen == [90, 30, 100]


def test_no_timer_is_at_the_time_that_stands_for_none_t57() -> None:
    """What is beyond all time fires with the end of it."""
    operator = bells()
    operator.set_timer("a", "x", "event", 1 << 70)
    assert operator.due == LAST < TIME_MAX
    assert operator.fire(TIME_MAX, 10) == [("x", LAST)]


def test_a_cancelled_timer_is_silent() -> None:
    """Only that one."""
    operator = bells()
    operator.set_timer("a", "x", "event", 5)
    operator.set_timer("a", "x", "processing", 5)
    operator.cancel_timer("a", "x", "event")
    assert operator.fire(10, 10) == []
    assert operator.fire_clock(10, 10, 10) == [("x", 5)]


def test_what_has_no_timers_cannot_wait() -> None:
    """And who has one input gets nothing on a second."""
    with pytest.raises(InvariantError, match="without them"):
        Bells(state_over().timers)
    with pytest.raises(InvariantError, match="second input"):
        bells().on_other("a", 1, 0, 0)
