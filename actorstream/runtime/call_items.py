"""What an actor with an async function has taken and not emitted: items of its channels, in the order they were taken.

    channel 0: a b c d | watermark 9 | channel 1: x y          items
       given:  A . C .                             X .         results, `.` is still awaited
    emitted ──^ ^──────────── in flight: what a checkpoint holds, as if it were still in the channels

Where results are emitted in order, that is A now, and B, C when b is there. Unordered, A and C; x and y wait for what
is before the watermark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from actorstream.model.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.model.ids import ChannelIndex

PENDING: Final = object()
"""Stands where a result will be."""
EMITTED: Final = object()
"""Stands where a result was, of records that are emitted out of order."""
MERGE_MAX: Final = 512
"""Small batches are put together until an item has so many records."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A record in flight, as a checkpoint holds it, of which more is known than the record.

    `twin` tells it from equal records in flight, -1: nobody has asked; `results` is what came of it and was not
    emitted, None: nothing yet. Class and fields are in checkpoints: they stay as they are.
    """

    value: object
    twin: int = -1
    results: list[object] | None = None


class CallItem:
    """The records of a batch, and what came of each.

    Attributes:
        channel: Where they came from.
        values: The records.
        timestamps: Their event times, or None.
        marks: The watermark before each, or None.
        watermark: That behind the last, or None.
        origin: Where they were read.
        results: What came of each: one value, or a list where there may be any number.
        twins: By place, a record's digest and which of the equal ones in flight it is, where that was asked.
        begun: How many were begun, from the first on.
        emitted: How many were emitted: the first so many where they are emitted in order.
        done: The places of what may be emitted out of order.
        in_order: Whether records are emitted in their order.
    """

    __slots__ = (
        "begun",
        "channel",
        "done",
        "emitted",
        "in_order",
        "keys",
        "marks",
        "origin",
        "results",
        "timestamps",
        "twins",
        "values",
        "watermark",
    )

    def __init__(self, channel: ChannelIndex, batch: Batch, *, ordered: bool) -> None:
        """Take the records of a batch; between two marks nothing is out of order."""
        self.channel = channel
        self.values = list(batch.values)
        self.timestamps = None if batch.timestamps is None else list(batch.timestamps)
        self.keys = batch.keys
        self.marks = batch.marks
        self.watermark = batch.watermark
        self.origin = batch.origin
        self.in_order = ordered or batch.marks is not None
        self.results: list[object] = [PENDING] * len(batch.values)
        self.twins: dict[int, tuple[str, int]] = {}
        self.begun = 0
        self.emitted = 0
        self.done: list[int] = []

    def takes(self, channel: ChannelIndex, batch: Batch) -> bool:
        """Tell whether a batch may be put behind these records, as if it had come with them."""
        return (
            channel == self.channel
            and self.watermark is None
            and self.marks is None
            and batch.marks is None
            and batch.watermark is None
            and self.keys is None
            and batch.keys is None
            and (self.timestamps is None) == (batch.timestamps is None)
            and len(self.values) + len(batch.values) <= MERGE_MAX
        )

    def extend(self, batch: Batch) -> None:
        """Put a batch behind these records."""
        self.values += batch.values
        if self.timestamps is not None and batch.timestamps is not None:
            self.timestamps += batch.timestamps
        self.results += [PENDING] * len(batch.values)
        self.origin = batch.origin

    @property
    def is_whole(self) -> bool:
        """Tell whether every record was emitted."""
        return self.emitted == len(self.values)

    @property
    def is_fence(self) -> bool:
        """Tell whether what is behind this must not be emitted before it."""
        return self.watermark is not None or self.marks is not None

    def in_flight(self, *, with_results: bool = True) -> Batch:
        """Give what was not emitted, as a batch of its channel that a checkpoint can hold."""
        if self.in_order:
            places: Sequence[int] = range(self.emitted, len(self.values))
        else:
            places = [place for place, result in enumerate(self.results) if result is not EMITTED]
        return Batch(
            [self._kept(place, with_results=with_results) for place in places],
            None if self.timestamps is None else [self.timestamps[place] for place in places],
            None if self.keys is None else [self.keys[place] for place in places],
            self.origin,
            None if self.marks is None else [self.marks[place] for place in places],
            self.watermark,
        )

    def _kept(self, place: int, *, with_results: bool) -> object:
        value, result = self.values[place], self.results[place]
        _, twin = self.twins.get(place, ("", -1))
        if result is PENDING or not with_results:
            return value if twin < 0 else Kept(value, twin)
        return Kept(value, twin, [result])
