"""Schemas of annotations, and whether bytes of one can be read as another.

A manifest keeps the schema of every state. At a restore the new code's schema is
held against it: `difference` is None where old bytes are read as they are, else
the sentence to show the operator of the job.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from xxhash import xxh3_64_hexdigest

from actorstream.codec.annotations import shape_of
from actorstream.codec.contract import Schema as Schema
from actorstream.codec.self_describing import SELF_DESCRIBING
from actorstream.codec.shapes import Opaque, Shape

Json: TypeAlias = Any


def schema_of(annotation: object) -> Schema:
    """Give the schema of what `codec_for(annotation)` writes; CodecError if it cannot be typed."""
    return schema_of_shape(shape_of(annotation))


def schema_of_shape(shape: Shape) -> Schema:
    """Give the schema of a shape."""
    if isinstance(shape, Opaque):
        return SELF_DESCRIBING.schema
    described = shape.describe(())
    return Schema(xxh3_64_hexdigest(json.dumps(described, sort_keys=True).encode()), described)


def difference(old: Schema, new: Schema) -> str | None:
    """Say why bytes of `old` cannot be read as `new`; None if they can.

    Readable as they are: equal shapes, records with fields added that have a
    default, removed or reordered, enums and unions that grew, a value that may
    now be None.
    """
    return None if old.fingerprint == new.fingerprint else _differ(old.shape, new.shape, "value")


def _differ(old: Json, new: Json, place: str) -> str | None:
    if old == new:
        return None
    kind = _kind(old)
    if _kind(new) == "maybe" != kind:
        return _differ(old, new["maybe"], place)
    if kind == "" or _kind(new) != kind:
        return f"{place} was {_spoken(old)} and is {_spoken(new)} now"
    if kind == "record":
        return _differ_record(old, new, place)
    return _differ_inside(kind, old, new, place)


def _differ_inside(kind: str, old: dict[str, Json], new: dict[str, Json], place: str) -> str | None:
    match kind:
        case "dict" | "tuple of":
            return _differ_each(old[kind], new[kind], place)
        case "tagged":
            return _differ_tagged(old[kind], new[kind], place)
        case "enum" | "literal" | "one of":
            gone = [choice for choice in _choices(old) if choice not in _choices(new)]
            return f"{place} may have been {gone[0]!r}, which {_spoken(new)} has no more" if gone else None
        case "again":
            return f"{place} was a {old[kind]} and is a {new[kind]} now"
        case _:
            return _differ(old[kind], new[kind], place if kind == "maybe" else f"{place}[item]")


def _kind(shape: Json) -> str:
    return str(next(iter(shape))) if isinstance(shape, dict) else ""


def _differ_each(old: list[Json], new: list[Json], place: str) -> str | None:
    if len(old) != len(new):
        return f"{place} had {len(old)} parts and has {len(new)} now"
    found = (_differ(o, n, f"{place}[{i}]") for i, (o, n) in enumerate(zip(old, new, strict=True)))
    return next((sentence for sentence in found if sentence), None)


def _differ_tagged(old: dict[str, Json], new: dict[str, Json], place: str) -> str | None:
    for tag, shape in old.items():
        if tag not in new:
            return f"{place} may have been a {tag}, which the union has no more"
        if sentence := _differ(shape, new[tag], f"{place} as {tag}"):
            return sentence
    return None


def _differ_record(old: dict[str, Json], new: dict[str, Json], place: str) -> str | None:
    if old["by"] != new["by"]:
        return f"{place} was kept by {old['by']} and is by {new['by']} now ({_spoken(old)}, {_spoken(new)})"
    had = {name: shape for name, shape, _ in old["fields"]}
    if new["by"] == "position":
        names, before = [name for name, _, _ in new["fields"]], list(had)
        if names[: len(before)] != before:
            return f"{place} is a NamedTuple, whose fields may only be added at the end: had {before}, has {names} now"
    for name, shape, required in new["fields"]:
        if name in had:
            if sentence := _differ(had[name], shape, f"{place}.{name}"):
                return sentence
        elif required:
            return f"{place}.{name} was added without a default"
    return None


def _choices(shape: dict[str, Json]) -> list[Json]:
    found: list[Json] = next(shape[key] for key in ("values", "names", "literal", "one of") if key in shape)
    return found


def _spoken(shape: Json) -> str:
    kind = _kind(shape)
    inner = shape[kind] if kind else shape
    match kind:
        case "tagged" | "literal" | "one of":
            text = " or ".join(map(str, inner))
        case "maybe":
            text = f"{_spoken(inner)} or None"
        case "dict" | "tuple of":
            text = f"{kind.split()[0]}[{', '.join(map(_spoken, inner))}]"
        case "list" | "tuple" | "set" | "frozenset":
            text = f"{kind}[{_spoken(inner)}]"
        case _:
            text = str(inner)
    return text
