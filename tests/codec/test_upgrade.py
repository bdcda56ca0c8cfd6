"""Upgrades: which changes of a type old bytes survive, and that they are then read as what they were."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import pytest

from actorstream.codec.evolution import AS_DECLARED, Evolution, reader_of
from actorstream.codec.schema import Schema, schema_of
from actorstream.codec.typed import codec_for
from actorstream.codec.upgrade import upgrade
from actorstream.codec.widening import DifferenceError
from actorstream.errors import CodecError
from tests.codec.domain import (
    Box,
    Color,
    Everything,
    Level,
    Order,
    Point,
    Profile,
    Refund,
    Shape,
    Tree,
)
from tests.codec.strategies import same
from tests.codec.test_typed import NOW, everything
from tests.codec.versions import (
    V1,
    V2,
    Aged,
    Between,
    Branch,
    Branches,
    Loose,
    MoreColors,
    MoreShapes,
    OrderV2,
    Priced,
    Refunded,
    Swapped,
    Whole,
    record,
    stored,
)

A = record("A", [("x", int)])
Defaulted = record("A", [("x", int, 0)])
B = record("B", [("x", int)])
Outer = record("Outer", [("inner", Order), ("amount", int)])
OuterNow = record("Outer", [("inner", Priced), ("price", int)])
AS_THEY_ARE: list[tuple[object, object, object, object]] = [
    (Order, OrderV2, Order("a", 1.0), OrderV2(1.0, "a", "EUR")),
    (A, B, A(1), B(1)),
    (list[Order], list[OrderV2], [Order("a", 1.0)], [OrderV2(1.0, "a")]),
    (dict[str, tuple[int, Order]], dict[str, tuple[int, OrderV2]],
     {"k": (1, Order("a", 1.0))}, {"k": (1, OrderV2(1.0, "a"))}),
    (V1, V2, V1(1, "x"), V2(1, "x", 0.0)),
    (int, int | None, 5, 5),
    (Point, Point | None, Point(1), Point(1)),
    (int | None, int | None, None, None),
    (None, int | None, None, None),
    (Order, OrderV2 | None, Order("a", 1.0), OrderV2(1.0, "a")),
    (Order | Refund, Order | Refund | Point, Order("a", 1.0), Order("a", 1.0)),
    (Order | Refund, Order | Refund | None, Refund("a", NOW), Refund("a", NOW)),
    (Color, MoreColors, Color.RED, MoreColors.RED),
    (Shape, MoreShapes, Shape.LINE, MoreShapes.LINE),
    (Literal["a"], Literal["a", "b"], "a", "a"),
    (Literal[True], Literal[True, 1], True, True),
    (int | str, int | str | float, 1, 1),
    (Profile, Loose, {"name": "a"}, {"name": "a"}),
    (Whole, Profile, {"name": "a", "age": 1}, {"name": "a", "age": 1}),
    (Defaulted, A, Defaulted(0), A(0)),
    (Profile, record("P", [("name", str), ("age", int, 0)]), {"name": "a"}, None),
    (Color, str, Color.RED, "r"),
    (Level, int, Level.HIGH, 2),
    (Color, Literal["r", "b", "x"], Color.RED, "r"),
    (Literal["r"], Color, "r", Color.RED),
    (Literal["a", 1], int | str, 1, 1),
    (str, int | str, "a", "a"),
    (list[int], tuple[int, ...], [1, 2], (1, 2)),
    (tuple[int, ...], list[int], (1, 2), [1, 2]),
    (set[int], frozenset[int], {1, 2}, frozenset({1, 2})),
    (tuple[int, int], list[int], (1, 2), [1, 2]),
    (tuple[int, int], tuple[int, ...], (1, 2), (1, 2)),
    (dict[Color, int], dict[str, int], {Color.RED: 1}, {"r": 1}),
    (Tree, Branches, Tree(1, [Tree(2)]), Branches(1, [Branches(2)])),
    (Everything, Everything, everything(), everything()),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "value", "expected"), AS_THEY_ARE, ids=lambda v: str(v)[:30])
def test_change_that_old_bytes_survive_is_no_step(old: object, new: object, value: object, expected: object) -> None:
    """Added with a default, removed, reordered, widened: the new codec reads the very bytes."""
    was = stored(old)
    assert upgrade(was.schema, Schema("other", schema_of(new).shape), {}) is None
    found = codec_for(new).decode(codec_for(old).encode(value))
    if expected is not None or value is None:
        assert same(found, expected)


STEPS: list[tuple[object, object, dict[str, str], object, object]] = [
    (int, float, {}, 3, 3.0),
    (int, float, {}, 2**70, 2.0**70),
    (float, int | float, {}, 3, 3.0),
    (bool, int, {}, True, 1),
    (int, Decimal, {}, 3, Decimal(3)),
    (int, float | None, {}, 3, 3.0),
    (int | None, float | None, {}, None, None),
    (list[int], tuple[float, ...], {}, [1, 2], (1.0, 2.0)),
    (set[int], frozenset[float], {}, {2, 1}, frozenset({1.0, 2.0})),
    (tuple[int, str], tuple[float, str], {}, (1, "a"), (1.0, "a")),
    (tuple[int, int], list[float], {}, (1, 2), [1.0, 2.0]),
    (dict[str, int], dict[str, float], {}, {"a": 1}, {"a": 1.0}),
    (dict[str, int], dict[str | None, int], {}, {"a": 1}, {"a": 1}),
    (dict[tuple[int, int], int], dict[tuple[int, float], int], {}, {(1, 2): 3}, {(1, 2.0): 3}),
    (Literal["a", 1], Literal["a", 1, True], {}, "a", "a"),
    (V2, V1, {}, V2(1, "x", 2.0), V1(1, "x")),
    (V1, Swapped, {}, V1(1, "x"), Swapped("x", 1)),
    (V1, record("R", [("a", int), ("b", str)]), {}, V1(1, "x"), None),
    (Order, Order | Refund, {}, Order("a", 1.0), Order("a", 1.0)),
    (Order | None, Order | Refund | None, {}, None, None),
    (str, str | bytes, {}, "a", "a"),
    (int | str, int | str | bytes, {}, "a", "a"),
    (Color, Color | Order, {}, Color.RED, Color.RED),
    (list[int], list[int] | str, {}, [1], [1]),
    (Order, Priced, {"amount": "price"}, Order("a", 1.0), Priced("a", 1.0)),
    (Order, Priced, {"amount": "cost", "cost": "price"}, Order("a", 1.0), Priced("a", 1.0)),
    (list[Order], list[Priced], {"amount": "price"}, [Order("a", 1.0)], [Priced("a", 1.0)]),
    (Outer, OuterNow, {"amount": "price"}, Outer(Order("a", 1.0), 2), OuterNow(Priced("a", 1.0), 2)),
    (Profile, Aged, {"name": "title"}, {"name": "a", "age": 1}, {"title": "a", "age": 1}),
    (Order | Refund, Order | Refunded, {"Refund": "Refunded"}, Refund("a", NOW), Refunded("a", NOW)),
    (Order | Refund, Priced | Refund, {"Order": "Priced", "amount": "price"}, Order("a", 1.0), Priced("a", 1.0)),
    (Tree, Branch, {"children": "below"}, Tree(1, [Tree(2, [Tree(3)], Order("a", 1.0))]),
     Branch(1.0, [Branch(2.0, [Branch(3.0)], Order("a", 1.0))])),
    (Box[Box[int]], Box[Box[float]], {}, Box(Box(1)), Box(Box(1.0))),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "rename", "value", "expected"), STEPS, ids=lambda v: str(v)[:30])
def test_change_that_needs_a_step_is_read_as_what_it_was(
    old: object, new: object, rename: dict[str, str], value: object, expected: object
) -> None:
    """Renamed, or of other bytes: the old value, in the new type."""
    was = stored(old)
    assert upgrade(was.schema, schema_of(new), rename) is not None
    found = reader_of(was, codec_for(new), Evolution(rename=rename))(codec_for(old).encode(value))
    if expected is not None or value is None:
        assert same(found, expected)
    else:
        assert vars(found) == value._asdict()  # type: ignore[attr-defined]


REFUSED: list[tuple[object, object, str]] = [
    (int, str, "value was int and is str now"),
    (float, int, "value was float and is int now"),
    (bool, float, "value was bool and is float now"),
    (int | None, int, "value was int or None and is int now"),
    (list[int], set[int], r"value was list\[int\] and is set\[int\] now"),
    (list[int], list[str], r"value\[item\] was int"),
    (tuple[int, int], tuple[int, int, int], "had 2 parts and has 3 now"),
    (tuple[int, int], set[int], r"value was tuple\[int, int\]"),
    (list[int], tuple[int, int], r"value was list\[int\]"),
    (dict[int, str], dict[int, bytes], r"value\[1\] was str"),
    (A, record("A", [("x", int), ("y", int)]), "value.y was added without a default"),
    (A, record("A", [("x", str)]), "value.x was int and is str now"),
    (V1, Between, "NamedTuple, whose fields may only be added at the end"),
    (Refund, Order | Point, "value was Refund and is Order or Point now"),
    (Order | Refund, Order | Point, "may have been a Refund"),
    (Order | Refund, Order, "value was Order or Refund and is Order now"),
    (MoreColors, Color, "may have been 'g'"),
    (Color, int, "value was Color and is int now"),
    (Color, Shape, "value was Color and is Shape now"),
    (Literal["a", "b"], Literal["a"], "may have been \"'b'\""),
    (int | str, str | bytes, "value was int or str and is"),
    (object, int, "value was any and is int now"),
    (Order, object, "value was Order and is any now"),
    (int, object, "value was int and is any now"),
    (list[int], list[object], r"value\[item\] was int and is any now"),
    (Tree, record("T", [("value", str)]), "value.value was int and is str now"),
    (Profile, Whole, "value.age was not required, and is now: values may lack it"),
    (list[Loose], list[Profile], r"value\[item\].name was not required, and is now"),
    (Profile, record("P", [("name", str), ("age", int)]), "value.age was not required"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), REFUSED, ids=lambda v: str(v)[:30])
def test_change_that_old_bytes_do_not_survive_is_said(old: object, new: object, said: str) -> None:
    """The sentence names the place; what is stored and declared, and the remedy, come with it."""
    with pytest.raises(DifferenceError, match=said):
        upgrade(stored(old).schema, schema_of(new), {})
    with pytest.raises(
        DifferenceError, match=rf"(?s){said}.*stored was.*\(version 1\), declared is.*version=2 and migrate=\{{1"
    ):
        reader_of(stored(old), codec_for(new), Evolution())


def test_a_typed_dict_is_known_as_one_also_from_older_versions() -> None:
    """They did not note it, and its fingerprint stays what it was: then the declared type tells."""
    was = stored(Profile)
    assert (was.fingerprint, schema_of(Whole).fingerprint) == ("a0cc6043c97aa364", "528122709150b35b")
    unmarked = {key: part for key, part in was.shape.items() if key != "typed dict"}  # type: ignore[attr-defined]
    assert unmarked != was.shape
    with pytest.raises(DifferenceError, match=r"value\.age was not required, and is now"):
        upgrade(Schema(was.fingerprint, unmarked), schema_of(Whole), {})


def test_refusal_shows_the_fields_and_the_name_that_may_have_been_meant() -> None:
    """The remedy can be typed as it stands."""
    with pytest.raises(
        DifferenceError,
        match=r"value\.price was added without a default; stored was Order\(id: str, amount: float, count: int = \.\.\."
        r"\) \(version 1\), declared is Priced\(id: str, price: float, count: int = \.\.\.\) \(version 1\): give "
        r"'price' a default, or say rename=\{'amount': 'price'\} if that is what it was called, or say version=2",
    ):
        reader_of(stored(Order), codec_for(Priced), Evolution())


def test_int_that_no_float_holds_is_an_error_when_it_is_read() -> None:
    """Rounding it would lose what was counted, without a word."""
    read = reader_of(stored(int), codec_for(float), AS_DECLARED)
    assert same(read(codec_for(int).encode(2**53)), float(2**53))
    for value in (2**53 + 1, 2**70 + 1):
        with pytest.raises(CodecError, match=r"no float holds 9007199254740993|no float holds 11805916"):
            read(codec_for(int).encode(value))


def test_name_that_both_types_have_is_not_renamed() -> None:
    """A renaming stays in the class for ever: it must not touch what was written after it."""
    assert upgrade(stored(Priced).schema, schema_of(Priced), {"amount": "price"}) is None
    both = record("Both", [("id", str), ("price", float), ("amount", float)])
    read = reader_of(stored(both), codec_for(Priced), Evolution(rename={"amount": "price"}))
    assert read(codec_for(both).encode(both("a", 1.0, 2.0))) == Priced("a", 1.0)


def test_renaming_in_a_circle_ends() -> None:
    """It names nothing, and is no endless loop."""
    with pytest.raises(DifferenceError, match=r"value\.price was added without a default"):
        upgrade(stored(Order).schema, schema_of(Priced), {"amount": "cost", "cost": "amount"})


def test_bytes_older_than_their_schema_are_read_through_a_step() -> None:
    """Stores of versions that kept no history hold values of any schema that was read as it is."""
    read = reader_of(stored(V2), codec_for(Swapped), AS_DECLARED)
    assert read(codec_for(V1).encode(V1(1, "x"))) == Swapped("x", 1)
    with pytest.raises(CodecError, match="may be missing at its end only"):
        read(b"\x91\x01")
    with pytest.raises(CodecError, match="not what their schema says"):
        read(b"\xc1")
