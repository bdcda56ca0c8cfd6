"""Plain values: whatever a typed codec wrote is read by its schema alone, and written back byte for byte."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorstream.codec.contract import Schema
from actorstream.codec.plain import plain_codec
from actorstream.codec.schema import schema_of
from actorstream.codec.typed import codec_for
from actorstream.codec.unloaded import PlainMember, PlainRecord
from actorstream.errors import CodecError
from tests.codec import strategies
from tests.codec.domain import (
    Box,
    Cart,
    Color,
    Everything,
    Level,
    Order,
    Packed,
    Page,
    Point,
    Profile,
    Reading,
    Refund,
    Right,
    Shape,
    Spot,
    Tree,
)
from tests.codec.strategies import examples
from tests.codec.test_typed import GOLDEN, NOW, everything


def kept(annotation: object) -> Schema:
    """Give the schema of an annotation as it comes out of a manifest, which is JSON."""
    schema = schema_of(annotation)
    return Schema(schema.fingerprint, json.loads(json.dumps(schema.shape)))


trees: st.SearchStrategy[Any] = st.recursive(
    st.builds(Tree, strategies.int64s, st.just([]), st.none() | strategies.orders | strategies.refunds),
    lambda inner: st.builds(Tree, strategies.int64s, st.lists(inner, max_size=2)),
    max_leaves=4,
)
points = st.builds(Point, strategies.int64s, strategies.int64s)
scalars: list[tuple[object, st.SearchStrategy[Any]]] = [
    (type(None), st.none()), (bool, st.booleans()), (int, st.integers()), (float, strategies.floats), (str, st.text()),
    (bytes, st.binary()), (date, st.dates()), (time, st.times()), (timedelta, st.timedeltas()),
    (Decimal, st.decimals(allow_nan=False)), (UUID, st.uuids()), (datetime, strategies.instants),
    (Color, st.sampled_from(Color)), (Level, st.sampled_from(Level)), (Page, st.sampled_from(Page)),
    (Shape, st.sampled_from(Shape)), (Right, st.sampled_from([*Right, Right.READ | Right.WRITE])),
    (Literal["a", 1] | None, st.sampled_from(["a", 1, None])), (Literal[True, b"x"], st.sampled_from([True, b"x"])),
    (Literal[Color.RED, 2], st.sampled_from([Color.RED, 2])),
    (int | str | None, st.none() | st.text() | strategies.int64s),
    (float | bool, strategies.floats | st.booleans()), (object, strategies.values),
]  # fmt: skip
composites: list[tuple[object, st.SearchStrategy[Any]]] = [
    (list[Order], st.lists(strategies.orders, max_size=3)),
    (tuple[Decimal, ...], st.lists(st.decimals(allow_nan=False), max_size=3).map(tuple)),
    (tuple[int, Point, object], st.tuples(strategies.int64s, points, strategies.values)),
    (set[Order | Refund], st.sets(strategies.orders | strategies.refunds, max_size=3)),
    (frozenset[tuple[date, Point]], st.frozensets(st.tuples(st.dates(), points), max_size=3)),
    (dict[str, object], st.dictionaries(st.text(), strategies.values, max_size=3)),
    (dict[date, int], st.dictionaries(st.dates(), strategies.int64s, max_size=3)),
    (dict[datetime, Shape], st.dictionaries(strategies.instants, st.sampled_from(Shape), max_size=3)),
    (dict[Color | None, int], st.dictionaries(st.none() | st.sampled_from(Color), strategies.int64s, max_size=3)),
    (dict[Color, Level], st.dictionaries(st.sampled_from(Color), st.sampled_from(Level), max_size=2)),
    (dict[Order, timedelta | None], st.dictionaries(strategies.orders, st.none() | st.timedeltas(), max_size=3)),
    (str | bytes | Level, st.text() | st.binary() | st.sampled_from(Level)),
    (Order | Refund | None, st.none() | strategies.orders | strategies.refunds),
    (Point, points),
    (Spot, st.builds(Spot, st.text(), strategies.instants)),
    (Reading, st.builds(Reading, st.text(), strategies.floats)),
    (Packed, st.builds(Packed, strategies.int64s, st.lists(strategies.int64s, max_size=2))),
    (Profile, st.builds(dict, name=st.text()) | st.builds(dict, age=strategies.int64s, name=st.text())),
    (Cart, st.builds(Cart, st.lists(strategies.orders, max_size=3), st.sets(st.text(), max_size=3))),
    (Tree, trees),
    (Box[Box[int]], st.builds(Box, st.builds(Box, strategies.int64s))),
]


@pytest.mark.parametrize(("annotation", "values"), scalars + composites, ids=lambda v: str(v)[:40])
def test_what_a_typed_codec_wrote_is_read_plainly_and_written_back_byte_for_byte(
    annotation: object, values: st.SearchStrategy[Any]
) -> None:
    """Every kind of shape: the offline tools rewrite state of which they have no classes."""
    typed, plain = codec_for(annotation), plain_codec(kept(annotation))

    @examples(25)
    @given(values)
    def holds(value: object) -> None:
        data = typed.encode(value)
        assert plain.encode(plain.decode(data)) == data

    holds()


@pytest.mark.parametrize(("annotation", "value", "data"), GOLDEN, ids=[f"{case[0]}-{case[1]}"[:60] for case in GOLDEN])
def test_golden_bytes_are_read_plainly_and_written_back(annotation: object, value: object, data: str) -> None:
    """What was written once is read for ever, by this reader too."""
    assert codec_for(annotation).encode(value) == bytes.fromhex(data)
    plain = plain_codec(kept(annotation))
    assert plain.encode(plain.decode(bytes.fromhex(data))).hex() == data


def test_every_kind_of_field_is_what_the_docstring_says() -> None:
    """What a `migrate` function is given, and what an export shows."""
    value = everything()
    plain = plain_codec(kept(Everything)).decode(codec_for(Everything).encode(value))
    assert plain == {
        "n": 1, "x": 2.5, "s": "s", "b": b"b", "ok": True, "at": NOW, "after": timedelta(microseconds=-5),
        "price": Decimal("1.10"), "id": UUID(int=7), "color": "r", "level": 2, "shape": "LINE", "pair": (1, "x"),
        "many": (1, 2, 3), "by_name": {"a": {"id": "a", "amount": 1.0, "count": 1}}, "by_pair": {(1, 2): "x"},
        "seen": frozenset({(1, "x")}), "either": None, "event": {"Refund": {"id": "r", "at": NOW, "reason": None}},
        "rest": [1, (2, {3})],
    }  # fmt: skip
    assert type(plain["price"]) is Decimal
    assert type(plain["seen"]) is frozenset


def test_value_without_a_type_says_the_classes_it_had() -> None:
    """They are in the bytes, and needed to write them back."""
    codec = plain_codec(kept(object))
    plain = codec.decode(
        codec_for(object).encode([Order("a", 1.0), Color.RED, {Point(1, 2): Right.READ | Right.WRITE}])
    )
    assert plain == [
        {"id": "a", "amount": 1.0, "count": 1},
        PlainMember("tests.codec.domain:Color", "RED"),
        {PlainRecord({"x": 1, "y": 2}): PlainMember("tests.codec.domain:Right", 3)},
    ]
    assert plain[0].cls == "tests.codec.domain:Order"


def test_no_class_of_the_user_is_loaded() -> None:
    """In a process that never imported them: a typed value, one without a type, and one with both."""
    cases = [
        (schema.shape, codec_for(annotation).encode(value).hex())
        for annotation, value in (
            (Everything, everything()),
            (Literal[Color.RED], Color.RED),
            (object, {"a": (Order("a", 1.0), Shape.LINE)}),
        )
        for schema in [kept(annotation)]
    ]
    program = (
        "import json, sys\n"
        "from actorstream.codec.contract import Schema\n"
        "from actorstream.codec.plain import plain_codec\n"
        "for shape, data in json.load(sys.stdin):\n"
        "    codec = plain_codec(Schema('x', shape))\n"
        "    assert codec.encode(codec.decode(bytes.fromhex(data))).hex() == data\n"
        "assert not [name for name in sys.modules if name.startswith('tests')]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(cases), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_generic_class_inside_itself_is_not_taken_for_itself() -> None:
    """`Box[Box[int]]` said that the inner box holds boxes again: two different types had one fingerprint."""
    assert schema_of(Box[Box[int]]) != schema_of(Box[Box[str]])
    codec = plain_codec(kept(Box[Box[int]]))
    assert codec.decode(codec_for(Box[Box[int]]).encode(Box(Box(1)))) == {"content": {"content": 1}}


def test_record_may_lack_what_was_added_later_and_have_what_was_removed() -> None:
    """Bytes of an older class under a newer schema that reads them as they are."""
    old = codec_for(dict[str, int]).encode({"y": 1, "gone": 2})
    assert plain_codec(kept(Profile)).decode(codec_for(dict[str, str]).encode({"name": "a", "x": "y"})) == {"name": "a"}
    assert plain_codec(kept(Point)).decode(b"\x91\x01") == {"x": 1}
    assert plain_codec(kept(Point)).encode({"x": 1}) == b"\x91\x01"
    with pytest.raises(CodecError, match="expected a list"):
        plain_codec(kept(Point)).decode(old)


MISFITS: list[tuple[object, object, str]] = [
    (int, "1", r"value is '1' \(a str\), expected int"),
    (int, True, "a bool"),
    (list[int], [1, "a"], r"value\[1\] is 'a'"),
    (list[int], {1}, "expected a list"),
    (tuple[int, str], (1,), "has 1 parts, expected 2"),
    (dict[str, int], {"a": "b"}, r"value\['a'\] is 'b'"),
    (dict[str, int], {1: 1}, "value key 1 is 1"),
    (Order, {"id": "a"}, "has no 'amount', which a Order needs"),
    (Order, {"id": "a", "amount": 1.0, "size": 1}, "has 'size', which a Order has not"),
    (Order, {"id": "a", "amount": "1"}, r"value\.amount is '1'"),
    (Point, {"y": 1}, "has no 'x'"),
    (Order | Refund, {"id": "a", "amount": 1.0}, "a dict of one class name"),
    (Order | Refund, {"Cart": {}}, "expected Order or Refund"),
    (Order | Refund, {"Order": {"id": 1, "amount": 1.0}}, r"value as Order\.id is 1"),
    (Color, "x", "what a Color may be"),
    (Level, True, "what a Level may be"),
    (Level, 1.0, r"is 1\.0 \(a float\), expected what a Level may be"),
    (Shape, "CIRCLE", r"value is 'CIRCLE' \(a str\), expected what a Shape may be: \['LINE', 'POINT'\]"),
    (Shape, None, "what a Shape may be"),
    (Right, "ADMIN", "what a Right may be"),
    (Right, True, "what a Right may be"),
    (list[Shape | None], ["LINE", None, "CIRCLE"], r"value\[2\] is 'CIRCLE'"),
    (Literal["a", 1], "b", "is 'b' .*expected 'a' or 1"),
    (Literal["a", 1], True, "expected 'a' or 1"),
    (Literal["a", 1], None, "expected 'a' or 1"),
    (Literal["a", 1] | None, 2, "is 2 "),
    (datetime, datetime(2024, 1, 1), "naive"),  # noqa: DTZ001  (what must be refused)
    (time, time(1, tzinfo=UTC), "without a zone"),
    (date, "2024-01-01", "expected date"),
    (list[int], [2**70], "cannot be encoded"),
    (object, [complex(1)], "cannot be kept"),
    (Literal["a"], 1.5, "expected 'a'"),
    (Tree, {"value": 1, "children": [{"value": "x"}]}, r"value\.children\[0\]\.value is 'x'"),
]


@pytest.mark.parametrize(("annotation", "value", "said"), MISFITS, ids=lambda v: str(v)[:40])
def test_plain_value_that_does_not_fit_is_refused_with_its_place(annotation: object, value: object, said: str) -> None:
    """What a `migrate` function returned, or an import gave: found when it is written."""
    with pytest.raises(CodecError, match=said):
        plain_codec(kept(annotation)).encode(value)


def test_members_and_choices_are_written_as_their_types_write_them() -> None:
    """A combination of flags is a number, whatever number it is."""
    for annotation, value, plain in (
        (Shape, Shape.LINE, "LINE"),
        (Right, Right.READ, "READ"),
        (Right, Right.READ | Right.WRITE, 3),
        (Level, Level.HIGH, 2),
        (Literal["a", 1], 1, 1),
        (Literal["a"] | None, None, None),
    ):
        assert plain_codec(kept(annotation)).encode(plain) == codec_for(annotation).encode(value)


def test_value_that_holds_itself_is_refused() -> None:
    """A RecursionError would pass for a bug of the runtime."""
    tree: dict[str, Any] = {"value": 1}
    tree["children"] = [tree]
    with pytest.raises(CodecError):
        plain_codec(kept(Tree)).encode(tree)
    holder: list[object] = []
    holder.append(holder)
    with pytest.raises(CodecError, match="nested"):
        plain_codec(kept(object)).encode(holder)


@examples(150)
@given(
    st.binary(max_size=60),
    st.sampled_from([int, object, Order, Tree, Point, Everything, Order | Refund, dict[Order, int], Literal[b"x"]]),
)
def test_hostile_bytes_are_refused_or_are_a_value(data: bytes, annotation: object) -> None:
    """Whatever a disk gives, nothing but CodecError comes out."""
    codec = plain_codec(kept(annotation))
    try:
        value = codec.decode(data)
    except CodecError:
        return
    codec.decode(codec.encode(value))


@pytest.mark.parametrize("annotation", [int, list[list[int]], Tree, dict[str, Order], set[int], object])
@pytest.mark.parametrize("data", [b"\x91" * 100_000, b"\x81\xa1a" * 100_000, b"\xdd\xff\xff\xff\xff\x01", b"", b"\xc1"])
def test_bombs_are_refused(annotation: object, data: bytes) -> None:
    """Nesting and claimed lengths cost nothing."""
    with pytest.raises(CodecError):
        plain_codec(kept(annotation)).decode(data)


@pytest.mark.parametrize("shape", ["complex", {"rope": "int"}, {"list": {"again": "Tree"}}, [], {}, {"record": "A"}, 1])
def test_schema_of_a_newer_version_is_refused(shape: object) -> None:
    """Never guessed at."""
    with pytest.raises(CodecError, match="not of this version"):
        plain_codec(Schema("x", shape))
