"""Values that go by themselves: the expiry beside a value, in memory and in layers.

    in memory    (value, expiry)                    it is there while now < expiry
    in layers    tag 3 | stamp 8 | codec bytes      see state/entries.py (codec bytes may have a header)

    stamp        ────┼──────────────────────┼────────────────────────────┼───────────
               about 0: processing time   2^61        about 2^62: event time, 2^62 later

An expiry is in one of two clocks, and the stamp says in which. So a merge that is told the wall
clock drops nothing that expires in event time, and one that is told a watermark, as `stamp_of`
gives it, nothing that expires by the clock.

Time-to-live may be switched over a restart, and nothing is rewritten for it:
- added: a value from before has no expiry, and lives until it is written again, or read where that counts
  (from the restart on it cannot be: what nobody uses would be put off by each one);
- taken away: the expiry is read over;
- another clock: an expiry of the old one says nothing in the new one, so there is none;
- another duration: a value keeps the expiry that it was written with.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from actorstream.codec.evolution import EvolvedCodec
from actorstream.errors import CodecError
from actorstream.state.entries import BORDER, EXPIRING_TAG, VALUE_TAG

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.codec.values import Codec

Domain: TypeAlias = Literal["event", "processing"]

NEVER: Final = 1 << 63
"""An expiry that no clock of 64 bits reaches; later ones mean the same."""

_STAMP = Struct(">q")
_FURTHEST = 1 << 60  # microseconds: 36,000 years; what is further counts as never
_LATER: Final[dict[Domain, int]] = {"processing": 0, "event": 2 * BORDER}


class ExpiringCodec:
    """The codec of a state with a time-to-live: its values are pairs (value, expiry).

    Its bytes stand behind the tag of an expiring value. The schema is that of the values alone.

    Attributes:
        domain: The clock of the expiries.
        values: The codec of the values alone.
    """

    def __init__(self, codec: Codec[Any], domain: Domain) -> None:
        """Encode values by `codec`, and expiries as those of `domain`."""
        self.schema = codec.schema
        self.domain: Domain = domain
        self.values = codec
        self._header = tag_of(codec)[len(VALUE_TAG) :]
        self._encode = encoder_of(codec)
        self._decode = codec.decode

    def encode(self, value: tuple[object, int], /) -> bytes:
        """Give stamp and codec bytes.

        Raises:
            CodecError: The value cannot be encoded.
        """
        return _STAMP.pack(stamp_of(value[1], self.domain)) + self._header + self._encode(value[0])

    def decode(self, data: bytes, /) -> tuple[object, int]:
        """Give value and expiry back.

        Raises:
            CodecError: The value cannot be decoded.
        """
        if len(data) < _STAMP.size:
            raise CodecError(f"{len(data)} bytes are no value with an expiry, of {_STAMP.size}: they are damaged")
        (stamp,) = _STAMP.unpack_from(data)
        return self._decode(data[_STAMP.size :]), _expiry_of(stamp, self.domain)

    def decode_lasting(self, data: bytes, /) -> tuple[object, int]:
        """Give a value that was written without an expiry, before there was a time-to-live.

        Raises:
            CodecError: The value cannot be decoded.
        """
        return self._decode(data), NEVER


def tag_of(codec: Codec[Any]) -> bytes:
    """Give what stands before the bytes that `encoder_of` gives: the tag, and the schema's header if it has one."""
    if isinstance(codec, ExpiringCodec):
        return EXPIRING_TAG
    return VALUE_TAG + codec.header if isinstance(codec, EvolvedCodec) else VALUE_TAG


def encoder_of(codec: Codec[Any]) -> Callable[[Any], bytes]:
    """Give what encodes the bytes behind `tag_of`."""
    return codec.bare if isinstance(codec, EvolvedCodec) else codec.encode


def decoders_of(codec: Codec[Any]) -> tuple[Callable[[bytes], object], Callable[[bytes], object]]:
    """Give what decodes the bytes behind the tag of a value, and behind that of an expiring one."""
    if isinstance(codec, ExpiringCodec):
        return codec.decode_lasting, codec.decode
    decode = codec.decode
    return decode, lambda data: decode(data[_STAMP.size :])


def stamp_of(at: int, domain: Domain) -> int:
    """Give the place of an instant of a clock on the line of both."""
    return _LATER[domain] + min(max(at, -_FURTHEST), _FURTHEST)


def _expiry_of(stamp: int, domain: Domain) -> int:
    expiry = stamp - _LATER[domain]
    return expiry if -_FURTHEST <= expiry < _FURTHEST else NEVER
