"""What layers hold of one state, newest first. All kinds of state: tests/evolve/test_against_a_dict.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.codec.ordered_keys import encode_key
from actorstream.errors import StoreError
from actorstream.state.entries import (
    BORDER,
    CLEAR_TAG,
    TOMBSTONE_TAG,
    VALUE_TAG,
    Slots,
    expiring,
    head_of,
)
from actorstream.state.live_rows import Bounds, Instants, canonical_entry, first_slotted, live_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer
    from tests.state.rig import Shelf

HEAD = head_of(5, 1, 3)
OTHERS = (head_of(4, 1, 3), head_of(5, 0, 3), head_of(5, 1, 2), head_of(5, 1, 4), head_of(5, 2, 3), head_of(6, 1, 3))
A, B, C = map(encode_key, "abc")
LONG = [encode_key("k" * 250 + end) for end in ("", "1", "2")]


def layer_of(shelf: Shelf, rows: Mapping[bytes, bytes], beside: bytes = b"") -> Layer:
    """Write a layer with these rows, and the same for every neighbour of their state."""
    slots = Slots()
    mine: list[Entry] = [slots.entry(HEAD, part, beside, tagged) for part, tagged in rows.items()]
    theirs = [(head + part, VALUE_TAG + b"theirs") for head in OTHERS for part in (A, B, C)]
    return shelf.layer(mine + theirs)


def values(layers: list[Layer], bounds: Bounds | None = None, now: Instants | None = None) -> dict[bytes, bytes]:
    found = list(live_rows(layers, HEAD, bounds or Bounds(), now))
    assert [order for order, _, _ in found] == sorted(order for order, _, _ in found)
    return {parts: value for _, parts, value in found}


def test_the_newest_layer_counts_and_a_tombstone_hides(shelf: Shelf) -> None:
    old = layer_of(shelf, {A: VALUE_TAG + b"1", B: VALUE_TAG + b"1", C: VALUE_TAG + b"1"})
    new = layer_of(shelf, {A: VALUE_TAG + b"2", B: TOMBSTONE_TAG})
    assert values([new, old]) == {A: VALUE_TAG + b"2", C: VALUE_TAG + b"1"}
    assert values([old, new]) == dict.fromkeys([A, B, C], VALUE_TAG + b"1")
    assert values([]) == {}


def test_a_clear_mark_hides_older_entries_of_its_map_only(shelf: Shelf) -> None:
    old = layer_of(shelf, {A: VALUE_TAG + b"1", B: VALUE_TAG + b"1"}, beside=C)
    new = shelf.layer([(HEAD + A, CLEAR_TAG), (HEAD + A + B, VALUE_TAG + b"2")])
    assert values([new, old]) == {A + B: VALUE_TAG + b"2", B + C: VALUE_TAG + b"1"}


def test_what_has_expired_by_its_own_clock_is_not_there(shelf: Shelf) -> None:
    rows = {A: expiring(VALUE_TAG, 100), B: expiring(VALUE_TAG, 2 * BORDER + 100), C: VALUE_TAG}
    layer = layer_of(shelf, rows)
    assert set(values([layer])) == {A, B, C}
    assert set(values([layer], now=Instants(99, 2 * BORDER + 99))) == {A, B, C}
    assert set(values([layer], now=Instants(100, 2 * BORDER + 99))) == {B, C}
    assert set(values([layer], now=Instants(99, 2 * BORDER + 100))) == {A, C}
    older = layer_of(shelf, {A: VALUE_TAG + b"older"})
    assert A not in values([layer, older], now=Instants(100, 0)), "it hides what is older all the same"


@pytest.mark.parametrize(
    ("bounds", "held"),
    [
        (Bounds(), [A, *LONG, B]),
        (Bounds(start=B), [B, *LONG]),
        (Bounds(stop=B), [A]),
        (Bounds(start=LONG[1]), LONG[1:]),
        (Bounds(stop=LONG[1]), [A, B, LONG[0]]),
        (Bounds(LONG[1]), [LONG[1]]),
        (Bounds(A), [A]),
        (Bounds(C), []),
    ],
)
def test_bounds_are_of_whole_keys(bounds: Bounds, held: list[bytes], shelf: Shelf) -> None:
    """T130: long keys are shortened in layers, and must be told apart all the same."""
    layer = layer_of(shelf, {part: VALUE_TAG + part[-3:] for part in (A, B, *LONG)})
    assert set(values([layer], bounds)) == set(held)


def test_a_kind_of_a_newer_version_is_refused(shelf: Shelf) -> None:
    layer = layer_of(shelf, {A: b"\x2a"})
    with pytest.raises(StoreError, match="entry of kind 42 was found"):
        values([layer])


@pytest.mark.parametrize("key", [A, LONG[1]])
@pytest.mark.parametrize("beside", [b"", B, LONG[2]])
def test_an_entry_in_canonical_form_gives_the_one_that_a_layer_has(key: bytes, beside: bytes) -> None:
    raw, value = Slots().entry(HEAD, key, beside, VALUE_TAG + b"v")
    canonical, tagged = canonical_entry(HEAD, key, beside, VALUE_TAG + b"v")
    assert tagged == value
    assert (first_slotted(canonical, tagged) if raw != canonical else canonical) == raw
