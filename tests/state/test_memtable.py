"""Rows, one by one."""

from __future__ import annotations

from copy import deepcopy

import pytest

from actorstream.codec.values import codec_for
from actorstream.errors import CodecError, InvariantError, StoreError
from actorstream.model.ids import StateNumber
from actorstream.state.memtable import MISSING
from actorstream.state.operator_state import StateColumn
from tests.state.rig import MAP, OTHER_ROW, ROW, Shelf, encode_all, read, restored, state_over


def test_missing_is_one_falsy_object() -> None:
    """It is compared by `is`, so a copy of a row must keep it."""
    assert not MISSING
    assert repr(MISSING) == "MISSING"
    assert deepcopy(MISSING) is MISSING


def test_cold_row_is_read_once_and_then_kept(shelf: Shelf) -> None:
    """A miss looks through the layers; the next read is a dict's."""
    state = state_over()
    state.rows.live["k"] = 5
    shelf.checkpoint(state)
    state = restored(state)
    assert state.rows.peek("k") == 5
    assert state.rows.clean == {}
    assert read(state, "k") == 5
    assert state.rows.clean == {"k": 5}
    assert read(state, "other") is MISSING
    assert state.rows.clean == {"k": 5}


def test_deleted_row_hides_what_layers_hold(shelf: Shelf) -> None:
    """In this epoch, while its generation waits, and from its layer."""
    state = state_over()
    state.rows.live["k"] = 5
    shelf.checkpoint(state)
    state.rows.live["k"] = MISSING
    assert read(state, "k") is MISSING
    generation = state.freeze()
    assert read(state, "k") is MISSING
    shelf.finish(state, generation)
    assert read(state, "k") is MISSING
    assert read(restored(state), "k") is MISSING


def test_column_that_a_row_lacks_is_missing_after_a_restore(shelf: Shelf) -> None:
    """Each column is an entry of its own: one may be absent, and one may be dropped later."""
    columns = (ROW, OTHER_ROW)
    state = state_over(columns=columns)
    state.rows.live["k"] = (1, MISSING)
    shelf.checkpoint(state)
    assert restored(state, columns).rows.peek("k") == (1, MISSING)
    state.rows.live["k"] = (MISSING, [2])
    shelf.checkpoint(state)
    assert restored(state, columns).rows.peek("k") == (MISSING, [2])
    state.rows.live["k"] = MISSING
    shelf.checkpoint(state)
    assert restored(state, columns).rows.peek("k") is MISSING


def test_peek_gives_a_copy_and_marks_nothing(shelf: Shelf) -> None:
    """A query runs beside handlers: it must neither see half a change nor cause a write."""
    state = state_over(columns=(ROW, OTHER_ROW))
    state.rows.live["k"] = ([1], 2)
    shelf.checkpoint(state)
    row = state.rows.peek("k")
    assert isinstance(row, tuple)
    row[0].append(9)
    assert state.rows.peek("k") == ([1], 2)
    assert state.freeze() is None


def test_row_of_the_wrong_width_is_a_bug() -> None:
    """It would write columns under each other's numbers."""
    state = state_over(columns=(ROW, OTHER_ROW))
    state.rows.live["k"] = (1,)
    generation = state.freeze()
    assert generation is not None
    with pytest.raises(InvariantError, match="2 columns"):
        encode_all(generation)


def test_rows_of_an_operator_without_value_columns_are_refused() -> None:
    """They would vanish."""
    state = state_over(columns=(MAP,))
    state.rows.live["k"] = 1
    generation = state.freeze()
    assert generation is not None
    with pytest.raises(InvariantError, match="0 columns"):
        encode_all(generation)
    assert read(state_over(columns=(MAP,)), "k") is MISSING


def test_entry_of_another_schema_or_kind_names_the_state(shelf: Shelf) -> None:
    """A typed codec over bytes of another type, and a tag of a later version."""
    state = state_over()
    state.rows.live["k"] = "text"
    shelf.checkpoint(state)
    typed = StateColumn(StateNumber(1), "total", "value", codec_for(int))
    with pytest.raises(CodecError, match=r"views\.total.*'k'"):
        read(restored(state, (typed,)), "k")

    state.rows.live["k"] = 1
    generation = state.freeze()
    assert generation is not None
    later = [[(key, b"\x3f" + value[1:]) for key, value in part] for part in encode_all(generation)]
    state.on_written(generation, shelf.layer(*later))
    with pytest.raises(StoreError, match="newer version"):
        read(restored(state), "k")
