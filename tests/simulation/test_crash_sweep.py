"""One schedule, and a crash at each of its places."""

from __future__ import annotations

import errno
from collections import Counter

import pytest

from actorstream.errors import JobFailed, StoreError
from actorstream.testing.session import Session
from tests.simulation.budget import SECONDS, stride
from tests.simulation.running import Plan, run_plan

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(120 + 4 * SECONDS)]


def plan_of(*sessions: Session) -> Plan:
    """Two sinks, two subtasks each, and large values."""
    return Plan(5, job="two-sinks", events=30, sessions=sessions, retained=2, early_freezes=0.01)


@pytest.fixture(scope="module")
def length() -> tuple[int, int]:
    """How many steps and disk operations the schedule has."""
    (outcome,) = run_plan(plan_of(Session(2))).outcomes
    return outcome.steps, outcome.disk_operations


@pytest.mark.parametrize("power", [False, True])
def test_a_job_recovers_from_a_crash_at_any_step(length: tuple[int, int], power: bool) -> None:
    """Between any two steps of the loop the process may be killed, or the machine may lose its power: by turns."""
    for step in range(1 + power, length[0], stride(47, 2)):
        story = run_plan(plan_of(Session(2, crash_step=step, power=power), Session(2, power=True)))
        assert story.outcomes[0].crash is not None


@pytest.mark.parametrize("power", [False, True])
def test_a_job_recovers_from_a_crash_at_any_change_of_the_disk(length: tuple[int, int], power: bool) -> None:
    """Also in the middle of what a thread does: a write by half, a link without its sync. The two by turns."""
    for operation in range(1 + power, length[1], stride(9, 2)):
        story = run_plan(plan_of(Session(2, crash_operation=operation, power=power), Session(2, power=True)))
        assert story.outcomes[0].crash is not None


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_job_survives_a_fault_at_any_change_of_the_disk(length: tuple[int, int], number: int) -> None:
    """It goes on, restarts, or gives up at its start with an error that says so; the next start goes on from there."""
    ends: Counter[str] = Counter()
    for operation in range(1, length[1], stride(15)):
        session = Session(2, faults={operation: number}, power=True)
        outcome = run_plan(plan_of(session, Session(2, power=True))).outcomes[0]
        assert outcome.error is None or isinstance(outcome.error, JobFailed | StoreError)
        ends[str(outcome.result)] += 1
    assert ends["finished"] > 0 < ends["None"]


@pytest.mark.parametrize("where", ["/layers", "/checkpoints", "/staged", "/segments"])
def test_a_job_goes_on_where_a_part_of_the_disk_fails_again_and_again(where: str) -> None:
    """Checkpoints fail and attempts restart, and what comes of it in the end is exact."""
    for seed in range(3):
        sessions = (Session(2, failing=where), Session(2, failing=where, power=True), Session(3, power=True))
        run_plan(Plan(seed, job="exchanges", events=40, sessions=sessions, timeout=0.1))
