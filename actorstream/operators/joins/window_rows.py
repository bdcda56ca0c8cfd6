"""The records of both sides, kept so that those of one window are one range.

    Tumbling, Sliding, merging    (start, number)              once, whatever the number of windows;
                                                               a window [s, e) is the range of starts s to e
    windows of the user's own     (start, end, time, number)   once for each window

Where windows share records `start` is the record's time, or with a merging assigner the start of what
the record stands for: sessions may grow together, and nothing is moved. A record goes with the
last window that it is in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from actorstream.operators.joins.arrivals import LEFT, RIGHT, Arrivals
from actorstream.operators.windows.assigners import Sliding, Tumbling

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorstream.operators.windows.assigners import Span, WindowAssigner
    from actorstream.state.operator_state import OperatorState

_Range: TypeAlias = "tuple[tuple[int, ...], tuple[int, ...]]"

STEP: Final = 500
"""After how many records work on a window may be interrupted: about 1 ms."""


class WindowRows:
    """Both sides' records of each key, by window."""

    def __init__(self, assigner: WindowAssigner[Any], state: OperatorState) -> None:
        """Go on with what is in `state`."""
        self._tables = state.maps["left"], state.maps["right"]
        self._arrivals = Arrivals(state.rows)
        self._merging = assigner.merging
        self._slide: int | None = None
        if isinstance(assigner, Sliding) and type(assigner) in {Sliding, Tumbling}:  # a subclass may have other windows
            self._slide = assigner.slide_us

    def add(self, side: int, key: object, value: object, timestamp: int, spans: Sequence[Span]) -> None:
        """Keep a record for windows, or for what it stands for with a merging assigner."""
        row = self._arrivals.of(key)
        number = row[0]
        places: list[tuple[int, ...]]
        if self._slide is not None:
            places = [(timestamp, number)]
        elif self._merging:
            places = [(start, number) for start in dict.fromkeys(start for start, _ in spans)]
        else:
            places = [(start, end, timestamp, number) for start, end in spans]
        for place in places:
            self._tables[side].set(key, place, value)
        self._arrivals.add(key, row, side, len(places))

    def values(self, side: int, key: object, span: Span) -> Iterator[object]:
        """Give the records in a window, by time, then arrival; they are the state's own."""
        numbers: set[int] = set()
        for place, value in self._items(side, key, span):
            if self._merging:  # what stands for several windows, which have become one, is in it once
                number = cast("tuple[int, int]", place)[1]
                if number in numbers:
                    continue
                numbers.add(number)
            yield value

    def drop(self, key: object, span: Span) -> Iterator[None]:
        """Drop what no later window needs of a window, in steps."""
        if self._slide is not None:
            span = span[0], min(span[1], span[0] + self._slide)
        gone: tuple[list[object], list[object]] = [], []
        for side, places in zip((LEFT, RIGHT), gone, strict=True):
            for place, _ in self._items(side, key, span):
                places.append(place)
                if not len(places) % STEP:
                    yield None
        all_gone = self._arrivals.drop(key, *map(len, gone))
        for table, places in zip(self._tables, gone, strict=True):
            if all_gone and places:
                table.clear(key)  # one mark in the next layer, instead of one a record
                continue
            for n, place in enumerate(places, 1):
                table.delete(key, place)
                if not n % STEP:
                    yield None

    def _items(self, side: int, key: object, span: Span) -> Iterator[tuple[object, object]]:
        if not self._arrivals.of(key)[1 + side]:
            return iter(())
        return self._tables[side].items(key, *self._range(span))

    def _range(self, span: Span) -> _Range:
        start, end = span
        if self._slide is not None or self._merging:
            return (start,), (end,)
        return (start, end), (start, end + 1)
