"""Cold reads: what a thread fetched before a batch, and what must not come of it."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

import pytest

from actorstream.codec.values import codec_for
from actorstream.errors import CodecError
from actorstream.model.ids import StateNumber
from actorstream.model.key_groups import KeyGroupRange
from actorstream.state.cold_read import BYTES_MAX
from actorstream.state.memtable import MISSING
from actorstream.state.operator_state import StateColumn
from actorstream.state.stack import LayerStack
from tests.state.rig import MAP, OTHER_ROW, ROW, Shelf, encode_all, read, restored, row_list, state_over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.state.cold_read import ColdRead
    from actorstream.state.operator_state import OperatorState

KEYS = [f"key-{n}" for n in range(100)]


def cold_state(shelf: Shelf, columns: Sequence[StateColumn] = (ROW, MAP)) -> OperatorState:
    """Give a state of 100 rows, all of them in two layers only."""
    state = state_over(columns=columns)
    for n, key in enumerate(KEYS):
        state.rows.live[key] = n if len(columns) == 2 and columns[1] is MAP else (n, MISSING)
    shelf.checkpoint(state)
    state.rows.live.update({key: state.rows.clean[key] for key in KEYS[:10]})
    shelf.checkpoint(state)
    return restored(state, columns)


def wanted(state: OperatorState, keys: Sequence[object] = KEYS) -> ColdRead:
    cold_read = state.missing(keys)
    assert cold_read is not None
    return cold_read


def in_a_thread(cold_read: ColdRead) -> None:
    thread = Thread(target=cold_read.read)
    thread.start()
    thread.join()


def fetch(state: OperatorState, keys: Sequence[object] = KEYS) -> None:
    cold_read = wanted(state, keys)
    in_a_thread(cold_read)
    cold_read.settle()


def test_rows_are_in_memory_after_the_read(shelf: Shelf) -> None:
    """No record of the batch asks a layer any more, nor is anything marked as written."""
    state = cold_state(shelf)
    fetch(state)
    assert len(state.rows.clean) == 100
    state.stack.release()
    assert [read(state, key) for key in KEYS] == list(range(100))
    assert state.freeze() is None


def test_rows_of_several_columns_are_put_together(shelf: Shelf) -> None:
    """Each column is an entry of its own."""
    state = cold_state(shelf, (ROW, OTHER_ROW))
    fetch(state)
    assert state.rows.clean["key-7"] == (7, MISSING)


def test_few_cold_keys_are_not_worth_a_thread(shelf: Shelf) -> None:
    """32 are read one by one; keys that repeat, and those in memory, do not count."""
    state = cold_state(shelf)
    assert state.missing(KEYS[:32] * 3) is None
    state = cold_state(shelf)
    fetch(state, KEYS[:60])
    assert state.missing(KEYS[:60] + KEYS[60:90]) is None
    state = cold_state(shelf)
    state.rows.live["key-0"] = MISSING
    assert state.missing(KEYS[:33]) is None
    state.stack.release()


def test_nothing_is_missing_without_layers_or_without_rows(shelf: Shelf) -> None:
    """There is nothing to read."""
    assert state_over().missing(KEYS) is None
    state = state_over(columns=(MAP,))
    for key in KEYS:
        state.maps["pages"].set(key, 1, 1)
    shelf.checkpoint(state)
    assert restored(state, (MAP,)).missing(KEYS) is None


def test_batches_are_looked_at_only_while_rows_come_from_layers(shelf: Shelf) -> None:
    """The look costs 0.1 µs a key: hot keys and new keys must not pay it for ever."""
    state = cold_state(shelf)
    fetch(state)
    assert state.missing(KEYS) is None  # all in memory: no more looks
    state.evict(1_000, 1 << 30)
    assert state.missing(KEYS) is None
    for key in KEYS:
        read(state, key)  # a hundred loads in one batch
    state.evict(1_000, 1 << 30)
    in_a_thread(cold_read := wanted(state))
    cold_read.settle()

    new = [f"new-{n}" for n in range(100)]
    fetch(state, new)
    assert state.missing([f"newer-{n}" for n in range(100)]) is None


def test_absent_keys_are_remembered_for_this_epoch_only(shelf: Shelf) -> None:
    """Once written and evicted, a key is found in its layer, not called absent."""
    state = cold_state(shelf)
    fetch(state, [f"new-{n}" for n in range(50)])
    assert read(state, "new-1") is MISSING
    state.rows.live["new-1"] = 5
    shelf.checkpoint(state)
    state.evict(1_000, 1 << 30)
    assert state.statistics().keys_in_memory == 0
    assert read(state, "new-1") == 5


def test_what_was_written_meanwhile_is_not_overwritten(shelf: Shelf) -> None:
    """Whether it is still in memory, in a layer only, or deleted there."""
    state = cold_state(shelf)
    cold_read = wanted(state, [*KEYS, "new"])
    in_a_thread(cold_read)
    state.rows.live.update({"key-0": -1, "key-1": MISSING, "new": -1})
    shelf.checkpoint(state)
    state.evict(1_000, 1 << 30)
    state.rows.live["key-2"] = -1
    state.rows.live["key-3"] = MISSING
    generation = state.freeze()
    assert generation is not None
    state.rows.live["key-4"] = -1
    cold_read.settle()

    expected = [-1, MISSING, -1, MISSING, -1, 5]
    assert [read(state, key) for key in KEYS[:6]] == expected
    assert read(state, "new") == -1
    shelf.finish(state, generation)
    assert [read(state, key) for key in KEYS[:6]] == expected


def test_what_a_record_read_meanwhile_is_kept_once(shelf: Shelf) -> None:
    """A second copy among the clean rows would outlive the one that a write replaces."""
    state = cold_state(shelf)
    cold_read = wanted(state)
    in_a_thread(cold_read)
    for key in KEYS[:2]:
        read(state, key)
    state.evict(1, 1 << 30)  # and the other one is aged
    cold_read.settle()
    assert state.statistics().keys_in_memory == 100


def test_mutable_row_that_was_handed_out_meanwhile_stays_the_one(shelf: Shelf) -> None:
    """T135: a second object for the same key would take the handler's changes with it."""
    state = state_over()
    state.rows.live.update({key: [n] for n, key in enumerate(KEYS)})
    shelf.checkpoint(state)
    state = restored(state)
    cold_read = wanted(state)
    in_a_thread(cold_read)
    row_list(state, "key-0").append(99)
    cold_read.settle()
    assert read(state, "key-0") == [0, 99]
    row_list(state, "key-1").append(99)
    shelf.checkpoint(state)
    assert [restored(state).rows.peek(key) for key in KEYS[:3]] == [[0, 99], [1, 99], [2]]


