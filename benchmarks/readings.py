"""What was measured: times of one round, and what they say together.

A ratio is (plain loop's time) / (our time): 1 is as fast as the loop, above 1
faster. It is read twice: by the wall clock, which is what a user waits for, and by
the process's CPU time, which sees past other work on a busy machine, though not
past waiting for the disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import NamedTuple


class Seconds(NamedTuple):
    """One timed run. CPU time is that of all threads of the process."""

    wall: float
    cpu: float


class Spread(NamedTuple):
    """What several rounds gave."""

    median: float
    min: float
    max: float


@dataclass(frozen=True, slots=True)
class Round:
    """One run of ours between two of the plain loop."""

    before: Seconds
    ours: Seconds
    after: Seconds
    checkpoints: int


@dataclass(frozen=True, slots=True)
class Reading:
    """All rounds of one workload."""

    workload: str
    goal: float
    events: int
    records_out: int
    rounds: tuple[Round, ...]

    @property
    def wall(self) -> Spread:
        """The ratio by the wall clock."""
        return spread([(each.before.wall + each.after.wall) / 2 / each.ours.wall for each in self.rounds])

    @property
    def cpu(self) -> Spread:
        """The ratio by CPU time."""
        return spread([(each.before.cpu + each.after.cpu) / 2 / each.ours.cpu for each in self.rounds])

    @property
    def noise(self) -> Spread:
        """Plain against plain by CPU time: differences of this size mean nothing."""
        return spread([each.before.cpu / each.after.cpu for each in self.rounds])

    @property
    def plain_seconds(self) -> float:
        """The plain loop's time by the wall clock, median."""
        return median(seconds.wall for each in self.rounds for seconds in (each.before, each.after))

    @property
    def our_seconds(self) -> float:
        """Our time by the wall clock, median."""
        return median(each.ours.wall for each in self.rounds)


def spread(values: list[float]) -> Spread:
    """Give median, least and greatest."""
    return Spread(median(values), min(values), max(values))
