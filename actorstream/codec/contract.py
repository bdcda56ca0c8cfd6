"""What every codec promises, and how large a record may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from actorstream.errors import RecordTooLargeError

T = TypeVar("T")

RECORD_BYTES_MAX = 16 * 1024 * 1024
"""Default limit of one encoded record, key or state value."""


@dataclass(frozen=True)
class Schema:
    """What bytes of a codec look like, kept in manifests beside the bytes.

    Attributes:
        fingerprint: 16 hexadecimal digits; equal fingerprints mean equal shapes.
        shape: JSON: strings, lists and dicts; see actorstream/codec/shapes.py.
    """

    fingerprint: str
    shape: object


class Codec(Protocol[T]):
    """Turns values into bytes and back. Safe to use from several threads."""

    @property
    def schema(self) -> Schema:
        """What the bytes look like."""
        ...

    def encode(self, value: T, /) -> bytes:
        """Give the bytes of `value`; CodecError names the type and the place in the value that cannot be encoded."""
        ...

    def decode(self, data: bytes, /) -> T:
        """Give the value back; CodecError if `data` is not what `encode` gives."""
        ...


def check_size(data: bytes, limit: int, what: str) -> None:
    """Refuse bytes over the limit.

    Raises:
        RecordTooLargeError: `data` is longer than `limit`; the message starts with `what`.
    """
    if len(data) > limit:
        raise RecordTooLargeError(
            f"{what} takes {len(data):,} bytes encoded, and the limit is {limit:,}: "
            f"split it into smaller ones, or keep the large part outside and refer to it"
        )
