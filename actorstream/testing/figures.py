"""What a simulation has met, and what it has looked at: the figures that tell whether a green run says anything.

    faults    {"power cut": 31, "raise": 12, ...}     what happened, by kind: counted where it is done, not where drawn
    checks    {"prefix": 2871, "cut": 403, ...}       what each oracle has compared: rows, checkpoints, processes, moves

A fault that was drawn behind the end of its process never happens, and an oracle that has nothing to look at never
fails: both show here as a small number.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actorstream.testing.run import Outcome
    from actorstream.testing.session import Session


@dataclass
class Figures:
    """Of one process, one run, or many.

    Attributes:
        faults: How often each kind of disturbance has happened.
        checks: How much each oracle has looked at.
    """

    faults: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)

    def add(self, other: Figures) -> None:
        """Count those of another one here as well."""
        self.faults += other.faults
        self.checks += other.checks

    def looked(self, checkpoints: int, commits: int) -> None:
        """Count checkpoints that were read back, and commits of targets that know who was replaced."""
        self.checks["readable"] += checkpoints
        self.checks["immutable"] += checkpoints
        self.checks["fenced"] += commits
        self.checks["released"] += self.faults["cancel"]

    def ended(self, outcome: Outcome[str], session: Session) -> None:
        """Count how a process ended."""
        self.checks["progress"] += 1
        if outcome.crash is not None:
            self.faults["crash in a disk change" if "disk operation" in outcome.crash else "crash at a step"] += 1
        elif outcome.result in {"cancelled", "stopped"}:
            self.faults[{"cancelled": "cancel", "stopped": "stop"}[outcome.result]] += 1
        self.faults["power cut"] += session.power
        self.faults["disk error"] += sum(at <= outcome.disk_operations for at in session.faults)
