"""The records of files: which fields a type has, JSON lines of it, and rows of named values.

    {"user": "ann", "page": 3}    line       ──> Click("ann", 3)
    {"user": "ann", "page": "3"}  text row   ──> Click("ann", 3)      lax: every value of a CSV file is a str
    {"user": "ann", "page": 3}    row        ──> Click("ann", 3)

A NamedTuple is an object with names in a file, as a dataclass is; msgspec alone would make a JSON array of it. So it
goes through a twin, a Struct of the same fields.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from types import NoneType
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    NamedTuple,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import msgspec

from actorstream.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

_ARROW_TYPES: Final = (datetime, date, time, timedelta, bytes)

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoders here raise about a record that is not of the type."""
UNWRITABLE: Final = (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError)
"""What the encoders here raise about a record that cannot be written."""


class FieldOfRecord(NamedTuple):
    """A field: its name, its type as declared, whether a record must have it."""

    name: str
    type: Any
    required: bool

    @property
    def nullable(self) -> bool:
        """Tell whether its value may be None."""
        return self.type in (None, NoneType, Any, object) or NoneType in get_args(self.type)


class RecordFields(Generic[T]):
    """A dataclass, NamedTuple, TypedDict or Struct by its fields; a dict has none that are known.

    Attributes:
        type: The class.
        fields: In the order of their declaration; None for a dict.
    """

    def __init__(self, type_: type[T]) -> None:
        """Look at the class.

        Raises:
            PlanError: It is none of these, or msgspec has no way with one of its fields.
        """
        self.type: Any = type_
        self.fields = _fields_of(type_)
        self._twin: Any = None
        if issubclass(get_origin(type_) or type_, tuple):
            self._twin = msgspec.defstruct(type_.__name__, [_twin_field(type_, field) for field in self.fields or ()])
        try:
            msgspec.json.Decoder(self._twin or type_)
        except TypeError as error:
            raise PlanError(f"records of a {_name(type_)} cannot be in a file: {error}") from error

    def json_decoder(self) -> Callable[[bytes], T]:
        """Give what makes a record of a line; it raises one of `UNREADABLE`."""
        if self._twin is None:
            return msgspec.json.Decoder(self.type).decode
        decode, make, parts = msgspec.json.Decoder(self._twin).decode, self.type._make, msgspec.structs.astuple
        return lambda line: make(parts(decode(line)))

    def json_encoder(self) -> Callable[[T], bytes]:
        """Give what makes a line of a record, without its end; it raises one of `UNWRITABLE`."""
        encode = msgspec.json.Encoder().encode
        if self._twin is None:
            return encode
        return lambda value: encode(value._asdict())  # type: ignore[attr-defined]

    def row_decoder(self, *, lax: bool) -> Callable[[Sequence[Mapping[str, object]]], list[T]]:
        """Give what makes records of rows; `lax` takes a text for what it says. It raises one of `UNREADABLE`."""
        kind, convert = list[self._twin or self.type], msgspec.convert  # type: ignore[misc]
        if self._twin is None:
            return lambda rows: convert(rows, kind, strict=not lax)
        make, parts = self.type._make, msgspec.structs.astuple
        return lambda rows: [make(parts(each)) for each in convert(rows, kind, strict=not lax)]

    def rows_encoder(self, *, plain: bool) -> Callable[[Sequence[T]], list[dict[str, Any]]]:
        """Give what makes rows of records: `plain` of values that JSON has, else with dates and bytes as they are."""
        builtins, to_builtins = None if plain else _ARROW_TYPES, msgspec.to_builtins
        if self._twin is None:
            return lambda values: to_builtins(list(values), builtin_types=builtins, str_keys=plain)
        names = self.type._fields
        return lambda values: to_builtins(
            [dict(zip(names, value, strict=True)) for value in values],  # type: ignore[call-overload]
            builtin_types=builtins,
            str_keys=plain,
        )


def _fields_of(type_: object) -> tuple[FieldOfRecord, ...] | None:
    origin = get_origin(type_) or type_
    if origin is dict or origin is Mapping:
        return None
    if dataclasses.is_dataclass(type_) and isinstance(type_, type):
        fresh = [field for field in dataclasses.fields(type_) if field.init]
        missing = dataclasses.MISSING
        required = {f.name: f.default is missing and f.default_factory is missing for f in fresh}
    elif isinstance(type_, type) and issubclass(type_, tuple) and hasattr(type_, "_fields"):
        required = {name: name not in type_._field_defaults for name in type_._fields}  # type: ignore[attr-defined]
    elif is_typeddict(type_):
        needed: frozenset[str] = type_.__required_keys__  # type: ignore[attr-defined]
        required = {name: name in needed for name in type_.__annotations__}
    elif isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        required = {field.encode_name: field.required for field in msgspec.structs.fields(type_)}
    else:
        raise PlanError(
            f"records of a file are {_name(type_)}, expected a dataclass, NamedTuple, TypedDict or dict: its fields "
            "are what a file has by name"
        )
    hints = get_type_hints(type_)
    return tuple(FieldOfRecord(name, hints.get(name, Any), must) for name, must in required.items())


def _twin_field(type_: type, field: FieldOfRecord) -> tuple[str, object] | tuple[str, object, object]:
    if field.required:
        return field.name, field.type
    return field.name, field.type, msgspec.field(default_factory=lambda: type_._field_defaults[field.name])  # type: ignore[attr-defined]


def _name(type_: object) -> str:
    return type_.__qualname__ if isinstance(type_, type) else repr(type_)
