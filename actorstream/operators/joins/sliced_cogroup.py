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

from itertools import chain, compress, islice
from operator import not_
from sys import maxsize
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import InvariantError
from actorstream.model.times import TIME_MIN
from actorstream.operators.columns import Column
from actorstream.operators.joins.arrivals import LEFT, RIGHT
from actorstream.operators.joins.event_timers import TIMERS, EventTimers
from actorstream.operators.timed import LATE
from actorstream.operators.windows.aggregates import Aggregation
from actorstream.operators.windows.results import WindowResult
from actorstream.operators.windows.sliced import SLICES, SlicedWindows
from actorstream.operators.windows.sliced_grid import SliceGrid
from actorstream.state.missing import MISSING, private_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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

_ALL: Final = maxsize

_Held: TypeAlias = "list[Any]"
_New: TypeAlias = "Callable[[type[WindowResult[object, object]], tuple[object, ...]], WindowResult[object, object]]"


def sliced_columns() -> list[Column]:
    """Give the columns to declare."""
    return [Column(SLICES, "slices", SELF_DESCRIBING), Column(SEALED, "map", SELF_DESCRIBING), TIMERS]


class SlicedCoGroupOperator(EventTimers):
    """One subtask's operator.

    Attributes:
        windows: What is kept, by slice; a generated loop puts a record there itself if its slice is at hand.
        firing: Results are partly out: state is not to be frozen until `fire` has given the rest.
    """

    def __init__(
        self, aligned: Aligned, fn: GroupFn, allowed_lateness_us: int, state: OperatorState, *, both_sides: bool = False
    ) -> None:
        """Go on with what is in `state`; where there is something, `on_restore` must follow.

        With `both_sides` the function gives nothing where one side has no record, and is not asked.
        """
        gives_away = aligned.size_us == aligned.slide_us and not allowed_lateness_us
        both = Aggregation(
            "aggregate",
            None,
            _with_record,
            _together,
            _itself,
            gives_away=gives_away,
            has_result=_may_have_both if both_sides else None,
        )
        self.windows = SlicedWindows(aligned, both, allowed_lateness_us, state)
        self.firing = False
        super().__init__(state)
        self._fn = fn
        self._both_sides = both_sides
        self._grid = SliceGrid(*aligned)
        self._lateness = allowed_lateness_us
        self._slices = cast("Any", state.slices)
        self._sealed = state.maps[SEALED]
        self._pending: Iterator[list[Emitted]] = iter(())
        self._room = 0
        self._start = TIME_MIN
        self._epoch: object = None
        self._knows_time = not self._slices.slices()
        self._entries: Slice = {}
        self._closes = TIME_MIN

    def on_restore(self, watermark: int, floors: Sequence[tuple[KeyGroupRange, int]] = ()) -> None:
        """Go on at the watermark of the snapshot; see `SlicedWindows.on_restore`."""
        self.windows.on_restore(watermark, floors)
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
        windows = self.windows
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
            self.seal(start, key, held)
        return None

    def _behind(self, side: int, key: object, value: object, timestamp: int, watermark: int) -> Given:
        """Take in a record whose first window has ended."""
        given = self.windows.on_element(key, (side, timestamp, value), timestamp, watermark)
        self._epoch = None
        self.due = min(self.due, self.windows.due)
        if given is None or given is LATE:
            return given
        self._room = _ALL
        return list(chain.from_iterable(self._expanded(given))) or None

    def seal(self, start: int, key: object, held: list[Any]) -> None:
        """Put a list that has become long where it is written no more."""
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
        given: list[Emitted] = []
        room = self._drain(given, limit)
        if room:
            fired = self.windows.fire(watermark, room)
            self._pending = self._expanded(fired)
            room = self._drain(given, room)
            self.firing = self.windows.firing or not room
        else:
            self.firing = True
        if not self.firing:
            for timer in self._timers.due("event", watermark):
                if timer is not None:
                    self._drop_sealed(timer.key, cast("int", timer.name))
        self._look_at_timers()
        return given

    def _drain(self, given: list[Emitted], room: int) -> int:
        """Move results that are pending to `given`, as many as there is room for; tell for how many more there is."""
        while room > 0:
            self._room = room
            results = next(self._pending, None)
            if results is None:
                return room
            given += results
            room -= len(results) or 1
        return 0

    def _expanded(self, windows: Sequence[Emitted]) -> Iterator[list[Emitted]]:
        """Call the function for each key of windows that fired; an empty list is a step without a result."""
        new: _New = tuple[object, ...].__new__  # of a NamedTuple: 0.7 of the time
        for window, time in windows:
            key, start, end, held = cast("WindowResult[object, _Held]", window)
            sides = held[::3]
            if _MARK in sides:
                whole: _Held = []
                for at in range(0, len(held), 3):
                    if held[at] == _MARK:
                        for number in range(held[at + 1]):
                            whole += cast("_Held", private_copy(self._sealed.get(key, (held[at + 2], number))))
                            yield []
                    else:
                        whole += held[at : at + 3]
                held, sides = whole, whole[::3]
            if self._both_sides and sides.count(LEFT) in {0, len(sides)}:
                continue
            values = iter(self._fn(*_sides(sides, held)))
            while some := list(islice(values, self._room)):
                results: list[Emitted] = [(new(WindowResult, (key, start, end, value)), time) for value in some]
                yield results

    def _check_restored(self) -> None:
        if not self._knows_time:
            raise InvariantError("a join by windows goes on without the watermark of its snapshot: call on_restore")

    def _drop_sealed(self, key: object, start: int) -> None:
        for place in [place for place, _ in self._sealed.items(key, (start,), (start + 1,))]:
            self._sealed.delete(key, place)

    def _look_at_timers(self) -> None:
        super()._look_at_timers()
        self.due = min(self.due, self.windows.due)
        if self.firing:
            self.due = TIME_MIN


def _sides(sides: list[int], held: _Held) -> tuple[list[Any], list[Any]]:
    """Give the values of both sides by timestamp, then arrival."""
    times, values = held[1::3], held[2::3]
    if times != sorted(times):
        order = sorted(range(len(times)), key=times.__getitem__)
        sides, values = [sides[at] for at in order], [values[at] for at in order]
    return list(compress(values, map(not_, sides))), list(compress(values, sides))


def _may_have_both(held: _Held) -> bool:
    return held[0] == _MARK or len({*held[::3]}) > 1


def _with_record(held: _Held | object, record: tuple[int, int, object]) -> _Held:
    return [*record] if held is MISSING else _together(cast("_Held", held), record)


def _together(earlier: _Held, later: Sequence[object]) -> _Held:
    earlier += later
    return earlier


def _itself(held: _Held) -> _Held:
    return held
