"""Schemas of annotations, and schemas in words.

A manifest keeps the schema of every state. At a restore the new code's schema is held against it: see upgrade.py.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from xxhash import xxh3_64_hexdigest

from actorstream.codec.annotations import shape_of
from actorstream.codec.contract import Schema as Schema
from actorstream.codec.self_describing import SELF_DESCRIBING
from actorstream.codec.shape_grammar import strange_part
from actorstream.codec.shapes import TYPED_DICT, Opaque, Shape

Json: TypeAlias = Any


def schema_of(annotation: object) -> Schema:
    """Give the schema of what `codec_for(annotation)` writes; CodecError if it cannot be typed."""
    return schema_of_shape(shape_of(annotation))


def schema_of_shape(shape: Shape) -> Schema:
    """Give the schema of a shape."""
    if isinstance(shape, Opaque):
        return SELF_DESCRIBING.schema
    described = shape.describe(())
    return Schema(xxh3_64_hexdigest(json.dumps(_told_apart(described), sort_keys=True).encode()), described)


def _told_apart(described: Json) -> Json:
    """Give a description without what older versions did not write: a fingerprint is for ever."""
    if isinstance(described, list):
        return [_told_apart(each) for each in described]
    if isinstance(described, dict):
        return {key: _told_apart(each) for key, each in described.items() if key != TYPED_DICT}
    return described


def kind_of(shape: Json) -> str:
    """Give the first word of a shape that is a dict; "" for a scalar."""
    return str(next(iter(shape), "")) if isinstance(shape, dict) else ""


def spoken(shape: Json, *, fields: bool = False) -> str:
    """Give a shape as its author would write it; with `fields`, those of the outermost record too.

    One that this version does not understand is shown as it is.
    """
    return _spoken(shape, fields=fields) if strange_part(shape) is None else f"{shape!r:.200}"


def _spoken(shape: Json, *, fields: bool = False) -> str:
    kind = kind_of(shape)
    inner = shape[kind] if kind else shape
    match kind:
        case "tagged" | "literal" | "one of":
            text = " or ".join(map(str, inner))
        case "maybe":
            text = f"{_spoken(inner, fields=fields)} or None"
        case "dict" | "tuple of":
            text = f"{kind.split()[0]}[{', '.join(_spoken(each, fields=fields) for each in inner)}]"
        case "list" | "tuple" | "set" | "frozenset":
            text = f"{kind}[{_spoken(inner, fields=fields)}]"
        case "record" if fields:
            each = [f"{name}: {_spoken(part)}{'' if needed else ' = ...'}" for name, part, needed in shape["fields"]]
            text = f"{inner}({', '.join(each)})"
        case _:
            text = str(inner)
    return text
