"""When a window gives a result: what triggers are, and those that are there to be taken.

    record ──on_element──┐                       "continue"         nothing
    timer  ──on_timer────┼──> a verdict          "fire"             a result of the window as it is
    merge  ──on_merge──┘                         "purge"            forget the records, not the window (T54)
                                                 "fire_and_purge"   both

A trigger is shared by all windows: what it remembers of one is in `ctx.state`. It belongs to one
(key, window) like the timers that it sets, and goes with it.

Each class here is written as one of a user's would be. The default, `at_watermark`, is also known to the
operators, which do the same without calling it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Protocol, TypeAlias, TypeVar, cast, get_args

from actorstream.errors import PlanError
from actorstream.operators.user_time import datetime_of, time_us
from actorstream.operators.windows.durations import span_us

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping, Sequence

    from actorstream.operators.process_timers import Domain, Timer
    from actorstream.operators.windows.assigners import Window
    from actorstream.operators.windows.durations import Duration

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

Fire: TypeAlias = Literal["continue", "fire", "purge", "fire_and_purge"]
FIRES: Final = frozenset(get_args(Fire))

_MICROSECOND: Final = timedelta(microseconds=1)
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_END: Final = "end"


class TriggerContext(Protocol):
    """What a trigger is told, and where it remembers. Valid during the call only."""

    @property
    def timestamp(self) -> datetime:
        """The record's event time; in `on_timer` and `on_merge` what the timer was set to, and the watermark."""
        ...

    @property
    def watermark(self) -> datetime:
        """No more records up to here are expected; the first datetime that there is while nothing is known.

        When a timer of event time fires, it is that time, however far it has gone on in one step.
        """
        ...

    @property
    def now(self) -> datetime:
        """Processing time, from the job's clock: never use another."""
        ...

    @property
    def domain(self) -> Domain:
        """The time by which the windows close."""
        ...

    @property
    def state(self) -> MutableMapping[str, Any]:
        """What the trigger remembers of this key and window, until the window is dropped."""
        ...

    @property
    def merged(self) -> Sequence[MutableMapping[str, Any]]:
        """In `on_merge`, the states of the windows that became one, the earliest first; otherwise empty."""
        ...

    def set_timer(self, at: datetime | float, name: str = "", *, domain: Domain = "event") -> None:
        """Let `on_timer` be called at a time, once.

        One timer for each name and domain of a window: setting it again moves it. At a time that the watermark has
        passed it fires at once, and says the watermark.
        """
        ...


class Trigger(Generic[T_contra]):
    """When a window gives a result. Default: when the watermark passes its end, and for each late record after that.

    For one of your own override `on_element` and `on_timer`, and for sessions `on_merge`.
    """

    @staticmethod
    def at_watermark() -> Trigger[object]:
        """Fire when the watermark passes the window's end, and for each late record within the allowed lateness."""
        return AtEnd("event")

    @staticmethod
    def at_clock() -> Trigger[object]:
        """Fire when the clock passes the end of a processing-time window: their default."""
        return AtEnd("processing")

    @staticmethod
    def count(n: int) -> Trigger[object]:
        """Fire with each `n`-th record of the window, and not at its end: add a trigger of your own for that.

        Raises:
            PlanError: `n` is not an int above 0.
        """
        number = cast("object", n)
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise PlanError(f"Trigger.count({n!r}): expected an int of at least 1")
        return EveryNth(n)

    @staticmethod
    def every(period: Duration, *, domain: Domain = "event") -> Trigger[object]:
        """Fire at the end of each period in which a record came, and at the window's end.

        Periods are multiples of their length since 1970. A record falls into one by its own time, or by the clock.

        Raises:
            PlanError: The period is not above 0, or the domain is unknown.
        """
        if domain not in {"event", "processing"}:
            raise PlanError(f"Trigger.every: domain is {domain!r}, expected 'event' or 'processing'")
        return Every(span_us(period, "Trigger.every: the period"), domain)

    @staticmethod
    def delta(threshold: float, fn: Callable[[T], float]) -> Trigger[T]:
        """Fire when fn(record) is further than `threshold` from that of the record that fired last, or came first.

        Raises:
            PlanError: `fn` is no function.
        """
        if not callable(fn):
            raise PlanError(f"Trigger.delta: {fn!r} is not a function of a record")
        return Delta(threshold, fn)

    def purging(self) -> Trigger[T_contra]:
        """Give a trigger that fires when this one does, and then forgets the window's records."""
        return Purging(self)

    # of your own: override these three

    def on_element(self, value: T_contra, window: Window, ctx: TriggerContext, /) -> Fire:
        """Say what happens now that the record is in the window."""
        raise NotImplementedError

    def on_timer(self, timer: Timer, window: Window, ctx: TriggerContext, /) -> Fire:
        """Say what happens at a time that this trigger has set for the window."""
        raise NotImplementedError

    def on_merge(self, window: Window, ctx: TriggerContext, /) -> None:
        """Go on with a session that has become larger; `on_element` with the record that made it so follows.

        The timers of the windows that it was are gone: set what it needs. `ctx.merged` has their states; `ctx.state`
        begins with all their entries, of the latest window where several have one.
        """
        raise NotImplementedError


