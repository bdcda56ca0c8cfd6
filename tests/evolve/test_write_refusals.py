"""Writing a savepoint: what is refused, with what is said, and what is left in the folder."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import PlanError, StoreError
from actorstream.checkpoints.archive import export_savepoint
from actorstream.checkpoints.savepoints import (
    SnapshotPlace,
    delete_savepoint,
    find_snapshot,
    make_savepoint,
    sweep_savepoints,
)
from actorstream.checkpoints.unpacking import import_savepoint
from actorstream.errors import CodecError, StoreInUseError
from actorstream.evolve import open_snapshot, write_savepoint
from actorstream.model.ids import AttemptNumber
from actorstream.system.current import current_world, use_world
from actorstream.system.files import RealFiles
from actorstream.testing.faults import InterceptedFiles
from tests.evolve.jobs import (
    START,
    Outputs,
    contents,
    job_with_state,
    manifest_of,
    numbered,
    visits,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actorstream.testing.faults import CallKind


# ---- what is refused -------------------------------------------------------------------------------------------------


def put_twice(writer: Any) -> None:
    writer.put("visits", "count", [("user-0", 1), ("user-1", 1), ("user-0", 2)])


def put_in_two_parts(writer: Any) -> None:
    writer.put("visits", "pages", [(("user-0", "a"), 1)])
    writer.put("visits", "pages", [(("user-0", "b"), 1), (("user-0", "a"), 1)])


def fold(writer: Any) -> None:
    writer.transform("visits", "count", lambda user, count: ("user-0", count))


def timers_twice(writer: Any) -> None:
    writer.transform("visits", "(timers)", lambda item, at: (("user-0", *item[1:]), at))


@pytest.mark.parametrize("write", [put_twice, put_in_two_parts, fold, timers_twice])
async def test_an_item_that_is_given_twice_is_an_error_that_names_it(write: Any, tmp_path: Path) -> None:
    job = await job_with_state(tmp_path)
    with (
        pytest.raises(CodecError, match=r"state visits\..*user-0.* was given twice"),
        write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "new", base=job) as writer,
    ):
        write(writer)
    assert not (tmp_path / "new").exists()


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "unknown operator": (
        lambda w: w.put("views", "count", []),
        PlanError,
        "no operator 'views' .*rename what the base",
    ),
    "unknown state": (lambda w: w.put("visits", "n", []), PlanError, "has no state 'n'"),
    "wrong value": (lambda w: w.put("visits", "count", [("a", "1")]), CodecError, r"state visits\.count, 'a': "),
    "wrong key": (lambda w: w.put("visits", "count", [(None, 1)]), CodecError, r"state visits\.count, None: "),
    "mixed keys": (lambda w: w.put("visits", "count", [("a", 1), (1, 1)]), CodecError, "All states and timers"),
    "no map item": (lambda w: w.put("visits", "pages", [("a", 1)]), CodecError, r"expected a tuple \(key, map key\)"),
    "no timer": (lambda w: w.put("visits", "(timers)", [(("a", "e", "n"), START)]), CodecError, "the domain is 'e'"),
    "not in the base": (lambda w: w.transform("views", "count", numbered), PlanError, "no operator 'views'"),
    "twice": (
        lambda w: [w.transform("visits", "count", lambda k, v: (k, v)) for _ in range(2)],
        PlanError,
        "having been transformed already",
    ),
    "no pair": (lambda w: w.transform("visits", "count", lambda k, v: v), CodecError, r"fn gave \d, expected"),
    "fn raises": (lambda w: w.transform("visits", "count", lambda k, v: v / 0), ZeroDivisionError, "by zero"),
    "rename what is not there": (
        lambda w: w.rename("a", "b"),
        PlanError,
        r"no operator, source or sink 'a' .*\['in', 'visits'",
    ),
    "rename to what is there": (lambda w: w.rename("visits", "in"), PlanError, "which is there too"),
    "drop what is not there": (lambda w: w.drop("a"), PlanError, "no operator, source or sink 'a' to drop"),
    "drop a state that is not there": (lambda w: w.drop("visits", "n"), PlanError, "no state 'n'"),
    "drop what was written": (
        lambda w: (w.put("visits", "count", [("a", 1)]), w.drop("visits", "count")),
        PlanError,
        "was written in this block",
    ),
    "go on after a failure": (
        lambda w: ignoring(w.put, "visits", "count", [("a", "")]),
        StoreError,
        "has failed, a part",
    ),
}


def ignoring(call: Any, *arguments: Any) -> None:
    with pytest.raises(CodecError):
        call(*arguments)


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_is_said_and_leaves_nothing(case: str, tmp_path: Path) -> None:
    job = await job_with_state(tmp_path)
    before = contents(job)
    do, kind, said = WRONG[case]
    with (
        pytest.raises(kind, match=said),
        write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "new", base=job) as writer,
    ):
        do(writer)
    assert not (tmp_path / "new").exists()
    assert contents(job) == before


def test_nothing_is_taken_after_the_block(tmp_path: Path) -> None:
    with write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "new") as writer:
        pass
    with pytest.raises(StoreError, match="is over"):
        writer.put("visits", "count", [])


async def test_without_a_base_there_is_nothing_to_transform_rename_or_drop(tmp_path: Path) -> None:
    with write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "new") as writer:
        with pytest.raises(PlanError):
            writer.transform("visits", "count", numbered)
        with pytest.raises(PlanError):
            writer.rename("visits", "a")
        with pytest.raises(PlanError):
            writer.drop("visits")


# ---- the folder ------------------------------------------------------------------------------------------------------


def test_a_folder_with_anything_else_in_it_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    pipeline = visits(tmp_path / "log", Outputs())
    with write_savepoint(pipeline, tmp_path / "taken"):
        pass
    (tmp_path / "mine" / "layers").mkdir(parents=True)
    (tmp_path / "mine" / "layers" / "thesis.txt").write_text("years of work")
    (tmp_path / "mine" / "writing").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    before = contents(tmp_path)
    for name, said in (("taken", "is a savepoint already"), ("mine", "thesis.txt"), ("other", "thesis.txt")):
        with pytest.raises(StoreError, match=said), write_savepoint(pipeline, tmp_path / name):
            raise AssertionError
    assert contents(tmp_path) == before


@pytest.mark.parametrize("mark", ["3.making", "importing", ""])
def test_what_a_job_or_an_import_has_half_made_is_left_to_them(mark: str, tmp_path: Path) -> None:
    """Also what says nothing: layers alone may be what is left of a deletion, or somebody's copy."""
    half = tmp_path / "half"
    (half / "layers").mkdir(parents=True)
    (half / "layers" / "3-0-1.lmdb").write_bytes(b"half of it")
    if mark:
        (half / mark).touch()
    before = contents(tmp_path)
    with (
        pytest.raises(StoreError, match="which nobody left who writes here"),
        write_savepoint(visits(tmp_path / "log", Outputs()), half),
    ):
        raise AssertionError
    assert contents(tmp_path) == before


