"""How a process class says what it remembers: state as annotated class attributes.

    class Visits(KeyedProcess[str, Click, int]):
        count: ValueState[int] = ValueState(0)          the annotation is the schema

On the class, `Visits.count` is a `StateRef`, the state's address for queries. On
an instance inside a handler, `self.count` is the current key's value: the runtime
runs a generated subclass in which it is a plain attribute, loaded before the
handler and stored after it (keyed_process.py says how). Everywhere else, using it
raises `StateAccessError`.
"""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterable, Mapping, MutableMapping, MutableSequence, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Never, TypeAlias, TypeVar, cast, overload

from actorstream.codec.evolution import AS_DECLARED, Evolution
from actorstream.codec.values import is_immutable
from actorstream.errors import PlanError, StateAccessError
from actorstream.operators.ttl import ttl_of

if TYPE_CHECKING:
    from datetime import timedelta

    from actorstream.operators.keyed_process import Keyed
    from actorstream.operators.ttl import TTL

K = TypeVar("K")
S = TypeVar("S")
V = TypeVar("V")

Migration: TypeAlias = Callable[[Any], Any]
"""What makes a newer value of a plain one of an older version."""


@dataclass(frozen=True)
class StateRef(Generic[K, V]):
    """What `Class.attribute` is: the address of a state, for queries."""

    owner: type
    name: str


class SortedMap(MutableMapping[S, V], metaclass=ABCMeta):
    """A mapping that iterates in the order of its encoded keys.

    Numbers by size, text by code point, tuples by part.
    """

    @abstractmethod
    def scan(
        self, start: S | None = None, stop: S | None = None, *, reverse: bool = False, limit: int | None = None
    ) -> Iterable[tuple[S, V]]:
        """Give the entries with start <= key < stop, in order."""


class Declaration:
    """What the three kinds of state share: a name, an owner, how long values live, and none outside a handler.

    `evolution` says how values are read that were written by an earlier version of the class: codec/evolution.py.
    """

    name: str
    ttl: TTL | None
    evolution: Evolution = AS_DECLARED

    def __set_name__(self, owner: type, name: str) -> None:
        """Learn the attribute's name when the class is made."""
        self.name = name

    def reference(self, owner: type) -> StateRef[Any, Any]:
        """Give the state's address."""
        return StateRef(owner, self.name)

    def __set__(self, obj: Keyed[Any], value: Never) -> None:
        """Refuse: there is no key."""
        raise self.refuse(type(obj))

    def __delete__(self, obj: Keyed[Any]) -> None:
        """Refuse: there is no key."""
        raise self.refuse(type(obj))

    def refuse(self, owner: type | None) -> StateAccessError:
        """Say why there is no value here."""
        where = f"{owner.__name__}.{self.name}" if owner is not None else self.name
        return StateAccessError(
            f"{where} was used where there is no key: state belongs to a key, so use it in on_element only, "
            "not in __init__, open, close, on_broadcast or a background task"
        )


