"""Small documents that cannot be read wrong: JSON whose last line is a digest of every byte before it.

    {
     "format": 1,
     ...
     "digest": "8f1e…"        xxh3_128 of the whole text with the digits left out
    }

A flipped, missing or added byte anywhere, white space too, is an error that
names the file. Every format ends in this seal, so that an old program can tell
a newer document from a damaged one.

Sources: the seal is an integrity check as in git objects, no signature: whoever
may write into the store may forge it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol, TypeVar

from xxhash import xxh3_128_hexdigest

from actorstream.codec.documents import decode_json
from actorstream.codec.layout import encode_laid_out
from actorstream.errors import CodecError, InvariantError, StoreError

_UNSEALED = b'"digest": ""\n}\n'
_SEAL = re.compile(rb'"digest": "([0-9a-f]{32})?"\n\}\n\Z')
_END_BYTES = 64  # a pattern that is searched for in the whole text takes 2 ms
_LEVELS = 3
"""So many are indented, for people; the rest is packed, for size."""


class Sealed(Protocol):
    """A dataclass whose first field is its format number and whose last is the digest."""

    @property
    def format(self) -> int:
        """Number of the format: grows when an old program could not read it right."""
        ...

    @property
    def digest(self) -> str:
        """32 hexadecimal digits once sealed, before that an empty string."""
        ...


S = TypeVar("S", bound=Sealed)


@dataclass(frozen=True, slots=True)
class _Heading:
    format: int


def seal(document: Sealed) -> bytes:
    """Write `document` with its digest."""
    text = encode_laid_out(document, _LEVELS)
    place = _SEAL.search(text, max(0, len(text) - _END_BYTES))
    if place is None:
        raise InvariantError(f"{type(document).__name__} does not end in its digest: make it the last field")
    body = text[: place.start()] + _UNSEALED
    return _closed(body)


def unseal(type_: type[S], path: str, data: bytes, *, newest: int, remedy: str) -> S:
    """Read what `seal` wrote.

    Args:
        type_: The document's dataclass.
        path: Where `data` was read, for messages.
        data: The whole file.
        newest: The highest format number that this program reads.
        remedy: What a person can do if the document is damaged; a clause.

    Raises:
        StoreError: Damaged, or of a newer format.
    """
    place = _SEAL.search(data, max(0, len(data) - _END_BYTES))
    if place is None or place.group(1) is None:
        raise StoreError(
            f"{path} is damaged: its {len(data)} bytes do not end in a digest, as a complete file does; {remedy}"
        )
    found = place.group(1).decode()
    body = data[: place.start()] + _UNSEALED
    expected = xxh3_128_hexdigest(body)
    if found != expected:
        raise StoreError(
            f"{path} is damaged: it says its digest is {found}, but its {len(data)} bytes have {expected}; {remedy}"
        )
    try:
        number = decode_json(_Heading, body).format
        if number > newest:
            raise StoreError(
                f"{path} has format {number}, written by a newer actorstream; this one reads up to {newest}: "
                "install the newer version, or use another store"
            )
        return decode_json(type_, data)
    except CodecError as error:
        raise StoreError(f"{path} has a right digest but a wrong shape: {error}; {remedy}") from error


def _closed(body: bytes) -> bytes:
    return body[: -len(_UNSEALED)] + b'"digest": "' + xxh3_128_hexdigest(body).encode() + b'"\n}\n'
