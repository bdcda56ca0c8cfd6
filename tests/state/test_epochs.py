"""Freezes, failures and in-place changes, one by one."""

from __future__ import annotations

import pytest

from actorstream.codec.values import codec_for
from actorstream.errors import CodecError, InvariantError
from actorstream.model.ids import StateNumber
from actorstream.model.key_groups import KeyGroupRange
from actorstream.state.memtable import MISSING
from actorstream.state.operator_state import StateColumn
from actorstream.state.stack import LayerStack
from tests.state.rig import MAP, ROW, Shelf, encode_all, read, restored, row_list, state_over


def test_in_place_change_after_a_freeze_stays_out_of_the_snapshot_t135(shelf: Shelf) -> None:
    """The frozen list is still to be encoded, so the handler gets a copy, and the copy is written next."""
    state = state_over()
    state.rows.live["k"] = [1]
    first = state.freeze()
    row_list(state, "k").append(2)
    row_list(state, "k").append(3)

    shelf.finish(state, first)
    assert restored(state).rows.peek("k") == [1]
    shelf.checkpoint(state)
    assert restored(state).rows.peek("k") == [1, 2, 3]


def test_in_place_change_of_a_clean_or_cold_value_is_written_t135(shelf: Shelf) -> None:
    """Reading is all that is seen of `self.cart.append(x)`."""
    state = state_over()
    state.rows.live["k"] = [1]
    shelf.checkpoint(state)
    row_list(state, "k").append(2)
    shelf.checkpoint(state)
    state = restored(state)
    row_list(state, "k").append(3)
    shelf.checkpoint(state)

    assert restored(state).rows.peek("k") == [1, 2, 3]


def test_in_place_change_of_a_map_value_follows_the_same_rule_t135(shelf: Shelf) -> None:
    """Whether it is got or met in a scan."""
    state = state_over()
    pages = state.maps["pages"]
    pages.set("k", 1, ["a"])
    first = state.freeze()
    got = pages.get("k", 1)
    assert isinstance(got, list)
    got.append("b")
    shelf.finish(state, first)
    assert restored(state).maps["pages"].peek("k") == [(1, ["a"])]
    shelf.checkpoint(state)
    for _, value in pages.items("k"):
        assert isinstance(value, list)
        value.append("c")
    shelf.checkpoint(state)

    assert restored(state).maps["pages"].peek("k") == [(1, ["a", "b", "c"])]


def test_reading_an_immutable_value_is_no_write(shelf: Shelf) -> None:
    """Else every key that is read would be written with each checkpoint."""
    state = state_over()
    state.rows.live["k"] = (1, "x")
    state.maps["pages"].set("k", 1, "y")
    shelf.checkpoint(state)
    assert read(state, "k") == (1, "x")
    assert list(state.maps["pages"].items("k")) == [(1, "y")]

    assert state.freeze() is None


def test_freeze_gives_nothing_where_nothing_was_written() -> None:
    """So that such a subtask acknowledges at once."""
    assert state_over().freeze() is None


def test_failed_generation_goes_out_with_the_next_freeze(shelf: Shelf) -> None:
    """Even if nothing was written since; and what was written since counts."""
    state = state_over()
    state.rows.live.update(a=1, b=1, c=1)
    failed = state.freeze()
    assert failed is not None
    failed.encode(2)
    state.on_write_failed(failed)
    state.rows.live.update(b=2, c=MISSING)
    shelf.checkpoint(state)

    again = restored(state)
    assert [again.rows.peek(key) for key in "abc"] == [1, 2, MISSING]
    assert state.freeze() is None


def test_failure_takes_newer_generations_back_too(shelf: Shelf) -> None:
    """Were the newer one pushed first, its value would come to lie below the older one's."""
    state = state_over()
    state.rows.live.update(a=1, b=1)
    older = state.freeze()
    state.rows.live.update(a=2)
    newer = state.freeze()
    assert older is not None
    assert newer is not None
    state.on_write_failed(older)
    state.on_write_failed(newer)  # the queue gives up both: the second is back already
    assert newer.failed
    with pytest.raises(InvariantError, match="taken back"):
        newer.encode(5)
    assert (read(state, "a"), read(state, "b")) == (2, 1)
    shelf.checkpoint(state)

    assert [restored(state).rows.peek(key) for key in "ab"] == [2, 1]


