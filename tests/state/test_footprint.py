"""What an entry takes in memory: the estimate against what the interpreter has really allocated."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from actorstream.codec.values import SELF_DESCRIBING, codec_for
from actorstream.model.ids import StateNumber
from actorstream.state.footprint import EntrySizes, footprint
from actorstream.state.operator_state import StateColumn
from tests.state.rig import MAP, ROW, Shelf, encode_all, state_over

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRIES = 2_000


@dataclass
class Cart:
    owner: str
    items: list[int]


@dataclass(frozen=True, slots=True)
class Place:
    name: str
    distance: float


ROWS: dict[str, Callable[[int], tuple[object, object]]] = {
    "ints": lambda n: (n + 1_000, n * 7_919),
    "shared small ints": lambda n: (f"user-{n}", n % 5),
    "floats": lambda n: (f"user-{n}", n * 0.5),
    "strings": lambda n: (f"user-{n}", f"value-{n}" * 10),
    "large strings": lambda n: (n, f"{n}" * 2_000),
    "tuples": lambda n: (("user", n), (n, n * 0.5, f"city-{n}")),
    "lists": lambda n: (f"user-{n}", [n * 1_000 + i for i in range(n % 40)]),
    "dicts with one shape": lambda n: (f"user-{n}", {"price": n * 0.5, "city": f"city-{n}", "count": n}),
    "dicts with many keys": lambda n: (f"user-{n}", {f"{n}-{i}": i for i in range(10)}),
    "dataclasses": lambda n: (f"user-{n}", Cart(f"user-{n}", [n * 1_000, n * 2_000])),
    "slots": lambda n: (f"user-{n}", Place(f"city-{n}", n * 0.5)),
}


def allocated(work: Callable[[], object]) -> int:
    """Count the bytes that `work` allocates for good."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("frozen", [False, True], ids=["live", "frozen"])
def test_estimate_is_within_a_factor_of_what_rows_take(kind: str, frozen: bool) -> None:
    """Far too low, and the process dies; far too high, and everything is evicted for nothing."""
    state = state_over()

    def fill() -> None:
        for n in range(ENTRIES):
            key, row = ROWS[kind](n)
            state.rows.live[key] = row

    taken = allocated(fill)
    for _ in range(16):
        state.memory_bytes()  # each look measures a few
    if frozen:
        generation = state.freeze()
        assert generation is not None
        encode_all(generation, 250)
    assert taken / 1.5 < state.memory_bytes() < taken * 1.5


@pytest.mark.parametrize("entries", [1, 10, 1_000])
@pytest.mark.parametrize("frozen", [False, True], ids=["live", "frozen"])
def test_estimate_is_within_a_factor_of_what_maps_take(entries: int, frozen: bool) -> None:
    """Maps of one entry cost more for the map, large ones for the entries."""
    state = state_over()
    pages = state.maps["pages"]

    def fill() -> None:
        for n in range(ENTRIES):
            pages.set(f"user-{n // entries}", n, n * 0.5)

    taken = allocated(fill)
    for _ in range(16):
        state.memory_bytes()
    if frozen:
        generation = state.freeze()
        assert generation is not None
        encode_all(generation, 250)
    assert taken / 1.5 < state.memory_bytes() < taken * 1.5


def test_few_huge_values_among_many_small_ones_count_as_what_they_are(shelf: Shelf) -> None:
    """A sample misses them, or takes every value for a huge one; their encoded length is known."""
    state = state_over(columns=(StateColumn(StateNumber(1), "text", "value", codec_for(str)),))
    for n in range(20_000):
        state.rows.live[n] = "x" * 400_000 if n % 4_000 == 77 else f"{n}"
    shelf.finish(state, state.freeze(), 250)
    small = 20_000 * (32 + 55 + 100)
    assert (small + 2_000_000) / 1.5 < state.memory_bytes() < (small + 2_000_000) * 1.5


def test_values_that_grow_in_place_are_noticed_without_a_freeze(shelf: Shelf) -> None:
    """With ten minutes between two checkpoints nothing else would tell."""
    state = state_over()
    for n in range(1_000):
        state.rows.live[n] = [n]
    shelf.finish(state, state.freeze(), 250)
    for n in range(1_000):
        state.rows.live[n] = [n]
    before = state.dirty_bytes()
    for row in state.rows.live.values():
        assert isinstance(row, list)
        row.extend(range(1_000, 1_050))
    for _ in range(64):
        state.memory_bytes()
    assert state.dirty_bytes() > 3 * before


def test_state_without_entries_takes_next_to_nothing() -> None:
    """2,000 subtasks have 2,000 states."""
    assert state_over(columns=(ROW, MAP)).memory_bytes() < 1_000


def test_shared_object_is_shared_out() -> None:
    """A thousand rows that refer to one long text hold it once."""
    text = "x" * 100_000
    rows = [[text] for _ in range(1_000)]
    assert sum(map(footprint, rows)) < 3 * 100_000


def test_there_is_an_estimate_before_the_first_sample() -> None:
    """It is used in divisions."""
    sizes = EntrySizes()
    assert sizes.settled == sizes.live > 0
    sizes.learn([(0.0, 10_000)], 1, 1)
    assert sizes.settled > 0


def test_estimate_of_an_untyped_column_needs_no_encoding() -> None:
    """Weighing must not fail on a value that cannot be encoded: the freeze says so."""
    state = state_over(columns=(StateColumn(StateNumber(1), "any", "value", SELF_DESCRIBING),))
    state.rows.live["k"] = object()
    assert state.memory_bytes() > 0
