"""Slices of one operator: what a record costs, what a drop leaves, and what a rescale finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.codec.ordered_keys import encode_key
from actorstream.errors import CodecError, InvariantError, StoreError
from actorstream.model.key_groups import KeyGroupRange, key_group_of
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.state.entries import head_of
from actorstream.state.missing import MISSING
from actorstream.state.stack import LayerStack
from actorstream.state.timer_entries import time_bytes
from tests.state.rig import ALL, ROW, encode_all, restored, state_over
from tests.state.test_compaction import compact, whole
from tests.state.test_slice_table_against_a_dict import KEYS, LONG, SLICES, update

if TYPE_CHECKING:
    from actorstream.state.operator_state import OperatorState
    from actorstream.state.slice_table import SliceTable
    from tests.state.rig import Shelf


def table_of(state: OperatorState) -> SliceTable:
    assert state.slices is not None
    return state.slices


def panes(stack: LayerStack | None = None, groups: KeyGroupRange = ALL) -> OperatorState:
    return state_over(stack, (SLICES,), groups)


def content(state: OperatorState, start: int) -> dict[object, object]:
    return dict(each for piece in table_of(state).read(start) for each in piece)


def test_a_slice_that_nothing_older_knows_is_one_look_into_a_set(shelf: Shelf) -> None:
    """Time goes on, so most keys are new to their slice: no layer is asked, and no key encoded."""
    state = panes()
    update(table_of(state), 0, "a", 1)
    shelf.checkpoint(state)
    update(table_of(state), 10, "a", 1)
    assert table_of(state).known == {0}
    unencodable = object()
    assert table_of(state).older(10, unencodable) is MISSING
    assert table_of(state).older(0, unencodable) is MISSING, "memory has all of the slice"
    after = restored(state, (SLICES,))
    with pytest.raises(CodecError):
        table_of(after).older(0, unencodable)


def test_negative_and_extreme_times_are_in_order_t59(shelf: Shelf) -> None:
    """A slice before 1970 is read before one after it, also from layers."""
    state = panes()
    starts = [5, -5, TIME_MAX, 0, TIME_MIN, -(1 << 40)]
    for at, start in enumerate(starts):
        update(table_of(state), start, "a", at + 1)
    assert table_of(state).slices() == sorted(starts)
    shelf.checkpoint(state)
    after = restored(state, (SLICES,))
    assert table_of(after).slices() == sorted(starts)
    assert [content(after, start) for start in (5, TIME_MIN)] == [{"a": 1}, {"a": 5}]


@pytest.mark.parametrize("start", [TIME_MAX + 1, TIME_MIN - 1])
def test_a_slice_out_of_64_bits_is_refused(start: int) -> None:
    """It could not be written."""
    with pytest.raises(CodecError, match="64 bits"):
        table_of(panes()).enter(start)


def test_a_dropped_slice_is_not_entered_again() -> None:
    """It would come back with a part of its values."""
    table = table_of(panes())
    table.drop_before(10)
    table.drop_before(5)
    table.enter(10)
    with pytest.raises(InvariantError, match="all below 10 are gone"):
        table.enter(9)


def test_a_checkpoint_keeps_what_is_dropped_after_its_barrier(shelf: Shelf) -> None:
    """Its windows have not fired at the barrier: a restore must find all of them, and no mark over them."""
    state = panes()
    update(table_of(state), 0, "a", 1)
    shelf.checkpoint(state)
    update(table_of(state), 0, "b", 2)
    update(table_of(state), 10, "a", 4)
    generation = state.freeze()
    table_of(state).drop_before(10)
    shelf.finish(state, generation)
    assert table_of(state).slices() == [10]
    assert content(restored(state, (SLICES,)), 0) == {"a": 1, "b": 2}


def test_a_mark_is_that_of_the_barrier(shelf: Shelf) -> None:
    """What is dropped after it, while the generation is being written, was there."""
    state = panes()
    for start in range(3):
        update(table_of(state), start, "a", 1)
    shelf.checkpoint(state)
    table_of(state).drop_before(1)
    generation = state.freeze()
    table_of(state).drop_before(2)
    shelf.finish(state, generation)
    assert table_of(restored(state, (SLICES,))).slices() == [1, 2]


def test_a_drop_alone_is_written_as_one_mark_a_key_group(shelf: Shelf) -> None:
    """Not a tombstone a key; and where layers have nothing of it, nothing at all."""
    state = panes()
    table = table_of(state)
    for key in range(1_000):
        update(table, 0, key, 1)
    table.drop_before(1)
    assert not table.dirty
    assert state.freeze() is None
    for key in range(1_000):
        update(table, 1, key, 1)
    shelf.checkpoint(state)
    table.drop_before(2)
    assert table.dirty
    generation = state.freeze()
    assert generation is not None
    parts = encode_all(generation)
    assert sum(map(len, parts)) == ALL.end
    state.on_written(generation, shelf.layer(*parts))
    assert not table.dirty
    after = table_of(restored(state, (SLICES,)))
    assert (after.slices(), after.floor) == ([], 2)


def test_a_failed_mark_goes_out_again(shelf: Shelf) -> None:
    """Else the slices below it would be there again after a crash."""
    state = panes()
    update(table_of(state), 0, "a", 1)
    shelf.checkpoint(state)
    table_of(state).drop_before(1)
    generation = state.freeze()
    assert generation is not None
    generation.encode(100)
    state.on_write_failed(generation)
    shelf.checkpoint(state)
    assert table_of(restored(state, (SLICES,))).slices() == []


@pytest.mark.parametrize("bottom", [True, False])
def test_compaction_drops_what_lies_below_a_mark_of_the_run(shelf: Shelf, bottom: bool) -> None:
    """At the bottom the mark too: nothing is left that it could hide."""
    state = panes()
    if not bottom:
        update(table_of(state), 0, "a", 1)
        shelf.checkpoint(state)
    for start in range(4):
        for key in KEYS:
            update(table_of(state), start, key, 3)
    shelf.checkpoint(state)
    table_of(state).drop_before(3)
    shelf.checkpoint(state)
    (picked,) = whole(state)
    layers = picked[3] if bottom else picked[3][:-1]
    layer = compact(shelf, [(*picked[:3], layers)])
    assert layer is not None
    assert layer.file.entries == len(KEYS) + (0 if bottom else ALL.end)
    after = restored(state, (SLICES,))
    assert table_of(after).slices() == [3]
    assert content(after, 3) == {key: [3] for key in KEYS}


def test_key_groups_keep_their_marks_over_a_rescale(shelf: Shelf) -> None:
    """The subtask that was further on has dropped more: that must not come back, and its marks must not sink."""
    halves = KeyGroupRange(0, 4), KeyGroupRange(4, 8)
    states = [panes(groups=each) for each in halves]
    for state, dropped in zip(states, (1, 3), strict=True):
        for start in range(5):
            for key in range(40):
                if key_group_of(encode_key(key), ALL.end) in range(*state.stack.key_groups):
                    update(table_of(state), start, key, 1)
        shelf.checkpoint(state)
        table_of(state).drop_before(dropped)
        shelf.checkpoint(state)
    keys = [{key for key in range(40) if key_group_of(encode_key(key), ALL.end) in range(*half)} for half in halves]
    one = panes(LayerStack.covering(ALL, [run for state in states for run in state.stack.runs()]))
    for _ in range(2):
        table = table_of(one)
        assert content(one, 2).keys() == keys[0]
        assert content(one, 3).keys() == keys[0] | keys[1]
        assert all(table.older(2, key) is MISSING for key in keys[1])
        assert all(table.peek(2, key) is MISSING for key in keys[1])
        table.drop_before(2)
        shelf.checkpoint(one)
        one = restored(one, (SLICES,))
    assert table_of(one).slices() == [2, 3, 4]


def test_a_value_waiting_to_be_written_is_copied_before_it_is_changed_t135(shelf: Shelf) -> None:
    """The snapshot has the value of the barrier, and the next one the change, also if nobody puts it back."""
    state = panes()
    update(table_of(state), 0, "a", 3)
    generation = state.freeze()
    held = table_of(state).older(0, "a")
    assert isinstance(held, list)
    assert held == [3]
    held.append(4)
    shelf.finish(state, generation)
    assert content(restored(state, (SLICES,)), 0) == {"a": [3]}
    shelf.checkpoint(state)
    assert content(restored(state, (SLICES,)), 0) == {"a": [3, 4]}


def test_what_cannot_be_written_is_named(shelf: Shelf) -> None:
    """Operator, state and key: a program's author must find it."""
    state = panes()
    table_of(state).enter(0)["k"] = object()
    generation = state.freeze()
    assert generation is not None
    with pytest.raises(CodecError, match=r"views\.panes, key 'k'"):
        generation.encode(100)
    state.on_write_failed(generation)
    table_of(state).enter(0)["k"] = 1
    shelf.checkpoint(state)
    assert content(restored(state, (SLICES,)), 0) == {"k": 1}


