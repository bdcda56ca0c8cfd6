"""Stored bytes as plain values, by the schema in a manifest alone: none of the user's classes is loaded.

    {"record": "Order", "by": "name", "fields": [["id", "str", true], ["paid", {"tagged": ...}, true]]}

    bytes  ──decode──>  {"id": "a", "paid": {"Card": {"number": "..."}}}  ──encode──>  the same bytes

    record of any kind       dict by field name, NamedTuples too; a field that the bytes do not have is not there
    choice between classes   {"<class>": value}
    Enum                     its value, or its name where that is what is kept (a combination of flags: its int)
    any value                as unloaded.py says: a record is a dict that remembers its class
    everything else          as it was: numbers, text, times, Decimals, lists, tuples, sets, dicts, None

Records are of a dict class that can be hashed (`PlainRecord`), so that sets of records stay sets. `encode` takes any
dict for them, and says where a value does not fit: also one that is no member of its Enum or Literal. The fields of
a dict are written in its own order.
"""

from __future__ import annotations

import ast
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from uuid import UUID

import msgspec

from actorstream.codec.shape_grammar import strange_part
from actorstream.codec.unloaded import PlainRecord, decode_unloaded, encode_unloaded
from actorstream.codec.widening import is_plain_literal, is_scalar
from actorstream.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorstream.codec.contract import Codec, Schema

Json: TypeAlias = Any
_Above: TypeAlias = "Mapping[str, list[_Ways]]"
"""The records that are being made, by name: they may hold themselves."""

_pack: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
_unpack: Callable[[bytes], object] = msgspec.msgpack.Decoder().decode
_AS_READ: Final = {"None": type(None), "bool": bool, "int": int, "str": str, "bytes": bytes, "float": float}
_CONVERTED: Final = {
    "date": date, "timedelta": timedelta, "Decimal": Decimal, "UUID": UUID, "time": time, "datetime": datetime,
}  # fmt: skip
_ERRORS: Final = (
    ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError, OverflowError,
)  # fmt: skip


def plain_codec(schema: Schema) -> Codec[Any]:
    """Give the codec of plain values for bytes of a schema.

    Raises:
        CodecError: This version does not know the schema's shape: a newer one wrote it.
    """
    return _PlainCodec(schema)


