"""How many records, or results, a chain takes at a time: what the pieces before have cost decides.

16 records in 0.1 ms ─> 64 ─> 256 ─> 512        as long as one takes a quarter of a burst at most
512 in 20 ms         ─> 128                     at most a burst, whatever a record costs
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.operators.step_text import Round
from actorstream.runtime.statistics import SLOW_SECONDS
from actorstream.runtime.step_runner import StepRunner
from actorstream.system.log import log

if TYPE_CHECKING:
    from actorstream.graph.plan import Chain
    from actorstream.runtime.pace import Pace
    from actorstream.runtime.statistics import SubtaskStatistics

SLICE_RECORDS_FIRST = 16
SLICE_RECORDS_MAX = 512
SLICE_RECORDS_SPARSE = 4_096
"""Largest piece where a step hands on few of the records that it takes."""
SLICE_RECORDS_STREAMED = 16_384
"""Largest piece where a step keeps no list: nothing is in flight, so only the burst bounds it."""
FIRED_FIRST = 16
FIRED_MAX = 512
FIRED_STREAMED = 2_048
"""How many results or timers come at once: at first, at most, and at most where a step keeps no list."""


class PieceSizes(StepRunner):
    """The sizes of one chain in one subtask.

    Attributes:
        slice: How many records the next piece may have.
    """

    def __init__(self, chain: Chain, subtask: int, pace: Pace, statistics: SubtaskStatistics) -> None:
        """Start small."""
        super().__init__(chain, subtask, pace, statistics)
        self.slice = SLICE_RECORDS_FIRST
        self._slice_max = SLICE_RECORDS_MAX
        self._round = Round(FIRED_FIRST)
        self._round_max = FIRED_MAX

    def _bound(self) -> None:
        """Keep within what the step allows, which was written anew."""
        self._slice_max = SLICE_RECORDS_STREAMED if self.is_streamed else SLICE_RECORDS_MAX
        self.slice = min(self.slice, self._slice_max)
        self._round_max = FIRED_STREAMED if self.is_streamed else FIRED_MAX
        self._round.limit = min(self._round.limit, self._round_max)

    def _fit(self, records: int, seconds: float, *, fetched: bool) -> None:
        """Choose how many records the next piece may have, from what this one cost.

        Half as many where state was `fetched`: what one piece found in memory, the next may have to read.
        """
        limit = self._pace.share() / (2 if fetched else 1)
        if seconds > limit:
            self.slice = max(1, int(records * limit / seconds))
            self._note_slow(seconds / max(1, records))
        elif records >= self.slice and seconds < limit / 4:
            # What counts is what is in flight behind it, so one that lets little through may take more at a time.
            sparse = min(records * SLICE_RECORDS_MAX // (self._sent + 1), SLICE_RECORDS_SPARSE)
            most = max(self._slice_max, sparse)
            if self.slice < most:
                self.slice = min(most, self.slice * 4)
        self._sent = 0

    def _fit_round(self, seconds: float) -> None:
        """Choose how much the next round may give, from what this one cost: a small one does not speak for large ones.

        Where it gave nothing, what took so long were not results.
        """
        limit, known = self._pace.share(), self._round
        if seconds > limit:
            self._note_slow(seconds / max(1, known.given))
            known.limit = max(1, int(known.given * limit / seconds)) if known.given else known.limit
        elif known.given >= known.limit and seconds < limit / 4:
            known.limit = min(known.limit * 4, self._round_max)

    def _note_slow(self, seconds: float) -> None:
        """Keep in mind that a record, or what was due for a key, took `seconds`, if that is long; log the first one."""
        if seconds < SLOW_SECONDS:
            return
        statistics = self._statistics
        if statistics.slow_at is None:
            log.warning("a function holds the event loop", chain=self.chain.name, seconds=round(seconds, 3))
        statistics.slow_seconds = max(statistics.slow_seconds, seconds)
        statistics.slow_at = self._pace.clock.monotonic()

    def expect_slower(self) -> None:
        """Make the next piece a quarter as long: right after a freeze every key is looked for among the older ones."""
        self.slice = max(1, self.slice // 4)
