"""The head of a loop: lets records in, and takes those that come back.

    regular lanes ──(aligned)──┐
    back lanes ──(recorded)────┴─> chain ──> members ──> ... ──> back lanes

What comes back goes before what is new, and nothing new is let in while more than RECORDS_MAX are in the loop, but for
what stands before a barrier that is on its way. Barriers align on the regular lanes only: the head takes its snapshot
when they are in, sends the barrier on, and works on; its back lanes record what comes until the barrier has come round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.model.batch import Batch
from actorstream.model.ids import ChannelIndex, CheckpointId
from actorstream.model.signals import Barrier, CancelBarrier, EndOfInput, Idle, Watermark
from actorstream.runtime.back_lane import BackLane
from actorstream.runtime.head_snapshots import HeadSnapshots
from actorstream.runtime.loop import LoopMember
from actorstream.runtime.messages import AbortCheckpoint, DrainSource, ResumeReading, TriggerCheckpoint
from actorstream.runtime.recording import Recording
from actorstream.runtime.spilling import Spiller

if TYPE_CHECKING:
    from actorstream.checkpoints.in_flight import InFlightChannel, InFlightPart
    from actorstream.model.signals import ChannelItem
    from actorstream.runtime.loop import LoopPlace
    from actorstream.runtime.messages import ControlMessage

RECORDS_MAX = 8_192
"""While more are in the loop, nothing new is let in."""
IN_A_ROW = 8
"""So many batches that come back go before one that is new."""
_SIGNALS = Barrier | CancelBarrier | Watermark | Idle | EndOfInput


class LoopHead(LoopMember):
    """The actor at which a loop begins."""

    snapshots_class = HeadSnapshots

    def enter(self, place: LoopPlace) -> None:
        """Take its place: the lanes that lead back come behind the regular ones."""
        super().enter(place)
        deployment = self.deployment
        world, pace, layers = deployment.world, deployment.pace, deployment.layers
        self.spiller = Spiller(world, pace, layers, self.identity, list(place.back))
        self.back = [BackLane(self.mailbox, self.loop, number, self.spiller) for number in range(len(place.back))]
        self._places = place.back
        self._regular = len(self.mailbox.lanes)
        self.mailbox.lanes += self.back
        if isinstance(self.snapshots, HeadSnapshots):
            self.snapshots.attend(self.back, self.spiller)
        self._asked = self._taken = CheckpointId(0)
        self._in_a_row = self._turn = 0
        self._deferred = self._halted = False
        self._stop_at: CheckpointId | None = None

    @property
    def parts(self) -> list[str]:
        """Event time comes to the head by one way: the loop says how far it may."""
        return [self.loop.name]

    # ---- what to take next

    def _next_item(self) -> tuple[ChannelIndex, ChannelItem] | None:
        lanes = self.mailbox.lanes
        back = self._next_back()
        if self.loop.is_settling:
            # No barrier either: what is restored would come behind it, and what waits for that would hold it up.
            return None if back is None else (back, lanes[back].take())
        taken = self.mailbox.next_of(_SIGNALS)
        # Halted: what goes round is in the last checkpoint, and nothing of it is done that would be done again.
        if taken is None and not self._halted:
            taken = self._next_batch(back)
        return None if taken is None else (ChannelIndex(taken), lanes[taken].take())

    def _next_batch(self, back: int | None) -> int | None:
        """Give the lane of the next batch; `back` has the next that has come back."""
        if (back is None or self._in_a_row >= IN_A_ROW) and self._lets_in():
            regular = self._next_regular()
            if regular is not None:
                self._in_a_row = 0
                return regular
        self._in_a_row += 1
        return back

    def _lets_in(self) -> bool:
        """Tell whether something new may come in: a checkpoint must not wait."""
        return self.loop.records <= RECORDS_MAX or self._asked > self._taken

    def _next_back(self) -> ChannelIndex | None:
        settling = self.loop.is_settling
        self._turn += 1
        for offset in range(len(self.back)):
            number = (self._turn + offset) % len(self.back)
            if self.back[number].items and (self.back[number].replaying or not settling):
                return ChannelIndex(self._regular + number)
        return None

    def _next_regular(self) -> ChannelIndex | None:
        lanes, count = self.mailbox.lanes, self._regular
        self._turn += 1
        for offset in range(count):
            index = (self._turn + offset) % count
            if lanes[index].items and not lanes[index].blocked:
                return ChannelIndex(index)
        return None

    async def _on_item(self, channel: ChannelIndex, item: ChannelItem) -> None:
        if isinstance(item, Batch):
            await self._on_batch(channel, item)
        elif isinstance(item, Watermark | Idle):
            self.tell_entrance(self.entrances[channel], item)
        elif isinstance(item, EndOfInput):
            self.tell_entrance(self.entrances[channel], item)
            await self._carry_out(self.alignment.on_end_of_input(channel))
            if self.alignment.all_ended:
                await self._take_deferred()
        else:
            await super()._on_item(channel, item)
        await self._tell_time()
        if self._deferred and not self.loop.is_settling:
            await self._take_deferred()

    async def _let_a_barrier_through(self) -> None:
        if not self.loop.is_settling:
            await super()._let_a_barrier_through()

    async def _on_batch(self, channel: ChannelIndex, batch: Batch) -> None:
        entrance = self.entrances.get(channel)
        plain = batch
        if batch.marks is not None or batch.watermark is not None:
            plain = Batch(batch.values, batch.timestamps, batch.keys, batch.origin)
        if entrance is not None:
            if batch.marks:
                self.loop.circulation.on_watermark(entrance, batch.marks[0])
                await self._tell_time()
            self.loop.circulation.on_active(entrance)
        await self.runner.work(plain, 0)
        if entrance is not None:
            self.tell_entrance(entrance, batch)
        self.loop.on_left(batch)

    # ---- event time and the end

    async def _tell_time(self) -> None:
        """Let event time come as far as what goes round lets it."""
        time = self.runner.time
        if time is None or self._ending:
            return
        watermark, idle = self.loop.circulation.passed(self.identity.subtask)
        if watermark > time.clock.now:
            time.on_watermark(0, watermark)
        if idle and not time.is_idle(time.clock):
            time.on_idle(0)
        await self._time_moved()

    async def _wait(self) -> None:
        """Nothing is left to take: see how far time may go, and whether all is over, then wait."""
        if self.parked or self.held:
            await super()._wait()
            return
        if self._deferred and not self.loop.is_settling:
            await self._take_deferred()
            return
        before = self.runner.time.clock.now if self.runner.time is not None else 0
        await self._tell_time()
        if self.loop.is_over and not self._ending:
            await self._end()
            return
        after = self.runner.time.clock.now if self.runner.time is not None else 0
        if before == after and not self.runner.is_due:
            await super()._wait()

    # ---- checkpoints

    def replay(self, part: InFlightPart) -> None:
        """Put back what went round when the checkpoint was taken; each sender's records stay in their order."""
        lanes = [self._lane_of(place) for place in part.channels]
        for channel, item in part.items:
            if isinstance(item, Batch):
                lanes[channel].replay(item)

    def _lane_of(self, place: InFlightChannel) -> BackLane:
        same = [lane for lane, known in zip(self.back, self._places, strict=True) if known.exchange == place.exchange]
        return same[place.sender % len(same)] if same else self.back[0]

    async def _on_control(self, message: ControlMessage) -> None:
        if isinstance(message, TriggerCheckpoint):
            if message.stop:
                self._stop_at = message.checkpoint
            self._asked = max(self._asked, message.checkpoint)
            self._deferred = True
            if not self.loop.is_settling:
                await self._take_deferred()
            return
        if isinstance(message, ResumeReading | DrainSource):
            self._stop_at, self._halted = None, False
        if isinstance(message, AbortCheckpoint):
            self._taken = max(self._taken, message.checkpoint)
            self.loop.circulation.on_abort(message.checkpoint)
            for lane in self.back:
                lane.on_abort(message.checkpoint)
            if self._stop_at is not None and self._stop_at <= message.checkpoint:
                # The next one's barrier may stand behind records: halted, it would never come.
                self._stop_at, self._halted = None, False
        await super()._on_control(message)

    async def _take_deferred(self) -> None:
        """Take the snapshot that was asked for, where no channel brings its barrier."""
        self._deferred = False
        await self._carry_out(self.alignment.on_trigger(self._asked))

    async def _snapshot(self, checkpoint: CheckpointId, *, whole: bool = True) -> None:
        self._taken = max(self._taken, checkpoint)
        self._halted = self._halted or checkpoint == self._stop_at
        self.loop.circulation.on_snapshot(self.identity.subtask, checkpoint)
        if not self._ended and isinstance(self.snapshots, HeadSnapshots):
            recording = Recording(checkpoint, len(self.back))
            self.snapshots.expect(recording)
            for lane in self.back:
                lane.on_snapshot(recording)
        await super()._snapshot(checkpoint, whole=whole)
