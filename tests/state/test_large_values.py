"""A step of the encoding ends where its values are large: 250 of 1 MB held the loop for 0.3 s, and for 0.6 in a map."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.model.ids import StateNumber
from actorstream.state.large_values import LARGE_BYTES, STEP_BYTES
from actorstream.state.operator_state import StateColumn
from tests.state.rig import MAP, OTHER_ROW, ROW, state_over

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorstream.state.entries import Entry
    from actorstream.state.operator_state import Generation, OperatorState

SLICES = StateColumn(StateNumber(1), "slices", "slices", SELF_DESCRIBING)
STEP_ENTRIES = 250
LONG_KEY = "k" * 600


def put_rows(state: OperatorState, at: object, value: object) -> None:
    state.rows.live[at] = value


def put_pairs(state: OperatorState, at: object, value: object) -> None:
    state.rows.live[at] = (value, value)


def put_in_map(state: OperatorState, at: object, value: object) -> None:
    state.maps["pages"].set(1, at, value)


def put_in_slice(state: OperatorState, at: object, value: object) -> None:
    assert state.slices is not None
    state.slices.enter(7)[at] = value


Put = Any
KINDS: dict[str, tuple[Sequence[StateColumn], Put, int]] = {
    "rows": ((ROW,), put_rows, 1),
    "rows of two": ((ROW, OTHER_ROW), put_pairs, 2),
    "maps": ((MAP,), put_in_map, 1),
    "slices": ((SLICES,), put_in_slice, 1),
}
SIZES: dict[str, Callable[[int], int]] = {
    "large after small ones": lambda at: 1 if at < 300 else 100_000,
    "large and small ones": lambda at: Random(at).choice((1, 1, 1, 5_000, 700_000)),
    "of middle size": lambda _: LARGE_BYTES - 100,
}


def steps_of(generation: Generation) -> list[list[Entry]]:
    steps = []
    while not generation.encoded:
        steps.append(generation.encode(STEP_ENTRIES))
    return steps


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("long_keys", [False, True])
def test_a_step_has_no_more_than_its_bytes_and_one_value(kind: str, sizes: str, long_keys: bool) -> None:
    """And every entry is given once, whichever step it comes in."""
    columns, put, width = KINDS[kind]
    state = state_over(columns=columns)
    put(state, LONG_KEY if long_keys else "k", "")  # a long key has its step done row by row
    for at in range(600):
        put(state, f"k{at}", "x" * SIZES[sizes](at))
    generation = state.freeze()
    assert generation is not None
    steps = steps_of(generation)
    entries = [entry for step in steps for entry in step]
    assert len({key for key, _ in entries}) == len(entries) == 601 * width
    assert sorted(len(value) for _, value in entries)[-1] >= max(map(SIZES[sizes], range(600)))
    for step in steps:
        lengths = [len(value) for _, value in step]
        assert sum(lengths) <= width * (STEP_BYTES + max(lengths, default=0))


def test_a_step_over_many_slices_has_no_more_either() -> None:
    state = state_over(columns=(SLICES,))
    assert state.slices is not None
    for start in range(60):
        state.slices.enter(start)["k"] = "x" * 100_000
    generation = state.freeze()
    assert generation is not None
    assert {len(step) for step in steps_of(generation)} <= {6, 0}


@pytest.mark.parametrize("kind", KINDS)
def test_large_values_of_a_write_that_failed_go_out_with_the_next_in_steps(kind: str) -> None:
    columns, put, width = KINDS[kind]
    state = state_over(columns=columns)
    for at in range(60):
        put(state, f"k{at}", f"{at}" * 50_000)
    failed = state.freeze()
    assert failed is not None
    failed.encode(STEP_ENTRIES)
    state.on_write_failed(failed)
    for at in range(40, 70):
        put(state, f"k{at}", "new" * 50_000)
    generation = state.freeze()
    assert generation is not None
    steps = steps_of(generation)
    values: dict[bytes, bytes] = {}
    for key, value in (entry for step in steps for entry in step):
        assert key not in values
        values[key] = value
    assert len(values) == 70 * width
    assert sum(b"newnew" in value for value in values.values()) == 30 * width
    assert max(sum(len(value) for _, value in step) for step in steps) < width * (STEP_BYTES + 160_000)
