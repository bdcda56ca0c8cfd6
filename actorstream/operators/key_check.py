"""All keys of one key_by are of one type: 1, 1.0 and True are equal in Python and would share state (T137).

    a batch with its keys      all(keys): one set of types a batch
    a key made in the loop     `if type(k) is not key_type: key_type = one(k)`: 10 ns a record

Tuples are looked into as well: (1,) equals (True,). What `one` gives for them is
the type of no key, so it is asked for each.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, cast

from actorstream.codec.ordered_keys import encode_key
from actorstream.errors import CodecError, RestoreError
from actorstream.operators.routing import mixed_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

_EQUAL_KINDS: frozenset[type] = frozenset({bool, int, float})


class _AskAgain:
    """No key is of this type."""


class KeyCheck:
    """What the keys of one operator in one subtask have to be like: the first key decides, or the stored ones."""

    def __init__(self, operator: str) -> None:
        """Belong to `operator`, which messages name."""
        self._operator = operator
        self._type: type | None = None
        self._stored: type | None = None
        self._parts: dict[int, type] = {}

    def expect_like(self, stored: object) -> None:
        """Refuse keys of another type than `stored`, a key of the restored state (T34)."""
        self._type = self._stored = type(stored)

    def settled(self) -> type:
        """Give the type that needs no look at a key; of no key as long as each needs one."""
        return _AskAgain if self._type is None or self._type is tuple else self._type

    def one(self, key: object) -> type:
        """Check one key, and give what `settled` gives from now on.

        Raises:
            CodecError: The key is None, of another type than the keys before, or has no encoding.
            RestoreError: The restored state has keys of another type.
        """
        if type(key) is not self._type:
            self._admit(key)
        if self._type is tuple:
            self._check_parts([key])
        return self.settled()

    def all(self, keys: Sequence[object]) -> None:
        """Check the keys of a batch; raises as `one`."""
        types = set(map(type, keys))
        if len(types) != 1 or self._type not in types:
            for key in keys:
                if type(key) is not self._type:
                    self._admit(key)
        if self._type is tuple:
            self._check_parts(keys)

    def _admit(self, key: object) -> None:
        """Take the first key's type; refuse a second one."""
        name = self._operator
        if key is None:
            raise CodecError(f"{name}: key_by gave None; filter such records out before, or give them a key")
        if self._type is not None and self._type is self._stored:
            raise RestoreError(
                f"{name}: key_by gave {key!r}, a {type(key).__name__}, but the state in the store is kept under "
                f"keys of type {self._type.__name__}; give keys of that type, or start in another store"
            )
        if self._type is not None:
            raise CodecError(f"{name}: {mixed_keys(key, self._type)}")
        try:
            encode_key(key)
        except CodecError as error:
            raise CodecError(f"{name}: key_by gave {key!r}: {error}") from error
        self._type = type(key)

    def _check_parts(self, keys: Sequence[object]) -> None:
        """Refuse (1,) beside (True,): Python holds them equal, their encodings differ."""
        for place, part in enumerate(zip_longest(*cast("Sequence[tuple[object, ...]]", keys))):
            kinds = {*map(type, part), self._parts.get(place, str)} & _EQUAL_KINDS
            if len(kinds) > 1:
                names = " and ".join(sorted(kind.__name__ for kind in kinds))
                raise CodecError(
                    f"{self._operator}: key_by gave tuples whose part {place + 1} is of the types {names}; "
                    "each part of a key is of one type: convert in the key function"
                )
            if kinds:
                self._parts[place] = kinds.pop()
