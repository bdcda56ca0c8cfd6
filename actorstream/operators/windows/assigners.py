"""Which windows a record belongs to.

    Tumbling(60)             |-----|-----|-----|          each record in one
    Sliding(60, slide=20)    |--------|                   each record in size / slide
                                |--------|
    Session(30)              |---|        |----|          until 30 s pass without a record of the key
    Count(10)                                             by their number: counted.py
    Global()                 ------------------>          one a key, for ever

A window is [start, end). Starts are multiples of the slide from the offset on, also below 0
(T59). Inside, windows are pairs of microseconds: `assign_us`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeAlias, TypeVar

from actorstream.errors import PlanError
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.user_time import datetime_of, time_us
from actorstream.operators.windows.durations import offset_us, span_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from actorstream.operators.process_timers import Domain
    from actorstream.operators.windows.durations import Duration

T_contra = TypeVar("T_contra", contravariant=True)

Span: TypeAlias = "tuple[int, int]"
"""A window inside: start and end in microseconds."""

FOREVER: Final[Span] = (TIME_MIN, TIME_MAX + 1)


class Window(NamedTuple):
    """[start, end)."""

    start: datetime
    end: datetime


class WindowAssigner(Generic[T_contra]):
    """Subclass it for a windowing of your own: override `assign`.

    Attributes:
        domain: By which time windows close: "event", the watermark's, or "processing", the job's clock. A class
            of yours may say `domain = "processing"`.
        merging: Windows of a key that touch or overlap become one.
        ends: Windows close at their end; otherwise only a trigger makes them give results.
    """

    domain: Domain = "event"
    merging: bool = False
    ends: bool = True

    def assign(self, value: T_contra, timestamp: datetime, /) -> Iterable[Window]:
        """Give the windows of a record; none: it is dropped. The time is the record's, or the clock's.

        The answer must depend on nothing else: it is asked for again after a restart.
        """
        raise NotImplementedError

    def assign_us(self, value: T_contra, timestamp: int, /) -> Sequence[Span]:
        """Give the windows in microseconds, each once, in their order.

        Raises:
            PlanError: `assign` gave something else than windows that end after they start.
        """
        spans: set[Span] = set()
        for window in self.assign(value, datetime_of(timestamp)):
            try:
                start, end = window
                span = time_us(start, "a window's start"), time_us(end, "a window's end")
            except (TypeError, ValueError):
                raise PlanError(f"{type(self).__name__}.assign gave {window!r}, expected Window(start, end)") from None
            if span[0] >= span[1]:
                raise PlanError(f"{type(self).__name__}.assign gave {window!r}, which does not end after its start")
            spans.add(span)
        return sorted(spans)


class Sliding(WindowAssigner[object]):
    """Windows of one size that start every `slide`; a slide beyond the size leaves records in no window.

    Attributes:
        size_us: How long a window is.
        slide_us: From one start to the next.
        offset_us: The least start that is not below 0.
    """

    def __init__(self, size: Duration, *, slide: Duration, offset: Duration = 0, domain: Domain = "event") -> None:
        """Start windows every `slide` from `offset` (after 1970 in UTC) on, in both directions.

        Raises:
            PlanError: A size or slide that is not above 0, or no duration; an unknown domain.
        """
        kind = type(self).__name__
        self.size_us = span_us(size, f"{kind}: size")
        self.slide_us = span_us(slide, f"{kind}: slide")
        self.offset_us = offset_us(offset, f"{kind}: offset") % self.slide_us
        self.domain = _checked(kind, domain)

    def assign(self, value: object, timestamp: datetime, /) -> Iterable[Window]:
        """Give the windows of a record."""
        return _shown(self.assign_us(value, time_us(timestamp, "the timestamp")))

    def assign_us(self, value: object, timestamp: int, /) -> Sequence[Span]:
        """Give the windows, the earliest first."""
        del value
        size, slide = self.size_us, self.slide_us
        last = timestamp - (timestamp - self.offset_us) % slide
        first = last - (last + size - timestamp - 1) // slide * slide
        return [(start, start + size) for start in range(first, last + 1, slide)]


class Tumbling(Sliding):
    """Windows of one size, end to end."""

    def __init__(self, size: Duration, *, offset: Duration = 0, domain: Domain = "event") -> None:
        """Start windows every `size` from `offset` on; raises as `Sliding`."""
        super().__init__(size, slide=size, offset=offset, domain=domain)

    def assign_us(self, value: object, timestamp: int, /) -> Sequence[Span]:
        """Give the window."""
        del value
        start = timestamp - (timestamp - self.offset_us) % self.size_us
        return ((start, start + self.size_us),)


class Session(WindowAssigner[T_contra]):
    """A window of a key ends when there was no record of it for a while.

    A record stands for [time, time + gap); what touches or overlaps is one session.
    """

    merging = True

    def __init__(self, gap: Duration | Callable[[T_contra], Duration], *, domain: Domain = "event") -> None:
        """End a session `gap` after its last record; a function gives the gap that follows each record.

        Raises:
            PlanError: The gap is not above 0, or no duration; an unknown domain.
        """
        self._gap = gap if callable(gap) else None
        self._gap_us = 0 if callable(gap) else span_us(gap, "Session: gap")
        self.domain = _checked("Session", domain)

    def assign(self, value: T_contra, timestamp: datetime, /) -> Iterable[Window]:
        """Give what a record stands for before it joins a session."""
        return _shown(self.assign_us(value, time_us(timestamp, "the timestamp")))

    def assign_us(self, value: T_contra, timestamp: int, /) -> Sequence[Span]:
        """Give what a record stands for.

        Raises:
            PlanError: The gap that the user's function gave is not above 0, or no duration.
        """
        gap = self._gap_us if self._gap is None else span_us(self._gap(value), "Session: the gap of a record")
        return ((timestamp, timestamp + gap),)


class Global(WindowAssigner[object]):
    """One window a key that never closes: needs a trigger.

    Its results say that it starts and ends where datetimes do. Their event time is that of
    what made the trigger fire: of the record, or of the timer.
    """

    ends = False

    def assign(self, value: object, timestamp: datetime, /) -> Iterable[Window]:
        """Give the window."""
        del value, timestamp
        return _shown([FOREVER])

    def assign_us(self, value: object, timestamp: int, /) -> Sequence[Span]:
        """Give the window."""
        del value, timestamp
        return (FOREVER,)


class Count(WindowAssigner[object]):
    """Windows of `size` records of a key, of which one starts every `slide` records.

    Results come when a window is full; start and end are the timestamps of the first and
    the last record in it, in the order in which they came; without timestamps the first datetime there is.
    A slide beyond the size leaves records in no window. There is no lateness and no trigger: for these see `Global`.
    """

    def __init__(self, size: int, *, slide: int | None = None) -> None:
        """Start a window with each `slide`-th record; default: the size.

        Raises:
            PlanError: Size or slide is not an int above 0.
        """
        counts: dict[str, object] = {"size": size, "slide": size if slide is None else slide}
        for name, number in counts.items():
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise PlanError(f"Count: {name} is {number!r}, expected an int of at least 1")
        self.size = size
        self.slide = size if slide is None else slide

    def assign(self, value: object, timestamp: datetime, /) -> Iterable[Window]:
        """Refuse: the number of a record is not known here.

        Raises:
            PlanError: Always.
        """
        raise PlanError(f"Count({self.size}) goes by the number of records: it has no windows of time to give")


def _shown(spans: Iterable[Span]) -> list[Window]:
    return [Window(datetime_of(start), datetime_of(end)) for start, end in spans]


def _checked(kind: str, domain: object) -> Domain:
    if domain == "event":
        return "event"
    if domain == "processing":
        return "processing"
    raise PlanError(f"{kind}: domain is {domain!r}, expected 'event' or 'processing'")
