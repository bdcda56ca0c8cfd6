"""Event time on seeds: whatever ends a process, output and what is late are those of an undisturbed run."""

from __future__ import annotations

from collections import Counter

import pytest

from actorstream.testing.session import Session
from tests.simulation.budget import SECONDS, seeds, stride
from tests.simulation.running import Plan
from tests.simulation.time_jobs import TIME_JOBS
from tests.simulation.time_running import draw_time, moved, run_time_plan, undisturbed

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(120 + SECONDS)]


@pytest.mark.parametrize("job", TIME_JOBS)
def test_output_and_lateness_are_those_of_an_undisturbed_run(job: str) -> None:
    """T47: what was late stays late, what has fired does not fire again, no clock goes back; 1 to 4 subtasks.

    T33: also where the job is rescaled while it runs. Where lateness is chance, each record is in one result or late.
    """
    ends: Counter[str] = Counter()
    for seed in seeds(5, "event time", among=len(TIME_JOBS)):
        story = run_time_plan(moved(draw_time(seed, job=job)))
        ends.update(str(outcome.result or "crashed") for outcome in story.outcomes)
    assert min(ends["finished"], ends["crashed"], ends["stopped"]) > 0, "the plans must reach all ends"


@pytest.mark.parametrize(
    ("job", "seed"),
    [("records", 11), ("records", 21), ("records", 55), ("timers", 56), ("join", 61), ("join", 125), ("sliding", 245)],
)
def test_what_was_once_wrong_stays_right(job: str, seed: int) -> None:
    """A clock that went back in a batch; after a rescale, a channel that was behind, and windows that knew no time.

    A subtask without a split that was waited for until it said so; a timer's key taken for that of the next record.
    """
    run_time_plan(draw_time(seed, job=job))


def test_one_job_recovers_from_a_crash_at_any_step() -> None:
    """Windows behind windows, fired a few results at a time, and a crash between any two steps of the loop."""
    plan = Plan(5, job="sliding", events=20, sessions=(Session(2, power=True),), interval=0.03)
    (outcome,) = run_time_plan(plan).outcomes
    for step in range(1, outcome.steps, stride(97)):
        sessions = (Session(2, crash_step=step, power=step % 2 == 0), Session(3, power=True))
        assert run_time_plan(Plan(5, job="sliding", events=20, sessions=sessions, interval=0.03)).outcomes[0].crash


def test_the_jobs_reach_what_matters() -> None:
    """Where nothing was late and no window had several results, little would be proved."""
    for job in ("tumbling", "records", "punctuated"):
        assert any(any(by_key["late"].values()) for by_key in (undisturbed(job, 60, variant) for variant in range(4)))
    results = undisturbed("timers", 60, 0)["out"]
    assert {each.event.source.split()[0] for row in results.values() for each in row} == {"at", "again", "clock"}
