"""A folder that a replay writes into is empty, unfinished or finished; whatever fails, and wherever it is killed."""

from __future__ import annotations

import errno
import random
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actorstream import EventLog, Pipeline
from actorstream.errors import PlanError, StoreError
from actorstream.evolve import replay
from actorstream.evolve.replay_folder import ReplayNote, begin
from actorstream.system.files import RealFiles
from actorstream.testing.disk import temporary_disk
from actorstream.testing.loop import SimulatedCrash
from tests.checkpoints.stepped_files import AtStep, Crash, SteppedFiles, crash
from tests.crash.process import started
from tests.evolve.replays import Manner, record, replay_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.model.world import FileSystem

NOTE = ReplayNote("p", None, {}, {"out": 3})


def state_of(path: Path) -> str:
    """Say what whoever comes later takes the folder for."""
    try:
        names = {each.name for each in path.iterdir()} - {"LOCK"}
    except FileNotFoundError:
        return "nothing"
    if "UNFINISHED" in names:
        return "unfinished"
    return "finished" if "REPLAY" in names else "foreign" if names else "nothing"


def write_one(files: FileSystem, path: Path) -> None:
    folder = begin(files, str(path))
    try:
        files.make_dirs(str(path / "out"))
        records = files.create(str(path / "out" / "records"))
        try:
            records.write(b"123")
            records.sync()
        finally:
            records.close()
        files.sync_dir(str(path / "out"))
        folder.finish(NOTE)
    finally:
        folder.release()


def test_an_unfinished_folder_is_cleared_and_a_finished_one_is_not(tmp_path: Path) -> None:
    begin(RealFiles(), str(tmp_path / "into")).release()
    (tmp_path / "into" / "out" / "segments").mkdir(parents=True)
    (tmp_path / "into" / "out" / "segments" / "half").write_text("x")
    write_one(RealFiles(), tmp_path / "into")
    assert state_of(tmp_path / "into") == "finished"
    assert {each.name for each in (tmp_path / "into" / "out").iterdir()} == {"records"}
    with pytest.raises(StoreError, match="holds a finished replay: choose another folder"):
        begin(RealFiles(), str(tmp_path / "into"))


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(StoreError, match=r"is not empty \(it has \['mine'\]\)"):
        begin(RealFiles(), str(tmp_path))
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


def test_two_replays_do_not_write_one_folder(tmp_path: Path) -> None:
    first = begin(RealFiles(), str(tmp_path))
    with pytest.raises(StoreError, match="another process is replaying into it"):
        begin(RealFiles(), str(tmp_path))
    first.release()
    begin(RealFiles(), str(tmp_path)).release()


def _fail() -> None:
    raise OSError(errno.EIO, "the disk is broken")


@pytest.mark.parametrize("action", [_fail, crash], ids=["fails", "dies"])
def test_whatever_call_fails_the_folder_is_never_taken_for_what_it_is_not(
    action: Callable[[], None], tmp_path: Path
) -> None:
    """Every file call in turn: the folder is unfinished, or finished with all its records, and can be used again."""
    for step in count():
        path, at = tmp_path / str(step), AtStep(step, action)
        with suppress(Crash, StoreError, OSError):
            write_one(SteppedFiles(at), path)
        if not at.fired:
            break
        _check(RealFiles(), path)
    assert step > 10


def test_the_same_where_the_power_goes() -> None:
    """What was not synced may be lost: a finished replay still has all its records."""
    for step in count(1):
        with temporary_disk() as disk:
            files = disk.attach(crash_at=step)
            path = Path(disk.root) / "into"
            died = False
            try:
                write_one(files, path)
            except SimulatedCrash:
                died = True
            disk.power_cut(random.Random(step))
            _check(disk.attach(), path)
        if not died:
            break
    assert step > 10


def _check(files: FileSystem, path: Path) -> None:
    if state_of(path) == "finished":
        assert (path / "out" / "records").read_bytes() == b"123"
        return
    assert state_of(path) in {"nothing", "unfinished"}
    write_one(files, path)
    assert state_of(path) == "finished"


@pytest.mark.crash
async def test_a_replay_that_was_killed_is_begun_anew_and_gives_the_same(tmp_path: Path) -> None:
    """SIGKILL in the middle: the folder says so, and the same call gives the same bytes."""
    await record(tmp_path, seed=3, count=3_000)
    first = await replay_in(Manner(), tmp_path, "timers", tmp_path / "first")
    into = tmp_path / "into"
    arguments = ("-m", "tests.evolve.replays", str(tmp_path), "timers", str(into), "say")
    async with started(*arguments, folder=tmp_path) as child:
        await child.until("reading")
        await child.kill()
    assert state_of(into) == "unfinished"
    assert await replay_in(Manner(), tmp_path, "timers", into) == first
    assert state_of(into) == "finished"


async def test_logs_that_would_have_one_name_are_refused(tmp_path: Path) -> None:
    pipeline = Pipeline("p")
    numbers = pipeline.source([1])
    numbers.sink(EventLog(int, tmp_path / "a" / "out"), name="one")
    numbers.sink(EventLog(int, tmp_path / "b" / "out"), name="other")
    with pytest.raises(PlanError, match="one and other write logs that are both called 'out'"):
        await replay(pipeline, start="earliest", until="now", into=tmp_path / "into")
    again = Pipeline("again")
    again.source([1]).sink(EventLog(int, tmp_path / "REPLAY"))
    with pytest.raises(PlanError, match="a log in a replay cannot be called 'REPLAY'"):
        await replay(again, start="earliest", until="now", into=tmp_path / "into")
    assert not (tmp_path / "into").exists()
