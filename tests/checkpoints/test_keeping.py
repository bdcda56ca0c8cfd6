"""Savepoints made beside a job: at every step of one who makes it, another one, or the job starts again."""

from __future__ import annotations

import os
import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.checkpoints.keeping import keep_checkpoint
from actorstream.checkpoints.savepoints import delete_savepoint, find_snapshot, read_snapshot, verify_snapshot
from actorstream.checkpoints.view import StoreView
from actorstream.errors import StoreError, StoreInUseError
from actorstream.protocol.attempts import next_claim
from actorstream.system.files import RealFiles
from tests.checkpoints.stepped_files import AtStep, Crash, SteppedFiles, crash
from tests.checkpoints.stores import JOB, manifest_of, start, write_layer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actorstream.model.world import FileSystem

FILES = RealFiles()


def store(root: Path) -> CheckpointDirectory:
    """Give the open store of a job with one checkpoint, of two layers."""
    directory, claim = start(root)
    layers = [write_layer(directory, "1-0-1.lmdb", b"one"), write_layer(directory, "1-0-2.lmdb", b"two")]
    directory.publish(manifest_of(claim, claim.first_checkpoint, layers))
    return directory


def keep(root: Path, *, files: FileSystem = FILES) -> bool:
    """Make a savepoint as `savepoint create` does; False if it was refused."""
    try:
        keep_checkpoint(files, StoreView(files, str(root)), "x")
    except StoreError:
        return False
    return True


def is_whole(root: Path) -> bool:
    """Tell whether the savepoint is there, and see that then it is so to the last byte, and nothing else is."""
    folder = root / "savepoints" / "x"
    if not (folder / "manifest.json").exists():
        return False
    place = find_snapshot(FILES, str(folder))
    assert verify_snapshot(FILES, place, read_snapshot(FILES, place)) == []
    assert sorted(os.listdir(folder)) == ["layers", "manifest.json"]
    return True


class AtChange(AtStep):
    """Right before the n-th step that others see the difference of."""

    def __call__(self, step: str, path: str) -> None:
        if step not in {"write", "sync", "sync_dir"}:
            super().__call__(step, path)


class Restart:
    """The job starts again in a thread, and is held right before its n-th step until `finish`."""

    def __init__(self, root: Path, number: int) -> None:
        self._root = root
        self.hook = AtChange(number, self._hold)
        self._reached, self._go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._claim)

    def begin(self) -> None:
        self._thread.start()
        self._reached.wait()

    def finish(self) -> None:
        self._go.set()
        self._thread.join()

    def _hold(self) -> None:
        self._reached.set()
        self._go.wait()

    def _claim(self) -> None:
        directory = CheckpointDirectory(SteppedFiles(self.hook), str(self._root))
        directory.open(JOB)
        directory.claim(next_claim(directory.claims(), directory.checkpoint_ids()))
        self._reached.set()


def test_what_was_made_is_there_also_if_the_job_starts_again_meanwhile(tmp_path: Path) -> None:
    """At every step of the one, every part of the other; then the other ends. Nothing is half there either way."""
    store(tmp_path / "store")
    made = refused = 0
    at, steps_left = 0, True
    while steps_left:
        held, parts_left = 0, True
        while parts_left:
            root = tmp_path / f"{at} {held}"
            shutil.copytree(tmp_path / "store", root)
            restart = Restart(root, held)
            hook = AtChange(at, restart.begin)
            if keep(root, files=SteppedFiles(hook)):
                made += 1
                restart.finish() if hook.fired else None
                assert is_whole(root), (at, held)
            else:
                refused += 1
                restart.finish()
                assert not is_whole(root), (at, held)
                assert keep(root)
            steps_left, parts_left = hook.fired, hook.fired and restart.hook.fired
            held += 1
        at += 1
    assert made > 50
    assert refused < made / 2, "a job that starts again is no reason to fail, but for the moment in which it tidies up"


def test_what_is_made_at_any_step_of_a_start_stays(tmp_path: Path) -> None:
    """Also where something is half there that the start sweeps away."""
    number, fired = 0, True
    while fired:
        root = tmp_path / str(number)
        store(root)
        with pytest.raises(Crash):
            keep(root, files=SteppedFiles(AtStep(8, crash)))
        assert not is_whole(root)
        done: list[bool] = []
        hook = AtStep(number, lambda root=root, done=done: done.append(keep(root)))  # type: ignore[misc]
        directory = CheckpointDirectory(SteppedFiles(hook), str(root))
        directory.open(JOB)
        directory.claim(next_claim(directory.claims(), directory.checkpoint_ids()))
        assert is_whole(root) == (done == [True])
        fired = hook.fired
        number += 1
    assert number > 8


def by_command(root: Path, _: CheckpointDirectory) -> Callable[[], bool]:
    return lambda: keep(root)


def by_the_job(_: Path, directory: CheckpointDirectory) -> Callable[[], bool]:
    def make() -> bool:
        manifest = directory.read(directory.checkpoint_ids()[-1])
        try:
            directory.publish_savepoint(manifest, "x")
        except StoreError:
            return False
        return True

    return make


@pytest.mark.parametrize("other", [by_command, by_the_job])
def test_of_two_who_make_one_name_one_does(
    other: Callable[[Path, CheckpointDirectory], Callable[[], bool]], tmp_path: Path
) -> None:
    """At every step of the one, all of the other."""
    number, outcomes = 0, set()
    while True:
        root = tmp_path / str(number)
        second: list[bool] = []
        make = other(root, store(root))
        hook = AtStep(number, lambda make=make, second=second: second.append(make()))  # type: ignore[misc]
        first = keep(root, files=SteppedFiles(hook))
        assert is_whole(root)
        if not hook.fired:
            break
        assert [first, *second].count(True) == 1
        outcomes.add(first)
        number += 1
    assert outcomes == {True, False}


def test_one_that_is_being_made_is_said_to_be_so(tmp_path: Path) -> None:
    """And can be made once the other one has died, in the same attempt or a later one."""
    directory = store(tmp_path)
    (tmp_path / "savepoints" / "x").mkdir(parents=True)
    marker = FILES.lock(str(tmp_path / "savepoints" / "x" / "1.making"))
    assert marker is not None
    with pytest.raises(StoreInUseError, match="is being made at this moment"):
        keep_checkpoint(FILES, StoreView(FILES, str(tmp_path)), "x")
    directory.close()
    later, _ = start(tmp_path)
    with pytest.raises(StoreInUseError, match="is being made at this moment"):
        keep_checkpoint(FILES, StoreView(FILES, str(tmp_path)), "x")
    assert os.listdir(tmp_path / "savepoints" / "x") == ["1.making"]
    marker.release()
    assert keep(tmp_path)
    assert is_whole(tmp_path)
    delete_savepoint(FILES, str(tmp_path / "savepoints" / "x"))
    later.close()
