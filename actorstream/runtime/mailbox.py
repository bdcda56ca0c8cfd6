"""A mailbox: one control lane, served first, and one bounded lane for each channel.

    control   Trigger  Abort  Complete            no bound: rare, small
    lane 0    Batch Batch |3                      credits: records and estimated bytes
    lane 1    Batch                               blocked while its barrier is aligned
    front     rest of a batch                     before all lanes: what was taken, or was in flight when restored

A sender may put while a lane's credit is positive, and so overdraws by at most
one item; it waits *before* it takes its next input, so that a record once taken
never stops half-way. Barriers need no credit. A blocked lane is not polled, and
fills up without counting against the others. Everything runs on one loop, so
there are no locks; a future is made only by a waiter (1 to 3 µs an item, where a
general stream costs 9 to 18: design notes on speed).
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import UnionType

    from actorstream.model.ids import ChannelIndex, CheckpointId

C = TypeVar("C")
D = TypeVar("D")

LANE_RECORDS = 2_048
LANE_BYTES = 16 << 20
ITEM_RECORDS = 32
"""What an item costs beside its records, so that single-record batches are bounded too."""


class Wakeup:
    """A future that exists only while somebody waits."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        """Start with nobody waiting."""
        self._future: asyncio.Future[None] | None = None

    @property
    def is_waited_for(self) -> bool:
        """Tell whether somebody waits."""
        return self._future is not None

    def wake(self) -> None:
        """Wake the waiter, if there is one."""
        future = self._future
        if future is not None:
            self._future = None
            if not future.done():
                future.set_result(None)

    async def wait(self) -> None:
        """Wait for the next `wake`. One waiter at a time."""
        future = self._future = asyncio.get_running_loop().create_future()
        try:
            await future
        finally:
            if self._future is future:
                self._future = None


class Front(Generic[D]):
    """What comes before all lanes: an item that was sent on `channel`. `recorded`: it is part of that checkpoint."""

    __slots__ = ("channel", "item", "recorded")

    def __init__(self, channel: ChannelIndex, item: D, recorded: CheckpointId | None = None) -> None:
        """Stand before what is in the lane of `channel`."""
        self.channel = channel
        self.item = item
        self.recorded = recorded


class Lane(Generic[D]):
    """One upstream's bounded way into a mailbox."""

    __slots__ = ("_bytes", "_costs", "_credit", "_mailbox", "_records", "blocked", "items", "records_max")

    def __init__(self, mailbox: Mailbox[C, D], records_max: int = LANE_RECORDS) -> None:
        """Belong to `mailbox`, empty."""
        self._mailbox = mailbox
        self._credit: list[Wakeup] = []
        self._records = 0
        self._bytes = 0
        self._costs: deque[tuple[int, int]] = deque()
        self.records_max = records_max
        self.blocked = False
        self.items: deque[D] = deque()

    def has_credit(self) -> bool:
        """Tell whether one more item may be put."""
        return self._records < self.records_max and self._bytes < LANE_BYTES

    def may_overdraw(self) -> bool:
        """Tell whether one more item may be put by somebody who cannot wait: as much again as there is credit."""
        return self._records < 2 * self.records_max and self._bytes < 2 * LANE_BYTES

    async def wait_credit(self) -> None:
        """Wait until `has_credit`."""
        while not self.has_credit():
            wakeup = Wakeup()
            self._credit.append(wakeup)
            try:
                await wakeup.wait()
            finally:
                if wakeup in self._credit:
                    self._credit.remove(wakeup)

    def put(self, item: D, records: int = 0, size_bytes: int = 0) -> None:
        """Append `item`, which costs `records` and about `size_bytes` until it is taken."""
        cost = records + ITEM_RECORDS if records else 0
        self._records += cost
        self._bytes += size_bytes
        self._costs.append((cost, size_bytes))
        self.items.append(item)
        if not self.blocked:
            self._mailbox.arrival.wake()

    def pull(self, place: int) -> D:
        """Remove the item at `place`, ahead of those before it: a signal, which costs nothing."""
        item = self.items[place]
        del self.items[place], self._costs[place]
        return item

    def announce(self, from_us: int) -> None:
        """Have the receiver look at what was put from `from_us` on, wherever in the lane it is."""
        mailbox = self._mailbox
        if mailbox.watches:
            if mailbox.look_us is None or from_us < mailbox.look_us:
                mailbox.look_us = from_us
            mailbox.arrival.wake()

    def wake_with_credit(self, wakeup: Wakeup) -> None:
        """Wake also `wakeup`, once, when there is credit again."""
        if wakeup not in self._credit:
            self._credit.append(wakeup)

    def take(self) -> D:
        """Remove the oldest item and give its credit back."""
        cost, size_bytes = self._costs.popleft()
        self._records -= cost
        self._bytes -= size_bytes
        if self._credit and self.has_credit():
            waiting, self._credit = self._credit, []
            for wakeup in waiting:
                wakeup.wake()
        return self.items.popleft()

    @property
    def depth(self) -> int:
        """How many records wait here."""
        return self._records


