"""Runs random topologies for as long as told, on all cores, and says how many crashes were recovered from an hour.

python -m tests.simulation SECONDS [FIRST SEED]

topologies: 5120 seeds in 600 s on 2 cores, 9350 processes died and were recovered from: 56100 crash-recoveries an hour
figures: {"seeds": 5120, "recoveries_per_hour": 56100, "faults": {"power cut": 7011, ...}, "checks": {...}, ...}

The second line is JSON, for whoever quotes it. A failure is made smaller, and is one line that repeats it.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actorstream.testing.figures import Figures
from actorstream.testing.session import BrokenPromiseError
from tests.simulation.topologies import draw_topology
from tests.simulation.topology_running import SimulatedTopology, again
from tests.simulation.topology_shrinking import told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.testing.simulation_run import Story

_WORKER = "SIMULATION_WORKER"


@dataclass
class Report:
    """What the seeds of one worker, or of all, have seen."""

    totals: Counter[str] = field(default_factory=Counter)
    shapes: Counter[str] = field(default_factory=Counter)
    figures: Figures = field(default_factory=Figures)

    def add(self, story: Story) -> None:
        """Count a run that broke no promise."""
        died = [each.crash is not None or each.result == "cancelled" for each in story.outcomes]
        self.totals["recoveries"] += sum(died[:-1])
        self.totals["processes"] += len(story.outcomes)
        self.totals["checkpoints"] += story.checkpoints
        self.figures.add(story.figures)

    def encoded(self) -> str:
        """Write it in one line."""
        parts = {"totals": self.totals, "shapes": self.shapes, "faults": self.figures.faults}
        return json.dumps({**parts, "checks": self.figures.checks})

    def take(self, encoded: str) -> None:
        """Add what a worker has written."""
        said = json.loads(encoded)
        self.totals.update(said["totals"])
        self.shapes.update(said["shapes"])
        self.figures.faults.update(said["faults"])
        self.figures.checks.update(said["checks"])

    def lines(self, seconds: float, cores: int) -> list[str]:
        """Say it to people, and to programs."""
        totals = self.totals
        hourly = round(totals["recoveries"] * 3600 / seconds)
        people = (
            f"topologies: {totals['seeds']} seeds in {seconds:g} s on {cores} cores, "
            f"{totals['checkpoints']} checkpoints read back, "
            f"{totals['recoveries']} processes died and were recovered from: {hourly} crash-recoveries an hour, "
            f"{totals['failures']} failures"
        )
        figures = {
            "seconds": seconds,
            "cores": cores,
            **{name: totals[name] for name in ("seeds", "failures", "processes", "recoveries", "checkpoints")},
            "recoveries_per_hour": hourly,
            "topologies": dict(sorted(self.shapes.items())),
            "faults": dict(sorted((+self.figures.faults).items())),
            "checks": dict(sorted((+self.figures.checks).items())),
        }
        return [people, f"figures: {json.dumps(figures)}"]


def explore(seconds: float, first: int, step: int) -> Report:
    """Run every `step`-th seed from `first` on until the time is over; print what fails."""
    report = Report()
    end = time.monotonic() + seconds
    seed = first
    while time.monotonic() < end:
        topology = draw_topology(seed)
        report.totals["seeds"] += 1
        report.shapes[f"{topology.shape}, {topology.tail}"] += 1
        failure = try_one(seed, report)
        if failure is not None:
            report.totals["failures"] += 1
            print(f"seed {seed}: {failure}", file=sys.stderr, flush=True)  # noqa: T201
        seed += step
    return report


def try_one(seed: int, report: Report) -> str | None:
    """Run one seed; give the line of its failure."""
    running, plan = SimulatedTopology(draw_topology(seed)), None
    try:
        plan = running.draw(seed)
        report.add(running.run(plan))
    except BrokenPromiseError as broken:
        assert plan is not None
        return told(running, plan, broken)
    except Exception as broken:  # noqa: BLE001  (whatever it is, it is a finding, and the next seed is to be seen)
        where = running.topology if plan is None else again(running.topology, plan)
        return f"{type(broken).__name__}: {broken}  # again: {where}"
    return None


def main(arguments: Sequence[str]) -> int:
    """Share the seeds among the cores, and sum up."""
    logging.getLogger("actorstream").disabled = True
    seconds, first = float(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 0
    if os.environ.get(_WORKER):
        print(explore(seconds, first, int(os.environ[_WORKER])).encoded())  # noqa: T201
        return 0
    cores = os.cpu_count() or 1
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.simulation", str(seconds), str(first + number)],
            env={**os.environ, _WORKER: str(cores)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(cores)
    ]
    said = [worker.communicate()[0] for worker in workers]
    if any(worker.returncode for worker in workers):
        return 1
    report = Report()
    for each in said:
        report.take(each)
    print("\n".join(report.lines(seconds, cores)))  # noqa: T201
    return 1 if report.totals["failures"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
