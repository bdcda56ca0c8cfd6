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
from actorstream.graph.nodes import CallSpec
from actorstream.operators.generate import Step
from actorstream.operators.key_check import KeyCheck

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from actorstream.graph.nodes import NodeId
    from actorstream.graph.plan import Chain, Exchange
    from actorstream.model.batch import Batch
    from actorstream.operators.generate import Result
    from actorstream.operators.step_text import Bindings, Lists, Outlet, StepPart
    from actorstream.runtime.outputs import ExchangeOutput
    from actorstream.runtime.pace import Pace
    from actorstream.runtime.sinks import SinkPort
    from actorstream.runtime.statistics import SubtaskStatistics
    from actorstream.state.operator_state import OperatorState

Tap: TypeAlias = "Callable[[Sequence[object]], Awaitable[None]]"
SLICE_RECORDS_FIRST = 16
SLICE_RECORDS_MAX = 512
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
        self.taps: dict[NodeId, list[Tap]] = {}
        self.calling: str | None = None
        self.keys = KeyCheck(chain.head.name if chain.stateful is None else chain.stateful.name)
        self.turn_ends = 0.0
        self.after_piece: Callable[[], None] | None = None
        self.slice = SLICE_RECORDS_FIRST
        self._slice_max = SLICE_RECORDS_MAX
        self._subtask = subtask
        self._pace = pace
        self._statistics = statistics
        self._bindings: Bindings | None = None
        self._compiled: dict[tuple[bool, StepPart], _Compiled] = {}
        self._step: Step | None = None
        self._names = {node.id: node.name for node in chain.nodes}
        self._calls = {
            node.id: cast("Callable[[object], Awaitable[object]]", node.spec.fn)
            for node in chain.nodes
            if isinstance(node.spec, CallSpec)
        }
        self._called_with: object = None
        self._origin: tuple[str, object] | None = None
        self._state: OperatorState | None = None

    def bind(self, bindings: Bindings) -> None:
        """Compile the step for these bindings."""
        self._bindings = bindings
        bindings.key_check = self.keys
        self._state = bindings.state
        self.compile()

    def compile(self) -> None:
        """Write the step anew: at the start, and when a subscription comes or goes."""
        if self._bindings is None:
            return
        self.forget()
        self._bindings.taps = tuple(self.taps)
        step = self._step_for("whole", timed=False).step
        streamed = all(outlet.kind == "called" for outlet in step.outlets)
        self._slice_max = SLICE_RECORDS_STREAMED if streamed else SLICE_RECORDS_MAX
        self.slice = min(self.slice, self._slice_max)

    def forget(self) -> None:
        """Drop the steps and their source text."""
        for compiled in self._compiled.values():
            compiled.step.forget()
        self._compiled = {}

    def _step_for(self, part: StepPart, *, timed: bool) -> _Compiled:
        """Give the step for batches with or without timestamps: a source that knows none costs nothing for them."""
        found = self._compiled.get((timed, part))
        if found is None:
            if self._bindings is None:
                raise InvariantError(f"chain {self.chain.name} takes records before it is open")
            step = Step(self.chain, self._bindings, timed=timed, part=part)
            outputs = [
                self.outputs[outlet.exchange] if outlet.exchange is not None else None for outlet in step.outlets
            ]
            found = self._compiled[timed, part] = _Compiled(step, list(zip(step.outlets, outputs, strict=True)))
        return found

    async def work(self, batch: Batch) -> None:
        """Run the step over a batch, in pieces that keep within a burst.

        Raises:
            CodecError: A key is None, or of another type than the keys before.
            RestoreError: The restored state has keys of another type.
            Exception: Whatever a user's function raises; `blame` says whose it was.
        """
        if batch.keys is not None:
            self._origin = batch.origin
            self.keys.all(batch.keys)
        total = len(batch.values)
        start = 0
        while True:
            count = min(self.slice, total - start)
            await self.piece(batch, start, count)
            start += count
            if start == total:
                return
            if self._pace.clock.monotonic() > self.turn_ends:
                await self._pace.give_way()
                self.turn_ends = self._pace.clock.monotonic() + self._pace.share()

    async def piece(self, batch: Batch, start: int, count: int) -> None:
        """Run the step over `count` records of a batch whose keys are checked; raises as `work`."""
        values, timestamps, keys = batch.values, batch.timestamps, batch.keys
        self._origin = batch.origin
        statistics, clock = self._statistics, self._pace.clock.monotonic
        statistics.records_in += count
        began = clock()
        for exchange in self.outputs.values():
            if not exchange.has_credit():
                self._pace.rest()
                try:
                    await exchange.wait_credit()
                finally:
                    self._pace.wake()
        statistics.backpressured_seconds += clock() - began
        timed = timestamps is not None and self.chain.needs_timestamps
        part: StepPart = "whole"
        records, seconds = count, 0.0
        ahead = self._state is not None and self._state.looks_ahead
        if ahead:
            if self.chain.keyed_inside:
                seconds, lists = await self._before_key(values, timestamps, start, count, timed=timed)
                values, keys, timestamps = lists
                start, count, part = 0, len(values), "after key"
            if keys:
                seconds += await self._fetch(keys[start : start + count])
        # Only now: while we waited, a subscription may have had the step written anew.
        compiled = self._step_for(part, timed=timed)
        took, results = self._run(compiled.step, values, keys, timestamps, start, count)
        self._fit(records, seconds + took, fetched=ahead)
        await self._deliver(compiled, results)
        if self.after_piece is not None:
            self.after_piece()

    def _run(
        self,
        step: Step,
        values: Sequence[object],
        keys: Sequence[object] | None,
        timestamps: Sequence[int] | None,
        start: int,
        count: int,
    ) -> tuple[float, tuple[Result, ...]]:
        """Run a step; give the seconds that it took, and what it gave."""
        self._step = step
        clock = self._pace.clock.monotonic
        began = clock()
        results = step.run(values, keys, timestamps, start, count)
        seconds = clock() - began
        self._statistics.busy_seconds += seconds
        return seconds, results

    async def _before_key(
        self, values: Sequence[object], timestamps: Sequence[int] | None, start: int, count: int, *, timed: bool
    ) -> tuple[float, Lists]:
        """Run the part before the key, deliver what it gives to others, and give what comes to the key."""
        compiled = self._step_for("before key", timed=timed)
        seconds, results = self._run(compiled.step, values, None, timestamps, start, count)
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
        for (outlet, output), lists in zip(compiled.deliveries, results, strict=True):
            if output is not None:
                statistics.records_out += output.send(cast("Lists | list[Lists]", lists), self._origin)
            elif outlet.kind == "called":
                statistics.records_delivered += cast("int", lists)
            elif outlet.kind != "keyed":
                await self._hand_over(outlet, cast("Lists", lists).values)

    async def _hand_over(self, outlet: Outlet, values: list[object]) -> None:
        if not values:
            return
        if outlet.kind == "tap":
            for tap in self.taps.get(outlet.node, ()):
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
        elif records >= self.slice < self._slice_max and seconds < limit / 4:
            self.slice = min(self._slice_max, self.slice * 4)

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
        record = f" at record {place.offset + 1} of a batch, of type {type(place.record).__name__}" if place else ""
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