def test_stack_that_changes_meanwhile_does_not_matter(shelf: Shelf) -> None:
    """The layers that it reads stay open until it is over, and no longer."""
    state = cold_state(shelf)
    (_, layers) = state.stack.runs()[0]
    cold_read = wanted(state)
    for layer in layers:
        layer.release()  # the count of the first stack
    state.stack.release()
    assert not any(layer.closed for layer in layers)
    in_a_thread(cold_read)
    cold_read.settle()
    assert all(layer.closed for layer in layers)
    assert state.rows.clean["key-5"] == 5


def test_read_that_is_dropped_leaves_nothing_behind(shelf: Shelf) -> None:
    """Its actor was cancelled: no pin is left over, and nothing comes into memory afterwards."""
    state = cold_state(shelf)
    (_, layers) = state.stack.runs()[0]
    for layer in layers:
        layer.release()
    cold_read = wanted(state)
    in_a_thread(cold_read)
    cold_read.drop()
    cold_read.drop()
    cold_read.settle()
    cold_read.read()
    assert state.rows.clean == {}
    state.stack.release()
    assert all(layer.closed for layer in layers)


def test_what_cannot_be_read_ahead_is_left_to_its_record(shelf: Shelf) -> None:
    """The error must name the record that needs the key, and reach those only that do."""
    state = cold_state(shelf)
    long = "k" * 300
    state.rows.live[long] = 7
    shelf.checkpoint(state)
    typed = StateColumn(StateNumber(1), "total", "value", codec_for(str))
    state = restored(state, (typed, MAP))
    fetch(state, [*KEYS, None, long])
    assert state.rows.clean == {}
    with pytest.raises(CodecError, match=r"views\.total.*'key-1'"):
        read(state, "key-1")
    with pytest.raises(CodecError, match="None"):
        read(state, None)
    assert read(restored(state, (ROW,)), long) == 7


def test_key_of_another_subtask_is_left_to_its_record(shelf: Shelf) -> None:
    """It is refused there, with its name."""
    groups = KeyGroupRange(0, 1)
    layer = shelf.layer([])
    state = state_over(LayerStack.covering(groups, [(groups, [layer])]), key_groups=groups)
    cold_read = state.missing(KEYS)
    assert cold_read is not None
    cold_read.read()
    cold_read.settle()
    assert state.rows.clean == {}


def test_cold_read_of_a_state_with_a_waiting_generation_sees_memory_first(shelf: Shelf) -> None:
    """Frozen rows are not cold, and count more than what is pinned."""
    state = cold_state(shelf)
    state.rows.live.update(dict.fromkeys(KEYS[:80], -1))
    generation = state.freeze()
    assert generation is not None
    assert state.missing(KEYS) is None
    encode_all(generation)
    assert [read(state, key) for key in KEYS[78:82]] == [-1, -1, 80, 81]


def test_large_rows_are_read_a_few_at_a_time(shelf: Shelf) -> None:
    """A batch of 500 records for keys with 10 MB each took 5 GB, whatever the memory for state."""
    text = StateColumn(StateNumber(1), "text", "value", codec_for(str))
    state = state_over(columns=[text])
    state.rows.live.update((key, "x" * 1_000_000 if n >= 40 else "small") for n, key in enumerate(KEYS))
    shelf.checkpoint(state)
    state = restored(state, [text])
    fetch(state)
    held = sum(len(row) for row in state.rows.clean.values() if isinstance(row, str))
    assert BYTES_MAX <= held <= 3 * BYTES_MAX
    assert [len(str(read(state, key))) for key in KEYS] == [5] * 40 + [1_000_000] * 60


def test_all_small_rows_of_a_batch_are_read(shelf: Shelf) -> None:
    """However many: their sizes are looked at in pieces."""
    text = StateColumn(StateNumber(1), "text", "value", codec_for(str))
    state = state_over(columns=[text])
    keys = [f"key-{n}" for n in range(5_000)]
    state.rows.live.update((key, key) for key in keys)
    shelf.checkpoint(state)
    state = restored(state, [text])
    fetch(state, keys)
    assert len(state.rows.clean) == 5_000
