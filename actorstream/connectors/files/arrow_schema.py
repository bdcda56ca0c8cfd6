"""Which column a field is, and how pyarrow is found.

str int float bool bytes        string int64 double bool binary
datetime date time timedelta    timestamp[us, UTC] date32 time64[us] duration[us]
Decimal UUID Enum Literal       string (exact), string, string or int64 by the values
list[X] set[X] tuple[X, ...]    list<X>
dict[str, X]                    map<string, X>
a dataclass, NamedTuple, ...    struct
X | None                        the column of X
"""

from __future__ import annotations

import enum
import importlib
import types
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

from actorstream.codec.fields import FieldOfRecord, RecordFields
from actorstream.errors import PlanError


def import_arrow() -> Any:  # noqa: ANN401
    """Give pyarrow with its part for Parquet.

    Raises:
        PlanError: It is not installed.
    """
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise PlanError(
            f"Parquet files need pyarrow, which cannot be imported ({error}): pip install 'actorstream[arrow]'"
        ) from error


def schema_of(fields: Sequence[FieldOfRecord]) -> Any:  # noqa: ANN401
    """Give the schema of a record's fields.

    Raises:
        PlanError: No column stands for the type of one.
    """
    arrow = import_arrow()
    return arrow.schema([_column(arrow, field) for field in fields])


def _column(arrow: Any, field: FieldOfRecord) -> Any:  # noqa: ANN401
    found = _type_of(arrow, field.type)
    if found is None:
        raise PlanError(
            f"no Parquet column stands for field {field.name!r} of type {field.type}: say schema=pyarrow.schema([...])"
        )
    return arrow.field(field.name, found)


def _type_of(arrow: Any, type_: Any) -> Any:  # noqa: ANN401
    origin, args = get_origin(type_) or type_, get_args(type_)
    if origin is Annotated:
        return _type_of(arrow, args[0])
    if origin in (Union, types.UnionType):
        kinds = [each for each in args if each is not types.NoneType]
        return _type_of(arrow, kinds[0]) if len(kinds) == 1 else None
    if origin is Literal:
        return _type_of_values(arrow, args)
    if not isinstance(origin, type):
        return None
    if issubclass(origin, enum.Enum):
        return _type_of_values(arrow, [member.value for member in origin])
    return _simple(arrow, origin) or _nested(arrow, origin, args)


def _type_of_values(arrow: Any, values: Sequence[object]) -> Any:  # noqa: ANN401
    kinds = list({type(value) for value in values})
    return _type_of(arrow, kinds[0]) if len(kinds) == 1 else None


def _simple(arrow: Any, origin: type) -> Any:  # noqa: ANN401
    known = {
        str: arrow.string(),
        int: arrow.int64(),
        float: arrow.float64(),
        bool: arrow.bool_(),
        bytes: arrow.binary(),
        datetime: arrow.timestamp("us", tz="UTC"),
        date: arrow.date32(),
        time: arrow.time64("us"),
        timedelta: arrow.duration("us"),
        Decimal: arrow.string(),
        UUID: arrow.string(),
    }
    return known.get(origin)


def _nested(arrow: Any, origin: type, args: Sequence[Any]) -> Any:  # noqa: ANN401
    if issubclass(origin, Mapping):
        value = _type_of(arrow, args[1]) if len(args) == 2 and args[0] is str else None
        return value and arrow.map_(arrow.string(), value)
    variadic = origin is tuple and len(args) == 2 and args[1] is Ellipsis
    if variadic or issubclass(origin, list | set | frozenset):
        item = _type_of(arrow, args[0]) if args else None
        return item and arrow.list_(item)
    if issubclass(origin, tuple):
        return None  # msgspec makes no names of it where it is not the record itself
    try:
        fields = RecordFields(origin).fields
    except PlanError:
        return None
    return None if fields is None else arrow.struct([_column(arrow, field) for field in fields])
