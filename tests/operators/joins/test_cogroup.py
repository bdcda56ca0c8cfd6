"""Two sides by window: examples, then every kind of window by the definition against the operator."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.errors import InvariantError, PlanError
from actorstream.model.times import TIME_MAX
from actorstream.operators.joins.cogroup import CoGroup, window_join
from actorstream.operators.windows.assigners import Count, Global, Session, Sliding, Tumbling, Window, WindowAssigner
from actorstream.operators.windows.results import WindowResult
from actorstream.system.current import current_world
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
    in_dict,
    plain,
)
from tests.state.rig import Shelf, restored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.operators.joins.rig import Event

US = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def left(value: object, at: int, key: object = "k") -> Record:
    return Record(0, key, value, at)


def right(value: object, at: int, key: object = "k") -> Record:
    return Record(1, key, value, at)


def both(lefts: list[Any], rights: list[Any]) -> list[object]:
    return [(tuple(lefts), tuple(rights))]


def spoiling(lefts: list[Any], rights: list[Any]) -> Iterable[object]:
    """A function that keeps nothing as it was."""
    given = [[*lefts], [*rights], len(lefts)]
    yield given
    lefts.clear()
    rights.append({"n": -1})


def result(key: object, window: tuple[int, int], value: object) -> object:
    start, end = window
    return WindowResult(key, EPOCH + start * US, EPOCH + end * US, value)


def values(driver: Driver) -> list[object]:
    return [each.value for each, _ in driver.outputs]  # type: ignore[attr-defined]


def shown(start: int, end: int) -> Window:
    return Window(EPOCH + start * US, EPOCH + end * US)


class Own(WindowAssigner[object]):
    """Windows not ordered by their ends, of which one does not hold the record's time; some records are in none."""

    def assign(self, value: object, timestamp: datetime, /) -> Iterable[Window]:
        at = (timestamp - EPOCH) // US
        if at % 7 == 0:
            return []
        return [shown(at - at % 5, at - at % 5 + 5), shown(at - 20, at + 12), shown(at + 2, at + 9)]


class OwnSessions(WindowAssigner[object]):
    """A record stands for several windows, which grow together where they touch."""

    merging = True

    def assign(self, value: object, timestamp: datetime, /) -> Iterable[Window]:
        at = (timestamp - EPOCH) // US
        return [shown(at - at % 5, at - at % 5 + 5), shown(at - at % 5, at + 3), shown(at + 2, at + 9)]


def test_both_sides_of_a_window_come_together_when_it_ends(shelf: Shelf) -> None:
    """By timestamp within each side, whatever the order of arrival.

    left   ──1──────4──|────11──
    right  ─────3──────|────────
    """
    events = [left("b", 4), right("x", 3), left("a", 1), left("c", 11)]
    driver = Driver(CoGroup(Tumbling(10 * US), both), shelf).run(events)
    assert driver.outputs == [
        (result("k", (0, 10), (("a", "b"), ("x",))), 9),
        (result("k", (10, 20), (("c",), ())), 19),
    ]


def test_an_empty_side_is_seen(shelf: Shelf) -> None:
    """A left outer join is three lines of the user's."""

    def left_outer(lefts: list[Any], rights: list[Any]) -> list[object]:
        return [(a, b) for a in lefts for b in rights or [None]]

    events = [left("a", 1), left("b", 2, "j"), right("x", 3), right("y", 3, "i")]
    assert values(Driver(CoGroup(Tumbling(10 * US), left_outer), shelf).run(events)) == [("b", None), ("a", "x")]


def test_windows_come_by_their_end_and_then_by_key(shelf: Shelf) -> None:
    """Not in the order in which they began."""
    events = [left(1, 25, "b"), left(2, 21, "a"), left(3, 3, "c"), left(4, 4, "b")]
    driver = Driver(CoGroup(Tumbling(10 * US), both), shelf).run(events)
    assert [(each.key, at) for each, at in driver.outputs] == [  # type: ignore[attr-defined]
        ("b", 9),
        ("c", 9),
        ("a", 29),
        ("b", 29),
    ]


def test_windows_that_come_again_for_one_record_come_by_their_end(shelf: Shelf) -> None:
    """The one that began first ends last."""
    events: list[Event] = [left("a", 11), Watermark(22), BatchEnd(), right("x", 11)]
    driver = Driver(CoGroup(Own(), both, 30), shelf).run(events, ends=False)
    assert [at for _, at in driver.outputs] == [14, 19, 22, 14, 19, 22]


def test_a_window_join_has_every_pair(shelf: Shelf) -> None:
    """Equal records are as many as came; pairs by the left one, then the right one."""
    events = [left("b", 2), left("a", 1), right("x", 5), right("x", 5), right("y", 12)]
    driver = Driver(window_join(Tumbling(10 * US)), shelf).run(events)
    assert values(driver) == [("a", "x"), ("a", "x"), ("b", "x"), ("b", "x")]


