"""Which descriptions of shapes this version understands: asked of every one that comes out of a file.

    scalar       "int"  "str"  ...  "any"
    one inside   {"maybe": S}  {"list": S}  {"tuple": S}  {"set": S}  {"frozenset": S}
    several      {"tuple of": [S, ...]}  {"dict": [S, S]}  {"tagged": {"name": S, ...}}
    choices      {"one of": ["int", ...]}  {"literal": ["'a'", ...]}  {"enum": "E", "values" or "names": [...]}
    records      {"record": "R", "by": "name" or "position", "fields": [["f", S, is it needed], ...]}  {"again": "R"}
                 and "typed dict": true beside these in those of a TypedDict

A manifest's digest says that nobody changed it by accident. It does not say who wrote it: a newer version may
have, with a word that is not known here, or somebody who means harm. All code behind this takes shapes apart unasked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from actorstream.codec.shapes import TYPED_DICT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Json: TypeAlias = Any
_Names: TypeAlias = frozenset[str]

PLAIN_SCALARS: Final = frozenset({"None", "bool", "int", "float", "str", "bytes"})
SCALARS: Final = PLAIN_SCALARS | {"date", "datetime", "time", "timedelta", "Decimal", "UUID", "any"}
DEPTH_MAX: Final = 100
"""How deep shapes may sit in each other: walking down takes several calls a level."""


def strange_part(shape: Json) -> str | None:
    """Show the part of a description that is not understood; None where all of it is."""
    found = _strange(shape, frozenset(), 0)
    return None if found is None else f"{found[0]!r:.200}"


def _strange(shape: Json, above: _Names, depth: int) -> tuple[Json] | None:
    """Give what is not understood, in a tuple: it may be None. `above` holds the records in which this sits."""
    if isinstance(shape, str):
        return None if shape in SCALARS else (shape,)
    if not isinstance(shape, dict) or not shape or depth > DEPTH_MAX:
        return (shape,)
    kind = next(iter(shape))
    parts_of = _PARTS.get(kind)
    parts = None if parts_of is None else parts_of(shape, above)
    if parts is None:
        return (shape,)
    if kind == "record":
        above |= {shape["record"]}
    return next((found for part in parts if (found := _strange(part, above, depth + 1)) is not None), None)


def _one(shape: Json, above: _Names) -> list[Json] | None:
    del above
    return list(shape.values()) if len(shape) == 1 else None


def _listed(shape: Json, above: _Names) -> list[Json] | None:
    inner = _one(shape, above)
    return inner[0] if inner is not None and isinstance(inner[0], list) else None


def _pair(shape: Json, above: _Names) -> list[Json] | None:
    inner = _listed(shape, above)
    return inner if inner is not None and len(inner) == 2 else None


def _tagged(shape: Json, above: _Names) -> list[Json] | None:
    inner = _one(shape, above)
    return list(inner[0].values()) if inner is not None and isinstance(inner[0], dict) else None


def _choice(shape: Json, above: _Names) -> list[Json] | None:
    inner = _listed(shape, above)
    return [] if inner is not None and all(isinstance(each, str) and each in PLAIN_SCALARS for each in inner) else None


def _literal(shape: Json, above: _Names) -> list[Json] | None:
    inner = _listed(shape, above)
    return [] if inner is not None and all(isinstance(each, str) for each in inner) else None


def _enum(shape: Json, above: _Names) -> list[Json] | None:
    del above
    match shape:
        case {"enum": str(), "values": [*values], **rest} if not rest:
            return [] if all(isinstance(each, str | int) for each in values) else None
        case {"enum": str(), "names": [*names], **rest} if not rest:
            return [] if all(isinstance(each, str) for each in names) else None
        case _:
            return None


def _record(shape: Json, above: _Names) -> list[Json] | None:
    del above
    match shape:
        case {"record": str(), "by": "name" | "position", "fields": [*fields], **rest} if rest in (
            {},
            {TYPED_DICT: True},
        ):
            parts = [each[1] for each in fields if _is_field(each)]
            return parts if len(parts) == len(fields) else None
        case _:
            return None


def _is_field(part: Json) -> bool:
    return isinstance(part, list) and len(part) == 3 and isinstance(part[0], str) and isinstance(part[2], bool)


def _again(shape: Json, above: _Names) -> list[Json] | None:
    inner = _one(shape, above)
    return [] if inner is not None and isinstance(inner[0], str) and inner[0] in above else None


_PARTS: Final[Mapping[str, Callable[[Json, _Names], list[Json] | None]]] = {
    "maybe": _one,
    "list": _one,
    "tuple": _one,
    "set": _one,
    "frozenset": _one,
    "tuple of": _listed,
    "dict": _pair,
    "tagged": _tagged,
    "one of": _choice,
    "literal": _literal,
    "enum": _enum,
    "record": _record,
    "again": _again,
}
