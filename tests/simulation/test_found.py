"""What the simulation has shown the way to, each in the smallest form that fails without its mending."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.model.ids import AttemptNumber
from actorstream.protocol.attempts import next_claim
from actorstream.runtime.beginning import look_up
from actorstream.testing.disk import temporary_disk
from actorstream.testing.loop import SimulatedCrash
from tests.checkpoints.stores import JOB, manifest_of

if TYPE_CHECKING:
    from actorstream.testing.faults import AttachedFiles

pytestmark = pytest.mark.simulation


def test_a_savepoint_that_a_job_goes_on_from_is_not_taken_back_by_a_power_cut() -> None:
    """Its maker died between link and sync. What is pending in it is committed next: then it must be there for ever."""
    found = [_is_there_after_power_cut(operation, seed) for operation in range(36, 60) for seed in range(6)]
    assert {True, None} <= set(found), "some of these crashes must come before it is linked, some after"
    assert False not in found


def _is_there_after_power_cut(operation: int, seed: int) -> bool | None:
    """Crash a savepoint's maker, let another store begin from what is there, cut the power; None: it was not there."""
    with temporary_disk() as disk:
        try:
            _make(disk.attach(crash_at=operation), disk.root)
        except SimulatedCrash:
            disk.kill()
        savepoint, files = f"{disk.root}/job/savepoints/a", disk.attach()
        if not os.path.exists(f"{savepoint}/manifest.json"):
            return None
        files.make_dirs(f"{disk.root}/other/layers")
        look_up(files, savepoint, None, "").adopt(files, f"{disk.root}/other/layers", AttemptNumber(2))
        disk.power_cut(random.Random(seed))
        return os.path.exists(f"{savepoint}/manifest.json")


def _make(files: AttachedFiles, root: str) -> None:
    directory = CheckpointDirectory(files, f"{root}/job")
    directory.open(JOB)
    claim = directory.claim(next_claim(directory.claims(), directory.checkpoint_ids()))
    directory.publish_savepoint(manifest_of(claim, 1), "a")
