"""Timers by example: order, domains, what handlers do meanwhile, restarts, storms, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.codec.ordered_keys import encode_key
from actorstream.errors import CodecError, InvariantError, StoreError
from actorstream.model.ids import StateNumber
from actorstream.model.key_groups import KeyGroupRange, key_group_of
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.state import timer_index
from actorstream.state.timer_entries import BY_NAME, BY_TIME, time_bytes
from actorstream.state.timers import Timer, TimerTable
from tests.state.rig import ALL
from tests.state.timer_rig import DOMAINS, LONG, Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.state.rig import Shelf


@pytest.fixture
def owner(shelf: Shelf) -> Iterator[Owner]:
    made = Owner(shelf)
    yield made
    made.stack.release()


def test_timers_fire_by_time_then_key_then_name(owner: Owner) -> None:
    """In every replay the same order, whatever the order in which they were set and where they lie."""
    times = {("b", "x"): 2, ("a", "y"): 2, ("a", "x"): 2, ("c", "x"): 1, ("a", "z"): 3}
    for (key, name), at in times.items():
        owner.table.set(key, name, "event", at)
        if key == "a":
            owner.checkpoint()
    expected = [Timer(at, key, name, "event") for at, key, name in sorted((at, *each) for each, at in times.items())]
    assert owner.fired("event", 2) == expected[:4]
    assert owner.fired("event", 9) == expected[4:]
    assert owner.fired("event", 9) == []


def test_up_to_is_included(owner: Owner) -> None:
    """A timer for t fires with the watermark t; processing time asks for what is before now (T28)."""
    owner.table.set("a", "", "event", 5)
    assert owner.fired("event", 4) == []
    assert owner.fired("event", 5) == [Timer(5, "a", "", "event")]


def test_domains_do_not_interfere_t30(owner: Owner) -> None:
    """The same key, name and time in both."""
    for domain in DOMAINS:
        owner.table.set("a", "n", domain, 5)
    owner.checkpoint()
    assert owner.table.cancel("a", "n", "event")
    assert owner.table.next_time("event") is None
    assert owner.fired("processing", 5) == [Timer(5, "a", "n", "processing")]


def test_timer_set_by_a_timer_fires_in_the_same_pass_and_a_cancelled_one_does_not_t26(owner: Owner) -> None:
    """What a handler does counts for the very next one, though both are due together."""
    table = owner.table
    for key in ("a", "b", "c"):
        table.set(key, "", "event", 5)
    owner.checkpoint()
    seen = []
    for timer in table.due("event", 5):
        assert timer is not None
        seen.append((timer.at, timer.key))
        if timer.key == "a" and timer.at == 5:
            table.set("a", "", "event", 3)
            table.cancel("b", "", "event")
    assert seen == [(5, "a"), (3, "a"), (5, "c")]


def test_earlier_timer_moves_the_next_time_forward_t27(owner: Owner) -> None:
    """The wake-up that was armed for the later one would come too late."""
    owner.table.set("a", "", "processing", 9)
    owner.checkpoint()
    assert owner.table.next_time("processing") == 9
    owner.table.set("b", "", "processing", 4)
    assert owner.table.next_time("processing") == 4
    owner.checkpoint()
    assert owner.table.next_time("processing") == 4


def test_restored_timers_are_known_before_anything_is_set_t25(owner: Owner) -> None:
    """Their wake-up must be armed at the start, though no record comes."""
    owner.table.set("a", "", "processing", 9)
    owner.checkpoint()
    again = owner.restored()
    assert again.table.next_time("processing") == 9
    assert again.table.at("a", "", "processing") == 9
    again.stack.release()


def test_rest_of_a_storm_is_in_the_snapshot_t24(owner: Owner) -> None:
    """A barrier comes between two timers of one watermark: what has not fired fires after the restore."""
    for key in range(6):
        owner.table.set(key, "", "event", 5)
    owner.checkpoint()
    due = owner.table.due("event", 5)
    before = [next(due), next(due)]
    owner.checkpoint()
    again = owner.restored()
    assert [*before, *again.fired("event", 5)] == [Timer(5, key, "", "event") for key in range(6)]
    assert next(due) == Timer(5, 2, "", "event")
    again.stack.release()


def test_timer_that_comes_and_goes_within_an_epoch_leaves_no_trace(owner: Owner) -> None:
    """Most timeouts are cancelled soon: neither disk nor memory may remember them."""
    table = owner.table
    for at in range(100):
        table.set("a", at, "event", at)
        table.set("b", "", "event", at)
        assert table.cancel("b", "", "event")
    assert len(owner.fired("event", 99)) == 100
    assert owner.freeze() is None
    assert not table.live
    table.settle(1_000)
    assert table.weigh().live < 1_000


def test_timer_that_moves_with_every_record_keeps_one_place(owner: Owner) -> None:
    """A session's end moves away with each record; the heap must not keep every one of them."""
    for at in range(10_000):
        owner.table.set("a", "end", "event", at)
    assert len(owner.table.live.heaps[0]) == 1
    assert owner.fired("event", 9_998) == []
    assert owner.fired("event", 9_999) == [Timer(9_999, "a", "end", "event")]


