"""Random topologies on seeds by the public simulation: whatever happens, cuts, output and answers are right."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from actorstream.testing.session import Session
from actorstream.testing.simulation_plan import Plan
from actorstream.testing.simulation_run import SimulatedPipeline
from tests.simulation.budget import SECONDS, seeds, stride
from tests.simulation.topologies import SHAPES, TAILS, Topology, draw_topology
from tests.simulation.topology_running import SimulatedTopology, repeat

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(180 + SECONDS)]


def test_whatever_happens_to_a_random_topology_its_output_is_that_of_a_sequential_model() -> None:
    """Crash, power cut, disk fault, cancel, killed actor, raising function, lost notice, rescale, savepoint."""
    ends: Counter[str] = Counter()
    answers = checkpoints = 0
    for seed in seeds(16, "topologies"):
        running = SimulatedTopology(draw_topology(seed))
        story = running.run(running.draw(seed))
        ends.update("crashed" if each.crash else each.result or "gave up" for each in story.outcomes)
        answers, checkpoints = answers + running.answers, checkpoints + story.checkpoints
    assert min(ends["finished"], ends["crashed"], ends["stopped"], ends["cancelled"]) > 0, "the plans must reach these"
    assert answers > 100
    assert checkpoints > ends["finished"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tail", TAILS)
def test_the_undisturbed_run_gives_what_the_model_says(shape: str, tail: str) -> None:
    """Two ways to the same numbers: the runtime, and lists in plain Python. Nothing late would prove little."""
    topology = draw_topology(3, shape=shape, tail=tail, events=40, poison=False)
    given = SimulatedPipeline(topology.make).expected()[0].by_sink
    expected = topology.expected().by_sink
    assert {sink: Counter(rows) for sink, rows in given.items()} == {
        sink: Counter(rows) for sink, rows in expected.items()
    }
    if shape == "chain" and tail == "window":
        assert expected["late-out"]


@pytest.fixture(scope="module")
def swept() -> tuple[Topology, int, int]:
    """A join behind a diamond, how many steps it has, and how many calls of what a user writes."""
    topology = draw_topology(5, shape="diamond", tail="join", events=10, wide=0, poison=False)
    story = SimulatedTopology(topology).run(plan_of(Session(2, raises=[100_000])))
    return topology, story.outcomes[0].steps, story.calls


def plan_of(*sessions: Session) -> Plan:
    """One schedule."""
    return Plan(5, sessions=sessions, mailbox=2, interval=0.03, pause=0.01, timeout=0.5)


def test_a_job_may_be_cancelled_at_any_await(swept: tuple[Topology, int, int]) -> None:
    """No task and no lock is left behind, and the next process goes on from the last checkpoint (RELIABILITY 19)."""
    topology, steps, _ = swept
    running = SimulatedTopology(topology)
    ends: Counter[str | None] = Counter()
    for step in range(1, steps, stride(53)):
        story = running.run(plan_of(Session(2, cancel_step=step), Session(3, power=True)))
        ends[story.outcomes[0].result] += 1
    assert ends["cancelled"] > ends["finished"]


@pytest.mark.parametrize("which", [0, 7])
def test_an_actor_may_be_killed_at_any_await(swept: tuple[Topology, int, int], which: int) -> None:
    """Any task of an attempt that ends from outside fails the attempt, and the next one recovers (RELIABILITY 2.4)."""
    topology, steps, _ = swept
    running = SimulatedTopology(topology)
    for step in range(1 + which, steps, stride(67)):
        running.run(plan_of(Session(2, kills=[(step, step + which)]), Session(2, power=True)))


def test_any_call_of_what_a_user_has_written_may_raise(swept: tuple[Topology, int, int]) -> None:
    """Functions, keys, handlers, every call of a sink: the record comes again (RELIABILITY 13)."""
    topology, _, calls = swept
    running = SimulatedTopology(topology)
    assert calls > 100
    for call in range(1, calls, stride(37)):
        running.run(plan_of(Session(2, raises=[call]), Session(2, power=True)))


def test_a_source_may_be_out_of_reach_at_any_reading(swept: tuple[Topology, int, int]) -> None:
    """Also when it is asked for its splits: nothing is skipped, nothing comes twice (RELIABILITY 16)."""
    topology, _, _ = swept
    running = SimulatedTopology(topology)
    for reading in range(1, 20, stride(3)):
        running.run(plan_of(Session(2, disconnects=[reading]), Session(2, power=True)))


def test_any_notice_of_a_checkpoint_may_get_lost(swept: tuple[Topology, int, int]) -> None:
    """The checkpoint fails by its deadline, and what it would have held is in the next one (RELIABILITY 28)."""
    topology, _, _ = swept
    running = SimulatedTopology(topology)
    for notice in range(1, 60, stride(17)):
        running.run(plan_of(Session(2, lost=[notice, notice + 1])))


def test_a_zombie_and_its_successor_give_what_one_of_them_would() -> None:
    """One takes the store over while the other goes on: attempt numbers decide, at the store and at the logs."""
    fenced = 0
    for seed in seeds(8, "topologies with zombies"):
        running = SimulatedTopology(draw_topology(seed, poison=False, tail="join"))
        sessions = (Session(1 + seed % 3, zombie=seed * 0.037 % 0.5), Session(2, power=True))
        story = running.run(replace(running.draw(seed), sessions=sessions))
        fenced += story.outcomes[0].error is None
    assert fenced > 4, "as a rule the successor finishes"


def test_a_failure_is_repeated_by_its_note() -> None:
    """The note has all that it takes."""
    topology = draw_topology(1, shape="chain", tail="none", poison=False)
    running = SimulatedTopology(topology)
    plan = running.draw(7)
    assert [each.digest for each in repeat(topology, str(plan)).outcomes] == [
        each.digest for each in running.run(plan).outcomes
    ]
