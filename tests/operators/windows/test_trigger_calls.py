"""What a trigger may say and set, and what becomes of its timers."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from actorstream.errors import PlanError, TimestampError
from actorstream.operators.user_time import datetime_of
from actorstream.operators.windows.aggregates import counting
from actorstream.operators.windows.assigners import Session, Tumbling, Window
from actorstream.operators.windows.definition import WindowDefinition
from actorstream.operators.windows.triggers import Trigger
from tests.operators.windows.rig import Driver, result, us

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.operators.process_timers import Timer
    from actorstream.operators.windows.triggers import Fire, TriggerContext
    from tests.state.rig import Shelf


class Told(Trigger[Any]):
    """Does what each record, a function of the context, says; notes which timers fire."""

    def __init__(self) -> None:
        self.fired: list[tuple[str, int, int]] = []

    def on_element(self, value: Callable[[TriggerContext], Any], window: Window, ctx: TriggerContext, /) -> Fire:
        return value(ctx) or "continue"

    def on_timer(self, timer: Timer, window: Window, ctx: TriggerContext, /) -> Fire:
        self.fired.append((timer.name, round(timer.at.timestamp() * 1e6), round(ctx.watermark.timestamp() * 1e6)))
        if timer.name == "twice":
            ctx.set_timer(timer.at + us(3), "again")
        return "fire"

    def on_merge(self, window: Window, ctx: TriggerContext, /) -> None:
        pass


def driven(shelf: Shelf, windows: Any = None, lateness: int = 0) -> tuple[Driver, Told]:
    told = Told()
    return Driver(WindowDefinition(windows or Tumbling(us(20)), counting(), told, lateness), shelf), told


def at(time: int, name: str = "", **more: Any) -> Callable[[TriggerContext], None]:
    return lambda ctx: ctx.set_timer(datetime_of(time), name, **more)


def test_a_verdict_that_is_none_is_refused(shelf: Shelf) -> None:
    """It would otherwise be as good as "continue"."""
    driver, _ = driven(shelf)
    with pytest.raises(PlanError, match="Told said 'FIRE', expected one of continue, fire"):
        driver.record("a", lambda _: "FIRE", 5)


def test_a_timer_is_known_by_name_and_domain_t30(shelf: Shelf) -> None:
    """Setting it again moves it; the same name by the clock is another."""
    driver, told = driven(shelf)
    for value in (at(3, "x"), at(8, "x"), at(5, "y"), at(5, "x", domain="processing")):
        driver.record("a", value, 1)
    driver.crash_after_checkpoint()
    driver.advance(9)
    assert told.fired == [("y", 5, 5), ("x", 8, 8)]
    driver.tick(6)
    assert told.fired[2:] == [("x", 5, 9)]


def test_a_time_that_has_passed_fires_at_once_and_says_the_watermark(shelf: Shelf) -> None:
    """So what comes of it is not behind what is expected."""
    driver, told = driven(shelf)
    driver.record("a", at(3), 5, watermark=7)
    assert driver.advance(7) == [result("a", 0, 20, 1, time=7)]
    assert told.fired == [("", 7, 7)]


def test_in_one_long_step_time_comes_to_each_timer_by_itself_t136(shelf: Shelf) -> None:
    """Also to those that others set on the way (T26)."""
    driver, told = driven(shelf)
    driver.record("a", at(3, "twice"), 1)
    driver.record("a", at(5, "x"), 1)
    found = driver.advance(1_000)
    assert told.fired == [("twice", 3, 3), ("x", 5, 5), ("again", 6, 6)]
    assert [time for _, time in found] == [3, 5, 6]


def test_timers_go_with_their_window_t55(shelf: Shelf) -> None:
    """By event time and by the clock, also where the window is merged away."""
    driver, told = driven(shelf)
    driver.record("a", at(500), 1)
    driver.record("a", at(500, domain="processing"), 1)
    driver.advance(60)
    assert driver.stored() == {}, "not even until they would have fired"
    driver.advance(600)
    driver.tick(600)
    assert told.fired == []
    driver, told = driven(shelf, Session(us(10)))
    driver.record("a", at(3, "x"), 0)
    driver.record("a", at(25, "y"), 18)
    driver.record("a", at(9, "z"), 9)
    driver.advance(100)
    assert told.fired == [("z", 9, 9)]


def test_after_its_end_a_result_keeps_the_time_of_the_window(shelf: Shelf) -> None:
    """A timer within the allowed lateness."""
    driver, _ = driven(shelf, lateness=50)
    driver.record("a", at(30), 1)
    assert driver.advance(40) == [result("a", 0, 20, 1)]


@pytest.mark.parametrize(
    ("value", "error", "says"),
    [
        (lambda ctx: ctx.set_timer(None), TimestampError, "the time of a trigger's timer"),
        (lambda ctx: ctx.set_timer(datetime(2026, 1, 1)), TimestampError, "timer"),  # noqa: DTZ001
        (lambda ctx: ctx.set_timer(5, domain="wall"), PlanError, "'wall', expected 'event' or 'processing'"),
    ],
)
def test_timers_that_cannot_be_are_refused(shelf: Shelf, value: Any, error: type[Exception], says: str) -> None:
    """With what was given."""
    driver, _ = driven(shelf)
    with pytest.raises(error, match=says):
        driver.record("a", value, 5)


def test_a_trigger_that_is_no_more_leaves_timers_that_do_nothing_t55(shelf: Shelf) -> None:
    """A pipeline may come back with another one."""
    driver, _ = driven(shelf)
    driver.record("a", at(5), 1)
    driver.definition = WindowDefinition(Tumbling(us(20)), counting(), Trigger.count(2))
    driver.crash_after_checkpoint()
    assert driver.record("a", 1, 2) == []
    assert driver.record("a", 1, 2) == [result("a", 0, 20, 3)]
    driver.definition = WindowDefinition(Tumbling(us(20)), counting())
    driver.crash_after_checkpoint()
    assert driver.advance(30) == [result("a", 0, 20, 3)]


def test_a_timer_that_fires_is_told_with_its_window_and_nothing_has_merged(shelf: Shelf) -> None:
    """What has become one is asked for in `on_merge` only; before and after there is nothing."""
    told: list[object] = []

    class Asked(Told):
        def on_timer(self, timer: Timer, window: Window, ctx: TriggerContext, /) -> Fire:
            told.append((window.start, window.end, tuple(ctx.merged)))
            return "continue"

        def on_merge(self, window: Window, ctx: TriggerContext, /) -> None:
            told.append(len(ctx.merged))

    driver = Driver(WindowDefinition(Session(us(10)), counting(), Asked()), shelf)
    driver.record("a", at(5), 0)
    driver.advance(5)
    driver.records("a", (lambda _: None, 15), (lambda _: None, 8))
    driver.record("a", lambda ctx: told.append(tuple(ctx.merged)), 12)
    assert told == [(datetime_of(0), datetime_of(10), ()), 2, ()]
