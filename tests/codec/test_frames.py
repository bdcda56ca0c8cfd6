"""Frames: every channel item crosses a process boundary whole, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorstream.codec.frames import _framed, decode_item, encode_item
from actorstream.codec.self_describing import SELF_DESCRIBING
from actorstream.errors import CodecError
from actorstream.model.batch import Batch
from actorstream.model.ids import CheckpointId
from actorstream.model.signals import Barrier, CancelBarrier, EndOfInput, Idle, Watermark
from tests.codec import strategies
from tests.codec.domain import Order
from tests.codec.strategies import examples

BATCH = Batch([("a", 1), Order("b", 2.0)], [1, 2], ["a", "b"], ("0", 7))

GOLDEN = [
    (Barrier(CheckpointId(7)), "02010000000168b6942407"),
    (CancelBarrier(CheckpointId(300)), "02020000000316c9eb26cd012c"),
    (EndOfInput(), "020300000000b996c4bc"),
    (Watermark(-5), "020400000001602fd1f6fb"),
    (Idle(), "02050000000018bf6b79"),
    (Batch([1, (2, "a")], None, None, None), "02000000000e529893ab969201d6019202a161c0c0c0c0c0"),
    (Batch([1], [5], ["k"], ("0", 9)), "020000000010d7b994f0969101910591a16bd60192a13009c0c0"),
]


def parts(item: object) -> object:
    """Give what makes two items equal; a Batch has no equality of its own."""
    if isinstance(item, Batch):
        return item.values, item.timestamps, item.keys, item.origin, item.marks, item.watermark
    return item


@pytest.mark.parametrize(("item", "expected"), GOLDEN, ids=lambda v: repr(v)[:40])
def test_bytes_of_an_item_never_change_within_a_version(item: Batch, expected: str) -> None:
    """Two hosts of a job may run two patch releases."""
    assert encode_item(item).hex() == expected
    assert parts(decode_item(bytes.fromhex(expected))) == parts(item)


@examples(60)
@given(st.data(), st.integers(0, 5), st.booleans(), st.booleans())
def test_batch_comes_back_with_all_its_parts(data: st.DataObject, size: int, timed: bool, keyed: bool) -> None:
    """Records keep their classes: the next operator must not see the boundary."""
    values = data.draw(st.lists(strategies.values, min_size=size, max_size=size))
    timestamps = data.draw(st.lists(st.integers(), min_size=size, max_size=size)) if timed else None
    keys = data.draw(st.lists(strategies.hashables, min_size=size, max_size=size)) if keyed else None
    origin = data.draw(st.none() | st.tuples(st.text(), strategies.hashables))
    marks = data.draw(st.none() | st.lists(st.integers(), min_size=size, max_size=size))
    watermark = data.draw(st.none() | st.integers())
    found = decode_item(encode_item(Batch(values, timestamps, keys, origin, marks, watermark)))
    assert strategies.same(parts(found), (values, timestamps, keys, origin, marks, watermark))


def test_any_flipped_bit_is_an_error() -> None:
    """A damaged record must not become another record."""
    whole = encode_item(BATCH)
    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CodecError):
            decode_item(bytes(damaged))


def test_cut_or_longer_frame_is_an_error() -> None:
    """A socket gives what it has; the length says what was sent."""
    whole = encode_item(BATCH)
    for end in range(len(whole)):
        with pytest.raises(CodecError, match="cut"):
            decode_item(whole[:end])
    with pytest.raises(CodecError, match="cut or damaged"):
        decode_item(whole + b"\0")


def test_newer_version_is_an_error_that_says_so() -> None:
    """The remedy is to run the same release on both ends."""
    with pytest.raises(CodecError, match="version 3, expected 2"):
        decode_item(b"\x03" + encode_item(BATCH)[1:])


@examples(200)
@given(st.binary(max_size=60))
def test_hostile_bytes_are_refused(data: bytes) -> None:
    """No random bytes have the right checksum."""
    with pytest.raises(CodecError):
        decode_item(data)


NOT_ITEMS: list[tuple[int, object]] = [
    (0, 5),
    (0, [[1], None, None, None]),
    (0, [[1], [1, 2], None, None, None, None]),
    (0, [[1], None, [], None, None, None]),
    (0, [(1,), None, None, None, None, None]),
    (0, [[1], None, None, (1, 2, 3), None, None]),
    (0, [[1], None, None, None, [1, 2], None]),
    (0, [[1], None, None, None, None, "1"]),
    (1, "a"),
    (1, 0),
    (1, True),
    (2, -1),
    (3, 1),
    (4, "1"),
    (5, 1),
    (6, 1),
]


@pytest.mark.parametrize(("kind", "content"), NOT_ITEMS)
def test_frame_with_a_right_checksum_and_wrong_content_is_refused(kind: int, content: object) -> None:
    """Another release might have written it."""
    with pytest.raises(CodecError):
        decode_item(_framed(kind, SELF_DESCRIBING.encode(content)))


def test_record_that_cannot_be_encoded_is_named_by_its_place() -> None:
    """The switch that sends all items through the codec is there to find these."""
    with pytest.raises(CodecError, match=r"value\[0\]\[1\]: .*object"):
        encode_item(Batch([1, object()]))
