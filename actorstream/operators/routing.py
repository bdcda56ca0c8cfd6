"""Which subtask a record goes to: by its key, encoded and hashed once, then remembered; or as the user says."""

from __future__ import annotations

from copy import deepcopy
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING

from actorstream.codec.ordered_keys import encode_key
from actorstream.errors import CodecError
from actorstream.model.key_groups import key_group_of, owner_of

if TYPE_CHECKING:
    from actorstream.graph.nodes import Function

_KNOWN_MAX = 100_000


class Router:
    """Sends each key to one of `targets` subtasks.

    `known` caches the newest answers; the generated loop reads it and calls
    `route` for a key that is not in it. Keys that Python holds equal (1, 1.0,
    True) share an entry and so a subtask, where mixed types are then refused.
    """

    def __init__(self, targets: int, max_parallelism: int) -> None:
        """Start with nothing known."""
        self.targets = targets
        self._max_parallelism = max_parallelism
        self._key_type: type | None = None
        self.known: dict[object, int] = {}

    def route(self, key: object) -> int:
        """Give the index of the subtask that owns `key`.

        Raises:
            CodecError: The key is of a type that has no stable encoding, or of another than the keys before (T137).
        """
        encoded = encode_key(key)
        expected = self._key_type = self._key_type or type(key)
        if type(key) is not expected:
            raise mixed_keys(key, expected)
        if len(self.known) >= _KNOWN_MAX:
            self.known.clear()
        target = owner_of(key_group_of(encoded, self._max_parallelism), self.targets, self._max_parallelism)
        self.known[key] = target
        return target


class Chooser:
    """Asks a function which of `targets` subtasks takes a record.

    An object that is called, such as one that deals out in turn, is copied for each edge and sending subtask (T126).
    """

    def __init__(self, fn: Function, targets: int) -> None:
        """Ask `fn`, or a copy of it."""
        self.targets = targets
        self._fn = fn if isinstance(fn, FunctionType | BuiltinFunctionType | MethodType | type) else deepcopy(fn)

    def choose(self, record: object) -> int:
        """Give the index of the subtask.

        Raises:
            TypeError: The function gave no int.
            ValueError: It gave one that no subtask has.
        """
        index = self._fn(record, self.targets)
        if type(index) is not int:
            raise TypeError(
                f"partition_by: the function gave {index!r}, a {type(index).__name__}, expected a subtask's index, "
                f"an int from 0 to {self.targets - 1}"
            )
        if not 0 <= index < self.targets:
            raise ValueError(
                f"partition_by: the function gave {index}, expected 0 to {self.targets - 1}, the index of one of "
                f"{self.targets} subtasks: say fn(record, n) % n"
            )
        return index


def mixed_keys(key: object, expected: type) -> CodecError:
    """Say that `key` is not of the type of the keys before it."""
    return CodecError(
        f"key_by gave {key!r}, a {type(key).__name__}, after keys of type {expected.__name__}; "
        "all keys of one key_by are of one type: convert in the key function"
    )
