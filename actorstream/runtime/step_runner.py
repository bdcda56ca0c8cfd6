"""Runs the generated steps of a chain, and puts what they give where it belongs.

    values ──> step ──> exchange outputs (sent at once, credit was waited for before)
                    ├──> sink writers, async calls (awaited)
                    └──> subscribers

When and how much at a time decides chain_runner.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from actorstream.errors import (
    ActorstreamError,
    CodecError,
    InvariantError,
    MissingTimestampError,
    StateAccessError,
    TimestampError,
    UserCodeError,
)
from actorstream.graph.nodes import CallSpec, errors_of
from actorstream.model.batch import SampledOrigin
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.event_clock import EventClock
from actorstream.operators.failures import DeadLetters
from actorstream.operators.generate import Step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from actorstream.graph.nodes import NodeId
    from actorstream.graph.plan import Chain, Exchange
    from actorstream.operators.generate import Result
    from actorstream.operators.process_timers import ProcessTimers
    from actorstream.operators.step_text import Bindings, Lists, Outlet, StepPart
    from actorstream.operators.timed import TimedOperator
    from actorstream.runtime.event_time import EventTime
    from actorstream.runtime.outputs import ExchangeOutput
    from actorstream.runtime.pace import Pace
    from actorstream.runtime.sinks import SinkPort
    from actorstream.runtime.statistics import SubtaskStatistics

Columns: TypeAlias = (
    "tuple[Sequence[object] | None, Sequence[object] | None, Sequence[int] | None, Sequence[int] | None]"
)
"""Values, keys, timestamps, marks: None where there are none."""
Tap: TypeAlias = "Callable[[Sequence[object]], Awaitable[None]]"


class _Compiled(NamedTuple):
    step: Step
    deliveries: list[tuple[Outlet, ExchangeOutput | None]]


class StepRunner:
    """The steps of one chain in one subtask, and where their results go.

    Attributes:
        outputs: The lanes of each exchange.
        ports: The writer of each sink.
        taps: Who else gets the records of an operator's output.
        time: The clocks of event time; None where nobody asks for it.
        is_streamed: A step keeps no list: each record has left when the next is taken.
    """

    def __init__(self, chain: Chain, subtask: int, pace: Pace, statistics: SubtaskStatistics) -> None:
        """Start unbound."""
        self.chain = chain
        self.outputs: Mapping[Exchange, ExchangeOutput] = {}
        self.ports: dict[NodeId, SinkPort] = {}
        self.taps: dict[tuple[NodeId, str], list[Tap]] = {}
        self.time: EventTime | None = None
        self.is_streamed = False
        self.calling_since = 0.0
        self._calling: str | None = None
        self._called_with: object = None
        self._subtask = subtask
        self._pace = pace
        self._statistics = statistics
        self._bindings: Bindings | None = None
        self._waiting: TimedOperator | ProcessTimers | None = None
        self._stage = EventClock()
        self._delay = 0
        self._clocks: dict[Exchange, EventClock] = {}
        self._compiled: dict[tuple[bool, StepPart, bool, int], _Compiled] = {}
        self._step: Step | None = None
        self._sent = 0
        self._origin: tuple[str, object] | None = None
        self._names = {node.id: node.name for node in chain.nodes}
        self._calls = {
            node.id: cast("Callable[[object], Awaitable[object]]", node.spec.fn)
            for node in chain.nodes
            if isinstance(node.spec, CallSpec)
        }

    @property
    def calling(self) -> str | None:
        """The operator whose own code is awaited, `calling_since` when: a sink, or one being opened or closed."""
        return self._calling

    @calling.setter
    def calling(self, operator: str | None) -> None:
        self._calling, self.calling_since = operator, self._pace.clock.monotonic()

    def _dead_letters(self) -> dict[NodeId, DeadLetters]:
        """Make what writes the failures of each operator that has an output for them."""
        failing = [node for node in self.chain.nodes if errors_of(node.spec)]
        return {node.id: DeadLetters(node.name, self._subtask, lambda: self._origin) for node in failing}

    def compile(self) -> None:
        """Write the step anew: at the start, and when a subscription comes or goes."""
        if self._bindings is None:
            return
        self.forget()
        self._bindings.taps = tuple(self.taps)
        if self._bindings.process is not None:
            self._bindings.process.context.sides = {}
        step = self._step_for("whole", timed=False).step
        self.is_streamed = all(outlet.kind == "called" for outlet in step.outlets)

    def forget(self) -> None:
        """Drop the steps and their source text."""
        for compiled in self._compiled.values():
            compiled.step.forget()
        self._compiled = {}

    def _step_for(self, part: StepPart, *, timed: bool, marked: bool = False, side: int = 0) -> _Compiled:
        """Give the step for batches with or without timestamps: a source that knows none costs nothing for them."""
        place = timed, part, marked, side
        found = self._compiled.get(place)
        if found is None:
            if self._bindings is None:
                raise InvariantError(f"chain {self.chain.name} takes records before it is open")
            step = Step(self.chain, self._bindings, timed=timed, part=part, marked=marked, side=side)
            outputs = [
                self.outputs[outlet.exchange] if outlet.exchange is not None else None for outlet in step.outlets
            ]
            found = self._compiled[place] = _Compiled(step, list(zip(step.outlets, outputs, strict=True)))
        return found

    def _run(self, step: Step, columns: Columns, start: int, count: int) -> tuple[float, tuple[Result, ...]]:
        """Run a step; give the seconds that it took, and what it gave."""
        self._step = step
        clock = self._pace.clock.monotonic
        began = clock()
        results = step.run(*columns, start, count)
        seconds = clock() - began
        self._statistics.busy_seconds += seconds
        return seconds, results

    async def _deliver(self, compiled: _Compiled, results: tuple[Result, ...]) -> None:
        statistics = self._statistics
        for (outlet, output), lists in zip(compiled.deliveries, results, strict=False):
            if output is not None:
                clock = self._clocks.get(cast("Exchange", outlet.exchange))
                watermark = None if clock is None else self._passed(clock)
                before = statistics.records_out
                statistics.records_out += output.send(cast("Lists | list[Lists]", lists), self._origin, watermark)
                self._sent += statistics.records_out - before
            elif outlet.kind == "called":
                statistics.records_delivered += cast("int", lists)
            elif outlet.kind != "keyed":
                await self._hand_over(outlet, cast("Lists", lists).values)
        if isinstance(self._origin, SampledOrigin):
            statistics.latency_seconds = self._pace.clock.monotonic() - self._origin.read_at

    async def _hand_over(self, outlet: Outlet, values: list[object]) -> None:
        if not values:
            return
        if outlet.kind == "tap":
            for tap in self.taps.get((outlet.node, outlet.output), ()):
                await tap(values)
            return
        self._statistics.records_delivered += len(values)
        self.calling = self._names[outlet.node]
        if outlet.kind == "sink":
            await self.ports[outlet.node].write(values)
        else:
            call = self._calls[outlet.node]
            for value in values:
                self._called_with = value
                await call(value)
            self._called_with = None
        self.calling = None

    # ---- time

    @property
    def is_due(self) -> bool:
        """Tell whether the watermark has come to something that the operator has to do."""
        return self._waiting is not None and self._stage.now >= self._waiting.due != TIME_MAX

    def _passed(self, clock: EventClock) -> int:
        """Give the watermark that may be told: behind an operator that is not done yet, what it has done."""
        time = self.time
        if clock.now == TIME_MAX:
            # The end of input says that, once all is out; what is given by the clock then may be of any time.
            return TIME_MIN if time is None or clock is not self._stage else time.after.now
        if time is None or clock is not self._stage or self._waiting is None:
            return clock.now
        if not self.is_due:
            time.after.now = max(time.after.now, clock.now - self._delay)
        return time.after.now

    def operator_at(self, file: str, line: int) -> str | None:
        """Name the operator that a line of the step's text belongs to; None if it is not of the last step."""
        return None if self._step is None else self._step.operator_at(file, line)

    def blame(self, error: Exception) -> Exception:
        """Say whose error this is: operator, subtask and record if a user's function raised, else `error` itself.

        A value that cannot be encoded is told with its operator too.
        """
        place = self._step.locate(error.__traceback__) if self._step is not None else None
        operator = place.operator if place is not None else self.calling
        ours = isinstance(error, ActorstreamError) and not isinstance(error, StateAccessError | MissingTimestampError)
        record = ""
        if place is not None:
            kind = type(place.record).__name__
            record = (
                " when its time had come"
                if place.offset is None
                else f" at record {place.offset + 1} of a batch, of type {kind}"
            )
        read = f", read from split {self._origin[0]!r} up to position {self._origin[1]!r}" if self._origin else ""
        failure: Exception
        if operator is not None and isinstance(error, CodecError | TimestampError):
            failure = type(error)(f"{operator} (subtask {self._subtask}): {error}{record}{read}")
            failure.__cause__ = error
            return failure
        if operator is None or ours:
            return error
        failure = UserCodeError(
            f"{operator} (subtask {self._subtask}) raised {type(error).__name__}: {error}{record}{read}",
            operator=operator,
            subtask=self._subtask,
            position=self._origin,
            record=place.record if place is not None else self._called_with,
        )
        failure.__cause__ = error
        return failure
