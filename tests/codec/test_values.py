"""The front door: the codec of an initial value, and the limit on sizes."""

from __future__ import annotations

import pytest

from actorstream.codec.values import RECORD_BYTES_MAX, SELF_DESCRIBING, Codec, check_size, codec_for, codec_of
from actorstream.errors import CodecError, RecordTooLargeError
from tests.codec.domain import Cart, Order, Point


@pytest.mark.parametrize("value", [0, 1.5, "a", b"a", True])
def test_scalar_gets_its_own_typed_codec(value: object) -> None:
    """Compact and fast: this is what counts and sums are."""
    codec: Codec[object] = codec_of(value)
    assert codec is codec_of(value)
    assert codec.schema == codec_for(type(value)).schema
    assert codec.decode(codec.encode(value)) == value


@pytest.mark.parametrize(
    ("initial", "later"), [(0, 0.5), (0, "a"), (0, True), (0, None), (0.0, "a"), ("", b""), (False, 0)]
)
def test_scalar_codec_refuses_another_class(initial: object, later: object) -> None:
    """A fold that starts at 0 and adds 0.5 should have started at 0.0."""
    with pytest.raises(CodecError, match="expected"):
        codec_of(initial).encode(later)


def test_int_passes_where_a_float_came_first() -> None:
    """And comes back as a float, as the first value said."""
    codec = codec_of(0.0)
    assert type(codec.decode(codec.encode(3))) is float


def test_int_grows_over_64_bits() -> None:
    """A counter in Python has no limit."""
    codec = codec_of(0)
    for value in (2**64, -(2**63) - 1, 3**500):
        assert codec.decode(codec.encode(value)) == value


@pytest.mark.parametrize("value", [None, (0, 0.0), [], {}, Order("a", 1.0), Cart(), Point(1)], ids=repr)
def test_anything_else_is_self_describing(value: object) -> None:
    """The next value may be of any class."""
    assert codec_of(value) is SELF_DESCRIBING


def test_size_over_the_limit_is_refused_with_size_and_limit() -> None:
    """At the limit it passes."""
    check_size(b"x" * 10, 10, "state 'cart'")
    with pytest.raises(RecordTooLargeError, match=r"^state 'cart' takes 11 bytes encoded, and the limit is 10"):
        check_size(b"x" * 11, 10, "state 'cart'")
    assert RECORD_BYTES_MAX == 16 * 1024 * 1024
