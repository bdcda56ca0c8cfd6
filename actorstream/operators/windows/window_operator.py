"""Windows that do not merge: for each key and window a pane, and one timer that says when it ends, and is dropped.

    record ──assign──> windows ──gone already?──> all of them: LATE (T58)
                          └─────> pane: add the record ──> does it fire now?
    timer (start, end, END)        at end - 1                the default trigger fires
                                   at end - 1 + lateness     the window is dropped, but fires first (T56)
    timer (start, end, TRIGGER, name)                        what the trigger has set; it comes before END

Who asks `fire` for what is due before each record finds here: a window with end - 1 <= watermark has fired, and
every further record of it fires at once; one with end - 1 + lateness <= watermark is not there any more.

The event time of a result is its window's last microsecond. A trigger's timer that fires earlier gives results of its
own time: those behind may then be told that time has come this far, and not further, whatever the size of the
watermark's steps. Results of a global window have the time of the record or timer.

Processing time has no lateness: the clock can be set back, and what then comes for a window that is over opens it
again (T60).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from actorstream.operators.timed import LATE, Aside
from actorstream.operators.windows.panes import Pane, PaneTable
from actorstream.operators.windows.results import ShownWindows, WindowResult
from actorstream.operators.windows.timer_driven import LAST, TimerDriven
from actorstream.operators.windows.trigger_calls import TriggerCalls
from actorstream.state.missing import MISSING

if TYPE_CHECKING:
    from actorstream.model.world import Clock
    from actorstream.operators.process_timers import Domain
    from actorstream.operators.timed import Emitted, Given
    from actorstream.operators.windows.assigners import Span
    from actorstream.operators.windows.contents import Contents
    from actorstream.operators.windows.definition import WindowDefinition
    from actorstream.operators.windows.triggers import Fire
    from actorstream.state.operator_state import OperatorState
    from actorstream.state.timers import Timer

TRIGGER: Final = 0
END: Final = 1

PANES: Final = "windows"
"""The map that holds the windows."""


class WindowOperator(TimerDriven):
    """One subtask's windows of a kind whose windows stay as they are."""

    def __init__(self, definition: WindowDefinition, contents: Contents, state: OperatorState, clock: Clock) -> None:
        """Go on with the windows in `state`."""
        super().__init__(state.timers)
        assigner, trigger = definition.assigner, definition.custom_trigger
        self._assign = assigner.assign_us
        self._domain: Domain = assigner.domain
        self._by_clock = assigner.domain == "processing"
        self._ends = assigner.ends
        self._lateness = definition.allowed_lateness_us
        self._updates = definition.emit == "updates"
        self._fires_at_end = assigner.ends and trigger is None and not self._updates
        self._contents = contents
        self._clock = clock
        self._panes = PaneTable(state.maps[PANES])
        self._windows = ShownWindows()
        self._calls = None if trigger is None else TriggerCalls(trigger, assigner.domain, clock, self)

    def on_element(self, key: object, value: object, timestamp: int, watermark: int, /) -> Given:
        """Add the record to its windows; LATE if there are some, and all are gone."""
        moment = self._clock.now_us() if self._by_clock else timestamp
        spans = self._assign(value, moment)
        given: list[Emitted] = []
        late = bool(spans)
        for span in spans:
            pane = self._pane(key, span, watermark)
            if pane is None:
                continue
            late = False
            self._contents.add(pane, value, moment)
            if self._calls is not None:
                verdict = self._calls.on_element(pane, value, timestamp, watermark)
            elif self._updates or self._has_ended(pane.span[1], watermark):
                verdict = "fire"
            else:
                verdict = "continue"
            if verdict != "continue":
                self._act(verdict, pane, pane.span[1] - 1 if self._ends else timestamp, watermark, given)
            self._panes.save(pane)
        if late:
            return LATE
        return given or None

    def on_timer(self, timer: Timer, watermark: int, given: list[Emitted]) -> None:
        """Let a window end, or its trigger decide."""
        start, end, kind, *name = cast("tuple[int, int, int, str]", timer.name)
        pane = self._panes.load(timer.key, (start, end))
        if pane is None:
            return  # it was dropped meanwhile (T55)
        if kind == TRIGGER:
            self._on_trigger_timer(pane, name[0], timer, watermark, given)
            return
        dropped_at = self._dropped_at(end)
        if self._fires_at_end and timer.at == min(end - 1, LAST):
            self._give(pane, timer.at, timer.at, given, stays=timer.at < dropped_at)
        if timer.at < dropped_at:
            self._panes.save(pane)
            self.set_timer(timer.key, timer.name, self._domain, dropped_at)
        else:
            self._drop(pane)

    def timer_name(self, span: Span, place: int, name: str) -> object:
        """Name a trigger's timer among those of the key."""
        del place
        return (*span, TRIGGER, name)

    def _pane(self, key: object, span: Span, watermark: int) -> Pane | None:
        """Give the window that a record goes to, made if need be; None if it is gone."""
        if self._is_gone(span[1], watermark):
            return None
        pane = self._panes.load(key, span)
        if pane is None:
            pane = Pane(key, span)
            if self._ends:
                ended = not self._fires_at_end or self._has_ended(span[1], watermark)
                at = self._dropped_at(span[1]) if ended else span[1] - 1
                self.set_timer(key, (*span, END), self._domain, at)
        return pane

    # ---- for sessions too

    def _has_ended(self, end: int, watermark: int) -> bool:
        """Tell whether a window has fired by itself."""
        return self._fires_at_end and not self._by_clock and end - 1 <= watermark

    def _is_gone(self, end: int, watermark: int) -> bool:
        return self._ends and not self._by_clock and self._dropped_at(end) <= watermark

    def _dropped_at(self, end: int) -> int:
        """Give the time at which a window is forgotten."""
        return min(end - 1 + self._lateness, LAST)

    def _on_trigger_timer(self, pane: Pane, name: str, timer: Timer, watermark: int, given: list[Emitted]) -> None:
        if self._calls is None or (timer.domain, name) not in pane.timers:
            return  # of a window that was here before (T55), or of a trigger that the pipeline had before
        verdict = self._calls.on_timer(pane, (timer.domain, name), timer.at, watermark)
        if verdict != "continue":
            last = pane.span[1] - 1
            if timer.domain == "event":
                self._act(verdict, pane, min(timer.at, last), timer.at, given)
            else:
                self._act(verdict, pane, last if self._ends else timer.at, watermark, given)
        self._panes.save(pane)

    def _act(self, verdict: Fire, pane: Pane, time: int, watermark: int, given: list[Emitted]) -> None:
        if verdict != "purge":
            self._give(pane, time, watermark, given, stays=verdict == "fire")
        if verdict != "fire":
            self._contents.clear(pane)

    def _give(self, pane: Pane, time: int, watermark: int, given: list[Emitted], *, stays: bool) -> None:
        """Add the results of a window, if it holds anything."""
        if pane.held is not MISSING:
            start, end = self._windows.of(pane.span)
            for value in self._contents.values(pane, watermark, stays=stays):
                aside = value.__class__ is Aside
                given.append((value if aside else WindowResult(pane.key, start, end, value), time))

    def _drop(self, pane: Pane) -> None:
        """Forget a window, with all that belongs to it."""
        if self._calls is not None:
            self._calls.cancel(pane)
        self._contents.clear(pane)
        self._panes.drop(pane)
