"""Process classes: a handler for each record of a key, with state in plain attributes.

A descriptor that looks state up at each access costs 0.41 of a plain loop; plain
attributes that are loaded before the handler and stored after it, where `is`
says that they changed, cost 0.83 (design notes on speed). So the runtime gives
the user's object a generated class, one for each object:

    class Visits(KeyedProcess)       count: ValueState[int] = ValueState(0)
    class Visits' (Visits)           count = 0           hides the declaration; what `del self.count` leaves

and the generated loop of the chain does `op.count = v; handler(record, ctx);
w = op.count; if w is not v: live[key] = w`; the default itself is stored as no
value at all. A plain class attribute lets the interpreter specialise every access
(half the time of a descriptor, measured); only a default that is made anew for
each key needs one. For the same reason an object is made of its class at once,
where we make it, and its `__dict__` is never asked for.

The declarations, which refuse every use, are hidden with the first batch and come
back with the end (T32); between two batches an `Outside` stands in each attribute.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from actorstream.errors import InvariantError, MissingTimestampError, PlanError, StateAccessError
from actorstream.operators.map_view import MapView
from actorstream.operators.outside import Outside
from actorstream.operators.state_declarations import MapState, declarations_of, default_of
from actorstream.state.memtable import MISSING

if TYPE_CHECKING:
    from actorstream.model.world import Clock
    from actorstream.state.operator_state import OperatorState

K = TypeVar("K")
K_co = TypeVar("K_co", covariant=True)
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)
Emits: TypeAlias = Iterable[R] | AsyncIterable[R] | Awaitable[Iterable[R] | None] | None

_GENERATED = "_actorstream_generated"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class OperatorContext(Protocol):
    """Which subtask this is."""

    @property
    def name(self) -> str:
        """The operator's name."""
        ...

    @property
    def subtask(self) -> int:
        """Index of this subtask, from 0."""
        ...

    @property
    def parallelism(self) -> int:
        """How many subtasks there are."""
        ...


class Context(Protocol[K_co]):
    """What a handler is told about the record at hand. Valid during the call only."""

    @property
    def key(self) -> K_co:
        """The current key."""
        ...

    @property
    def timestamp(self) -> datetime:
        """The record's event time: the source's own (an EventLog's: when appended), else MissingTimestampError."""
        ...

    @property
    def now(self) -> datetime:
        """Processing time, from the job's clock: never use another."""
        ...

    def clear(self) -> None:
        """Forget the key: every state of it in this operator."""
        ...


class Keyed(Generic[K]):
    """What process classes share. Attributes declared as state hold the current key's value."""

    async def open(self, ctx: OperatorContext, /) -> None:
        """Prepare, once for each subtask and attempt, before its first record."""

    async def close(self) -> None:
        """Let go of what `open` took: also called when the job fails."""


class KeyedProcess(Keyed[K], Generic[K, T_contra, R]):
    """Subclass it: `on_element` is called with each record, one record of a key at a time."""

    def on_element(self, value: T_contra, ctx: Context[K], /) -> Emits[R]:
        """Give back what to emit: a list, a generator, or nothing."""
        raise NotImplementedError


class RecordContext:
    """The `Context` that the generated loop fills in for each record."""

    __slots__ = ("_binding", "_clock", "event_time_us", "key")

    def __init__(self, binding: ProcessBinding, clock: Clock) -> None:
        """Belong to one process object."""
        self._binding = binding
        self._clock = clock
        self.key: object = None
        self.event_time_us: int | None = None

    @property
    def timestamp(self) -> datetime:
        """The record's event time."""
        if self.event_time_us is None:
            raise MissingTimestampError(
                f"ctx.timestamp in {self._binding.operator}: the source of this record gives no timestamps; "
                "read from an EventLog, or yield Fetched(..., timestamps=[...])"
            )
        return _EPOCH + timedelta(microseconds=self.event_time_us)

    @property
    def now(self) -> datetime:
        """The job's clock."""
        return _EPOCH + timedelta(microseconds=self._clock.now_us())

    def clear(self) -> None:
        """Forget the key."""
        self._binding.clear(self.key)


class _Bound:
    """Hides a declaration in the generated class where a plain attribute would not do.

    It is asked only where the object has no attribute of its own, which is after `del self.<name>`: so a deletion
    is noticed at the next reading, at the latest the generated loop's own after the handler. (A `__delattr__` in the
    class would send every store through Python: measured, it doubled the cost of a record.)
    """

    def __init__(self, binding: ProcessBinding, name: str) -> None:
        self._binding = binding
        self._name = name

    def __get__(self, obj: object, owner: type) -> object:
        return self._binding.delete(self._name)


def make_process(factory: Callable[[], object], owner: type | None) -> object:
    """Make the object of one subtask; of its generated class at once where `factory` is the class `owner`."""
    return factory() if owner is None else _class_of_its_own(owner)()


