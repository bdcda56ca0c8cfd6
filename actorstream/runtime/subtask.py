"""The actor: one subtask's loop over its mailbox.

    control lane   Trigger  Abort  Complete ──┐
    lane 0..n      Batch … |barrier| … end  ──┴─> one item at a time ──> chain ──> outputs, sinks

Between two awaits nothing else runs, so a step is atomic. The loop takes nothing
until every output has credit and yields after a burst of 5 ms. What the
alignment decides (protocol/alignment.py) it carries out in order: at a barrier
first what sinks must flush, then the barrier to all outputs, then the O(1)
freeze (T11, barriers.py). The loop never ends by itself: the attempt cancels it when the job
is over, so an actor that ends otherwise has failed.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from anyio import move_on_after

from actorstream.errors import InvariantError
from actorstream.model.batch import Batch
from actorstream.model.ids import ChannelIndex
from actorstream.model.signals import Barrier, CancelBarrier, EndOfInput, Idle, Watermark
from actorstream.model.times import TIME_MAX
from actorstream.runtime.barriers import AtBarriers
from actorstream.runtime.chain_runner import ChainRunner
from actorstream.runtime.messages import (
    AbortCheckpoint,
    Committed,
    CompleteCheckpoint,
    ControlMessage,
    DrainSource,
    Finished,
    InputsEnded,
    ResumeReading,
    TriggerCheckpoint,
)
from actorstream.runtime.pace import CLOCK_LOOK_SECONDS, ROOM_FOR_THREADS
from actorstream.runtime.statistics import SubtaskStatistics
from actorstream.state.budget import WAITING_MAX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from actorstream.graph.plan import Chain, Exchange
    from actorstream.model.ids import SubtaskId
    from actorstream.model.signals import ChannelItem
    from actorstream.operators.step_text import Bindings
    from actorstream.runtime.deployment import Deployment
    from actorstream.runtime.event_time import EventTime
    from actorstream.runtime.outputs import ExchangeOutput
    from actorstream.state.operator_state import OperatorState


class Subtask(AtBarriers):
    """One actor. Made by the attempt, wired by `connect`, run as one task."""

    runner_class = ChainRunner

    def __init__(
        self,
        deployment: Deployment,
        chain: Chain,
        identity: SubtaskId,
        state: OperatorState | None,
        channels: int,
        process: object | None = None,
    ) -> None:
        """Take what the attempt restored for this subtask; `channels` 0 makes a source."""
        self.statistics = SubtaskStatistics()
        runner = self.runner_class(chain, identity.subtask, deployment.pace, self.statistics)
        super().__init__(deployment, chain, identity, state, process, runner, channels)
        self._sides = [0] * channels
        deployment.gate.stand_behind(self._go_on)
        if state is not None:
            deployment.budget.join(state)
            self.runner.after_piece = self._relieve
        self.parked = False
        self._overfull = False
        self.began_us = 0
        self._ending = False

    # ---- life

    def connect(
        self,
        outputs: Mapping[Exchange, ExchangeOutput],
        bindings: Bindings,
        time: EventTime | None = None,
        sides: Sequence[int] = (),
    ) -> None:
        """Tie the chain's exchanges to other actors' lanes, before `run`; `sides` tells each channel's input."""
        self.runner.outputs = outputs
        self.runner.time = time
        self._bindings = bindings
        self._sides = list(sides)

    async def run(self, opened: Callable[[], None], start: Callable[[], Awaitable[object]]) -> None:
        """Open, say so, and work until cancelled.

        Args:
            opened: Called once every sink has committed what was restored and every operator is open.
            start: Awaited before the first item is taken: by then all actors are open.
        """
        stack = AsyncExitStack()
        try:
            await self._open(stack)
            opened()
            await start()
            self.began_us = self.deployment.world.clock.now_us()
            if self.runner.time is not None:
                self.runner.time.begin_to_wait()
                if not (self.alignment.all_ended or self.runner.is_due):
                    self.runner.tell()  # what those behind do not know yet: at another parallelism nothing
            self.deployment.pace.wake()
            try:
                await self._loop()
            finally:
                self.deployment.pace.rest()
        finally:
            self.runner.forget()
            await self._let_go(stack)

    # ---- the loop

    async def _loop(self) -> None:
        mailbox, pace, runner = self.mailbox, self.deployment.pace, self.runner
        clock = pace.clock.monotonic
        runner.turn_ends = clock() + pace.share()
        overtaking = self.overtaking
        while True:
            ready = not (self.parked or self.held)
            room = ready and (overtaking is None or (runner.has_credit() and not runner.throttled_seconds()))
            if mailbox.control and runner.may_pause:
                await self._on_control(mailbox.control.popleft())
            elif overtaking is not None and overtaking.is_due() and runner.may_pause and not self.held:
                await self._overtake()
            elif runner.is_due and room and self._may_fire(0):
                await self._fire()
            elif self.clock_is_due and room and self._may_fire(1):
                await runner.fire(self._fires_up_to())
                await self._time_moved()
                if self.clock_is_due:
                    await self._let_a_barrier_through()
            elif ready and (item := self._take_next(room=room)) is not None:
                await self._on_item(*item)
            else:
                await self._rest(lacks_room=ready and not room)
                continue
            if clock() > runner.turn_ends:
                await self._look_around()
                await pace.give_way()
                runner.turn_ends = clock() + pace.share()

    async def _rest(self, *, lacks_room: bool) -> None:
        """Wait until there is something to do, and count for what."""
        pace, statistics, clock = self.deployment.pace, self.statistics, self.deployment.pace.clock.monotonic
        idle = clock()
        pace.rest()
        try:
            await (self._wait_for_room() if lacks_room else self._wait())
        finally:
            pace.wake()
        now = clock()
        if self.held or lacks_room:
            statistics.backpressured_seconds += now - idle
        else:
            statistics.idle_seconds += now - idle
        if now - idle > ROOM_FOR_THREADS or not pace.offload.busy:
            # Two actors that only take turns never rest: a thread of ours would starve beside them.
            self.runner.turn_ends = now + pace.share()

    def _may_fire(self, number: int) -> bool:
        """Tell whether what is due by event time, 0, or by the clock, 1, can be done now; its actor is woken else."""
        del number
        return True

    def _fires_up_to(self) -> int:
        """Give before what time by the clock things are done now."""
        return self.deployment.world.clock.now_us()

    async def _fire(self) -> None:
        """Do a round of what is due. A barrier need not wait for its end: what is due then is snapshot too (T24)."""
        await self.runner.fire()
        if self.runner.is_due:
            await self._let_a_barrier_through()
        else:
            await self._passed_time()

    async def _let_a_barrier_through(self) -> None:
        may = self.runner.may_pause and not self.mailbox.front
        lane = self.mailbox.next_of(Barrier | CancelBarrier) if may else None
        if lane is not None:
            await self._on_item(ChannelIndex(lane), self.mailbox.lanes[lane].take())

    async def _passed_time(self) -> None:
        """All that was due is done: tell those behind, and end where that was the end."""
        if not self._ending:
            self.runner.tell()
        elif not self._ended and await self._is_at_its_end():
            await self._finish()

    async def _is_at_its_end(self) -> bool:
        """Tell whether no timer holds the end up: those of the clock fire now, never, or when it is time (T35)."""
        runner = self.runner
        match self.deployment.timers_at_end:
            case "wait":
                return runner.clock_due_us == TIME_MAX
            case "fire":
                runner.end_clock()
                while runner.clock_due_us != TIME_MAX:
                    await runner.fire(TIME_MAX)
                    await runner.breathe()
            case "drop":
                pass
        return not runner.is_due

    @property
    def clock_due(self) -> int:
        """The earliest time by the wall clock after which this actor does something by itself; TIME_MAX: none."""
        if self._ended:
            return TIME_MAX
        due = self.runner.clock_due_us if self._may_fire(1) else TIME_MAX
        time = self.runner.time
        seconds = None if time is None or self._ending else time.seconds_to_wait()
        now_us = self.deployment.world.clock.now_us
        if seconds is not None:
            due = min(due, now_us() + int(seconds * 1e6) - 1)
        if self.is_throttled:
            due = min(due, now_us() + int(self.runner.throttled_seconds() * 1e6))
        return due

    @property
    def clock_is_due(self) -> bool:
        """Tell whether the clock has passed a time that the operator waits for."""
        due = TIME_MAX if self._ended else self.runner.clock_due_us
        return due != TIME_MAX and self.deployment.world.clock.now_us() > due

    async def _wait(self) -> None:
        """Wait for a message, or for the next instant at which something is due by the clock."""
        seconds = self._seconds_to_wait()
        if seconds is None:
            await self.mailbox.arrival.wait()
            return
        with move_on_after(min(seconds, CLOCK_LOOK_SECONDS)):
            await self.mailbox.arrival.wait()
        await self._look_around()

    def _seconds_to_wait(self) -> float | None:
        until = None if self.overtaking is None or self.held else self.overtaking.seconds_to_wait()
        due = TIME_MAX if self.parked or self.held else self.clock_due
        if due == TIME_MAX:
            return until
        seconds = max(0.0, (due + 1 - self.deployment.world.clock.now_us()) / 1e6)
        return seconds if until is None else min(seconds, until)

    async def _look_around(self) -> None:
        """Once a turn, and after a wait: see whether a part has become idle meanwhile."""
        time = self.runner.time
        if time is not None and not self._ending:
            time.look_around()
            await self._time_moved()

    @property
    def held(self) -> bool:
        """Tell whether to take no more records: the disk has to catch up with what was changed, or with merging."""
        return (
            self._overfull
            or self.deployment.gate.closed
            or (self.state is not None and self.state.generations_waiting >= WAITING_MAX)
        )

    def _relieve(self) -> None:
        """Between two pieces: keep within the memory for state, by an early freeze if need be."""
        state, budget = self.state, self.deployment.budget
        if state is None:
            return
        if budget.relieve(state):
            generation = state.freeze()
            if generation is not None:
                self.runner.expect_slower()
                self.snapshots.submit_early(generation)
        # Where writes fail, what was changed comes back: then a batch is taken with each new try only.
        self._overfull = budget.over and state.dirty_bytes() > budget.limit_bytes

    def _on_settled(self) -> None:
        """A generation is in a layer, or was taken back: there may be room again."""
        self._overfull = False
        if self.state is not None:
            self.deployment.pushed(self.state.stack)
        self._go_on()

    def _go_on(self) -> None:
        self.mailbox.arrival.wake()

    def _next_item(self) -> tuple[ChannelIndex, ChannelItem] | None:
        """Take the next item of any lane; None if there is nothing to do."""
        lane = self.mailbox.next_lane()
        return None if lane is None else (ChannelIndex(lane), self.mailbox.lanes[lane].take())

    async def _on_item(self, channel: ChannelIndex, item: ChannelItem) -> None:
        match item:
            case Batch():
                self._put_back(channel, await self.runner.work(item, channel, self._sides[channel]))
                if not self.runner.is_due:
                    self.runner.tell()
            case Watermark() | Idle():
                await self._on_time(channel, item)
            case Barrier():
                await self._on_barrier(channel, item)
            case CancelBarrier(checkpoint):
                await self._carry_out(self.alignment.on_cancel(channel, checkpoint))
            case EndOfInput():
                await self._carry_out(self.alignment.on_end_of_input(channel))
                await self._on_end_of(channel)

    async def _on_time(self, channel: ChannelIndex, signal: Watermark | Idle) -> None:
        time = self.runner.time
        if time is None:
            return
        if isinstance(signal, Watermark):
            time.on_watermark(channel, signal.time_us)
        else:
            time.on_idle(channel)
        await self._time_moved()

    async def _on_end_of(self, channel: ChannelIndex) -> None:
        time = self.runner.time
        if time is not None:
            time.on_end(channel)
        if self.alignment.all_ended:
            await self._end()
        elif time is not None:
            await self._time_moved()

    async def _time_moved(self) -> None:
        if not self.runner.is_due:
            await self._passed_time()

    async def _on_control(self, message: ControlMessage) -> None:
        match message:
            case TriggerCheckpoint(checkpoint, stop, overtakes_us, _):
                self._note_barrier(Barrier(checkpoint, overtakes_us))
                await self._carry_out(self.alignment.on_trigger(checkpoint))
                self.parked = self.parked or stop
            case AbortCheckpoint(checkpoint, latest):
                await self._carry_out(self.alignment.on_abort(checkpoint))
                if latest is not None:
                    await self._complete(latest)
            case CompleteCheckpoint(checkpoint):
                await self._complete(checkpoint)
                self.deployment.tell(Committed(self.identity, checkpoint))
            case ResumeReading() | DrainSource():
                self.parked = False  # whom sources feed, those end with them

    async def _end(self) -> None:
        """All inputs have ended: so has event time. What is due by that is done first, then the end is passed on."""
        if self._ending:
            raise InvariantError(f"{self.identity} ended twice")
        self._ending = True
        if self.runner.time is not None:
            self.runner.time.finish()
        if not self.runner.is_due:
            await self._passed_time()
        self._goes_on()

    def _goes_on(self) -> None:
        """Let the coordinator know if there is more to do though all inputs have ended: barriers do not come here."""
        if not self._ended:
            self.deployment.tell(InputsEnded(self.identity))

    async def _finish(self) -> None:
        """Pass the end on, and let the coordinator know."""
        self._send(EndOfInput())
        self._ended = True
        self.deployment.tell(Finished(self.identity))
