"""Triggers by example, those that are there and one of a user's own."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from actorstream.errors import PlanError
from actorstream.operators.user_time import datetime_of
from actorstream.operators.windows.aggregates import applying, counting
from actorstream.operators.windows.assigners import Global, Session, Tumbling, Window
from actorstream.operators.windows.definition import WindowDefinition
from actorstream.operators.windows.triggers import AtEnd, Every, EveryNth, Purging, Trigger, innermost
from tests.operators.windows.rig import Driver, result, us, values

if TYPE_CHECKING:
    from actorstream.operators.process_timers import Timer
    from actorstream.operators.windows.triggers import Fire, TriggerContext
    from tests.state.rig import Shelf


def unchecked(value: Any) -> Any:
    """Give what no type checker would let through."""
    return value


def driven(shelf: Shelf, trigger: Trigger[Any], windows: Any = None, lateness: int = 0) -> Driver:
    return Driver(WindowDefinition(windows or Tumbling(us(20)), counting(), trigger, lateness), shelf)


def test_count_fires_with_each_nth_record(shelf: Shelf) -> None:
    """Of one window; what does not come to n gives nothing."""
    driver = driven(shelf, Trigger.count(2))
    assert driver.records("a", (1, 0), (1, 25), (1, 1), (1, 2), (1, 3)) == [
        result("a", 0, 20, 2),
        result("a", 0, 20, 4),
    ]
    assert driver.end() == []


def test_sessions_that_counted_to_more_than_n_fire_with_the_next_record(shelf: Shelf) -> None:
    """Two of two, with n of three: the fifth record, and not never."""
    driver = driven(shelf, Trigger.count(3), Session(us(10)))
    assert driver.records("a", (1, 0), (1, 1), (1, 18), (1, 17)) == []
    assert driver.record("a", 1, 9) == [result("a", 0, 28, 5)]


def test_every_fires_at_the_end_of_periods_that_brought_something(shelf: Shelf) -> None:
    """And at the window's own end. The event time of an early result is that at which it fired.

    records      1   3                 17
    periods           |      |      |      |     ends 4, 9, 14, 19
    """
    driver = driven(shelf, Trigger.every(us(5)))
    driver.records("a", (1, 1), (1, 3))
    assert driver.advance(3) == []
    assert driver.advance(10) == [result("a", 0, 20, 2, time=4)]
    driver.crash_after_checkpoint()
    assert driver.record("a", 1, 17) == []
    assert driver.advance(19) == [result("a", 0, 20, 3)], "the last period ends with the window: once"


def test_every_fires_at_once_for_a_record_of_a_period_that_is_over(shelf: Shelf) -> None:
    """And for one after the window's end."""
    driver = driven(shelf, Trigger.every(us(5)), lateness=9)
    assert driver.record("a", 1, 2, watermark=7) == [result("a", 0, 20, 1)]
    assert driver.record("a", 1, 2, watermark=22) == [result("a", 0, 20, 1), result("a", 0, 20, 2)]


def test_every_by_the_clock_fires_at_once_for_a_record_behind_its_window(shelf: Shelf) -> None:
    """By the watermark the window is over: nobody waits for the clock."""
    driver = driven(shelf, Trigger.every(us(5), domain="processing"), lateness=100)
    assert driver.record("a", 1, 3, watermark=25) == [result("a", 0, 20, 1)]
    assert driver.tick(1_000) == []


def test_the_last_instant_of_a_window_has_passed_with_the_watermark(shelf: Shelf) -> None:
    """A record that comes then fires, and does not wait for a timer of that very instant."""
    driver = driven(shelf, Trigger.at_watermark().purging(), lateness=100)
    driver.record("a", 1, 3)
    assert driver.advance(19) == [result("a", 0, 20, 1)]
    assert driver.record("a", 1, 4) == [result("a", 0, 20, 1)]
    assert driver.end() == []


class Ended(AtEnd):
    """As the default, and asked each time."""


def test_sessions_that_have_fired_and_become_one_fire_once_t52(shelf: Shelf) -> None:
    """By the record that makes them one; no timer of the end that is past fires as well."""
    driver = driven(shelf, Ended("event"), Session(us(10)), lateness=100)
    driver.records("a", (1, 0), (1, 18))
    assert len(driver.advance(50)) == 2
    assert driver.record("a", 1, 9) == [result("a", 0, 28, 3)]
    assert driver.end() == []