def test_a_key_of_another_subtask_is_refused(shelf: Shelf) -> None:
    """It would be lost at the next rescale."""
    state = panes(LayerStack.covering(KeyGroupRange(0, 1)), KeyGroupRange(0, 1))
    mine, other = (
        next(key for key in range(100) if (key_group_of(encode_key(key), ALL.end) == 0) == owned)
        for owned in (True, False)
    )
    update(table_of(state), 0, mine, 1)
    shelf.checkpoint(state)
    update(table_of(state), 0, other, 1)
    generation = state.freeze()
    assert generation is not None
    with pytest.raises(InvariantError, match="this subtask owns 0 to 0"):
        generation.encode(100)


def test_an_entry_of_a_newer_version_is_refused(shelf: Shelf) -> None:
    """Neither a mark nor a value of a kind that is not known is passed over."""
    group = key_group_of(encode_key("a"), ALL.end)
    head = head_of(5, group, SLICES.number)
    key = head + time_bytes(7) + encode_key("a")
    with shelf.layer([(key, b"\x05")]) as layer:
        table = table_of(panes(LayerStack([(ALL, [layer])])))
        with pytest.raises(StoreError, match="kind 5"):
            table.peek(7, "a")
        with pytest.raises(StoreError, match="kind 5"):
            list(table.read(7))
    with shelf.layer([(head, b"\x05")]) as layer, pytest.raises(StoreError, match="kind 5"):
        panes(LayerStack([(ALL, [layer])]))


