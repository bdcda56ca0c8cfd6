"""Reading a snapshot: what is found where, beside a job that runs, and what is no snapshot."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from actorstream import EventLog, Pipeline, PlanError, RestoreError, StoreError
from actorstream.checkpoints.sealed import seal as sealed
from actorstream.evolve import open_snapshot, write_savepoint
from actorstream.system.current import current_world, use_world
from actorstream.system.files import RealFiles
from tests.evolve.jobs import (
    START,
    Outputs,
    Seen,
    TextVisits,
    append,
    contents,
    job_with_state,
    manifest_of,
    move_on,
    records,
    visits,
)

if TYPE_CHECKING:
    from pathlib import Path


class Place(NamedTuple):
    """What a savepoint looks like to whoever took it."""

    name: str
    path: str


async def test_a_snapshot_holds_what_the_job_has_of_every_kind(tmp_path: Path) -> None:
    job = await job_with_state(tmp_path, parallelism=2)

    with open_snapshot(job) as snapshot:
        assert snapshot.operators == ["visits"]
        assert {name: state.kind for name, state in snapshot.states("visits").items()} == {
            "count": "value",
            "last": "value",
            "pages": "map",
            "history": "value",
            "(timers)": "timers",
        }
        users = [f"user-{at}" for at in range(7)]
        assert list(snapshot.state("visits", "count").items()) == [
            (user, 6 if user < "user-5" else 5) for user in users
        ]
        assert snapshot.state("visits", "last").get("user-4") == {"page": "page-0", "number": 6}
        assert snapshot.state("visits", "pages").get("user-1") == {"page-0": 2, "page-1": 2, "page-2": 2}
        assert snapshot.state("visits", "history").get("user-6") == ["page-0", "page-1", "page-2", "page-0", "page-1"]
        assert snapshot.state("visits", "(timers)").get("user-4") == {
            ("event", "idle"): START + timedelta(minutes=39 + 60)
        }


async def test_values_are_of_the_types_of_a_pipeline_that_is_given(tmp_path: Path) -> None:
    job = await job_with_state(tmp_path)
    with open_snapshot(job, pipeline=visits(tmp_path / "log", Outputs())) as snapshot:
        assert snapshot.state("visits", "last").get("user-4") == Seen("page-0", 6)


async def test_a_key_without_a_value_gives_the_default(tmp_path: Path) -> None:
    job = await job_with_state(tmp_path)
    with open_snapshot(job) as snapshot:
        count = snapshot.state("visits", "count")
        assert count.get("nobody") is None
        assert count.get("nobody", 0) == 0
        assert snapshot.state("visits", "pages").get("nobody", 0) == {}
        assert list(snapshot.state("visits", "pages").items(start="user-6", stop="user-60")) == [
            (("user-6", "page-0"), 2),
            (("user-6", "page-1"), 2),
            (("user-6", "page-2"), 1),
        ]


async def test_a_snapshot_is_found_by_job_store_checkpoint_and_savepoint(tmp_path: Path) -> None:
    job = await job_with_state(tmp_path)
    pipeline = visits(tmp_path / "log", Outputs())
    with write_savepoint(pipeline, tmp_path / "kept", base=job):
        pass
    places: list[Any] = [job, str(job), tmp_path / "store", job / "checkpoints" / "1", tmp_path / "kept"]
    for place in [*places, Place("kept", str(tmp_path / "kept"))]:
        with open_snapshot(place) as snapshot:
            assert snapshot.state("visits", "count").get("user-0") == 6


async def test_looking_changes_nothing(tmp_path: Path) -> None:
    """Also the record of proved files stays as it was: the disk may be mounted read-only."""
    job = await job_with_state(tmp_path)
    before = contents(tmp_path)
    with open_snapshot(job) as snapshot:
        assert len(list(snapshot.state("visits", "pages").items())) == 21
    assert contents(tmp_path) == before


async def test_a_running_job_is_read_at_its_newest_checkpoint(tmp_path: Path) -> None:
    await append(tmp_path / "log", records(0, 7))
    outputs = Outputs()
    async with visits(tmp_path / "log", outputs).run(store=tmp_path / "store", checkpoint_interval=None) as job:
        for number in range(1, 4):
            await outputs.reach(7 * number)
            await job.checkpoint()
            with open_snapshot(tmp_path / "store" / "t") as snapshot:
                assert dict(snapshot.state("visits", "count").items()) == {f"user-{at}": number for at in range(7)}
            async with EventLog(tuple[str, str, int], tmp_path / "log") as log:
                await log.extend(records(7 * number, 7 * number + 7))


async def test_a_snapshot_that_is_open_outlives_its_files(tmp_path: Path) -> None:
    """A job deletes old checkpoints, and their layers, when it likes."""
    job = await job_with_state(tmp_path)
    with open_snapshot(job) as snapshot:
        shutil.rmtree(job)
        assert snapshot.state("visits", "count").get("user-0") == 6
        begun = snapshot.state("visits", "count").items()
        assert next(begun) == ("user-0", 6)
        later = snapshot.state("visits", "count")
        unbegun = later.items()
    assert len(list(begun)) == 6, "what was begun holds its files"
    for read in (lambda: later.get("user-0"), lambda: list(unbegun)):
        with pytest.raises(StoreError, match="is closed"):
            read()


@pytest.mark.parametrize("asked", ["t", "t/checkpoints/1"])
async def test_a_checkpoint_that_goes_while_it_is_opened_gives_way_to_the_next(asked: str, tmp_path: Path) -> None:
    """The files of the one that was chosen are gone when they are opened: the job has a newer one by then."""
    job = await job_with_state(tmp_path)
    with write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "kept", base=job) as writer:
        writer.transform("visits", "count", lambda user, count: (user, count + 100))

    class Moving(RealFiles):
        moved = False

        def identity(self, path: str, /) -> str:
            if not self.moved:
                self.moved = True
                move_on(job, tmp_path / "kept")
            return super().identity(path)

    files = Moving()
    with use_world(replace(current_world(), files=files)):
        if asked == "t":
            with open_snapshot(tmp_path / "store" / asked) as snapshot:
                assert (snapshot.manifest.checkpoint, snapshot.state("visits", "count").get("user-0")) == (2, 106)
        else:
            with pytest.raises(StoreError, match="is missing"), open_snapshot(tmp_path / "store" / asked):
                raise AssertionError
    assert files.moved


@dataclass
class Wrong:
    """A folder, or file, that is no snapshot."""

    path: str
    said: str


@pytest.mark.parametrize(
    "wrong",
    [
        Wrong("nowhere", "is missing: expected a savepoint"),
        Wrong("store/t/checkpoints/7", "is missing"),
        Wrong("store/t/checkpoints/seven", "holds no job; expected a savepoint, a checkpoint"),
        Wrong("log", "holds no job; expected a savepoint, a checkpoint"),
        Wrong("half", "is a savepoint that was not finished"),
        Wrong("empty/t", "holds no complete checkpoint"),
    ],
    ids=lambda wrong: wrong.path,
)
async def test_what_is_no_snapshot_is_said(wrong: Wrong, tmp_path: Path) -> None:
    job = await job_with_state(tmp_path)
    (job / "checkpoints" / "seven").mkdir()
    (tmp_path / "half" / "layers").mkdir(parents=True)
    (tmp_path / "empty" / "t").mkdir(parents=True)
    shutil.copy(job / "JOB", tmp_path / "empty" / "t" / "JOB")
    with pytest.raises(StoreError, match=wrong.said), open_snapshot(tmp_path / wrong.path):
        raise AssertionError


async def test_a_number_for_a_path_is_refused() -> None:
    with pytest.raises(PlanError, match="named by its folder"), open_snapshot(7):  # type: ignore[arg-type]
        raise AssertionError


async def test_operators_and_states_that_are_not_there_are_named_with_those_that_are(tmp_path: Path) -> None:
    job = await job_with_state(tmp_path)
    with open_snapshot(job) as snapshot:
        with pytest.raises(PlanError, match=r"no operator 'views' .* it has \['visits'\]"):
            snapshot.state("views", "count")
        with pytest.raises(PlanError, match=r"has no state 'n' .*'count', 'history'"):
            snapshot.state("visits", "n")
        with pytest.raises(PlanError, match="no operator"):
            snapshot.states("views")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4096])


def remove(path: Path) -> None:
    path.unlink()


def exchange(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"not a layer at all")


@pytest.mark.parametrize("damage", [flip, cut, remove, exchange])
@pytest.mark.parametrize("which", ["layers/*.lmdb", "manifest.json"])
@pytest.mark.parametrize("place", ["job", "savepoint"])
async def test_damage_is_an_error_that_names_the_file_and_never_ends_the_process(
    damage: Any, which: str, place: str, tmp_path: Path
) -> None:
    """LMDB dies by SIGBUS on a short file; and T90: no older checkpoint is taken for a damaged one."""
    job = await job_with_state(tmp_path)
    with write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "kept", base=job):
        pass
    folder = tmp_path / "kept" if place == "savepoint" else job
    pattern = which if place == "savepoint" or which.startswith("layers") else f"checkpoints/*/{which}"
    damaged = next(folder.glob(pattern))
    if damage is cut and which == "manifest.json":
        damaged.write_bytes(damaged.read_bytes()[:-10])
    else:
        damage(damaged)
    with pytest.raises(StoreError) as raised, open_snapshot(folder):
        raise AssertionError
    assert str(folder) in str(raised.value)


async def test_a_newer_manifest_is_refused(tmp_path: Path) -> None:
    with write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "kept"):
        pass
    manifest = manifest_of(tmp_path / "kept")
    (tmp_path / "kept" / "manifest.json").unlink()
    (tmp_path / "kept" / "manifest.json").write_bytes(sealed(replace(manifest, format=99, digest="")))
    with pytest.raises(StoreError, match="format 99, written by a newer"), open_snapshot(tmp_path / "kept"):
        raise AssertionError


async def test_a_pipeline_of_another_type_is_refused_by_name(tmp_path: Path) -> None:
    pipeline = Pipeline("t")
    pipeline.source(["a"], name="in").key_by(str).process(TextVisits, name="visits").sink(print, name="out")
    job = await job_with_state(tmp_path)
    with (
        open_snapshot(job, pipeline=pipeline) as snapshot,
        pytest.raises(RestoreError, match=r"visits\.count changed its type: .* read it without the pipeline"),
    ):
        snapshot.state("visits", "count")
