"""Attempts fence each other: of two processes that run one job, only one's output counts."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.budget import SECONDS, seeds
from tests.simulation.zombies import draw_zombie, run_zombie

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(120 + SECONDS)]


def test_of_two_processes_of_one_job_the_newer_one_wins_and_nothing_is_doubled() -> None:
    """T105: the older one reads, publishes and commits until it notices; what it did by then is part of the job."""
    ends: Counter[str] = Counter()
    for seed in seeds(25, "zombies"):
        ends.update(run_zombie(draw_zombie(seed)))
    assert ends["fenced"] > 10, f"most of the older ones must be alive when they are fenced: {ends}"
    assert set(ends) <= {"fenced", "finished"}
