"""One process object of one subtask, tied to its state, which it finds in plain attributes.

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

from inspect import isasyncgenfunction, iscoroutinefunction
from typing import TYPE_CHECKING, Any, cast

from actorstream.errors import InvariantError, PlanError, StateAccessError
from actorstream.operators.awaited_timers import AwaitedTimers
from actorstream.operators.broadcast_calls import BroadcastCalls
from actorstream.operators.broadcast_view import BroadcastView
from actorstream.operators.contexts import RecordContext, UnkeyedContext
from actorstream.operators.expiring_states import ExpiringStates
from actorstream.operators.keyed_process import Process
from actorstream.operators.operator_list import OperatorList
from actorstream.operators.outside import Outside
from actorstream.operators.process_timers import HeldTimers, ProcessTimers
from actorstream.operators.state_declarations import MapState, declarations_of, default_of
from actorstream.operators.trial import OnTrial, Trial
from actorstream.operators.unkeyed_declarations import UnkeyedDeclaration
from actorstream.operators.unkeyed_states import ALONE, UnkeyedStates
from actorstream.state.memtable import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorstream.model.world import Clock
    from actorstream.operators.keyed_process import Keyed
    from actorstream.state.operator_state import OperatorState
    from actorstream.state.unkeyed import Unkeyed

_GENERATED = "_actorstream_generated"
_HANDLERS = ("on_element", "on_left", "on_right", "on_broadcast", "on_timer")
_AS_A_MAP = "a map state is changed in place; say self.x.clear() and self.x.update(...)"
_CHANGED: dict[type, str] = {
    OperatorList: "an operator list state is changed in place; say self.x[:] = ...",
    BroadcastView: "broadcast state is written in on_broadcast; say ctx.writable(self.x)[key] = ...",
}


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

    `values` names the value and list states in column order, `expiring` has those with a time-to-live; `made_anew`
    names those of the others with a factory, and `deleted` holds, during one handler, which of the latter were
    deleted, with the default that took their place. `unkeyed` has the states that belong to no key: they stay where
    they are for as long as the binding lasts. `set_timers` is what handlers set theirs by, `timers` what the loop takes
    them from. `trial` undoes what a call that raises did, `broadcast_trial` what `on_broadcast` did; None: the job
    fails. `ended_handlers` stand in the place of handlers that were called before.
    """

    def __init__(  # noqa: PLR0913
        self,
        operator: str,
        process: Keyed[Any],
        state: OperatorState,
        clock: Clock,
        place: tuple[int, int] = ALONE,
        restored: Unkeyed | None = None,
        *,
        undoes: bool = False,
        awaits: bool = False,
    ) -> None:
        """Give `process` its generated class, if it has none, and its views.

        Args:
            operator: Its name.
            process: The user's object.
            state: Its subtask's.
            clock: The job's.
            place: Which subtask of how many.
            restored: What a snapshot had of the states without key.
            undoes: What a handler did is undone where it raises.
            awaits: Handlers may be async: they are called before the chain comes to their records.
        """
        self.operator = operator
        self.process = process
        if _GENERATED not in vars(type(process)):
            process.__class__ = _class_of_its_own(type(process))
        self._class = type(process)
        self.ended_handlers: Mapping[str, Callable[..., object]] = {}
        for name in _HANDLERS if not awaits else ():
            handler = getattr(self._class, name, None)
            if iscoroutinefunction(handler) or isasyncgenfunction(handler):
                raise PlanError(f"{self._class.__name__}.{name} is async: write it as a plain function or generator")
        of_timers = AwaitedTimers if awaits else ProcessTimers
        self.timers = of_timers(state.timers) if state.timers is not None else None
        held = HeldTimers(self.timers) if undoes and self.timers is not None else None
        self.set_timers: ProcessTimers | HeldTimers | None = held or self.timers
        declared = declarations_of(self._class)
        keyed = {name: each for name, each in declared.items() if not isinstance(each, UnkeyedDeclaration)}
        self.values = [name for name, declaration in keyed.items() if not isinstance(declaration, MapState)]
        self.defaults = {name: default_of(declared[name]) for name in self.values}
        self.aging = ExpiringStates(declared, clock, class_of(process))
        self.expiring = self.aging.values
        self.made_anew = frozenset(
            name for name, (_, factory) in self.defaults.items() if factory is not None and name not in self.expiring
        )
        self.deleted: dict[str, object] = {}
        self.context = UnkeyedContext(self, clock) if isinstance(process, Process) else RecordContext(self, clock)
        self.views = {
            name: self.aging.view(declaration, state.maps[name])
            for name, declaration in declared.items()
            if isinstance(declaration, MapState)
        }
        self._outside = {
            name: Outside(declared[name], self._class) for name in self.values if name not in self.expiring
        }
        self.unkeyed = UnkeyedStates(declared, class_of(process), state, place, restored)
        self.broadcast = BroadcastCalls(self, clock, state, self.unkeyed.broadcast)
        maps, lists = [state.maps[name] for name in self.views], self.unkeyed.lists.values()
        writers = [view.writer for view in self.unkeyed.broadcast.values()]
        by_key: list[OnTrial] = [*maps, *lists, *([held] if held is not None else [])]
        self.trial = Trial(self, by_key) if undoes else None
        self.broadcast_trial = Trial(self, [*maps, *lists, state.rows, *writers]) if undoes else None
        for name, attribute in self.unkeyed.attributes.items():
            setattr(self._class, name, _Bound(self, name))
            setattr(process, name, attribute)
        self._hidden = False

    def handler(self, name: str) -> Callable[..., object]:
        """Give what the chain calls: a handler, or what gives what it has come to."""
        return self.ended_handlers.get(name) or cast("Callable[..., object]", getattr(self.process, name))

    def bind(self) -> None:
        """Make the states plain attributes: a batch begins.

        Raises:
            StateAccessError: One was assigned since the last batch, where there was no key.
        """
        if not self._hidden:
            self._hide()
        self.aging.reach()
        self.check_released()

    def check_released(self) -> None:
        """Look whether a value state was assigned where there was no key.

        Raises:
            StateAccessError: It was.
        """
        process = self.process
        for name, outside in self._outside.items():
            if getattr(process, name) is not outside:
                self.deleted.clear()
                raise outside.refusal()

    def _hide(self) -> None:
        self._hidden = True
        for name in self.values:
            bound = _Bound(self, name) if name in self.made_anew else self.defaults[name][0]
            setattr(self._class, name, self.expiring.get(name, bound))
        for name, view in self.views.items():
            setattr(self._class, name, _Bound(self, name))
            setattr(self.process, name, view)
        self.release()

    def unbind(self) -> None:
        """End a batch: using a state is refused from here on (T32).

        Raises:
            StateAccessError: A handler deleted a map, or put something else in its place, which would be lost.
        """
        for views in (self.views, self.unkeyed.attributes):
            for name, view in views.items():
                if getattr(self.process, name) is not view:
                    raise self.replaced(name)
        self.release()

    def release(self) -> None:
        """Leave no key's state on the object."""
        for name, outside in self._outside.items():
            setattr(self.process, name, outside)
        self.aging.release()
        for view in self.views.values():
            view.key = MISSING

    def retire(self) -> None:
        """Let the declarations of states by key refuse again, for good: the end, also after a handler failed."""
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
        if name in self.views or name in self.unkeyed.attributes:
            raise self.replaced(name)
        if name in self.expiring:
            self.expiring[name].pair = MISSING
            return MISSING
        value = self.fresh(name)
        setattr(self.process, name, value)
        if name in self.made_anew:
            self.deleted[name] = value
        return value

    def replaced(self, name: str) -> StateAccessError:
        """Say that a state that is changed in place was assigned or deleted."""
        found = self.unkeyed.attributes.get(name)
        return StateAccessError(
            f"{self._class.__name__}.{name} was assigned or deleted: {_CHANGED.get(type(found), _AS_A_MAP)}".replace(
                "self.x", f"self.{name}"
            )
        )

    def clear(self, key: object) -> None:
        """Carry out `ctx.clear()`."""
        for view in self.views.values():
            if view.key is not key:
                raise InvariantError(f"{self.operator}: a map view is bound to another key")
            view.clear()
        for name in self.values:
            self.delete(name)
        if self.set_timers is not None:
            self.set_timers.clear(key)

    def settle(self) -> object:
        """Give the row to store after a handler that deleted something; forgets what was deleted."""
        expiring = self.expiring
        columns = [expiring[name].pair if name in expiring else getattr(self.process, name) for name in self.values]
        for index, name in enumerate(self.values):
            if name in expiring:
                gone = columns[index] is MISSING
            elif name not in self.made_anew:
                gone = columns[index] is self.defaults[name][0]
            else:
                gone = columns[index] is self.deleted.get(name, MISSING) and columns[index] == self.fresh(name)
            if gone:
                columns[index] = MISSING
        self.deleted.clear()
        if all(column is MISSING for column in columns):
            return MISSING
        return columns[0] if len(columns) == 1 else tuple(columns)
