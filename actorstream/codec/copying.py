"""Private copies of values, and which values need none."""

from __future__ import annotations

from copy import copy
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from actorstream.codec.records import record_class
from actorstream.codec.self_describing import SELF_DESCRIBING
from actorstream.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.codec.records import RecordClass

_IMMUTABLE: Final = frozenset(
    {type(None), bool, int, float, str, bytes, datetime, date, time, timedelta, Decimal, UUID}
)


def is_immutable(value: object) -> bool:
    """Tell whether `value` and all that it holds cannot be changed in place."""
    kind = value.__class__
    if kind in _IMMUTABLE:
        return True
    answer = _ANSWERS.get(kind)
    if answer is None:
        answer = _ANSWERS[kind] = _answer_for(kind)
    return answer(value)


def _answer_for(kind: type) -> Callable[[Any], bool]:
    if issubclass(kind, Enum):
        return _yes
    record = record_class(kind)
    if record is None or not record.frozen:
        return _no
    parts = record.parts

    def all_fields_are(value: object) -> bool:
        try:
            return _all_immutable(parts(value))
        except (CodecError, AttributeError):
            return False

    return all_fields_are


def _all_immutable(values: tuple[object, ...] | frozenset[object]) -> bool:
    return _IMMUTABLE.issuperset(map(type, values)) or all(map(is_immutable, values))


def _yes(_: object) -> bool:
    return True


def _no(_: object) -> bool:
    return False


_ANSWERS: dict[type, Callable[[Any], bool]] = {
    tuple: _all_immutable,
    frozenset: _all_immutable,
    list: _no,
    dict: _no,
    set: _no,
}


def copy_value(value: object) -> object:
    """Give `value` itself if it is immutable, else a copy that shares nothing mutable with it.

    Classes are kept. Two references to one object inside become two objects.

    Raises:
        CodecError: it holds itself, or something that no codec could keep.
    """
    try:
        return _copy(value)
    except RecursionError:
        raise CodecError("a value is nested too deeply to be copied, or holds itself") from None


def _copy(value: object) -> object:
    kind = value.__class__
    if kind in _IMMUTABLE:
        return value
    copier = _COPIERS.get(kind)
    if copier is not None:
        return copier(value)
    if is_immutable(value):
        return value
    record = record_class(kind)
    if record is None:
        return SELF_DESCRIBING.decode(SELF_DESCRIBING.encode(value))
    return _copy_record(record, value)


def _copy_record(record: RecordClass, value: object) -> object:
    try:
        parts = record.parts(value)
    except AttributeError as error:
        raise CodecError(f"a {record.cls.__qualname__} cannot be copied: {error}") from error
    if isinstance(value, msgspec.Struct):
        made = copy(value)
        for name, part in zip(record.names, parts, strict=True):
            msgspec.structs.force_setattr(made, name, _copy(part))
        return made
    return record.build({name: _copy(part) for name, part in zip(record.names, parts, strict=True)})


def _copy_list(value: list[object]) -> list[object]:
    return value.copy() if _IMMUTABLE.issuperset(map(type, value)) else [_copy(item) for item in value]


def _copy_dict(value: dict[object, object]) -> dict[object, object]:
    if _IMMUTABLE.issuperset(map(type, value.values())):
        return value.copy()
    return {key: _copy(item) for key, item in value.items()}


def _copy_tuple(value: tuple[object, ...]) -> tuple[object, ...]:
    return value if _all_immutable(value) else tuple([_copy(item) for item in value])


_COPIERS: dict[type, Callable[..., object]] = {
    list: _copy_list,
    dict: _copy_dict,
    tuple: _copy_tuple,
    set: set.copy,
    bytearray: bytearray.copy,
}
