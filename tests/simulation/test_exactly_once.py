"""The real runtime, on seeds: whatever ends a process, state and output are exactly once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from actorstream.testing.session import Session
from tests.simulation.budget import SECONDS, seeds
from tests.simulation.jobs import JOBS
from tests.simulation.running import Plan, draw, run_plan

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(120 + SECONDS)]


@pytest.mark.parametrize("job", JOBS)
def test_state_and_output_are_exactly_once_whatever_ends_the_process(job: str) -> None:
    """A seed draws schedule, crashes, power cuts, disk faults, stops, parallelism; the oracles look at each end."""
    ends: Counter[str] = Counter()
    cuts = 0
    for seed in seeds(6, "jobs", among=len(JOBS)):
        story = run_plan(draw(seed, job=job))
        ends.update(str(outcome.result or "crashed") for outcome in story.outcomes)
        cuts += story.cuts
    assert min(ends["finished"], ends["crashed"], ends["stopped"]) > 0, "the plans must reach all ends"
    assert cuts >= ends.total() // 2, "there must be checkpoints to look at, more than now and then"


def test_one_seed_is_one_run() -> None:
    """A failure must be repeated from its seed alone: the order of all steps is the same the second time."""
    for seed in range(4):
        first, second = run_plan(draw(seed)), run_plan(draw(seed))
        assert [end.digest for end in first.outcomes] == [end.digest for end in second.outcomes]


@pytest.mark.parametrize("policy", ["random", "pct"])
def test_output_does_not_depend_on_parallelism_mailboxes_or_wire(policy: str) -> None:
    """Metamorphic: other lanes, other batches, other subtasks, the same output by key."""
    for parallelism in (1, 2, 3):
        for lane_records, wire in ((1, True), (2_048, False)):
            for job in ("exchanges", "diamond"):
                plan = draw(parallelism, job=job, policy=policy, lane_records=lane_records, wire=wire)
                run_plan(replace(plan, sessions=(Session(parallelism, power=True),)))


def test_a_stopped_job_goes_on_with_another_parallelism() -> None:
    """Stop, resume and rescale without a crash: positions, key groups and tokens find their new owners (T109)."""
    for seed, (before, after) in enumerate([(1, 3), (3, 1), (2, 3), (3, 2)]):
        sessions = (Session(before, stop_after=0.15, power=True), Session(after, power=True))
        for job in ("union", "forgetful", "two-sinks"):
            story = run_plan(Plan(seed, job=job, events=60, sessions=sessions))
            assert [outcome.result for outcome in story.outcomes][-1] == "finished"
