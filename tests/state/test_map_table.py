"""Maps, one by one."""

from __future__ import annotations

from functools import partial

import pytest

from actorstream.errors import StoreError
from actorstream.state.memtable import MISSING
from tests.state.rig import Shelf, encode_all, restored, state_over


def test_scan_merges_memory_and_layers_in_key_order(shelf: Shelf) -> None:
    """The newest source of a map key counts, deletions included."""
    state = state_over()
    pages = state.maps["pages"]
    for number in (5, 1, 3, 9):
        pages.set("k", number, "layer")
    shelf.checkpoint(state)
    pages = restored(state).maps["pages"]
    pages.set("k", 4, "live")
    pages.set("k", 3, "live")
    pages.delete("k", 5)

    assert list(pages.items("k")) == [(1, "layer"), (3, "live"), (4, "live"), (9, "layer")]
    assert list(pages.items("k", 3, 9, reverse=True)) == [(4, "live"), (3, "live")]
    assert pages.len("k") == 4
    assert pages.contains("k", 4)
    assert not pages.contains("k", 5)
    assert list(pages.items("other")) == []


def test_map_keys_of_different_types_are_different_t137() -> None:
    """1, 1.0 and True are one dict entry, and three map keys here, in memory as in layers."""
    pages = state_over().maps["pages"]
    pages.set("k", 1, "int")
    pages.set("k", 1.0, "float")
    pages.set("k", True, "bool")

    assert [pages.get("k", map_key) for map_key in (1, 1.0, True)] == ["int", "float", "bool"]


def test_clear_mark_hides_older_layers_only(shelf: Shelf) -> None:
    """What is set after a clear in the same epoch lies in the same layer as the mark."""
    state = state_over()
    pages = state.maps["pages"]
    pages.set("k", 1, "old")
    pages.set("k", 2, "old")
    shelf.checkpoint(state)
    pages.clear("k")
    pages.set("k", 2, "new")
    shelf.checkpoint(state)
    pages.set("k", 3, "newest")
    shelf.checkpoint(state)

    for table in (pages, restored(state).maps["pages"]):
        assert table.get("k", 1) is MISSING
        assert list(table.items("k")) == [(2, "new"), (3, "newest")]


def test_adding_or_removing_while_iterating_is_an_error() -> None:
    """As with a dict; replacing a value is fine, and is seen."""
    pages = state_over().maps["pages"]
    for number in (1, 2, 3):
        pages.set("k", number, "old")
    seen = []
    for map_key, value in pages.items("k"):
        pages.set("k", 2, "new")
        seen.append((map_key, value))
    assert seen == [(1, "old"), (2, "new"), (3, "old")]
    walks = [pages.items("k") for _ in range(3)]
    for walk, change in zip(walks, (partial(pages.set, "k", 9, "x"), partial(pages.delete, "k", 1)), strict=False):
        next(walk)
        change()
        with pytest.raises(RuntimeError, match="changed size"):
            next(walk)
    next(walks[2])
    pages.clear("k")
    with pytest.raises(RuntimeError, match="changed size"):
        next(walks[2])


def test_iterator_outlives_the_layers_of_its_stack(shelf: Shelf) -> None:
    """A merge may drop a layer from the stack while someone still reads it; dropping the iterator closes it."""
    state = state_over()
    pages = state.maps["pages"]
    for number in range(3):
        pages.set("k", number, number)
    shelf.checkpoint(state)
    state = restored(state)
    (_, (layer,)) = state.stack.runs()[0]
    layer.release()  # the count of the first stack
    walk = state.maps["pages"].items("k")
    assert next(walk) == (0, 0)
    state.stack.release()
    assert not layer.closed
    assert next(walk) == (1, 1)
    del walk
    assert layer.closed


def test_map_emptied_by_deletions_leaves_nothing_in_memory(shelf: Shelf) -> None:
    """Keys come and go for ever: what is gone must not be remembered."""
    state = state_over()
    pages = state.maps["pages"]
    for key in range(5):
        pages.set(key, 1, 1)
    shelf.checkpoint(state)
    for key in range(5):
        pages.delete(key, 1)
    shelf.checkpoint(state)
    assert state.statistics().keys_in_memory == 0


def test_cleared_map_that_settles_in_slices_stays_cleared(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """While its entries move to the clean ones, neither they nor older ones may be lost or come back."""
    monkeypatch.setattr("actorstream.state.operator_state._SETTLE_AT_ONCE", 0)
    state = state_over()
    pages = state.maps["pages"]
    for number in range(3):
        pages.set("k", number, "old")
    shelf.checkpoint(state)
    state.settle(100)
    pages.clear("k")
    for number in (1, 2):
        pages.set("k", number, "new")
    shelf.checkpoint(state)
    for _ in range(4):
        assert [pages.get("k", number) for number in range(3)] == [MISSING, "new", "new"]
        assert list(pages.items("k")) == [(1, "new"), (2, "new")]
        state.settle(1)


def test_entry_of_a_later_kind_is_refused(shelf: Shelf) -> None:
    """Never guessed at."""
    state = state_over()
    state.maps["pages"].set("k", 1, 1)
    generation = state.freeze()
    assert generation is not None
    later = [[(key, b"\x3f" + value[1:]) for key, value in part] for part in encode_all(generation)]
    state.on_written(generation, shelf.layer(*later))
    with pytest.raises(StoreError, match="newer version"):
        restored(state).maps["pages"].get("k", 1)
