"""Windows that share slices: a record is added once, however many windows it is in.

    slices        10:00      10:02      10:04      10:06      10:08      10:10         one dict each, key -> accumulator
                 {a: 3}     {b: 1}     {a: 1}     {a: 2}     {b: 4}     {a: 7}
    windows      |---------------------- fires at 10:10 ----|                          put together when they fire
                            |---------------------- fires at 10:12 ----|

For windows of event time that are aligned for all keys and fire when they end: `WindowDefinition.aligned`.

What is known of a slice is the watermark at which the first of its windows fires (`close_at`). As long as the watermark
is below, a record is two dict operations, which a generated loop has inlined:

    d = enter(start, watermark)                   when the slice changes, and anew for each batch
    held = d.get(key, MISSING)
    if held is MISSING: held = older(start, key)
    d[key] = add(held, value)

Behind it the record goes through `on_element`: it is added for the windows still to come, each that has fired
and is within its lateness fires again, for this key; LATE when the last window with it is gone (T58).

Invariants:
- Which windows have fired is not in the state: the watermark says it. So nobody freezes the state while
  `firing`, and `on_restore` is told the watermark of the snapshot.
- After a rescale key groups may have come further than the subtask's watermark: for their keys
  time is what it was for the old owner (`on_restore`), until the watermark has passed it.
- A slice is dropped when its last window is gone. What there is to drop and to free counts as due.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Final

from actorstream.errors import InvariantError
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.timed import LATE
from actorstream.operators.windows.results import ShownWindows, WindowResult
from actorstream.operators.windows.sliced_firing import SlicedWindowFiring
from actorstream.operators.windows.sliced_grid import SliceGrid
from actorstream.operators.windows.timer_driven import LAST
from actorstream.state.missing import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actorstream.model.key_groups import KeyGroupRange
    from actorstream.operators.timed import Emitted, Given
    from actorstream.operators.windows.aggregates import Aggregation
    from actorstream.operators.windows.definition import Aligned
    from actorstream.state.operator_state import OperatorState
    from actorstream.state.slice_epoch import Slice, SliceEpoch

SLICES: Final = "slices"
"""The column of kind "slices" that these windows keep."""

_FREED_AT_ONCE = 2_000
_STEPS = 2
"""So many times some thousand entries are looked at before the caller gets a turn: 0.2 to 1 ms each."""


class SlicedWindows:
    """One subtask's windows.

    Attributes:
        due: As of every `TimedOperator`.
        clock_due: Nothing ever is.
        slice_us: How long a slice is; slices begin at `offset` and every `slice_us` from there.
        offset: See there.
        older: Gives what this epoch has not written, by slice and key.
        aggregation: What is computed.
        add: Gives the accumulator with a record more; MISSING is the empty one.
        firing: `fire` has stopped before all was done: the state must not be frozen now.
    """

    def __init__(
        self, aligned: Aligned, aggregation: Aggregation, allowed_lateness_us: int, state: OperatorState
    ) -> None:
        """Go on with the slices in `state`; where there are some, `on_restore` must follow."""
        if state.slices is None:
            raise InvariantError("sliced windows were opened over a state without slices")
        self.aggregation = aggregation
        self._grid = SliceGrid(*aligned)
        self._lateness = allowed_lateness_us
        self._state = state
        self._table = state.slices
        self._firing = SlicedWindowFiring(self._table, aggregation)
        self._windows = ShownWindows()
        self._results: Iterator[list[Emitted]] | None = None
        self._burst = 1
        self._start = self._stop = self._close = 0  # the slice that `on_element` has met last
        self._live: SliceEpoch | None = None
        self._entries: Slice = {}
        self.slice_us = self._grid.slice_us
        self.offset = self._grid.offset
        self.older = self._table.older
        self.add = aggregation.add
        self.firing = False
        self.clock_due = TIME_MAX
        self.on_restore(TIME_MIN)

    def on_restore(self, watermark: int, floors: Sequence[tuple[KeyGroupRange, int]] = ()) -> None:
        """Go on at the watermark of the snapshot: every window that ends up to it has fired.

        Args:
            watermark: The least of those that the key groups of this subtask had.
            floors: Which key groups had come further, and how far.
        """
        self._done = watermark
        self._floors = {group: floor for groups, floor in floors for group in range(*groups) if floor > watermark}
        self._highest_floor = max(self._floors.values(), default=TIME_MIN)
        self._slices = self._table.slices()
        self._seen = set(self._slices)
        self.due = self._next_due()

    # ---- the record path ---------------------------------------------------------------------------------------------

    def close_at(self, start: int) -> int:
        """Give the watermark from which on a record of a slice must go through `on_element`."""
        end = self._grid.first_end(start)
        if end - 1 <= self._highest_floor or end > self._grid.last_end(start):
            return TIME_MIN
        return end - 1

    def has_older(self, start: int) -> bool:
        """Tell whether `older` may know anything of a slice: until the next freeze, if it has been entered."""
        return start in self._table.known

    def enter(self, start: int, watermark: int) -> Slice:
        """Give this epoch's dict of a slice, and let its windows fire in their time."""
        entries = self._table.live.get(start)
        if entries is None:
            entries = self._table.enter(start)
            if start not in self._seen:
                self._done = max(self._done, watermark)  # whatever was due until then is done
                self._seen.add(start)
                insort(self._slices, start)
                self.due = min(self.due, self._next_due())
        return entries

    def on_element(self, key: object, value: object, timestamp: int, watermark: int, /) -> Given:
        """Add a record; give what fires again, LATE if no window with it is left, None where there is no window."""
        if self._start <= timestamp < self._stop and watermark < self._close and self._live is self._table.live:
            # Of the same slice as the one before: 0.5 of the time.
            held = self._entries.get(key, MISSING)
            if held is MISSING:
                held = self.older(self._start, key)
            self._entries[key] = self.add(held, value)
            return None
        grid = self._grid
        start = timestamp - (timestamp - self.offset) % self.slice_us
        first, last = grid.first_end(start), grid.last_end(start)
        if first > last:
            return None
        time = watermark
        if watermark < self._highest_floor:
            time = max(watermark, self._floors.get(self._state.key_group(key), TIME_MIN))
        if self._gone_at(last) <= time:
            return LATE
        entries = self.enter(start, watermark)
        held = entries.get(key, MISSING)
        if held is MISSING:
            held = self.older(start, key)
        entries[key] = self.add(held, value)
        self._start, self._stop, self._close = start, start + self.slice_us, self.close_at(start)
        self._live, self._entries = self._table.live, entries
        return self._fired_again(key, first, last, time) if first - 1 <= time else None

    def on_other(self, key: object, value: object, timestamp: int, watermark: int, /) -> Given:
        """Refuse: there is one input."""
        raise InvariantError(f"a window got {value!r} of key {key!r} on a second input")

    def _fired_again(self, key: object, first: int, last: int, time: int) -> list[Emitted] | None:
        """Give the new results of the windows with a record that have fired and are not gone."""
        grid = self._grid
        ends = range(max(first, grid.end_from(time + 2 - self._lateness)), min(last, time + 1) + 1, grid.slide)
        if not ends:
            return None
        slices = self._slices_in(ends[0] - grid.size, ends[-1])
        held = [(start, value) for start in slices if (value := self._table.peek(start, key)) is not MISSING]
        given: list[Emitted] = []
        for end in ends:
            span = end - grid.size, end
            value = self._firing.value([each for start, each in held if span[0] <= start < end])
            given.append((WindowResult(key, *self._windows.of(span), value), end - 1))
        return given

    # ---- firing ------------------------------------------------------------------------------------------------------

    def fire(self, watermark: int, limit: int, /) -> Sequence[Emitted]:
        """Fire all windows that end up to `watermark`, in order of end and encoded key; see `TimedOperator`."""
        given: list[Emitted] = []
        self._burst = limit
        steps = _STEPS
        while len(given) < limit and steps:
            if self._results is None:
                end = self._next_end()
                if end is None or min(end - 1, LAST) > watermark:
                    if self._drop(watermark):
                        break
                    self.firing = False
                    self.due = self._next_due()
                    return given
                self._results = self._results_of(end)
                self._done = end - 1
            results = next(self._results, None)
            if results is None:
                self._results = None
                self._drop(self._done)
            elif results:
                given += results
            else:
                steps -= 1
        self.firing = True
        return given

    def fire_clock(self, now_us: int, watermark: int, limit: int, /) -> Sequence[Emitted]:
        """Do nothing: the clock makes nothing due."""
        del now_us, watermark, limit
        return ()

    def _results_of(self, end: int) -> Iterator[list[Emitted]]:
        start = end - self._grid.size
        wanted = self._fires_at(end - 1) if end - 1 <= self._highest_floor else None
        window = self._windows.of((start, end))
        return self._firing.fire(self._slices_in(start, end), window, end - 1, self._burst, wanted)

    def _fires_at(self, time: int) -> Callable[[object], bool]:
        """Say of which keys a window fires whose last instant is `time`: the others' old owner has done it."""
        floors, key_group = self._floors, self._state.key_group
        return lambda key: floors.get(key_group(key), TIME_MIN) < time

    def _drop(self, watermark: int) -> bool:
        """Drop the slices of which no window is left, and free some of that; True: there is more to free."""
        if self._slices and self._gone_at(self._grid.last_end(self._slices[0])) <= watermark:
            kept = TIME_MAX if watermark >= LAST else self._grid.first_kept(watermark + 1 - self._lateness)
            self._table.drop_before(kept)
            at = bisect_left(self._slices, kept)
            self._seen.difference_update(self._slices[:at])
            del self._slices[:at]
        return self._table.free(_FREED_AT_ONCE)

    def _next_due(self) -> int:
        """Give the watermark at which a window fires, or a slice is dropped."""
        if not self._slices:
            return TIME_MAX
        end = self._next_end()
        dropped = self._gone_at(self._grid.last_end(self._slices[0]))
        return dropped if end is None else min(end - 1, dropped)

    def _next_end(self) -> int | None:
        """Give the end of the first window that has not fired and holds a slice."""
        if self._done >= LAST:
            return None
        end = self._grid.end_from(self._done + 2)
        at = bisect_left(self._slices, end - self._grid.size)
        return max(end, self._grid.first_end(self._slices[at])) if at < len(self._slices) else None

    def _slices_in(self, start: int, end: int) -> list[int]:
        return self._slices[bisect_left(self._slices, start) : bisect_left(self._slices, end)]

    def _gone_at(self, end: int) -> int:
        """Give the watermark at which a window is gone; clamped, so that all are at the end of time (T57)."""
        return min(end - 1 + self._lateness, LAST)
