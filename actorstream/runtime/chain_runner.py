"""Runs a chain's generated step over batches and hands on what it gives.

    batch ──cut to fit a burst──> step ──> exchange outputs (sent at once, credit was waited for before)
                                      ├──> sink writers, async calls (awaited)
                                      └──> subscribers

While many keys are not in memory, they are fetched in a thread before their piece:

    piece ──> before the key ──keys──> fetch ──> after the key

Knows nothing of barriers: its actor (subtask.py) calls it between two of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from actorstream.errors import (
    ActorstreamError,
    CodecError,
    InvariantError,
    MissingTimestampError,
    StateAccessError,
    UserCodeError,
)
from actorstream.graph.nodes import CallSpec, TimedSpec
from actorstream.operators.event_clock import EventClock
from actorstream.operators.generate import Step
from actorstream.operators.key_check import KeyCheck
from actorstream.operators.timed import RestoredByWatermark
from actorstream.operators.waiting_text import delay_of
from actorstream.protocol.idleness import BACK_PRESSURE
from actorstream.protocol.watermarks import TIME_MAX, TIME_MIN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from actorstream.graph.nodes import NodeId
    from actorstream.graph.plan import Chain, Exchange
    from actorstream.model.batch import Batch
    from actorstream.operators.generate import Result
    from actorstream.operators.process_timers import ProcessTimers
    from actorstream.operators.step_text import Bindings, Lists, Outlet, StepPart
    from actorstream.operators.timed import TimedOperator
    from actorstream.runtime.event_time import EventTime, TimeReport
    from actorstream.runtime.outputs import ExchangeOutput
    from actorstream.runtime.pace import Pace
    from actorstream.runtime.sinks import SinkPort
    from actorstream.runtime.statistics import SubtaskStatistics
    from actorstream.state.operator_state import OperatorState


def name_of(exchange: Exchange) -> str:
    """Name an exchange in snapshots: its receiver, and which of the receiver's inputs it is."""
    return f"{exchange.receiver}:{exchange.input}"


Tap: TypeAlias = "Callable[[Sequence[object]], Awaitable[None]]"
SLICE_RECORDS_FIRST = 16
SLICE_RECORDS_MAX = 512
SLICE_RECORDS_SPARSE = 4_096
"""Largest piece where a step hands on few of the records that it takes."""
SLICE_RECORDS_STREAMED = 16_384
"""Largest piece where a step keeps no list: nothing is in flight, so only the burst bounds it."""


class _Compiled(NamedTuple):
    step: Step
    deliveries: list[tuple[Outlet, ExchangeOutput | None]]


