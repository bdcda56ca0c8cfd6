"""Windows of slices by example."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import InvariantError
from actorstream.model.ids import StateNumber
from actorstream.model.key_groups import KeyGroupRange
from actorstream.model.times import TIME_MAX
from actorstream.operators.timed import LATE
from actorstream.operators.windows.aggregates import applying, counting, extreme_by, folding, summing
from actorstream.operators.windows.definition import Aligned
from actorstream.operators.windows.results import WindowResult
from actorstream.operators.windows.sliced import SLICES, SlicedWindows
from actorstream.operators.windows.sliced_grid import SliceGrid
from actorstream.state.operator_state import StateColumn
from actorstream.state.stack import LayerStack
from tests.state.rig import ALL, state_over

if TYPE_CHECKING:
    from actorstream.operators.windows.aggregates import Aggregation
    from actorstream.state.operator_state import OperatorState
    from tests.state.rig import Shelf

COLUMN = StateColumn(StateNumber(3), SLICES, "slices", SELF_DESCRIBING)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(time: int) -> datetime:
    return EPOCH + timedelta(microseconds=time)


def state_of(before: OperatorState | None = None) -> OperatorState:
    return state_over(LayerStack.covering(ALL, before.stack.runs() if before else ()), (COLUMN,))


def windows(
    size: int,
    slide: int,
    *,
    aggregation: Aggregation | None = None,
    lateness: int = 0,
    offset: int = 0,
    state: OperatorState | None = None,
) -> SlicedWindows:
    return SlicedWindows(Aligned(size, slide, offset), aggregation or counting(), lateness, state or state_of())


def fire_all(operator: SlicedWindows, watermark: int) -> list[tuple[Any, ...]]:
    """Give (key, start, value) of all that is due."""
    given: list[tuple[Any, ...]] = []
    while operator.due <= watermark and operator.due < TIME_MAX:
        for result, time in operator.fire(watermark, 64):
            assert isinstance(result, WindowResult)
            assert at(time + 1) == result.end
            given.append((result.key, (result.start - EPOCH) // timedelta(microseconds=1), result.value))
    return given


def test_a_record_is_added_once_and_counts_in_each_of_its_windows() -> None:
    """Sliding(10, slide=2): the record at 7 is in five windows, and in one dict."""
    state = state_of()
    operator = windows(10, 2, state=state)
    assert operator.on_element("a", None, 7, -1) is None
    assert operator.on_element("a", None, 8, -1) is None
    assert operator.on_element("b", None, 8, -1) is None
    assert state.live_entries == 3
    assert operator.due == 7
    assert fire_all(operator, 9) == [("a", -2, 1), ("a", 0, 2), ("b", 0, 2 - 1)]
    assert fire_all(operator, 15) == [(key, start, value) for start in (2, 4, 6) for key, value in (("a", 2), ("b", 1))]
    assert fire_all(operator, 17) == [("a", 8, 1), ("b", 8, 1)]
    assert operator.due == TIME_MAX
    assert state.live_entries == 0


def test_slices_are_as_long_as_size_and_slide_allow() -> None:
    """The offset moves them and does not divide them; times before 1970 are like all others (T59)."""
    grid = SliceGrid(10, 4, 3)
    assert (grid.slice_us, grid.offset) == (2, 1)
    assert (grid.first_end(3), grid.last_end(3)) == (5, 13)
    hopping = SliceGrid(4, 10, 0)
    assert [start for start in range(0, 10, 2) if hopping.first_end(start) <= hopping.last_end(start)] == [0, 2]


def test_a_record_in_a_gap_between_windows_is_neither_late_nor_kept() -> None:
    """It is in no window, so none was missed."""
    state = state_of()
    operator = windows(4, 10, state=state)
    assert operator.on_element("a", None, 5, 100) is None
    assert operator.on_element("a", None, 3, 100) is LATE
    assert state.live_entries == 0
    assert operator.due == TIME_MAX


def test_a_late_record_fires_what_is_kept_and_counts_in_what_comes_t58() -> None:
    """Windows of 10 every 5, kept for 3: at watermark 11 the one that ends at 10 fires again, at 13 it is gone."""
    operator = windows(10, 5, lateness=3)
    assert operator.on_element("a", None, 7, 0) is None
    assert operator.on_element("b", None, 7, 0) is None
    assert fire_all(operator, 9) == [("a", 0, 1), ("b", 0, 1)]
    assert operator.on_element("a", None, 6, 11) == [(WindowResult("a", at(0), at(10), 2), 9)]
    assert operator.on_element("c", None, 2, 11) == [(WindowResult("c", at(0), at(10), 1), 9)]
    assert operator.on_element("a", None, 6, 12) is None, "one of its windows is gone, one is still to come"
    assert operator.on_element("d", None, 4, 12) is LATE
    assert fire_all(operator, 14) == [("a", 5, 3), ("b", 5, 1)]


def test_lateness_beyond_all_time_ends_with_time_t57() -> None:
    """At the end of all input everything is dropped."""
    state = state_of()
    operator = windows(10, 5, lateness=TIME_MAX, state=state)
    operator.on_element("a", None, 7, 0)
    assert fire_all(operator, TIME_MAX) == [("a", 0, 1), ("a", 5, 1)]
    assert state.live_entries == 0
    assert operator.on_element("a", None, 7, TIME_MAX) is LATE


def test_what_has_fired_is_told_by_the_watermark_t47(shelf: Shelf) -> None:
    """After a restore a window that has fired does not fire again, and its late records are late."""
    state = state_of()
    operator = windows(10, 5, state=state)
    operator.on_element("a", None, 7, 0)
    assert fire_all(operator, 11) == [("a", 0, 1)]
    shelf.checkpoint(state)
    again = windows(10, 5, state=state_of(state))
    again.on_restore(11)
    assert again.on_element("a", None, 4, 11) is LATE
    assert fire_all(again, 20) == [("a", 5, 1)]


def test_an_emitted_accumulator_is_the_receivers_t125_t135() -> None:
    """The same lists are needed for the next windows, and for the checkpoint that is being written."""

    def more(held: list[object], other: object) -> list[object]:
        held.extend(other if isinstance(other, list) else [other])
        return held

    operator = windows(4, 2, aggregation=folding([], more, more), lateness=10)
    for number in range(6):
        operator.on_element("a", number, number, -10)
    for expected in ([0, 1], [0, 1, 2, 3], [2, 3, 4, 5]):
        ((_, start, value),) = fire_all(operator, operator.due)
        assert (value, start) == (expected, expected[-1] - 3)
        value.clear()
    again = operator.on_element("a", 9, 0, 3)
    assert isinstance(again, list)
    assert [value for (_, _, _, value), _ in again] == [[0, 1, 9], [0, 1, 9, 2, 3]]


def test_an_emitted_record_is_the_receivers_t125() -> None:
    """The greatest record is in the next windows too, also where merging it needs no copy."""
    operator = windows(4, 2, aggregation=extreme_by(len, "max_by"), lateness=10)
    operator.on_element("a", [1, 2], 2, -10)
    operator.on_element("a", [1], 0, -10)
    assert fire_all(operator, 1) == [("a", -2, [1])]
    ((_, _, value),) = fire_all(operator, 3)
    value.clear()
    again = operator.on_element("a", [], 3, 3)
    assert isinstance(again, list)
    result, _ = again[0]
    assert isinstance(result, WindowResult)
    result.value.clear()
    assert fire_all(operator, 5) == [("a", 2, [1, 2])]


def test_records_follow_a_freeze_and_a_new_slice(shelf: Shelf) -> None:
    """Each epoch has dicts of its own: a record after the barrier is not in its snapshot."""
    state = state_of()
    operator = windows(10, 2, state=state)
    operator.on_element("a", None, 0, -1)
    generation = state.freeze()
    operator.on_element("a", None, 1, -1)
    operator.on_element("a", None, 2, -1)
    operator.on_element("a", None, 1, -1)
    shelf.finish(state, generation)
    assert fire_all(windows(10, 2, state=state_of(state)), 1) == [("a", -8, 1)]
    assert fire_all(operator, 3) == [("a", -8, 3), ("a", -6, 4)]


def test_of_equal_records_the_one_of_the_earlier_slice_is_taken() -> None:
    """Slices are put together in their order, which is that of time; within one the first that came."""
    operator = windows(4, 2, aggregation=extreme_by(lambda value: value // 10, "max_by"))
    for value, timestamp in ((11, 3), (12, 0), (13, 1), (5, 2)):
        operator.on_element("a", value, timestamp, -10)
    assert fire_all(operator, 5) == [("a", -2, 12), ("a", 0, 12), ("a", 2, 11)]


def test_a_whole_window_without_merge_is_one_slice() -> None:
    """A fold that cannot be merged may still be added to its only slice."""
    operator = windows(5, 5, aggregation=folding("", lambda held, value: held + value, None))
    for value, timestamp in (("x", 1), ("y", 4), ("z", 5)):
        operator.on_element("a", value, timestamp, -1)
    assert fire_all(operator, 9) == [("a", 0, "xy"), ("a", 5, "z")]


def test_a_large_window_fires_in_pieces_and_is_freed_in_pieces() -> None:
    """Barriers and the host's loop get through (T24); what is dropped is freed before the firing is over."""
    state = state_of()
    operator = windows(10, 10, aggregation=summing(lambda value: value), state=state)
    for key in range(12_000):
        operator.on_element(key, key, 5, 0)
        operator.on_element(key, key, 15, 0)
    operator.on_element("last", 1, 25, 0)
    starts: list[datetime] = []
    pauses = 0
    while operator.due <= 19:
        given = operator.fire(19, 64)
        assert len(given) <= 2 * 64
        assert operator.firing == (operator.due <= 19)
        starts += [result.start for result, _ in given if isinstance(result, WindowResult)]
        pauses += not given
        if starts and starts[-1] == at(10):
            assert state.live_entries <= 12_001, "the slice of the first window is gone before the second has fired"
    assert pauses >= 30, "2,000 entries are read or sorted at once, at most"
    assert starts == [at(0)] * 12_000 + [at(10)] * 12_000
    assert not operator.firing
    assert state.slices is not None
    assert not state.slices.free(1)
    assert operator.due == 29


