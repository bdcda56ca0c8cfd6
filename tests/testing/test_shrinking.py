"""A failing plan becomes the smallest that still fails, the same one each time, and within its bounds."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from actorstream.testing.session import Session
from actorstream.testing.shrinking import RUNS_MAX, shrink
from actorstream.testing.simulation_plan import Length, Plan, draw

LENGTH = Length(300, 100, 1.0, 64)


def power_is_lost(plan: Plan) -> bool:
    return any(session.power for session in plan.sessions[:-1])


def with_five_records(plan: Plan) -> bool:
    return power_is_lost(plan) and (plan.records is None or plan.records >= 5)


def never_enough() -> bool:
    return False


def plans() -> list[Plan]:
    drawn = [draw(seed, LENGTH, crashes=3, parallelism=4) for seed in range(60)]
    return [plan for plan in drawn if power_is_lost(plan)]


@pytest.mark.parametrize("plan", plans(), ids=lambda plan: str(plan.seed))
def test_what_does_not_matter_goes(plan: Plan) -> None:
    small = shrink(plan, with_five_records, records=64, enough=never_enough)
    assert len(small.sessions) == 2
    assert small.records is not None
    assert 5 <= small.records <= 8
    first, last = small.sessions
    assert replace(first, crash_step=None, crash_operation=None, cancel_step=None, stop_after=None) == Session(
        power=True
    )
    assert last == Session()
    assert (small.policy, small.mailbox, small.wire, small.early_freezes) == ("fifo", 0, False, 0.0)


def test_the_same_plan_is_shrunk_to_the_same_one() -> None:
    for plan in plans()[:5]:
        first, again = (shrink(plan, with_five_records, records=64, enough=never_enough) for _ in range(2))
        assert first == again


def test_records_stay_where_a_part_of_them_could_not_be_judged() -> None:
    assert all(shrink(plan, power_is_lost, enough=never_enough).records is None for plan in plans()[:5])


def test_it_stops_when_it_is_told_and_when_it_has_tried_often_enough() -> None:
    """A plan whose failure hangs on everything must not be tried for ever."""
    tried: list[Plan] = []
    rng = random.Random(1)

    def sometimes(plan: Plan) -> bool:
        tried.append(plan)
        return rng.random() < 0.05

    plan = plans()[0]
    assert shrink(plan, sometimes, enough=lambda: True) == plan
    assert tried == []
    shrink(plan, sometimes, records=10_000, enough=never_enough)
    assert 0 < len(tried) <= RUNS_MAX