def _class_of_its_own(owner: type) -> type:
    names = {"__module__": owner.__module__, "__qualname__": owner.__qualname__, "__doc__": owner.__doc__}
    return type(owner.__name__, (owner,), {**names, _GENERATED: True})


def class_of(process: object) -> type:
    """Give the class that the user wrote."""
    made = type(process)
    return made.__base__ or made if _GENERATED in vars(made) else made


class ProcessBinding:
    """One process object of one subtask, tied to its state.

    `values` names the value and list states in column order, `made_anew` those of them with a factory; `deleted`
    holds, during one handler, the latter that were deleted with the default that took their place.
    """

    def __init__(self, operator: str, process: Keyed[Any], state: OperatorState, clock: Clock) -> None:
        """Give `process` its generated class, if it has none, and its map views."""
        self.operator = operator
        self.process = process
        if _GENERATED not in vars(type(process)):
            process.__class__ = _class_of_its_own(type(process))
        self._class = type(process)
        handler = getattr(self._class, "on_element", None)
        if iscoroutinefunction(handler) or isasyncgenfunction(handler):
            raise PlanError(f"{self._class.__name__}.on_element is async: write it as a plain function or generator")
        declared = declarations_of(self._class)
        self.values = [name for name, declaration in declared.items() if not isinstance(declaration, MapState)]
        self.defaults = {name: default_of(declared[name]) for name in self.values}
        self.made_anew = frozenset(name for name, (_, factory) in self.defaults.items() if factory is not None)
        self.deleted: dict[str, object] = {}
        self.context = RecordContext(self, clock)
        self.views = {
            name: MapView(declaration, state.maps[name])
            for name, declaration in declared.items()
            if isinstance(declaration, MapState)
        }
        self._outside = {name: Outside(declared[name], self._class) for name in self.values}
        self._hidden = False

    def bind(self) -> None:
        """Make the states plain attributes: a batch begins.

        Raises:
            StateAccessError: One was assigned since the last batch, where there was no key.
        """
        if not self._hidden:
            self._hide()
        process = self.process
        for name, outside in self._outside.items():
            if getattr(process, name) is not outside:
                self.deleted.clear()
                raise outside.refusal()

    def _hide(self) -> None:
        self._hidden = True
        for name in self.values:
            bound = _Bound(self, name) if name in self.made_anew else self.defaults[name][0]
            setattr(self._class, name, bound)
        for name, view in self.views.items():
            setattr(self._class, name, _Bound(self, name))
            setattr(self.process, name, view)
        self.release()

    def unbind(self) -> None:
        """End a batch: using a state is refused from here on (T32).

        Raises:
            StateAccessError: A handler deleted a map, or put something else in its place, which would be lost.
        """
        for name, view in self.views.items():
            if getattr(self.process, name) is not view:
                raise self._replaced(name)
        self.release()

    def release(self) -> None:
        """Leave no key's state on the object."""
        for name, outside in self._outside.items():
            setattr(self.process, name, outside)
        for view in self.views.values():
            view.key = MISSING

    def retire(self) -> None:
        """Let the declarations refuse again, for good: the end, also after a handler failed."""
        if not self._hidden:
            return
        self.release()
        self._hidden = False
        for name in (*self.values, *self.views):
            delattr(self._class, name)

    def fresh(self, name: str) -> object:
        """Give the default of a state, newly made where there is a factory."""
        default, factory = self.defaults[name]
        return default if factory is None else factory()

    def delete(self, name: str) -> object:
        """Carry out `del self.<name>`, and give the default, which it is from here on."""
        if name in self.views:
            raise self._replaced(name)
        value = self.fresh(name)
        setattr(self.process, name, value)
        if name in self.made_anew:
            self.deleted[name] = value
        return value

    def _replaced(self, name: str) -> StateAccessError:
        return StateAccessError(
            f"{self._class.__name__}.{name} was assigned or deleted: a map state is changed in place; "
            f"say self.{name}.clear() and self.{name}.update(...)"
        )

    def clear(self, key: object) -> None:
        """Carry out `ctx.clear()`."""
        for view in self.views.values():
            if view.key is not key:
                raise InvariantError(f"{self.operator}: a map view is bound to another key")
            view.clear()
        for name in self.values:
            self.delete(name)

    def settle(self) -> object:
        """Give the row to store after a handler that deleted something; forgets what was deleted."""
        columns = [getattr(self.process, name) for name in self.values]
        for index, name in enumerate(self.values):
            if name not in self.made_anew:
                gone = columns[index] is self.defaults[name][0]
            else:
                gone = columns[index] is self.deleted.get(name, MISSING) and columns[index] == self.fresh(name)
            if gone:
                columns[index] = MISSING
        self.deleted.clear()
        if all(column is MISSING for column in columns):
            return MISSING
        return columns[0] if len(columns) == 1 else tuple(columns)
