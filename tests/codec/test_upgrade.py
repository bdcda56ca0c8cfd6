"""Upgrades: which changes of a type old bytes survive, and that they are then read as what they were."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, make_dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict, Union, get_args, get_origin
from uuid import UUID

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from actorstream.codec.evolution import AS_DECLARED, Evolution, KnownSchema, reader_of
from actorstream.codec.schema import Schema, schema_of
from actorstream.codec.typed import codec_for
from actorstream.codec.upgrade import upgrade
from actorstream.codec.widening import DifferenceError
from actorstream.errors import CodecError
from tests.codec import strategies
from tests.codec.domain import (
    Box,
    Color,
    Everything,
    Level,
    Order,
    Packed,
    Point,
    Profile,
    Reading,
    Refund,
    Shape,
    Tree,
)
from tests.codec.strategies import examples, same
from tests.codec.test_typed import NOW, everything


def record(name: str, fields: list[Any]) -> Any:
    """Make a dataclass whose class name does not matter."""
    return make_dataclass(name, fields)


def stored(annotation: object, version: int = 1) -> KnownSchema:
    """Give the schema of an annotation as it comes out of a manifest, which is JSON."""
    schema = schema_of(annotation)
    return KnownSchema(0, version, schema.fingerprint, json.loads(json.dumps(schema.shape)))


class V1(NamedTuple):
    a: int
    b: str


class V2(NamedTuple):
    a: int
    b: str
    c: float = 0.0


class Swapped(NamedTuple):
    b: str
    a: int


class Between(NamedTuple):
    a: int
    x: int = 0
    b: str = ""


class MoreColors(Enum):
    RED = "r"
    BLUE = "b"
    GREEN = "g"


class MoreShapes(Enum):
    LINE = (0, 1)
    POINT = (0, 0)
    CURVE = (1, 1)


class Loose(TypedDict, total=False):
    name: str
    size: int


class Aged(TypedDict):
    title: str
    age: NotRequired[int]


class Whole(TypedDict):
    name: str
    age: int


@dataclass
class OrderV2:
    """`Order` with a field added, one removed, the rest in another order."""

    amount: float
    id: str
    currency: str = "EUR"


@dataclass
class Priced:
    """`Order` with `amount` under another name."""

    id: str
    price: float
    count: int = 1


@dataclass
class Branch:
    """`Tree` with a wider value, a renamed field, and another name."""

    value: float
    below: list[Branch] = field(default_factory=list)
    note: Order | Refund | Point | None = None


@dataclass
class Branches:
    """`Tree` under another name, with nothing else changed."""

    value: int
    children: list[Branches] = field(default_factory=list)
    note: Order | Refund | None = None


@dataclass
class Refunded:
    """`Refund` under another name, with a field more."""

    id: str
    at: datetime
    reason: str | None = None
    by: str = "nobody"


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


PROPERTIES: list[tuple[object, object, dict[str, str], st.SearchStrategy[Any]]] = [
    (dict[str, tuple[int, Order]], dict[str, tuple[float, Priced]], {"amount": "price"},
     st.dictionaries(st.text(), st.tuples(st.integers(-(2**53), 2**53), strategies.orders), max_size=3)),
    (list[Order | Refund | None], tuple[Order | Refunded | None, ...], {"Refund": "Refunded"},
     st.lists(st.none() | strategies.orders | strategies.refunds, max_size=3)),
    (Reading, Packed | Reading, {}, st.builds(Reading, st.text(), strategies.floats)),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "rename", "values"), PROPERTIES, ids=lambda v: str(v)[:30])
def test_reading_through_steps_gives_what_building_anew_gives(
    old: object, new: object, rename: dict[str, str], values: st.SearchStrategy[Any]
) -> None:
    """Any value: the fields that have a name in both types hold the same."""
    writer, read = codec_for(old), reader_of(stored(old), codec_for(new), Evolution(rename=rename))

    @examples(40)
    @given(values)
    def holds(value: object) -> None:
        assert flat(read(writer.encode(value)), rename) == flat(value, rename)

    def flat(value: Any, rename: dict[str, str]) -> object:
        if isinstance(value, dict):
            return {key: flat(item, rename) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [flat(item, rename) for item in value]
        if hasattr(value, "__dataclass_fields__"):
            return {rename.get(n, n): getattr(value, n) for n in value.__dataclass_fields__ if n != "by"}
        return value

    holds()


OF_LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    int: strategies.int64s, float: strategies.floats, bool: st.booleans(), str: st.text(), bytes: st.binary(),
    Decimal: st.decimals(allow_nan=False), datetime: strategies.instants, date: st.dates(), UUID: st.uuids(),
    **{kind: st.sampled_from(kind) for kind in (Color, Level, Shape, MoreColors, MoreShapes)},
    Literal["r"]: st.just("r"), Literal["r", "b"]: st.sampled_from(["r", "b"]),
    Literal["r", True]: st.sampled_from(["r", True]), object: strategies.values, type(None): st.none(),
    Order: strategies.orders, OrderV2: st.builds(OrderV2, strategies.floats, st.text(), st.text()),
    Priced: st.builds(Priced, st.text(), strategies.floats), Refund: strategies.refunds,
    Refunded: st.builds(Refunded, st.text(), strategies.instants),
    Point: st.builds(Point, strategies.int64s, strategies.int64s), V1: st.builds(V1, strategies.int64s, st.text()),
    V2: st.builds(V2, strategies.int64s, st.text(), strategies.floats),
    Swapped: st.builds(Swapped, st.text(), strategies.int64s),
    Reading: st.builds(Reading, st.text(), strategies.floats),
    Profile: st.builds(dict, name=st.text()) | st.builds(dict, name=st.text(), age=strategies.int64s),
    Loose: st.just({}) | st.builds(dict, size=strategies.int64s),
}  # fmt: skip
LEAVES = [leaf for leaf in OF_LEAVES if leaf is not type(None)]
RENAMES = {"amount": "price", "Refund": "Refunded", "a": "b"}


def of(origin: Any, *arguments: Any) -> Any:
    """Give `origin[arguments]`."""
    return origin[arguments if len(arguments) > 1 else arguments[0]]


def around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Give annotations with others inside."""
    keys = st.sampled_from([str, int, Color, datetime, Point, tuple[int, str]])
    hashable = st.sampled_from([int, str, Color, Point, Order])
    return st.one_of(
        st.builds(of, st.sampled_from([list, Box]), inner),
        st.builds(of, st.just(tuple), inner, st.just(...)),
        st.builds(of, st.sampled_from([tuple, Union]), inner, inner),
        st.builds(of, st.just(dict), keys, inner),
        st.builds(of, st.just(Union), inner, st.none()),
        st.builds(of, st.sampled_from([set, frozenset]), hashable),
    )


