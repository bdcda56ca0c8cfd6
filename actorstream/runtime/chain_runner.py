"""Runs a chain over batches, as much at a time as fits into a burst, and over the time that passes between them.

    batch ──piece──piece──> step (step_runner.py)
    watermark, clock ─────> what is due, in rounds

While many keys are not in memory, they are fetched in a thread before their piece:

    piece ──> before the key ──keys──> fetch ──> after the key

Knows nothing of barriers: its actor (subtask.py) calls it between two of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from actorstream.errors import MissingTimestampError
from actorstream.graph.nodes import TimedSpec
from actorstream.model.batch import Batch
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.floors import Floors, StandsOnFloors
from actorstream.operators.key_check import KeyCheck
from actorstream.operators.process_timers import ProcessTimers
from actorstream.operators.timed import RestoredByWatermark
from actorstream.operators.waiting_text import delay_of
from actorstream.protocol.idleness import BACK_PRESSURE
from actorstream.runtime.piece_sizes import PieceSizes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorstream.graph.plan import Chain
    from actorstream.operators.step_text import Bindings, Lists, StepPart
    from actorstream.operators.throttle import Throttle
    from actorstream.runtime.event_time import TimeReport
    from actorstream.runtime.pace import Pace
    from actorstream.runtime.statistics import SubtaskStatistics
    from actorstream.runtime.step_runner import Columns
    from actorstream.state.operator_state import OperatorState


class ChainRunner(PieceSizes):
    """One chain in one subtask.

    Attributes:
        throttles: Let so many records pass at a time. `hurries`: they do not count now, a savepoint waits.
        breaks_off: Asked between two pieces: whether to leave the rest of the batch; None: never.
        left: How many records of the last piece were left, because there was no room for what is due before them.
    """

    def __init__(self, chain: Chain, subtask: int, pace: Pace, statistics: SubtaskStatistics) -> None:
        """Start unbound: `bind` comes before the first batch. `turn_ends` is the loop's: when to give way."""
        super().__init__(chain, subtask, pace, statistics)
        self.keys = KeyCheck(chain.head.name if chain.stateful is None else chain.stateful.name)
        self.turn_ends = 0.0
        self.breaks_off: Callable[[], bool] | None = None
        self.left = 0
        self.waits_since: float | None = None
        self.after_piece: Callable[[], None] | None = None
        self.throttles: tuple[Throttle, ...] = ()
        self.hurries = False
        self._lacks_time = False
        self._piece_began: int | None = None
        self._state: OperatorState | None = None
        self._floors: Floors | None = None

    def bind(self, bindings: Bindings) -> None:
        """Compile the step for these bindings."""
        self._bindings = bindings
        self.throttles = tuple(bindings.throttles.values())
        bindings.key_check = self.keys
        bindings.round = self._round
        bindings.letters = self._dead_letters()
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
                floors = self.time.floors
                if isinstance(bindings.operator, RestoredByWatermark):
                    bindings.operator.on_restore(self._stage.now, floors)
                elif floors and bindings.state is not None:
                    self._stand_on(Floors(floors, bindings.state.key_group))
                timed = isinstance(stateful.spec, TimedSpec) and stateful.spec.definition.event_time
                self._lacks_time = timed and self._stage is self.time.clock
        self.compile()

    def _stand_on(self, floors: Floors | None) -> None:
        """Let time be what floors say for their keys, or again the same for all."""
        self._floors = floors
        if self._bindings is not None:
            self._bindings.floors = floors
        if isinstance(self._waiting, StandsOnFloors):
            self._waiting.on_floors(floors, self._stage.now)

    def compile(self) -> None:
        """Write the step anew: at the start, and when a subscription comes or goes."""
        super().compile()
        self._bound()

    async def work(self, batch: Batch, part: int = 0, side: int = 0) -> Batch | None:
        """Run the step over a batch of a split or channel, in pieces that keep within a burst.

        Returns:
            What was broken off, a batch of its own; None: all is done.

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
            count = min(self.allowance(), total - start)
            last = part if start + count == total else None
            await self.piece(batch, start, count, marks, last=last, side=side)
            start += count - self.left
            if start == total:
                return None
            if not self.left:
                await self.breathe()
            if self.left or (self.breaks_off is not None and self.breaks_off()):
                return self.rest_of(batch, start, part)

    def rest_of(self, batch: Batch, start: int, part: int) -> Batch:
        """End a batch before its record `start`, as if its sender had; give the rest."""
        marks = batch.marks
        if self.time is not None:
            self.time.end(part, None if marks is None else marks[start])
        return Batch(
            batch.values[start:],
            None if batch.timestamps is None else batch.timestamps[start:],
            None if batch.keys is None else batch.keys[start:],
            batch.origin,
            None if marks is None else marks[start:],
            batch.watermark,
        )

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
        self.left = 0
        if self.breaks_off is None:  # else its actor has waited, or may overdraw
            await self.wait_for_credit()
        timed = timestamps is not None and self.chain.needs_timestamps
        if not timed and self._lacks_time:
            raise self._missing_time()
        part: StepPart = "whole"
        records, seconds = count, 0.0
        ahead = self._state is not None and self._state.looks_ahead
        if ahead:
            if self.chain.keyed_inside:
                self._piece_began = self._stage.now
                seconds, lists = await self._before_key(values, timestamps, marks, start, count, timed=timed)
                values, keys, timestamps, marks = lists
                start, count, part = 0, len(values), "after key"
            if keys:
                seconds += await self._fetch(keys[start : start + count])
        seconds += await self._pass_through(batch, (values, keys, timestamps, marks), start, count, part, last, side)
        self._piece_began = None
        if self.left:
            self._statistics.records_in -= self.left
            records = max(1, records - self.left)
        self._fit(records, seconds, fetched=ahead)
        if self.after_piece is not None:
            self.after_piece()

    async def _pass_through(  # noqa: PLR0913, PLR0917  (what a piece is)
        self, batch: Batch, columns: Columns, start: int, count: int, part: StepPart, last: int | None, side: int
    ) -> float:
        """Run the step, and what becomes due between two records; give the seconds that the last run took."""
        _, _, timestamps, marks = columns
        timed = timestamps is not None and (part == "after key" or self.chain.needs_timestamps)
        # The part before the key has moved its clock to the end of the piece: behind the key time stands at the record.
        reached = self._stage.now if part == "after key" and marks is not None else None
        while True:
            # Only now: while we waited, a subscription may have had the step written anew.
            compiled = self._step_for(part, timed=timed, marked=marks is not None, side=side)
            took, results = self._run(compiled.step, columns, start, count)
            rest = cast("int", results[-1]) if compiled.step.stops else 0
            if not rest and reached is not None:
                self._stage.now = reached
            if not rest and last is not None and self.time is not None:
                # The marks are watermarks too: one who sends a batch in pieces tells the last one later.
                said = batch.watermark if batch.watermark is not None or not batch.marks else batch.marks[-1]
                self.time.end(last, said)
            await self._deliver(compiled, results)
            if not rest:
                return took
            start, count = start + count - rest, rest
            if marks is not None and self.time is not None and (reached is not None or self._stage is self.time.clock):
                self._stage.now = marks[start]
            # Behind the key the rest is no batch of the channel any more.
            stays = self.breaks_off if part == "whole" else None
            while self.is_due and not (stays is not None and stays()):
                await self.fire()
                await self.breathe()
            if stays is not None and stays():
                self.left = rest
                return took
            await self.wait_for_credit()

    def allowance(self) -> int:
        """Tell how many records the next piece may have: throttles may let fewer pass."""
        if self.hurries or not self.throttles:
            return self.slice
        return max(1, min(self.slice, *[each.allowance() for each in self.throttles]))

    def throttled_seconds(self) -> float:
        """Tell how long nothing may pass a throttle."""
        return 0.0 if self.hurries else max([0.0, *(each.seconds_to_wait() for each in self.throttles)])

    def has_credit(self) -> bool:
        """Tell whether every output may be sent to now."""
        return all(exchange.has_credit() for exchange in self.outputs.values())

    def may_overdraw(self) -> bool:
        """Tell whether every output may be sent to beyond its credit."""
        return all(exchange.may_overdraw() for exchange in self.outputs.values())

    async def wait_for_credit(self) -> None:
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
    def clock_due_us(self) -> int:
        """The time by the clock after which something is due; TIME_MAX if nothing is."""
        return TIME_MAX if self._waiting is None else self._waiting.clock_due

    @property
    def event_time_us(self) -> int | None:
        """A watermark that no handler will see an earlier one than, timers included; None: nobody knows one.

        As of between two steps, when merges begin: of a handler at work, the next timer's time says nothing.
        """
        now = self._stage.now if self._piece_began is None else self._piece_began
        if self._waiting is not None:
            now = min(now, self._waiting.due)
        return now if TIME_MIN < now < TIME_MAX else None

    @property
    def reached_us(self) -> tuple[int, int]:
        """How far event time has come before the operator that waits for it, and what that has done of it."""
        return self._stage.now, TIME_MIN if self.time is None else self.time.after.now

    @property
    def floors(self) -> Floors | None:
        """How far event time has come for some keys, beyond where it is for the others; None: for none of them."""
        return self._floors

    def end_clock(self) -> None:
        """Take no more timers of the clock from handlers: those that are pending are fired now."""
        if isinstance(self._waiting, ProcessTimers):
            self._waiting.end_clock()

    async def fire(self, now_us: int | None = None) -> None:
        """Do a round of what is due by the watermark, or by the clock at `now_us`, and hand it on.

        A round is about a burst: how much that is, the rounds before tell.
        """
        await self.wait_for_credit()
        self._origin = None
        compiled = self._step_for("fire" if now_us is None else "fire by clock", timed=self.time is not None)
        seconds, results = self._run(compiled.step, (None, None, None, None), now_us or 0, 0)
        self._fit_round(seconds)
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
        return waiting is None or not waiting.firing

    def time_report(self) -> TimeReport | None:
        """Give the event time that a snapshot must hold; None where none passes here."""
        if self.time is None:
            return None
        return self.time.report({each.name: self.outputs[each].told for each in self._clocks})

    def tell(self) -> None:
        """Tell those behind how far event time has come, where no records do."""
        if self._floors is not None and self._stage.now >= self._floors.highest:
            self._stand_on(None)
            self.compile()
        if self.time is not None:
            self._passed(self._stage)  # handlers are to know it as well, also where nobody behind them does
            for exchange, output in self.outputs.items():
                clock = self._clocks.get(exchange)
                if clock is not None:
                    output.tell(self._passed(clock), idle=not self.is_due and self.time.is_idle(clock))

    def _missing_time(self) -> MissingTimestampError:
        name = self.chain.stateful.name if self.chain.stateful is not None else self.chain.name
        return MissingTimestampError(
            f"{name} goes by event time, but its records have none: say .assign_timestamps(lambda record: record.at) "
            "before it, read from an EventLog, or let the source yield Fetched(..., timestamps=[...])"
        )

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
        seconds, results = self._run(compiled.step, (values, None, timestamps, marks), start, count)
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
