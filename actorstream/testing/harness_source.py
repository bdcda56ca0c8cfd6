"""Sources that a test feeds: each split a log in memory, which outlives the attempts that read it.

    journal   step 1        step 2     step 3
    split 0   a b           ──watermark──            released = 3 entries: what a reader may give
    split 1          c      ──watermark──   d

A position is an index in its split's log, so a new attempt goes on right after what its checkpoint holds. Then the
journal is released again, one step at a time, as it was sent: inputs interleave as they did before the crash.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from actorstream.model.connect import Fetched
from actorstream.runtime.mailbox import Wakeup
from actorstream.runtime.messages import SplitWatermark

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence


class Sent(NamedTuple):
    """One record in a split's log; `timestamp` in Unix seconds, where the source knows one."""

    value: object
    timestamp: float | None


class SentWatermark(NamedTuple):
    """A watermark in a split's log."""

    time_us: int


Entry: TypeAlias = Sent | SentWatermark
Read: TypeAlias = "Fetched[int | None, object] | SplitWatermark"


class FedSplit:
    """The log of one split, and how far the running attempt's reader has come."""

    def __init__(self, name: str, batch: int) -> None:
        """Start empty; a reader gives at most `batch` records at once."""
        self.name = name
        self.entries: list[Entry] = []
        self.released = 0
        self.given = 0
        self.ended = False
        self._batch = batch
        self._waiting = False
        self._arrival = Wakeup()

    @property
    def at_rest(self) -> bool:
        """Tell whether a reader has given everything that it may, and waits."""
        return self._waiting and self.given >= self.released

    def add(self, entries: Sequence[Entry]) -> int:
        """Append to the log; give its length. Nothing is read before it is released."""
        self.entries.extend(entries)
        return len(self.entries)

    def release(self, length: int) -> None:
        """Let the reader give the first `length` entries."""
        self.released = max(self.released, length)
        self._arrival.wake()

    def end(self) -> None:
        """Let the reader end."""
        self.ended = True
        self._arrival.wake()

    async def read(self, after: int | None) -> AsyncIterator[Read]:
        """Yield what follows `after`, as far as it is released, until the end.

        A split of which nothing was read yet says so first: no watermark waits for it until something comes.
        """
        self.given = 0 if after is None else after + 1
        if after is None:
            yield Fetched((), None, caught_up=True)
        while True:
            while self.given < self.released:
                yield self._next()
            if self.ended:
                return
            self._waiting = True
            try:
                await self._arrival.wait()
            finally:
                self._waiting = False

    def _next(self) -> Read:
        start = self.given
        first = self.entries[start]
        if isinstance(first, SentWatermark):
            self.given += 1
            return SplitWatermark(first.time_us, start)
        values, timestamps = [first.value], [first.timestamp]
        for entry in self.entries[start + 1 : min(start + self._batch, self.released)]:
            if isinstance(entry, SentWatermark) or (entry.timestamp is None) is not (first.timestamp is None):
                break
            values.append(entry.value)
            timestamps.append(entry.timestamp)
        self.given += len(values)
        known = [seconds for seconds in timestamps if seconds is not None]
        return Fetched(values, self.given - 1, known or None)


class FedSource:
    """Stands in for one source of a pipeline, `given` being what the pipeline was written with."""

    def __init__(self, operator: str, given: object, splits: int, batch: int) -> None:
        """Make `splits` empty splits, "0", "1" and so on."""
        self.operator = operator
        self.given = given
        self.fed = {str(number): FedSplit(str(number), batch) for number in range(splits)}

    async def splits(self) -> Sequence[str]:
        """Name the splits."""
        return list(self.fed)

    def read(self, split: str, after: int | None, /) -> AsyncIterator[Read]:
        """Yield what was sent to `split` after position `after`."""
        return self.fed[split].read(after)


class Journal:
    """What was sent to all sources, in the order in which it was sent."""

    def __init__(self, sources: Sequence[FedSource]) -> None:
        """Start empty."""
        self.sources = sources
        self._steps: list[list[tuple[FedSplit, int]]] = []

    @property
    def splits(self) -> Iterator[FedSplit]:
        """Give every split of every source."""
        return chain.from_iterable(source.fed.values() for source in self.sources)

    def send(self, what: Sequence[tuple[FedSplit, Sequence[Entry]]]) -> None:
        """Append entries to splits, all in one step, and let them be read."""
        step = [(split, split.add(entries)) for split, entries in what]
        self._steps.append(step)
        _release(step)

    def rewind(self) -> None:
        """Hold everything back: the next attempt's readers give nothing before `replay`."""
        for split in self.splits:
            split.released = 0

    def replay(self) -> Iterator[None]:
        """Release again, step by step, what the readers have not given; yields after each."""
        for step in self._steps:
            due = any(split.given < length for split, length in step)
            _release(step)
            if due:
                yield

    def end(self) -> None:
        """End every split."""
        for split in self.splits:
            split.end()


def _release(step: Sequence[tuple[FedSplit, int]]) -> None:
    for split, length in step:
        split.release(length)
