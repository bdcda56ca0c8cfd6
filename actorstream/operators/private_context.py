"""What an async handler is told of the record or timer at hand, and what it asks for: done when its turn has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from actorstream.errors import MissingTimestampError, StateAccessError
from actorstream.model.times import TIME_MAX
from actorstream.operators.user_time import datetime_of, time_us

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from actorstream.model.world import Clock
    from actorstream.operators.contexts import OutputTag, RecordContext
    from actorstream.operators.private_states import PrivateStates
    from actorstream.operators.process_binding import ProcessBinding
    from actorstream.operators.process_timers import Domain, HeldTimers, ProcessTimers


class PrivateContext:
    """The `Context` of one call.

    Attributes:
        key: The current key.
        soonest: The earliest event time to which it has set a timer.
    """

    __slots__ = ("_asides", "_binding", "_clock", "_states", "_timers", "_timestamp", "_watermark", "key", "soonest")

    def __init__(
        self,
        binding: ProcessBinding,
        states: PrivateStates,
        clock: Clock,
        key: object,
        timestamp_us: int | None,
        watermark_us: int,
    ) -> None:
        """Tell of a record with this time, or of a timer that was set to it."""
        self.key = key
        self.soonest = TIME_MAX
        self._binding = binding
        self._states: PrivateStates | None = states
        self._clock = clock
        self._timestamp = timestamp_us
        self._watermark = watermark_us
        self._asides: list[tuple[str, object]] = []
        self._timers: list[Callable[[], object]] = []

    @property
    def timestamp(self) -> datetime:
        """The record's event time."""
        if self._timestamp is None:
            raise MissingTimestampError(
                f"ctx.timestamp in {self._binding.operator}: the source of this record gives no timestamps; "
                "say .assign_timestamps(...), read from an EventLog, or yield Fetched(..., timestamps=[...])"
            )
        return datetime_of(self._timestamp)

    @property
    def watermark(self) -> datetime:
        """How far event time had come before the record."""
        return datetime_of(self._watermark)

    @property
    def now(self) -> datetime:
        """The job's clock."""
        return datetime_of(self._clock.now_us())

    def emit_to(self, tag: OutputTag[Any], value: object) -> None:
        """Give a record to a side output."""
        self._open("emit_to")
        self._asides.append((tag.name, value))

    def set_timer(self, at: datetime | float, name: str = "", *, domain: Domain = "event") -> None:
        """Set or move a timer of the current key."""
        self._open("set_timer")
        timers, at_us, key = self._setter(), time_us(at, "set_timer"), self.key
        if domain == "event":
            self.soonest = min(self.soonest, at_us)
        self._timers.append(lambda: timers.set(key, name, domain, at_us))

    def cancel_timer(self, name: str = "", *, domain: Domain = "event") -> None:
        """Let a timer of the current key not fire."""
        self._open("cancel_timer")
        timers, key = self._setter(), self.key
        self._timers.append(lambda: timers.cancel(key, name, domain))

    def clear(self) -> None:
        """Forget the key."""
        self._open("clear").clear()
        timers, key = self._binding.set_timers, self.key
        if timers is not None:
            self._timers.append(lambda: timers.clear(key))

    def _setter(self) -> ProcessTimers | HeldTimers:
        return self._binding.set_timers or cast("RecordContext", self._binding.context).timers()

    def _open(self, what: str) -> PrivateStates:
        if self._states is None:
            raise StateAccessError(f"ctx.{what} in {self._binding.operator}: the handler it was given to has ended")
        return self._states

    def close(self) -> None:
        """The handler has ended."""
        self._states = None

    def carry_out(self, context: RecordContext) -> None:
        """Do what was asked for."""
        for each in self._timers:
            each()
        for name, value in self._asides:
            given = context.sides.get(name)
            if given is not None:
                given.append(value)
