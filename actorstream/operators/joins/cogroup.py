"""Both sides' records of one key and window, when the window ends.

    left   ──a1──────────a2────|─a3──▶
    right  ──────b1────────────|─────▶     at the end: fn([a1, a2], [b1]), then fn([a3], [])
           [      a window     )

A window exists once a record of either side is in it, so an empty side is seen: that is how outer
joins are written. Records come to the function by timestamp, then arrival; to be later
than others changes nothing, as long as it is not too late: `end - 1 + allowed_lateness <= watermark`.
A record that comes after its window's end and is not too late gives the results of the window
anew, at once. With a merging assigner both sides make one session.

A timer (key, window) fires at the window's last microsecond, and is then set to when the window is
dropped. What it does is cut in steps, for a window may be large: `firing` until the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import gcd
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from actorstream.codec.values import SELF_DESCRIBING, codec_for, is_immutable
from actorstream.errors import PlanError
from actorstream.operators.columns import Column
from actorstream.operators.joins.arrivals import LEFT, RIGHT, Arrivals
from actorstream.operators.joins.event_timers import LAST, TIMERS, EventTimers
from actorstream.operators.joins.sessions import Sessions
from actorstream.operators.joins.sliced_cogroup import SlicedCoGroupOperator, sliced_columns
from actorstream.operators.joins.window_rows import STEP, WindowRows
from actorstream.operators.timed import LATE, TimedDefinition
from actorstream.operators.windows.assigners import Count, Sliding, Tumbling, WindowAssigner
from actorstream.operators.windows.definition import SLICES_MAX, Aligned
from actorstream.operators.windows.results import ShownWindows, WindowResult
from actorstream.state.missing import private_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from actorstream.model.world import Clock
    from actorstream.operators.timed import Emitted, Given
    from actorstream.operators.windows.assigners import Span
    from actorstream.state.operator_state import OperatorState
    from actorstream.state.timers import Timer

_BY_END: Final = itemgetter(1, 0)


GroupFn: TypeAlias = "Callable[[list[Any], list[Any]], Iterable[object]]"


@dataclass(frozen=True, slots=True)
class CoGroup(TimedDefinition):
    """`fn(lefts, rights)` of each key and window; its results as `WindowResult`.

    Raises:
        PlanError: The windows do not end by event time, or are counted.
    """

    assigner: WindowAssigner[Any]
    fn: GroupFn
    allowed_lateness_us: int = 0
    kind: str = "cogroup"

    def __post_init__(self) -> None:
        """Check that the windows end, and when."""
        assigner = self.assigner
        if not isinstance(cast("object", assigner), WindowAssigner):
            raise PlanError(
                f"{self.kind}: windows are {assigner!r}, expected windows such as Tumbling(60) or Session(30)"
            )
        name = type(assigner).__name__
        if isinstance(assigner, Count) or not assigner.ends:
            raise PlanError(f"{self.kind}: {name} windows have no end in time; use Tumbling, Sliding or Session")
        if assigner.domain != "event":
            raise PlanError(f"{self.kind}: {name} goes by the clock; two inputs are joined by event time only")

    @property
    def inputs(self) -> int:
        """Two."""
        return 2

    @property
    def event_time(self) -> bool:
        """Records need timestamps."""
        return True

    @property
    def fetches_rows(self) -> bool:
        """Slices are no rows."""
        return self.aligned is None

    def columns(self, operator: str) -> list[Column]:
        """Give the states."""
        del operator
        if self.aligned is not None:
            return sliced_columns()
        sides = [Column(name, "map", SELF_DESCRIBING) for name in ("left", "right")]
        sessions = [Column("sessions", "map", codec_for(int))] if self.assigner.merging else []
        return [Arrivals.column(), *sides, *sessions, TIMERS]

    @property
    def aligned(self) -> Aligned | None:
        """How slices may be shared; None: each record is kept by itself, as here."""
        windows = self.assigner
        if not isinstance(windows, Sliding) or type(windows) not in {Sliding, Tumbling}:
            return None  # a subclass may have other windows
        slices = windows.size_us // gcd(windows.size_us, windows.slide_us)
        if slices > SLICES_MAX:
            return None
        return Aligned(windows.size_us, windows.slide_us, windows.offset_us)

    def open(self, operator: str, state: OperatorState, clock: Clock) -> CoGroupOperator | SlicedCoGroupOperator:
        """Make one subtask's operator."""
        del operator, clock
        if self.aligned is not None:
            # Windows that share nothing and are dropped when they fire give their records away, with no copy.
            gives_away = self.aligned.size_us == self.aligned.slide_us and not self.allowed_lateness_us
            fn = pairs_given_away if gives_away and self.fn is every_pair else self.fn
            both = self.fn is every_pair
            return SlicedCoGroupOperator(self.aligned, fn, self.allowed_lateness_us, state, both_sides=both)
        return CoGroupOperator(self, state)


def window_join(assigner: WindowAssigner[Any], allowed_lateness_us: int = 0) -> CoGroup:
    """Give the join that has every pair of one key and window: by the left one's order, then the right one's."""
    return CoGroup(assigner, every_pair, allowed_lateness_us, "window_join")


