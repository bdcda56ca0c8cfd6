"""Where a chain's results go: into the lanes of other actors, to sinks, to subscribers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.codec.frames import decode_item, encode_item
from actorstream.graph.nodes import Broadcast, Rebalance
from actorstream.model.batch import Batch
from actorstream.model.signals import Barrier, EndOfInput, Idle, Watermark
from actorstream.runtime.event_time import NOTHING_TOLD, Told
from actorstream.runtime.mailbox import estimate_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.graph.plan import Exchange
    from actorstream.model.signals import ChannelItem, Signal
    from actorstream.operators.step_text import Lists
    from actorstream.runtime.mailbox import Lane, Wakeup


class ExchangeOutput:
    """One exchange's lanes, seen from one sending subtask.

    `wire` sends every item through the codec of the wire and back, so that no
    habit of passing live objects grows; tests switch it on.
    """

    def __init__(
        self, exchange: Exchange, lanes: Sequence[Lane[ChannelItem]], *, wire: bool = False, told: Told = NOTHING_TOLD
    ) -> None:
        """Send to `lanes`: one, or one for each receiving subtask; they have been `told` so much of event time."""
        self.lanes = lanes
        self.watermark, self.idle = told
        self._rotates = isinstance(exchange.partitioning, Rebalance)
        self._copies = isinstance(exchange.partitioning, Broadcast)
        self._wire = wire
        self._turn = 0

    @property
    def told(self) -> Told:
        """What those behind know of event time."""
        return Told(self.watermark, self.idle)

    async def wait_credit(self) -> None:
        """Wait until every lane may be sent to."""
        for lane in self.lanes:
            if not lane.has_credit():
                await lane.wait_credit()

    def has_credit(self) -> bool:
        """Tell whether every lane may be sent to now."""
        return all(lane.has_credit() for lane in self.lanes)

    def may_overdraw(self) -> bool:
        """Tell whether every lane may be sent to beyond its credit."""
        return all(lane.may_overdraw() for lane in self.lanes)

    def send(self, result: Lists | list[Lists], origin: tuple[str, object] | None, watermark: int | None = None) -> int:
        """Send what one step gave, and give the number of records, however many lanes get each; none is no batch.

        `watermark` follows the records: those lanes that get none of them are told as well.
        """
        if watermark is not None:
            if watermark <= self.watermark:
                watermark = None
            else:
                self.watermark = watermark
        if isinstance(result, list):
            pairs = list(zip(self.lanes, result, strict=True))
        elif self._copies:
            pairs = [(lane, result) for lane in self.lanes]
        else:
            if self._rotates and result.values:
                self._turn = (self._turn + 1) % len(self.lanes)
            pairs = [(self.lanes[self._turn], result)]
        sent = sum([self._put(lane, lists, origin, watermark) for lane, lists in pairs])
        active = self.idle and (sent > 0 or watermark is not None)
        if watermark is not None or active:
            self.idle = False
            given = {id(lane) for lane, lists in pairs if lists.values}
            for lane in self.lanes:
                if id(lane) not in given:
                    self._mark(lane)
        return sent // len(self.lanes) if self._copies else sent

    def tell(self, watermark: int, *, idle: bool) -> None:
        """Tell all lanes how far event time has come, and whether not to wait for more, where that is news."""
        if watermark > self.watermark or (self.idle and not idle):
            self.watermark, self.idle = max(watermark, self.watermark), False
            for lane in self.lanes:
                self._mark(lane)
        if idle and not self.idle:
            self.idle = True
            self.signal(Idle())

    def signal(self, signal: Signal) -> None:
        """Send a signal down every lane."""
        for lane in self.lanes:
            lane.put(self._on_wire(signal))
            if isinstance(signal, Barrier) and signal.overtakes_us is not None:
                lane.announce(signal.overtakes_us)
            elif isinstance(signal, EndOfInput):
                lane.announce(0)

    def wake_with_credit(self, wakeup: Wakeup) -> None:
        """Wake `wakeup` when a lane that has none has credit again."""
        for lane in self.lanes:
            if not lane.has_credit():
                lane.wake_with_credit(wakeup)

    def _mark(self, lane: Lane[ChannelItem]) -> None:
        """Tell one lane the watermark; one that waits there already is overtaken."""
        signal = self._on_wire(Watermark(self.watermark))
        if lane.items and isinstance(lane.items[-1], Watermark):
            lane.items[-1] = signal
        else:
            lane.put(signal)

    def _put(
        self, lane: Lane[ChannelItem], lists: Lists, origin: tuple[str, object] | None, watermark: int | None
    ) -> int:
        values, keys, timestamps, marks = lists
        if not values:
            return 0
        if marks is not None and marks[0] == marks[-1] <= self.watermark and watermark is None:
            marks = None  # time stood still
        lane.put(
            self._on_wire(Batch(values, timestamps, keys, origin, marks, watermark)),
            len(values),
            estimate_bytes(values),
        )
        return len(values)

    def _on_wire(self, item: ChannelItem) -> ChannelItem:
        return decode_item(encode_item(item)) if self._wire else item
