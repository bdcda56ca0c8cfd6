"""The self-describing codec: what goes in comes out, of the same class; nothing else is ever made of bytes."""

from __future__ import annotations

import sys
from collections import Counter, deque
from contextlib import suppress
from dataclasses import make_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorstream.codec.self_describing import NESTING_MAX, SELF_DESCRIBING
from actorstream.errors import CodecError
from tests.codec.domain import Box, Cart, Color, Lazy, Numbered, Order, OtherOrder, Point, Reading, Refund, Right, Shape
from tests.codec.strategies import examples, same, values

if TYPE_CHECKING:
    from collections.abc import Callable

encode, decode = SELF_DESCRIBING.encode, SELF_DESCRIBING.decode
NAIVE = datetime(2024, 1, 1)  # noqa: DTZ001  (what must be refused)
AWARE = datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))

GOLDEN: list[tuple[object, str]] = [
    (None, "c0"),
    (True, "c3"),
    (5, "05"),
    (-129, "d1ff7f"),
    (2**64 - 1, "cfffffffffffffffff"),
    (2**64, "c70905010000000000000000"),
    (-(2**63) - 1, "c70905ff7fffffffffffffff"),
    (1.0, "cb3ff0000000000000"),
    ("é", "a2c3a9"),
    (b"\0", "c40100"),
    ([1, "a"], "9201a161"),
    ((1, "a"), "d6019201a161"),
    ((), "d40190"),
    ({3, 1, 2}, "d60293010203"),
    (frozenset({(1,)}), "c7050391d5019101"),
    ({"a": 1}, "81a16101"),
    ({(1,): 2**64}, "c7110492d5019101c70905010000000000000000"),
    (date(2024, 5, 1), "d606000b46bf"),
    (time(1, 2, 3), "d70730313a30323a3033"),
    (timedelta(seconds=-1), "c70308f0bdc0"),
    (Decimal("1.10"), "d609312e3130"),
    (UUID(int=5), "d80a00000000000000000000000000000005"),
    (AWARE.astimezone(UTC), "d6ff65920080"),
    (Color.RED, "c71e0b92b874657374732e636f6465632e646f6d61696e3a436f6c6f72a3524544"),
    (
        Order("a", 1.5),
        "c7370c92b874657374732e636f6465632e646f6d61696e3a4f7264657283a26964a161a6616d6f756e74cb3ff8000000000000a5636f756e7401",
    ),
    (Point(1, 2), "c7210c92b874657374732e636f6465632e646f6d61696e3a506f696e7482a17801a17902"),
    (
        Reading("a"),
        "c7350c92ba74657374732e636f6465632e646f6d61696e3a52656164696e6782a673656e736f72a161a576616c7565cb0000000000000000",
    ),
]


@pytest.mark.parametrize(("value", "expected"), GOLDEN, ids=lambda v: repr(v)[:40])
def test_bytes_of_a_value_never_change(value: object, expected: str) -> None:
    """Stores outlive releases: what was written once must be read for ever."""
    assert encode(value).hex() == expected
    assert same(decode(bytes.fromhex(expected)), value)


@examples(100)
@given(values)
def test_value_comes_back_with_its_class(value: object) -> None:
    """Tuples stay tuples, sets sets, big ints whole: state must not change by being stored."""
    data = encode(value)
    assert same(decode(data), value)
    assert encode(decode(data)) == data


def test_aware_datetime_keeps_its_instant() -> None:
    """The zone is presentation; time is the instant."""
    assert decode(encode(AWARE)) == AWARE
    assert decode(encode([AWARE])) == [AWARE]


def test_equal_sets_give_equal_bytes_whatever_their_order() -> None:
    """Iteration order of a set of text differs from process to process."""
    words = [f"w{i}" for i in range(50)]
    assert encode(set(words)) == encode({f"w{i}" for i in range(49, -1, -1)})


def test_post_init_does_not_run_again() -> None:
    """It ran when the value was made; `made` would be drawn anew."""
    value = Numbered("a", seed=7)
    found = decode(encode(value))
    assert isinstance(found, Numbered)
    assert found.made == 7