class AtEnd(Trigger[object]):
    """Fires at the end of a window, and for each record after that."""

    def __init__(self, domain: Domain) -> None:
        """Go by the watermark or by the clock."""
        self.domain: Domain = domain

    def on_element(self, value: object, window: Window, ctx: TriggerContext, /) -> Fire:
        """Fire if the end has passed already."""
        del value
        if self._passed(window, ctx):
            return "fire"
        ctx.set_timer(window.end - _MICROSECOND, _END, domain=self.domain)
        return "continue"

    def on_timer(self, timer: Timer, window: Window, ctx: TriggerContext, /) -> Fire:
        """Fire."""
        del timer, window, ctx
        return "fire"

    def on_merge(self, window: Window, ctx: TriggerContext, /) -> None:
        """Wait for the new end; if it has passed, the record that made it so fires."""
        if not self._passed(window, ctx):
            ctx.set_timer(window.end - _MICROSECOND, _END, domain=self.domain)

    def _passed(self, window: Window, ctx: TriggerContext) -> bool:
        return self.domain == "event" and window.end - _MICROSECOND <= ctx.watermark


_AT_END: Final[dict[Domain, AtEnd]] = {"event": AtEnd("event"), "processing": AtEnd("processing")}


class EveryNth(Trigger[object]):
    """Fires by the number of records."""

    def __init__(self, n: int) -> None:
        """Fire with each `n`-th."""
        self.n = n

    def on_element(self, value: object, window: Window, ctx: TriggerContext, /) -> Fire:
        """Count."""
        del value, window
        number = ctx.state.get("count", 0) + 1
        ctx.state["count"] = number % self.n
        return "fire" if number >= self.n else "continue"

    def on_merge(self, window: Window, ctx: TriggerContext, /) -> None:
        """Add up; what is there already fires with the record that made the windows one."""
        del window
        ctx.state["count"] = sum(state.get("count", 0) for state in ctx.merged)


class Every(Trigger[object]):
    """Fires at the end of each period that brought something, and at the window's own.

    `ctx.state` holds the ends that are waited for, each under its own name, which is the timer's as well.
    """

    def __init__(self, period_us: int, domain: Domain) -> None:
        """Go by periods of the watermark or of the clock."""
        self.period_us = period_us
        self.domain: Domain = domain

    def on_element(self, value: object, window: Window, ctx: TriggerContext, /) -> Fire:
        """Wait for the end of the record's period; fire at once if that, or the window's end, has passed."""
        ends = window.end != _LAST
        if ends and _AT_END[ctx.domain].on_element(value, window, ctx) == "fire":
            return "fire"
        moment = time_us(ctx.timestamp if self.domain == "event" else ctx.now)
        at = datetime_of(moment - moment % self.period_us + self.period_us - 1)
        if self.domain == "event" and at <= ctx.watermark:
            return "fire"
        if self.domain != ctx.domain or not ends or at < window.end - _MICROSECOND:
            name = at.isoformat()
            ctx.state[name] = at
            ctx.set_timer(at, name, domain=self.domain)
        return "continue"

    def on_timer(self, timer: Timer, window: Window, ctx: TriggerContext, /) -> Fire:
        """Fire."""
        del window
        ctx.state.pop(timer.name, None)
        return "fire"

    def on_merge(self, window: Window, ctx: TriggerContext, /) -> None:
        """Wait for all that the windows waited for, and for the new end."""
        _AT_END[ctx.domain].on_merge(window, ctx)
        for name, at in ctx.state.items():
            ctx.set_timer(at, name, domain=self.domain)


class Delta(Trigger[T]):
    """Fires when a measure has moved."""

    def __init__(self, threshold: float, fn: Callable[[T], float]) -> None:
        """Measure with `fn`."""
        self.threshold = threshold
        self.fn = fn

    def on_element(self, value: T, window: Window, ctx: TriggerContext, /) -> Fire:
        """Compare with what fired last."""
        del window
        measure = self.fn(value)
        if "last" not in ctx.state:
            ctx.state["last"] = measure
        elif abs(measure - ctx.state["last"]) > self.threshold:
            ctx.state["last"] = measure
            return "fire"
        return "continue"

    def on_merge(self, window: Window, ctx: TriggerContext, /) -> None:
        """Go on from the latest session's measure, which `ctx.state` begins with."""


class Purging(Trigger[T_contra]):
    """Another trigger, after whose results the records are forgotten."""

    def __init__(self, inner: Trigger[T_contra]) -> None:
        """Ask `inner`."""
        self.inner = inner

    def on_element(self, value: T_contra, window: Window, ctx: TriggerContext, /) -> Fire:
        """Ask, and purge where it fires."""
        return _purging(self.inner.on_element(value, window, ctx))

    def on_timer(self, timer: Timer, window: Window, ctx: TriggerContext, /) -> Fire:
        """Ask, and purge where it fires."""
        return _purging(self.inner.on_timer(timer, window, ctx))

    def on_merge(self, window: Window, ctx: TriggerContext, /) -> None:
        """Tell it."""
        self.inner.on_merge(window, ctx)


def innermost(trigger: Trigger[Any]) -> Trigger[Any]:
    """Give the trigger below what only purges."""
    while isinstance(trigger, Purging):
        trigger = trigger.inner
    return trigger


def _purging(verdict: Fire) -> Fire:
    return "fire_and_purge" if verdict == "fire" else verdict
