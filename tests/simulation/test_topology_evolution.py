"""Random topologies that are upgraded and forked while they run: what comes of them is as if nobody had."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from actorstream.testing.disk import temporary_disk
from actorstream.testing.forks import Forks
from actorstream.testing.placed_pipeline import PlacedPipeline, Surroundings
from actorstream.testing.session import BrokenPromiseError, Session
from actorstream.testing.simulated_process import Watch
from actorstream.testing.simulation_plan import Plan
from tests.simulation.budget import SECONDS, seeds
from tests.simulation.stages import Event, Result
from tests.simulation.topologies import SHAPES, TAILS, Topology, draw_topology
from tests.simulation.topology_running import SimulatedTopology, repeat
from tests.simulation.topology_versions import shown

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(120 + SECONDS)]


def topology_of(number: int) -> Topology:
    """Give one of each shape, and of each tail."""
    shape, tail = list(SHAPES)[number % len(SHAPES)], list(TAILS)[number % len(TAILS)]
    return draw_topology(number, shape=shape, tail=tail, events=40, poison=False)


@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_an_upgrade_changes_what_it_changes_and_nothing_else(number: int) -> None:
    """Operators renamed, added and dropped, a function and a schema changed: by savepoint, and from a checkpoint."""
    running = SimulatedTopology(topology_of(number))
    rows = len(running.topology.expected().by_sink["out"])
    stopped = Session(2, stop_after=0.1, keeps=True)
    for before in (stopped, *(Session(2, crash_step=step, power=True) for step in range(200, 1_400, 100))):
        sessions = (before, Session(3, version=1, crash_step=300), Session(1, version=2, power=True))
        story = running.run(Plan(number, sessions=sessions, interval=0.03, pause=0.1, mailbox=2))
        assert story.figures.faults["begun from a savepoint"] == before.keeps
        if before.crash_step and 0 < running.marked < rows:
            return
    raise AssertionError("some results must be of the old program, some of the new")


@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_a_fork_gives_what_its_origin_gives_from_there_and_the_origin_does_not_notice(number: int) -> None:
    """Both go on; the fork by another version, and through a crash."""
    running = SimulatedTopology(topology_of(number))
    forks = (Session(3, fork="f", version=1, crash_step=300, power=True), Session(1, fork="f", version=1))
    for step in range(700, 2_400, 400):  # one of these comes behind a savepoint, and before the end
        saved = Session(2, savepoints=(0.002,), crash_step=step)
        sessions = (saved, forks[0], Session(1, power=True), forks[1])
        figures = running.run(Plan(number, sessions=sessions, interval=0.03, pause=0.1)).figures
        if figures.faults["fork"] and figures.checks["fork"] and figures.faults["crash at a step"]:
            return
    raise AssertionError("no fork was made of an origin that went on")


def test_a_fork_from_a_savepoint_behind_the_last_record() -> None:
    """All windows have fired by then: the oracle had expected them once more (seed 40000005)."""
    topology = Topology(seed=40000005, shape="chain", tail="window", events=3, wide=0, poison=False)
    repeat(topology, "40000005 policy='fifo' | savepoints=(0.0419,) | fork='f'")


def test_seeds_draw_upgrades_and_forks() -> None:
    """And leave most plans as they are."""
    seen: Counter[str] = Counter()
    running = SimulatedTopology(topology_of(0))
    for seed in range(200):
        plan = running.draw(seed)
        seen["upgrade"] += any(session.version for session in plan.sessions)
        seen["by savepoint"] += any(session.keeps for session in plan.sessions)
        seen["fork"] += any(session.fork for session in plan.sessions)
        assert not plan.sessions[-1].may_give_up
    assert min(seen.values()) > 20
    assert max(seen.values()) < 100


def test_a_fork_that_begins_late_is_not_older_than_what_it_begins_from() -> None:
    """Its origin may die before it has a savepoint; then the first is that of a stop, by a later version (seed 60)."""
    running = SimulatedTopology(Topology(seed=60, shape="loop", tail="none", events=25, wide=4, poison=False))
    late: list[Plan] = []
    for seed in range(400):
        plan, saved, crashed = running.draw(seed), 0, False
        for session in plan.sessions:
            assert not session.fork or session.version >= saved, f"seed {seed}"
            if session.keeps or session.savepoints:
                saved = session.version
            crashed |= bool(session.savepoints and session.crash_step)
            if session.fork and session.version and crashed:
                late.append(plan)
    assert any(running.run(plan).figures.faults["fork"] for plan in late)


def test_what_was_sent_behind_a_barrier_is_not_recorded_as_before_an_end() -> None:
    """Both were put while a snapshot was taken; the record was in flight and behind the positions (seed 2092)."""
    topology = Topology(seed=2092, shape="broadcast", tail="none", events=25, wide=0, poison=False)
    repeat(
        topology,
        "2092 policy='pct' mailbox=2 wire=True interval=0.2 retained=1 early_freezes=0.02 pause=0.032 in_memory=True "
        "alignment=0.01 | parallelism=2 crash_operation=127 disconnects=(8,12) | parallelism=2 crash_step=83 "
        "power=True zombie=0.2404 | parallelism=2 crash_operation=26 power=True lost=(1,4) | "
        "parallelism=2 power=True version=1",
    )


def test_upgrades_and_forks_on_seeds() -> None:
    """With all that else happens to a topology."""
    happened: Counter[str] = Counter()
    for seed in seeds(10, "upgrades and forks"):
        running = SimulatedTopology(draw_topology(seed))
        plan = next(plan for more in range(1000) if (plan := _evolved(running, seed + 10_000 * more)))
        happened += running.run(plan).figures.faults
    assert happened["begun from a savepoint"] + happened["fork"] > 0


def _evolved(running: SimulatedTopology, seed: int) -> Plan | None:
    plan = running.draw(seed)
    return plan if any(session.version or session.fork for session in plan.sessions) else None


# ---- the oracles can fail


def test_what_the_old_program_has_made_does_not_come_after_what_the_new_one_has() -> None:
    row = Result("k", Event("a", "k", 1, 5), 1, 5)
    new, other = replace(row, total=1_000_005), replace(row, key="l")
    assert shown({"out": [[row, new, other]], "late": [[row]]}) == {"out": [[row, row, other]], "late": [[row]]}
    with pytest.raises(BrokenPromiseError, match=r"prefix: .*of version 0 comes after one of 1"):
        shown({"out": [[new, row]]})


def test_a_change_of_the_origin_is_found() -> None:
    """Whatever it is: a log that grows, a checkpoint that goes."""
    with temporary_disk() as disk:
        forks = Forks(disk, Surroundings(disk.root), PlacedPipeline(draw_topology(0, poison=False).make), Watch())
        files = disk.attach()
        files.make_dirs(f"{disk.root}/store/random")
        files.append(f"{disk.root}/store/random/JOB", b"a")
        forks.before()
        files.append(f"{disk.root}/store/random/JOB", b"b")
        with pytest.raises(BrokenPromiseError, match="fork: /store/random/JOB of the origin was changed"):
            forks.after()
        forks.before()
        files.make_dirs(f"{disk.root}/store/random@f")
        files.append(f"{disk.root}/store/random@f/JOB", b"a")
        forks.after()
        disk.kill()


def test_a_fork_that_does_not_finish_is_found() -> None:
    running = SimulatedTopology(topology_of(0))
    saved, fork = Session(1, savepoints=(0.0,)), Session(1, fork="f", crash_step=60)
    with pytest.raises(BrokenPromiseError, match="progress: the fork 'f' has not finished"):
        running.run(Plan(0, sessions=(saved, fork), pause=0.04))