types: st.SearchStrategy[Any] = st.recursive(st.sampled_from(LEAVES), around, max_leaves=3)


def values_of(annotation: Any) -> st.SearchStrategy[Any]:
    """Give values of an annotation made by `types`."""
    if annotation in OF_LEAVES:
        return OF_LEAVES[annotation]
    origin, inner = get_origin(annotation), [values_of(each) for each in get_args(annotation) if each is not Ellipsis]
    if origin is dict:
        return st.dictionaries(*inner, max_size=2)
    if origin is Box:
        return st.builds(Box, *inner)
    if origin is tuple and Ellipsis not in get_args(annotation):
        return st.tuples(*inner)
    if origin is Union:
        return st.one_of(*inner)
    return st.lists(inner[0], max_size=2).map(origin)


def codec_or_none(annotation: Any) -> Any:
    """Give the codec; None where such values cannot be kept."""
    try:
        return codec_for(annotation)
    except CodecError:
        return None


def test_whatever_is_not_refused_is_read_t34() -> None:
    """Any two types: the verdict at the start holds for every value, and what is read is of the new type."""
    verdicts = {"read": 0, "refused": 0}

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        old = data.draw(types)
        new = data.draw(types | st.sampled_from(LEAVES) | around(st.just(old)) | st.just(old))
        writer, codec = codec_or_none(old), codec_or_none(new)
        assume(writer is not None and codec is not None)
        try:
            read = reader_of(stored(old), codec, Evolution(rename=RENAMES))
        except DifferenceError:
            verdicts["refused"] += 1
            return
        value = data.draw(values_of(old))
        try:
            found = read(writer.encode(value))
        except CodecError as error:
            assert "no float holds" in str(error)  # noqa: PT017  (most raise nothing)
            return
        codec.encode(found)
        verdicts["read"] += 1

    holds()
    assert min(verdicts.values()) > 20
