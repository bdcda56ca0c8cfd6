"""Barriers that overtake: what an actor sees of its lanes, and what it records of them.

    lane 0   a b c |7 d      barrier 7 is announced when it is put; from its time on it is pulled out, past a, b and c
    lane 1   x y             what is taken from here is recorded, until barrier 7 comes or is announced
    front    r               the rest of a batch: sent before all barriers, so recorded as well

The sender puts straight into the receiver's lane, so a lane is output queue and input queue at once: a barrier pulled
out of it has overtaken all that there is between the two. What it overtakes stays where it is, and is worked on
afterwards. It is encoded before anything more is taken, slice by slice, so what becomes of a record later changes
nothing (T125); what is taken before its channel's barrier has come is encoded when it is taken.

Where a lane is in step (protocol/alignment.py) nothing is pulled before the barrier has come there in its place. That
is *hurried*: what stands before it is taken next, ahead of the other lanes, and also where outputs have no room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.checkpoints.in_flight import InFlightWriter
from actorstream.model.batch import Batch
from actorstream.model.ids import ChannelIndex
from actorstream.model.signals import Barrier, EndOfInput, Idle, Watermark

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actorstream.checkpoints.in_flight import InFlightChannel
    from actorstream.model.ids import CheckpointId, SubtaskId
    from actorstream.model.signals import ChannelItem
    from actorstream.protocol.alignment import Alignment
    from actorstream.runtime.mailbox import Mailbox
    from actorstream.runtime.messages import ControlMessage
    from actorstream.runtime.pace import Pace

SLICE_SECONDS = 0.002
"""So long encoding holds the loop at most, but for one batch."""

HURRIED_MAX = 16
"""So many items are taken out of turn before another one comes."""

_US = 1_000_000


class Overtaking:
    """One actor's view. Nothing in here waits for anybody, but for a turn of the loop.

    Attributes:
        checkpoint: Whose records in flight are recorded now; None: nobody's.
        ahead: What the barrier pulled last has overtaken.
        taken: The checkpoint of which the item taken last is part, though it was taken after the snapshot.
        hurries: A barrier may overtake, but for the lanes in step.
    """

    def __init__(
        self,
        identity: SubtaskId,
        parallelism: int,
        mailbox: Mailbox[ControlMessage, ChannelItem],
        alignment: Alignment,
        pace: Pace,
    ) -> None:
        """Watch the lanes of `mailbox`."""
        mailbox.watches = True
        self.checkpoint: CheckpointId | None = None
        self.ahead: Sequence[ChannelItem] = ()
        self.taken: CheckpointId | None = None
        self.hurries = False
        self._identity = identity
        self._parallelism = parallelism
        self._mailbox = mailbox
        self._alignment = alignment
        self._pace = pace
        self._writer: InFlightWriter | None = None
        self._patience_ends_us: int | None = None
        self._in_a_row = 0

    # ---- when

    def now_us(self) -> int:
        """Read the clock by which barriers say when they may overtake."""
        return int(self._pace.clock.monotonic() * _US)

    def on_barrier(self, overtakes_us: int | None) -> None:
        """Note how long to wait for the other barriers of a checkpoint that has begun."""
        self._patience_ends_us = overtakes_us

    def look_at(self, us: int) -> None:
        """Be due at a time, whatever is announced."""
        looks = self._mailbox.look_us
        self._mailbox.look_us = us if looks is None else min(looks, us)

    def _due_us(self) -> int | None:
        looks, ends = self._mailbox.look_us, self._patience_ends_us
        if ends is None or self.hurries or self._alignment.aligning is None:
            return looks
        return ends if looks is None else min(looks, ends)

    def waits_too_long(self) -> bool:
        """Tell whether the patience with the checkpoint that aligns is over."""
        ends = self._patience_ends_us
        return ends is not None and self.now_us() >= ends

    def is_due(self) -> bool:
        """Tell whether to look at the lanes now."""
        due = self._due_us()
        return due is not None and self.now_us() >= due

    def seconds_to_wait(self) -> float | None:
        """Tell after how many seconds `is_due`; None: not by time alone, or it is already."""
        due = self._due_us()
        left = None if due is None else due - self.now_us()
        return left / _US if left is not None and left > 0 else None

    # ---- what

    def pull(self) -> tuple[ChannelIndex, Barrier] | None:
        """Take out the newest barrier that may overtake; what is before it in its lane is `ahead` then."""
        now_us, found, alignment = self.now_us(), None, self._alignment
        for index, lane in enumerate(self._mailbox.lanes):
            if index in alignment.in_step:
                continue
            for place, item in enumerate(lane.items):
                if not isinstance(item, Barrier) or item.overtakes_us is None or item.overtakes_us > now_us:
                    continue
                if alignment.missing(item.checkpoint):
                    continue
                if found is None or item.checkpoint > found[2].checkpoint:
                    found = index, place, item
        if found is None:
            return None
        index, place, barrier = found
        lane = self._mailbox.lanes[index]
        self.ahead = [lane.items[at] for at in range(place)]
        lane.pull(place)
        return ChannelIndex(index), barrier

    def next_ended(self) -> ChannelIndex | None:
        """Give a channel that is recorded and has its end in its lane; what is before it is `ahead` then."""
        for channel in sorted(self._alignment.recorded):
            items = self._mailbox.lanes[channel].items
            if items and isinstance(items[-1], EndOfInput) and not any(map(self._is_expected, items)):
                self.ahead = list(items)
                return channel
        return None

    def _is_expected(self, item: ChannelItem) -> bool:
        """Tell whether it is a barrier that came while the snapshot was taken: what is behind it is not of that."""
        return isinstance(item, Barrier) and self.checkpoint is not None and item.checkpoint >= self.checkpoint

    def has_looked(self) -> None:
        """Say that all that was due is done: look again when a barrier's time has come, or one is put."""
        in_step, waiting = self._alignment.in_step, list[int]()
        now_us = self.now_us() if in_step else 0
        late = self._alignment.aligning if in_step and self.waits_too_long() else None
        self.hurries = late is not None and bool(self._alignment.missing(late))
        for index, lane in enumerate(self._mailbox.lanes):
            for item in lane.items:
                if not isinstance(item, Barrier) or item.overtakes_us is None:
                    continue
                if item.overtakes_us <= now_us and self._alignment.missing(item.checkpoint):
                    self.hurries = True
                elif item.overtakes_us > now_us or index not in in_step:
                    waiting.append(item.overtakes_us)
        self._mailbox.look_us = min(waiting, default=None)

    def on_aligned(self) -> None:
        """See that a barrier has come, or is over: what was missing may be there."""
        if self.hurries:
            self.look_at(self.now_us())

    def next_hurried(self, *, room: bool) -> ChannelIndex | None:
        """Give the channel of which to take next, so that a barrier comes; None: it makes no difference.

        Where there is `room`, another has its turn now and then: nobody is to starve behind one who sends and sends.
        """
        if room and self._in_a_row == HURRIED_MAX:
            self._in_a_row = 0
            return None
        in_step, front = self._alignment.in_step, self._mailbox.front
        found = front[0].channel if front and front[0].channel in in_step else None
        for channel in sorted(in_step) if found is None else ():
            lane = self._mailbox.lanes[channel]
            if lane.items and not lane.blocked and not (front and _waits_for_front(lane.items[0])):
                found = channel
                break
        self._in_a_row = min(self._in_a_row + 1, HURRIED_MAX) if found is not None else 0
        return found

    # ---- recording

    def begin(self, checkpoint: CheckpointId, channels: Sequence[InFlightChannel]) -> None:
        """Record for a snapshot that was taken now."""
        self.checkpoint = checkpoint
        self._writer = InFlightWriter(self._identity.chain, self._identity.subtask, channels, self._parallelism)

    def on_taken(self, channel: ChannelIndex, item: ChannelItem, recorded: CheckpointId | None = None) -> None:
        """Record an item before it is worked on, if it belongs to the snapshot and is not `recorded` for it yet."""
        self.taken = None
        checkpoint, writer = self.checkpoint, self._writer
        if checkpoint is None or writer is None or not isinstance(item, Batch | Watermark | Idle):
            return
        if recorded == checkpoint:
            self.taken = checkpoint
        elif channel in self._alignment.recorded:
            writer.add(channel, item)
            self.taken = checkpoint

    async def record_front(self, *, awaited: bool = False) -> None:
        """Record what comes before all lanes; `awaited`: calls will be made for it."""
        front = list(self._mailbox.front)
        for each in front:
            each.recorded = self.checkpoint
        await self.record(((each.channel, each.item) for each in front), awaited=awaited)

    async def record_ahead(self, channel: ChannelIndex) -> None:
        """Record what the last barrier, or end, has before it in its lane."""
        await self.record((channel, item) for item in self.ahead)

    async def record(self, items: Iterable[tuple[ChannelIndex, ChannelItem]], *, awaited: bool = False) -> None:
        """Record items that were sent before the barriers, in slices."""
        clock, writer = self._pace.clock.monotonic, self._writer
        ends = clock() + SLICE_SECONDS
        for channel, item in items:
            if writer is not None and isinstance(item, Batch | Watermark | Idle):
                if clock() > ends:
                    await self._pace.give_way()
                    ends = clock() + SLICE_SECONDS
                writer.add(channel, item, awaited=awaited)

    def finish(self) -> InFlightWriter | None:
        """Give all that was recorded, and record no more."""
        writer, self._writer, self.checkpoint = self._writer, None, None
        return writer


def _waits_for_front(item: ChannelItem) -> bool:
    """Tell whether everything that was taken must be worked through first: nothing is in flight in a savepoint."""
    return isinstance(item, Barrier) and item.overtakes_us is None
