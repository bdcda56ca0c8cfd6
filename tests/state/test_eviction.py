"""Room in memory: what goes first, what must not go, and no step that takes long."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from actorstream.codec.contract import Schema
from actorstream.model.ids import StateNumber
from actorstream.state import epochs, operator_state
from actorstream.state.memtable import MISSING
from actorstream.state.operator_state import OperatorState, StateColumn
from tests.state.rig import MAP, ROW, Shelf, encode_all, read, restored, row_list, state_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALL_BYTES = 1 << 40


@pytest.fixture(autouse=True)
def settle_by_hand() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operator_state, "_SETTLE_AT_ONCE", 0)
        yield


def written(shelf: Shelf, keys: range) -> OperatorState:
    """Give a state whose rows are all clean, and its maps of one entry."""
    state = state_over()
    for key in keys:
        state.rows.live[key] = key
        state.maps["pages"].set(key, 1, key)
    shelf.checkpoint(state)
    state.settle(10**9)
    return state


def in_memory(state: OperatorState) -> set[object]:
    return {key for epoch in (state.rows.live, *state.rows.below) for key in epoch}


def test_entries_go_in_the_order_in_which_they_came(shelf: Shelf) -> None:
    """The oldest were not asked for since."""
    state = written(shelf, range(10))
    assert state.rows.evict(3) == 3
    gone = set(range(10)) - in_memory(state)
    assert gone in ({0, 1, 2}, {9, 8, 7})  # settling turns the order of one generation round
    first = written(shelf, range(3))
    first.rows.live.update({3: 3, 4: 4})
    shelf.checkpoint(first)
    first.settle(100)
    first.rows.evict(3)
    assert in_memory(first) == {3, 4}


def test_oldest_epoch_goes_first(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several are put aside where there are many entries."""
    monkeypatch.setattr(epochs, "CLEAN_ENTRIES_MAX", 10)
    state = state_over()
    for start in range(0, 40, 10):
        state.rows.live.update((n, n) for n in range(start, start + 10))
        shelf.checkpoint(state)
        state.settle(100)
    state.evict(15, ALL_BYTES)
    assert len(in_memory(state) & set(range(10, 20))) == 5
    assert in_memory(state) >= set(range(20, 40))


def test_what_is_read_again_is_not_dropped_with_its_epoch(shelf: Shelf) -> None:
    """Without a list of what was used last: reading moves it into the newest clean dict."""
    state = written(shelf, range(10))
    state.rows.evict(1)
    kept = sorted(in_memory(state), key=lambda key: -int(str(key)))[3:5]
    for key in kept:
        assert read(state, key) == key
    state.rows.evict(7)
    assert in_memory(state) == set(kept)
    pages = state.maps["pages"]
    pages.evict(2)
    (kept_map,) = list(pages.below[-1])[-1:]
    assert pages.get(kept_map, 1) == kept_map
    pages.evict(16)
    assert [key for epoch in pages.below for key in epoch] == [kept_map]


def test_only_what_layers_hold_is_dropped(shelf: Shelf) -> None:
    """Live, failed and frozen entries are nowhere else."""
    state = written(shelf, range(3))
    state.rows.live[10] = 10
    failed = state.freeze()
    assert failed is not None
    state.on_write_failed(failed)
    state.rows.live[11] = 11
    waiting = state.freeze()
    assert waiting is not None
    encode_all(waiting)
    state.rows.live[12] = 12
    while state.evict(100, ALL_BYTES):
        pass
    assert in_memory(state) == {10, 11, 12}
    assert [read(state, key) for key in (0, 10, 11, 12)] == [0, 10, 11, 12]


def test_mutable_value_that_was_handed_out_cannot_be_evicted_t135(shelf: Shelf) -> None:
    """The handler still holds it: a second object from the layer would lose what the handler does to the first."""
    state = state_over()
    state.rows.live["k"] = [1]
    state.maps["pages"].set("k", 1, [1])
    shelf.checkpoint(state)
    state.settle(100)
    state.evict(1, ALL_BYTES)  # makes one aged, at least
    row, entry = row_list(state, "k"), state.maps["pages"].get("k", 1)
    assert isinstance(entry, list)
    while state.evict(100, ALL_BYTES):
        pass
    row.append(2)
    entry.append(2)
    assert read(state, "k") is row
    assert state.maps["pages"].get("k", 1) is entry
    shelf.checkpoint(state)
    while state.evict(100, ALL_BYTES):
        pass
    assert (read(state, "k"), state.maps["pages"].get("k", 1)) == ([1, 2], [1, 2])
    assert restored(state).rows.peek("k") == [1, 2]


def test_older_value_never_comes_to_light(shelf: Shelf) -> None:
    """Overwritten or deleted without having been read: the clean copy of the older value goes with it."""
    for change in (-1, MISSING):
        for aged in (False, True):
            state = written(shelf, range(4))
            if aged:
                state.rows.evict(1)
                state.maps["pages"].evict(2)
            for key in range(4):
                state.rows.live[key] = change
                pages = state.maps["pages"]
                pages.delete(key, 1) if change is MISSING else pages.set(key, 1, change)
            shelf.checkpoint(state)
            for _ in range(20):
                assert [read(state, key) for key in range(4)] == [change] * 4
                assert [state.maps["pages"].get(key, 1) for key in range(4)] == [change] * 4
                state.settle(1)
                if aged:
                    state.rows.evict(1)
                    state.maps["pages"].evict(1)