@pytest.mark.parametrize("key", ["a", LONG])
def test_a_stored_key_is_found_behind_its_time(shelf: Shelf, key: str) -> None:
    """The job compares its type with that of the keys to come, and refuses another one."""
    state = panes()
    update(table_of(state), 0, key, 1)
    shelf.checkpoint(state)
    table_of(state).drop_before(-1)
    update(table_of(state), 1, key, 1)
    shelf.checkpoint(state)
    assert restored(state, (SLICES,)).stored_key() == key
    assert restored(state, (ROW, SLICES)).stored_key() == key


def test_a_large_slice_is_freed_by_steps() -> None:
    """To free 100,000 values at once stalls the loop; until then they count as memory."""
    state = panes()
    table = table_of(state)
    table.enter(0).update((key, str(key)) for key in range(5_000))
    before = state.memory_bytes()
    table.drop_before(1)
    assert state.memory_bytes() > before / 2
    steps = 0
    while table.free(500):
        steps += 1
    assert steps >= 9
    assert state.memory_bytes() < before / 10


def test_a_large_slice_is_read_in_pieces(shelf: Shelf) -> None:
    """Whoever reads gives way between two of them, from memory as from layers."""
    state = panes()
    table_of(state).enter(0).update((key, key) for key in range(5_000))
    assert max(map(len, table_of(state).read(0))) <= 1_000
    shelf.checkpoint(state)
    after = restored(state, (SLICES,))
    pieces = list(table_of(after).read(0))
    assert max(map(len, pieces)) <= 500
    assert sorted(each for piece in pieces for each in piece) == [(key, key) for key in range(5_000)]


def test_the_budget_sees_and_evicts_slices(shelf: Shelf) -> None:
    """Written slices may leave memory, and are read from the layers then."""
    state = panes()
    for key in range(500):
        update(table_of(state), key % 3, key, 1)
    assert (state.live_entries, state.growing_entries) == (500, 500)
    shelf.checkpoint(state)
    assert state.growing_entries == 500
    while state.evict(100, 1 << 30):
        pass
    assert (state.growing_entries, state.statistics().keys_in_memory) == (0, 0)
    assert update(table_of(state), 0, 3, 1) == 2
    assert len(content(state, 0)) == 167


def test_nothing_moves_while_a_read_is_in_hand(shelf: Shelf) -> None:
    """A read that is left for a while still gives each key once; whoever drops it lets things move again."""
    state = panes()
    table_of(state).enter(0).update((key, key) for key in range(2_500))
    reading = table_of(state).read(0)
    next(reading)
    shelf.finish(state, state.freeze(), limit=1_000)
    assert table_of(state).evict(10) == 0
    assert not table_of(state).free(10)
    del reading
    assert table_of(state).evict(10) > 0