def test_times_of_failed_generations_are_taken_out_too(owner: Owner) -> None:
    """A layer has it at 1; it moved again and again, and no write came about but the last: only that time is left."""
    table = owner.table
    table.set("a", "", "event", 1)
    owner.checkpoint()
    assert table.next_time("event") == 1
    for at in (2, 3, 4):
        table.set("a", "", "event", at)
        owner.freeze()
        owner.encode(100)
        owner.fail(0)
    table.set("b", "", "event", 9)
    owner.checkpoint()
    again = owner.restored()
    expected = [Timer(4, "a", "", "event"), Timer(9, "b", "", "event")]
    assert again.fired("event", 10) == expected
    assert owner.fired("event", 10) == expected
    again.stack.release()


def test_clear_takes_every_timer_of_the_key_and_of_no_other(owner: Owner) -> None:
    """In the layers, on their way, and new ones; also of a long key, whose slot may differ in each file (T130)."""
    table = owner.table
    for number, domain in enumerate([*DOMAINS, *DOMAINS]):
        for key in (LONG + "1", LONG + "2", "a"):
            table.set(key, number, domain, number)
            table.set(key, LONG, domain, number)
        if number < 2:
            owner.checkpoint()
        elif number == 2:
            owner.freeze()
    table.clear(LONG + "1")
    for domain in DOMAINS:
        assert {timer.key for timer in owner.fired(domain, 9)} == {LONG + "2", "a"}
    while owner.waiting:
        owner.write()
    owner.checkpoint()
    again = owner.restored()
    assert [again.table.next_time(domain) for domain in DOMAINS] == [None, None]
    again.stack.release()


def test_storm_is_taken_in_slices_and_memory_stays_small(owner: Owner) -> None:
    """20,000 timers of one instant: between any two a freeze may come, and what has fired leaves memory."""
    table, count, slice_ = owner.table, 20_000, 1_000
    for key in range(count):
        table.set(key, "", "event", 5)
        if key % slice_ == 0:
            owner.checkpoint()
    owner.checkpoint()
    assert table.weigh() == TimerTable(StateNumber(9), table._layout._space).weigh()
    fired: list[Timer] = []
    while len(fired) < count:
        some = owner.fired("event", 5, slice_)
        assert len(some) == slice_, "no slice is wasted on reading"
        fired += some
        assert table.live_entries <= slice_
        assert all(len(near.timers) <= timer_index.MOST for near in table._indexes[0]._near.values())
        owner.checkpoint()
    assert fired == [Timer(5, key, "", "event") for key in range(count)]
    assert owner.fired("event", 5) == []