def test_the_default_of_windows_by_the_clock_can_be_said(shelf: Shelf) -> None:
    """And made to forget."""
    windows = Tumbling(us(20), domain="processing")
    driver = driven(shelf, Trigger.at_clock().purging(), windows)
    driver.record("a", 1, 3)
    assert driver.tick(19) == []
    assert driver.tick(21) == [result("a", 0, 20, 1)]


def test_every_by_the_clock(shelf: Shelf) -> None:
    """Early results of windows of event time: their end is the watermark's."""
    driver = driven(shelf, Trigger.every(us(5), domain="processing"))
    driver.clock.now = 102
    driver.records("a", (1, 1), (1, 3))
    assert driver.tick(104) == []
    assert driver.tick(105) == [result("a", 0, 20, 2)]
    assert driver.tick(500) == []
    assert driver.advance(19) == [result("a", 0, 20, 2)]
    assert driver.stored() == {}


def test_every_has_done_with_a_period_that_fired_when_sessions_become_one(shelf: Shelf) -> None:
    """What is waited for anew is what was still waited for."""
    driver = driven(shelf, Trigger.every(us(5)), Session(us(30)))
    driver.record("a", 1, 1)
    assert driver.advance(4) == [result("a", 1, 31, 1, time=4)]
    assert driver.record("a", 1, 26) == []
    assert driver.advance(28) == [], "nothing has come in a period that ended since"
    assert driver.advance(29) == [result("a", 1, 56, 2, time=29)]


def test_a_purging_trigger_asks_with_the_window_and_goes_on_where_told(shelf: Shelf) -> None:
    """Its timer is the inner one's: of the same window, and "continue" gives nothing and forgets nothing."""
    asked: list[Window] = []

    class Twice(Trigger[int]):
        def on_element(self, value: int, window: Window, ctx: TriggerContext, /) -> Fire:
            ctx.set_timer(window.end - timedelta(microseconds=value), str(value))
            return "continue"

        def on_timer(self, timer: Timer, window: Window, ctx: TriggerContext, /) -> Fire:
            asked.append(window)
            return "fire" if timer.name == "1" else "continue"

    driver = driven(shelf, Twice().purging())
    driver.records("a", (9, 3), (1, 4))
    assert driver.advance(18) == []
    assert driver.advance(100) == [result("a", 0, 20, 2)]
    assert asked == [Window(datetime_of(0), datetime_of(20))] * 2


def test_every_of_a_global_window(shelf: Shelf) -> None:
    """At the end of the input the last period ends too, and no timer goes on for ever."""
    driver = driven(shelf, Trigger.every(us(5)), Global())
    driver.records("a", (1, 1), (1, 13))
    assert [(each.value, time) for each, time in driver.end()] == [(2, 4), (2, 14)]


def test_a_global_window_that_fires_by_the_clock_has_results_of_that_time(shelf: Shelf) -> None:
    """It has no end that they could have."""
    driver = driven(shelf, Trigger.every(us(5), domain="processing"), Global())
    driver.record("a", 1, 100)
    assert [(each.value, time) for each, time in driver.tick(9)] == [(1, 4)]


def test_every_in_sessions_waits_for_what_its_parts_waited_for(shelf: Shelf) -> None:
    """Timers of merged windows are gone: the trigger sets them anew."""
    driver = driven(shelf, Trigger.every(us(5)), Session(us(20)))
    driver.records("a", (1, 1), (1, 33), (1, 21))
    driver.crash_after_checkpoint()
    found = [(each.value, time) for each, time in driver.end()]
    assert found == [(3, 4), (3, 24), (3, 34), (3, 52)]


def test_delta_fires_when_the_measure_has_moved(shelf: Shelf) -> None:
    """From that of the record that fired last, up or down."""
    driver = driven(shelf, Trigger.delta(3, float))
    found = driver.records("a", (10, 0), (13, 1), (14, 2), (12, 3), (10, 4))
    assert values(found) == [3, 5]


def test_purging_forgets_what_has_fired(shelf: Shelf) -> None:
    """Whatever it was that fired."""
    driver = driven(shelf, Trigger.every(us(5)).purging())
    driver.records("a", (1, 1), (1, 3))
    assert values(driver.advance(4)) == [2]
    driver.record("a", 1, 9)
    assert values(driver.advance(50)) == [1]


