"""Crashes at every step, with and without loss of power: the store always knows the newest completed checkpoint."""

from __future__ import annotations

import errno
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from xxhash import xxh3_128_hexdigest

from actorstream.checkpoints.directory import CheckpointDirectory, PublishUnknownError
from actorstream.checkpoints.manifest import LayerEntry
from actorstream.errors import StoreError
from actorstream.model.ids import LayerName
from actorstream.protocol.attempts import Claim, next_claim
from actorstream.protocol.recovery import RestoreFrom, StartEmpty, decide
from actorstream.testing.disk import SimulatedDisk, temporary_disk
from actorstream.testing.loop import SimulatedCrash
from tests.checkpoints.stores import JOB, manifest_of, start

if TYPE_CHECKING:
    from actorstream.testing.faults import AttachedFiles


STEPS_TO_THE_FOLDER_SYNC = 10
STEPS_OF_A_DELETION = 8


class History:
    """What the outside world has seen of a job: it must never be contradicted."""

    def __init__(self, disk: SimulatedDisk) -> None:
        """Start with nothing seen."""
        self.disk = disk
        self.completed = 0
        self.used: set[int] = set()
        self.possible: set[int] = set()

    def live(self, files: AttachedFiles, checkpoints: int, *, keep: int = 2) -> None:
        """Run one attempt: recover, then publish and retire."""
        directory = CheckpointDirectory(files, f"{self.disk.root}/job")
        assert directory.open(JOB) == JOB
        directory.lock()
        claim = directory.claim(next_claim(directory.claims(), directory.checkpoint_ids()))
        layers = self._recover(directory)
        for checkpoint in range(claim.first_checkpoint, claim.first_checkpoint + checkpoints):
            assert checkpoint not in self.used, "T81: ids are never used twice"
            layers = [*layers[-2:], self._write_layer(files, directory, claim, checkpoint)]
            self.possible.add(checkpoint)
            directory.publish(manifest_of(claim, checkpoint, layers))
            self.used.add(checkpoint)
            self.completed = checkpoint
            directory.retire(keep=keep, in_use=[entry.name for entry in layers])
        directory.close()

    def _recover(self, directory: CheckpointDirectory) -> list[LayerEntry]:
        decision = decide(directory.manifests(), directory.claims())
        if isinstance(decision, StartEmpty):
            assert self.completed == 0
            return []
        assert isinstance(decision, RestoreFrom), decision
        assert decision.checkpoint >= self.completed, "a completed checkpoint is never lost"
        assert decision.checkpoint in self.possible
        manifest = directory.load(decision.checkpoint)
        assert directory.verify(manifest) == []
        # From here on output may be committed that only this checkpoint knows of.
        self.completed = decision.checkpoint
        self.used.add(decision.checkpoint)
        return manifest.layers

    def _write_layer(
        self, files: AttachedFiles, directory: CheckpointDirectory, claim: Claim, checkpoint: int
    ) -> LayerEntry:
        name = LayerName(f"{claim.attempt}-main-{checkpoint}.lmdb")
        content = f"layer {name}".encode()
        file = files.create(directory.layer_path(name))
        file.write(content)
        file.sync()
        file.close()
        files.sync_dir(f"{self.disk.root}/job/layers")
        return LayerEntry(name, len(content), xxh3_128_hexdigest(content), 1)


@pytest.mark.parametrize("power", [False, True], ids=["kill -9", "power cut"])
def test_a_crash_at_every_step_of_an_attempt_loses_no_completed_checkpoint(*, power: bool) -> None:
    """First life of a store, second life with recovery: each cut at each of their steps."""
    for lives_before in (0, 1):
        number, over = 1, False
        while not over:
            with temporary_disk() as disk:
                history = History(disk)
                for _ in range(lives_before):
                    history.live(disk.attach(), 2)
                    disk.kill()
                rng = random.Random(number)
                try:
                    history.live(disk.attach(crash_at=number), 3 - lives_before)
                    over = True
                except SimulatedCrash:
                    if power:
                        disk.power_cut(rng)
                    else:
                        disk.kill()
                history.live(disk.attach(), 1)
            number += 1
        assert number > 50


def test_any_row_of_crashes_and_disk_errors_loses_no_completed_checkpoint() -> None:
    """Crashes in recovery, in deletion, after errors of any call; half of them with loss of power (fault 29)."""
    failures = 0
    for seed in range(40):
        rng = random.Random(seed)
        with temporary_disk() as disk:
            history = History(disk)
            for _ in range(6):
                faults = {rng.randint(1, 120): rng.choice([errno.EIO, errno.ENOSPC]) for _ in range(rng.randint(0, 2))}
                try:
                    history.live(disk.attach(crash_at=rng.randint(1, 150), fail_at=faults), 4)
                except (SimulatedCrash, StoreError, OSError):
                    failures += 1
                if rng.random() < 0.5:
                    disk.power_cut(rng)
                else:
                    disk.kill()
            history.live(disk.attach(), 2)
    assert failures > 120


def test_what_a_killed_process_had_removed_by_half_does_not_come_back_without_its_claim() -> None:
    """Killed between the removal of a manifest and its sync; the next attempt tidies up, then the power goes."""
    with temporary_disk() as disk:
        files = disk.attach()
        History(disk).live(files, 2, keep=1)
    for number in range(files.operations - STEPS_OF_A_DELETION, files.operations + 1):
        for seed in range(36, 62):
            with temporary_disk() as disk:
                history = History(disk)
                with pytest.raises(SimulatedCrash):
                    history.live(disk.attach(crash_at=number), 2, keep=1)
                disk.kill()
                history.live(disk.attach(), 1, keep=1)
                disk.power_cut(random.Random(seed))
                history.live(disk.attach(), 1)


def test_a_publish_of_unknown_outcome_is_settled_by_recovery_once_and_for_all() -> None:
    """The sync after the link failed; recovery went on from what it found: no loss of power may take that back."""
    for seed in range(30):
        with temporary_disk() as disk:
            faults = {-1: errno.EIO}
            files = disk.attach(fail_at=faults)
            directory, claim = start(Path(disk.root, "job"), files=files)
            faults[files.operations + STEPS_TO_THE_FOLDER_SYNC] = errno.EIO
            with pytest.raises(PublishUnknownError):
                directory.publish(manifest_of(claim, 1))
            disk.kill()
            found = [fact.checkpoint for fact in restart(disk).manifests()]
            assert found == [1]
            disk.power_cut(random.Random(seed))
            assert [fact.checkpoint for fact in restart(disk).manifests()] == found


def restart(disk: SimulatedDisk) -> CheckpointDirectory:
    """Recover, up to where output may be committed."""
    directory, _ = start(Path(disk.root, "job"), files=disk.attach())
    decision = decide(directory.manifests(), directory.claims())
    assert isinstance(decision, RestoreFrom)
    directory.load(decision.checkpoint)
    return directory
