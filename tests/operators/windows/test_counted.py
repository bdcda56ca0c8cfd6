"""Windows of a number of records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.errors import InvariantError
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.windows.aggregates import applying, counting, folding
from actorstream.operators.windows.assigners import Count
from actorstream.operators.windows.definition import WindowDefinition
from tests.operators.windows.rig import Driver, result, values
from tests.state.rig import Shelf

if TYPE_CHECKING:
    from tests.operators.windows.rig import Outcome


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("layers"))


def test_a_full_window_gives_its_result(shelf: Shelf) -> None:
    """From the first record's time to the last one's, as they came; the result has the last one's."""
    driver = Driver(WindowDefinition(Count(3), applying(list)), shelf)
    assert driver.records("a", ("x", 5), ("y", 1)) == []
    driver.crash_after_checkpoint()
    assert driver.record("b", "other", 2) == []
    assert driver.record("a", "z", 4) == [result("a", 5, 4, ["x", "y", "z"], time=4)]
    assert driver.records("a", ("x", 5)) == []


def test_what_is_not_full_gives_nothing_at_the_end(shelf: Shelf) -> None:
    """There is no time by which it would be over."""
    driver = Driver(WindowDefinition(Count(3), counting()), shelf)
    driver.records("a", (1, 0), (1, 1))
    assert driver.operator.due == driver.operator.clock_due == TIME_MAX
    assert driver.end() == []
    assert list(driver.operator.fire(TIME_MAX, 1)) == list(driver.operator.fire_clock(5, 5, 1)) == []


def test_records_without_timestamps(shelf: Shelf) -> None:
    """Their windows begin and end where datetimes do: another clock would give something else in a replay."""
    driver = Driver(WindowDefinition(Count(1), counting()), shelf)
    ((found, _),) = driver.record("a", 1, TIME_MIN)
    assert found.start.year == found.end.year == 1


def test_updates_give_a_result_a_record(shelf: Shelf) -> None:
    """The one that fills the window gives one too, and only one."""
    driver = Driver(WindowDefinition(Count(2), counting(), emit="updates"), shelf)
    assert values(driver.records("a", (1, 0), (1, 1), (1, 2))) == [1, 2, 1]


def test_windows_that_overlap_are_each_full_in_their_time(shelf: Shelf) -> None:
    """Records 0 to 2, 2 to 4, 4 to 6."""
    driver = Driver(WindowDefinition(Count(3, slide=2), applying(list)), shelf)
    given = [values(driver.record("a", number, number)) for number in range(7)]
    assert given == [[], [], [[0, 1, 2]], [], [[2, 3, 4]], [], [[4, 5, 6]]]


def test_an_update_is_the_receivers_t125(shelf: Shelf) -> None:
    """The window goes on with what it holds."""

    def held(some: list[int], value: int) -> list[int]:
        some.append(value)
        return some

    driver = Driver(WindowDefinition(Count(3), folding([], held, None), emit="updates"), shelf)
    ((first, _),) = driver.record("a", 1, 0)
    first.value.clear()
    assert values(driver.record("a", 2, 1)) == [[1, 2]]


def test_there_is_no_second_input(shelf: Shelf) -> None:
    """Whoever sends there has a bug."""
    driver = Driver(WindowDefinition(Count(2), counting()), shelf)
    with pytest.raises(InvariantError, match="second input"):
        driver.operator.on_other("a", 1, 0, 0)


@settings(max_examples=60)
@given(
    size=st.integers(1, 6),
    slide=st.integers(1, 8),
    inputs=st.lists(st.sampled_from(["a", "b", "a", "b", "restart", "checkpoint"]), max_size=25),
    updates=st.booleans(),
)
def test_windows_are_slices_of_the_records(
    layers: Shelf, size: int, slide: int, inputs: list[str], *, updates: bool
) -> None:
    """Of each key; where none is open and the next record starts one, there is no state."""
    emit = "updates" if updates else "on_close"
    driver = Driver(WindowDefinition(Count(size, slide=slide), applying(list), emit=emit), layers)  # type: ignore[arg-type]  # one of two
    records: dict[str, list[int]] = {"a": [], "b": []}
    try:
        for time, step in enumerate(inputs):
            if step == "restart":
                driver.crash_after_checkpoint()
            elif step == "checkpoint":
                driver.checkpoint()
            else:
                own = records[step]
                own.append(time)
                expected: Outcome = [
                    result(step, own[first], time, own[first:], time=time)
                    for first in range(0, len(own), slide)
                    if len(own) - first == size or (updates and len(own) - first < size)
                ]
                assert driver.record(step, time, time) == expected
        if size == slide and all(len(own) % size == 0 for own in records.values()):
            assert driver.stored() == {}
            assert not any(driver.state.rows.peek(key) for key in records)
    finally:
        driver.state.stack.release()
