"""The states of one key as one async handler sees them: private copies, which become state when its turn has come.

    class Visits(KeyedProcess)        count: ValueState[int] = ValueState(0)
    class Visits' (Visits)            count = _Private("count")      the handler's `self`, one for each call

A plain handler finds its key's states in attributes of the one process object, which no other handler can touch before
it has ended. Async handlers of many keys are under way at once, so each has an object of its own: of a generated
class, with the attributes of the process object, all but the states. What is read is copied where it could be changed
in place, what is written lies apart. When the handler has ended, `finish` tells what it changed, column by column;
that is stored in the step in which its results are emitted (`store`). Until then the next handler of the key reads it
from `KeyChanges`.

Outside of the handler, and after its end, every use is refused (T32).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from actorstream.codec.values import is_immutable
from actorstream.errors import PlanError
from actorstream.operators.accumulating_declarations import AccumulatingDeclaration
from actorstream.operators.accumulating_value import AccumulatingValue
from actorstream.operators.expiring_value import ExpiringValue
from actorstream.operators.map_view import ExpiringMapView, MapView
from actorstream.operators.private_table import Overlay, PrivateTable
from actorstream.operators.process_binding import class_of
from actorstream.operators.state_declarations import MapState, declarations_of
from actorstream.operators.unkeyed_declarations import UnkeyedDeclaration
from actorstream.state.missing import ABSENT, MISSING, PLAIN, private_copy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorstream.operators.process_binding import ProcessBinding
    from actorstream.operators.state_declarations import Declaration
    from actorstream.operators.ttl import Lifetime
    from actorstream.state.map_table import MapTable
    from actorstream.state.operator_state import OperatorState


class KeyChanges:
    """What handlers of a key have changed that have ended, and are not stored yet."""

    __slots__ = ("columns", "maps")

    def __init__(self) -> None:
        """Begin with nothing."""
        self.columns: dict[str, object] = {}
        self.maps: dict[str, Overlay] = {}

    def put(self, newer: PrivateStates) -> None:
        """Put what a handler has changed over this."""
        self.columns.update(newer.changed)
        for name, table in newer.tables.items():
            self.maps.setdefault(name, Overlay()).put(table.writes)


class PrivateClass:
    """What one process object's handlers get as `self`.

    Attributes:
        made: The generated class.
        declared: The states by key, by name.
    """

    def __init__(self, binding: ProcessBinding, state: OperatorState) -> None:
        """Derive it from the user's class.

        Raises:
            PlanError: The class has states, or slots, that handlers which overlap cannot have.
        """
        owner = class_of(binding.process)
        self.declared = declarations_of(owner)
        for name, declaration in self.declared.items():
            if isinstance(declaration, UnkeyedDeclaration):
                raise PlanError(
                    f"{owner.__name__} has async handlers and a {type(declaration).__name__} {name!r}, which is of no "
                    "key: handlers of different keys overlap, so make them plain ones, or keep it by key"
                )
        if any("__slots__" in vars(base) for base in owner.__mro__ if base.__module__ not in {"builtins", "typing"}):
            raise PlanError(f"{owner.__name__} has async handlers and __slots__: leave these out")
        self._binding = binding
        self._state = state
        hidden: dict[str, object] = {name: _Private(declaration) for name, declaration in self.declared.items()}
        self.made = type(owner.__name__, (owner,), {"__slots__": ("_private_states",), **hidden})

    def new(self, states: PrivateStates) -> object:
        """Make the `self` of one call."""
        made: Any = object.__new__(self.made)
        made.__dict__ = self._binding.process.__dict__
        made._private_states = states  # noqa: SLF001  (of our own class)
        return made

    def states(self, key: object, before: KeyChanges, event_now: int, event_written: int) -> PrivateStates:
        """Make the states of one call for a key; both times are for those that expire in event time."""
        lifetimes = self._binding.aging.lifetimes(event_now, event_written)
        return PrivateStates(self._binding, self._state, self.declared, key, before, lifetimes)


class PrivateStates:
    """What one call has read and written.

    Attributes:
        changed: The columns that it changed, by name, MISSING for what it deleted; when it has ended.
        tables: The maps that it has used.
    """

    __slots__ = (
        "_before",
        "_binding",
        "_declared",
        "_key",
        "_lifetimes",
        "_row",
        "_state",
        "_used",
        "changed",
        "tables",
    )

    def __init__(
        self,
        binding: ProcessBinding,
        state: OperatorState,
        declared: Mapping[str, Declaration],
        key: object,
        before: KeyChanges,
        lifetimes: Mapping[str, Lifetime],
    ) -> None:
        """Read nothing yet."""
        self.changed: dict[str, object] = {}
        self.tables: dict[str, PrivateTable] = {}
        self._binding = binding
        self._state = state
        self._declared = declared
        self._key = key
        self._before = before
        self._lifetimes = lifetimes
        self._row: object = ABSENT
        self._used: dict[str, tuple[object, Any]] = {}

    # ---- what a handler reads and writes

    def get(self, name: str) -> object:
        """Give what `self.<name>` is."""
        used = self._used.get(name)
        if used is None:
            used = self._used[name] = self._load(name)
        value = used[1]
        return value.__get__(self, type(self)) if isinstance(value, ExpiringValue) else value

    def _load(self, name: str) -> tuple[object, object]:
        """Give the column that was read, and the private value made of it."""
        declaration = self._declared[name]
        if isinstance(declaration, MapState):
            return MISSING, self._view(declaration)
        lifetime, column = self._lifetimes.get(name), self._column(name)
        if isinstance(declaration, AccumulatingDeclaration):
            made = AccumulatingValue(declaration, type(self._binding.process), lifetime)
            made.pair = _private(column)
            return column, made
        if lifetime is not None:
            expiring = ExpiringValue(declaration, lifetime)
            expiring.pair = _private(column)
            return column, expiring
        return column, self._binding.fresh(name) if column is MISSING else _private(column)

    def _view(self, declaration: Declaration) -> MapView:
        name = declaration.name
        private = self.tables[name] = PrivateTable(self._state.maps[name], self._before.maps.get(name))
        table, lifetime = cast("MapTable", private), self._lifetimes.get(name)
        view = MapView(declaration, table) if lifetime is None else ExpiringMapView(declaration, table, lifetime)
        view.key = self._key
        return view

    def _column(self, name: str) -> object:
        column = self._before.columns.get(name, ABSENT)
        if column is not ABSENT:
            return column
        names = self._binding.values
        if self._row is ABSENT:
            rows = self._state.rows
            row = rows.live.get(self._key, MISSING)
            self._row = rows.older(self._key) if row is MISSING else row
        if self._row is MISSING or len(names) == 1:
            return self._row
        return cast("tuple[object, ...]", self._row)[names.index(name)]

    def set(self, name: str, value: object) -> None:
        """Carry out `self.<name> = value`."""
        declaration = self._declared[name]
        if isinstance(declaration, MapState):
            raise self._binding.replaced(name)
        if isinstance(declaration, AccumulatingDeclaration):
            raise declaration.assigned(type(self._binding.process))
        if name in self._lifetimes:
            self.get(name)
            self._used[name][1].__set__(self, value)
        else:
            column, _ = self._used.get(name) or (ABSENT, None)
            self._used[name] = column, value

    def delete(self, name: str) -> None:
        """Carry out `del self.<name>`: back to the default."""
        declaration = self._declared[name]
        if isinstance(declaration, MapState):
            raise self._binding.replaced(name)
        if name in self._binding.expiring:
            self.get(name)
            self._used[name][1].pair = MISSING
        else:
            self._used[name] = ABSENT, _Deleted(self._binding, name)

    def clear(self) -> None:
        """Carry out `ctx.clear()`."""
        for name, declaration in self._declared.items():
            if isinstance(declaration, MapState):
                cast("MapView", self.get(name)).clear()
            else:
                self.delete(name)

    # ---- what has become of it

    def finish(self) -> None:
        """Note what was changed: the handler has ended."""
        for name, (column, value) in self._used.items():
            if name in self.tables:
                value.key = MISSING  # whoever has kept it is refused
            elif isinstance(value, ExpiringValue | AccumulatingValue):
                if value.pair is not column:
                    self.changed[name] = value.pair
                value.pair = None
            elif isinstance(value, _Deleted):
                self.changed[name] = MISSING if value.value is ABSENT else value.settled()
            elif value is not column and not (column is MISSING and value is self._binding.defaults[name][0]):
                self.changed[name] = value
        self._used = {}

    def store(self) -> None:
        """Make it state: to be called where a plain handler of the key would be."""
        binding = self._binding
        for name, column in self.changed.items():
            if name in binding.expiring:
                binding.expiring[name].pair = column
            elif column is MISSING:
                delattr(binding.process, name)
            else:
                setattr(binding.process, name, column)
        for name, table in self.tables.items():
            table.writes.store(self._state.maps[name], self._key)


class _Deleted:
    """What is there after `del self.<name>`: nothing, or the default, once it was asked for."""

    __slots__ = ("_binding", "_name", "value")

    def __init__(self, binding: ProcessBinding, name: str) -> None:
        self._binding = binding
        self._name = name
        self.value: object = ABSENT

    def get(self) -> object:
        if self.value is ABSENT:
            self.value = self._binding.fresh(self._name)
        return self.value

    def settled(self) -> object:
        """Give what is stored: nothing where it is as fresh."""
        return MISSING if self.value == self._binding.fresh(self._name) else self.value


class _Private:
    """A state in the generated class."""

    def __init__(self, declaration: Declaration) -> None:
        self._declaration = declaration
        self._name = declaration.name

    def __get__(self, obj: Any, owner: type) -> object:  # noqa: ANN401  (the handler's own class)
        if obj is None:
            return self._declaration.reference(owner)
        states: PrivateStates | None = obj._private_states  # noqa: SLF001  (of the class that this stands in)
        if states is None:
            raise self._declaration.refuse(owner)
        found = states.get(self._name)
        return found.get() if isinstance(found, _Deleted) else found

    def __set__(self, obj: Any, value: object) -> None:  # noqa: ANN401
        states: PrivateStates | None = obj._private_states  # noqa: SLF001
        if states is None:
            raise self._declaration.refuse(type(obj))
        states.set(self._name, value)

    def __delete__(self, obj: Any) -> None:  # noqa: ANN401
        states: PrivateStates | None = obj._private_states  # noqa: SLF001
        if states is None:
            raise self._declaration.refuse(type(obj))
        states.delete(self._name)


def end_of(private: Any) -> None:  # noqa: ANN401  (what `PrivateClass.new` made)
    """Take the states away from the `self` of a call that has ended."""
    private._private_states = None  # noqa: SLF001


def _private(column: object) -> object:
    return column if column.__class__ in PLAIN or is_immutable(column) else private_copy(column)
