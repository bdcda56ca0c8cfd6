"""Windows that keep their records: in runs that are written once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.errors import InvariantError
from actorstream.operators.windows import records_kept
from actorstream.operators.windows.aggregates import applying
from actorstream.operators.windows.assigners import Session, Tumbling
from actorstream.operators.windows.definition import WindowDefinition
from actorstream.operators.windows.records_kept import RUN_RECORDS
from actorstream.operators.windows.triggers import Trigger
from tests.operators.windows.rig import Driver, us, values
from tests.state.rig import encode_all

if TYPE_CHECKING:
    from tests.state.rig import Shelf

ALL = WindowDefinition(Tumbling(us(1_000)), applying(list))


def written(driver: Driver) -> int:
    """Give how many bytes the next checkpoint writes."""
    generation = driver.state.freeze()
    if generation is None:
        return 0
    parts = encode_all(generation)
    driver.state.on_written(generation, driver.shelf.layer(*parts) if generation.entries else None)
    return sum(len(key) + len(value) for part in parts for key, value in part)


def test_records_come_in_the_order_of_their_time(shelf: Shelf) -> None:
    """Those of one time as they came, over any number of runs."""
    driver = Driver(ALL, shelf)
    times = [number * 37 % 100 for number in range(3 * RUN_RECORDS)]
    for number, time in enumerate(times):
        driver.record("a", (time, number), time)
        if number % 50 == 0:
            driver.crash_after_checkpoint()
    ((found, _),) = driver.advance(999)
    assert found.value == sorted((time, number) for number, time in enumerate(times))
    assert driver.stored() == {}


def test_many_records_of_one_time_stay_as_they_came(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorted in several steps, by their time and by nothing else."""
    monkeypatch.setattr(records_kept, "_SORTED_AT_ONCE", 10)
    driver = Driver(ALL, shelf)
    for number in range(35):
        driver.record("a", -number, 7 - number // 20)
    ((found, _),) = driver.advance(999)
    assert found.value == [-number for number in (*range(20, 35), *range(20))]


def test_a_checkpoint_does_not_write_a_large_window_again(shelf: Shelf) -> None:
    """But what came since, and the run that is not full."""
    driver = Driver(ALL, shelf)
    driver.records("a", *[("x" * 100, number % 999) for number in range(20 * RUN_RECORDS)])
    assert written(driver) > 20 * RUN_RECORDS * 100
    driver.record("a", "y", 5)
    assert written(driver) < 1_000


def test_a_result_does_not_write_the_records_again(shelf: Shelf) -> None:
    """What was read may have been changed only where it can be: a run cannot."""
    driver = Driver(WindowDefinition(Tumbling(us(1_000)), applying(len), allowed_lateness_us=500), shelf)
    driver.records("a", *[("x" * 100, 5)] * (20 * RUN_RECORDS))
    written(driver)
    assert values(driver.advance(999)) == [20 * RUN_RECORDS]
    assert written(driver) < 1_000


def test_sessions_that_become_one_join_their_runs_t52(shelf: Shelf) -> None:
    """None is moved, and all are found and forgotten under the names that they had."""
    driver = Driver(WindowDefinition(Session(us(10)), applying(list)), shelf)
    expected = []
    for start in (0, 200, 100):
        for number in range(RUN_RECORDS + 30):
            time = start + number % 90
            expected.append(time)
            driver.record("a", time, time)
        driver.crash_after_checkpoint()
    expected += [98, 198]
    driver.records("a", (98, 98), (198, 198))
    driver.crash_after_checkpoint()
    driver.records("a", *[(time, time) for time in range(RUN_RECORDS)])
    ((found, _),) = driver.advance(10_000)
    assert found.value == sorted([*expected, *range(RUN_RECORDS)])
    assert driver.stored() == {}


def test_a_purged_window_begins_its_runs_anew_t54(shelf: Shelf) -> None:
    """Under the names that the old ones had, of which nothing may be left."""
    trigger = Trigger.count(2 * RUN_RECORDS).purging()
    driver = Driver(WindowDefinition(Tumbling(us(1_000)), applying(list), trigger), shelf)
    found = driver.records("a", *[(number, 5) for number in range(4 * RUN_RECORDS)])
    assert values(found) == [[*range(2 * RUN_RECORDS)], [*range(2 * RUN_RECORDS, 4 * RUN_RECORDS)]]
    driver.end()
    assert driver.stored() == {}


def test_many_records_are_sorted_in_steps(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """No call holds the loop for as long as a sort of all takes; the order is the same."""
    monkeypatch.setattr(records_kept, "_SORTED_AT_ONCE", 10)
    driver = Driver(ALL, shelf)
    times = [number * 37 % 50 for number in range(95)]
    driver.records("a", *[((time, number), time) for number, time in enumerate(times)])
    assert values(driver.end()) == [sorted((time, number) for number, time in enumerate(times))]


def test_a_run_that_is_missing_is_a_bug_that_says_so(shelf: Shelf) -> None:
    """A function of a part of the records would look like one of all."""
    driver = Driver(ALL, shelf)
    driver.records("a", *[(1, 5)] * RUN_RECORDS)
    driver.state.maps["records"].clear("a")
    with pytest.raises(InvariantError, match=r"records 0\.\.1000, run 0, of key 'a'"):
        driver.end()
