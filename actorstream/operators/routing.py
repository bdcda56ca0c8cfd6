"""Which subtask a key belongs to: encoded and hashed once, then remembered."""

from __future__ import annotations

from actorstream.codec.ordered_keys import encode_key
from actorstream.model.key_groups import key_group_of, owner_of

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
        self.known: dict[object, int] = {}

    def route(self, key: object) -> int:
        """Give the index of the subtask that owns `key`.

        Raises:
            CodecError: The key is of a type that has no stable encoding.
        """
        if len(self.known) >= _KNOWN_MAX:
            self.known.clear()
        target = owner_of(key_group_of(encode_key(key), self._max_parallelism), self.targets, self._max_parallelism)
        self.known[key] = target
        return target