def test_layer_of_a_generation_that_was_taken_back_is_not_used(shelf: Shelf) -> None:
    """Its entries go out again; the file that came too late stays off the stack, and is closed."""
    state = state_over()
    state.rows.live["a"] = 1
    generation = state.freeze()
    assert generation is not None
    layer = shelf.layer(*encode_all(generation))
    state.on_write_failed(generation)
    state.on_written(generation, layer)

    assert layer.closed
    assert state.stack.layers == 0
    shelf.checkpoint(state)
    assert restored(state).rows.peek("a") == 1


def test_failures_in_a_row_do_not_pile_up(shelf: Shelf) -> None:
    """Encoding moves what is still valid of a failed part into the newest one."""
    state = state_over()
    pages = state.maps["pages"]
    for turn in range(5):
        state.rows.live[turn] = state.rows.live["hot"] = turn
        pages.set("k", turn, turn)
        pages.set("k", "hot", turn)
        if turn == 2:
            pages.clear("k")
        generation = state.freeze()
        assert generation is not None
        encode_all(generation, 2)
        assert state.rows.keys_in_memory == turn + 2
        state.on_write_failed(generation)
    assert pages.peek("k") == [(3, 3), (4, 4), ("hot", 4)]
    shelf.checkpoint(state)

    again = restored(state)
    assert [again.rows.peek(key) for key in (0, 1, 4, "hot")] == [0, 1, 4, 4]
    assert again.maps["pages"].peek("k") == [(3, 3), (4, 4), ("hot", 4)]


def test_scans_between_the_slices_of_what_failed_see_all_of_it(shelf: Shelf) -> None:
    """A scan sorts the map keys of a failed change, of which the next slice takes more away."""
    state = state_over()
    pages = state.maps["pages"]
    for number in range(5):
        pages.set("k", number, number)
    failed = state.freeze()
    assert failed is not None
    state.on_write_failed(failed)
    pages.set("other", 1, "new")
    generation = state.freeze()
    assert generation is not None
    while not generation.encoded:
        generation.encode(1)
        assert pages.peek("k") == [(number, number) for number in range(5)]


def test_clear_that_failed_stays_one_while_it_goes_out_again(shelf: Shelf) -> None:
    """Moved into the newest part, it still hides what the layers hold."""
    state = state_over()
    pages = state.maps["pages"]
    pages.set("k", 1, "layer")
    shelf.checkpoint(state)
    pages.clear("k")
    pages.set("k", 2, "failed")
    failed = state.freeze()
    assert failed is not None
    state.on_write_failed(failed)
    pages.set("k", 3, "new")
    again = state.freeze()
    assert again is not None
    parts = []
    while not again.encoded:
        parts.append(again.encode(1))
        assert pages.peek("k") == [(2, "failed"), (3, "new")]
        assert pages.get("k", 1) is MISSING
    state.on_written(again, shelf.layer(*parts))
    assert restored(state).maps["pages"].peek("k") == [(2, "failed"), (3, "new")]


def test_generations_reach_the_stack_in_order(shelf: Shelf) -> None:
    """Else an older value would hide a newer one."""
    state = state_over()
    state.rows.live["a"] = 1
    state.freeze()
    state.rows.live["a"] = 2
    second = state.freeze()
    assert second is not None
    encode_all(second)
    with pytest.raises(InvariantError, match="in the order"):
        state.on_written(second, shelf.layer([(b"entry..", b"")]))


def test_half_encoded_generation_is_never_taken_for_written(shelf: Shelf) -> None:
    """What was not given to the writer cannot be in the layer."""
    state = state_over()
    state.rows.live.update(a=1, b=2)
    generation = state.freeze()
    assert generation is not None
    part = generation.encode(1)
    with pytest.raises(InvariantError, match="not wholly"):
        state.on_written(generation, shelf.layer(part))
    encode_all(generation)
    with pytest.raises(InvariantError, match="not wholly"):
        state.on_written(generation, None)