@pytest.mark.parametrize("aged", [False, True])
def test_cleared_map_does_not_come_to_light(shelf: Shelf, aged: bool) -> None:
    """Its clear mark is in a layer, which nobody asks while a clean dict has an answer."""
    state = state_over()
    pages = state.maps["pages"]
    for n in range(6):
        pages.set("k", n, "old")
    shelf.checkpoint(state)
    state.settle(100)
    if aged:
        pages.evict(1)
    pages.clear("k")
    pages.set("k", 9, "new")
    shelf.checkpoint(state)
    while True:
        assert [pages.get("k", n) for n in (*range(6), 9)] == [MISSING] * 6 + ["new"]
        if state.statistics().keys_in_memory == 1 and pages.clean:
            break
        state.settle(1)


def test_generation_that_exceeds_the_room_is_dropped_instead_of_moved(shelf: Shelf) -> None:
    """Moving it to the clean ones, to drop it there, would take its time and its place twice."""
    state = written(shelf, range(0))
    state.rows.live.update((n, n) for n in range(1_000))
    shelf.checkpoint(state)
    state.settle(10)
    assert len(state.rows.clean) == 10
    assert state.rows.evict(100) == 100
    assert state.statistics().keys_in_memory == 900
    assert len(state.rows.clean) == 0
    state.settle(300)
    assert state.statistics().keys_in_memory == 600
    assert [read(state, n) for n in range(0, 1_000, 7)] == list(range(0, 1_000, 7))


def test_clean_dict_that_is_large_is_put_aside(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more entry may have all of them copied in one call: 19 ms for 350,000."""
    monkeypatch.setattr(epochs, "CLEAN_ENTRIES_MAX", 100)
    state = state_over()
    for start in range(0, 500, 50):
        for n in range(start, start + 50):
            state.rows.live[n] = n
            state.maps["pages"].set("k", n, n)
        shelf.checkpoint(state)
        state.settle(100)
    assert max(map(len, state.rows.below)) == 100
    assert max(epoch.entries for epoch in state.maps["pages"].below) == 100
    state = restored(state)
    for n in range(500):
        assert read(state, n) == n
        if n % 50 == 0:
            state.memory_bytes()
    assert max(map(len, state.rows.below)) <= 150


class Tracked:
    """A value that tells when it is freed."""

    freed = 0

    def __del__(self) -> None:
        """Count."""
        Tracked.freed += 1


class TrackedCodec:
    schema = Schema("0" * 16, "tracked")

    def encode(self, value: object, /) -> bytes:
        return b""

    def decode(self, data: bytes, /) -> object:
        return Tracked()


def freed_by(step: Callable[[], object]) -> int:
    Tracked.freed = 0
    step()
    return Tracked.freed


def test_no_step_frees_a_large_map_at_once(shelf: Shelf) -> None:
    """100,000 values that go with one reference hold the loop for 10 ms and more."""
    columns = (ROW, StateColumn(StateNumber(3), "pages", "map", TrackedCodec()))
    state = state_over(columns=columns)
    pages = state.maps["pages"]

    def fill() -> None:
        for n in range(12_000):
            pages.set("k", n, Tracked())

    fill()
    assert freed_by(lambda: pages.clear("k")) == 0
    assert freed_by(lambda: state.settle(500)) == 500
    state.settle(20_000)
    fill()
    shelf.finish(state, state.freeze(), 2_000)
    state.settle(20_000)
    pages.clear("k")
    shelf.checkpoint(state)
    assert freed_by(lambda: state.settle(500)) <= 500
    assert freed_by(lambda: state.evict(500, ALL_BYTES)) == 500
    state.settle(20_000)
    fill()
    shelf.finish(state, state.freeze(), 2_000)
    steps = 0
    for _ in count():
        freed = freed_by(lambda: state.evict(500, ALL_BYTES))
        assert freed <= 500
        steps += freed > 0
        if not freed:
            break
    assert steps >= 24


def test_failed_generation_is_freed_by_slices() -> None:
    """Rows that a newer freeze has written again go one by one, with the encoding."""
    state = state_over(columns=(StateColumn(StateNumber(1), "row", "value", TrackedCodec()), MAP))
    for _ in range(2):
        state.rows.live.update((n, Tracked()) for n in range(2_000))
        generation = state.freeze()
        assert generation is not None
        state.on_write_failed(generation)
    generation = state.freeze()
    assert generation is not None
    most = 0
    while not generation.encoded:
        most = max(most, freed_by(lambda: generation.encode(100)))
    assert most == 100


def test_many_small_maps_settle_by_slices(shelf: Shelf) -> None:
    """A map counts for one, its entries for one each."""
    state = state_over()
    pages = state.maps["pages"]
    for n in range(30_000):
        pages.live.put(n, b"\x10", n)
    shelf.finish(state, state.freeze(), 2_000)
    looked_at: list[int] = []
    while state.statistics().keys_in_memory > len(pages.clean):
        state.settle(2_000)
        looked_at.append(len(pages.clean))
    assert looked_at[0] == 1_000
    assert looked_at[-1] == 30_000
