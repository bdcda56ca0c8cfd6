"""Both sides of aligned windows, kept by slice: no timer and no map entry a record.

    slices    {a: records}  {a: ..., b: ...}           as those of an aggregate (windows/sliced.py), whose
    windows   |------------ fire, one fn(lefts, rights) a key     accumulator is the records themselves

Tumbling and sliding windows are so. A record is a look into a dict and an append, a tenth of what it costs in
general (cogroup.py), with the same results.

What is held of a key is one flat list, `side, timestamp, value` of each record: with a tuple for each record and a list
for each side the garbage collector took more than half of all time (120,000 records, 30,000 keys).

Whoever appends to a list makes all of it be written again, so a long one is cut: it goes to the map of sealed
ones, under (slice, number), is not touched again, and a timer drops it with its slice. In its place
stands `SEALED, how many, slice`.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import InvariantError
from actorstream.operators.columns import Column
from actorstream.operators.joins.arrivals import LEFT, RIGHT
from actorstream.operators.joins.event_timers import TIMERS, EventTimers
from actorstream.operators.timed import LATE
from actorstream.operators.windows.aggregates import Aggregation
from actorstream.operators.windows.results import WindowResult
from actorstream.operators.windows.sliced import SLICES, SlicedWindows
from actorstream.operators.windows.sliced_grid import SliceGrid
from actorstream.state.missing import MISSING, private_copy
from actorstream.state.timer_entries import TIME_MIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorstream.model.key_groups import KeyGroupRange
    from actorstream.operators.joins.cogroup import GroupFn
    from actorstream.operators.timed import Emitted, Given
    from actorstream.operators.windows.definition import Aligned
    from actorstream.state.operator_state import OperatorState
    from actorstream.state.slice_epoch import Slice

SEALED: Final = "sealed"
SEALED_AT: Final = 768
"""The length at which a list is sealed: 256 records."""

_MARK: Final = 2
"""Beside LEFT and RIGHT: what follows says what is sealed."""

_Held: TypeAlias = "list[Any]"


def sliced_columns() -> list[Column]:
    """Give the columns to declare."""
    return [Column(SLICES, "slices", SELF_DESCRIBING), Column(SEALED, "map", SELF_DESCRIBING), TIMERS]


class SlicedCoGroupOperator(EventTimers):
    """One subtask's operator.

    Attributes:
        firing: Results are partly out: state is not to be frozen until `fire` has given the rest.
    """

    def __init__(self, aligned: Aligned, fn: GroupFn, allowed_lateness_us: int, state: OperatorState) -> None:
        """Go on with what is in `state`; where there is something, `on_restore` must follow."""
        gives_away = aligned.size_us == aligned.slide_us and not allowed_lateness_us
        both = Aggregation("aggregate", None, _with_record, _together, _itself, gives_away=gives_away)
        self._windows = SlicedWindows(aligned, both, allowed_lateness_us, state)
        self.firing = False
        super().__init__(state)
        self._fn = fn
        self._grid = SliceGrid(*aligned)
        self._lateness = allowed_lateness_us
        self._slices = cast("Any", state.slices)
        self._sealed = state.maps[SEALED]
        self._pending: Iterator[Emitted | None] = iter(())
        self._start = TIME_MIN
        self._epoch: object = None
        self._knows_time = not self._slices.slices()
        self._entries: Slice = {}
        self._closes = TIME_MIN

    def on_restore(self, watermark: int, floors: Sequence[tuple[KeyGroupRange, int]] = ()) -> None:
        """Go on at the watermark of the snapshot; see `SlicedWindows.on_restore`."""
        self._windows.on_restore(watermark, floors)
        self._knows_time = True
        self._epoch = None
        self._look_at_timers()

    def on_element(self, key: object, value: object, timestamp: int, watermark: int, /) -> Given:
        """Take in a record of the left."""
        return self._on_record(LEFT, key, value, timestamp, watermark)

    def on_other(self, key: object, value: object, timestamp: int, watermark: int, /) -> Given:
        """Take in a record of the right."""
        return self._on_record(RIGHT, key, value, timestamp, watermark)

    def _on_record(self, side: int, key: object, value: object, timestamp: int, watermark: int) -> Given:
        windows = self._windows
        start = timestamp - (timestamp - windows.offset) % windows.slice_us
        if start != self._start or self._epoch is not self._slices.live:
            self._check_restored()
            closes = windows.close_at(start)
            if watermark < closes:
                self._entries = windows.enter(start, watermark)
                self.due = min(self.due, windows.due)
                self._start, self._closes, self._epoch = start, closes, self._slices.live
            else:
                self._start, self._closes, self._epoch = start, TIME_MIN, None
        if watermark >= self._closes:
            return self._behind(side, key, value, timestamp, watermark)
        entries = self._entries
        held: Any = entries.get(key, MISSING)  # a _Held
        if held is MISSING:
            held = windows.older(start, key)
            if held is MISSING:
                entries[key] = [side, timestamp, value]
                return None
            entries[key] = held
        held += side, timestamp, value
        if len(held) >= SEALED_AT:
            self._seal(start, key, held)
        return None

    def _behind(self, side: int, key: object, value: object, timestamp: int, watermark: int) -> Given:
        """Take in a record whose first window has ended."""
        given = self._windows.on_element(key, (side, timestamp, value), timestamp, watermark)
        self._epoch = None
        self.due = min(self.due, self._windows.due)
        if given is None or given is LATE:
            return given
        return [each for each in self._expanded(given) if each is not None] or None

    def _seal(self, start: int, key: object, held: _Held) -> None:
        number = 0
        if held[0] == _MARK:
            number = held[1]
            del held[:3]
        else:
            self._set_timer(key, start, self._grid.last_end(start) - 1 + self._lateness)
        self._sealed.set(key, (start, number), tuple(held))
        held[:] = _MARK, number + 1, start

    def fire(self, watermark: int, limit: int, /) -> Sequence[Emitted]:
        """Give the results of windows that have ended, by end and key; see `TimedOperator`."""
        self._check_restored()
        steps = list(islice(self._pending, limit))
        if len(steps) < limit:
            fired = self._windows.fire(watermark, limit)
            self._pending = self._expanded(fired)
            more = list(islice(self._pending, limit - len(steps)))
            steps += more
            self.firing = self._windows.firing or len(steps) >= limit
        else:
            self.firing = True
        if not self.firing:
            for timer in self._timers.due("event", watermark):
                if timer is not None:
                    self._drop_sealed(timer.key, cast("int", timer.name))
        self._look_at_timers()
        return [emitted for emitted in steps if emitted is not None]

    def _expanded(self, results: Sequence[Emitted]) -> Iterator[Emitted | None]:
        """Call the function for each key of windows that fired; None is a step without a result."""
        for result, time in results:
            key, start, end, held = cast("WindowResult[object, _Held]", result)
            if _MARK in held[::3]:
                whole: _Held = []
                for at in range(0, len(held), 3):
                    if held[at] == _MARK:
                        for number in range(held[at + 1]):
                            whole += cast("_Held", private_copy(self._sealed.get(key, (held[at + 2], number))))
                            yield None
                    else:
                        whole += held[at : at + 3]
                held = whole
            for value in self._fn(*_sides(held)):
                yield WindowResult(key, start, end, value), time

    def _check_restored(self) -> None:
        if not self._knows_time:
            raise InvariantError("a join by windows goes on without the watermark of its snapshot: call on_restore")

    def _drop_sealed(self, key: object, start: int) -> None:
        for place in [place for place, _ in self._sealed.items(key, (start,), (start + 1,))]:
            self._sealed.delete(key, place)

    def _look_at_timers(self) -> None:
        super()._look_at_timers()
        self.due = min(self.due, self._windows.due)
        if self.firing:
            self.due = TIME_MIN


def _sides(held: _Held) -> tuple[list[Any], list[Any]]:
    """Give the values of both sides by timestamp, then arrival."""
    sides, times, values = held[::3], held[1::3], held[2::3]
    if times != sorted(times):
        order = sorted(range(len(times)), key=times.__getitem__)
        sides, values = [sides[at] for at in order], [values[at] for at in order]
    lefts = [value for side, value in zip(sides, values, strict=True) if side == LEFT]
    rights = [value for side, value in zip(sides, values, strict=True) if side == RIGHT]
    return lefts, rights


def _with_record(held: _Held | object, record: tuple[int, int, object]) -> _Held:
    return [*record] if held is MISSING else _together(cast("_Held", held), record)


def _together(earlier: _Held, later: Sequence[object]) -> _Held:
    earlier += later
    return earlier


def _itself(held: _Held) -> _Held:
    return held
