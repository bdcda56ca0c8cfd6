"""The calls of `on_broadcast`: no key's state is there, broadcast state may be written, and every key be visited.

begin()     the keyed states are taken away, whatever a timer before this record has left
handler     ctx.writable(self.rules)[...] = ...       ctx.for_each_key(Class.state, fn)
end()       what was written goes to where snapshots find it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from actorstream.errors import StateAccessError
from actorstream.operators.broadcast_view import BroadcastView, refused
from actorstream.operators.contexts import UnkeyedContext
from actorstream.operators.state_declarations import StateRef
from actorstream.state.missing import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from actorstream.model.world import Clock
    from actorstream.operators.contexts import OutputTag
    from actorstream.operators.process_binding import ProcessBinding
    from actorstream.state.operator_state import OperatorState


_NO_COLUMNS: tuple[object, ...] = ()


class BroadcastCalls(UnkeyedContext):
    """The `BroadcastContext` of one process object."""

    __slots__ = ("_state", "_views", "_visiting")

    def __init__(
        self, binding: ProcessBinding, clock: Clock, state: OperatorState, views: Mapping[str, BroadcastView]
    ) -> None:
        """Write to `views`, and visit the keys of `state`."""
        super().__init__(binding, clock)
        self._state = state
        self._views = list(views.values())
        self._visiting = False

    def begin(self) -> None:
        """Take the states of the last key away, and let broadcast state be written."""
        self._binding.release()
        for view in self._views:
            view.writer.open = True

    def end(self) -> None:
        """Store what was written.

        Raises:
            StateAccessError: The handler assigned a state, which would be lost.
        """
        self._binding.check_released()
        for view in self._views:
            view.writer.stored()

    def emit_to(self, tag: OutputTag[Any], value: object) -> None:
        """Give a record to a side output."""
        self._binding.context.emit_to(tag, value)

    def writable(self, state: Mapping[Any, Any], /) -> MutableMapping[Any, Any]:
        """Give what writes to a broadcast state."""
        if not isinstance(state, BroadcastView) or not any(state is view for view in self._views):
            refused(state)
        return state.writer

    def for_each_key(self, state: StateRef[Any, Any], fn: Callable[[Any, Any], object], /) -> None:
        """Visit every key that has something of a state."""
        binding, name = self._binding, self._name_of(state)
        if self._visiting:
            raise StateAccessError(f"{binding.operator}: for_each_key was called inside of for_each_key")
        self._visiting = True
        try:
            for key in self._state.keys_of(name):
                row = self._load(key)
                if self._has(name, row):
                    fn(key, getattr(binding.process, name))
                self._store(key, row)
        finally:
            self._visiting = False
            binding.release()

    def _name_of(self, state: object) -> str:
        owner, names = type(self._binding.process), [*self._binding.values, *self._binding.views]
        if isinstance(state, StateRef) and issubclass(owner, state.owner) and state.name in names:
            return state.name
        raise StateAccessError(
            f"for_each_key was given {state!r:.100}: give it a state by key of this class, as in "
            f"ctx.for_each_key({owner.__name__}.{(names or ['count'])[0]}, fn)"
        )

    # ---- one key: as the generated loop does it (process_text.py)

    def _load(self, key: object) -> list[object]:
        """Make a key the current one; give the columns of its row."""
        binding, names = self._binding, self._binding.values
        for view in binding.views.values():
            view.key = key
        if binding.aging.event_time is not None:
            binding.aging.event_time.now = binding.aging.event_time.written = self.watermark_us
        if not names:
            return []
        rows = self._state.rows
        row = rows.live.get(key, MISSING)
        if row is MISSING:
            row = rows.older(key)
        columns: list[object] = [row] if len(names) == 1 else list(cast("tuple[object, ...]", row or _NO_COLUMNS))
        columns += [MISSING] * (len(names) - len(columns))
        for name, column in zip(names, columns, strict=True):
            if name in binding.expiring:
                binding.expiring[name].pair = column
            else:
                setattr(binding.process, name, binding.fresh(name) if column is MISSING else column)
        return columns

    def _has(self, name: str, row: list[object]) -> bool:
        """Tell whether there is something of a state under the current key: nothing deleted, expired or default."""
        binding = self._binding
        if name in binding.views:
            return any(True for _ in binding.views[name])
        column = row[binding.values.index(name)]
        if name in binding.made_anew and column == binding.fresh(name):
            return False  # as the generated loop leaves it behind, whatever the handler did
        return binding.aging.shown(name, column) is not MISSING

    def _store(self, key: object, columns: list[object]) -> None:
        """Store the row of the current key, where a column changed."""
        binding = self._binding
        for name, view in binding.views.items():
            if getattr(binding.process, name) is not view:
                binding.unbind()  # refuses
        new = [self._settled(name, column) for name, column in zip(binding.values, columns, strict=True)]
        binding.deleted.clear()
        if any(left is not right for left, right in zip(new, columns, strict=True)):
            gone = all(column is MISSING for column in new)
            self._state.rows.live[key] = MISSING if gone else new[0] if len(new) == 1 else tuple(new)

    def _settled(self, name: str, before: object) -> object:
        """Give what to store of a state, MISSING for its default."""
        binding = self._binding
        if name in binding.expiring:
            return binding.expiring[name].pair
        value = getattr(binding.process, name)
        if name not in binding.made_anew:
            return MISSING if value is binding.defaults[name][0] else value
        untouched = before is MISSING or name in binding.deleted
        return MISSING if untouched and value == binding.fresh(name) else value
