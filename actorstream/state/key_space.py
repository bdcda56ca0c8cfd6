"""One subtask's share of an operator's keys: how they are encoded, grouped and found in the layers."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING

from actorstream.codec.ordered_keys import encode_key
from actorstream.errors import CodecError, InvariantError
from actorstream.model.key_groups import key_group_of
from actorstream.state.entries import head_of

if TYPE_CHECKING:
    from actorstream.model.ids import OperatorNumber, StateNumber
    from actorstream.model.key_groups import KeyGroupRange
    from actorstream.state.stack import LayerStack

_CACHED_KEYS_MAX = 10_000


class KeySpace:
    """Shared by all columns of one `OperatorState`."""

    def __init__(
        self,
        *,
        operator: OperatorNumber,
        name: str,
        key_groups: KeyGroupRange,
        max_parallelism: int,
        stack: LayerStack,
    ) -> None:
        """Own `key_groups` of the operator; `name` is for messages.

        Raises:
            InvariantError: The stack covers other key groups: what is written would be lost.
        """
        if stack.key_groups != key_groups:
            raise InvariantError(
                f"{name} owns {key_groups}, its stack covers {stack.key_groups}: see LayerStack.covering"
            )
        self.operator = operator
        self.name = name
        self.key_groups = key_groups
        self.max_parallelism = max_parallelism
        self.stack = stack
        self._groups: dict[object, int] = {}

    def key_group(self, key: object) -> int:
        """Give the key group of a key; the latest 10,000 are remembered."""
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= _CACHED_KEYS_MAX:
                self._groups.clear()
            group = self._groups[key] = key_group_of(encode_key(key), self.max_parallelism)
        return group

    def heads(self, state: StateNumber) -> dict[int, bytes]:
        """Give, for each key group that this subtask owns, what its entries of `state` begin with."""
        return {group: head_of(self.operator, group, state) for group in range(*self.key_groups)}

    def stranger(self, key: object) -> InvariantError:
        """Make the error for a key that belongs to another subtask."""
        return InvariantError(
            f"{self.name}: key {reprlib.repr(key)} is of key group {self.key_group(key)}, "
            f"this subtask owns {self.key_groups.start} to {self.key_groups.end - 1}"
        )

    def cannot_encode(self, column: str, key: object, error: CodecError) -> CodecError:
        """Name the place of what could not be encoded or decoded; the kind of error stays."""
        return type(error)(f"state {self.name}.{column}, key {reprlib.repr(key)}: {error}")