def half_written(folder: Path) -> Path:
    """Leave what a crash leaves, of every kind; no layer yet where `layers` is empty."""
    for name in ("writing", "layers/1-offline-1.lmdb", "sorting/1-1.run", "manifest.json.1.draft"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"half of it")
    return folder


def test_what_was_left_half_written_is_taken_over_by_who_writes_there(tmp_path: Path) -> None:
    pipeline = visits(tmp_path / "log", Outputs())
    with write_savepoint(pipeline, half_written(tmp_path / "new")) as writer:
        writer.put("visits", "count", [("a", 1)])
    assert sorted(os.listdir(tmp_path / "new")) == ["layers", "layers.verified", "manifest.json"]


def test_what_was_left_half_written_is_no_savepoint_for_a_job_which_sweeps_nothing(tmp_path: Path) -> None:
    """Only people delete it, by `savepoint delete`: in a store of the job, or anywhere."""
    files, root = RealFiles(), tmp_path / "savepoints"
    half = half_written(root / "half")
    with write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "whole"):
        pass
    manifest, before = manifest_of(tmp_path / "whole"), contents(half)
    assert list(sweep_savepoints(files, str(root), AttemptNumber(99))) == []
    whole = SnapshotPlace(str(tmp_path / "whole"), str(tmp_path / "whole" / "layers"))
    with pytest.raises(StoreError, match="holds something that no job has made"):
        make_savepoint(files, whole, str(half), manifest, lambda: None)
    archive = tmp_path / "whole.tar"
    export_savepoint(files, whole.folder, str(archive), token="t")
    with pytest.raises(StoreError, match="is not what an import leaves"):
        import_savepoint(files, str(archive), str(half))
    with pytest.raises(StoreError, match="was not finished"):
        find_snapshot(files, str(half))
    assert contents(half) == before
    delete_savepoint(files, str(half))
    assert not half.exists()


def test_a_folder_that_was_there_stays_when_writing_fails(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with pytest.raises(KeyError), write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "new"):
        raise KeyError
    assert os.listdir(tmp_path / "new") == []


def test_two_who_write_one_savepoint_do_not_meet(tmp_path: Path) -> None:
    pipeline = visits(tmp_path / "log", Outputs())
    with write_savepoint(pipeline, tmp_path / "new") as writer:
        writer.put("visits", "count", [("a", 1)])
        with (
            pytest.raises(StoreInUseError, match="being written by another"),
            write_savepoint(pipeline, tmp_path / "new"),
        ):
            raise AssertionError
    with open_snapshot(tmp_path / "new") as snapshot:
        assert snapshot.state("visits", "count").get("a") == 1


class BeforeTheLock(InterceptedFiles):
    """Something happens between the look whether the folder is taken and the lock."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__(current_world().files)
        self._then = [then]

    def _before(self, kind: CallKind, path: str, half: Callable[[], None] | None = None) -> None:
        if kind == "lock" and path.endswith("writing") and self._then:
            self._then.pop()()


@pytest.mark.parametrize("there", [False, True], ids=["a new folder", "an empty folder"])
def test_who_comes_when_another_finishes_takes_nothing_of_it_away(tmp_path: Path, *, there: bool) -> None:
    """It has got the lock, and still nothing there is its own."""
    pipeline, place = visits(tmp_path / "log", Outputs()), tmp_path / "new"
    if there:
        place.mkdir()

    def finish() -> None:
        with use_world(replace(current_world(), files=RealFiles())), write_savepoint(pipeline, place) as writer:
            writer.put("visits", "count", [("a", 1)])

    with (
        use_world(replace(current_world(), files=BeforeTheLock(finish))),
        pytest.raises(StoreError, match="is a savepoint already"),
        write_savepoint(pipeline, place),
    ):
        raise AssertionError
    assert sorted(os.listdir(place)) == ["layers", "layers.verified", "manifest.json"]
    with open_snapshot(place) as snapshot:
        assert snapshot.state("visits", "count").get("a") == 1
