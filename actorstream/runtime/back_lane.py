"""The lane on which records come back to the head of a loop: it takes all, however much waits in it.

    member ── put ──> tail ──sealed──> [segment] ... [segment] ──loaded──> front ── take ──> head
                        └──────────── while the front has room ──────────────^

If it gave credit as other lanes do, a loop could wait for itself for ever: the head for room in a member, the member
for room here. So it is only the disk that a sender ever waits for. What is over FRONT_RECORDS or FRONT_BYTES goes into
segments (spilling.py), so memory is bounded.

Barriers end here. What is here when the head takes its snapshot, and what is put until the barrier comes round, is the
lane's part of that checkpoint (recording.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.model.batch import Batch
from actorstream.model.signals import Barrier, CancelBarrier
from actorstream.runtime.loop import CountedLane
from actorstream.runtime.mailbox import Lane, estimate_bytes
from actorstream.runtime.recording import copy_of
from actorstream.runtime.spilling import Segment

if TYPE_CHECKING:
    from collections import deque

    from actorstream.model.ids import CheckpointId
    from actorstream.model.signals import ChannelItem
    from actorstream.runtime.loop import Loop
    from actorstream.runtime.mailbox import Mailbox
    from actorstream.runtime.messages import ControlMessage
    from actorstream.runtime.recording import Recording
    from actorstream.runtime.spilling import Spiller

FRONT_RECORDS = 65_536
FRONT_BYTES = 16 << 20
"""What is more than one of these goes to the disk."""
SEGMENT_RECORDS = 32_768
SEGMENT_BYTES = 4 << 20


class BackLane(CountedLane):
    """What comes back from one sender.

    Attributes:
        replaying: How many items of a restored checkpoint have not been taken yet.
        segments: What lies between front and tail, oldest first.
    """

    __slots__ = ("_number", "_recordings", "_spiller", "_tail", "_tail_bytes", "_tail_records", "replaying", "segments")

    def __init__(
        self, mailbox: Mailbox[ControlMessage, ChannelItem], loop: Loop, number: int, spiller: Spiller
    ) -> None:
        """Be the back lane `number` of its head."""
        super().__init__(mailbox, loop)
        self.replaying = 0
        self.segments: deque[Segment] = spiller.row(self)
        self._number = number
        self._spiller = spiller
        self._recordings: list[Recording] = []
        self._tail: list[tuple[Batch, int]] = []
        self._tail_records = 0
        self._tail_bytes = 0

    # ---- the sender's side

    def has_credit(self) -> bool:
        """Tell whether the disk keeps up."""
        return self._spiller.keeps_up

    async def wait_credit(self) -> None:
        """Wait until the disk has caught up."""
        await self._spiller.wait_caught_up()

    def put(self, item: ChannelItem, records: int = 0, size_bytes: int = 0) -> None:
        """Take what comes back: a batch, or a barrier, which ends a recording. Event time does not go round."""
        match item:
            case Batch():
                self._put_batch(item, records, size_bytes)
            case Barrier(checkpoint):
                self._on_barrier(checkpoint)
            case CancelBarrier(checkpoint):
                self.on_abort(checkpoint)
            case _:
                self._loop.look()

    def _put_batch(self, batch: Batch, records: int, size_bytes: int) -> None:
        self._loop.on_entered(batch)
        self._loop.coming_back += len(batch.values)
        for recording in self._recordings:
            recording.add(self._number, batch)
        if not self.segments and not self._tail and self._records < FRONT_RECORDS and self._bytes < FRONT_BYTES:
            Lane.put(self, batch, records, size_bytes)
            return
        self._tail.append((batch, size_bytes))
        self._tail_records += len(batch.values)
        self._tail_bytes += size_bytes
        if self._tail_records >= SEGMENT_RECORDS or self._tail_bytes >= SEGMENT_BYTES:
            self._seal()

    def _seal(self) -> None:
        """Make the tail a segment, which the spiller writes as soon as it can."""
        segment = Segment(self._tail, self._tail_records, self._tail_bytes)
        for recording in self._recordings:
            recording.replace_last(self._number, len(self._tail), segment)
        self._tail, self._tail_records, self._tail_bytes = [], 0, 0
        self.segments.append(segment)
        self._spiller.on_sealed(self._number, segment)

    def replay(self, batch: Batch) -> None:
        """Put back what a checkpoint holds: all of it goes before anything new comes in."""
        self.replaying += 1
        self._loop.on_replayed()
        self._put_batch(batch, len(batch.values), estimate_bytes(batch.values))

    # ---- the head's side

    def take(self) -> ChannelItem:
        """Remove the oldest batch; a recording that holds it keeps a copy."""
        item = super().take()
        if self.replaying:
            self.replaying -= 1
            self._loop.replaying -= 1
        if isinstance(item, Batch):
            self._loop.coming_back -= len(item.values)
        if isinstance(item, Batch) and any(recording.holds(item) for recording in self._recordings):
            copy = copy_of(item, self._loop.name)
            for recording in self._recordings:
                recording.keep(item, copy)
        self.refill()
        return item

    def refill(self) -> None:
        """Bring to the front what comes next, where there is room: from memory at once, from the disk in a while."""
        while self._records < FRONT_RECORDS // 2 and self._bytes < FRONT_BYTES // 2:
            if self.segments:
                batches = self.segments[0].batches
                if batches is None:
                    self._spiller.want(self)
                    return
                segment = self.segments.popleft()
                segment.let_go()
                if segment.holders:  # a recording has it, and what is taken may be changed
                    batches = [(copy_of(batch, self._loop.name), size_bytes) for batch, size_bytes in batches]
            elif self._tail:
                batches, self._tail, self._tail_records, self._tail_bytes = self._tail, [], 0, 0
            else:
                return
            for batch, size_bytes in batches:
                Lane.put(self, batch, len(batch.values), size_bytes)

    def on_loaded(self, segment: Segment, batches: list[tuple[Batch, int]]) -> None:
        """Take what was read of the oldest segment."""
        self.segments.popleft()
        segment.let_go()
        for batch, size_bytes in batches:
            Lane.put(self, batch, len(batch.values), size_bytes)

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing waits, on the disk neither."""
        return not (self.items or self.segments or self._tail)

    # ---- checkpoints

    def on_snapshot(self, recording: Recording) -> None:
        """The head takes its snapshot: all that waits here was sent before, and so may be what comes."""
        for item in self.items:
            if isinstance(item, Batch):
                recording.add(self._number, item)
        for segment in self.segments:
            segment.hold()
            recording.add(self._number, segment)
        for batch, _ in self._tail:
            recording.add(self._number, batch)
        self._recordings.append(recording)

    def _on_barrier(self, checkpoint: CheckpointId) -> None:
        for recording in self._recordings:
            if recording.checkpoint == checkpoint:
                recording.on_barrier(self._number)

    def on_abort(self, checkpoint: CheckpointId) -> None:
        """There will be no checkpoint up to this one: nothing is recorded for it."""
        for recording in self._recordings:
            if recording.checkpoint <= checkpoint:
                recording.give_up()
        self._recordings = [recording for recording in self._recordings if not recording.given_up]

    def on_written(self, recording: Recording) -> None:
        """A recording is on the disk, or will not be."""
        if recording in self._recordings:
            self._recordings.remove(recording)
