"""Windows written from their definition: lists of records, looked through from end to end at every step.

No timers, no state, no sharing: whatever may happen next is found by asking every window for its next instant.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from actorstream.codec.ordered_keys import encode_key
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.user_time import datetime_of
from actorstream.operators.windows.results import WindowResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.operators.windows.rig import Outcome


class Record(NamedTuple):
    """A record in a window: its time there, when it came, what it is."""

    time: int
    number: int
    value: int


@dataclass(frozen=True)
class Words:
    """What the user says. `trigger` is (kind, number); the default where it is None."""

    kind: Literal["aligned", "session", "global", "custom"]
    size: int = 10
    slide: int = 10
    offset: int = 0
    by_value: bool = False
    clock: bool = False
    lateness: int = 0
    updates: bool = False
    trigger: tuple[Literal["end", "count", "every", "every by clock", "delta", "quiet"], int] | None = None
    purging: bool = False

    @property
    def ends(self) -> bool:
        """Whether windows have an end."""
        return self.kind != "global"

    @property
    def fires_at_end(self) -> bool:
        """Whether windows give a result at their end."""
        if self.updates or not self.ends:
            return False
        return self.trigger is None or self.trigger[0] in {"end", "every", "every by clock"}


@dataclass
class OneWindow:
    """A window with all that is known of it."""

    start: int
    end: int
    records: list[Record] = field(default_factory=list)
    ended: bool = False
    count: int = 0
    last: int | None = None
    waits: set[int] = field(default_factory=set)  # instants at which the trigger fires
    waits_by_clock: set[int] = field(default_factory=set)


class Naive:
    """The windows of all keys."""

    def __init__(self, words: Words, value: Callable[[list[Record]], object]) -> None:
        """Give value(records of the window, as they came)."""
        self.words = words
        self.value = value
        self.windows: dict[str, list[OneWindow]] = defaultdict(list)
        self.watermark = TIME_MIN
        self.now = 0
        self.number = 0
        self.late: list[object] = []

    def assigned(self, value: int, time: int) -> list[tuple[int, int]]:
        """Give the windows that a record is in, by trying all."""
        words = self.words
        match words.kind:
            case "aligned":
                starts = range(time - words.size, time + 1)
                return [
                    (start, start + words.size)
                    for start in starts
                    if (start - words.offset) % words.slide == 0 and start <= time < start + words.size
                ]
            case "session":
                return [(time, time + (value % words.size + 1 if words.by_value else words.size))]
            case "global":
                return [(TIME_MIN, TIME_MAX + 1)]
            case "custom":  # a window of the value's parity around the time, and one far behind it
                return sorted({(time - 3, time + 4), (time - 20 - value % 2, time - 15)}) if value % 5 else []

    def record(self, key: str, value: int, timestamp: int) -> Outcome:
        """Take in a record."""
        words, given = self.words, []
        self.number += 1
        time = self.now if words.clock else timestamp
        spans = self.assigned(value, time)
        taken = not spans
        for start, end in spans:
            window = self._window(key, start, end)
            if window is None:
                continue
            taken = True
            window.records.append(Record(time, self.number, value))
            if self._fires(window, value, timestamp):
                given += self._fire(key, window, window.end - 1 if words.ends else timestamp)
        if not taken:
            self.late.append(value)
        return given

    def _window(self, key: str, start: int, end: int) -> OneWindow | None:
        words, windows = self.words, self.windows[key]
        if words.kind == "session":
            touched = [each for each in windows if each.start <= end and each.end >= start]
            touched.sort(key=lambda each: each.start)
            start = min([start, *[each.start for each in touched]])
            end = max([end, *[each.end for each in touched]])
        else:
            touched = [each for each in windows if (each.start, each.end) == (start, end)]
        if words.ends and not words.clock and end - 1 + words.lateness <= self.watermark:
            return None
        if len(touched) == 1 and (touched[0].start, touched[0].end) == (start, end):
            return touched[0]
        window = OneWindow(start, end, ended=not words.clock and end - 1 <= self.watermark)
        for each in touched:
            windows.remove(each)
            window.records += each.records
            window.count += each.count
            window.last = window.last if each.last is None else each.last
            window.waits |= each.waits
            window.waits_by_clock |= each.waits_by_clock
        window.records.sort(key=lambda record: record.number)
        if words.trigger is not None and words.trigger[0] == "quiet":
            window.waits.clear()  # the trigger waits anew with the record that made them one
        windows.append(window)
        return window

    def _fires(self, window: OneWindow, value: int, timestamp: int) -> bool:  # noqa: C901  (a case a trigger)
        """Tell whether a record makes its window fire at once; note what the trigger waits for otherwise."""
        words = self.words
        if words.updates or (words.fires_at_end and window.ended):
            return True
        match words.trigger:
            case ("count", number):
                window.count += 1
                full = window.count >= number
                window.count %= number
                return full
            case ("delta", number):
                moved = window.last is not None and abs(value - window.last) > number
                if window.last is None or moved:
                    window.last = value
                return moved
            case ("every", period):
                at = timestamp // period * period + period - 1
                if at <= self.watermark:
                    return True
                if words.clock or at < window.end - 1:
                    window.waits.add(at)
            case ("every by clock", period):
                at = self.now // period * period + period - 1
                if not words.clock or at < window.end - 1:
                    window.waits_by_clock.add(at)
            case ("quiet", number):
                window.waits = {max(timestamp + number, self.watermark)}
            case ("end", _) | None:
                pass
        return False

    def _fire(self, key: str, window: OneWindow, time: int) -> Outcome:
        if not window.records:
            return []
        value = self.value(window.records)
        if self.words.purging:
            window.records = []
        return [(WindowResult(key, datetime_of(window.start), datetime_of(window.end), value), time)]

    def advance(self, watermark: int) -> Outcome:
        """Let event time come to `watermark`."""
        self.watermark = max(self.watermark, watermark)
        return self._all_due(self.watermark, by_clock=False)

    def tick(self, now: int) -> Outcome:
        """Let the clock come to `now`."""
        self.now = now
        return self._all_due(now - 1, by_clock=True)

    def _all_due(self, up_to: int, *, by_clock: bool) -> Outcome:
        given: Outcome = []
        while True:
            due = [
                (at, encode_key(key), (window.start, window.end), order, key, window)
                for key, windows in self.windows.items()
                for window in windows
                for at, order in self._instants(window, by_clock=by_clock)
                if at <= up_to
            ]
            if not due:
                return given
            at, _, _, order, key, window = min(due, key=lambda each: each[:4])
            if order == 0:
                (window.waits_by_clock if by_clock else window.waits).discard(at)
                time = min(at, window.end - 1) if not by_clock else window.end - 1 if self.words.ends else at
                given += self._fire(key, window, time)
            elif order == 1:
                window.ended = True
                given += self._fire(key, window, at)
            else:
                self.windows[key].remove(window)

    def _instants(self, window: OneWindow, *, by_clock: bool) -> list[tuple[int, int]]:
        """Give what is to happen to a window: (when, 0 its trigger, 1 its end, 2 it is dropped)."""
        words = self.words
        found = [(at, 0) for at in (window.waits_by_clock if by_clock else window.waits)]
        if words.ends and words.clock == by_clock:
            if words.fires_at_end and not window.ended:
                found.append((window.end - 1, 1))
            found.append((window.end - 1 + words.lateness, 2))
        return found