class ChainRunner:
    """One chain in one subtask."""

    def __init__(self, chain: Chain, subtask: int, pace: Pace, statistics: SubtaskStatistics) -> None:
        """Start unbound: `bind` comes before the first batch. `turn_ends` is the loop's: when to give way."""
        self.chain = chain
        self.outputs: Mapping[Exchange, ExchangeOutput] = {}
        self.ports: dict[NodeId, SinkPort] = {}
        self.taps: dict[tuple[NodeId, str], list[Tap]] = {}
        self._calling: str | None = None
        self.calling_since = 0.0
        self.waits_since: float | None = None
        self.keys = KeyCheck(chain.head.name if chain.stateful is None else chain.stateful.name)
        self.turn_ends = 0.0
        self.after_piece: Callable[[], None] | None = None
        self.slice = SLICE_RECORDS_FIRST
        self._slice_max = SLICE_RECORDS_MAX
        self._subtask = subtask
        self._pace = pace
        self._statistics = statistics
        self._bindings: Bindings | None = None
        self.time: EventTime | None = None
        self._waiting: TimedOperator | ProcessTimers | None = None
        self._stage = EventClock()
        self._lacks_time = False
        self._delay = 0
        self._clocks: dict[Exchange, EventClock] = {}
        self._compiled: dict[tuple[bool, StepPart, bool, int], _Compiled] = {}
        self._step: Step | None = None
        self._names = {node.id: node.name for node in chain.nodes}
        self._calls = {
            node.id: cast("Callable[[object], Awaitable[object]]", node.spec.fn)
            for node in chain.nodes
            if isinstance(node.spec, CallSpec)
        }
        self._called_with: object = None
        self._sent = 0
        self._origin: tuple[str, object] | None = None
        self._state: OperatorState | None = None

    @property
    def calling(self) -> str | None:
        """The operator whose own code is awaited, and `calling_since` when: a sink, or what is being opened or closed."""
        return self._calling

    @calling.setter
    def calling(self, operator: str | None) -> None:
        self._calling, self.calling_since = operator, self._pace.clock.monotonic()

    def bind(self, bindings: Bindings) -> None:
        """Compile the step for these bindings."""
        self._bindings = bindings
        bindings.key_check = self.keys
        self._state = bindings.state
        if self.time is not None:
            bindings.clock, bindings.after, bindings.assigned = self.time.clock, self.time.after, self.time.assigned
        process = bindings.process
        self._waiting = bindings.operator if process is None else process.timers
        stateful = self.chain.stateful
        if self.time is not None:
            self._clocks = {exchange: self.time.clock_at(self.chain, exchange.sender) for exchange in bindings.timed}
            if stateful is not None:
                self._stage = self.time.clock_before(self.chain, stateful)
                self._delay = delay_of(stateful)
                if isinstance(bindings.operator, RestoredByWatermark):
                    bindings.operator.on_restore(self._stage.now)
                timed = isinstance(stateful.spec, TimedSpec) and stateful.spec.definition.event_time
                self._lacks_time = timed and self._stage is self.time.clock
        self.compile()

    def compile(self) -> None:
        """Write the step anew: at the start, and when a subscription comes or goes."""
        if self._bindings is None:
            return
        self.forget()
        self._bindings.taps = tuple(self.taps)
        if self._bindings.process is not None:
            self._bindings.process.context.sides = {}
        step = self._step_for("whole", timed=False).step
        streamed = all(outlet.kind == "called" for outlet in step.outlets)
        self._slice_max = SLICE_RECORDS_STREAMED if streamed else SLICE_RECORDS_MAX
        self.slice = min(self.slice, self._slice_max)

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

    async def work(self, batch: Batch, part: int = 0, side: int = 0) -> None:
        """Run the step over a batch of a split or channel, in pieces that keep within a burst.

        Raises:
            CodecError: A key is None, or of another type than the keys before.
            RestoreError: The restored state has keys of another type.
            Exception: Whatever a user's function raises; `blame` says whose it was.
        """
        if batch.keys is not None:
            self._origin = batch.origin
            self.keys.all(batch.keys)
        total = len(batch.values)
        marks = self.time.begin(part, batch.marks) if self.time is not None else None
        start = 0
        while True:
            count = min(self.slice, total - start)
            last = part if start + count == total else None
            await self.piece(batch, start, count, marks, last=last, side=side)
            start += count
            if start == total:
                return
            await self.breathe()

    async def breathe(self) -> None:
        """Give way where the burst is over."""
        if self._pace.clock.monotonic() > self.turn_ends:
            await self._pace.give_way()
            self.turn_ends = self._pace.clock.monotonic() + self._pace.share()

    async def piece(
        self,
        batch: Batch,
        start: int,
        count: int,
        marks: list[int] | None = None,
        *,
        last: int | None = None,
        side: int = 0,
    ) -> None:
        """Run the step over `count` records of a batch whose keys are checked; raises as `work`.

        `last` is the split or channel whose batch ends with this piece.
        """
        values, timestamps, keys = batch.values, batch.timestamps, batch.keys
        self._origin = batch.origin
        self._statistics.records_in += count
        await self._wait_credit()
        timed = timestamps is not None and self.chain.needs_timestamps
        if not timed and self._lacks_time:
            raise self._missing_time()
        part: StepPart = "whole"
        records, seconds = count, 0.0
        ahead = self._state is not None and self._state.looks_ahead
        if ahead:
            if self.chain.keyed_inside:
                seconds, lists = await self._before_key(values, timestamps, marks, start, count, timed=timed)
                values, keys, timestamps, marks = lists
                start, count, part = 0, len(values), "after key"
                timed = timestamps is not None
            if keys:
                seconds += await self._fetch(keys[start : start + count])
        while True:
            # Only now: while we waited, a subscription may have had the step written anew.
            compiled = self._step_for(part, timed=timed, marked=marks is not None, side=side)
            took, results = self._run(compiled.step, values, keys, timestamps, marks, start, count)
            rest = cast("int", results[-1]) if compiled.step.stops else 0
            if not rest and last is not None and self.time is not None:
                self.time.end(last, batch.watermark)
            await self._deliver(compiled, results)
            if not rest:
                break
            start, count = start + count - rest, rest
            if marks is not None and self.time is not None and self._stage is self.time.clock:
                self._stage.now = marks[start]
            while self.is_due:
                await self.fire()
                await self.breathe()
            await self._wait_credit()
        self._fit(records, seconds + took, fetched=ahead)
        if self.after_piece is not None:
            self.after_piece()

    async def _wait_credit(self) -> None:
        """Wait until every output may be sent to: a record once taken never stops half-way."""
        for exchange in self.outputs.values():
            if not exchange.has_credit():
                break
        else:
            return
        clock = self._pace.clock.monotonic
        self.waits_since = began = clock()
        if self.time is not None:
            self.time.pause(BACK_PRESSURE)
        for exchange in self.outputs.values():
            if not exchange.has_credit():
                self._pace.rest()
                try:
                    await exchange.wait_credit()
                finally:
                    self._pace.wake()
        if self.time is not None:
            self.time.resume(BACK_PRESSURE)
        self.waits_since = None
        self._statistics.backpressured_seconds += clock() - began

    # ---- time

    @property
    def is_due(self) -> bool:
        """Tell whether the watermark has come to something that the operator has to do."""
        return self._waiting is not None and self._stage.now >= self._waiting.due != TIME_MAX

    @property
    def clock_due_us(self) -> int:
        """The time by the clock after which something is due; TIME_MAX if nothing is."""
        return TIME_MAX if self._waiting is None else self._waiting.clock_due

    async def fire(self, now_us: int | None = None) -> None:
        """Do a round of what is due by the watermark, or by the clock at `now_us`, and hand it on."""
        await self._wait_credit()
        self._origin = None
        compiled = self._step_for("fire" if now_us is None else "fire by clock", timed=self.time is not None)
        _, results = self._run(compiled.step, None, None, None, None, now_us or 0, 0)
        await self._deliver(compiled, results)
        if self.after_piece is not None:
            self.after_piece()

    @property
    def may_pause(self) -> bool:
        """Tell whether a snapshot may be taken now.

        What tells by the watermark alone which windows have fired must have fired all that it says.
        """
        waiting = self._waiting
        if isinstance(waiting, RestoredByWatermark):
            return not self.is_due
        return not getattr(waiting, "firing", False)

    def time_report(self) -> TimeReport | None:
        """Give the event time that a snapshot must hold; None where none passes here."""
        if self.time is None:
            return None
        return self.time.report({name_of(each): self.outputs[each].told for each in self._clocks})

    def tell(self) -> None:
        """Tell those behind how far event time has come, where no records do."""
        if self.time is not None:
            for exchange, output in self.outputs.items():
                clock = self._clocks.get(exchange)
                if clock is not None:
                    output.tell(self._passed(clock), idle=not self.is_due and self.time.is_idle(clock))

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

    def _missing_time(self) -> MissingTimestampError:
        name = self.chain.stateful.name if self.chain.stateful is not None else self.chain.name
        return MissingTimestampError(
            f"{name} goes by event time, but its records have none: say .assign_timestamps(lambda record: record.at) "
            "before it, read from an EventLog, or let the source yield Fetched(..., timestamps=[...])"
        )

    def _run(
        self,
        step: Step,
        values: Sequence[object] | None,
        keys: Sequence[object] | None,
        timestamps: Sequence[int] | None,
        marks: Sequence[int] | None,
        start: int,
        count: int,
    ) -> tuple[float, tuple[Result, ...]]:
        """Run a step; give the seconds that it took, and what it gave."""
        self._step = step
        clock = self._pace.clock.monotonic
        began = clock()
        results = step.run(values, keys, timestamps, marks, start, count)
        seconds = clock() - began
        self._statistics.busy_seconds += seconds
        return seconds, results

    async def _before_key(
        self,
        values: Sequence[object],
        timestamps: Sequence[int] | None,
        marks: list[int] | None,
        start: int,
        count: int,
        *,
        timed: bool,
    ) -> tuple[float, Lists]:
        """Run the part before the key, deliver what it gives to others, and give what comes to the key."""
        compiled = self._step_for("before key", timed=timed, marked=marks is not None)
        seconds, results = self._run(compiled.step, values, None, timestamps, marks, start, count)
        await self._deliver(compiled, results)
        index = next(index for index, outlet in enumerate(compiled.step.outlets) if outlet.kind == "keyed")
        lists = cast("Lists", results[index])
        if lists.keys:
            self.keys.all(lists.keys)
        return seconds, lists

    async def _fetch(self, keys: Sequence[object]) -> float:
        """Bring what the layers hold of these keys into memory, in a thread, if it is worth one.

        Returns:
            For how many seconds this held the loop.
        """
        clock = self._pace.clock.monotonic
        began = clock()
        cold = self._state.missing(keys) if self._state is not None else None
        seconds = clock() - began
        if cold is None:
            return seconds
        self._pace.rest()
        try:
            await self._pace.offload.run(cold.read)
        except BaseException:
            cold.drop()
            raise
        finally:
            self._pace.wake()
        began = clock()
        cold.settle()
        return seconds + clock() - began

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

    def _fit(self, records: int, seconds: float, *, fetched: bool) -> None:
        """Choose how many records the next piece may have, from what this one cost.

        Half as many where state was `fetched`: what one piece found in memory, the next may have to read.
        """
        limit = self._pace.share() / (2 if fetched else 1)
        if seconds > limit:
            self.slice = max(1, int(records * limit / seconds))
        elif records >= self.slice and seconds < limit / 4:
            # What counts is what is in flight behind it, so one that lets little through may take more at a time.
            most = min(max(self._slice_max, records * SLICE_RECORDS_MAX // (self._sent + 1)), SLICE_RECORDS_SPARSE)
            if self.slice < most:
                self.slice = min(most, self.slice * 4)
        self._sent = 0

    def expect_slower(self) -> None:
        """Make the next piece a quarter as long: right after a freeze every key is looked for among the older ones."""
        self.slice = max(1, self.slice // 4)

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
        if operator is not None and isinstance(error, CodecError):
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
