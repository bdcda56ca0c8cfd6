"""Event time in a savepoint that is written, and in one that is read: what a job that is restored from it goes by."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from actorstream import TTL, Context, EventLog, KeyedProcess, Pipeline, RestoreError, ValueState
from actorstream.checkpoints.manifest import FloorRun, seal, unseal
from actorstream.evolve import open_snapshot, write_savepoint
from actorstream.runtime.adapting import adapt
from tests.evolve.jobs import START, Outputs, append, job_with_state, manifest_of, records, visits

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.checkpoints.manifest import Manifest


def raise_floors(job: Path, operator: str, *floors: tuple[int, int, int]) -> list[FloorRun]:
    """Put floors into a job's checkpoint, so many minutes above its event time."""
    (path,) = (job / "checkpoints").glob("*/manifest.json")
    manifest = unseal(str(path), path.read_bytes())
    least = min(time.assigned[operator] for time in manifest.times if operator in time.assigned)
    runs = [FloorRun(start, end, least + minutes * 60_000_000) for start, end, minutes in floors]
    entry = replace(manifest.operators[operator], floors=runs)
    path.unlink()
    path.write_bytes(seal(replace(manifest, operators={**manifest.operators, operator: entry}, digest="")))
    return runs


async def test_floors_go_along_whatever_is_done_to_state_and_name(tmp_path: Path) -> None:
    """Without them windows fire again, and late records are taken."""
    job = await job_with_state(tmp_path, parallelism=2)
    floors = raise_floors(job, "visits", (0, 10, 5), (64, 128, 30))
    with write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "linked", base=job):
        pass
    assert manifest_of(tmp_path / "linked").operators["visits"].floors == floors
    with write_savepoint(visits(tmp_path / "log", Outputs(), name="views"), tmp_path / "new", base=job) as writer:
        writer.rename("visits", "views")
        writer.transform("views", "count", lambda user, count: (user, count + 1))
    assert manifest_of(tmp_path / "new").operators["views"].floors == floors


async def test_floors_and_another_max_parallelism_are_refused(tmp_path: Path) -> None:
    """Of a new key group one part may be of an old one with a floor, the rest not."""
    job = await job_with_state(tmp_path, parallelism=2)
    raise_floors(job, "visits", (0, 64, 5))
    pipeline = visits(tmp_path / "log", Outputs())
    with (
        pytest.raises(RestoreError, match=r"'visits': event time had come further.*\(7 instead of 128\).*Let the job"),
        write_savepoint(pipeline, tmp_path / "no", base=job, max_parallelism=7),
    ):
        pass
    assert not (tmp_path / "no").exists()
    with write_savepoint(pipeline, tmp_path / "new", base=job, max_parallelism=7) as writer:
        writer.drop("visits")
    assert manifest_of(tmp_path / "new").operators == {}


async def test_a_rename_is_the_same_as_that_of_a_restore(tmp_path: Path) -> None:
    """What those behind an exchange had been told, too: they begin with it."""
    job = await job_with_state(tmp_path, parallelism=2)
    with write_savepoint(visits(tmp_path / "log", Outputs(), name="views"), tmp_path / "new", base=job) as writer:
        writer.rename("visits", "views")
    with open_snapshot(job) as snapshot:
        before = snapshot.manifest
    assert any(name.startswith("visits:") for time in before.times for name in time.told)

    def compared(manifest: Manifest) -> Manifest:
        return replace(manifest, layers=[], operators={}, digest="", graph="")

    renamed = adapt(before, restore_as={"visits": "views"}, allow_dropped=())
    assert compared(manifest_of(tmp_path / "new")) == compared(renamed)


# ---- state that expires by event time --------------------------------------------------------------------------------


class Daily(KeyedProcess[str, tuple[str, str, int], "tuple[str, int]"]):
    """Counts; what nobody adds to for a day is forgotten."""

    count: ValueState[int] = ValueState(0, ttl=TTL(timedelta(days=1), domain="event"))

    def on_element(self, value: tuple[str, str, int], ctx: Context[str]) -> list[tuple[str, int]]:
        self.count += 1
        return [(value[0], self.count)]


def daily(folder: Path, into: Outputs) -> Pipeline:
    pipeline = Pipeline("t")
    read = pipeline.source(EventLog(tuple[str, str, int], folder / "log"), name="in")
    timed = read.assign_timestamps(lambda record: START + timedelta(minutes=record[2]), name="times")
    timed.key_by(lambda record: record[0]).process(Daily, name="visits").sink(into.take, name="out")
    return pipeline


async def begun(folder: Path, *, drain: bool) -> None:
    """Count seven users once, and stop with a savepoint `s`."""
    await append(folder / "log", records(0, 7))
    outputs = Outputs()
    async with daily(folder, outputs).run(store=folder / "store", checkpoint_interval=None) as job:
        await outputs.reach(7)
        await job.stop(savepoint="s", drain=drain)


async def go_on(folder: Path) -> None:
    """Add another record of each user, a minute after the last."""
    await append(folder / "log", [(f"user-{at}", "p", 7) for at in range(7)])


async def counted(folder: Path, restore: Path, store: str) -> dict[str, int]:
    """Let the job go on from there with the other record of each user."""
    outputs = Outputs()
    async with daily(folder, outputs).run(store=folder / store, restore=str(restore), checkpoint_interval=None) as job:
        await outputs.reach(7)
        await job.stop()
    return dict(outputs)


async def test_after_a_drain_event_time_begins_anew_so_nothing_has_expired(tmp_path: Path) -> None:
    """At its end, where the drain has brought it, everything would have: read as nothing, transformed into nothing."""
    await begun(tmp_path, drain=True)
    place = tmp_path / "store" / "t" / "savepoints" / "s"
    ones = {f"user-{at}": 1 for at in range(7)}
    with open_snapshot(place) as snapshot:
        assert snapshot.manifest.drained
        assert snapshot.event_time("visits") is None
        assert dict(snapshot.state("visits", "count").items()) == ones
    with write_savepoint(daily(tmp_path, Outputs()), tmp_path / "more", base=place) as writer:
        writer.transform("visits", "count", lambda user, count: (user, count + 100))
        writer.put("visits", "count", [("user-0", 500)])
    await go_on(tmp_path)
    assert await counted(tmp_path, place, "as it was") == dict.fromkeys(ones, 2)
    assert await counted(tmp_path, tmp_path / "more", "more") == {**dict.fromkeys(ones, 102), "user-0": 501}


async def test_what_a_floor_hides_from_a_restored_job_is_not_shown(tmp_path: Path) -> None:
    """T134 in spirit: of half of the key groups event time had come two days further."""
    await begun(tmp_path, drain=False)
    job = tmp_path / "store" / "t"
    raise_floors(job, "visits", (0, 64, 60 * 48))
    with open_snapshot(job) as snapshot:
        shown = dict(snapshot.state("visits", "count").items())
    assert 0 < len(shown) < 7
    (place,) = (job / "checkpoints").iterdir()
    await go_on(tmp_path)
    found = await counted(tmp_path, place, "another")
    assert {user for user, count in found.items() if count == 2} == set(shown)
