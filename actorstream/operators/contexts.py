"""What handlers are told about the record or timer at hand, and what they do besides returning results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from actorstream.errors import MissingTimestampError, StateAccessError
from actorstream.model.times import TIME_MIN
from actorstream.operators.user_time import datetime_of, time_us

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping
    from datetime import datetime

    from actorstream.model.world import Clock
    from actorstream.operators.process_binding import ProcessBinding
    from actorstream.operators.process_timers import Domain, HeldTimers, ProcessTimers
    from actorstream.operators.state_declarations import StateRef

K = TypeVar("K")
K_co = TypeVar("K_co", covariant=True)
T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")


class OutputTag(Generic[T]):
    """Names a side output, and says of which type its records are."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        """Name it; "late" is taken: windows and joins put there what came too late."""
        self.name = name

    def __repr__(self) -> str:
        """Show the name."""
        return f"OutputTag({self.name!r})"


class OperatorContext(Protocol):
    """Which subtask this is."""

    @property
    def name(self) -> str:
        """The operator's name."""
        ...

    @property
    def subtask(self) -> int:
        """Index of this subtask, from 0."""
        ...

    @property
    def parallelism(self) -> int:
        """How many subtasks there are."""
        ...


class ElementContext(Protocol):
    """What a handler is told about the record or timer at hand. Valid during the call only."""

    @property
    def timestamp(self) -> datetime:
        """The record's event time: assign_timestamps', else the source's own, else MissingTimestampError.

        An EventLog's own is when the record was appended. In `on_timer` it is the time that the timer was set to.
        """
        ...

    @property
    def watermark(self) -> datetime:
        """How far event time has come: no record with this time or an earlier one is expected. At first `datetime.min`.

        In `on_timer` of event time it is the timer's time: time passes from one to the next.
        """
        ...

    @property
    def now(self) -> datetime:
        """Processing time, from the job's clock: never use another."""
        ...

    def emit_to(self, tag: OutputTag[U], value: U) -> None:
        """Give a record to a side output, where `stream.side_output(tag)` finds it; nobody takes it: it is dropped."""
        ...


class Context(ElementContext, Protocol[K_co]):
    """What a handler of a key is told, and its timers."""

    @property
    def key(self) -> K_co:
        """The current key."""
        ...

    def set_timer(self, at: datetime | float, name: str = "", *, domain: Domain = "event") -> None:
        """Let `on_timer` be called for this key at a time, an aware datetime or Unix seconds.

        There is one timer for each (key, domain, name): setting it again moves it. Event time: it fires when the
        watermark reaches it, and if it is due already at once, after this handler. Processing time: when the job's
        clock has passed it, and the records at hand are done.

        Raises:
            TimestampError: `at` is no time.
            StateAccessError: The class has no `on_timer`.
        """
        ...

    def cancel_timer(self, name: str = "", *, domain: Domain = "event") -> None:
        """Let a timer of this key not fire; one that is not set is fine."""
        ...

    def clear(self) -> None:
        """Forget the key: every state and timer of it in this operator."""
        ...


class BroadcastContext(ElementContext, Protocol):
    """What `on_broadcast` is told, and what it may do to the states of its subtask."""

    def writable(self, state: Mapping[K, V], /) -> MutableMapping[K, V]:
        """Give the broadcast state `self.x`, to write to, during this call.

        What you write must not depend on the subtask or on the order of keyed input: every subtask is to write the
        same, and a snapshot has the copy of one of them. A mutable value is copied when it is written.

        Raises:
            StateAccessError: It is no broadcast state of this object.
        """
        ...

    def for_each_key(self, state: StateRef[K, V], fn: Callable[[K, V], object], /) -> None:
        """Call fn(key, value) for every key of this subtask that has something of a state, given as `Class.state`.

        A key whose value is the default, or that has an empty list or map, has nothing. In `fn` the key is the current
        one: `self.x` are its states, to read and to write. Keys come in the order of their encodings. All of it is
        one call: nothing else goes on in this process meanwhile, and all keys of the state are in memory.

        Raises:
            StateAccessError: It is no state by key of this class.
        """
        ...


class UnkeyedContext:
    """The `ElementContext` that the generated loop fills in for each record, whether it has a key or not."""

    __slots__ = ("_binding", "_clock", "event_time_us", "sides", "watermark_us")

    def __init__(self, binding: ProcessBinding, clock: Clock) -> None:
        """Belong to one process object."""
        self._binding = binding
        self._clock = clock
        self.event_time_us: int | None = None
        self.watermark_us = TIME_MIN
        self.sides: dict[str, list[object]] = {}

    @property
    def timestamp(self) -> datetime:
        """The record's event time."""
        if self.event_time_us is None:
            raise MissingTimestampError(
                f"ctx.timestamp in {self._binding.operator}: the source of this record gives no timestamps; "
                "say .assign_timestamps(...), read from an EventLog, or yield Fetched(..., timestamps=[...])"
            )
        return datetime_of(self.event_time_us)

    @property
    def watermark(self) -> datetime:
        """How far event time has come."""
        return datetime_of(self.watermark_us)

    @property
    def now(self) -> datetime:
        """The job's clock."""
        return datetime_of(self._clock.now_us())

    def emit_to(self, tag: OutputTag[Any], value: object) -> None:
        """Give a record to a side output."""
        given = self.sides.get(tag.name)
        if given is not None:
            given.append(value)


class RecordContext(UnkeyedContext):
    """The `Context` of a record with a key, or of a timer."""

    __slots__ = ("key",)

    def __init__(self, binding: ProcessBinding, clock: Clock) -> None:
        """Belong to one process object."""
        super().__init__(binding, clock)
        self.key: object = None

    def set_timer(self, at: datetime | float, name: str = "", *, domain: Domain = "event") -> None:
        """Set or move a timer of the current key."""
        timers = self._binding.set_timers or self.timers()
        timers.set(self.key, name, domain, time_us(at, "set_timer"))

    def cancel_timer(self, name: str = "", *, domain: Domain = "event") -> None:
        """Let a timer of the current key not fire."""
        self.timers().cancel(self.key, name, domain)

    def timers(self) -> ProcessTimers | HeldTimers:
        """Give what timers are set by."""
        timers = self._binding.set_timers
        if timers is None:
            raise StateAccessError(
                f"{self._binding.operator} sets a timer, but {type(self._binding.process).__name__} has no on_timer: "
                "write `def on_timer(self, timer, ctx)`"
            )
        return timers

    def clear(self) -> None:
        """Forget the key."""
        self._binding.clear(self.key)