class Mailbox(Generic[C, D]):
    """What one actor receives.

    Attributes:
        control: Control messages.
        arrival: Wakes the actor.
        front: What comes before all lanes.
        watches: Its actor looks at what is announced (`Lane.announce`).
        look_us: From when on something in a lane is to be looked at that is not its next item; None: nothing is.
    """

    def __init__(self, lanes: int, records_max: int = LANE_RECORDS) -> None:
        """Make an empty mailbox with `lanes` lanes."""
        self.control: deque[C] = deque()
        self.arrival = Wakeup()
        self.front: deque[Front[D]] = deque()
        self.look_us: int | None = None
        self.watches = False
        self.lanes = [Lane[D](self, records_max) for _ in range(lanes)]
        self._next = 0

    def tell(self, message: C) -> None:
        """Put a control message: it overtakes all data."""
        self.control.append(message)
        self.arrival.wake()

    def block(self, channel: ChannelIndex) -> None:
        """Take nothing more from a lane until it is unblocked."""
        self.lanes[channel].blocked = True

    def unblock(self, channels: Iterable[ChannelIndex]) -> None:
        """Take from these lanes again."""
        for channel in channels:
            self.lanes[channel].blocked = False

    def next_lane(self) -> int | None:
        """Give the next lane, in turn, that has an item and is not blocked."""
        lanes = self.lanes
        count = len(lanes)
        start = self._next
        for offset in range(count):
            index = start + offset
            if index >= count:
                index -= count
            lane = lanes[index]
            if lane.items and not lane.blocked:
                self._next = index + 1 if index + 1 < count else 0
                return index
        return None

    def next_of(self, kinds: type | UnionType) -> int | None:
        """Give a lane that is not blocked and whose next item is of one of these kinds."""
        for index, lane in enumerate(self.lanes):
            if lane.items and not lane.blocked and isinstance(lane.items[0], kinds):
                return index
        return None

    @property
    def depth(self) -> int:
        """How many records wait in all lanes."""
        return sum(lane.depth for lane in self.lanes)


def estimate_bytes(values: Sequence[object]) -> int:
    """Guess the memory of a batch from its middle record, one level deep: costs about 1 µs."""
    record = values[len(values) // 2]
    size = sys.getsizeof(record)
    if isinstance(record, tuple | list):
        size += sum(map(sys.getsizeof, record))
    elif isinstance(record, dict):
        size += sum(map(sys.getsizeof, record.values()))
    elif fields := getattr(record, "__dataclass_fields__", None) or getattr(record, "__struct_fields__", None):
        # Never through __dict__: asking for it makes one, for good.
        size += sum([sys.getsizeof(getattr(record, field, None)) for field in fields])
    return size * len(values)
