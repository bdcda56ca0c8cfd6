"""Sessions by example."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.operators.windows.aggregates import applying, counting, folding
from actorstream.operators.windows.assigners import Session
from actorstream.operators.windows.definition import WindowDefinition
from actorstream.operators.windows.triggers import Trigger
from tests.operators.windows.rig import Driver, result, us, values

if TYPE_CHECKING:
    from tests.state.rig import Shelf

SESSIONS = WindowDefinition(Session(us(10)), applying(list))


def test_records_closer_than_the_gap_are_one_session(shelf: Shelf) -> None:
    """It ends a gap after the last of them; what touches belongs to it.

    0    7        17            28
    |-------------------------)
                                |---------)
    """
    driver = Driver(SESSIONS, shelf)
    driver.records("a", ("x", 0), ("y", 7), ("z", 17), ("other", 28))
    assert driver.advance(25) == []
    assert driver.advance(26) == [result("a", 0, 27, ["x", "y", "z"])]
    assert driver.advance(99) == [result("a", 28, 38, ["other"])]
    assert driver.stored() == {}


def test_a_record_joins_the_sessions_that_it_touches_t52(shelf: Shelf) -> None:
    """One comes of three; their timers are of no more use, and give nothing (T55).

    |---a---)       |---b---)       |---c---)
           |----new-----)  touches a and b only
    """
    driver = Driver(SESSIONS, shelf)
    driver.records("k", ("a", 0), ("b", 18), ("c", 40))
    driver.crash_after_checkpoint()
    driver.record("k", "new", 9)
    driver.checkpoint()
    assert driver.advance(26) == []
    assert driver.advance(27) == [result("k", 0, 28, ["a", "new", "b"])]
    assert driver.advance(100) == [result("k", 40, 50, ["c"])]
    assert driver.stored() == {}


def test_what_a_session_gives_is_the_receivers_t125(shelf: Shelf) -> None:
    """It stays for its lateness, and goes on with what it holds."""

    def both(held: list[str], value: str | list[str]) -> list[str]:
        held.extend(value)
        return held

    driver = Driver(WindowDefinition(Session(us(10)), folding([], both, both), None, 50), shelf)
    driver.record("a", "x", 0)
    ((first, _),) = driver.advance(9)
    first.value.clear()
    driver.record("a", "y", 5)
    assert values(driver.advance(14)) == [["x", "y"]]


def test_sessions_of_other_keys_are_not_touched(shelf: Shelf) -> None:
    """A key's sessions are its own."""
    driver = Driver(SESSIONS, shelf)
    driver.records("a", (1, 0), (1, 5))
    driver.records("b", (2, 3))
    assert driver.advance(100) == [result("b", 3, 13, [2]), result("a", 0, 15, [1, 1])]


def test_a_late_record_that_reaches_an_open_session_is_not_late_t53(shelf: Shelf) -> None:
    """It is late by the session that it makes: alone [0, 10) would be gone, with [8, 18) it is not."""
    driver = Driver(SESSIONS, shelf)
    driver.record("a", "open", 8)
    driver.advance(12)
    driver.record("a", "behind", 0)
    assert driver.late == []
    assert driver.advance(17) == [result("a", 0, 18, ["behind", "open"])]


def test_a_record_whose_session_would_be_gone_merges_nothing_t53(shelf: Shelf) -> None:
    """Also where it lies in the gap between two that have gone."""
    driver = Driver(WindowDefinition(Session(us(10)), counting(), allowed_lateness_us=5), shelf)
    driver.records("a", (1, 0), (1, 25))
    assert driver.advance(39) == [result("a", 0, 10, 1), result("a", 25, 35, 1)]
    assert driver.record("a", "late", 12) == []
    assert driver.late == ["late"]
    assert driver.stored() == {}


