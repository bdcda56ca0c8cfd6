"""The job of `rescale`: how often each key has come, with a load that stays steady while the job is rescaled.

    4 splits of numbers ──> key_by ──> map_with_state ──> sink (checks; knows when nothing came out)
    due by the clock                   visits + 1

The load is open: how many records are due says the clock, whether or not the job
reads. What was due during a pause comes right after it. The key of a record is its
number times a stride, modulo the number of keys, as in `state_job`.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Unpack

from actorstream import Fetched, Pipeline, Restart
from benchmarks.state_job import Check, Visit, itself, key_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from actorstream import Run, RunOptions

SPLITS = 4
PIPELINE = "rescale"
_BATCH_RECORDS = 512
_PERIOD_SECONDS = 0.002


def count_visit(visits: int, key: int) -> tuple[int, Visit]:
    """Add one."""
    return visits + 1, (key, visits + 1)


def start(source: Load, put: Callable[[Visit], object], **options: Unpack[RunOptions]) -> Run:
    """Give a run of the job; a failure ends it."""
    pipeline = Pipeline(PIPELINE)
    keys = pipeline.source(source, name="numbers")
    keys.key_by(itself).map_with_state(0, count_visit, name="visits").sink(put, name="check")
    chosen: RunOptions = {"restart": Restart.never(), **options}
    return pipeline.run(**chosen)


class Load:
    """A source that never ends: some records at once, others at a rate.

    Args:
        keys: How many different keys there are.
        read: How many records the store has seen.
    """

    def __init__(self, keys: int, read: int = 0) -> None:
        """Nothing is due yet."""
        self._keys = keys
        self._due = read // SPLITS  # of each split, at `_since`
        self._since = time.monotonic()
        self._rate = 0.0

    def burst(self, records: int) -> None:
        """Let so many records be due at once, the same number of each split."""
        self._due += records // SPLITS

    def steady(self, rate: float) -> None:
        """Let records become due at so many a second, from now on; 0: no more."""
        self._due, self._since = self._due_now(), time.monotonic()
        self._rate = rate / SPLITS

    @property
    def due(self) -> int:
        """How many records are due, those that the store has seen included."""
        return SPLITS * self._due_now()

    async def splits(self) -> Sequence[str]:
        """Name the splits."""
        return [str(split) for split in range(SPLITS)]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, int]]:
        """Yield what is due, and wait for more."""
        at = 0 if after is None else after + 1
        while True:
            end = min(self._due_now(), at + _BATCH_RECORDS)
            if end <= at:
                await asyncio.sleep(_PERIOD_SECONDS)
                continue
            batch = [key_of(SPLITS * place + int(split), self._keys) for place in range(at, end)]
            at = end
            yield Fetched(batch, at - 1)

    def _due_now(self) -> int:
        return self._due + int(self._rate * (time.monotonic() - self._since))


class CheckOn(Check):
    """Expects what comes of a store that has seen so many records."""

    def __init__(self, keys: int, read: int) -> None:
        """Expect every key to have come as often as it has among the first `read` records."""
        super().__init__(keys, visited=read // keys)
        for number in range(read - read % keys, read):
            self._visits[key_of(number, keys)] += 1


class Outputs:
    """The sink: every record is checked; knows the longest time in which none came."""

    def __init__(self, check: Check) -> None:
        """Expect what `check` expects."""
        self._check = check
        self._last = time.monotonic()
        self._longest = 0.0

    def take(self, visit: Visit) -> None:
        """Hear of one result.

        Raises:
            WrongOutputError: One was lost or doubled.
        """
        now = time.monotonic()
        self._longest = max(self._longest, now - self._last)
        self._last = now
        self._check.take(visit)

    def take_longest(self) -> float:
        """Give the longest time, in seconds, without a record since this was asked before; it may still go on."""
        now = time.monotonic()
        longest, self._longest = max(self._longest, now - self._last), 0.0
        self._last = now
        return longest
