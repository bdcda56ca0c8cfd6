"""States that are made of what was added to them: declared as the others are.

    class Trips(KeyedProcess[str, Trip, float]):
        longest: ReducingState[float] = ReducingState(max)                              max(max(2.0, 7.5), 3.1)
        mean: AggregatingState[float, tuple[float, int], float] = AggregatingState(Mean())

In a handler say `self.longest.add(trip.km)`; `self.longest.get()` gives the result, None before there is any. Only
what they have come to is stored, one value a key. `Class.attribute` is the state's address for queries, which give the
result too.
"""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Generic, Never, Protocol, TypeVar, overload

from actorstream.codec.evolution import Evolution
from actorstream.errors import PlanError, StateAccessError
from actorstream.operators.state_declarations import Declaration
from actorstream.operators.ttl import ttl_of
from actorstream.state.missing import MISSING, private_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from actorstream.operators.keyed_process import Keyed
    from actorstream.operators.state_declarations import Migration, StateRef
    from actorstream.operators.ttl import TTL
    from actorstream.operators.windows.aggregates import Aggregate

K = TypeVar("K")
V = TypeVar("V")
S = TypeVar("S")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Accumulated(Protocol[T_contra, R_co]):
    """What `self.attribute` is in a handler."""

    def add(self, value: T_contra, /) -> None:
        """Add a value to what there is of the current key."""
        ...

    def get(self) -> R_co | None:
        """Give the result: yours, a later `add` does not change it. None: nothing was added, or it has expired."""
        ...

    def clear(self) -> None:
        """Forget what was added; `del self.attribute` does the same."""
        ...


class AccumulatingDeclaration(Declaration):
    """What the two have in common: `plus` and `result` are what the runtime calls."""

    def plus(self, held: Any, value: Any) -> object:  # noqa: ANN401  (of the annotated types)
        """Give the accumulator with a value more; `held` is MISSING at first."""
        raise NotImplementedError

    def result(self, held: Any) -> object:  # noqa: ANN401
        """Give the result of an accumulator."""
        raise NotImplementedError

    def __set__(self, obj: Keyed[Any], value: Never) -> None:
        """Refuse: it is made of what was added."""
        raise self.refuse(type(obj))

    def assigned(self, owner: type) -> StateAccessError:
        """Say why it cannot be assigned."""
        return StateAccessError(
            f"{owner.__name__}.{self.name} was assigned: it is made of what was added; say self.{self.name}.add(...), "
            f"or self.{self.name}.clear()"
        )

    def _something(self, held: object, whose: str) -> object:
        if held is None:
            raise TypeError(f"{self.name}: {whose} gave None, expected what there is with the value in it: return it")
        return held


class ReducingState(AccumulatingDeclaration, Generic[V]):
    """One value a key: the first that was added, then fn(value, added). The annotation is the schema."""

    def __init__(
        self,
        fn: Callable[[V, V], V],
        *,
        ttl: TTL | timedelta | float | None = None,
        version: int = 1,
        migrate: Mapping[int, Migration] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> None:
        """Take what combines two values; it may change the first and give it back. The rest is that of `ValueState`.

        Raises:
            PlanError: `fn` is no plain function.
        """
        given: object = fn
        if not callable(given) or iscoroutinefunction(given):
            raise PlanError(f"ReducingState({given!r}): expected a plain function of two values that gives one")
        self._fn = fn
        self.ttl = ttl_of(ttl)
        self.evolution = Evolution(version, migrate or {}, rename or {})

    def plus(self, held: Any, value: Any) -> object:  # noqa: ANN401
        """Combine; the first value is copied, since others may have it too."""
        if held is MISSING:
            return self._something(private_copy(value), "what was added")
        return self._something(self._fn(held, value), "its function")

    def result(self, held: Any) -> object:  # noqa: ANN401
        """Give the value itself."""
        return held

    @overload
    def __get__(self, obj: None, owner: type[Keyed[K]]) -> StateRef[K, V | None]: ...
    @overload
    def __get__(self, obj: Keyed[Any], owner: type[Any]) -> Accumulated[V, V]: ...
    def __get__(self, obj: Keyed[Any] | None, owner: type[Any]) -> StateRef[Any, V | None] | Accumulated[V, V]:
        """On the class: the address. On an instance: refused, since there is no key."""
        if obj is None:
            return self.reference(owner)
        raise self.refuse(owner)


class AggregatingState(AccumulatingDeclaration, Generic[T, S, R]):
    """One accumulator a key, of an `Aggregate`: added are T, stored is S, the result is R."""

    def __init__(
        self,
        aggregate: Aggregate[T, S, R],
        *,
        ttl: TTL | timedelta | float | None = None,
        version: int = 1,
        migrate: Mapping[int, Migration] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> None:
        """Take what adds up, as windows do; its `merge` is not called. The rest is that of `ValueState`, for S.

        Raises:
            PlanError: It is no object with `create`, `add` and `result`.
        """
        lacking = [each for each in ("create", "add", "result") if not callable(getattr(aggregate, each, None))]
        if isinstance(aggregate, type) or lacking:
            found = f"the class {aggregate.__name__}" if isinstance(aggregate, type) else f"{aggregate!r}"
            raise PlanError(f"AggregatingState({found}): expected an object with create, add and result")
        self._aggregate = aggregate
        self.ttl = ttl_of(ttl)
        self.evolution = Evolution(version, migrate or {}, rename or {})

    def plus(self, held: Any, value: Any) -> object:  # noqa: ANN401
        """Add; what `create` gives is copied, so that one mutable object cannot become the state of every key."""
        if held is MISSING:
            held = private_copy(self._aggregate.create())
        return self._something(self._aggregate.add(held, value), f"{type(self._aggregate).__name__}.add")

    def result(self, held: Any) -> object:  # noqa: ANN401
        """Give the user's result."""
        return self._aggregate.result(held)

    @overload
    def __get__(self, obj: None, owner: type[Keyed[K]]) -> StateRef[K, R | None]: ...
    @overload
    def __get__(self, obj: Keyed[Any], owner: type[Any]) -> Accumulated[T, R]: ...
    def __get__(self, obj: Keyed[Any] | None, owner: type[Any]) -> StateRef[Any, R | None] | Accumulated[T, R]:
        """On the class: the address. On an instance: refused, since there is no key."""
        if obj is None:
            return self.reference(owner)
        raise self.refuse(owner)
