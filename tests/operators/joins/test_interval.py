"""Interval joins: examples, then all pairs by the definition against the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.errors import PlanError
from actorstream.model.times import TIME_MAX
from actorstream.operators.joins.interval import IntervalJoin
from actorstream.operators.timed import LATE
from tests.operators.joins import naive
from tests.operators.joins.rig import (
    BatchEnd,
    Checkpoint,
    Crash,
    Driver,
    Record,
    Watermark,
    a_shelf,
    histories,
)
from tests.state.rig import Shelf

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.operators.joins.interval import How
    from tests.operators.joins.rig import Event

LEFT, RIGHT = 0, 1


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def left(value: object, at: int, key: object = "k") -> Record:
    return Record(LEFT, key, value, at)


def right(value: object, at: int, key: object = "k") -> Record:
    return Record(RIGHT, key, value, at)


def test_both_bounds_belong_to_the_interval(shelf: Shelf) -> None:
    """From 5 before to 10 after.

    left           a at 100
    right  94 | 95 ... 110 | 111
    """
    events = [left("a", 100), *(right(at, at) for at in (94, 95, 100, 110, 111))]
    driver = Driver(IntervalJoin(5, 10), shelf).run(events)
    assert driver.outputs == [(("a", 95), 100), (("a", 100), 100), (("a", 110), 110)]


def test_the_interval_is_the_same_seen_from_the_other_side(shelf: Shelf) -> None:
    """The right records were there first."""
    events = [*(right(at, at) for at in (94, 95, 100, 110, 111)), left("a", 100)]
    driver = Driver(IntervalJoin(5, 10), shelf).run(events)
    assert driver.outputs == [(("a", 95), 100), (("a", 100), 100), (("a", 110), 110)]


def test_pairs_share_nothing_that_can_be_changed_t125(shelf: Shelf) -> None:
    """T125: one record is in several pairs, now and later; the driver spoils each as it comes."""
    events = [left({"n": 1}, 1), left({"n": 2}, 2), right({"n": 3}, 3), right({"n": 4}, 3), left({"n": 5}, 3)]
    driver = Driver(IntervalJoin(5, 5), shelf).run(events)
    assert [value for value, _ in driver.outputs] == [
        ({"n": a}, {"n": b}) for a, b in ((1, 3), (2, 3), (1, 4), (2, 4), (5, 3), (5, 4))
    ]


def test_keys_are_apart(shelf: Shelf) -> None:
    """Near in time is not enough."""
    driver = Driver(IntervalJoin(5, 5), shelf).run([left("a", 1, key=1), right("b", 1, key="1"), right("c", 1, key=1)])
    assert driver.outputs == [(("a", "c"), 1)]


def test_equal_records_are_as_many_as_came(shelf: Shelf) -> None:
    """Two and two of one instant are four pairs, in the order in which the earlier side came."""
    events = [left("a", 5), left("a", 5), left("A", 5), right("b", 5), right("b", 5)]
    driver = Driver(IntervalJoin(0, 0), shelf).run(events)
    assert driver.outputs == [(("a", "b"), 5), (("a", "b"), 5), (("A", "b"), 5)] * 2


def test_pairs_of_one_record_come_by_the_partners_time_and_then_arrival(shelf: Shelf) -> None:
    """Not in the order in which the partners came."""
    events = [right("late", 9), right("x", 3), right("y", 3), right("early", -2), left("a", 3)]
    driver = Driver(IntervalJoin(10, 10), shelf).run(events)
    assert [value for value, _ in driver.outputs] == [("a", "early"), ("a", "x"), ("a", "y"), ("a", "late")]
    assert [at for _, at in driver.outputs] == [3, 3, 3, 9]


def test_negative_bounds_look_only_to_one_side(shelf: Shelf) -> None:
    """From 3 to 5 after the left one: before is -3."""
    events = [left("a", 10), *(right(at, at) for at in (10, 12, 13, 15, 16))]
    assert [value for value, _ in Driver(IntervalJoin(-3, 5), shelf).run(events).outputs] == [("a", 13), ("a", 15)]


@pytest.mark.parametrize(("side", "reach"), [(LEFT, 10), (RIGHT, 4)])
def test_late_begins_where_no_expected_partner_can_need_a_record_t51(shelf: Shelf, side: int, reach: int) -> None:
    """T51: one comparison, `timestamp + reach <= watermark`, for both sides."""
    driver = Driver(IntervalJoin(4, 10), shelf).run([Watermark(100)], ends=False)
    on = driver.operator.on_other if side else driver.operator.on_element
    assert on("k", "x", 100 - reach, 100) is LATE
    assert on("k", "x", 100 - reach + 1, 100) is None


@pytest.mark.parametrize("first", [LEFT, RIGHT])
def test_a_record_that_is_not_late_finds_every_partner_that_was_not_late_t51(shelf: Shelf, first: int) -> None:
    """T51: the partner is as far back as can be, and the record as far behind the watermark as can be.

    before 4, after 10, watermark 100:   right 87 ── 4 ── left 91 ────── 9 ────── 100
                                         left 87 ─── 10 ────── right 97 ── 3 ──── 100
    """
    early, then = (left("l", 87), right("r", 97)) if first == LEFT else (right("r", 87), left("l", 91))
    driver = Driver(IntervalJoin(4, 10), shelf).run([early, Watermark(100), BatchEnd(), then])
    assert driver.outputs == [(("l", "r"), then.timestamp)]
    assert driver.late == []


def test_outer_rows_come_in_order_of_time_and_with_their_own(shelf: Shelf) -> None:
    """A full join: 'b' and 'x' have no partner; each comes when none can come any more."""
    events: list[Event] = [left("b", 30), left("a", 10), right("x", 20), right("y", 12)]
    driver = Driver(IntervalJoin(0, 5, "full"), shelf).run([*events, Watermark(24), BatchEnd()], ends=False)
    assert driver.outputs == [(("a", "y"), 12)]
    driver.run([Watermark(25), BatchEnd()], ends=False)
    assert driver.outputs[1:] == [((None, "x"), 20)]
    driver.run([])
    assert driver.outputs[2:] == [(("b", None), 30)]


@pytest.mark.parametrize(
    ("how", "lonely"),
    [("inner", []), ("left", [("a", None)]), ("right", [(None, "b")]), ("full", [("a", None), (None, "b")])],
)
def test_how_says_which_side_comes_alone(shelf: Shelf, how: How, lonely: list[object]) -> None:
    """The records are too far apart."""
    driver = Driver(IntervalJoin(1, 1, how), shelf).run([left("a", 1), right("b", 9)])
    assert [value for value, _ in driver.outputs] == lonely


def test_a_row_that_had_a_partner_before_a_crash_does_not_come_alone_after_it(shelf: Shelf) -> None:
    """That it had one is state."""
    events: list[Event] = [left("a", 1), Checkpoint(), right("b", 2), Checkpoint(), Crash(), Watermark(50)]
    assert Driver(IntervalJoin(5, 5, "full"), shelf).run(events).outputs == [(("a", "b"), 2)]


def test_delay_says_how_far_behind_the_watermark_results_come() -> None:
    """Whoever sends the watermark on holds it back by so much; an inner join needs no delay."""
    assert [IntervalJoin(4, 10, how).delay_us for how in ("inner", "left", "right", "full")] == [0, 14, 14, 14]
    assert [IntervalJoin(-4, 10, how).delay_us for how in ("left", "right")] == [10, 6]


def test_state_is_gone_when_the_watermark_has_passed(shelf: Shelf) -> None:
    """Neither records nor numbers of a key that is seen no more."""
    driver = Driver(IntervalJoin(5, 5, "full"), shelf)
    driver.run([left("a", 1, "a"), right("b", 2, "a"), left({"n": 1}, 2, "b"), Checkpoint()], ends=False)
    assert driver.entries() == 5
    driver.run([Watermark(10), BatchEnd()], ends=False)
    assert driver.entries() == 5
    driver.run([Watermark(12), BatchEnd()], ends=False)
    assert driver.entries() == 0
    assert driver.operator.due == TIME_MAX


def test_firing_is_bounded(shelf: Shelf) -> None:
    """It stops at about the limit, and says that it is due still."""
    driver = Driver(IntervalJoin(0, 5, "left"), shelf).run([left(n, n % 3) for n in range(30)], ends=False)
    given = driver.operator.fire(100, 7)
    assert 1 <= len(given) <= 7
    assert driver.operator.due <= 100


def test_bounds_that_hold_no_instant_are_refused() -> None:
    """They would join nothing, silently."""
    with pytest.raises(PlanError, match=r"before is -3 s and after is 2 s, .* sum must not be negative"):
        IntervalJoin(-3_000_000, 2_000_000)
    with pytest.raises(PlanError, match="how is 'outer', expected one of inner, left, right, full"):
        IntervalJoin(0, 0, "outer")  # type: ignore[arg-type]


@settings(max_examples=120, deadline=None)
@given(
    events=histories(),
    how=st.sampled_from(["inner", "left", "right", "full"]),
    before=st.integers(-4, 8),
    length=st.integers(0, 10),
    limit=st.sampled_from([1, 3, 1_000]),
    slow=st.booleans(),
)
def test_it_is_all_pairs_of_the_records_that_are_not_late(
    events: list[Event], how: How, before: int, length: int, limit: int, slow: bool
) -> None:
    """In their order, over checkpoints and crashes anywhere: also one between two outer rows (T24)."""
    join = IntervalJoin(before, length - before, how)
    with a_shelf() as shelf:
        driver = Driver(join, shelf, limit=limit, slow=slow).run(events)
        assert (driver.outputs, driver.late) == naive.interval_join(join, events)
        assert driver.entries() == 0


@settings(max_examples=40, deadline=None)
@given(events=histories(), order=st.randoms(use_true_random=False))
def test_which_side_comes_first_changes_no_inner_result(events: list[Event], order: object) -> None:
    """As long as nothing is late, the pairs are the same in any interleaving."""
    records = [event for event in events if isinstance(event, Record)]
    shuffled = records.copy()
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    with a_shelf() as shelf:
        found = [Driver(IntervalJoin(2, 3), shelf).run(each).outputs for each in (records, shuffled)]
    assert sorted(map(repr, found[0])) == sorted(map(repr, found[1]))