def test_added_field_takes_its_default_and_removed_field_is_left_out() -> None:
    """The class may grow and shrink between two releases."""
    name = "tests.codec.domain:Order"
    old = msgspec.msgpack.encode(
        msgspec.msgpack.Ext(12, msgspec.msgpack.encode([name, {"id": "a", "amount": 1.0, "old": 3}]))
    )
    assert decode(old) == Order("a", 1.0, 1)
    lacking = msgspec.msgpack.encode(msgspec.msgpack.Ext(12, msgspec.msgpack.encode([name, {"id": "a"}])))
    with pytest.raises(CodecError, match=r"amount.*default"):
        decode(lacking)


def test_caches_are_left_out_and_generic_instances_kept() -> None:
    """`cached_property` is filled again; `__orig_class__` is typing's own."""
    lazy = Lazy(3)
    assert lazy.doubled == 6
    found = decode(encode(lazy))
    assert isinstance(found, Lazy)
    assert "doubled" not in vars(found)
    assert decode(encode(Box[int](5))) == Box(5)


class _Local:
    """Not a class that can be kept."""


def _with_extra() -> object:
    cart = Cart()
    cart.extra = 1  # type: ignore[attr-defined]
    return cart


def _unset() -> object:
    cart = Cart()
    del cart.items
    return cart


def _made_inside() -> object:
    return make_dataclass("Inside", ["x"])(1)


REFUSED: list[tuple[str, Callable[[], object], str]] = [
    ("naive", lambda: NAIVE, "naive"),
    ("naive in a list", lambda: [1, [NAIVE]], r"value\[1\]\[0\]: .*naive"),
    ("naive in a dict", lambda: {"a": NAIVE}, r"value\['a'\]: .*naive"),
    ("naive as a key", lambda: {NAIVE: 1}, r"value key .*naive"),
    ("naive in a field", lambda: [Refund("a", NAIVE)], r"value\[0\]\.at: .*naive"),
    ("naive in a set", lambda: {NAIVE}, "value item: .*naive"),
    ("object", lambda: {"a": [_Local()]}, r"value\['a'\]\[0\]: .*_Local"),
    ("function", lambda: len, "builtin"),
    ("subclass of dict", lambda: Counter("a"), "Counter"),
    ("deque", lambda: [deque()], r"value\[0\]: .*deque"),
    ("bytearray", lambda: bytearray(b"x"), "bytearray"),
    ("subclass of str", lambda: type("Name", (str,), {})("x"), "Name"),
    ("time with a zone", lambda: time(1, tzinfo=UTC), "zone"),
    ("instant before year 1", lambda: datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), "year"),
    ("text that is no Unicode", lambda: ["\ud800"], r"value\[0\]: .*surrogate"),
    ("text that is no Unicode in a tuple", lambda: ("\ud800",), r"value\[0\]: .*surrogate"),
    ("more than its fields", _with_extra, "'extra'"),
    ("a field not set", lambda: [_unset()], r"value\[0\]: .*items"),
    ("class without a name", _made_inside, "top of a module"),
]


@pytest.mark.parametrize(("make", "said"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_what_cannot_be_kept_is_refused_with_its_place(make: Callable[[], object], said: str) -> None:
    """A value that is flattened, or shed of a part, would be found out after a crash only."""
    with pytest.raises(CodecError, match=said):
        encode(make())


def test_value_that_holds_itself_is_refused() -> None:
    """A RecursionError would pass for a bug of the runtime."""
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(CodecError, match="nested"):
        encode(endless)


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {"a": v}, Lazy])
def test_what_can_be_encoded_at_the_deepest_can_be_decoded(wrap: Callable[[object], object]) -> None:
    """Else a checkpoint would be written that cannot be restored, or only from a shallower stack."""
    value: object = 1
    for _ in range(NESTING_MAX):
        value = wrap(value)
    data = encode(value)
    assert _decode_in_a_stack_of(300, data) is not None
    with pytest.raises(CodecError, match="nested"):
        encode(wrap(value))