def pairs_given_away(lefts: list[Any], rights: list[Any]) -> Iterable[object]:
    """Give all pairs of records that nobody else has: only one that is in several pairs must not be changeable."""
    for side, other in ((lefts, rights), (rights, lefts)):
        if len(other) > 1 and not all(map(is_immutable, side)):
            return every_pair(lefts, rights)
    return product(lefts, rights)


def every_pair(lefts: list[Any], rights: list[Any]) -> Iterable[object]:
    """Give all pairs; they share nothing mutable."""
    if not lefts or not rights:
        return ()
    if all(map(is_immutable, lefts)) and all(map(is_immutable, rights)):
        return product(lefts, rights)
    return ((private_copy(left), private_copy(right)) for left in lefts for right in rights)


class CoGroupOperator(EventTimers):
    """One subtask's operator.

    Attributes:
        firing: A window's results are partly out: state is not to be frozen until `fire` has given the rest.
    """

    def __init__(self, definition: CoGroup, state: OperatorState) -> None:
        """Go on with what is in `state`."""
        super().__init__(state)
        self._assigner = definition.assigner
        self._fn = definition.fn
        self._lateness = definition.allowed_lateness_us
        self._rows = WindowRows(definition.assigner, state)
        self._sessions = Sessions(state.maps["sessions"]) if definition.assigner.merging else None
        self._shown = ShownWindows()
        self._steps: Iterator[Emitted | None] | None = None

    @property
    def firing(self) -> bool:
        """Tell whether `fire` has begun with a window and not ended."""
        return self._steps is not None

    def on_element(self, key: object, value: object, timestamp: int, watermark: int) -> Given:
        """Take in a record of the left."""
        return self._on_record(LEFT, key, value, timestamp, watermark)

    def on_other(self, key: object, value: object, timestamp: int, watermark: int) -> Given:
        """Take in a record of the right."""
        return self._on_record(RIGHT, key, value, timestamp, watermark)

    def _on_record(self, side: int, key: object, value: object, timestamp: int, watermark: int) -> Given:
        spans = self._assigner.assign_us(value, timestamp)
        if not spans:
            return None
        dead = watermark - self._lateness  # a window of which this is the last microsecond, or a later one, is gone
        if self._sessions is None:
            mine = windows = [span for span in spans if span[1] - 1 > dead]
        else:
            mine, windows = self._merge(self._sessions, key, spans, dead)
        if not windows:
            return LATE
        self._rows.add(side, key, value, timestamp, mine)
        results: list[Emitted] = []
        for span in sorted(windows, key=_BY_END) if len(windows) > 1 else windows:
            last = span[1] - 1
            if last > watermark:
                self._set_timer(key, span, last)
            else:
                self._set_timer(key, span, last + self._lateness)
                results += [each for each in self._results(key, span) if each is not None]
        return results or None

    def _merge(
        self, sessions: Sessions, key: object, spans: Sequence[Span], dead: int
    ) -> tuple[list[Span], list[Span]]:
        """Give what of a record goes in, and the sessions that it is then in; T53: none that is too late."""
        mine: list[Span] = []
        windows: list[Span] = []
        for span in spans:
            merged, parts = sessions.around(key, span)
            if merged[1] - 1 <= dead:
                continue
            mine.append(span)
            if parts != [merged]:
                sessions.replace(key, parts, merged)
                for part in parts:
                    self._timers.cancel(key, part, "event")
            windows = [window for window in windows if window not in parts and window != merged] + [merged]
        return mine, windows

    def fire(self, watermark: int, limit: int) -> Sequence[Emitted]:
        """Give the results of windows that have ended, by end, key and start; drop those whose lateness is over."""
        results: list[Emitted] = []
        for step, emitted in enumerate(self._work(watermark), 1):
            if emitted is not None:
                results.append(emitted)
            if step >= limit:
                break
        if self._steps is None:
            self._look_at_timers()
        return results

    def _work(self, watermark: int) -> Iterator[Emitted | None]:
        """Do what is due in steps; None is one without a result. What was begun goes on in the next call."""
        if self._steps is not None:
            # Not `yield from`: whoever leaves this generator must not close that one.
            for each in self._steps:
                yield each
            self._steps = None
        for timer in self._timers.due("event", watermark):
            if timer is not None:
                self._steps = self._fired(timer)
                for each in self._steps:
                    yield each
                self._steps = None
            yield None

    def _fired(self, timer: Timer) -> Iterator[Emitted | None]:
        """Give the results of a window, or drop it: both where there is no time between (T56)."""
        key = timer.key
        span: Span = timer.name  # type: ignore[assignment]  # as `_on_record` has named it
        last = span[1] - 1
        if timer.at == min(last, LAST):
            yield from self._results(key, span)
        dropped_at = min(last + self._lateness, LAST)
        if timer.at < dropped_at:
            self._set_timer(key, span, dropped_at)
            return
        yield from self._rows.drop(key, span)
        if self._sessions is not None:
            self._sessions.drop(key, span)

    def _results(self, key: object, span: Span) -> Iterator[Emitted | None]:
        sides: tuple[list[object], list[object]] = [], []
        for side, values in zip((LEFT, RIGHT), sides, strict=True):
            for value in self._rows.values(side, key, span):
                values.append(private_copy(value))
                if not len(values) % STEP:
                    yield None
        start, end = self._shown.of(span)
        for value in self._fn(*sides):
            yield WindowResult(key, start, end, value), span[1] - 1
