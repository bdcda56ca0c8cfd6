"""The row of items that were taken and not emitted: what may begin next, and what may be emitted.

Where results are emitted in order, whatever is finished at the front may go. Out of order, whatever is finished may go
that is not behind a watermark: event time never passes a record.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from actorstream.model.batch import Batch
from actorstream.model.signals import Idle, Watermark
from actorstream.operators.failures import Aside
from actorstream.runtime.call_items import EMITTED, PENDING, CallItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actorstream.checkpoints.in_flight import Carried
    from actorstream.graph.awaited import AsyncKind
    from actorstream.model.ids import ChannelIndex

EMIT_MAX: Final = 512
"""So many records at most are emitted together."""


@dataclass(frozen=True, slots=True)
class Ended:
    """All that came on a channel was emitted, and it has ended."""


Signal: TypeAlias = "Watermark | Idle | Ended"


class CallQueue:
    """Items in the order in which they were taken; records are begun in that order.

    Attributes:
        unbegun: How many records were not begun.
        open: How many were begun and not emitted.
        let_go: Told the digest and number of a record that is in flight no more, where these were asked.
    """

    def __init__(self, kind: AsyncKind, let_go: Callable[[str, int], None], *, ordered: bool) -> None:
        """Start empty."""
        self.let_go = let_go
        self.unbegun = 0
        self.open = 0
        self._kind = kind
        self._ordered = ordered
        self._items: deque[CallItem | tuple[ChannelIndex, Signal]] = deque()
        self._waiting: deque[CallItem] = deque()
        self._offered: tuple[CallItem, Sequence[int], list[int]] | None = None

    def __bool__(self) -> bool:
        """Tell whether anything was taken and not emitted."""
        return bool(self._items)

    # ---- what is taken

    def add(self, channel: ChannelIndex, item: Batch | Signal) -> CallItem | None:
        """Put what was taken of a channel behind all else; give the item that has its records."""
        if not isinstance(item, Batch):
            self._items.append((channel, item))
            return None
        if not item.values:
            return None if item.watermark is None else self.add(channel, Watermark(item.watermark))
        self.unbegun += len(item.values)
        last = self._items[-1] if self._items else None
        if isinstance(last, CallItem) and last.takes(channel, item):
            if last.begun == len(last.values):
                self._waiting.append(last)
            last.extend(item)
            return last
        added = CallItem(channel, item, ordered=self._ordered)
        self._items.append(added)
        self._waiting.append(added)
        return added

    def begin(self, many: int) -> tuple[CallItem, range]:
        """Give up to so many of the next records that were not begun: they are now."""
        item = self._waiting[0]
        places = range(item.begun, min(item.begun + many, len(item.values)))
        item.begun = places.stop
        if item.begun == len(item.values):
            self._waiting.popleft()
        self.unbegun -= len(places)
        self.open += len(places)
        return item, places

    def finish(self, item: CallItem, place: int, result: object) -> None:
        """Note what came of a record."""
        item.results[place] = result
        if not item.in_order:
            item.done.append(place)

    # ---- what is emitted

    def next_ready(self) -> tuple[ChannelIndex, Batch | Signal] | None:
        """Give what may be emitted now. Of a batch, `emitted` says afterwards what has become of it."""
        while self._items:
            first = self._items[0]
            if not isinstance(first, CallItem):
                self._items.popleft()
                return first
            ready = self._ready_in_order(first) if first.in_order else self._ready_out_of_order()
            if ready is None:
                return None
            item, places = ready
            batch = self._batch(item, places)
            if batch.values:
                return item.channel, batch
            self.emitted(0)
            if item.is_whole and item.watermark is not None:
                return item.channel, Watermark(item.watermark)
        return None

    def _ready_in_order(self, item: CallItem) -> tuple[CallItem, Sequence[int]] | None:
        results, start = item.results, item.emitted
        stop = min(item.begun, start + EMIT_MAX)
        end = start
        while end < stop and results[end] is not PENDING:
            end += 1
        return (item, range(start, end)) if end > start else None

    def _ready_out_of_order(self) -> tuple[CallItem, Sequence[int]] | None:
        for item in self._items:
            if not isinstance(item, CallItem) or item.in_order:
                return None
            if item.done:
                return item, item.done[:EMIT_MAX]
            if item.is_fence:
                return None
        return None

    def _batch(self, item: CallItem, places: Sequence[int]) -> Batch:
        values, timestamps, counts = self._given(item, places)
        last = item.emitted + len(places) == len(item.values)
        marks = item.marks
        watermark = item.watermark if last else None
        if marks is not None:  # then in order
            of_each = [marks[place] for place in places]
            watermark = item.watermark if last else marks[places[-1] + 1]
            marks = [mark for mark, many in zip(of_each, counts, strict=True) for _ in range(many)]
        self._offered = item, places, counts
        return Batch(values, timestamps, None, item.origin, marks or None, watermark)

    def _given(self, item: CallItem, places: Sequence[int]) -> tuple[list[object], list[int] | None, list[int]]:
        """Give the results of some records, their times, and how many of each there are."""
        results, stamps = item.results, item.timestamps
        given = [results[place] for place in places]
        match self._kind:
            case "filter":
                values: list[object] = []
                counts = []
                for place, result in zip(places, given, strict=True):
                    keep = result if isinstance(result, Aside) else item.values[place]
                    counts.append(1 if result else 0)
                    if result:
                        values.append(keep)
            case "flat_map":
                values = []
                counts = []
                for result in given:
                    several = result if isinstance(result, list) else [result]
                    counts.append(len(several))
                    values += several
            case _:
                values, counts = given, [1] * len(given)
        if stamps is None:
            return values, None, counts
        return values, [stamps[place] for place, many in zip(places, counts, strict=True) for _ in range(many)], counts

    def emitted(self, left: int) -> None:
        """Say that what was offered last was emitted, but for `left` results at its end: these are offered again."""
        if self._offered is None:
            return
        item, places, counts = self._offered
        self._offered = None
        kept = len(places)
        while left:
            kept -= 1
            many = counts[kept]
            if many > left:  # of a record with several results some are out
                several = item.results[places[kept]]
                item.results[places[kept]] = several[-left:] if isinstance(several, list) else several
                break
            left -= many
        if item.twins:
            for place in places[:kept]:
                if place in item.twins:
                    self.let_go(*item.twins.pop(place))
        item.emitted += kept
        self.open -= kept
        if not item.in_order:
            for place in places[:kept]:
                item.results[place] = EMITTED
                item.values[place] = None
            del item.done[:kept]
        if item.is_whole:
            self._items.remove(item)

    # ---- what a checkpoint holds

    def in_flight(self, *, with_results: bool = True) -> Iterator[tuple[ChannelIndex, Carried]]:
        """Give all that was taken and not emitted, of each channel in order."""
        for item in self._items:
            if isinstance(item, CallItem):
                yield item.channel, item.in_flight(with_results=with_results)
            elif not isinstance(item[1], Ended):
                yield item[0], item[1]
