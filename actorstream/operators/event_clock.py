"""Where event time stands at one place of a chain: what generated loops read and move.

    records enter    EventClock: the least of the channels' watermarks
    times assigned   AssignedClock: the least of the splits' watermarks, each made by a generator of its own
    results leave    the watermark that those behind the operator with state have been told

During a batch only its own split or channel moves, so the least of the others is a constant, the `cap`: the
watermark at a record is max(now, min(own, cap)), with no look at the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorstream.model.times import TIME_MAX, TIME_MIN

if TYPE_CHECKING:
    from actorstream.operators.generators import BoundedOutOfOrderness, Custom

YEAR_1: Final = -62_135_596_800
YEAR_10000: Final = 253_402_300_800
"""Unix seconds between which a time must lie."""


class EventClock:
    """The watermark at one place.

    Attributes:
        now: The watermark: it never goes back.
        cap: The most that it can become while this batch lasts.
        late: How many records came too late here.
    """

    __slots__ = ("cap", "late", "now")

    def __init__(self) -> None:
        """Start before all time."""
        self.now = TIME_MIN
        self.cap = TIME_MAX
        self.late = 0


class AssignedClock(EventClock):
    """The watermark behind `assign_timestamps`. `generator` is that of the batch's split."""

    __slots__ = ("generator",)
    generator: BoundedOutOfOrderness | Custom
