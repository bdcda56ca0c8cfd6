"""A day of running, with restarts: what there is of files, layers and tasks stays as it was in the first hours."""

from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.testing.disk import temporary_disk
from tests.endurance.flat import growth
from tests.endurance.simulated_day import CHECKPOINT_S, HOUR_S, TOGETHER, Day, results
from tests.endurance.visits import STEPS, expected, steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.endurance.simulated_day import Reading

LAYERS_DEEP_MAX = 9  # compaction aims at 8; it begins when one more is there
LAYER_FILES_MAX = 20  # of three manifests, which share most
OTHER_FILES_MAX = 15
ENDS = [
    (3 * HOUR_S + 1_234, "killed"),
    (7 * HOUR_S + 100, "power"),
    (8 * HOUR_S, "stopped"),
    (13 * HOUR_S + 17, "killed"),
    (13 * HOUR_S + 47, "power"),
    (19 * HOUR_S + 3, "killed"),
]


@pytest.fixture
def quiet() -> Iterator[None]:
    """The restarts are meant."""
    logger = logging.getLogger("actorstream")
    logger.disabled = True
    yield
    logger.disabled = False


@pytest.mark.simulation
@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("quiet")
def test_a_day_leaves_no_more_behind_than_its_first_hours() -> None:
    """1,440 checkpoints, six ends of the process and three failures inside; and the output is right."""
    with temporary_disk() as disk:
        day = Day(disk, failing={25, 200, 400})
        day.run(ENDS)
        found = list(results(day))

    assert day.restarts == 3
    assert not day.failing
    assert day.checkpoints >= 0.95 * 24 * HOUR_S / CHECKPOINT_S, "the day was not spent on restarting"
    wanted = [step.visit for step in islice(steps(TOGETHER), day.events) if step.number == STEPS - 1]
    assert len(wanted) > 0.9 * day.events / STEPS
    assert sorted(each.visit for each in found) == sorted(wanted), "every visit once"
    assert all(each == expected(each.visit) for each in found)
    assert len(day.readings) > 120
    assert_flat(day.readings)


@pytest.mark.simulation
@pytest.mark.usefixtures("quiet")
def test_checkpoints_that_are_never_deleted_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The readings see what grows: here retention does nothing, for four hours."""
    monkeypatch.setattr(CheckpointDirectory, "retire", lambda self, **_: None)
    with temporary_disk() as disk:
        day = Day(disk, hours=4)
        day.run([(2 * HOUR_S, "stopped")])

    with pytest.raises(AssertionError, match="the retained ones"):
        assert_flat(day.readings)
    seconds = [reading.second for reading in day.readings]
    assert growth(seconds, [reading.files for reading in day.readings]) > 100


def assert_flat(readings: Sequence[Reading]) -> None:
    """After the first hour, nothing that can be counted grows, or is ever much."""
    late = [reading for reading in readings if reading.second >= HOUR_S]
    assert {reading.checkpoints for reading in late} == {3}, "the retained ones"
    assert {reading.tasks for reading in late} == {late[0].tasks}
    assert {reading.log_files for reading in late} == {late[0].log_files}
    assert max(reading.mailboxes for reading in late) <= TOGETHER
    assert max(reading.layers_deep for reading in late) <= LAYERS_DEEP_MAX
    assert max(reading.layers for reading in late) <= LAYER_FILES_MAX
    assert max(reading.files - reading.layers for reading in late) <= OTHER_FILES_MAX
    seconds = [reading.second for reading in late]
    for name in ("files", "layers", "layers_deep"):
        assert growth(seconds, [getattr(reading, name) for reading in late]) < 2, name