def test_a_pair_may_have_its_sides_in_different_slices(shelf: Shelf) -> None:
    """What a side alone has in one of a window's slices is not given up for that."""
    driver = Driver(window_join(Sliding(4 * US, slide=2 * US)), shelf).run([left("a", 1), right("x", 2), right("y", 5)])
    assert values(driver) == [("a", "x")]


def test_pairs_share_nothing_that_can_be_changed_t125(shelf: Shelf) -> None:
    """T125: one record is in several pairs; the driver spoils each as it comes."""
    events = [left(in_dict(1), 1), left(in_dict(2), 2), right(in_dict(3), 3), right(in_dict(4), 4)]
    driver = Driver(window_join(Tumbling(10 * US)), shelf).run(events)
    assert values(driver) == [({"n": a}, {"n": b}) for a in (1, 2) for b in (3, 4)]


def test_sliding_windows_share_their_records(shelf: Shelf) -> None:
    """A record is kept once, and is in size / slide windows."""
    driver = Driver(CoGroup(Sliding(10 * US, slide=2 * US), both), shelf)
    driver.run([left("a", 9), Checkpoint()], ends=False)
    assert driver.entries() == 1
    driver.run([right("x", 12)])
    assert values(driver) == [(("a",), ())] * 2 + [(("a",), ("x",))] * 3 + [((), ("x",))] * 2


def test_windows_of_too_many_slices_keep_each_record_by_itself(shelf: Shelf) -> None:
    """A record goes with its last window, and one at a window's end is in the next."""
    join = CoGroup(Sliding(1_010 * US, slide=1_003 * US), both)
    assert join.aligned is None
    events: list[Event] = [left(at, at) for at in (1_010, 1_005, 5)]
    driver = Driver(join, shelf).run([*events, Watermark(1_009), BatchEnd()], ends=False)
    assert driver.entries() == 3  # one of them is the row of the key
    driver.run([])
    assert values(driver) == [((5,), ()), ((5, 1_005), ()), ((1_005, 1_010), ())]


