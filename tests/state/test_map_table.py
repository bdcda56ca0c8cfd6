"""Maps, one by one."""

from __future__ import annotations

import random
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
    assert len(pages.peek("k")) == 4
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


@pytest.mark.parametrize("seed", range(20))
def test_the_first_entry_is_that_of_a_dict_whatever_came_before(shelf: Shelf, seed: int) -> None:
    """What is gone before it is passed over, until something comes there, by any way there is."""
    rng = random.Random(seed)
    state = state_over()
    pages, model = state.maps["pages"], {key: dict[int, int]() for key in "ab"}
    for step in range(1_500):
        key, number = rng.choice("aaab"), rng.choice((rng.randrange(400), step))
        match rng.choices(["first", "pop", "set", "delete", "clear", "freeze"], [3, 40, 40, 10, 0.2, 0.4])[0]:
            case "pop" if model[key]:
                first = min(model[key])
                assert pages.first(key) == first
                pages.delete(key, first)
                del model[key][first]
            case "set":
                pages.set(key, number, step)
                model[key][number] = step
            case "delete":
                pages.delete(key, number)
                model[key].pop(number, None)
            case "clear":
                pages.clear(key)
                model[key].clear()
            case "freeze":
                shelf.checkpoint(state)
                if rng.random() < 0.3:
                    state = restored(state)
                    pages = state.maps["pages"]
            case _:
                assert pages.first(key) == min(model[key], default=MISSING)
    assert {key: dict(pages.items(key)) for key in model} == model


@pytest.mark.parametrize("where", ["memory", "layer"])
def test_a_row_of_pops_looks_at_each_entry_a_few_times(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Not again at all that were popped before: 4,000 took 37 s, and the loop stood still."""
    looked = 0

    def look(found: tuple[bytes, object, object]) -> bytes:
        nonlocal looked
        looked += 1
        return found[0]

    state = state_over()
    pages = state.maps["pages"]
    for number in range(3_000):
        pages.set("k", number, number)
    if where == "layer":
        shelf.checkpoint(state)
        pages = restored(state).maps["pages"]
    monkeypatch.setattr("actorstream.state.map_table.itemgetter", lambda _: look)
    for number in range(3_000):
        assert pages.first("k") == number
        pages.delete("k", number)
        pages.set("k", 10_000 + number, number)
    assert looked < 8 * 3_000


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