class _MisfitError(CodecError):
    """A value that does not fit; its place grows on the way out."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.place = ""


class _Ways(NamedTuple):
    """How to get from what msgspec read to a plain value, and back to what it is to pack."""

    lift: Callable[[Any], Any]
    lower: Callable[[Any], Any]


class _PlainCodec:
    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._any = schema.shape == "any"
        self._int = schema.shape == "int"
        if (part := strange_part(schema.shape)) is not None:
            raise CodecError(f"the schema {schema.shape!r:.200} is not of this version, which does not know {part}")
        self._ways = _ways(schema.shape, {})

    def encode(self, value: Any, /) -> bytes:  # noqa: ANN401  (whatever the schema says)
        if self._any:
            return encode_unloaded(value)
        try:
            lowered = self._ways.lower(value)
            if self._int and not -(1 << 63) <= value < 1 << 64:
                return encode_unloaded(value)
            return _pack(lowered)
        except _MisfitError as error:
            raise CodecError(f"value{error.place:.200} {error.text}") from error
        except _ERRORS as error:
            raise CodecError(f"{value!r:.60} cannot be encoded: {error}") from error

    def decode(self, data: bytes, /) -> Any:  # noqa: ANN401  (whatever the schema says)
        if self._any:
            return decode_unloaded(data)
        try:
            raw = _unpack(data)
            if self._int and isinstance(raw, msgspec.msgpack.Ext):
                raw = decode_unloaded(data)
            return self._ways.lift(raw)
        except _MisfitError as error:
            raise CodecError(f"{len(data)} bytes are damaged: value{error.place:.200} {error.text}") from error
        except _ERRORS as error:
            raise CodecError(f"{len(data)} bytes are not what their schema says: {error}") from error


def _at(step: str, way: Callable[[Any], Any], value: object) -> Any:  # noqa: ANN401  (whatever the way gives)
    try:
        return way(value)
    except _MisfitError as error:
        error.place = step + error.place
        raise


def _off(value: object, expected: str) -> _MisfitError:
    return _MisfitError(f"is {value!r:.60} (a {type(value).__qualname__}), expected {expected}")


def _ways(shape: Json, above: _Above) -> _Ways:
    if isinstance(shape, str):
        return _scalar(shape)
    return _MAKERS[next(iter(shape), "")](shape, above)


def _maybe(item: _Ways) -> _Ways:
    return _Ways(
        lambda raw: None if raw is None else item.lift(raw),
        lambda value: None if value is None else item.lower(value),
    )


def _again(found: list[_Ways]) -> _Ways:
    """Give the ways of a record that is still being made."""

    def lift(raw: object) -> object:
        return found[0].lift(raw)

    def lower(value: object) -> object:
        return found[0].lower(value)

    return _Ways(lift, lower)


def _exactly(classes: tuple[type, ...], name: str) -> _Ways:
    def check(value: object) -> object:
        if value.__class__ in classes:
            return value
        if value.__class__ is int and classes == (float,):
            return float(value)
        raise _off(value, name)

    return _Ways(check, check)


def _scalar(name: str) -> _Ways:
    if name == "any":
        return _Ways(lambda raw: decode_unloaded(_of(raw, bytes)), encode_unloaded)
    if name in _AS_READ:
        return _exactly((_AS_READ[name],), name)
    cls = _CONVERTED[name]

    def lift(raw: object) -> object:
        return raw if raw.__class__ is cls else msgspec.convert(raw, cls)

    def lower(value: object) -> object:
        if type(value) is not cls:
            raise _off(value, name)
        if isinstance(value, datetime) and value.utcoffset() is None:
            raise _MisfitError(f"is {value!r}, a naive datetime: give it a time zone, as in datetime.now(UTC)")
        if isinstance(value, time) and value.tzinfo is not None:
            raise _off(value, "a time without a zone")
        return value

    return _Ways(lift, lower)


def _of(value: Any, *classes: type) -> Any:  # noqa: ANN401  (it is checked here)
    if not isinstance(value, classes):
        raise _off(value, f"a {classes[0].__name__}")
    return value


def _many(cls: Callable[[Any], Any], item: _Ways) -> _Ways:
    ordered = cls in (list, tuple)

    def lift(raw: object) -> object:
        items = [_at(f"[{i}]", item.lift, each) for i, each in enumerate(_of(raw, list))]
        found = cls(items)
        if len(found) != len(items):
            raise _MisfitError("is a set that holds an item twice")
        return found

    def lower(value: object) -> object:
        classes = (list, tuple) if ordered else (set, frozenset)
        items = [_at(f"[{i}]", item.lower, each) for i, each in enumerate(_of(value, *classes))]
        return items if ordered else [msgspec.Raw(each) for each in sorted(map(_pack, items))]

    return _Ways(lift, lower)


def _fixed(items: list[_Ways]) -> _Ways:
    def each(way: int, value: list[object] | tuple[object, ...]) -> list[object]:
        if len(value) != len(items):
            raise _MisfitError(f"has {len(value)} parts, expected {len(items)}")
        return [_at(f"[{i}]", item[way], part) for i, (item, part) in enumerate(zip(items, value, strict=True))]

    return _Ways(lambda raw: tuple(each(0, _of(raw, list))), lambda value: each(1, _of(value, tuple, list)))


def _pairs(key: _Ways, item: _Ways, *, as_map: bool) -> _Ways:
    def lift(raw: object) -> object:
        pairs = _of(raw, dict).items() if as_map else _of(raw, list)
        found = {_at(" key", key.lift, k): _at(f"[{k!r:.50}]", item.lift, v) for k, v in pairs}
        if len(found) != len(pairs):
            raise _MisfitError("is a dict that holds a key twice")
        return found

    def lower(value: object) -> object:
        pairs = [
            (_at(f" key {k!r:.50}", key.lower, k), _at(f"[{k!r:.50}]", item.lower, v))
            for k, v in _of(value, dict).items()
        ]
        return dict(pairs) if as_map else pairs

    return _Ways(lift, lower)


def _tagged(members: Mapping[str, _Ways]) -> _Ways:
    def member(tag: object) -> _Ways:
        if not isinstance(tag, str) or tag not in members:
            raise _off(tag, " or ".join(members))
        return members[tag]

    def lift(raw: object) -> object:
        tag, body = _of(raw, list)
        return PlainRecord({tag: _at(f" as {tag}", member(tag).lift, body)})

    def lower(value: object) -> object:
        if len(_of(value, dict)) != 1:
            raise _off(value, "a dict of one class name to the value")
        ((tag, body),) = _of(value, dict).items()
        return tag, _at(f" as {tag}", member(tag).lower, body)

    return _Ways(lift, lower)


def _member(shape: Json) -> _Ways:
    values: list[str | int] | None = shape.get("values")
    if values is not None:
        check = _one_of(frozenset(values), (str, int), f"what a {shape['enum']} may be: {values}")
        return _Ways(check, check)
    # A number stands for a combination of flags: which there are, the schema does not say.
    name = _one_of(frozenset(shape["names"]), (str,), f"what a {shape['enum']} may be: {shape['names']}")
    return _Ways(
        _exactly((str, int), f"a name of a {shape['enum']}").lift,
        lambda value: value if value.__class__ is int else name(value),
    )


def _one_of(choices: frozenset[Any], classes: tuple[type, ...], expected: str) -> Callable[[Any], Any]:
    """Give what refuses all but these. Of these classes alone: True and 1.0 are equal to 1."""

    def check(value: object) -> object:
        if value.__class__ in classes and value in choices:
            return value
        raise _off(value, expected)

    return check


def _literal(spoken: list[str]) -> _Ways:
    if not is_plain_literal(spoken):
        return _scalar("any")
    classes, expected = (int, str, type(None)), " or ".join(spoken)
    choices = frozenset(map(ast.literal_eval, spoken))
    return _Ways(_exactly(classes, expected).lift, _one_of(choices, classes, expected))


def _record(shape: Json, above: _Above) -> _Ways:
    own: list[_Ways] = []
    name, positional = shape["record"], shape["by"] == "position"
    inside = {**above, name: own}
    fields = {field: _ways(inner, inside) for field, inner, _ in shape["fields"]}
    required = [field for field, _, needed in shape["fields"] if needed]

    def checked(given: Mapping[str, Any]) -> Mapping[str, Any]:
        missing = next((field for field in required if field not in given), None)
        if missing is not None:
            raise _MisfitError(f"has no {missing!r}, which a {name} needs")
        return given

    def lift(raw: object) -> object:
        by_name = checked(dict(zip(fields, _of(raw, list), strict=False)) if positional else _of(raw, dict))
        return PlainRecord({
            field: _at(f".{field}", fields[field].lift, part) for field, part in by_name.items() if field in fields
        })  # fmt: skip

    def lower(value: object) -> object:
        given = checked(_of(value, dict))
        if unknown := [field for field in given if field not in fields]:
            raise _MisfitError(f"has {unknown[0]!r:.50}, which a {name} has not: it has {list(fields)}")
        if not positional:
            return {field: _at(f".{field}", fields[field].lower, part) for field, part in given.items()}
        names = list(fields)[: len(given)]
        if missing := [field for field in names if field not in given]:
            raise _MisfitError(f"has no {missing[0]!r}, and fields of a {name} may be left out at its end only")
        return [_at(f".{field}", fields[field].lower, given[field]) for field in names]

    own.append(_Ways(lift, lower))
    return own[0]


_MAKERS: Final[Mapping[str, Callable[[Json, _Above], _Ways]]] = {
    "maybe": lambda shape, above: _maybe(_ways(shape["maybe"], above)),
    "again": lambda shape, above: _again(above[shape["again"]]),
    "record": _record,
    "tagged": lambda shape, above: _tagged({tag: _ways(each, above) for tag, each in shape["tagged"].items()}),
    "tuple of": lambda shape, above: _fixed([_ways(each, above) for each in shape["tuple of"]]),
    "dict": lambda shape, above: _pairs(
        _ways(shape["dict"][0], above), _ways(shape["dict"][1], above), as_map=is_scalar(shape["dict"][0])
    ),
    "one of": lambda shape, _: _exactly(
        tuple(_AS_READ[name] for name in shape["one of"]), " or ".join(shape["one of"])
    ),
    "enum": lambda shape, _: _member(shape),
    "literal": lambda shape, _: _literal(shape["literal"]),
    "list": lambda shape, above: _many(list, _ways(shape["list"], above)),
    "tuple": lambda shape, above: _many(tuple, _ways(shape["tuple"], above)),
    "set": lambda shape, above: _many(set, _ways(shape["set"], above)),
    "frozenset": lambda shape, above: _many(frozenset, _ways(shape["frozenset"], above)),
}
