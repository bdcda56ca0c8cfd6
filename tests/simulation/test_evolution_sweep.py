"""One short plan of each kind, cut at every change of the disk: a savepoint, stop, rescale, fork, move is done or not.

    before ── what is swept, with a crash, a power cut or an error at its n-th change of the disk ── people go on

After the cut the oracles look at every savepoint and checkpoint; then the job finishes, forks too, and its output is
compared. Every n has its turn in `make sweep`; `make test` takes some of them.
"""

from __future__ import annotations

import errno
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from actorstream.testing.session import Session
from tests.simulation.budget import SECONDS, stride
from tests.simulation.evolution import run_evolution
from tests.simulation.evolution_plans import Act, Evolution, Part, Turn
from tests.simulation.running import Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(240 + 4 * SECONDS)]

_STOPPED = Part(acts=(Act(0.08, "stop", "first"),), parallelism=2)
_SAVED = Part(acts=(Act(0.05, "savepoint", "first"), Act(0.12, "stop", "last")), parallelism=2)
_PENDING = Part(acts=(Act(0.05, "savepoint", "first"),), parallelism=2)
PLANS: dict[str, Sequence[Part]] = {
    "savepoint": [Part(acts=(Act(0.05, "savepoint", "first"), Act(0.1, "two savepoints", "more")), parallelism=2)],
    "stop": [Part(acts=(Act(0.05, "stop", "first"), Act(0.2, "stop", "again")), parallelism=2)],
    "drain": [Part(acts=(Act(0.05, "drain", "first"),), parallelism=2)],
    "rescale": [Part(acts=(Act(0.03, "rescale", number=3), Act(0.08, "rescale", number=1)), parallelism=2)],
    "fork": [_SAVED, Part("fork", acts=(Act(0.05, "savepoint", "own"),), pick=0.6)],
    "move": [_STOPPED, Part("move", acts=(Act(0.05, "savepoint", "own"),))],
    "move what is pending": [_PENDING, Part("move", parallelism=1)],
    "go back": [_STOPPED, Part("back", parallelism=3)],
}
EVERY = pytest.param(1, marks=pytest.mark.verify, id="every")


def evolution(parts: Sequence[Part], session: Session) -> Evolution:
    """Let the last part be swept; the others end in good order, or die where they have something pending."""
    plan = Plan(6, job="two-sinks", events=24, interval=None, pause=0.03, retained=1, lane_records=40)
    turns = [Turn(Session(crash_step=350 if part is _PENDING else None), [part]) for part in parts[:-1]]
    turns.append(Turn(session, [parts[-1]], version=len(turns)))
    return Evolution(plan, turns)


def length_of(parts: Sequence[Part]) -> int:
    """Count the changes of the disk in what is swept."""
    return run_evolution(evolution(parts, Session())).outcomes[len(parts) - 1].disk_operations


@pytest.mark.parametrize("step", [pytest.param(0, id="some"), EVERY])
@pytest.mark.parametrize("what", PLANS)
def test_a_crash_at_any_change_of_the_disk_leaves_the_old_or_the_new(what: str, step: int) -> None:
    """Killed, or without power: no savepoint by half, no output lost or doubled, and the job goes on."""
    parts = PLANS[what]
    for power in (False, True):
        for operation in range(1 + power, length_of(parts), step or stride(37, 5)):
            story = run_evolution(evolution(parts, Session(crash_operation=operation, power=power)))
            assert story.outcomes[len(parts) - 1].crash is not None


@pytest.mark.parametrize("step", [pytest.param(0, id="some"), EVERY])
@pytest.mark.parametrize("what", PLANS)
def test_a_fault_at_any_change_of_the_disk_leaves_the_old_or_the_new(what: str, step: int) -> None:
    """A full or bad disk: whoever asked is told, the job reads on or restarts, and what comes of it is exact."""
    parts = PLANS[what]
    ends: Counter[str] = Counter()
    for number, first in ((errno.EIO, 1), (errno.ENOSPC, 5)):
        length = length_of(parts)
        # One near the end, too: by then every job is up, and one that fails tries again.
        for operation in sorted({*range(first, length, step or stride(37, 5)), length - 3}):
            story = run_evolution(evolution(parts, Session(faults={operation: number}, power=True)))
            ends[str(story.outcomes[len(parts) - 1].result)] += 1
    assert set(ends) <= {"finished", "stopped", "failed"}
    assert ends["finished"] + ends["stopped"] > 0
