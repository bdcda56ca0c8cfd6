"""Typed codecs: compact, exact, and strict when writing, because a misfit would be found after a crash only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorstream.codec.self_describing import SELF_DESCRIBING
from actorstream.codec.typed import codec_for
from actorstream.errors import CodecError
from tests.codec import strategies
from tests.codec.domain import (
    Box,
    Cart,
    Color,
    Crate,
    Crates,
    Everything,
    Level,
    Numbered,
    Order,
    OtherOrder,
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
from tests.codec.strategies import examples, same

NAIVE = datetime(2024, 1, 1)  # noqa: DTZ001  (what must be refused)
NOW = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)
UserId = NewType("UserId", int)
N = TypeVar("N", bound=int)


class Log(TypedDict):
    what: Order | Refund


def everything() -> Everything:
    return Everything(
        1, 2.5, "s", b"b", True, NOW, timedelta(microseconds=-5), Decimal("1.10"), UUID(int=7), Color.RED, Level.HIGH,
        Shape.LINE, (1, "x"), (1, 2, 3), {"a": Order("a", 1.0)}, {(1, 2): "x"}, frozenset({(1, "x")}), None,
        Refund("r", NOW), [1, (2, {3})],
    )  # fmt: skip


GOLDEN: list[tuple[object, object, str]] = [
    (int, 5, "05"),
    (int, 2**64, "c70905010000000000000000"),
    (float, 1.5, "cb3ff8000000000000"),
    (str, "é", "a2c3a9"),
    (bytes, b"\0", "c40100"),
    (bool, True, "c3"),
    (type(None), None, "c0"),
    (datetime, NOW, "d6ff663235c8"),
    (date, date(2024, 5, 1), "aa323032342d30352d3031"),
    (time, time(1, 2, 3), "a830313a30323a3033"),
    (timedelta, timedelta(days=1, seconds=2), "a65031445432 53".replace(" ", "")),
    (Decimal, Decimal("1.10"), "a4312e3130"),
    (Color, Color.RED, "a172"),
    (Level, Level.HIGH, "02"),
    (Shape, Shape.LINE, "a44c494e45"),
    (Right, Right.READ | Right.WRITE, "03"),
    (Order, Order("a", 1.0), "83a26964a161a6616d6f756e74cb3ff0000000000000a5636f756e7401"),
    (Point, Point(1, 2), "920102"),
    (Profile, {"name": "a"}, "81a46e616d65a161"),
    (Reading, Reading("a"), "82a673656e736f72a161a576616c7565cb0000000000000000"),
    (Packed, Packed(1), "82a16101a16290"),
    (Order | Refund, Order("a", 1.0), "92a54f7264657283a26964a161a6616d6f756e74cb3ff0000000000000a5636f756e7401"),
    ((Point, Color), Point(1, 2), "92a5506f696e74920102"),
    (str | bytes, b"\0", "92a56279746573c40100"),
    (int | str | None, "a", "a161"),
    (Order | None, None, "c0"),
    (list[int], [1, 2], "920102"),
    (tuple[int, str], (1, "a"), "9201a161"),
    (tuple[int, ...], (1, 2), "920102"),
    (set[int], {2, 1}, "920102"),
    (dict[str, int], {"a": 1}, "81a16101"),
    (dict[int, int], {1: 1}, "810101"),
    (dict[tuple[int, int], int], {(1, 2): 3}, "919292010203"),
    (list[object], [(1,)], "91c404d5019101"),
    (Literal["a", 1], "a", "a161"),
    (Literal[True, "a"], True, "c401c3"),
    (object, (1,), "d5019101"),
    (Any, (1,), "d5019101"),
    (Sequence[int], (1,), "d5019101"),
    (Mapping[str, int], {"a": 1}, "81a16101"),
    (UserId, UserId(5), "05"),
    (Annotated[int, "units"], 5, "05"),
    (Annotated[int, msgspec.Meta(gt=3)], 1, "01"),
    (Annotated[list[int], msgspec.Meta(min_length=1)], [2, 1], "920201"),
    (dict[Annotated[str, msgspec.Meta(min_length=1)], int], {"a": 1}, "81a16101"),
    (dict[Literal["a"], int], {"a": 1}, "9192a16101"),
    (tuple[()], (), "90"),
    (Box[int], Box(5), "81a7636f6e74656e7405"),
    (list, [(1,)], "91d5019101"),
    (None, None, "c0"),
]


@pytest.mark.parametrize(("annotation", "value", "expected"), GOLDEN, ids=lambda v: str(v)[:40])
def test_bytes_of_a_typed_value_never_change(annotation: object, value: object, expected: str) -> None:
    """Stores outlive releases: what was written once must be read for ever."""
    codec = codec_for(annotation)
    assert codec.encode(value).hex() == expected
    assert same(codec.decode(bytes.fromhex(expected)), value)


def test_every_kind_of_field_comes_back() -> None:
    """One dataclass with all of them, resolved from postponed annotations."""
    codec = codec_for(Everything)
    assert codec.decode(codec.encode(everything())) == everything()
    listed = codec_for(dict[str, list[Everything]])
    assert listed.decode(listed.encode({"a": [everything()]})) == {"a": [everything()]}


def test_class_that_holds_itself_comes_back() -> None:
    """Also where a union below it needs our help all the way down."""
    codec = codec_for(Tree)
    tree = Tree(1, [Tree(2, [Tree(3)], Order("a", 1.0))], Refund("r", NOW))
    assert codec.decode(codec.encode(tree)) == tree


def test_generic_class_is_typed_by_what_its_variables_stand_for() -> None:
    """The same `Box[T]` is three different types below."""
    codec = codec_for(Crates)
    crates = Crates(Crate(Box(date(2024, 5, 1))), Crate(Box([(1, "a")])), Crate(Box({2, 1})))
    assert codec.decode(codec.encode(crates)) == crates
    with pytest.raises(CodecError, match=r"value\.dates\.box\.content"):
        codec.encode(Crates(Crate(Box([])), crates.lists, crates.sets))  # type: ignore[arg-type]
    alone = codec_for(Crate[date])
    assert alone.decode(alone.encode(crates.dates)) == crates.dates


CASES: list[tuple[object, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (float, strategies.floats),
    (tuple[int, str, float], st.tuples(strategies.int64s, st.text(), strategies.floats)),
    (Order, strategies.orders),
    (Order | Refund, strategies.orders | strategies.refunds),
    (Cart, st.builds(Cart, st.lists(strategies.orders, max_size=3), st.sets(st.text(), max_size=3))),
    (dict[datetime, list[Decimal]], st.dictionaries(strategies.instants, st.lists(st.decimals(allow_nan=False)))),
    (frozenset[tuple[date, UUID]], st.frozensets(st.tuples(st.dates(), st.uuids()), max_size=3)),
    (dict[Order, timedelta | None], st.dictionaries(strategies.orders, st.none() | st.timedeltas(), max_size=3)),
    (list[time | str | bytes], st.lists(st.times() | st.text() | st.binary(), max_size=4)),
    (dict[str, object], st.dictionaries(st.text(), strategies.values, max_size=2)),
]


@pytest.mark.parametrize(("annotation", "values"), CASES, ids=lambda v: str(v)[:40])
def test_any_value_of_the_type_comes_back(annotation: object, values: st.SearchStrategy[Any]) -> None:
    """Equal in value and class, whatever it is."""
    codec = codec_for(annotation)

    @examples(25)
    @given(values, st.data())
    def holds(value: object, data: st.DataObject) -> None:
        encoded = codec.encode(value)
        assert same(codec.decode(encoded), value)
        hostile = bytearray(encoded)
        hostile[data.draw(st.integers(0, len(hostile) - 1))] ^= data.draw(st.integers(1, 255))
        with suppress(CodecError):
            codec.decode(bytes(hostile))
        with pytest.raises(CodecError):
            codec.decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])

    holds()


def test_int_passes_for_a_float() -> None:
    """As it does for a type checker; it comes back as a float."""
    codec = codec_for(Order)
    found = codec.decode(codec.encode(Order("a", 3)))
    assert same(found.amount, 3.0)


def test_aware_datetime_keeps_its_instant() -> None:
    """The zone is presentation; time is the instant."""
    codec = codec_for(Refund)
    there = NOW.astimezone(timezone(timedelta(hours=-7)))
    assert codec.decode(codec.encode(Refund("a", there))).at == NOW


def test_post_init_does_not_run_again() -> None:
    """It ran when the value was made; `made` would be drawn anew."""
    codec = codec_for(Numbered)
    assert codec.decode(codec.encode(Numbered("a", seed=7))).made == 7


MISFITS: list[tuple[object, object, str]] = [
    (int, "1", r"value is '1' \(a str\), expected int"),
    (int, True, "a bool"),
    (float, "1", "expected float"),
    (str, b"x", "expected str"),
    (str, Page.HOME, "a Page"),
    (str, "\ud800", "Unicode"),
    (list[str], ["a", "\ud800"], r"value\[1\] is text that is not valid Unicode"),
    (list[int], [1, 2**64], r"value\[1\] is an int of 65 bits.*object"),
    (list[int], (1,), "expected a list of int"),
    (list[int], [1, None], r"value\[1\] is None"),
    (tuple[int, str], (1, 2), r"value\[1\] is 2"),
    (tuple[int, str], (1, "a", 2), "expected a tuple"),
    (dict[str, int], {"a": "b"}, r"value\['a'\] is 'b'"),
    (dict[str, int], {1: 1}, "value key 1 is 1"),
    (datetime, NAIVE, "naive"),
    (list[datetime], [NOW, NAIVE], r"value\[1\] is .*naive"),
    (dict[str, datetime], {"a": NAIVE}, r"value\['a'\] is .*naive"),
    (dict[datetime, int], {NAIVE: 1}, r"value key .*naive"),
    (Refund, Refund("a", NAIVE), r"value\.at is .*naive"),
    (Order | Refund, Refund("a", NAIVE), r"value\.at is .*naive"),
    (Spot | None, Spot("a", NAIVE), r"value\.when is .*naive"),
    (list[object], [1, [NAIVE]], r"value\[1\]: value\[0\]: .*naive"),
    (Tree, Tree(1, [Tree(2, [], Refund("a", NAIVE))]), r"value\.children\[0\]\.note\.at is .*naive"),
    (datetime, datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), "expected an aware datetime"),
    (time, time(1, tzinfo=UTC), "time without a zone"),
    (Order, Order("a", 1.0, "x"), r"value\.count is 'x'"),  # type: ignore[arg-type]
    (Order, Refund("a", NOW), "expected Order"),
    (Order, OtherOrder.Order(1), "expected Order"),
    (Order | Refund, Cart(), "expected Order or Refund"),
    (Profile, {"age": 1}, "no 'name'"),
    (Profile, {"name": "a", "size": 1}, "'size'"),
    (Literal["a", 1], True, "one of 'a', 1"),
    (Literal["a"], [], "one of 'a'"),
    (Color, "r", "expected Color"),
]


@pytest.mark.parametrize(("annotation", "value", "said"), MISFITS, ids=lambda v: str(v)[:40])
def test_misfit_is_refused_when_writing_with_its_place(annotation: object, value: object, said: str) -> None:
    """Left to itself msgspec would write it, and the restore after a crash could not read it."""
    with pytest.raises(CodecError, match=said):
        codec_for(annotation).encode(value)


def test_subclass_is_refused_for_its_base() -> None:
    """It would be written whole and read back as the base, shed of its own fields."""

    class Special(Order):
        pass

    with pytest.raises(CodecError, match="Special"):
        codec_for(Order).encode(Special("a", 1.0))


def test_two_classes_of_one_name_make_no_union() -> None:
    """The class name is the tag; a second one of it could not be told apart."""
    with pytest.raises(CodecError, match=r"two classes named 'Order'.*rename"):
        codec_for(Order | OtherOrder.Order)
    with pytest.raises(CodecError, match="two classes named 'list'"):
        codec_for((list[int], list[str]))


UNTYPABLE: list[tuple[object, str]] = [
    (Callable[[], int], "Callable"),
    (list[complex], r"item\]: .*complex"),
    (dict[str, bytearray], r"value\]: .*bytearray"),
    ("Order", "resolve it"),
    (int | list[Any] | object | Any, "told apart"),
    (Order | Sequence[int], "told apart"),
    ([int], "say a class"),
    ((), "holds classes"),
    (BaseException, "make it a dataclass"),
]


@pytest.mark.parametrize(("annotation", "said"), UNTYPABLE, ids=lambda v: str(v)[:40])
def test_annotation_that_cannot_be_typed_is_refused_with_its_place(annotation: object, said: str) -> None:
    """At the plan, before any record is read."""
    with pytest.raises(CodecError, match=said):
        codec_for(annotation)


def test_annotation_that_cannot_be_resolved_says_what_to_import() -> None:
    """Imports under TYPE_CHECKING are the usual cause."""

    class Hidden(TypedDict):
        at: Unknown  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(CodecError, match=r"Unknown.*TYPE_CHECKING"):
        codec_for(list[Hidden])


def test_fields_added_with_a_default_removed_and_reordered_are_read() -> None:
    """What `difference` calls readable must be read: by msgspec, and by our own lifting."""
    old = msgspec.msgpack.encode({"count": 2, "gone": [1], "amount": 1.0, "id": "a"})
    assert codec_for(Order).decode(old) == Order("a", 1.0, 2)
    assert codec_for(Order).decode(msgspec.msgpack.encode({"id": "a", "amount": 1})) == Order("a", 1.0)
    assert codec_for(Tree).decode(msgspec.msgpack.encode({"gone": 1, "value": 2})) == Tree(2)
    assert codec_for(Point).decode(b"\x91\x01") == Point(1, 0)
    assert codec_for(Log).decode(b"\x82\xa1x\x01\xa4what\x92\xa5Order\x82\xa2id\xa1a\xa6amount\x01") == {
        "what": Order("a", 1.0)
    }
    with pytest.raises(CodecError, match="amount"):
        codec_for(Order).decode(msgspec.msgpack.encode({"id": "a"}))
    with pytest.raises(CodecError, match=r"value.*default"):
        codec_for(Tree).decode(b"\x80")


NESTED = codec_for(Tree)


@examples(150)
@given(st.binary(max_size=60), st.sampled_from([int, Order, Tree, Everything, Order | Refund, dict[Order, int]]))
def test_hostile_bytes_are_refused_or_are_a_value(data: bytes, annotation: object) -> None:
    """Whatever a disk or a peer gives, nothing but CodecError comes out."""
    with suppress(CodecError):
        codec_for(annotation).decode(data)


@pytest.mark.parametrize("annotation", [int, list[list[int]], Tree, Order | Tree, dict[str, Order], set[int], object])
@pytest.mark.parametrize("data", [b"\x91" * 100_000, b"\x81\xa1a" * 100_000, b"\xdd\xff\xff\xff\xff\x01", b"", b"\xc1"])
def test_bombs_are_refused(annotation: object, data: bytes) -> None:
    """Nesting and claimed lengths cost nothing."""
    with pytest.raises(CodecError):
        codec_for(annotation).decode(data)


def test_value_that_holds_itself_is_refused() -> None:
    """A RecursionError would pass for a bug of the runtime; also what nests too deeply."""
    tree = Tree(1)
    tree.children.append(tree)
    with pytest.raises(CodecError, match="nested"):
        NESTED.encode(tree)


def test_deepest_value_that_can_be_encoded_can_be_decoded() -> None:
    """Else a checkpoint would be written that cannot be restored."""
    tree, data = Tree(1), b""
    with suppress(CodecError):
        while True:
            tree = Tree(1, [tree])
            data = NESTED.encode(tree)
    NESTED.decode(data)


def test_object_and_abstract_annotations_get_the_self_describing_codec() -> None:
    """Their values may be of any class, and must come back with it."""
    assert codec_for(object) is SELF_DESCRIBING
    assert codec_for(Sequence[int]) is SELF_DESCRIBING