def test_late_records_extend_a_session_that_has_fired(shelf: Shelf) -> None:
    """Within the lateness: it fires again at once, or waits for its new end if that is still to come."""
    driver = Driver(WindowDefinition(Session(us(10)), counting(), allowed_lateness_us=20), shelf)
    driver.record("a", 1, 0)
    assert driver.advance(20) == [result("a", 0, 10, 1)]
    assert driver.record("a", 1, 8) == [result("a", 0, 18, 2)]
    driver.crash_after_checkpoint()
    assert driver.record("a", 1, 15) == []
    assert driver.advance(24) == [result("a", 0, 25, 3)]
    assert driver.advance(43) == []
    assert driver.record("a", 1, 3) == [result("a", 0, 25, 4)], "until 24 + 20 it is there"
    assert driver.advance(44) == []
    assert driver.stored() == {}


def test_each_record_may_have_a_gap_of_its_own(shelf: Shelf) -> None:
    """A short one inside a long one changes nothing."""
    driver = Driver(WindowDefinition(Session(us), applying(list)), shelf)
    driver.records("a", (30, 0), (2, 10), (3, 40))
    assert driver.advance(100) == [result("a", 0, 30, [30, 2]), result("a", 40, 43, [3])]


def test_accumulators_of_sessions_are_merged_the_earlier_first(shelf: Shelf) -> None:
    """In the order of their time, whatever came first."""
    joined = folding("", lambda held, value: held + value, lambda left, right: f"({left}{right})")
    driver = Driver(WindowDefinition(Session(us(10)), joined), shelf)
    driver.records("a", ("c", 18), ("a", 0), ("b", 9))
    assert values(driver.end()) == ["(ac)b"]


def test_without_merge_the_records_are_folded_in_the_order_of_their_time(shelf: Shelf) -> None:
    """So it does not show which sessions there were."""
    joined = folding("", lambda held, value: held + value, None)
    driver = Driver(WindowDefinition(Session(us(10)), joined), shelf)
    driver.records("a", ("c", 18), ("a", 0), ("b", 9), ("d", 18))
    assert values(driver.end()) == ["abcd"]


def test_a_trigger_goes_with_its_session_t52(shelf: Shelf) -> None:
    """Counts are added up; the timers of the parts are gone, that of the whole is there."""
    driver = Driver(WindowDefinition(Session(us(10)), counting(), Trigger.count(3)), shelf)
    assert driver.records("a", (1, 0), (1, 18)) == []
    assert driver.record("a", 1, 9) == [result("a", 0, 28, 3)]
    driver = Driver(WindowDefinition(Session(us(10)), counting(), Trigger.at_watermark().purging()), shelf)
    driver.records("a", (1, 0), (1, 18), (1, 9))
    assert driver.advance(26) == []
    assert driver.advance(27) == [result("a", 0, 28, 3)]
    assert driver.stored() == {}


def test_a_purged_session_still_joins_t54(shelf: Shelf) -> None:
    """Its place in time is not forgotten with its records."""
    driver = Driver(WindowDefinition(Session(us(10)), applying(list), Trigger.count(2).purging()), shelf)
    assert driver.records("a", (1, 0), (2, 5)) == [result("a", 0, 15, [1, 2])]
    driver.crash_after_checkpoint()
    assert driver.records("a", (3, 14), (4, 20)) == [result("a", 0, 30, [3, 4])]


def test_processing_time_sessions(shelf: Shelf) -> None:
    """They end when the clock says that there was nothing for a while (T60: nothing is late)."""
    driver = Driver(WindowDefinition(Session(us(10), domain="processing"), counting()), shelf)
    driver.record("a", 1, 500)
    driver.tick(8)
    driver.record("a", 1, 3, watermark=900)
    assert driver.tick(17) == []
    assert driver.tick(18) == [result("a", 0, 18, 2)]
    driver.clock.now = 4
    driver.record("a", 1, 0)
    assert driver.tick(30) == [result("a", 4, 14, 1)]
    assert driver.stored() == {}


def test_a_long_session_sets_a_timer_a_gap_not_a_record(shelf: Shelf) -> None:
    """A hundred records a microsecond apart, a gap of fifty: what fires on the way is a timer or two."""
    driver = Driver(WindowDefinition(Session(us(50)), counting()), shelf, limit=1)
    timers = driver.state.timers
    assert timers is not None
    for time in range(100):
        driver.record("a", 1, time)
    driver.checkpoint()
    assert sum(1 for timer in timers.due("event", 1_000) if timer is not None) == 1
