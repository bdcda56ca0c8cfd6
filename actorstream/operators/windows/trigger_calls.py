"""Calls a trigger for one window after another, and keeps what it remembers and sets in the window's pane.

    set_timer(at, name)  ──> a timer of the key, named (place of the window, name)
                             pane.timers: (domain, name) -> place, time; to find it, cancel it, leave it as it is

Where windows merge, the place is the start that the window had when the timer was set, which lies in
whatever window it has become.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from actorstream.errors import PlanError
from actorstream.operators.process_timers import Timer
from actorstream.operators.user_time import datetime_of, time_us
from actorstream.operators.windows.results import ShownWindows
from actorstream.operators.windows.triggers import FIRES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from actorstream.model.world import Clock
    from actorstream.operators.process_timers import Domain
    from actorstream.operators.windows.assigners import Span
    from actorstream.operators.windows.panes import Pane, TimerName
    from actorstream.operators.windows.triggers import Fire, Trigger


class Owner(Protocol):
    """The operator that the timers belong to."""

    def set_timer(self, key: object, name: object, domain: Domain, at: int) -> None:
        """Let a timer fire."""
        ...

    def cancel_timer(self, key: object, name: object, domain: Domain) -> None:
        """Let a timer not fire."""
        ...

    def timer_name(self, span: Span, place: int, name: str) -> object:
        """Name a trigger's timer among those of the key."""
        ...


class TriggerCalls:
    """The trigger of one operator; also the `TriggerContext` that it sees."""

    def __init__(self, trigger: Trigger[Any], domain: Domain, clock: Clock, owner: Owner) -> None:
        """Call `trigger` on behalf of `owner`, whose windows close by `domain`."""
        self.domain: Domain = domain
        self.merged: Sequence[dict[str, Any]] = ()
        self._trigger = trigger
        self._clock = clock
        self._owner = owner
        self._windows = ShownWindows()
        self._pane: Pane
        self._time = 0
        self._watermark = 0

    # ---- by the operator

    def on_element(self, pane: Pane, value: object, time: int, watermark: int) -> Fire:
        """Ask what a record does."""
        self._pane, self._time, self._watermark = pane, time, watermark
        return self._checked(self._trigger.on_element(value, self._windows.of(pane.span), self))

    def on_timer(self, pane: Pane, timer: TimerName, at: int, watermark: int) -> Fire:
        """Ask what a timer does; for one of event time, time has come to it and no further."""
        del pane.timers[timer]
        domain, name = timer
        self._pane, self._time, self._watermark = pane, at, at if domain == "event" else watermark
        shown = Timer(datetime_of(at), name, domain)
        return self._checked(self._trigger.on_timer(shown, self._windows.of(pane.span), self))

    def on_merge(self, pane: Pane, merged: Sequence[Pane], watermark: int) -> None:
        """Let the trigger of several windows, in order of time, become that of one, which has `pane`."""
        for each in merged:
            self.cancel(each)
        self.merged = [each.trigger for each in merged]
        pane.trigger = {name: value for state in self.merged for name, value in state.items()}
        self._pane, self._time, self._watermark = pane, watermark, watermark
        self._trigger.on_merge(self._windows.of(pane.span), self)
        self.merged = ()

    def cancel(self, pane: Pane) -> None:
        """Cancel the timers of a window."""
        for (domain, name), (place, _) in pane.timers.items():
            self._owner.cancel_timer(pane.key, self._owner.timer_name(pane.span, place, name), domain)

    def _checked(self, verdict: Fire) -> Fire:
        if verdict not in FIRES:
            kind = type(self._trigger).__name__
            raise PlanError(f"{kind} said {verdict!r}, expected one of {', '.join(sorted(FIRES))}")
        return verdict

    # ---- by the trigger

    @property
    def timestamp(self) -> datetime:
        """The time of the record, or of the timer."""
        return datetime_of(self._time)

    @property
    def watermark(self) -> datetime:
        """Up to where no more records are expected."""
        return datetime_of(self._watermark)

    @property
    def now(self) -> datetime:
        """The job's clock."""
        return datetime_of(self._clock.now_us())

    @property
    def state(self) -> dict[str, Any]:
        """What the trigger remembers of the window."""
        return self._pane.trigger

    def set_timer(self, at: datetime | float, name: str = "", *, domain: Domain = "event") -> None:
        """Let `on_timer` be called."""
        us = time_us(at, "the time of a trigger's timer")
        if domain == "event":
            us = max(us, self._watermark)
        elif domain != "processing":
            raise PlanError(f"set_timer: domain is {domain!r}, expected 'event' or 'processing'")
        pane = self._pane
        place, before = pane.timers.get((domain, name), (pane.span[0], None))
        if us == before:
            return
        pane.timers[domain, name] = place, us
        self._owner.set_timer(pane.key, self._owner.timer_name(pane.span, place, name), domain, us)
