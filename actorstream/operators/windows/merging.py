"""Windows that merge: sessions.

    before       |--A--|      |--B--|           three records more of the key than the gap apart
    a record         |-----------|              touches both
    after        |----------AB------|           one pane; what B holds joins what A does

The windows of a key never touch, so those that a record touches lie side by side.

What a session's timers are named after is an instant inside it, the end as it was when they were set: (last, END)
at `last`, (last, DROP) at last + lateness. A session that grows leaves its timers as they are. When one fires, it asks
for the session around its instant, and if that has become longer, it waits anew: about one timer a gap,
where one a record would be the price of moving it each time. So

- in each session that has not fired lies the instant of an END that waits, and in each that has fired, or is not
  to fire at its end, that of a DROP;
- none is named after an instant outside any session, except of one that is gone (T55);
- no two say the same instant, so no session fires twice.

A record is late by the session that it would make, not by itself: one that closes the gap between two is late only if
even the later end is past (T53). Then nothing was merged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from actorstream.operators.windows.panes import Pane
from actorstream.operators.windows.session_table import SessionTable
from actorstream.operators.windows.timer_driven import LAST
from actorstream.operators.windows.window_operator import END, PANES, TRIGGER, WindowOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.model.world import Clock
    from actorstream.operators.timed import Emitted
    from actorstream.operators.windows.assigners import Span
    from actorstream.operators.windows.contents import Contents
    from actorstream.operators.windows.definition import WindowDefinition
    from actorstream.state.operator_state import OperatorState
    from actorstream.state.timers import Timer

DROP: Final = 2


class MergingWindows(WindowOperator):
    """One subtask's sessions."""

    def __init__(self, definition: WindowDefinition, contents: Contents, state: OperatorState, clock: Clock) -> None:
        """Go on with the sessions in `state`."""
        super().__init__(definition, contents, state, clock)
        self._panes = self._sessions = SessionTable(state.rows, state.maps[PANES])

    def on_timer(self, timer: Timer, watermark: int, given: list[Emitted]) -> None:
        """Let the session end that the timer's instant is in now, or wait on."""
        key, at = timer.key, timer.at
        instant, kind, *name = cast("tuple[int, int, str]", timer.name)
        pane = self._sessions.at(key, instant)
        if pane is None:
            return  # it is gone (T55)
        last, dropped_at = min(pane.span[1] - 1, LAST), self._dropped_at(pane.span[1])
        if kind == TRIGGER:
            self._on_trigger_timer(pane, name[0], timer, watermark, given)
        elif kind == END and last > at:
            self.set_timer(key, (last, END), self._domain, last)
        elif kind == END:
            self._give(pane, at, at, given, stays=dropped_at > at)
            if dropped_at > at:
                self._panes.save(pane)
                self.set_timer(key, (last, DROP), self._domain, dropped_at)
            else:
                self._drop(pane)
        elif dropped_at <= at:
            self._drop(pane)
        elif last <= at or not self._fires_at_end:
            self.set_timer(key, (last, DROP), self._domain, dropped_at)

    def timer_name(self, span: Span, place: int, name: str) -> object:
        """Name a trigger's timer among those of the key."""
        del span
        return (place, TRIGGER, name)

    def _pane(self, key: object, span: Span, watermark: int) -> Pane | None:
        """Give the session that a record makes of those that it touches, and of itself; None if it is gone."""
        spans = self._sessions.spans(key)
        after = len(spans)
        while after and spans[after - 1][0] > span[1]:
            after -= 1
        first = after
        while first and spans[first - 1][1] >= span[0]:
            first -= 1
        touched = spans[first:after]
        if touched:
            span = min(span[0], touched[0][0]), max(span[1], touched[-1][1])
            if span == touched[0]:
                return self._sessions.open(key, span)
        if self._is_gone(span[1], watermark):
            return None
        self._sessions.place(key, (*spans[:first], span, *spans[after:]))
        if touched:
            return self._merged(Pane(key, span), touched, watermark)
        self._wait(key, span, watermark)
        return Pane(key, span)

    def _merged(self, pane: Pane, touched: Sequence[Span], watermark: int) -> Pane:
        """Make one session of several, in order, which lie where `pane` does."""
        parts = [self._sessions.open(pane.key, span) for span in touched]
        if self._calls is not None:
            self._calls.on_merge(pane, parts, watermark)
        for part in parts:
            self._contents.join(pane, part)
            if part.span[0] != pane.span[0]:
                self._sessions.forget(part)
        if self._has_ended(touched[-1][1], watermark) and not self._has_ended(pane.span[1], watermark):
            self._wait(pane.key, pane.span, watermark)  # they have fired, and now there is more to come
        return pane

    def _wait(self, key: object, span: Span, watermark: int) -> None:
        """Set the timer of a session that has none."""
        last = min(span[1] - 1, LAST)
        if self._fires_at_end and not self._has_ended(span[1], watermark):
            self.set_timer(key, (last, END), self._domain, last)
        else:
            self.set_timer(key, (last, DROP), self._domain, self._dropped_at(span[1]))