def test_value_that_cannot_be_encoded_names_operator_state_and_key() -> None:
    """The author must find it; and the rest of the generation must not pass for written."""
    columns = (StateColumn(StateNumber(1), "total", "value", codec_for(int)), MAP)
    state = state_over(columns=columns)
    state.rows.live["card-7"] = "seven"
    generation = state.freeze()
    assert generation is not None
    with pytest.raises(CodecError, match=r"views\.total.*card-7"):
        generation.encode(10)
    assert not generation.encoded
    with pytest.raises(InvariantError, match="taken back"):
        generation.encode(10)  # its iterator has ended: an empty list would say that all was given
    state.on_write_failed(generation)
    state.rows.live["card-7"] = 7
    state.maps["pages"].set("card-8", 1, object())
    generation = state.freeze()
    assert generation is not None
    with pytest.raises(CodecError, match=r"views\.pages.*card-8"):
        generation.encode(10)


def test_key_that_cannot_be_encoded_is_a_codec_error() -> None:
    """Found when it is written, where no layer was asked before."""
    state = state_over()
    state.rows.live[None] = 1
    generation = state.freeze()
    assert generation is not None
    with pytest.raises(CodecError, match="views"):
        generation.encode(10)


def test_key_of_another_subtask_is_refused(shelf: Shelf) -> None:
    """Written here, it would be restored nowhere."""
    state = state_over(key_groups=KeyGroupRange(0, 1))
    foreign = next(key for key in range(100) if state.key_group(key) != 0)
    state.rows.live[foreign] = 1
    generation = state.freeze()
    assert generation is not None
    with pytest.raises(InvariantError, match="key group"):
        generation.encode(10)
    state.maps["pages"].set(foreign, 1, 1)
    state = state_over(
        LayerStack.covering(KeyGroupRange(0, 1), [(KeyGroupRange(0, 1), [shelf.layer([])])]),
        key_groups=KeyGroupRange(0, 1),
    )
    with pytest.raises(InvariantError, match="key group"):
        read(state, foreign)
    with pytest.raises(InvariantError, match="key group"):
        state.maps["pages"].get(foreign, 1)


def test_state_over_a_stack_of_other_key_groups_is_refused() -> None:
    """What falls outside the stack would be lost without a word."""
    with pytest.raises(InvariantError, match="stack covers"):
        state_over(LayerStack.covering(KeyGroupRange(0, 4)))


def test_tombstones_are_not_written_where_nothing_lies_below(shelf: Shelf) -> None:
    """A first epoch that makes and deletes keys writes what is left."""
    state = state_over()
    state.rows.live["a"] = MISSING
    state.clear_key("b")
    state.maps["pages"].delete("c", 1)
    generation = state.freeze()
    assert generation is not None
    assert encode_all(generation) == [[]]
    state.on_written(generation, None)
    assert state.stack.layers == 0


def test_large_generation_becomes_clean_in_slices(shelf: Shelf) -> None:
    """One merge of 20,000 entries would hold the loop: the next generation's slices do it."""
    state = state_over()
    state.rows.live.update((n, n) for n in range(20_000))
    generation = state.freeze()
    shelf.finish(state, generation, 10_000)
    assert len(state.rows.clean) == 5_000
    assert read(state, 19_999) == read(state, 0) + 19_999  # type: ignore[operator]
    state.rows.live.update((n, -n) for n in range(8_000))
    generation = state.freeze()
    assert generation is not None
    generation.encode(2_000)
    assert len(state.rows.clean) == 7_000
    assert state.statistics().generations_waiting == 1


def test_statistics_count_keys_layers_and_waiting_generations(shelf: Shelf) -> None:
    """What a budget and the back-pressure of waiting generations go by."""
    state = state_over(columns=(ROW, MAP))
    state.rows.live["a"] = 1
    shelf.checkpoint(state)
    state.rows.live["b"] = 1
    state.freeze()
    reading = state.statistics()
    assert (reading.keys_in_memory, reading.layers, reading.generations_waiting) == (2, 1, 1)
