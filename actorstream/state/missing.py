"""The object that stands for no value, and what may be shared without a look inside."""

from __future__ import annotations

from typing import Final

from actorstream.codec.values import copy_value


class _Missing:
    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "MISSING"  # copies are the same object


MISSING: Final = _Missing()
"""No value: not even None."""

ABSENT: Final = object()
"""A dict says nothing about a key, where MISSING says that it was deleted."""

PLAIN: Final = frozenset({bool, int, float, str, bytes, type(None), _Missing})
"""Classes whose instances can be handed out without a second look."""


def private_copy(value: object) -> object:
    """Copy a value that may be changed in place; MISSING stays what it is."""
    return value if value.__class__ in PLAIN else copy_value(value)
