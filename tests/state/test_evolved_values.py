"""Values of several schemas in one stack of layers: each is read by its own, merged, or with an expiry, or not."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from actorstream.codec.evolution import Evolution, KnownSchema, evolve
from actorstream.codec.values import codec_for
from actorstream.errors import CodecError
from actorstream.model.ids import StateNumber
from actorstream.state.missing import MISSING
from actorstream.state.operator_state import StateColumn
from actorstream.state.ttl import ExpiringCodec, encoder_of, tag_of
from tests.state.rig import read, restored, state_over
from tests.state.test_compaction import compact, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.codec.contract import Codec
    from actorstream.state.operator_state import OperatorState
    from tests.state.rig import Shelf

LONG = "k" * 250
KEYS: list[object] = ["a", 7, ("t", 1), LONG, LONG + "1"]
FAR = 1 << 50
"""An expiry that no test reaches."""


def codec_of(generation: int) -> Codec[Any]:
    """Give the codec of ints that grew by 1,000 with each generation; all earlier ones are known."""
    known: Sequence[KnownSchema] = []
    codec: Codec[Any] = codec_for(int)
    for version in range(1, generation + 1):
        evolution = Evolution(version, dict.fromkeys(range(1, version), lambda old: old + 1_000))
        codec, own, others = evolve(codec_for(int), evolution, known)
        known = [*others, own]
    return codec


def columns_of(generation: int, *, expiring: bool) -> list[StateColumn]:
    """Give the four columns of a generation; with or without a time-to-live."""
    plain = codec_of(generation)
    codec = ExpiringCodec(plain, "processing") if expiring else plain
    return [
        StateColumn(StateNumber(1), "row", "value", codec),
        StateColumn(StateNumber(2), "other", "value", codec),
        StateColumn(StateNumber(3), "map", "map", codec),
        StateColumn(StateNumber(4), "slices", "slices", plain),
    ]


class Model:
    """What was written by which generation."""

    def __init__(self) -> None:
        self.written: dict[tuple[str, object], tuple[int, int]] = {}

    def now(self, place: tuple[str, object], generation: int) -> object:
        """Give what is to be read."""
        if place not in self.written:
            return MISSING
        number, then = self.written[place]
        return number + 1_000 * (generation - then)


def bare(value: object) -> object:
    """Give a value without its expiry."""
    return value[0] if isinstance(value, tuple) else value


def write(state: OperatorState, random: Random, model: Model, generation: int, *, expiring: bool) -> None:
    """Change some keys."""
    for key in random.sample(KEYS, 3):
        numbers = [random.randrange(500) for _ in range(4)]
        row, other, item = [(number, FAR) if expiring else number for number in numbers[:3]]
        state.rows.live[key] = (row, other)
        state.maps["map"].set(key, LONG, item)
        assert state.slices is not None
        state.slices.enter(10)[key] = numbers[3]
        for name, number in zip(("row", "other", "map", "slices"), numbers, strict=True):
            model.written[name, key] = (number, generation)


def check(state: OperatorState, model: Model, generation: int) -> None:
    """Hold every key against the model."""
    assert state.slices is not None
    pane = dict(each for piece in state.slices.read(10) for each in piece)
    for key in KEYS:
        row = read(state, key)
        found = (MISSING, MISSING) if row is MISSING else row
        assert isinstance(found, tuple)
        assert [bare(each) for each in found] == [model.now((name, key), generation) for name in ("row", "other")]
        assert bare(state.maps["map"].get(key, LONG)) == model.now(("map", key), generation)
        items = [(map_key, bare(value)) for map_key, value in state.maps["map"].items(key)]
        expected = model.now(("map", key), generation)
        assert items == ([] if expected is MISSING else [(LONG, expected)])
        assert pane.get(key, MISSING) == model.now(("slices", key), generation)


@pytest.mark.parametrize("seed", range(12))
def test_values_of_all_generations_are_read_side_by_side(shelf: Shelf, seed: int) -> None:
    """Whatever is merged between, and whether values expire, which may change with any generation."""
    random, model = Random(seed), Model()
    columns = columns_of(1, expiring=False)
    state = state_over(columns=columns)
    for generation in range(1, 6):
        expiring = random.random() < 0.5
        columns = columns_of(generation, expiring=expiring)
        state = restored(state, columns)
        check(state, model, generation)
        for _ in range(random.randrange(3)):
            write(state, random, model, generation, expiring=expiring)
            shelf.checkpoint(state)
        if state.stack.layers and random.random() < 0.5:
            compact(shelf, whole(state))
        state = restored(state, columns)
        check(state, model, generation)
    assert model.written


def test_stored_key_is_found_under_a_value_of_a_later_schema(shelf: Shelf) -> None:
    """T34: the type of the keys in a store is learnt from any entry, also where only new values are."""
    columns = columns_of(3, expiring=False)[:1]
    state = state_over(columns=columns)
    state.rows.live["a"] = 5
    shelf.checkpoint(state)
    assert restored(state, columns).stored_key() == "a"


def test_first_schema_lies_as_it_always_did() -> None:
    """No byte more, and the codec itself encodes."""
    codec = codec_of(1)
    assert (tag_of(codec), encoder_of(codec)) == (b"\x00", codec.encode)
    later = codec_of(3)
    assert tag_of(later) + encoder_of(later)(5) == b"\x00\xc1\x00\x02\x05"
    expiring = ExpiringCodec(later, "processing")
    assert tag_of(expiring) + encoder_of(expiring)((5, 7)) == b"\x03" + bytes(7) + b"\x07\xc1\x00\x02\x05"


def test_value_of_an_unknown_schema_names_state_and_key(shelf: Shelf) -> None:
    """A newer program wrote it: never read as something else."""
    newer = columns_of(4, expiring=False)[:1]
    state = state_over(columns=newer)
    state.rows.live["a"] = 5
    shelf.checkpoint(state)
    with pytest.raises(CodecError, match=r"state views\.row, key 'a': it is of schema 3, which is not among those"):
        read(restored(state, columns_of(2, expiring=False)[:1]), "a")