class ValueState(Declaration, Generic[V]):
    """One value a key. The annotation is the schema. `del self.x` goes back to the default.

    A mutable value may be changed in place: reading it counts as writing.
    """

    @overload
    def __init__(
        self,
        default: V,
        *,
        ttl: TTL | timedelta | float | None = None,
        version: int = 1,
        migrate: Mapping[int, Migration] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        *,
        factory: Callable[[], V],
        ttl: TTL | timedelta | float | None = None,
        version: int = 1,
        migrate: Mapping[int, Migration] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> None: ...
    def __init__(
        self,
        default: V | None = None,
        *,
        factory: Callable[[], V] | None = None,
        ttl: TTL | timedelta | float | None = None,
        version: int = 1,
        migrate: Mapping[int, Migration] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> None:
        """Take the value of a key that was never written, or what makes it, and how long values live: see `TTL`.

        Args:
            default: The value of a key that was never written.
            factory: What makes it, where it is mutable.
            ttl: How long values live.
            version: Of the annotation: grows where stored values must go through a function.
            migrate: For each older version, what makes a newer value of its plain one (a record is a dict).
            rename: From old names of fields to new ones, in every record of the annotation.
        """
        if factory is None and not is_immutable(default):
            kind = type(default).__name__
            raise PlanError(
                f"ValueState({kind}) would be shared by all keys: say ValueState(factory=...) with what makes "
                f"a new one, such as {kind}"
            )
        self.default = default
        self.factory = factory
        self.ttl = ttl_of(ttl)
        self.evolution = Evolution(version, migrate or {}, rename or {})

    @overload
    def __get__(self, obj: None, owner: type[Keyed[K]]) -> StateRef[K, V]: ...
    @overload
    def __get__(self, obj: Keyed[Any], owner: type[Any]) -> V: ...
    def __get__(self, obj: Keyed[Any] | None, owner: type[Any]) -> StateRef[Any, V] | V:
        """On the class: the address. On an instance: refused, since there is no key."""
        if obj is None:
            return self.reference(owner)
        raise self.refuse(owner)

    def __set__(self, obj: Keyed[Any], value: V) -> None:
        """Refuse: there is no key."""
        raise self.refuse(type(obj))


class ListState(Declaration, Generic[V]):
    """A list a key, kept as one value: every snapshot after a change writes the whole list."""

    def __init__(
        self,
        *,
        ttl: TTL | timedelta | float | None = None,
        version: int = 1,
        migrate: Mapping[int, Migration] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> None:
        """Take how long a list lives after it was used last; its elements do not age one by one, see `TTL`.

        `version`, `migrate` and `rename` are those of `ValueState`; `migrate` takes one element.
        """
        self.ttl = ttl_of(ttl)
        self.evolution = Evolution(version, migrate or {}, rename or {}, each=True)

    @overload
    def __get__(self, obj: None, owner: type[Keyed[K]]) -> StateRef[K, Sequence[V]]: ...
    @overload
    def __get__(self, obj: Keyed[Any], owner: type[Any]) -> MutableSequence[V]: ...
    def __get__(self, obj: Keyed[Any] | None, owner: type[Any]) -> StateRef[Any, Sequence[V]] | MutableSequence[V]:
        """On the class: the address. On an instance: refused, since there is no key."""
        if obj is None:
            return self.reference(owner)
        raise self.refuse(owner)


class MapState(Declaration, Generic[S, V]):
    """A sorted map a key, each entry stored by itself: it may be larger than memory."""

    def __init__(
        self,
        *,
        ttl: TTL | timedelta | float | None = None,
        version: int = 1,
        migrate: Mapping[int, Migration] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> None:
        """Take how long an entry lives, each by itself: see `TTL`.

        `version`, `migrate` and `rename` are those of `ValueState`, for values: map keys keep their type.
        """
        self.ttl = ttl_of(ttl)
        self.evolution = Evolution(version, migrate or {}, rename or {})

    @overload
    def __get__(self, obj: None, owner: type[Keyed[K]]) -> StateRef[K, Mapping[S, V]]: ...
    @overload
    def __get__(self, obj: Keyed[Any], owner: type[Any]) -> SortedMap[S, V]: ...
    def __get__(self, obj: Keyed[Any] | None, owner: type[Any]) -> StateRef[Any, Mapping[S, V]] | SortedMap[S, V]:
        """On the class: the address. On an instance: refused, since there is no key."""
        if obj is None:
            return self.reference(owner)
        raise self.refuse(owner)


def declarations_of(owner: type) -> dict[str, Declaration]:
    """Give the states that a class declares, its bases' first, in order of their lines."""
    found: dict[str, Declaration] = {}
    methods: dict[str, str] = {}
    for part in reversed(owner.__mro__):
        for name, value in vars(part).items():
            if isinstance(value, Declaration):
                if name in methods:
                    hidden = f"{methods[name]}.{name}"
                    raise PlanError(f"{owner.__name__}.{name} is a state, and hides {hidden}: rename the state")
                found[name] = value
            elif name in found:
                raise PlanError(f"{owner.__name__}.{name} hides a state of the same name: rename one of them")
            elif callable(value):
                methods[name] = part.__name__
    return found


def default_of(declaration: Declaration) -> tuple[object, Callable[[], object] | None]:
    """Give (default, factory) of a value or list state; factory None means that default is the value."""
    if isinstance(declaration, ListState):
        return None, cast("Callable[[], object]", list)
    if isinstance(declaration, ValueState):
        return declaration.default, declaration.factory
    if isinstance(declaration, MapState):
        raise TypeError(declaration)
    return None, None  # what nothing was added to gives no result
