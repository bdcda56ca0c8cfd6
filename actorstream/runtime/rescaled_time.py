"""Event time by key group, for those who restore at another parallelism: what a checkpoint writes and gives back.

subtask 0   watermark 40   [0,64)                        nothing: it is the least, which all begin with
subtask 1   watermark 70   [64,128)   floor 90 [64,80)   (64, 80, 90) (80, 128, 70)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.checkpoints.manifest import FloorRun
from actorstream.graph.nodes import ProcessSpec, TimedSpec, is_keyed
from actorstream.model.key_groups import KeyGroupRange, range_of
from actorstream.model.times import TIME_MIN
from actorstream.operators.floors import Floor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actorstream.graph.plan import Chain
    from actorstream.model.ids import SubtaskId
    from actorstream.runtime.event_time import TimeReport
    from actorstream.runtime.messages import SnapshotReport


def floors_of(chain: Chain, reports: Mapping[SubtaskId, SnapshotReport], max_parallelism: int) -> list[FloorRun]:
    """Give how far each key group of the operator with state had come, beyond the least of them.

    Also what is left of floors from before, which a subtask's own watermark has not passed yet.
    """
    if chain.stateful is None or not isinstance(chain.stateful.spec, ProcessSpec | TimedSpec):
        return []
    if not is_keyed(chain.stateful.spec):
        return []
    name = chain.stateful.name
    times = [(subtask, time) for subtask in chain.subtasks() if (time := reports[subtask].time) is not None]
    least = min([time.assigned.get(name, TIME_MIN) for _, time in times], default=TIME_MIN)
    runs: list[FloorRun] = []
    for subtask, time in times:
        groups = range_of(subtask.subtask, chain.parallelism, max_parallelism)
        for run in _of_subtask(groups, time.assigned.get(name, TIME_MIN), time):
            if run.watermark <= least:
                continue
            if runs and runs[-1].end == run.start and runs[-1].watermark == run.watermark:
                run = runs.pop()._replace(end=run.end)  # noqa: PLW2901  (one run of both)
            runs.append(run)
    return runs


def _of_subtask(groups: KeyGroupRange, watermark: int, time: TimeReport) -> Iterator[FloorRun]:
    at = groups.start
    for (start, end), floor in sorted(time.floors):
        if start > at:
            yield FloorRun(at, start, watermark)
        yield FloorRun(start, end, max(floor, watermark))
        at = end
    if at < groups.end:
        yield FloorRun(at, groups.end, watermark)


def floors_within(floors: Sequence[Floor], key_groups: KeyGroupRange) -> list[Floor]:
    """Give the floors of some key groups."""
    cut = ((max(start, key_groups.start), min(end, key_groups.end), watermark) for (start, end), watermark in floors)
    return [Floor(KeyGroupRange(start, end), watermark) for start, end, watermark in cut if start < end]
