"""JSON documents of the store (manifests, lock notes): typed, readable by a person, refused when off."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from actorstream.errors import CodecError

T = TypeVar("T")


def encode_json(document: object) -> bytes:
    """Write a dataclass as indented JSON; bytes become base64."""
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def decode_json(type_: type[T], data: bytes) -> T:
    """Read JSON as `type_`.

    Raises:
        CodecError: `data` is not JSON, or not of that shape; says where.
    """
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(f"not a {type_.__name__} document: {error}") from error
