"""Where a chain's results go: into the lanes of other actors, to sinks, to subscribers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.codec.frames import decode_item, encode_item
from actorstream.graph.nodes import Rebalance
from actorstream.model.batch import Batch
from actorstream.runtime.mailbox import estimate_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.graph.plan import Exchange
    from actorstream.model.signals import ChannelItem, Signal
    from actorstream.operators.step_text import Lists
    from actorstream.runtime.mailbox import Lane


class ExchangeOutput:
    """One exchange's lanes, seen from one sending subtask.

    `wire` sends every item through the codec of the wire and back, so that no
    habit of passing live objects grows; tests switch it on.
    """

    def __init__(self, exchange: Exchange, lanes: Sequence[Lane[ChannelItem]], *, wire: bool = False) -> None:
        """Send to `lanes`: one, or one for each receiving subtask."""
        self.lanes = lanes
        self._rotates = isinstance(exchange.partitioning, Rebalance)
        self._wire = wire
        self._turn = 0

    async def wait_credit(self) -> None:
        """Wait until every lane may be sent to."""
        for lane in self.lanes:
            if not lane.has_credit():
                await lane.wait_credit()

    def has_credit(self) -> bool:
        """Tell whether every lane may be sent to now."""
        return all(lane.has_credit() for lane in self.lanes)

    def send(self, result: Lists | list[Lists], origin: tuple[str, object] | None) -> int:
        """Send what one step gave, and give the number of records; an empty list is no batch."""
        if isinstance(result, list):
            return sum(self._put(lane, lists, origin) for lane, lists in zip(self.lanes, result, strict=True))
        if self._rotates and result.values:
            self._turn = (self._turn + 1) % len(self.lanes)
        return self._put(self.lanes[self._turn], result, origin)

    def signal(self, signal: Signal) -> None:
        """Send a signal down every lane."""
        for lane in self.lanes:
            lane.put(decode_item(encode_item(signal)) if self._wire else signal)

    def _put(self, lane: Lane[ChannelItem], lists: Lists, origin: tuple[str, object] | None) -> int:
        values, keys, timestamps = lists
        if not values:
            return 0
        item: ChannelItem = Batch(values, timestamps, keys, origin)
        if self._wire:
            item = decode_item(encode_item(item))
        lane.put(item, len(values), estimate_bytes(values))
        return len(values)