def test_purging_is_looked_through() -> None:
    """What is checked at build is the trigger inside."""
    inner = Trigger.count(3)
    assert innermost(inner.purging().purging()) is inner
    assert isinstance(inner.purging(), Purging)


class Idle(Trigger[str]):
    """Fires when nothing has come for a while, by the clock, and purges with "end"."""

    def on_element(self, value: str, window: Window, ctx: TriggerContext, /) -> Fire:
        ctx.state["seen"] = [*ctx.state.get("seen", []), value]
        ctx.set_timer(ctx.now + us(10), domain="processing")
        return "fire_and_purge" if value == "end" else "purge" if value == "drop" else "continue"

    def on_timer(self, timer: Timer, window: Window, ctx: TriggerContext, /) -> Fire:
        assert (timer.at, timer.name, timer.domain) == (ctx.timestamp, "", "processing")
        ctx.state["seen"].append("idle")
        return "fire"

    def on_merge(self, window: Window, ctx: TriggerContext, /) -> None:
        ctx.state["seen"] = [each for state in ctx.merged for each in state["seen"]]


def test_a_trigger_of_ones_own(shelf: Shelf) -> None:
    """Its timers move when set again, by their name; verdicts do what they say; its state is the window's."""
    driver = Driver(WindowDefinition(Global(), applying(list), Idle()), shelf)
    driver.record("a", "x", 0)
    driver.clock.now = 5
    driver.record("a", "y", 0)
    assert driver.tick(15) == []
    driver.crash_after_checkpoint()
    assert values(driver.tick(16)) == [["x", "y"]]
    assert values(driver.record("a", "end", 0)) == [["x", "y", "end"]]
    assert driver.record("a", "drop", 0) == []
    assert values(driver.record("a", "end", 0)) == [["end"]]


def test_a_trigger_merges_what_it_remembers_t52(shelf: Shelf) -> None:
    """In order of time."""
    driver = Driver(WindowDefinition(Session(us(10)), counting(), Idle()), shelf)
    for value, time in (("late", 18), ("early", 0), ("between", 9)):
        driver.record("a", value, time)
    found: Any = driver.stored()["windows"]
    ((_, _, (trigger, timers, _, _)),) = found
    assert trigger == {"seen": ["early", "late", "between"]}
    assert list(timers) == [("processing", "")]


def test_the_default_can_be_said(shelf: Shelf) -> None:
    """And is what runs without any trigger; asked by one of a user's own it says the same."""

    class Same(Trigger[object]):
        def on_element(self, value: object, window: Window, ctx: TriggerContext, /) -> Fire:
            return Trigger.at_watermark().on_element(value, window, ctx)

        def on_timer(self, timer: Timer, window: Window, ctx: TriggerContext, /) -> Fire:
            return Trigger.at_watermark().on_timer(timer, window, ctx)

    for trigger in (None, Trigger.at_watermark(), Same()):
        driver = Driver(WindowDefinition(Tumbling(us(10)), counting(), trigger, 5), shelf)
        found = driver.record("a", 1, 2) + driver.advance(9) + driver.record("a", 1, 3) + driver.advance(50)
        assert found == [result("a", 0, 10, 1), result("a", 0, 10, 2)]
        assert driver.stored() == {}


def test_what_there_is_to_take() -> None:
    """Each word gives its trigger."""
    assert isinstance(Trigger.at_clock(), AtEnd)
    assert isinstance(Trigger.count(1), EveryNth)
    assert isinstance(Trigger.every(1), Every)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Trigger.count(0), r"count\(0\)"),
        (lambda: Trigger.count(unchecked(1.5)), r"count\(1.5\)"),
        (lambda: Trigger.count(True), r"count\(True\)"),
        (lambda: Trigger.every(0), "the period is 0"),
        (lambda: Trigger.every(5, domain=unchecked("watermark")), "'watermark', expected 'event' or 'processing'"),
        (lambda: Trigger.delta(5, unchecked("price")), "'price' is not a function"),
    ],
)
def test_triggers_that_cannot_be_are_refused(make: Any, says: str) -> None:
    """Where they are said."""
    with pytest.raises(PlanError, match=says):
        make()
