"""Keys as a person types them: JSON, read as the type that the stored keys have.

stored                      typed
text, numbers, booleans     "ann"  5  true; text also without its quotes
tuple                       ["ann", 5]
datetime, date, UUID        "2026-11-23T09:00:00+00:00"
timedelta, bytes            seconds; base64
Enum                        the member's name
"""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import date, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from actorstream.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Callable

_FROM_TEXT: dict[type, Callable[[str], object]] = {
    str: str,
    bytes: lambda text: b64decode(text, validate=True),
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    UUID: UUID,
}


def key_of_text(text: str, like: object) -> object:
    """Read a key.

    Args:
        text: What was typed.
        like: Any key that is stored.

    Raises:
        PlanError: It is no key of that type.
    """
    try:
        typed = json.loads(text)
    except (ValueError, RecursionError):  # no JSON, or thousands of digits or of brackets
        typed = text
    try:
        return _as(typed, like)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise PlanError(
            f"the key {text} is no {type(like).__name__}, as the keys of this state are: one of them is {like!r:.100}; "
            "give JSON, as in '\"ann\"', 5 or '[\"ann\", 5]'"
        ) from error


def _as(typed: Any, like: Any) -> object:  # noqa: ANN401  (JSON; any key)
    kind = type(like)
    if kind is tuple:
        return tuple([_as(part, other) for part, other in zip(_of(typed, list), like, strict=True)])
    if isinstance(like, Enum):
        return kind[_of(typed, str)]
    if kind is timedelta:
        return timedelta(seconds=_of(typed, int, float))
    if kind is float:
        return float(_of(typed, int, float))
    if kind in _FROM_TEXT:
        return _FROM_TEXT[kind](_of(typed, str))
    return _of(typed, kind)


def _of(typed: Any, *kinds: type) -> Any:  # noqa: ANN401  (JSON)
    if type(typed) not in kinds:
        raise TypeError(f"{typed!r:.100} is no {kinds[0].__name__}")
    return typed
