"""Runs a chain's generated step over batches and hands on what it gives.

    batch ──cut to fit a burst──> step ──> exchange outputs (sent at once, credit was waited for before)
                                      ├──> sink writers, async calls (awaited)
                                      └──> subscribers

Knows nothing of barriers: its actor (subtask.py) calls it between two of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from actorstream.codec.ordered_keys import encode_key
from actorstream.errors import (
    ActorstreamError,
    CodecError,
    InvariantError,
    MissingTimestampError,
    RestoreError,
    StateAccessError,
    UserCodeError,
)
from actorstream.graph.nodes import CallSpec
from actorstream.operators.generate import Step
from actorstream.operators.routing import mixed_keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from actorstream.graph.nodes import NodeId
    from actorstream.graph.plan import Chain, Exchange
    from actorstream.model.batch import Batch
    from actorstream.operators.step_text import Bindings, Lists, Outlet
    from actorstream.runtime.outputs import ExchangeOutput
    from actorstream.runtime.pace import Pace
    from actorstream.runtime.sinks import SinkPort
    from actorstream.runtime.statistics import SubtaskStatistics

Tap: TypeAlias = "Callable[[Sequence[object]], Awaitable[None]]"
SLICE_RECORDS_FIRST = 16
_EQUAL_KINDS: frozenset[type] = frozenset({bool, int, float})
SLICE_RECORDS_MAX = 512


class ChainRunner:
    """One chain in one subtask."""

    def __init__(self, chain: Chain, subtask: int, pace: Pace, statistics: SubtaskStatistics) -> None:
        """Start unbound: `bind` comes before the first batch. `turn_ends` is the loop's: when to give way."""
        self.chain = chain
        self.outputs: Mapping[Exchange, ExchangeOutput] = {}
        self.ports: dict[NodeId, SinkPort] = {}
        self.taps: dict[NodeId, list[Tap]] = {}
        self.calling: str | None = None
        self._subtask = subtask
        self._pace = pace
        self._statistics = statistics
        self._bindings: Bindings | None = None
        self._compiled: dict[bool, tuple[Step, list[tuple[Outlet, ExchangeOutput | None]]]] = {}
        self._step: Step | None = None
        self.turn_ends = 0.0
        self._names = {node.id: node.name for node in chain.nodes}
        self._calls = {
            node.id: cast("Callable[[object], Awaitable[object]]", node.spec.fn)
            for node in chain.nodes
            if isinstance(node.spec, CallSpec)
        }
        self._called_with: object = None
        self._key_type: type | None = None
        self._part_types: dict[int, type] = {}
        self._stored_key_type: type | None = None
        self._slice = SLICE_RECORDS_FIRST
        self._origin: tuple[str, object] | None = None

    def expect_keys_like(self, stored: object) -> None:
        """Refuse keys of another type than `stored`, a key of the restored state (T34)."""
        self._key_type = self._stored_key_type = type(stored)

    def bind(self, bindings: Bindings) -> None:
        """Compile the step for these bindings."""
        self._bindings = bindings
        self.compile()

    def compile(self) -> None:
        """Write the step anew: at the start, and when a subscription comes or goes."""
        if self._bindings is None:
            return
        self.forget()
        self._bindings.taps = tuple(self.taps)
        self._step_for(timed=False)

    def forget(self) -> None:
        """Drop the steps and their source text."""
        for step, _ in self._compiled.values():
            step.forget()
        self._compiled = {}

    def _step_for(self, *, timed: bool) -> tuple[Step, list[tuple[Outlet, ExchangeOutput | None]]]:
        """Give the step for batches with or without timestamps: a source that knows none costs nothing for them."""
        found = self._compiled.get(timed)
        if found is None:
            if self._bindings is None:
                raise InvariantError(f"chain {self.chain.name} takes records before it is open")
            step = Step(self.chain, self._bindings, timed=timed)
            found = self._compiled[timed] = (
                step,
                [
                    (outlet, self.outputs[outlet.exchange] if outlet.exchange is not None else None)
                    for outlet in step.outlets
                ],
            )
        return found

    async def work(self, batch: Batch) -> None:
        """Run the step over a batch, in pieces that keep within a burst.

        Raises:
            CodecError: A key is None, or of another type than the keys before.
            RestoreError: The restored state has keys of another type.
            Exception: Whatever a user's function raises; `blame` says whose it was.
        """
        values, keys, timestamps = batch.values, batch.keys, batch.timestamps
        self._origin = batch.origin
        if keys is not None:
            self._check_keys(keys)
        total = len(values)
        self._statistics.records_in += total
        if total <= self._slice:
            await self._piece(values, keys, timestamps)
            return
        start = 0
        while start < total:
            if start and self._pace.clock.monotonic() > self.turn_ends:
                await self._pace.give_way()
                self.turn_ends = self._pace.clock.monotonic() + self._pace.share()
            end = start + self._slice
            await self._piece(
                values[start:end],
                keys[start:end] if keys is not None else None,
                timestamps[start:end] if timestamps is not None else None,
            )
            start = end

    async def _piece(self, values: list[object], keys: list[object] | None, timestamps: list[int] | None) -> None:
        statistics, clock = self._statistics, self._pace.clock.monotonic
        began = clock()
        for exchange in self.outputs.values():
            if not exchange.has_credit():
                self._pace.rest()
                try:
                    await exchange.wait_credit()
                finally:
                    self._pace.wake()
        # Only now: while we waited, a subscription may have had the step written anew.
        step, deliveries = self._step_for(timed=timestamps is not None and self.chain.needs_timestamps)
        self._step = step
        working = clock()
        results = step.run(values, keys, timestamps)
        now = clock()
        statistics.backpressured_seconds += working - began
        statistics.busy_seconds += now - working
        self._fit(len(values), now - working)
        for (outlet, output), lists in zip(deliveries, results, strict=True):
            if output is not None:
                statistics.records_out += output.send(cast("Lists | list[Lists]", lists), self._origin)
            elif outlet.kind == "called":
                statistics.records_delivered += cast("int", lists)
            else:
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

    def _fit(self, records: int, seconds: float) -> None:
        """Choose how many records the next piece may have, from what this one cost."""
        burst = self._pace.share()
        if seconds > burst:
            self._slice = max(1, int(records * burst / seconds))
        elif records >= self._slice < SLICE_RECORDS_MAX and seconds < burst / 4:
            self._slice = min(SLICE_RECORDS_MAX, self._slice * 4)

    def _check_keys(self, keys: list[object]) -> None:
        """Refuse None and a second type of key: 1, 1.0 and True would share state (T137)."""
        types = set(map(type, keys))
        if len(types) == 1 and self._key_type in types:
            if self._key_type is tuple:
                self._check_parts(keys)
            return
        expected = self._key_type or type(keys[0])
        name = self.chain.head.name
        for key in keys:
            if key is None:
                raise CodecError(f"{name}: key_by gave None; filter such records out before, or give them a key")
            if expected is self._stored_key_type and type(key) is not expected:
                raise RestoreError(
                    f"{name}: key_by gave {key!r}, a {type(key).__name__}, but the state in the store is kept under "
                    f"keys of type {expected.__name__}; give keys of that type, or start in another store"
                )
            if type(key) is not expected:
                raise CodecError(f"{name}: {mixed_keys(key, expected)}")
        try:
            encode_key(keys[0])
        except CodecError as error:
            raise CodecError(f"{name}: key_by gave {keys[0]!r}: {error}") from error
        self._key_type = expected
        if expected is tuple:
            self._check_parts(keys)

    def _check_parts(self, keys: list[object]) -> None:
        """Refuse (1,) beside (True,): Python holds them equal, their encodings differ."""
        for place, part in enumerate(zip(*cast("list[tuple[object, ...]]", keys), strict=False)):
            kinds = {*map(type, part), self._part_types.get(place, str)} & _EQUAL_KINDS
            if len(kinds) > 1:
                names = " and ".join(sorted(kind.__name__ for kind in kinds))
                raise CodecError(
                    f"{self.chain.head.name}: key_by gave tuples whose part {place + 1} is of the types {names}; "
                    "each part of a key is of one type: convert in the key function"
                )
            if kinds:
                self._part_types[place] = kinds.pop()

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
