"""What a run of random topologies tells: failures made smaller, in one line that repeats them, and figures."""

from __future__ import annotations

import errno
import json
import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from actorstream.runtime.source import SourceSubtask
from actorstream.testing.session import BrokenPromiseError, Session
from actorstream.testing.simulation_plan import Plan, parse
from tests.simulation.__main__ import Report, try_one
from tests.simulation.budget import SECONDS, SHARES, WORKERS
from tests.simulation.topologies import Topology, draw_topology
from tests.simulation.topology_running import SimulatedTopology
from tests.simulation.topology_shrinking import made_smaller, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.runtime.messages import SnapshotReport

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(120 + SECONDS)]


@contextmanager
def one_behind() -> Iterator[None]:
    """A bug: the position in a snapshot is one behind what was emitted."""
    real = SourceSubtask.report

    def report(self: SourceSubtask) -> SnapshotReport:
        found = real(self)
        positions = {
            split: replace(at, position=at.position - 1)
            if isinstance(at.position, int) and at.position > 0 and not at.finished
            else at
            for split, at in found.positions.items()
        }
        return replace(found, positions=positions)

    with patch.object(SourceSubtask, "report", report):
        yield


def first_failure() -> tuple[SimulatedTopology, Plan, BrokenPromiseError]:
    """Give the first topology that shows the bug, one with much that does not matter."""
    for seed in range(40):
        running = SimulatedTopology(draw_topology(seed, shape="broadcast", tail="join", events=40), one_behind)
        plan = running.draw(seed)
        try:
            running.run(plan)
        except BrokenPromiseError as broken:
            if len(plan.sessions) > 2:
                return running, plan, broken
    raise AssertionError("the bug does not show")


def test_a_failure_is_made_smaller_and_its_line_repeats_it() -> None:
    """Nothing of the topology is left that the bug does not need, and little of the plan."""
    running, plan, broken = first_failure()
    topology, small, said = made_smaller(running, plan, broken)
    assert said.oracle == broken.oracle
    assert (topology.tail, topology.poison, topology.wide) == ("none", False, 0)
    assert topology.shape in {"chain", "union"}
    assert topology.events < 40
    assert len(small.sessions) < len(plan.sessions)
    line = told(running, plan, broken)
    call = re.fullmatch(r"(.*)  # again: repeat\(Topology\((.*)\), \"(.*)\"\)", line)
    assert call is not None
    again = Topology(**{name: eval(value) for name, _, value in (each.partition("=") for each in call[2].split(", "))})
    with pytest.raises(BrokenPromiseError) as raised:
        SimulatedTopology(again, one_behind).run(parse(call[3]))
    assert str(raised.value) == call[1]


SESSIONS = {
    "crash at a step": Session(crash_step=90),
    "crash in a disk change": Session(crash_operation=40),
    "power cut": Session(power=True, crash_step=120),
    "cancel": Session(cancel_step=90),
    "stop": Session(stop_after=0.1),
    "killed task": Session(kills=[(90, 3)]),
    "raise": Session(raises=[30]),
    "source out of reach": Session(disconnects=[5]),
    "lost notice": Session(lost=[3]),
    "disk error": Session(faults={30: errno.EIO}),
    "failed checkpoint": Session(failing="/layers"),
    "slow sink": Session(slow=0.03),
    "rescale": Session(rescales=[(0.0, 2)]),
    "savepoint": Session(savepoints=[0.0]),
    "taken over": Session(zombie=0.05),
    "restart": Session(raises=[30]),
}


@pytest.mark.parametrize("fault", SESSIONS)
def test_what_happens_is_counted_where_it_happens(fault: str) -> None:
    """Each kind can be met at all, and shows."""
    running = SimulatedTopology(draw_topology(2, shape="chain", tail="none", events=25, poison=False))
    plans = (Plan(2, sessions=(SESSIONS[fault], Session(2)), interval=0.03, pause=pause) for pause in (0.05, 0.1, 0.2))
    assert any(running.run(plan).figures.faults[fault] for plan in plans)


def test_what_lies_behind_the_end_is_not_counted() -> None:
    """A number is no claim of a plan."""
    behind = Session(kills=[(10**6, 3)], raises=[10**6], disconnects=[10**6], lost=[10**6], faults={10**6: errno.EIO})
    running = SimulatedTopology(draw_topology(2, shape="chain", tail="none", events=25, poison=False))
    assert not +running.run(Plan(2, sessions=(behind,))).figures.faults


def test_the_suites_share_the_time_that_there_is() -> None:
    """So many seconds of SIMULATION_SECONDS are so many on the wall."""
    assert sum(SHARES.values()) == pytest.approx(WORKERS)


def test_the_figures_can_be_read_by_programs() -> None:
    """What docs quote is what a run has printed."""
    report = Report()
    for seed in range(4):
        assert try_one(seed, report) is None
    twice = Report()
    for _ in range(2):
        twice.take(report.encoded())
    people, programs = twice.lines(10, 2)
    figures = json.loads(programs.removeprefix("figures: "))
    assert figures["recoveries_per_hour"] == report.totals["recoveries"] * 720
    assert figures["checks"]["progress"] == figures["processes"] == 2 * report.totals["processes"]
    assert {"prefix", "complete", "kept", "cut", "monotone", "immutable", "readable"} <= set(figures["checks"])
    assert f"{figures['recoveries_per_hour']} crash-recoveries an hour" in people
