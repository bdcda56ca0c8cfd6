"""What becomes of checkpoints when a job has ended: they stay, or go whole."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.api.settings import Settings
from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.errors import JobFailed, StoreError
from actorstream.eventlog.log import EventLog
from actorstream.protocol.restart import Restart
from actorstream.system.files import RealFiles
from tests.api.evolving import has_read
from tests.checkpoints.stepped_files import AtStep, Crash, SteppedFiles, Switch, crash, fail_at
from tests.checkpoints.stores import JOB, manifest_of, start, write_layer
from tests.runtime.doubles import Target

if TYPE_CHECKING:
    from pathlib import Path

Retain = Literal["always", "on_failure", "never"]


def counting(log: EventLog[int], sink: Target, *, fails: bool, bounded: bool = True) -> Pipeline:
    """Count what is in a log, or fail at its end."""

    def step(count: int, value: int) -> tuple[int, int]:
        if fails and value == 9:
            raise ValueError("no")
        return count + 1, count + 1

    pipeline = Pipeline("counting")
    keyed = pipeline.source(log.view(stop="now") if bounded else log, name="in").key_by(lambda v: v % 2)
    keyed.map_with_state(0, step, name="count").sink(sink, name="out")
    return pipeline


@pytest.mark.parametrize("retain", ["always", "on_failure", "never"])
@pytest.mark.parametrize("fails", [False, True], ids=["ends well", "fails"])
async def test_what_stays(tmp_path: Path, retain: Retain, *, fails: bool) -> None:
    """Savepoints always; checkpoints as said; the log keeps records only for what stays."""
    async with EventLog(int, tmp_path / "in") as log:
        await log.extend(range(9))
        out = Target()
        first = counting(log, out, fails=fails, bounded=False)
        async with first.run(store=tmp_path / "store", restart=Restart.never()) as job:
            await has_read(job, 9)
            await job.savepoint("mine")
            await job.stop()
        await log.append(9)
        settings = Settings(retain=retain)
        outcome = None
        try:
            await counting(log, out, fails=fails).run(
                store=tmp_path / "store", restart=Restart.never(), settings=settings
            )
        except JobFailed as error:
            outcome = error
        assert (outcome is not None) == fails
        stays = retain == "always" or (retain == "on_failure" and fails)
        left = set(os.listdir(tmp_path / "store/counting"))
        assert left >= {"savepoints"}
        assert ({"JOB", "checkpoints", "layers", "attempts"} <= left) == stays
        assert stays or left <= {"savepoints", "LOCK"}
        names = {consumer.name.partition("/")[2] for consumer in await log.consumers()}
        assert names == ({"in", "in@mine"} if stays else {"in@mine"})

        before = len(out.committed)
        if not stays:
            out = Target()
            before = 0
        again = counting(log, out, fails=False)
        await again.run(store=tmp_path / "store")
        assert len(out.committed) - before == (0 if stays and not fails else 1 if stays else 10)


def test_a_removal_that_is_cut_anywhere_is_finished_by_whoever_comes_next(tmp_path: Path) -> None:
    """It never leaves a checkpoint without its layers, nor a store that cannot be opened."""
    number, over = 0, False
    removed = 0
    while not over:
        root = tmp_path / str(number)
        switch = Switch()
        directory, claim = start(root, files=SteppedFiles(switch))
        directory.lock()
        directory.publish(manifest_of(claim, 1, [write_layer(directory, "1-0-1.lmdb")]))
        switch.then = hook = AtStep(number, crash)
        with suppress(Crash):
            directory.remove()
        directory.close()
        next_one = CheckpointDirectory(RealFiles(), str(root))
        next_one.open("a" * 32)
        assert not os.path.exists(root / "REMOVING")
        if next_one.note.job == JOB:
            (fact,) = next_one.manifests()
            assert fact.problem is None
        else:
            removed += 1
            assert next_one.manifests() == []
        over = not hook.fired
        number += 1
    assert removed > 10


def test_a_disk_that_refuses_leaves_it_to_the_next_one(tmp_path: Path) -> None:
    """Told, not hidden."""
    switch = Switch()
    directory, claim = start(tmp_path, files=SteppedFiles(switch))
    directory.publish(manifest_of(claim, 1, [write_layer(directory, "1-0-1.lmdb")]))
    switch.then = fail_at("unlink", ".lmdb", errno.EIO)

    with pytest.raises(StoreError, match="removing the store failed"):
        directory.remove()
    CheckpointDirectory(RealFiles(), str(tmp_path)).open("a" * 32)
    assert os.listdir(tmp_path / "layers") == []
