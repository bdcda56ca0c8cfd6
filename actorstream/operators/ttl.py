"""Time-to-live of states: what the user says, what time it is, and when a value expires.

    write at 12:00     expiry 13:00       ttl one hour, by the job's clock or by event time
    read at 12:03      expiry 13:00       with refresh="read" not moved: a tenth of the hour has not passed
    read at 12:07      expiry 13:07
    from 13:07 on      the default        also if nothing has removed the value yet

The time of a write in event time is that of its record, or the watermark where that is later or the record
has none; expired is what the watermark before the record has reached. So neither batches nor clocks change a
result (T136). Processing time is read once for each piece of a batch, and never goes back in one process (T129).
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from actorstream.codec.values import is_immutable
from actorstream.errors import PlanError
from actorstream.model.times import TIME_MIN
from actorstream.state.memtable import MISSING, PLAIN
from actorstream.state.ttl import NEVER

if TYPE_CHECKING:
    from actorstream.state.ttl import Domain

_MICROSECOND = timedelta(microseconds=1)
_LONGEST = timedelta(days=366_000)
_LONGEST_US = _LONGEST // _MICROSECOND
_STEPS = 10


@dataclass(frozen=True, slots=True, init=False)
class TTL:
    """How long a state's values live.

    An expired value is never shown: it reads as the default. A map's entries expire one by one, a value or a list
    as a whole. A mutable value, every list among them, may be changed by whoever reads it: reading counts as writing.

    A restart may change all of it. Values from before a time-to-live was added, or of another domain, live until they
    are written again; when it is taken away, values that are still there stay; when only the duration changes,
    values keep the expiry that they were written with.

    Attributes:
        duration_us: From a write to the expiry.
        domain: "processing", the job's clock, or "event": a value expires when the watermark reaches its expiry,
            and a write counts from the time of its record, or from the watermark if that is later. Where no
            watermark comes, nothing expires.
        refresh: "write": only writing moves the expiry. "read": reading does too, but not before a tenth of the
            duration has passed since it was moved last, so that not every reading is a write.
    """

    duration_us: int
    domain: Domain
    refresh: Literal["write", "read"]

    def __init__(
        self,
        duration: timedelta | float,
        *,
        domain: Domain = "processing",
        refresh: Literal["write", "read"] = "write",
    ) -> None:
        """Take what the user says.

        Args:
            duration: A timedelta, or seconds.
            domain: Which clock.
            refresh: What moves the expiry.

        Raises:
            PlanError: A value is none of these, or the duration is not from one microsecond to a thousand years.
        """
        for name, given, words in (
            ("domain", domain, ("event", "processing")),
            ("refresh", refresh, ("write", "read")),
        ):
            if given not in words:
                raise PlanError(f"TTL: {name} is {given!r}, expected one of {', '.join(map(repr, words))}")
        object.__setattr__(self, "duration_us", _duration_us(duration))
        object.__setattr__(self, "domain", domain)
        object.__setattr__(self, "refresh", refresh)


def ttl_of(given: TTL | timedelta | float | None) -> TTL | None:
    """Read the `ttl=` of a state.

    Raises:
        PlanError: It is no time-to-live.
    """
    return given if given is None or isinstance(given, TTL) else TTL(given)


def _duration_us(value: object) -> int:
    if isinstance(value, timedelta):
        us = value // _MICROSECOND
    elif isinstance(value, int | float) and not isinstance(value, bool):
        # Compared first: NaN fails, and a number of any size does not overflow.
        us = round(value * 1_000_000) if 0 < value <= _LONGEST.total_seconds() else 0
    else:
        raise PlanError(f"ttl is {value!r}, expected a timedelta or seconds as a number")
    if not 0 < us <= _LONGEST_US:
        raise PlanError(
            f"ttl is {value!r}, expected one microsecond to {_LONGEST.days} days: leave it out for what shall stay"
        )
    return us


class TtlTime:
    """One clock, as the states of one process object see it while it handles a record.

    Attributes:
        now: What expires at this instant or before has expired.
        written: The time of what is written now.
    """

    __slots__ = ("now", "written")

    def __init__(self) -> None:
        """Begin before all times."""
        self.now = TIME_MIN
        self.written = TIME_MIN

    def reach(self, now: int) -> None:
        """Let time be `now`, unless it has been later."""
        if now > self.now:
            self.now = self.written = now


class Lifetime:
    """When the values of one state expire. A stored value is a pair (value, expiry), or MISSING."""

    __slots__ = ("_step", "by_read", "duration", "time")

    def __init__(self, ttl: TTL, time: TtlTime) -> None:
        """Go by `time`."""
        self.time = time
        self.duration = ttl.duration_us
        self.by_read = ttl.refresh == "read"
        self._step = -(-self.duration // _STEPS)

    def by(self, time: TtlTime) -> Lifetime:
        """Give the same by another clock."""
        made = copy(self)
        made.time = time
        return made

    def on_read(self, pair: tuple[object, int]) -> tuple[object, int]:
        """Give the pair that is left when user code has got its value: the same one, if nothing is to be written."""
        value, expiry = pair
        if value.__class__ in PLAIN or is_immutable(value):
            if not self.by_read:
                return pair
            step = self._step
        else:
            step = 1
        later = self.time.written + self.duration
        return (value, later) if later - expiry >= step or expiry >= NEVER else pair


def shown(stored: object, now: int) -> object:
    """Give what may be seen at `now` of a stored value; MISSING: nothing."""
    if isinstance(stored, tuple) and now < stored[1]:
        return stored[0]
    return MISSING