def test_row_of_cancelled_timers_is_passed_by_slices_and_once(owner: Owner) -> None:
    """10,000 timeouts that were cancelled lie before the next one, as tombstones: the caller gets its turns."""
    table = owner.table
    for key in range(10_000):
        table.set(key, "", "event", key)
    table.set("last", "", "event", 50_000)
    owner.checkpoint()
    for key in range(10_000):
        table.cancel(key, "", "event")
    owner.checkpoint()

    again = owner.restored()
    assert (again.table.next_time("event") or 0) < 50_000, "too early a time, not too late a one"
    given = list(again.table.due("event", 49_999))
    assert len(given) > 5
    assert set(given) == {None}
    assert list(again.table.due("event", 49_999)) == [], "they are passed"
    assert again.table.next_time("event") == 50_000
    again.stack.release()


def test_mark_spares_a_restart_what_has_fired(owner: Owner) -> None:
    """The tombstones of all that ever fired come first; a timer in the past lies before the mark all the same (T25)."""
    table = owner.table
    for key in range(5_000):
        table.set(key, "", "event", key)
    table.set("last", "", "event", 50_000)
    owner.checkpoint()
    assert len(owner.fired("event", 49_999)) == 5_000
    owner.checkpoint()
    again = owner.restored()
    assert list(again.table.due("event", 49_999)) == [], "nothing that takes long"
    assert again.table.next_time("event") == 50_000

    again.table.set("late", "", "event", 7)
    again.checkpoint()
    once_more = again.restored()
    assert once_more.fired("event", 60_000) == [Timer(7, "late", "", "event"), Timer(50_000, "last", "", "event")]
    for each in (again, once_more):
        each.stack.release()


def test_state_that_is_let_go_is_freed_by_slices(owner: Owner) -> None:
    """No single step frees more than it was told, places in heaps included."""
    table = owner.table
    for key in range(3_000):
        table.set(key, "", "event", key)
    owner.freeze()
    for key in range(3_000):
        table.set(key, "", "event", 5)
        table.set(key, "", "event", 3)
    freed = []
    while step := table.dismantle(500):
        freed.append(step)
    assert max(freed) <= 500
    assert sum(freed) > 6_000 + 6_000
    assert table.weigh().live < 1_000


@pytest.mark.parametrize("at", [TIME_MIN - 1, TIME_MAX + 1])
def test_time_that_does_not_fit_is_refused(owner: Owner, at: int) -> None:
    with pytest.raises(CodecError, match=r"op: a timer at .* 64 bits"):
        owner.table.set("a", "", "event", at)


def test_key_of_another_subtask_is_refused(shelf: Shelf) -> None:
    """Its timer would be lost at the next rescale."""
    group = key_group_of(encode_key("a"), ALL.end)
    other = Owner(shelf, KeyGroupRange(0, 4) if group >= 4 else KeyGroupRange(4, 8))
    for use in (
        lambda: other.table.set("a", "", "event", 1),
        lambda: other.table.cancel("a", "", "event"),
        lambda: other.table.clear("a"),
    ):
        with pytest.raises(InvariantError, match="key 'a' is of key group"):
            use()


def test_kinds_of_a_newer_version_are_refused(owner: Owner) -> None:
    """By time and by name: what we do not understand must neither fire nor be passed over."""
    group = key_group_of(encode_key("a"), ALL.end)
    head = owner.table._layout.heads[group]
    part, suffix = encode_key("a"), b"\x00" + encode_key("")
    by_time = head + BY_TIME + b"\x00" + time_bytes(5) + part + suffix[1:]
    with owner.shelf.layer([(head + BY_NAME + part + suffix, b"\x04"), (by_time, b"\x04")]) as layer:
        owner.stack.push(layer)
    again = owner.restored()
    with pytest.raises(StoreError, match=r"timers of op: an entry of kind 4"):
        again.table.at("a", "", "event")
    with pytest.raises(StoreError, match=r"layer 1-0-1\.lmdb: an entry of kind 4"):
        again.table.next_time("event")
    again.stack.release()
