"""Keys: bytes in the order of the values, one encoding for each key, and never another's beginning."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorstream.codec.ordered_keys import decode_key, decode_key_at, encode_key, encode_keys
from actorstream.errors import CodecError
from tests.codec.domain import Color, Level, Point, Right, Shape
from tests.codec.strategies import examples

if TYPE_CHECKING:
    from collections.abc import Callable

NAIVE = datetime(2024, 1, 1)  # noqa: DTZ001  (what must be refused)

GOLDEN: list[tuple[object, str]] = [
    (False, "10"),
    (True, "11"),
    (0, "218000000000000000"),
    (1, "218000000000000001"),
    (-1, "217fffffffffffffff"),
    (2**63 - 1, "21ffffffffffffffff"),
    (-(2**63), "210000000000000000"),
    (2**63, "22000000088000000000000000"),
    (-(2**63) - 1, "20fffffff77ffffffffffffffe"),
    (2**64, "2200000009010000000000000000"),
    (0.0, "288000000000000000"),
    (1.0, "28bff0000000000000"),
    (-1.0, "28400fffffffffffff"),
    (math.inf, "28fff0000000000000"),
    (-math.inf, "28000fffffffffffff"),
    ("", "300001"),
    ("a", "30610001"),
    ("a\0b", "306100ff620001"),
    ("é", "30c3a90001"),
    (b"", "310001"),
    (b"\0\xff", "3100ffff0001"),
    (datetime(2024, 5, 1, 12, 30, tzinfo=UTC), "3880061763a5230200"),
    (datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), "387ffffffffff0bdc0"),
    (date(2024, 5, 1), "39000b46bf"),
    (timedelta(days=-1, microseconds=5), "3a3b9ac9ff0000000000000005"),
    (UUID(int=5), "4000000000000000000000000000000005"),
    (Color.RED, "4874657374732e636f6465632e646f6d61696e3a436f6c6f72000152454400" + "01"),
    ((), "5000"),
    ((1, "a"), "5021800000000000000130610001" + "00"),
    ((None, (b"", None), True), "5005503100010500" + "1100"),
]


@pytest.mark.parametrize(("key", "expected"), GOLDEN, ids=lambda v: repr(v)[:40])
def test_bytes_of_a_key_never_change(key: object, expected: str) -> None:
    """They choose the key group and are the order of layers: a change orphans every store."""
    assert encode_key(key).hex() == expected
    assert decode_key(bytes.fromhex(expected)) == key
    assert type(decode_key(bytes.fromhex(expected))) is type(key)


offsets = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
instants = st.datetimes(timezones=offsets).filter(lambda at: 1 < at.year < 9999)
some_ints = st.integers() | st.integers(-(2**70), 2**70) | st.sampled_from([2**63, -(2**63), 2**63 - 1, -(2**63) - 1])
zeros = st.binary() | st.lists(st.sampled_from([b"\0", b"\1", b"\xff", b"a"])).map(b"".join)
texts = st.text() | st.text(alphabet="\0\1aé\U0001f600\uffff")

SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int": some_ints,
    "float": st.floats(allow_nan=False),
    "str": texts,
    "bytes": zeros,
    "datetime": instants,
    "date": st.dates(),
    "timedelta": st.timedeltas(),
    "uuid": st.uuids(),
    "level": st.sampled_from(Level),
}
keys: st.SearchStrategy[object] = st.recursive(
    st.one_of(*SCALARS.values()), lambda inner: st.lists(inner | st.none(), max_size=4).map(tuple), max_leaves=8
)


def of_one_type() -> st.SearchStrategy[tuple[Any, Any]]:
    """Two keys of one type: a scalar, or tuples with the same types part by part, of unlike length too."""
    kinds = st.sampled_from(sorted(set(SCALARS) - {"level"}))
    scalar_pairs = kinds.flatmap(lambda kind: st.tuples(SCALARS[kind], SCALARS[kind]))

    def tuples_of(pairs: st.SearchStrategy[tuple[Any, Any]]) -> st.SearchStrategy[tuple[Any, Any]]:
        parts = st.lists(pairs | pairs.map(lambda p: (p[0], p[0])), max_size=4)
        whole = parts.map(lambda ps: (tuple(a for a, _ in ps), tuple(b for _, b in ps)))
        return whole | st.tuples(whole, st.integers(0, 4)).map(lambda w: (w[0][0], w[0][1][: w[1]]))

    return st.recursive(scalar_pairs, tuples_of, max_leaves=6)


@examples(120)
@given(of_one_type())
def test_encodings_sort_as_the_keys_do(pair: tuple[Any, Any]) -> None:
    """T137: range scans and `SortedMap` go by bytes, so bytes must be in the order of the values."""
    a, b = pair
    assert (encode_key(a) < encode_key(b)) == (a < b)
    assert (encode_key(a) == encode_key(b)) == (a == b)


@examples(150)
@given(keys, zeros)
def test_key_comes_back_whatever_follows_it(key: object, rest: bytes) -> None:
    """A map key follows its key without a length between them."""
    data = encode_key(key)
    assert decode_key_at(b"xx" + data + rest, 2) == (key, 2 + len(data))
    assert encode_key(decode_key(data)) == data


@examples(150)
@given(
    st.lists(keys, max_size=4)
    | st.lists(st.integers(-(2**64), 2**64), max_size=4)
    | st.lists(st.text("\0\1\2\xff0aé", max_size=4), max_size=4)
    | st.lists(st.tuples(st.text("\0a", max_size=2), st.none() | st.integers(), keys), max_size=4)
)
def test_many_keys_are_encoded_as_each_one_is(several: list[object]) -> None:
    """The short cuts for runs of one type give the same bytes, or state would be found under one of two keys."""
    assert encode_keys(several) == [encode_key(key) for key in several]


@pytest.mark.parametrize("bad", [None, "\ud800", 1.5j, (None, [])], ids=repr)
def test_one_bad_key_among_many_is_refused(bad: object) -> None:
    """As it is when it comes alone."""
    for good in (1, "a", ("a", 1), (1, (2, 3))):
        with pytest.raises(CodecError):
            encode_keys([good, bad])
    nested: object = ()
    for _ in range(5_000):
        nested = (nested,)
    with pytest.raises(CodecError, match="nested"):
        encode_keys([nested])


@examples(100)
@given(keys, keys)
def test_no_encoding_begins_another(a: object, b: object) -> None:
    """Otherwise a scan over one key's entries would run into another key's."""
    first, second = sorted((encode_key(a), encode_key(b)))
    assert first == second or not second.startswith(first)


def test_one_and_one_point_nought_and_true_are_three_keys() -> None:
    """T137, T130: one dict entry in Python, three encodings here, also inside tuples."""
    assert len({encode_key(1), encode_key(1.0), encode_key(True)}) == 3
    assert len({encode_key((1,)), encode_key((1.0,)), encode_key((True,))}) == 3
    assert [type(decode_key(encode_key(k))) for k in (1, 1.0, True)] == [int, float, bool]


def test_keys_that_python_calls_equal_have_one_encoding() -> None:
    """Live state is a dict: what is one entry there must be one entry in a layer."""
    assert encode_key(-0.0) == encode_key(0.0)
    there = datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert encode_key(there) == encode_key(datetime(2024, 1, 1, tzinfo=UTC))
    assert decode_key(encode_key(there)) == there


def test_enum_members_sort_by_class_and_name() -> None:
    """Values of members may be anything and may change; names are what the code says."""
    encoded = [encode_key(m) for m in (Color.BLUE, Color.RED, Level.HIGH, Level.LOW, Shape.LINE, Shape.POINT)]
    assert encoded == sorted(encoded)
    assert decode_key(encode_key(Right.WRITE)) is Right.WRITE


NOT_KEYS: list[tuple[str, Callable[[], object], str]] = [
    ("none", lambda: None, "return a str"),
    ("nan", lambda: math.nan, "NaN"),
    ("nan in a tuple", lambda: (1, math.nan), "NaN"),
    ("naive datetime", lambda: NAIVE, "time zone"),
    ("naive datetime in a tuple", lambda: ("a", (NAIVE,)), "time zone"),
    ("instant before year 1", lambda: datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), "year"),
    ("list", lambda: [1], "list"),
    ("dict in a tuple", lambda: (1, {}), "dict"),
    ("object", object, "object"),
    ("namedtuple", lambda: Point(1), "Point"),
    ("subclass of int", lambda: type("Celsius", (int,), {})(3), "Celsius"),
    ("flags", lambda: Right.READ | Right.WRITE, "flags"),
    ("text that is no Unicode", lambda: "\ud800", "Unicode"),
]


@pytest.mark.parametrize(("make", "said"), [c[1:] for c in NOT_KEYS], ids=[c[0] for c in NOT_KEYS])
def test_what_cannot_be_a_key_is_refused(make: Callable[[], object], said: str) -> None:
    """The message says what to return instead."""
    with pytest.raises(CodecError, match=said):
        encode_key(make())


def test_endless_nesting_is_refused_both_ways() -> None:
    """A RecursionError would pass for a bug of the runtime."""
    deep: object = ()
    for _ in range(100_000):
        deep = (deep,)
    with pytest.raises(CodecError, match="nested"):
        encode_key(deep)
    with pytest.raises(CodecError, match="nested"):
        decode_key(b"P" * 100_000)


@examples(250)
@given(
    st.binary(max_size=40)
    | st.tuples(st.sampled_from(sorted(b'\x05\x10 !"(0189:@HP')), zeros).map(lambda t: bytes([t[0]]) + t[1])
)
def test_hostile_bytes_are_refused_or_are_exactly_a_key(data: bytes) -> None:
    """One key, one encoding: else two entries of a layer could be one key."""
    try:
        key = decode_key(data)
    except CodecError:
        return
    assert encode_key(key) == data


@examples(100)
@given(keys, st.data())
def test_cut_or_changed_key_never_escapes_as_another_error(key: object, data: st.DataObject) -> None:
    whole = bytearray(encode_key(key))
    for end in range(len(whole)):
        with pytest.raises(CodecError):
            decode_key(bytes(whole[:end]))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(CodecError):
        assert encode_key(decode_key(bytes(whole))) == bytes(whole)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x05",
        b"\xff",
        b"\x22\xff\xff\xff\xff1",
        b"\x20\0\0\0\0" + b"1",
        b"\x22\0\0\0\x09" + b"\0" * 9,
        b"\x28" + b"\xff" * 8,
        b"\x28\x7f" + b"\xff" * 7,
        b"0a\0\x02",
        b"0\xff\0\1",
        b"9\0\0\0\0",
        b":\xff\xff\xff\xff" + b"\0" * 8,
        b"Hno.such:Class\0\1A\0\1",
        b"Hos:getcwd\0\1A\0\1",
        b"Htests.codec.domain:Color\0\1GREEN\0\1",
        b"Htests.codec.domain:Order\0\1id\0\1",
    ],
)
def test_hostile_key_is_refused(data: bytes) -> None:
    """Claimed lengths, wrong order of magnitude, -0.0, unknown classes: each a CodecError."""
    with pytest.raises(CodecError):
        decode_key(data)
