"""What an actor does at a barrier, and when its checkpoint is complete or given up.

What the alignment decides (protocol/alignment.py) is carried out in order: first what sinks must flush, then the
barrier to all outputs, then the O(1) freeze (T11). Where barriers may overtake (overtaking.py), what was in flight is
recorded after that, and the snapshot is handed over in two parts: the state at once, what was in flight when it is
whole.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from anyio import move_on_after

from actorstream.errors import InvariantError
from actorstream.model.ids import ChannelIndex
from actorstream.model.signals import Barrier, CancelBarrier, EndOfInput, Idle, Watermark
from actorstream.protocol.alignment import (
    Alignment,
    Block,
    Decline,
    Discard,
    ForwardCancel,
    Record,
    RecordQueued,
    Snapshot,
    Unblock,
    Whole,
)
from actorstream.protocol.idleness import BACK_PRESSURE
from actorstream.runtime.expiry_clocks import ExpiryClocks
from actorstream.runtime.mailbox import Front, Mailbox
from actorstream.runtime.messages import ControlMessage, Declined, SnapshotReport
from actorstream.runtime.operator_life import OperatorLife
from actorstream.runtime.overtaking import Overtaking
from actorstream.runtime.pace import CLOCK_LOOK_SECONDS
from actorstream.runtime.snapshots import Snapshots

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actorstream.checkpoints.in_flight import InFlightChannel
    from actorstream.graph.plan import Chain
    from actorstream.model.batch import Batch
    from actorstream.model.ids import CheckpointId, SubtaskId
    from actorstream.model.signals import ChannelItem, Signal
    from actorstream.protocol.alignment import Effect
    from actorstream.runtime.chain_runner import ChainRunner
    from actorstream.runtime.deployment import Deployment
    from actorstream.runtime.statistics import SubtaskStatistics
    from actorstream.state.operator_state import OperatorState


_SIGNALS = Watermark | Idle | Barrier | CancelBarrier | EndOfInput
"""What needs no room in the outputs."""


class AtBarriers(OperatorLife):
    """The part of an actor that takes snapshots.

    Attributes:
        overtaking: None where barriers never overtake: all is aligned.
    """

    statistics: SubtaskStatistics
    snapshots_class = Snapshots

    def __init__(  # noqa: PLR0913, PLR0917  (what an actor is made of)
        self,
        deployment: Deployment,
        chain: Chain,
        identity: SubtaskId,
        state: OperatorState | None,
        process: object | None,
        runner: ChainRunner,
        channels: int,
    ) -> None:
        """Align `channels` channels; 0 is a source, which is triggered."""
        super().__init__(deployment, chain, identity, state, process, runner)
        self.alignment = Alignment(channels)
        self.mailbox: Mailbox[ControlMessage, ChannelItem] = Mailbox(channels)
        self.snapshots = self.snapshots_class(
            identity, state, deployment.layers, deployment.pace, deployment.tell, self._on_settled
        )
        self.expiry_clocks = ExpiryClocks(state, deployment.world.clock, self.runner, self.snapshots)
        self.overtaking: Overtaking | None = None
        self._named: Sequence[InFlightChannel] = ()
        self._newest_barrier: Barrier | None = None
        self._aligns_since = 0.0
        self._ended = False

    def let_overtake(self, places: Sequence[InFlightChannel], in_step: frozenset[ChannelIndex]) -> None:
        """Let barriers overtake here; `places` says what each channel is called. Before `run`.

        On the channels `in_step` they do not: all subtasks' snapshots hold the same of these.
        """
        self._named = places
        self.alignment.in_step = in_step
        self.overtaking = Overtaking(
            self.identity, self.chain.parallelism, self.mailbox, self.alignment, self.deployment.pace
        )
        self.runner.breaks_off = self._breaks_off

    def _breaks_off(self) -> bool:
        """Tell whether to stop between two pieces of a batch: there is no room, or a barrier wants to overtake."""
        overtaking, runner = self.overtaking, self.runner
        if not runner.has_credit() or runner.throttled_seconds():
            return True
        return overtaking is not None and overtaking.is_due()

    @property
    def is_throttled(self) -> bool:
        """Tell whether there is something to do for which it is too early."""
        lanes, front = self.mailbox.lanes, self.mailbox.front
        waits = bool(front) or self.runner.is_due or any(lane.items and not lane.blocked for lane in lanes)
        return waits and self.runner.throttled_seconds() > 0

    @abstractmethod
    def _on_settled(self) -> None: ...

    @abstractmethod
    def _next_item(self) -> tuple[ChannelIndex, ChannelItem] | None: ...

    # ---- what is taken

    def _take_next(self, *, room: bool) -> tuple[ChannelIndex, ChannelItem] | None:
        """Take what comes next, and record it where it must be; without `room` only what needs none."""
        front, overtaking = self.mailbox.front, self.overtaking
        recorded = None
        if overtaking is not None and overtaking.hurries and (hurried := self._take_hurried(room=room)) is not None:
            taken = hurried
        elif front:
            if not room:
                return None
            first = front.popleft()
            taken, recorded = (first.channel, first.item), first.recorded
        elif room:
            found = self._next_item()
            if found is None:
                return None
            taken = found
        else:
            lane = None if self.runner.is_due else self.mailbox.next_of(_SIGNALS)
            if lane is None:
                return None
            taken = ChannelIndex(lane), self.mailbox.lanes[lane].take()
        if overtaking is not None:
            overtaking.on_taken(*taken, recorded)
        return taken

    def _take_hurried(self, *, room: bool) -> tuple[ChannelIndex, ChannelItem] | None:
        """Take what stands before a barrier that others wait for; without `room` it may overdraw, within a bound."""
        overtaking = self.overtaking
        if overtaking is None or not (room or (not self.runner.is_due and self.runner.may_overdraw())):
            return None
        channel = overtaking.next_hurried(room=room)
        if channel is None:
            return None
        front = self.mailbox.front
        own = front and front[0].channel == channel
        return channel, front.popleft().item if own else self.mailbox.lanes[channel].take()

    def _put_back(self, channel: ChannelIndex, rest: Batch | None) -> None:
        """Keep what was broken off: it comes before all else."""
        if rest is not None and self.overtaking is not None:
            self.mailbox.front.appendleft(Front(channel, rest, self.overtaking.taken))

    async def _wait_for_room(self) -> None:
        """Wait until more may be sent, or something else is to be done."""
        seconds, overtaking, time = self.runner.throttled_seconds(), self.overtaking, self.runner.time
        if not self.runner.has_credit():
            await self._wait_for_credit()
        elif seconds:
            due = None if overtaking is None else overtaking.seconds_to_wait()
            if time is not None:
                time.pause(BACK_PRESSURE)
            try:
                with move_on_after(min(seconds, CLOCK_LOOK_SECONDS, *([] if due is None else [due]))):
                    await self.mailbox.arrival.wait()
            finally:
                if time is not None:
                    time.resume(BACK_PRESSURE)

    async def _wait_for_credit(self) -> None:
        """Wait until every output may be sent to, or something else is to be done: a barrier may overtake meanwhile."""
        runner, mailbox = self.runner, self.mailbox
        for output in runner.outputs.values():
            output.wake_with_credit(mailbox.arrival)
        runner.waits_since = self.deployment.pace.clock.monotonic()
        if runner.time is not None:
            runner.time.pause(BACK_PRESSURE)
        try:
            with move_on_after(None if self.overtaking is None else self.overtaking.seconds_to_wait()):
                await mailbox.arrival.wait()
        finally:
            runner.waits_since = None
            if runner.time is not None:
                runner.time.resume(BACK_PRESSURE)

    # ---- barriers

    def _note_barrier(self, barrier: Barrier) -> None:
        """Keep the newest: it goes on as it came."""
        if self._newest_barrier is None or barrier.checkpoint > self._newest_barrier.checkpoint:
            self._newest_barrier = barrier
            self.statistics.barrier = barrier.checkpoint, self.runner.turn_ends
            if self.overtaking is not None:
                self.overtaking.on_barrier(barrier.overtakes_us)

    async def _on_barrier(self, channel: ChannelIndex, barrier: Barrier) -> None:
        self._note_barrier(barrier)
        await self._carry_out(self.alignment.on_barrier(channel, barrier.checkpoint))

    async def _overtake(self) -> None:
        """Let every barrier whose time has come overtake what is queued before it."""
        overtaking, alignment = self.overtaking, self.alignment
        if overtaking is None:
            return
        while (found := overtaking.pull()) is not None:
            channel, barrier = found
            self._note_barrier(barrier)
            await self._carry_out(alignment.on_overtaking_barrier(channel, barrier.checkpoint))
        late = alignment.aligning
        if late is not None and overtaking.waits_too_long():
            await self._carry_out(alignment.on_timeout(late))
        while (ended := overtaking.next_ended()) is not None:
            await self._carry_out(alignment.on_queued_end(ended))
        overtaking.has_looked()

    async def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Block(channel):
                    if self.overtaking is not None and len(self.alignment.blocked) == 1:
                        self._aligns_since = self.deployment.pace.clock.monotonic()
                    self.mailbox.block(channel)
                case Unblock(channels):
                    self.mailbox.unblock(channels)
                case Snapshot(checkpoint, whole):
                    await self._snapshot(checkpoint, whole=whole)
                case Record() | RecordQueued() | Whole() | Discard():
                    await self._carry_out_recording(effect)
                case ForwardCancel(checkpoint):
                    self._send(CancelBarrier(checkpoint))
                case Decline(checkpoint, reason):
                    self.deployment.tell(Declined(self.identity, checkpoint, reason))
        if self.overtaking is not None:
            self.overtaking.on_aligned()

    async def _carry_out_recording(self, effect: Record | RecordQueued | Whole | Discard) -> None:
        overtaking = self.overtaking
        if overtaking is None:
            raise InvariantError(f"{effect} where no barrier overtakes")
        match effect:
            case Record():
                pass  # whoever takes an item asks `alignment.recorded`
            case RecordQueued(channel):
                await overtaking.record_ahead(channel)
            case Whole(checkpoint):
                self._complete_in_flight(checkpoint)
            case Discard(checkpoint):
                overtaking.finish()
                self.snapshots.forget(checkpoint)

    async def _snapshot(self, checkpoint: CheckpointId, *, whole: bool = True) -> None:
        for port in self.runner.ports.values():
            self.runner.calling = port.context.operator
            await port.pre_commit(checkpoint)
        self.runner.calling = None
        newest, flies = self._newest_barrier, not whole or self.has_in_flight
        self._send(newest if newest is not None and newest.checkpoint == checkpoint else Barrier(checkpoint))
        generation = None
        # Without a store only this process restores, and what has ended stays so: nobody would read the state.
        if self.state is not None and (self.deployment.durable or not self._ended):
            generation = self.state.freeze()
            self.runner.expect_slower()
        self.expiry_clocks.on_barrier()
        self._note_alignment()
        self.snapshots.submit(checkpoint, generation, self.report(), ended=self._ended, whole=not flies)
        if flies:
            await self._begin_in_flight(checkpoint)
            if whole:
                self._complete_in_flight(checkpoint)

    def _note_alignment(self) -> None:
        since, self._aligns_since = self._aligns_since, 0.0
        took = self.deployment.pace.clock.monotonic() - since if since else 0.0
        self.statistics.alignment_seconds, self.statistics.in_flight_records = took, 0
        self.statistics.in_flight_bytes = 0

    @property
    def has_in_flight(self) -> bool:
        """Tell whether something was taken that is not in the state yet."""
        return bool(self.mailbox.front)

    async def _begin_in_flight(self, checkpoint: CheckpointId) -> None:
        if self.overtaking is None:
            raise InvariantError(f"{self.identity} has records in flight at an aligned barrier")
        self.overtaking.begin(checkpoint, self._channels_now())
        await self.overtaking.record_front()

    def _channels_now(self) -> list[InFlightChannel]:
        """Give the channels with how far event time has come in each."""
        time = self.runner.time
        if time is None:
            return list(self._named)
        return [
            place._replace(watermark=watermark, idle=idle)
            for place, (watermark, idle) in zip(self._named, time.entered(), strict=True)
        ]

    def _complete_in_flight(self, checkpoint: CheckpointId) -> None:
        recorded = None if self.overtaking is None else self.overtaking.finish()
        if recorded is None:
            raise InvariantError(f"{self.identity}: nothing was recorded for checkpoint {checkpoint}")
        self.statistics.in_flight_records = recorded.records
        self.statistics.in_flight_bytes = recorded.size_bytes
        self.snapshots.complete(checkpoint, recorded)

    def report(self) -> SnapshotReport:
        """Give this subtask's part of a snapshot taken now, but for the stacks."""
        ports = self.runner.ports.values()
        pending = {port.context.operator: tokens for port in ports if (tokens := port.pending())}
        return SnapshotReport(pending=pending, time=self.runner.time_report())

    async def _complete(self, checkpoint: CheckpointId) -> None:
        for port in self.runner.ports.values():
            self.runner.calling = port.context.operator
            await port.complete(checkpoint)
        self.runner.calling = None

    def _send(self, signal: Signal) -> None:
        """Send a signal down every output; nothing follows the end of input."""
        if not self._ended:
            for output in self.runner.outputs.values():
                output.signal(signal)
