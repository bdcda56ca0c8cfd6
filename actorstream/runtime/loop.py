"""A loop at work: what its members tell each other beside their lanes (protocol/loops.py decides).

    lane.put ──────────> entered ─┐
    member: batch done ─> left    ├─> Circulation ──> heads: how far time may go, when it is over
    member: entrance says ────────┘

All members are on one event loop, so what is told is known at once: what each head does is decided between two steps of
its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from actorstream.model.batch import Batch
from actorstream.model.ids import ChannelIndex
from actorstream.model.signals import EndOfInput, Idle, Watermark
from actorstream.model.times import TIME_MAX
from actorstream.protocol.loops import AT_THE_END, Circulation
from actorstream.runtime.chain_runner import ChainRunner
from actorstream.runtime.mailbox import LANE_RECORDS, Lane
from actorstream.runtime.subtask import Subtask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actorstream.checkpoints.in_flight import InFlightChannel
    from actorstream.model.signals import ChannelItem
    from actorstream.runtime.mailbox import Mailbox
    from actorstream.runtime.messages import ControlMessage


class Loop:
    """One loop of one attempt.

    Attributes:
        circulation: What goes round.
        members: The actors that records go round in, heads included.
        heads: Those at which they come in and come back.
        waiting: How many records wait to come in.
        coming_back: How many records wait in back lanes.
        replaying: How many restored batches have not been taken yet.
    """

    def __init__(self, name: str, heads: int, entrances: int) -> None:
        """Start with no members: each joins when it is made."""
        self.name = name
        self.circulation = Circulation(heads, entrances)
        self.members: list[LoopMember] = []
        self.heads: list[LoopMember] = []
        self.waiting = self.coming_back = self.replaying = 0
        self._settling = False
        self._at_work = 0
        self._over = False

    def join(self, member: LoopMember, *, head: bool = False) -> None:
        """Take in a member."""
        self.members.append(member)
        if head:
            self.heads.append(member)

    def on_entered(self, batch: Batch) -> None:
        """A batch was put into a lane of a member."""
        self.circulation.on_entered(len(batch.values), _least(batch))

    def on_left(self, batch: Batch) -> None:
        """A member is done with a batch: what it gave has been put."""
        circulation = self.circulation
        circulation.on_left(len(batch.values), _least(batch))
        self._look_whether_settled()
        for head in self.heads:
            if not circulation.records or head.runner.time is not None:
                head.mailbox.arrival.wake()

    @property
    def records(self) -> int:
        """How many records go round; those that wait to come in are not among them."""
        return self.circulation.records - self.waiting

    def begin_work(self) -> None:
        """A member begins to do what is due: it may give records without having taken some."""
        self._at_work += 1

    def end_work(self) -> None:
        """A member is done with that."""
        self._at_work -= 1
        self._look_whether_settled()
        self.look()

    def on_replayed(self) -> None:
        """A batch of a checkpoint was put back into a lane."""
        self.replaying += 1
        self._settling = True

    @property
    def is_settling(self) -> bool:
        """Tell whether what was restored has yet to go round once, before anything else does.

        At another parallelism records of a key may come back to another head than those before them were recorded at.
        They are not to overtake those.
        """
        return self._settling

    def _look_whether_settled(self) -> None:
        if self._settling and not (self.replaying or self._at_work or self.records - self.coming_back):
            self._settling = False
            self.look()

    def look(self) -> None:
        """Something has changed: those heads that wait are to look at it."""
        for head in self.heads:
            head.mailbox.arrival.wake()

    @property
    def is_over(self) -> bool:
        """Tell whether nothing goes round any more, or ever will: then the end may pass. Once over, it stays so."""
        if not self._over and self.circulation.is_empty and not self._at_work:
            self._over = all(member.is_calm for member in self.members)
        return self._over


def _least(batch: Batch) -> int | None:
    return min(batch.timestamps) if batch.timestamps else None


class CountedLane(Lane["ChannelItem"]):
    """A lane of a member of a loop: what is put here is in the loop until its member is done with it."""

    __slots__ = ("_is_entrance", "_loop")

    def __init__(
        self,
        mailbox: Mailbox[ControlMessage, ChannelItem],
        loop: Loop,
        records_max: int = LANE_RECORDS,
        *,
        is_entrance: bool = False,
    ) -> None:
        """Belong to `mailbox`; `loop` counts. `is_entrance`: it leads in from outside."""
        super().__init__(mailbox, records_max)
        self._loop = loop
        self._is_entrance = is_entrance

    def put(self, item: ChannelItem, records: int = 0, size_bytes: int = 0) -> None:
        """Append `item`, and count its records."""
        if isinstance(item, Batch):
            self._loop.on_entered(item)
            if self._is_entrance:
                self._loop.waiting += len(item.values)
        super().put(item, records, size_bytes)

    def take(self) -> ChannelItem:
        """Remove the oldest item: what came from outside is in the loop from now on."""
        item = super().take()
        if self._is_entrance and isinstance(item, Batch):
            self._loop.waiting -= len(item.values)
        return item


class LoopRunner(ChainRunner):
    """Tells the loop when it does something without a record: a timer may give what goes round."""

    loop: Loop | None = None

    async def fire(self, now_us: int | None = None) -> None:
        """Do a round of what is due."""
        if self.loop is None:
            await super().fire(now_us)
            return
        self.loop.begin_work()
        try:
            await super().fire(now_us)
        finally:
            self.loop.end_work()


class LoopPlace(NamedTuple):
    """Where an actor stands in a loop.

    `entrances` are its channels from outside, by number in the loop; `waits_for_clock`: its timers may give what goes
    round; `back` are the lanes that lead back to it.
    """

    loop: Loop
    entrances: Mapping[ChannelIndex, int]
    waits_for_clock: bool
    back: Sequence[InFlightChannel] = ()


class LoopMember(Subtask):
    """An actor that records of a loop go round in: `enter` comes before it is wired."""

    runner_class = LoopRunner
    loop: Loop
    entrances: Mapping[ChannelIndex, int]

    def enter(self, place: LoopPlace) -> None:
        """Take its place."""
        self.loop, self.entrances, self._waits_for_clock, _ = place
        self.mailbox.lanes = [
            CountedLane(self.mailbox, self.loop, lane.records_max, is_entrance=ChannelIndex(index) in self.entrances)
            for index, lane in enumerate(self.mailbox.lanes)
        ]
        if isinstance(self.runner, LoopRunner):
            self.runner.loop = self.loop
        self.loop.join(self, head=bool(place.back))

    @property
    def is_calm(self) -> bool:
        """Tell whether nothing can come of this actor before something comes to it, whatever time it is."""
        runner = self.runner
        timed = runner.time is not None and self.chain.needs_timestamps
        if runner.is_due or (timed and runner.time is not None and runner.time.clock.now < AT_THE_END):
            return False
        return not self._waits_for_clock or runner.clock_due_us == TIME_MAX

    async def _on_item(self, channel: ChannelIndex, item: ChannelItem) -> None:
        await super()._on_item(channel, item)
        entrance = self.entrances.get(channel)
        if entrance is not None:
            self.tell_entrance(entrance, item)
        if isinstance(item, Batch):
            self.loop.on_left(item)
        elif entrance is not None or isinstance(item, Watermark):
            self.loop.look()

    def tell_entrance(self, entrance: int, item: ChannelItem) -> None:
        """Tell the loop what has been taken in from outside."""
        circulation = self.loop.circulation
        match item:
            case Batch(watermark=watermark, marks=marks):
                circulation.on_active(entrance)
                last = marks[-1] if watermark is None and marks else watermark
                if last is not None:
                    circulation.on_watermark(entrance, last)
            case Watermark(time_us):
                circulation.on_watermark(entrance, time_us)
            case Idle():
                circulation.on_idle(entrance)
            case EndOfInput():
                circulation.on_end(entrance)
            case _:
                pass
