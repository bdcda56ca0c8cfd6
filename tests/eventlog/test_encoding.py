from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import example, given, settings
from hypothesis import strategies as st

from actorstream.codec.ordered_keys import encode_key
from actorstream.codec.values import codec_for
from actorstream.eventlog.encoding import KNOWN_KEYS_MAX, RecordEncoder
from actorstream.eventlog.records import decode_time
from actorstream.model.key_groups import key_group_of

if TYPE_CHECKING:
    from collections.abc import Hashable

PARTITIONS = 7

scalars = st.integers(-3, 3) | st.booleans() | st.sampled_from([0.0, -0.0, 1.0, 2.5]) | st.sampled_from(["", "a", "b"])
keys: st.SearchStrategy[Hashable] = scalars | st.tuples(scalars, scalars) | st.binary(max_size=1)


def encoder_of(wanted: list[Hashable]) -> RecordEncoder[int]:
    """Give an encoder of numbers, each with the key at its place in `wanted`."""
    return RecordEncoder(codec_for(int), PARTITIONS, key=wanted.__getitem__, timestamp=None, what="a log")


@settings(max_examples=80, deadline=None)
@example([1, True, 1.0, 1, (1,), (True,), (1,)], 1)
@given(st.lists(keys, max_size=40), st.integers(1, 8))
def test_a_key_goes_where_its_encoding_says_whatever_was_seen_before(wanted: list[Hashable], slice_: int) -> None:
    """T137: 1, 1.0 and True are equal to a dict that remembers, and are three keys in the log."""
    encoder = encoder_of(wanted)
    found: list[int] = []
    for start in range(0, len(wanted), slice_):
        numbers = list(range(start, min(start + slice_, len(wanted))))
        encoded = encoder.encode(numbers, 5)
        found += encoded.partitions
        for partition, bodies in encoded.bodies.items():
            there = [n for n, p in zip(numbers, encoded.partitions, strict=True) if p == partition]
            assert [codec_for(int).decode(body[8:]) for body in bodies] == there
            assert {decode_time(body[:8]) for body in bodies} == {5}
    assert found == [key_group_of(encode_key(key), PARTITIONS) for key in wanted]


def test_what_is_remembered_of_keys_is_bounded() -> None:
    """A log of a million users must not keep them all."""
    wanted: list[Hashable] = [f"user-{number}" for number in range(3 * KNOWN_KEYS_MAX)]
    encoder = encoder_of(wanted)
    for start in range(0, len(wanted) - 500, 500):
        encoded = encoder.encode(range(start, start + 500), 5)
        assert list(encoded.partitions) == [
            key_group_of(encode_key(key), PARTITIONS) for key in wanted[start : start + 500]
        ]
        assert len(encoder._known) <= KNOWN_KEYS_MAX + 500
