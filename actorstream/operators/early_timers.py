"""Timers of key groups with a floor: due at once up to there, though the watermark has not come so far.

    watermark 40   timers 30 a · 35 b                    due, in order, as ever (state/timers.py)
    floor 100      timers of its key groups: 60 c · 90 d     due behind those, in order
                   set now: 95 e                             due at once

Stands in the place of the table as long as there are floors. The table holds all timers; here are places where it may
hold one that is due early, and a place counts only if the table still has the timer there. Those that the snapshot
found due are read from the layers a piece at a time: a place without a key says from where there may be more.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, TypeAlias

from actorstream.codec.ordered_keys import decode_key, encode_key
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.state.timers import Timer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorstream.operators.floors import Floors
    from actorstream.operators.process_timers import Domain
    from actorstream.state.timer_epoch import Place
    from actorstream.state.timers import TimerTable

_Early: TypeAlias = "tuple[int, bytes, bytes, int]"
"""Time, encoded key and name, 0; of more in the layers: the time to read from, nothing, rest, 1 + key group."""

_LOOKED_AT = 64
_READING = 8
"""How many places are looked at before the caller gets a turn, and for how many a reading of layers counts."""


class EarlyTimers:
    """A `TimerTable` with floors. `wake` is called when a timer has become due early."""

    def __init__(self, table: TimerTable, floors: Floors, watermark: int, wake: Callable[[], None]) -> None:
        """Begin right behind a restore at `watermark`: all timers are in layers."""
        self._table = table
        self._floors = floors
        self._limits = dict(floors)
        self._wake = wake
        self._early: list[_Early] = [(watermark, b"", b"", 1 + group) for group in self._limits]
        heapify(self._early)
        if self._early:
            wake()

    def set(self, key: object, name: object, domain: Domain, at: int) -> None:
        """Let a timer fire; see the table's."""
        self._table.set(key, name, domain, at)
        if domain == "event" and at <= self._floors.of(key):
            heappush(self._early, (at, encode_key(key), encode_key(name), 0))
            self._wake()

    def cancel(self, key: object, name: object, domain: Domain) -> bool:
        """Let a timer not fire; tell whether there was one."""
        return self._table.cancel(key, name, domain)

    def clear(self, key: object) -> None:
        """Cancel all timers of a key."""
        self._table.clear(key)

    def next_time(self, domain: Domain) -> int | None:
        """Give when the next timer fires, or an earlier time; None: there is none."""
        return TIME_MIN if domain == "event" and self._early else self._table.next_time(domain)

    def due(self, domain: Domain, up_to: int) -> Iterator[Timer | None]:
        """Take out what is due by the watermark or the clock, then what is by floors; see the table's."""
        while True:
            yield from self._table.due(domain, up_to)
            if domain != "event" or not self._early:
                return
            place = self._take()
            yield None if place is None else Timer(place[0], place[3], place[4], domain)

    def take_due(self, number: int, up_to: int) -> Place | None:
        """Take out the first that is due; see the table's."""
        found, soonest = self._table.take_due(number, up_to), self._table.soonest
        if number == 0 and self._early:
            if found is None and (soonest[0] > up_to or soonest[0] == TIME_MAX):
                found = self._take()
            if self._early:
                soonest[0] = TIME_MIN
        return found

    def _take(self) -> Place | None:
        """Take out the first that is due early; None: among those that were looked at there was none."""
        early, table = self._early, self._table
        left = _LOOKED_AT
        while early and left > 0:
            at, part, rest, more = heappop(early)
            if more:
                left -= _READING
                self._read_on(more - 1, at, rest)
                continue
            left -= 1
            key, name = decode_key(part), decode_key(rest)
            if table.at(key, name, "event") == at:
                table.cancel(key, name, "event")
                return at, part, rest, key, name
        return None

    def _read_on(self, group: int, time: int, rest: bytes) -> None:
        """Read on what the layers hold of a key group, up to its floor."""
        found, last = self._table.stored_behind(group, (time, rest), self._limits[group])
        for at, part, suffix in found:
            heappush(self._early, (at, part, suffix[1:], 0))
        if last is not None:
            heappush(self._early, (last[0], b"", last[1], 1 + group))
