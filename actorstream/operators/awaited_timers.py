"""The timers of a process with async handlers: one fires when its handler has ended, in the order of time all the same.

    table   12:00 a · 12:00 b · 12:01 a · 12:07 c      watermark 12:05
              └────────┴─────────┴── due: taken out, their handlers begin, one at a time of a key
    due     12:00 a ended · 12:00 b running · 12:01 a waits for the turn of its key
              └── fires: its results and changes become real

What was taken out and has not fired is still to come, for all others: a snapshot finds it in the table (`put_back`), a
handler of its key may cancel or move it, and event time stands before it.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Final, Protocol

from actorstream.codec.ordered_keys import encode_key
from actorstream.operators.process_timers import ProcessTimers

if TYPE_CHECKING:
    from actorstream.operators.floors import Floors
    from actorstream.operators.process_timers import Domain
    from actorstream.state.timer_epoch import Place
    from actorstream.state.timers import TimerTable

AHEAD: Final = 1_024
"""So many timers that are due are taken out at most, for their handlers to overlap."""

_DOMAINS: Final[tuple[Domain, Domain]] = ("event", "processing")


class DueTimer:
    """A timer that was taken out.

    Attributes:
        place: Its time, its key and name as they are encoded, and as they are.
        number: 0 where it goes by event time, 1 by the clock.
        ended: Its handler has.
        is_back: It is in the table again, for a snapshot.
    """

    __slots__ = ("call", "ended", "is_back", "number", "place")

    def __init__(self, place: Place, number: int) -> None:
        """Begin with a handler that was not called."""
        self.place = place
        self.number = number
        self.ended = False
        self.is_back = False
        self.call: object = None

    @property
    def key(self) -> object:
        """Whose it is."""
        return self.place[3]

    @property
    def name(self) -> object:
        """What it is called."""
        return self.place[4]

    @property
    def domain(self) -> Domain:
        """Which time it goes by."""
        return _DOMAINS[self.number]


class DueListener(Protocol):
    """Whoever calls the handlers."""

    def on_due(self, timer: DueTimer, /) -> None:
        """A timer is due."""
        ...

    def on_gone(self, timer: DueTimer, /) -> None:
        """One that was due is none any more: a handler of its key has cancelled or moved it."""
        ...

    def on_fired(self, timer: DueTimer, /) -> None:
        """One fires: whatever its handler did is to become real next."""
        ...


class AwaitedTimers(ProcessTimers):
    """As `ProcessTimers`, but `take` gives only timers whose handlers have ended.

    Attributes:
        ahead: So many that are due are taken out at most.
        listener: Calls the handlers.
    """

    __slots__ = ("_back", "_due", "ahead", "listener")

    def __init__(self, table: TimerTable) -> None:
        """Go on with the timers in `table`."""
        self._due: tuple[list[DueTimer], list[DueTimer]] = ([], [])
        self.ahead = AHEAD
        self.listener: DueListener | None = None
        self._back: dict[tuple[int, int, bytes, bytes], DueTimer] = {}
        super().__init__(table)
        self.soonest = [*table.soonest]
        self._stand_between()

    def _stand_between(self) -> None:
        self.take = self._take_ended
        self.set = self._set
        for number in (0, 1):
            self._see(number)

    def on_floors(self, floors: Floors | None, watermark: int, /) -> None:
        """Let timers up to the floor of their key be due at once."""
        super().on_floors(floors, watermark)
        self._stand_between()

    def end_clock(self) -> None:
        """Set no more timers of the clock."""
        self._ending = True

    def _set(self, key: object, name: object, domain: Domain, at_us: int) -> None:
        if self._ending and domain != "event":
            return
        self._forget(key, domain, name)
        self._table.set(key, name, domain, at_us)
        self._let_go_first(key, domain, at_us)
        self._see(0 if domain == "event" else 1)

    def _let_go_first(self, key: object, domain: Domain, at_us: int) -> None:
        """Give back what was taken out of a key's timers and comes after one that was set now."""
        due = self._due[0 if domain == "event" else 1]
        if due and due[-1].place[0] >= at_us:
            part = encode_key(key)
            for each in [each for each in due if each.place[0] >= at_us and encode_key(each.key) == part]:
                self._all.set(each.key, each.name, domain, each.place[0])
                self._drop(due, each)

    def cancel(self, key: object, name: str, domain: Domain) -> None:
        """Let a timer not fire."""
        self._forget(key, domain, name)
        super().cancel(key, name, domain)

    def clear(self, key: object) -> None:
        """Cancel all timers of a key."""
        for domain in _DOMAINS:
            self._forget(key, domain)
        super().clear(key)

    def _forget(self, key: object, domain: Domain, *names: object) -> None:
        due = self._due[0 if domain == "event" else 1]
        if not due:
            return
        part, suffixes = encode_key(key), [encode_key(name) for name in names]
        for each in [each for each in due if encode_key(each.key) == part]:
            if not suffixes or encode_key(each.name) in suffixes:
                self._drop(due, each)

    def _drop(self, due: list[DueTimer], gone: DueTimer) -> None:
        due.remove(gone)
        gone.is_back = False
        if self.listener is not None:
            self.listener.on_gone(gone)

    def _see(self, number: int) -> None:
        """Note before which time nothing is due."""
        due, soonest = self._due[number], self._all.soonest[number]
        if number == 0 and self._table is not self._all:  # some are due early
            soonest = min(soonest, self._next("event"))
        self.soonest[number] = min(soonest, due[0].place[0]) if due else soonest

    # ---- what is due

    def _take_ended(self, number: int, up_to: int) -> Place | None:
        """Take the first timer up to and including a time; None: there is none, or its handler has not ended.

        Of those of the clock it is the first whose handler has ended: each waits for records of its own key, so they
        must not wait for one another.
        """
        self._gather(number, up_to)
        fired = self._first_ended(number)
        if fired is not None:
            self._due[number].remove(fired)
            if fired.is_back:
                self._back.pop((number, *fired.place[:3]), None)
                self._all.cancel(fired.key, fired.name, fired.domain)
        self._see(number)
        if fired is None:
            return None
        if self.listener is not None:
            self.listener.on_fired(fired)
        return fired.place

    def _gather(self, number: int, up_to: int) -> None:
        """Take out what is due, and always what comes before all that was taken out."""
        due, table = self._due[number], self._table
        while len(due) < self.ahead or self._all.soonest[number] < due[0].place[0]:
            place = table.take_due(number, up_to)
            if place is None:
                return
            again = self._back.pop((number, *place[:3]), None)
            if again is not None and again.is_back:
                again.is_back = False
                continue
            timer = DueTimer(place, number)
            insort(due, timer, key=_order)
            if self.listener is not None:
                self.listener.on_due(timer)

    def waits(self, number: int) -> bool:
        """Tell whether the next timer of event time, 0, or of the clock, 1, is due, and its handler has not ended."""
        return bool(self._due[number]) and self._first_ended(number) is None

    def _first_ended(self, number: int) -> DueTimer | None:
        due = self._due[number]
        if number == 0:
            return due[0] if due and due[0].ended else None
        return next((each for each in due if each.ended), None)

    def first_of(self, key: object) -> int:
        """Give the first event time at which a timer of a key is due, of those that were not taken out."""
        return self._all.first_of(key)

    # ---- snapshots

    def put_back(self) -> None:
        """Let all timers be in their table: a snapshot is taken. They stay there, so the next one finds no change."""
        for number, due in enumerate(self._due):
            for each in due:
                if not each.is_back:
                    self._all.set(each.key, each.name, each.domain, each.place[0])
                    each.is_back = True
                    self._back[number, *each.place[:3]] = each


def _order(timer: DueTimer) -> tuple[int, bytes, bytes]:
    time, part, suffix, _, _ = timer.place
    return time, part, suffix