def test_after_a_rescale_the_old_owners_of_keys_have_fired_what_they_have_t33_t47(shelf: Shelf) -> None:
    """Of the keys that had come to 9 the window up to 10 has fired, not of those at 8: it is late for them alone."""
    before = state_of()
    operator = windows(10, 10, state=before)
    keys = range(40)
    for key in keys:
        operator.on_element(key, 1, 5, 0)
    shelf.checkpoint(before)
    state = state_of(before)
    ahead = {key for key in keys if state.key_group(key) < 4}
    assert 0 < len(ahead) < len(keys)
    operator = windows(10, 10, state=state)
    operator.on_restore(3, [(KeyGroupRange(0, 4), 9), (KeyGroupRange(4, 6), 8), (KeyGroupRange(6, 8), 3)])
    late = {key for key in (*keys, *keys) if operator.on_element(key, 1, 5, 3) is LATE}
    assert late == ahead
    assert {key: value for key, _, value in fire_all(operator, 9)} == dict.fromkeys(set(keys) - ahead, 3)


def test_wrong_uses_are_refused() -> None:
    """They are ours, so they are errors and not results."""
    operator = windows(10, 5)
    with pytest.raises(InvariantError, match="second input"):
        operator.on_other("a", 1, 2, 3)
    with pytest.raises(InvariantError, match="without slices"):
        SlicedWindows(Aligned(10, 5, 0), counting(), 0, state_over())
    assert list(operator.fire_clock(TIME_MAX, 0, 10)) == []
    assert operator.clock_due == TIME_MAX
    assert applying(len).is_kept, "such windows are not aligned: they never come here"
