"""JSON documents of the store (manifests, lock notes): typed, readable by a person, refused when off."""

from __future__ import annotations

from typing import Annotated, TypeAlias, TypeVar

import msgspec

from actorstream.errors import CodecError

T = TypeVar("T")

Int64: TypeAlias = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""A number as every document has them. JSON's may have thousands of digits, which nobody behind this expects."""
Number16: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
"""A number that stands in two bytes elsewhere."""


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
