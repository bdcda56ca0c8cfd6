"""Savepoints, rescales, upgrades, moves, forks, zombies, on seeds: whatever people do, nothing is lost or doubled."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.budget import SECONDS, seeds
from tests.simulation.evolution import run_evolution
from tests.simulation.evolution_plans import draw_evolution
from tests.simulation.jobs import JOBS

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(180 + SECONDS)]


@pytest.mark.parametrize("job", JOBS)
def test_savepoints_are_whole_and_output_is_exactly_once_whatever_people_do(job: str) -> None:
    """T111 and its neighbours: crash, rescale, savepoint, failed checkpoint, move, fork and zombie, all together."""
    ends: Counter[str] = Counter()
    for seed in seeds(5, "evolution", among=len(JOBS)):
        story = run_evolution(draw_evolution(seed, job=job))
        ends += story.ends
        ends["crashed"] += sum(outcome.crash is not None for outcome in story.outcomes)
        ends["cuts"] += story.cuts
    assert min(ends["finished"], ends["stopped"], ends["crashed"], ends["savepoint"]) > 0, "the plans must reach these"
    assert ends["refused"] + ends["fenced"] > 0, "some of two instances must lose"
    assert ends["cuts"] > ends["finished"]


def test_one_seed_is_one_evolution() -> None:
    """A failure must be repeated from its seed alone, with two processes at once too."""
    for seed in range(4):
        first, second = (run_evolution(draw_evolution(seed)) for _ in range(2))
        assert [end.digest for end in first.outcomes] == [end.digest for end in second.outcomes]
