"""How far event time has come in the operator that joins all splits of both inputs, from the definition.

One number a channel, looked through from end to end at every step: no tree, no caps, no batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from actorstream.model.times import TIME_MIN
from tests.time.driving import OUT_OF_ORDERNESS, SIDES, Clock, Event, Send, Watermark

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.time.driving import Step


class Arrival(NamedTuple):
    """A record, and the watermark before it."""

    side: int
    event: Event
    watermark: int


class Told(NamedTuple):
    """The watermark as it is now; no record moved it, or none follows at once."""

    watermark: int


class Passed(NamedTuple):
    """So many units pass by the clock."""

    units: int


Move: TypeAlias = "Arrival | Told | Passed"


class _Channels:
    """The watermarks of all channels: the least of those that count never goes back.

    A channel counts from its first sign of life on, while it is not behind what was told already.
    """

    def __init__(self) -> None:
        self.marks: dict[tuple[str, int], int] = {}
        self.told = TIME_MIN

    def move(self, channel: tuple[str, int], watermark: int) -> None:
        self.marks[channel] = max(self.marks.get(channel, TIME_MIN), watermark)
        counting = [mark for mark in self.marks.values() if mark >= self.told]
        self.told = min(counting, default=self.told)


def moves(steps: Sequence[Step], splits: int, sides: Sequence[str] = SIDES) -> Iterator[Move]:
    """Give what happens at the operator, in units of microseconds, for a plan of so many splits a side."""
    channels = _Channels()
    for step in steps:
        match step:
            case Send(side, split, events):
                channel = side, split % splits
                for event in events:
                    channels.move(channel, TIME_MIN)
                    yield Arrival(SIDES.index(side), event, channels.told)
                    channels.move(channel, event.at - OUT_OF_ORDERNESS - 1)
                yield Told(channels.told)
            case Watermark(at):
                for channel in [(side, split) for side in sides for split in range(splits)]:
                    channels.move(channel, at)
                yield Told(channels.told)
            case Clock(units):
                yield Passed(units)
            case _:
                pass
