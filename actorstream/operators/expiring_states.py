"""The states of one process object that are no plain attributes, and the clocks that some of them go by.

They are those with a time-to-live, and those that are added to.

bind        `reach`: processing time, once for each piece of a batch
record      event_time.now, event_time.written = …      by the generated loop
query       `shown`
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.operators.accumulating_declarations import AccumulatingDeclaration
from actorstream.operators.accumulating_value import AccumulatingValue
from actorstream.operators.expiring_value import ExpiringValue
from actorstream.operators.map_view import ExpiringMapView, MapView
from actorstream.operators.state_declarations import MapState
from actorstream.operators.ttl import Lifetime, TtlTime, shown
from actorstream.state.missing import MISSING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorstream.model.world import Clock
    from actorstream.operators.state_declarations import Declaration
    from actorstream.state.map_table import MapTable


class ExpiringStates:
    """Those of the declared states that have a time-to-live, or are added to.

    Attributes:
        values: The attributes of those that are one value a key.
        event_time: There if one of them goes by event time.
    """

    def __init__(self, declared: Mapping[str, Declaration], clock: Clock, owner: type) -> None:
        """Begin before all times."""
        self._clock = clock
        times: dict[str, TtlTime] = {}
        self._lifetimes = {
            name: Lifetime(ttl, times.setdefault(ttl.domain, TtlTime()))
            for name, declaration in declared.items()
            if (ttl := declaration.ttl) is not None
        }
        self._clock_time = times.get("processing")
        self.event_time = times.get("event")
        self.values: dict[str, ExpiringValue | AccumulatingValue] = {}
        for name, declaration in declared.items():
            lifetime = self._lifetimes.get(name)
            if isinstance(declaration, AccumulatingDeclaration):
                self.values[name] = AccumulatingValue(declaration, owner, lifetime)
            elif lifetime is not None and not isinstance(declaration, MapState):
                self.values[name] = ExpiringValue(declaration, lifetime)

    def view(self, declaration: Declaration, table: MapTable) -> MapView:
        """Make the view of any map state, with a time-to-live or without."""
        lifetime = self._lifetimes.get(declaration.name)
        return MapView(declaration, table) if lifetime is None else ExpiringMapView(declaration, table, lifetime)

    def lifetimes(self, event_now: int, event_written: int) -> Mapping[str, Lifetime]:
        """Give those of states for one async handler: by clocks of its own, which stand still while it waits."""
        if not self._lifetimes:
            return self._lifetimes
        self.reach()
        times: dict[int, TtlTime] = {}
        for shared in (self._clock_time, self.event_time):
            if shared is not None:
                own = times[id(shared)] = TtlTime()
                own.now, own.written = shared.now, shared.written
        if self.event_time is not None:
            own = times[id(self.event_time)]
            own.now, own.written = event_now, event_written
        return {name: lifetime.by(times[id(lifetime.time)]) for name, lifetime in self._lifetimes.items()}

    def reach(self) -> None:
        """Let processing time be what the clock says, unless it was set back (T129)."""
        if self._clock_time is not None:
            self._clock_time.reach(self._clock.now_us())

    def release(self) -> None:
        """Leave no key's value."""
        for each in self.values.values():
            each.pair = None

    def shown(self, name: str, stored: object) -> object:
        """Give what a query may see now of what is stored of a state, or of an entry of a map; MISSING: nothing.

        In event time, that is what the last record would have seen.
        """
        lifetime = self._lifetimes.get(name)
        if lifetime is None:
            return stored
        self.reach()
        return shown(stored, lifetime.time.now)

    def answer(self, name: str, stored: object) -> object:
        """Give what a query gets for what is stored: what it may see, or the result of that; MISSING: nothing."""
        value, attribute = self.shown(name, stored), self.values.get(name)
        if value is MISSING or not isinstance(attribute, AccumulatingValue):
            return value
        return attribute.answer(value)
