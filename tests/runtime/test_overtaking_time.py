"""What barriers overtook is no later than it was, wherever it is worked on after a restore."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.operators.windows.assigners import Tumbling
from actorstream.testing.disk import temporary_disk
from tests.runtime.doubles import Splits
from tests.runtime.test_overtaking import KEYS, Setting, under_pressure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.api.job import Job

WIDTH = 50


@dataclass
class Windows(Setting):
    """Windows of a source of `senders` subtasks, all of which is on its way when the source has become idle."""

    lane_items: int = 100_000
    records: int = 1_000
    senders: int | None = 1
    ended: bool = False

    def pipeline(self) -> Pipeline:
        made = Pipeline("t", max_parallelism=16)
        rows = {str(split): list(range(split, self.records, self.splits)) for split in range(self.splits)}
        # Idle soon in the first process, which is left alone with what it has; never in those that come to the end.
        idle = None if self.ended else 0.1
        alike: Any = {} if self.senders is None else {"parallelism": self.senders}
        source = made.source(Splits(rows, ended=self.ended), name="in", **alike)
        timed = source.assign_timestamps(float, out_of_orderness=1.0, idle_timeout=idle, name="times", **alike)
        windows = timed.key_by(lambda value: value % KEYS).window(Tumbling(WIDTH)).apply(sorted, name="windows")
        windows.map(lambda result: list(result.value), name="values").sink(self.target, name="out")
        return made

    def check(self) -> None:
        """Compare what was committed: each window once, and whole."""
        rows: Sequence[list[int]] = self.target.committed
        assert sorted(value for row in rows for value in row) == list(range(self.records))
        assert set(Counter((row[0] % KEYS, row[0] // WIDTH) for row in rows).values()) == {1}


@pytest.mark.parametrize("senders", [1, 2, None])
@pytest.mark.parametrize(("before", "after"), [(2, 2), (2, 3), (3, 2), (2, 1)])
@pytest.mark.parametrize("again", [False, True])
def test_what_was_overtaken_is_not_late_where_its_senders_had_told_more_t121(
    senders: int | None, before: int, after: int, again: bool
) -> None:
    """T121: the senders are as they were, and idle: what they had told comes behind what is on its way.

    `again`: a checkpoint is taken at once, and another process goes on from that.
    """

    async def at_once(job: Job) -> None:
        await job.checkpoint()

    with temporary_disk() as disk:
        setting = Windows(disk, senders=senders)
        setting.target.seconds = 0.2
        setting.process(under_pressure, parallelism=before)
        assert sum(entry.records for entry in setting.manifest().in_flight) > 500
        setting.ended = True
        if again:
            setting.process(at_once, parallelism=after)
        setting.target.seconds = 0.0
        setting.process(lambda job: job.wait(), parallelism=after)
        setting.check()


@pytest.mark.parametrize("timeout", [0.0, None])
@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 3), (2, 1)])
def test_who_is_idle_is_told_anew_at_another_parallelism(before: int, after: int, timeout: float | None) -> None:
    """Nobody behind a source of another parallelism knows that it is idle: windows would wait for it for ever."""

    class Beside(Windows):
        allowed = 100

        def pipeline(self) -> Pipeline:
            made = Pipeline("t", max_parallelism=16)
            quiet = made.source(Splits({"0": [0], "1": [1]}, ended=False), name="quiet")
            rows = {str(split): list(range(split, self.records, 2)) for split in range(2)}
            busy = made.source(Splits(rows, ended=False, allowed=self.allowed), name="busy")
            first, second = (
                each.assign_timestamps(float, out_of_orderness=1.0, idle_timeout=0.1, name=f"{name}-times")
                for name, each in (("quiet", quiet), ("busy", busy))
            )
            both = first.union(second).rebalance().map(lambda value: value, name="middle")
            windows = both.key_by(lambda value: value % KEYS).window(Tumbling(WIDTH)).apply(sorted, name="windows")
            windows.map(lambda result: list(result.value), name="values").sink(self.target, name="out")
            return made

    async def for_a_while(job: Job) -> None:
        await anyio.sleep(2)
        await job.checkpoint()

    with temporary_disk() as disk:
        setting = Beside(disk)
        setting.target.seconds = 0.0
        setting.process(for_a_while, parallelism=before, timeout=timeout)
        assert {row[0] // WIDTH for row in setting.target.committed} == {0, 1, 2}
        setting.allowed = 400
        setting.process(for_a_while, parallelism=after, timeout=timeout)
        assert {row[0] // WIDTH for row in setting.target.committed} >= set(range(14))
