"""Windows that do not merge, by example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actorstream.model.times import TIME_MAX
from actorstream.operators.timed import LATE
from actorstream.operators.windows.aggregates import applying, counting, folding
from actorstream.operators.windows.assigners import Global, Session, Sliding, Tumbling, Window, WindowAssigner
from actorstream.operators.windows.definition import WindowDefinition
from actorstream.operators.windows.triggers import Trigger
from tests.operators.windows.rig import Driver, result, us, values

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from actorstream.operators.windows.aggregates import Aggregation
    from tests.state.rig import Shelf

COUNT_BY_TEN = WindowDefinition(Tumbling(us(10)), counting())


def test_a_window_gives_its_result_when_the_watermark_passes_its_end(shelf: Shelf) -> None:
    """No sooner: 9 is the last microsecond of [0, 10), and says that no record up to 9 is expected.

    records      0   3     9  10
    watermark                   8 -> nothing    9 -> [0, 10)    19 -> [10, 20)
    """
    driver = Driver(COUNT_BY_TEN, shelf)
    assert driver.records("a", (1, 0), (1, 3), (1, 9), (1, 10)) == []
    assert driver.advance(8) == []
    assert driver.advance(9) == [result("a", 0, 10, 3)]
    assert driver.advance(30) == [result("a", 10, 20, 1)]
    assert driver.advance(60) == []
    assert driver.stored() == {}


def test_results_come_by_time_then_by_encoded_key(shelf: Shelf) -> None:
    """Whatever the order of the records, and where they lie: it is the same in every replay."""
    driver = Driver(COUNT_BY_TEN, shelf, limit=1)
    for key, time in (("b", 11), ("c", 1), ("a", 12), ("b", 2)):
        driver.record(key, 1, time)
        if key == "c":
            driver.crash_after_checkpoint()
    found = [(each.key, time) for each, time in driver.advance(100)]
    assert found == [("b", 9), ("c", 9), ("a", 19), ("b", 19)]


def test_a_record_behind_the_watermark_is_not_late_while_its_window_is_open(shelf: Shelf) -> None:
    """Lateness is asked of the window, not of the record."""
    driver = Driver(COUNT_BY_TEN, shelf)
    assert driver.record("a", 1, 2, watermark=8) == []
    assert driver.late == []
    assert driver.record("a", "late", 5, watermark=9) == [result("a", 0, 10, 1)]
    assert driver.late == ["late"]


def test_within_allowed_lateness_each_record_fires_at_once(shelf: Shelf) -> None:
    """With all that the window holds; at end - 1 + lateness it is gone, and the next record is late."""
    driver = Driver(WindowDefinition(Tumbling(us(10)), counting(), allowed_lateness_us=5), shelf)
    driver.record("a", 1, 2)
    assert driver.advance(9) == [result("a", 0, 10, 1)]
    driver.crash_after_checkpoint()
    assert driver.record("a", 1, 3, watermark=13) == [result("a", 0, 10, 2)]
    assert driver.record("a", 1, 3) == [result("a", 0, 10, 3)]
    assert driver.record("b", 1, 3) == [result("b", 0, 10, 1)], "a window may begin with a late record"
    assert driver.record("a", "late", 3, watermark=14) == []
    assert driver.late == ["late"]
    assert driver.stored() == {}


def test_trigger_and_cleanup_at_one_time_fire_once_then_clear_t56(shelf: Shelf) -> None:
    """Without lateness they coincide, for the default and for a trigger with a timer of its own."""
    for trigger in (None, Trigger.at_watermark(), Trigger.at_watermark().purging()):
        driver = Driver(WindowDefinition(Tumbling(us(10)), counting(), trigger), shelf)
        driver.record("a", 1, 2)
        assert driver.advance(9) == [result("a", 0, 10, 1)]
        assert driver.stored() == {}


def test_a_record_is_late_only_if_all_its_windows_are_gone_t58(shelf: Shelf) -> None:
    """It goes to those that are there, and not to the side output.

    watermark 14      [0, 10) and [5, 15) are gone, [10, 20) is not
    """
    driver = Driver(WindowDefinition(Sliding(us(10), slide=us(5)), counting()), shelf)
    driver.advance(14)
    assert driver.record("a", 1, 12) == []
    assert driver.late == []
    assert driver.record("a", "late", 9) == []
    assert driver.late == ["late"]
    assert driver.advance(30) == [result("a", 10, 20, 1)]


class Weekdays(WindowAssigner[str]):
    """Leaves some records out."""

    def assign(self, value: str, timestamp: datetime, /) -> Iterable[Window]:
        return [] if value == "sunday" else [Window(timestamp, timestamp + us(10))]


def test_a_record_without_windows_is_not_late_t58(shelf: Shelf) -> None:
    """Nobody wanted it, at whatever time it had come."""
    driver = Driver(WindowDefinition(Weekdays(), counting()), shelf)
    assert driver.record("a", "sunday", 5, watermark=100) == []
    assert driver.late == []
    assert driver.record("a", "monday", 5) == []
    assert driver.late == ["monday"]


def test_what_does_not_fit_into_time_ends_with_it_t57(shelf: Shelf) -> None:
    """A cleanup beyond all time must not come round to the past."""
    driver = Driver(WindowDefinition(Tumbling(us(10)), counting(), allowed_lateness_us=1 << 62), shelf)
    time = TIME_MAX - 100
    driver.record("a", 1, time)
    assert values(driver.advance(time + 20)) == [1]
    assert driver.record("a", 1, time) != []
    assert driver.end() == []
    assert driver.stored() == {}


def test_purge_keeps_the_window_t54(shelf: Shelf) -> None:
    """It is dropped when it would have been, and counts on: the trigger's state is not the records'."""
    driver = Driver(WindowDefinition(Tumbling(us(10)), applying(list), Trigger.count(2).purging()), shelf)
    found = driver.records("a", (1, 0), (2, 1), (3, 2))
    driver.crash_after_checkpoint()
    found += driver.records("a", (4, 3), (5, 3))
    assert values(found) == [[1, 2], [3, 4]]
    assert driver.advance(9) == [], "five records, two at a time: the last one gives nothing at the end"
    assert driver.stored() == {}


def test_nothing_to_give_where_everything_was_purged(shelf: Shelf) -> None:
    """A window that has fired and was purged does not fire empty at its end."""
    driver = Driver(WindowDefinition(Tumbling(us(10)), counting(), Trigger.every(us(4)).purging()), shelf)
    driver.record("a", 1, 2)
    assert driver.advance(3) == [result("a", 0, 10, 1, time=3)]
    assert driver.advance(20) == []


def test_updates_give_one_result_a_record_and_window(shelf: Shelf) -> None:
    """And none at the end: that has been said already."""
    definition = WindowDefinition(Sliding(us(10), slide=us(5)), counting(), emit="updates", allowed_lateness_us=3)
    driver = Driver(definition, shelf)
    assert driver.record("a", 1, 7) == [result("a", 0, 10, 1), result("a", 5, 15, 1)]
    assert driver.record("a", 1, 12) == [result("a", 5, 15, 2), result("a", 10, 20, 1)]
    assert driver.record("a", 1, 7, watermark=11) == [result("a", 0, 10, 2), result("a", 5, 15, 3)]
    assert driver.advance(100) == []
    assert driver.stored() == {}


def test_processing_time_windows_are_never_late_t60(shelf: Shelf) -> None:
    """The clock decides which window a record is in; set back, it opens one that was over."""
    driver = Driver(WindowDefinition(Tumbling(us(10), domain="processing"), counting()), shelf)
    driver.advance(1_000)
    driver.record("a", 1, 5)
    assert driver.tick(9) == []
    driver.record("a", 1, 5)
    assert driver.tick(10) == [result("a", 0, 10, 2)], "a record of the clock's 9 cannot come any more"
    driver.clock.now = 3
    driver.record("a", 1, 5)
    assert driver.late == []
    assert driver.tick(11) == [result("a", 0, 10, 1)]


def test_processing_time_windows_go_on_after_a_restart_t25(shelf: Shelf) -> None:
    """Those that ended meanwhile fire as soon as the clock is asked."""
    driver = Driver(WindowDefinition(Tumbling(us(10), domain="processing"), counting()), shelf)
    driver.record("a", 1, 0)
    driver.crash_after_checkpoint()
    assert driver.operator.clock_due == 9
    assert driver.tick(50) == [result("a", 0, 10, 1)]


def test_a_global_window_never_closes_t57(shelf: Shelf) -> None:
    """Its results have the time of what made them."""
    driver = Driver(WindowDefinition(Global(), counting(), Trigger.count(2)), shelf)
    assert driver.record("a", 1, 1_000) == []
    ((found, time),) = driver.record("a", 1, 7, watermark=500)
    assert (found.value, found.start.year, found.end.year, time) == (2, 1, 9999, 7)
    assert driver.end() == []


def test_a_record_taken_in_before_the_watermark_moves_counts_before_it(shelf: Shelf) -> None:
    """What is due at the watermark of a record fires without it, at most one `fire` later."""
    driver = Driver(COUNT_BY_TEN, shelf)
    driver.record("a", 1, 2)
    assert driver.operator.due == 9
    driver.watermark = 5
    assert driver.operator.on_element("a", 1, 4, 5) is None
    assert driver.advance(9) == [result("a", 0, 10, 2)]
    assert driver.operator.due == TIME_MAX
    assert driver.operator.on_element("a", 1, 4, 9) is LATE


def test_what_was_given_is_not_what_goes_on_t125(shelf: Shelf) -> None:
    """A result that is changed by whoever gets it changes no accumulator."""

    def add(held: list[int], value: int) -> list[int]:
        held.append(value)
        return held

    driver = Driver(WindowDefinition(Tumbling(us(10)), folding([], add, None), allowed_lateness_us=9), shelf)
    driver.record("a", 1, 2)
    ((first, _),) = driver.advance(9)
    first.value.append("spoiled")
    assert values(driver.record("a", 2, 2)) == [[1, 2]]


def _held(held: list[object], value: object) -> list[object]:
    held.append(value)
    return held


@pytest.mark.parametrize(
    ("made", "again"),
    [(folding([], _held, None), [[1], [2]]), (applying(lambda records: records[0]), [1])],
    ids=["fold", "apply"],
)
@pytest.mark.parametrize("windows", [Tumbling(us(50)), Session(us(50))], ids=["tumbling", "session"])
def test_what_a_trigger_has_given_is_not_what_goes_on_t125(
    shelf: Shelf, windows: WindowAssigner[Any], made: Aggregation, again: object
) -> None:
    """The window stays: neither its accumulator nor a record that it keeps is what has been given."""
    driver = Driver(WindowDefinition(windows, made, Trigger.count(1)), shelf)
    ((first, _),) = driver.record("a", [1], 2)
    first.value.append("spoiled")
    assert values(driver.record("a", [2], 3)) == [again]
