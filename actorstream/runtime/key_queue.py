"""The row of records of a process with async handlers: each is handed on when its handler has ended, in order.

What is handed on are the records themselves, with their keys: the chain runs over them as over any others, and finds
what their handlers have come to in `offered`, in the same order.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from actorstream.model.batch import Batch
from actorstream.model.signals import Watermark
from actorstream.runtime.call_queue import CallQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorstream.model.ids import ChannelIndex
    from actorstream.runtime.call_items import CallItem


class KeyQueue(CallQueue):
    """Records in the order in which they were taken.

    Attributes:
        offered: What the handlers of the records that were handed on last have come to.
    """

    def __init__(self, let_go: Callable[[str, int], None]) -> None:
        """Start empty."""
        super().__init__("process", let_go, ordered=True)
        self.offered: deque[object] = deque()

    def _batch(self, item: CallItem, places: Sequence[int]) -> Batch:
        start, stop = places[0], places[-1] + 1
        self._offered = item, places, [1] * len(places)
        self.offered = deque(item.results[start:stop])
        last = stop == len(item.values)
        watermark = item.watermark if last else None
        if item.marks is not None and not last:
            watermark = item.marks[stop]
        return Batch(
            item.values[start:stop],
            None if item.timestamps is None else item.timestamps[start:stop],
            None if item.keys is None else item.keys[start:stop],
            item.origin,
            None if item.marks is None else item.marks[start:stop],
            watermark,
        )

    def time_of_first(self) -> tuple[ChannelIndex, Watermark] | None:
        """Give how far event time comes with the first record, if it says so."""
        first = self._items[0] if self._items else None
        if isinstance(first, tuple) or first is None or first.marks is None:
            return None
        return first.channel, Watermark(first.marks[first.emitted])