def _decode_in_a_stack_of(frames: int, data: bytes) -> object:
    return _decode_in_a_stack_of(frames - 1, data) if frames else decode(data)


@examples(250)
@given(st.binary(max_size=60))
def test_hostile_bytes_are_refused_or_are_a_value(data: bytes) -> None:
    """Whatever a disk or a peer gives, nothing but CodecError comes out."""
    with suppress(CodecError):
        decode(data)


@examples(50)
@given(values, st.data())
def test_cut_or_changed_bytes_raise_nothing_else(value: object, data: st.DataObject) -> None:
    """A value is never read from a part of its bytes."""
    whole = bytearray(encode(value))
    for end in range(len(whole)):
        with pytest.raises(CodecError):
            decode(bytes(whole[:end]))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(CodecError):
        decode(bytes(whole))


def _ext(code: int, *content: object) -> bytes:
    body = content[0] if isinstance(content[0], bytes) else msgspec.msgpack.encode(content[0])
    return msgspec.msgpack.encode(msgspec.msgpack.Ext(code, body))


HOSTILE: list[bytes] = [
    b"",
    b"\xdd\xff\xff\xff\xff\x01",
    b"\xdd\x0f\xff\xff\xff\x01",
    b"\xdf\xff\xff\xff\xff\x01",
    b"\xdb\xff\xff\xff\xff1",
    b"\xc9\xff\xff\xff\xff\x011",
    b"\x91" * 100_000,
    b"\x81\x01" * 100_000,
    b"\xc7\x0c\xff" + b"\xff" * 12,
    _ext(0, b"x"),
    _ext(13, b"x"),
    _ext(-2, b"x"),
    _ext(1, 5),
    _ext(2, [1, 1]),
    _ext(2, [[1]]),
    _ext(4, [1]),
    _ext(4, [[], 1]),
    _ext(6, b"\0\0\0\0"),
    _ext(6, b"\xff" * 9),
    _ext(7, b"noon"),
    _ext(7, b"\xff"),
    _ext(8, b"\x7f" + b"\xff" * 20),
    _ext(9, b"one"),
    _ext(10, b"\0"),
    _ext(11, ["tests.codec.domain:Color", "GREEN"]),
    _ext(11, ["tests.codec.domain:Order", "id"]),
    _ext(11, ["os:getcwd", "x"]),
    _ext(11, [5, 5]),
    _ext(12, ["tests.codec.domain:Color", {}]),
    _ext(12, ["subprocess:Popen", {"args": ["true"]}]),
    _ext(12, ["", {}]),
    _ext(12, ["tests.codec.domain:Order", {"id": "a"}]),
    _ext(12, ["tests.codec.domain:Order", 5]),
]


@pytest.mark.parametrize("data", HOSTILE, ids=lambda d: d[:20].hex())
def test_hostile_value_is_refused(data: bytes) -> None:
    """Claimed lengths, bombs, unknown codes, classes that are none of ours: each a CodecError."""
    with pytest.raises(CodecError):
        decode(data)


def test_nesting_of_extensions_is_bounded() -> None:
    """Each level costs a Python frame, so a bomb must end before the interpreter does."""
    data = b"\x01"
    for _ in range(1_500):
        data = _ext(1, b"\x91" + data)
    with pytest.raises(CodecError, match="nested"):
        decode(data)


def test_reading_never_imports() -> None:
    """A name in hostile bytes must not run a module's code."""
    assert "this" not in sys.modules
    with pytest.raises(CodecError, match="import that module"):
        decode(_ext(12, ["this:Order", {}]))
    assert "this" not in sys.modules


def test_classes_of_one_name_are_told_apart() -> None:
    """They go by module and qualified name."""
    assert same(decode(encode([Order("a", 1.0), OtherOrder.Order(1)])), [Order("a", 1.0), OtherOrder.Order(1)])
    assert decode(encode(Shape.LINE)) is Shape.LINE
    assert decode(encode(Right.READ | Right.WRITE)) is Right.READ | Right.WRITE