@pytest.mark.parametrize("make", [plain, in_dict])
def test_many_records_of_a_key_and_window_are_written_once_and_keep_their_order(
    shelf: Shelf, make: Callable[[int], object]
) -> None:
    """Lists that are full are sealed: they stay as they are until their slice is dropped."""
    driver = Driver(CoGroup(Sliding(10 * US, slide=5 * US), both, 3), shelf, limit=1)
    records: list[Event] = [Record(n % 3 // 2, "k", make(n), n * 7 % 10) for n in range(2_000)]
    driver.run(
        [*records[:1_000], Checkpoint(), *records[1_000:1_900], Checkpoint(), Crash(), *records[1_900:]], ends=False
    )
    sealed = driver.state.maps["sealed"]
    assert len(sealed.peek("k")) == 6
    driver.run([Watermark(9), BatchEnd(), left(make(-1), 9)], ends=False)
    by_time = sorted(range(2_000), key=lambda n: n * 7 % 10)
    early = [n for n in by_time if n * 7 % 10 < 5]
    expected = [[make(n) for n in early if n % 3 // 2 == side] for side in (0, 1)]
    everything = [[make(n) for n in by_time if n % 3 // 2 == side] for side in (0, 1)]
    assert values(driver)[:2] == [tuple(map(tuple, expected)), tuple(map(tuple, everything))]
    everything[0].append(make(-1))
    assert values(driver)[2:] == [tuple(map(tuple, everything))]
    driver.run([])
    assert driver.entries() == 0
    assert driver.operator.due == TIME_MAX


def test_a_session_is_of_both_sides(shelf: Shelf) -> None:
    """The right record bridges two left ones.

    left   a at 0 [────5)        b at 8 [────13)
    right          x at 4 [─────9)
    """
    events = [left("a", 0), left("b", 8), right("x", 4), left("c", 20)]
    driver = Driver(CoGroup(Session(5 * US), both), shelf).run(events)
    assert driver.outputs == [
        (result("k", (0, 13), (("a", "b"), ("x",))), 12),
        (result("k", (20, 25), (("c",), ())), 24),
    ]


def test_late_is_a_record_all_of_whose_windows_are_gone(shelf: Shelf) -> None:
    """`end - 1 + allowed_lateness <= watermark`; before that the window comes again, with it."""
    join = CoGroup(Tumbling(10 * US), both, allowed_lateness_us=5)
    events: list[Event] = [left("a", 1), Watermark(9), BatchEnd(), right("x", 2), Watermark(13), left("b", 0)]
    driver = Driver(join, shelf).run([*events, Checkpoint(), Crash(), Watermark(14), left("c", 9), left("d", 10)])
    assert values(driver) == [(("a",), ()), (("a",), ("x",)), (("b", "a"), ("x",)), (("d",), ())]
    assert driver.late == ["c"]


def test_a_session_that_would_be_too_late_is_not_merged_t53(shelf: Shelf) -> None:
    """T53: what is gone is not dug out, and a live session takes in what alone would be late."""
    events: list[Event] = [left("a", 0), left("b", 9), Watermark(8), BatchEnd(), right("x", 1), right("y", 5)]
    driver = Driver(CoGroup(Session(5 * US), both), shelf).run(events)
    assert values(driver) == [(("a",), ()), (("b",), ("y",))]
    assert driver.late == ["x"]


def test_a_window_larger_than_a_slice_of_work_is_cut_in_steps(shelf: Shelf) -> None:
    """While it is `firing` its state must not be frozen; nobody waits longer than a step."""
    driver = Driver(window_join(Tumbling(10 * US)), shelf)
    driver.run([*(left(n, 1) for n in range(40)), *(right(n, 1) for n in range(40))], ends=False)
    operator = driver.operator
    results: list[object] = []
    calls = 0
    half_done = [operator.firing]
    while operator.due <= 50:
        results += operator.fire(50, 100)
        calls += 1
        assert len(results) <= 100 * calls
        half_done.append(operator.firing)
        assert half_done[-1] or operator.due > 50
    assert [each[0].value for each in results] == [(a, b) for a in range(40) for b in range(40)]  # type: ignore[index]
    assert calls >= 16
    assert half_done == [False, *[True] * (calls - 1), False]
    assert operator.due == TIME_MAX


def test_who_does_not_say_how_far_time_had_come_is_told(shelf: Shelf) -> None:
    """Windows that have fired would fire again."""
    join = CoGroup(Sliding(10 * US, slide=5 * US), both)
    driver = Driver(join, shelf).run([left("a", 7), Watermark(9), BatchEnd(), Checkpoint()], ends=False)
    again = join.open("join", restored(driver.state, driver.columns), current_world().clock)
    with pytest.raises(InvariantError, match="without the watermark of its snapshot"):
        again.fire(20, 100)
    with pytest.raises(InvariantError, match="without the watermark of its snapshot"):
        again.on_element("k", "b", 12, 9)


def test_a_window_at_the_end_of_time_comes_once_and_is_dropped_t57(shelf: Shelf) -> None:
    """T57: its end and its lateness are beyond 64 bits."""
    join = CoGroup(Tumbling(1_000 * US), both, allowed_lateness_us=1_000)
    driver = Driver(join, shelf).run([left("a", TIME_MAX - 1)])
    assert values(driver) == [(("a",), ())]
    assert driver.entries() == 0


@pytest.mark.parametrize("assigner", [Global(), Count(3)])
def test_windows_without_an_end_in_time_are_refused(assigner: WindowAssigner[Any]) -> None:
    """They would wait for ever."""
    with pytest.raises(PlanError, match=r"window_join: (Global|Count) windows have no end in time"):
        window_join(assigner)


def test_windows_of_the_clock_are_refused() -> None:
    """Which records meet would depend on how fast each side is read."""
    with pytest.raises(PlanError, match="cogroup: Tumbling goes by the clock"):
        CoGroup(Tumbling(10, domain="processing"), both)


def own_gap(value: Any) -> timedelta:
    number: int = value if isinstance(value, int) else value["n"]
    return (number % 6 + 1) * US


ASSIGNERS: list[WindowAssigner[Any]] = [
    Tumbling(7 * US, offset=2 * US),
    Sliding(9 * US, slide=4 * US),
    Sliding(9 * US, slide=3 * US, offset=1 * US),
    Sliding(3 * US, slide=5 * US, offset=1 * US),
    Sliding(1_010 * US, slide=1_003 * US, offset=-13 * US),
    Session(4 * US),
    Session(own_gap),
    Own(),
    OwnSessions(),
]


@settings(max_examples=250, deadline=None)
@given(
    events=histories(),
    assigner=st.sampled_from(ASSIGNERS),
    fn=st.sampled_from([both, spoiling, window_join(Session(1)).fn]),
    lateness=st.sampled_from([0, 0, 3, 12]),
    limit=st.sampled_from([1, 3, 1_000]),
    slow=st.booleans(),
)
def test_it_is_what_the_windows_hold(
    events: list[Event], assigner: WindowAssigner[Any], fn: Any, lateness: int, limit: int, slow: bool
) -> None:
    """In order, over checkpoints and crashes anywhere, for every kind of window; nothing stays."""
    join = CoGroup(assigner, fn, lateness)
    with a_shelf() as shelf:
        driver = Driver(join, shelf, limit=limit, slow=slow).run(events)
        assert (driver.outputs, driver.late) == naive.cogroup(join, events, result)
        assert driver.entries() == 0


@settings(max_examples=40, deadline=None)
@given(events=histories(), assigner=st.sampled_from(ASSIGNERS), order=st.randoms(use_true_random=False))
def test_which_side_comes_first_changes_no_result(
    events: list[Event], assigner: WindowAssigner[Any], order: Any
) -> None:
    """As long as nothing is late, the pairs are the same in any interleaving."""
    records = [event for event in events if isinstance(event, Record)]
    shuffled = records.copy()
    order.shuffle(shuffled)
    with a_shelf() as shelf:
        found = [Driver(window_join(assigner), shelf).run(each).outputs for each in (records, shuffled)]
    assert sorted(map(repr, found[0])) == sorted(map(repr, found[1]))
