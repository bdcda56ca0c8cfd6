"""States that belong to an operator, not to a key: declared as the others are.

    class Score(BroadcastProcess[str, Payment, Rule, Alert]):
        rules: BroadcastState[str, Rule] = BroadcastState()         in every subtask the same

    class Batcher(Process[Event, list[Event]]):
        waiting: OperatorListState[Event] = OperatorListState()     each subtask has a part

They are there from `open` to `close`, in every handler. How they are stored says state/unkeyed.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Literal, Never, Self, TypeVar, overload

from actorstream.codec.evolution import Evolution
from actorstream.errors import PlanError, StateAccessError
from actorstream.operators.state_declarations import Declaration

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableSequence

    from actorstream.operators.keyed_process import Keyed
    from actorstream.operators.state_declarations import Migration

S = TypeVar("S")
V = TypeVar("V")


class UnkeyedDeclaration(Declaration):
    """What the two have in common: nothing expires, and no key is asked for."""

    ttl = None

    def refuse(self, owner: type | None) -> StateAccessError:
        """Say why there is no value here."""
        where = f"{owner.__name__}.{self.name}" if owner is not None else self.name
        return StateAccessError(
            f"{where} was used before its operator was made: use it in open, in a handler or in close, not in __init__"
        )

    def __set__(self, obj: object, value: Never) -> None:
        """Refuse: there is nothing to write to."""
        raise self.refuse(type(obj))


class BroadcastState(UnkeyedDeclaration, Generic[S, V]):
    """The same in every subtask; read-only except through `BroadcastContext.writable`.

    It is kept in memory, and iterates in the order of the encoded keys: numbers by size, text by code point.
    """

    def __init__(
        self,
        *,
        version: int = 1,
        migrate: Mapping[int, Migration] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> None:
        """Take how stored values become newer ones: see `ValueState`. Keys keep their type."""
        self.evolution = Evolution(version, migrate or {}, rename or {})

    @overload
    def __get__(self, obj: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, obj: Keyed[Any], owner: type[Any]) -> Mapping[S, V]: ...
    def __get__(self, obj: Keyed[Any] | None, owner: type[Any]) -> Self | Mapping[S, V]:
        """On the class: this declaration. On an instance that no operator has yet: refused."""
        if obj is None:
            return self
        raise self.refuse(owner)


class OperatorListState(UnkeyedDeclaration, Generic[V]):
    """A list that each subtask has a part of, kept as one value: every snapshot after a change writes that part.

    At another parallelism the parts are put one behind the other, in the order of their subtasks. Then they are dealt
    out, element n to subtask n modulo the parallelism; with `rescale="union"` each subtask gets all of it, and keeps in
    `open` what it wants: what it leaves in the list is in the next union as often as there are subtasks.
    """

    def __init__(
        self,
        *,
        rescale: Literal["split", "union"] = "split",
        version: int = 1,
        migrate: Mapping[int, Migration] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> None:
        """Take who gets what at another parallelism, and how stored elements become newer ones: see `ValueState`.

        `migrate` takes one element.

        Raises:
            PlanError: `rescale` is neither of the two.
        """
        given: object = rescale
        if given not in {"split", "union"}:
            raise PlanError(f"OperatorListState: rescale is {given!r}, expected 'split' or 'union'")
        self.rescale = rescale
        self.evolution = Evolution(version, migrate or {}, rename or {}, each=True)

    @overload
    def __get__(self, obj: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, obj: object, owner: type[Any]) -> MutableSequence[V]: ...
    def __get__(self, obj: object, owner: type[Any]) -> Self | MutableSequence[V]:
        """On the class: this declaration. On an instance that no operator has yet: refused."""
        if obj is None:
            return self
        raise self.refuse(owner)
