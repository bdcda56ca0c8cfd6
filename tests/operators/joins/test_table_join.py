"""A stream with a table: examples, then the definition against the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.errors import PlanError
from actorstream.model.times import TIME_MAX
from actorstream.operators.changes import Change
from actorstream.operators.joins.table_join import TableJoin
from tests.operators.joins import naive
from tests.operators.joins.rig import KEYS, BatchEnd, Checkpoint, Crash, Driver, Record, Watermark, a_shelf, histories
from tests.state.rig import Shelf

if TYPE_CHECKING:
    from pathlib import Path

    from tests.operators.joins.rig import Event

ANY_TIME = TableJoin(as_of="event_time", versions_us=10)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def record(value: object, at: int, key: object = "k") -> Record:
    return Record(0, key, value, at)


def change(new: object, at: int, key: object = "k") -> Record:
    return Record(1, key, Change(key, None, new), at)


def test_by_arrival_it_is_the_newest_value(shelf: Shelf) -> None:
    """Whatever the timestamps say; a deleted value is none."""
    events = [record(1, 5), change("a", 9), record(2, 5), change("b", 1), record(3, 5), change(None, 2), record(4, 5)]
    driver = Driver(TableJoin(), shelf).run(events)
    assert driver.outputs == [((1, None), 5), ((2, "a"), 5), ((3, "b"), 5), ((4, None), 5)]


def test_in_event_time_it_is_the_value_that_was_valid_then(shelf: Shelf) -> None:
    """From its own instant on, up to the next one, in whatever order all of it came.

    table   ────3 a─────7 b────12 deleted───
    stream  ─2──3─────6─7──────12
    """
    events = [*(record(at, at) for at in (12, 7, 6, 3, 2)), change("b", 7), change(None, 12), change("a", 3)]
    driver = Driver(ANY_TIME, shelf).run(events)
    assert driver.outputs == [((2, None), 2), ((3, "a"), 3), ((6, "a"), 6), ((7, "b"), 7), ((12, None), 12)]


def test_a_record_waits_until_no_older_version_can_come(shelf: Shelf) -> None:
    """At the watermark of its own time, and over a crash."""
    events: list[Event] = [change("a", 1), record(1, 5), Checkpoint(), Watermark(4), BatchEnd(), Crash()]
    driver = Driver(ANY_TIME, shelf).run(events, ends=False)
    assert driver.outputs == []
    driver.run([change("b", 5), Watermark(5), BatchEnd()], ends=False)
    assert driver.outputs == [((1, "b"), 5)]


def test_a_record_behind_the_watermark_finds_its_version_while_it_is_there(shelf: Shelf) -> None:
    """Late is `timestamp + versions <= watermark`, as everywhere."""
    events: list[Event] = [change("a", 1), change("b", 15), Watermark(20), BatchEnd()]
    driver = Driver(ANY_TIME, shelf).run([*events, record(1, 11), record(2, 10)])
    assert driver.outputs == [((1, "a"), 11)]
    assert driver.late == [2]


def test_inner_leaves_out_what_has_no_value(shelf: Shelf) -> None:
    """Both by arrival and in event time."""
    events = [record(1, 1), change("a", 2), record(2, 3)]
    assert Driver(TableJoin("inner"), shelf).run(events).outputs == [((2, "a"), 3)]
    assert Driver(TableJoin("inner", "event_time"), shelf).run(events).outputs == [((2, "a"), 3)]


def test_superseded_versions_are_dropped(shelf: Shelf) -> None:
    """One a key stays, and none where the last one is a deletion."""
    events: list[Event] = [*(change(at, at, "a") for at in range(1, 30)), change(1, 3, "b"), change(None, 9, "b")]
    driver = Driver(ANY_TIME, shelf).run([*events, Watermark(25), BatchEnd()], ends=False)
    kept = [at for at, _ in driver.state.maps["versions"].items("a")]
    assert kept == list(range(16, 30))
    assert list(driver.state.maps["versions"].items("b")) == []
    driver.run([])
    assert list(driver.state.maps["versions"].items("a")) == [(29, 29)]
    assert driver.operator.due == TIME_MAX


def test_a_key_that_never_changes_costs_no_timer(shelf: Shelf) -> None:
    """A table is loaded by millions of these."""
    driver = Driver(ANY_TIME, shelf).run([change(1, 3)], ends=False)
    assert driver.operator.due == TIME_MAX
    driver.run([change(0, 1)], ends=False)  # an older one comes after it: now there is something to drop
    assert driver.operator.due == 10
    driver.run([Watermark(12), BatchEnd()], ends=False)
    assert driver.state.maps["versions"].peek("k") == [(3, 1)]


def test_values_that_can_be_changed_are_not_shared_with_who_gets_them_t125(shelf: Shelf) -> None:
    """T125: the driver spoils what comes out."""
    for join in (TableJoin(), ANY_TIME):
        driver = Driver(join, shelf).run([change({"n": 1}, 1), record(1, 5), record(2, 6)])
        assert [value for value, _ in driver.outputs] == [(1, {"n": 1}), (2, {"n": 1})]


def test_many_records_of_one_instant_keep_their_order_and_come_by_slices(shelf: Shelf) -> None:
    """More than are joined in one step."""
    driver = Driver(ANY_TIME, shelf, limit=1, slow=True)
    driver.run([*(record(n, 5, "b") for n in range(450)), record(-1, 5, "a"), record(-2, 4, "b"), change("v", 5, "b")])
    assert [value[0] for value, _ in driver.outputs] == [-2, -1, *range(450)]  # type: ignore[index]


def test_the_clock_and_timestamps_are_not_needed_by_arrival() -> None:
    """So the plan asks for none."""
    assert (TableJoin().event_time, ANY_TIME.event_time) == (False, True)
    assert [column.kind for column in TableJoin().columns("j")] == ["value"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"how": "outer"}, "how is 'outer', expected 'left' or 'inner'"),
        ({"as_of": "now"}, "as_of is 'now', expected 'arrival' or 'event_time'"),
        ({"versions_us": -1}, "versions is -1e-06 seconds, expected 0 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], message: str) -> None:
    """Before anything runs."""
    with pytest.raises(PlanError, match=message):
        TableJoin(**arguments)


@settings(max_examples=150, deadline=None)
@given(
    events=histories(),
    how=st.sampled_from(["left", "inner"]),
    as_of=st.sampled_from(["arrival", "event_time", "event_time"]),
    versions=st.sampled_from([0, 1, 4, 15]),
    deleted=st.sets(st.integers(0, 40)),
    limit=st.sampled_from([1, 3, 1_000]),
    slow=st.booleans(),
)
def test_it_is_what_the_table_said(
    events: list[Event], how: Any, as_of: Any, versions: int, deleted: set[int], limit: int, slow: bool
) -> None:
    """By the definition, with nothing dropped and nobody waiting; over checkpoints and crashes anywhere."""
    table: list[Event] = [
        change(None if n in deleted else event.value, event.timestamp, event.key)
        if isinstance(event, Record) and event.side
        else event
        for n, event in enumerate(events)
    ]
    join = TableJoin(how, as_of, versions)
    with a_shelf() as shelf:
        driver = Driver(join, shelf, limit=limit, slow=slow).run(table)
        assert (driver.outputs, driver.late) == naive.table_join(join, table)
        if as_of == "event_time":
            left = [driver.state.maps["versions"].peek(key) for key in KEYS]
            assert all(len(versions) <= 1 for versions in left)
            assert (None,) not in [(value,) for versions in left for _, value in versions]
            assert driver.entries() == 2 * sum(map(len, left))


@settings(max_examples=40, deadline=None)
@given(events=histories(values=False), order=st.randoms(use_true_random=False))
def test_in_event_time_the_order_of_arrival_changes_nothing(events: list[Event], order: Any) -> None:
    """As long as nothing is late, all is the same, except for the order of records of one instant and key."""
    records: list[Event] = []
    seen: set[tuple[object, int]] = set()
    for event in events:
        if isinstance(event, Record) and event.side:
            if (event.key, event.timestamp) not in seen:  # of two versions of one instant the later one counts
                seen.add((event.key, event.timestamp))
                records.append(change(event.value, event.timestamp, event.key))
        elif isinstance(event, Record):
            records.append(event)
    shuffled = records.copy()
    order.shuffle(shuffled)
    with a_shelf() as shelf:
        found = [Driver(ANY_TIME, shelf).run(each).outputs for each in (records, shuffled)]
    assert sorted(map(repr, found[0])) == sorted(map(repr, found[1]))
    assert [at for _, at in found[0]] == [at for _, at in found[1]]
