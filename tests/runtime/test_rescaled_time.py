"""Floors by key group, from the reports of subtasks to those who take their key groups over."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.graph.chaining import plan_graph
from actorstream.model.key_groups import KeyGroupRange, owner_of, range_of
from actorstream.model.times import TIME_MIN
from actorstream.operators.floors import Floor
from actorstream.operators.windows.assigners import Tumbling
from actorstream.runtime.event_time import AT_FIRST
from actorstream.runtime.messages import SnapshotReport
from actorstream.runtime.rescaled_time import floors_of, floors_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.checkpoints.manifest import FloorRun
    from actorstream.graph.plan import Chain

GROUPS = 128


def chain_of(parallelism: int, *, rolling: bool = False) -> Chain:
    pipeline = Pipeline("t", max_parallelism=GROUPS)
    keyed = pipeline.source([1], name="in").assign_timestamps(lambda v: v).key_by(lambda v: v)
    if rolling:
        keyed.count(name="operator")
    else:
        keyed.window(Tumbling(5)).count(name="operator")
    plan = plan_graph(pipeline.draft.graph(), parallelism=parallelism, has_store=True)
    return next(chain for chain in plan.chains if chain.stateful is not None)


def written(watermarks: Sequence[int], *floors: Sequence[Floor], rolling: bool = False) -> list[FloorRun]:
    chain = chain_of(len(watermarks), rolling=rolling)
    reports = {
        subtask: SnapshotReport(
            time=AT_FIRST._replace(assigned={"operator": watermark}, floors=(*floors, *[()] * 9)[subtask.subtask])
        )
        for subtask, watermark in zip(chain.subtasks(), watermarks, strict=True)
    }
    return floors_of(chain, reports, GROUPS)


def floor(start: int, end: int, watermark: int) -> Floor:
    return Floor(KeyGroupRange(start, end), watermark)


def test_nothing_is_written_where_all_have_come_equally_far() -> None:
    assert written([40, 40, 40]) == []
    assert written([TIME_MIN]) == []


def test_what_is_beyond_the_least_is_written_and_neighbours_are_one_run() -> None:
    assert written([40, 70]) == [(64, 128, 70)]
    assert written([70, 70, 40, 70]) == [(0, 64, 70), (96, 128, 70)]


def test_floors_that_are_not_passed_yet_are_written_again() -> None:
    """A restart, or a second rescale, before the watermark has come there."""
    assert written([40, 70], (), (floor(64, 80, 90),)) == [(64, 80, 90), (80, 128, 70)]
    assert written([40], (floor(5, 9, 41), floor(9, 12, 50))) == [(5, 9, 41), (9, 12, 50)]
    assert written([40, 70], (floor(60, 64, 70),)) == [(60, 128, 70)]


def test_what_never_asks_for_time_has_no_floors() -> None:
    assert written([40, 70], rolling=True) == []


@pytest.mark.parametrize("seed", range(50))
def test_each_key_group_finds_its_own_time_after_any_row_of_rescales_t33(seed: int) -> None:
    """Against a dict: the greater of what its owners had, whoever has it."""
    random = Random(seed)
    model = dict.fromkeys(range(GROUPS), TIME_MIN)
    floors: list[FloorRun] = []
    least = TIME_MIN
    for _ in range(6):
        parallelism = random.choice((1, 2, 3, 7, 64, 128))
        watermarks = [max(least, random.randint(0, 9)) for _ in range(parallelism)]
        for group in model:
            model[group] = max(model[group], watermarks[owner_of(group, parallelism, GROUPS)])
        every = [floor(*run) for run in floors]
        mine = [floors_within(every, range_of(number, parallelism, GROUPS)) for number in range(parallelism)]
        left = [[each for each in own if each.watermark > mark] for own, mark in zip(mine, watermarks, strict=True)]
        chain = chain_of(parallelism)
        reports = {
            subtask: SnapshotReport(time=AT_FIRST._replace(assigned={"operator": mark}, floors=own))
            for subtask, mark, own in zip(chain.subtasks(), watermarks, left, strict=True)
        }
        floors, least = floors_of(chain, reports, GROUPS), min(watermarks)
        found = dict.fromkeys(range(GROUPS), least)
        for start, end, watermark in floors:
            found.update(dict.fromkeys(range(start, end), watermark))
        assert found == model
