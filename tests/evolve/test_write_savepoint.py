"""Writing a savepoint, from nothing and from another one: what is in it."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from actorstream import EventLog, Pipeline, PlanError, RestoreError, StoreError
from actorstream.errors import CodecError
from actorstream.evolve import open_snapshot, write_savepoint
from actorstream.system.current import current_world, use_world
from actorstream.system.files import RealFiles
from tests.evolve.jobs import (
    START,
    Outputs,
    Seen,
    append,
    job_with_state,
    manifest_of,
    move_on,
    number_all,
    records,
    same,
    two_operators,
    visits,
)

if TYPE_CHECKING:
    from pathlib import Path


async def test_max_parallelism_may_be_said_beside_the_pipeline(tmp_path: Path) -> None:
    job = await job_with_state(tmp_path)
    with write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "wide", base=job, max_parallelism=300):
        pass
    assert manifest_of(tmp_path / "wide").max_parallelism == 300
    assert same(job, tmp_path / "wide")
    with (
        pytest.raises(PlanError, match="max_parallelism is 0, expected 1 to 32768"),
        write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "none", max_parallelism=0),
    ):
        raise AssertionError


async def test_transform_gives_new_values_and_leaves_out(tmp_path: Path) -> None:
    job = await job_with_state(tmp_path)
    pipeline = visits(tmp_path / "log", Outputs())
    with write_savepoint(pipeline, tmp_path / "new", base=job) as writer:
        writer.transform("visits", "count", lambda user, count: (user, -count) if user != "user-3" else None)
        writer.transform("visits", "pages", lambda item, seen: ((item[0], item[1].upper()), seen))
        writer.transform("visits", "last", lambda user, last: (user, Seen(user, last.number)))
        writer.put("visits", "count", [("user-0", 1), ("user-9", 9)])
    with open_snapshot(tmp_path / "new", pipeline=pipeline) as snapshot:
        counts = dict(snapshot.state("visits", "count").items())
        assert counts == {
            "user-0": 1,
            "user-9": 9,
            "user-1": -6,
            "user-2": -6,
            "user-4": -6,
            "user-5": -5,
            "user-6": -5,
        }
        assert snapshot.state("visits", "pages").get("user-1") == {"PAGE-0": 2, "PAGE-1": 2, "PAGE-2": 2}
        assert snapshot.state("visits", "last").get("user-5") == Seen("user-5", 5)
        assert snapshot.state("visits", "history").get("user-5") == ["page-2", "page-0", "page-1", "page-2", "page-0"]


async def test_keys_of_another_type_need_every_state_and_timer_of_the_operator(tmp_path: Path) -> None:
    """T34: a job refuses keys of another type than the stored ones; half of them must not come about here."""
    job = await job_with_state(tmp_path)
    pipeline = visits(tmp_path / "log", Outputs())
    with (
        pytest.raises(CodecError, match=r"state visits\.\(timers\).*str.*All states and timers of operator 'visits'"),
        write_savepoint(pipeline, tmp_path / "half", base=job) as writer,
    ):
        number_all(writer, ("count", "last", "pages", "history"))
    assert not (tmp_path / "half").exists()

    with write_savepoint(pipeline, tmp_path / "whole", base=job, max_parallelism=7) as writer:
        number_all(writer, ("count", "last", "pages", "history", "(timers)"))
    with open_snapshot(tmp_path / "whole") as snapshot:
        assert [user for user, _ in snapshot.state("visits", "count").items()] == list(range(7))
        timers = snapshot.state("visits", "(timers)")
        assert timers.get(4) == {("event", "idle"): START + timedelta(minutes=39 + 60)}


@pytest.mark.parametrize("parallelism", [1, 2])
async def test_a_renamed_operator_keeps_state_numbers_and_time(parallelism: int, tmp_path: Path) -> None:
    """T47: without its event time late records would be taken again. Of two subtasks the chain has its name, too."""
    job = await job_with_state(tmp_path, parallelism=parallelism)
    pipeline = visits(tmp_path / "log", Outputs(), name="views")
    with write_savepoint(pipeline, tmp_path / "new", base=job) as writer:
        writer.rename("visits", "views")
        writer.transform("views", "count", lambda user, count: (user, count + 1))
    with open_snapshot(job) as before, open_snapshot(tmp_path / "new") as after:
        assert after.operators == ["views"]
        assert after.state("views", "count").get("user-0") == 7
        assert after.event_time("views") == before.event_time("visits") is not None
        chains = {time.chain for time in before.manifest.times}
        assert chains == ({"in", "visits"} if parallelism == 2 else {"in"})
        renamed = {"in", "views"} if parallelism == 2 else {"in"}
        assert {time.chain for time in after.manifest.times} == renamed
        assert after.manifest.numbers.operators == {"views": before.manifest.numbers.operators["visits"]}
        assert after.states("views")["last"].number == before.states("visits")["last"].number


async def test_without_a_rename_the_pipeline_that_could_not_start_is_refused(tmp_path: Path) -> None:
    job = await job_with_state(tmp_path)
    pipeline = visits(tmp_path / "log", Outputs(), name="views")
    with (
        pytest.raises(
            RestoreError, match=r"could not start from this savepoint: .*'visits'.*rename, transform or drop"
        ),
        write_savepoint(pipeline, tmp_path / "new", base=job),
    ):
        pass
    assert not (tmp_path / "new").exists()


async def test_what_is_dropped_is_gone_and_its_number_never_comes_back(tmp_path: Path) -> None:
    """T81 in spirit: old layers are linked, and still hold entries under that number."""
    job = await job_with_state(tmp_path)
    pipeline = visits(tmp_path / "log", Outputs())
    with write_savepoint(pipeline, tmp_path / "less", base=job) as writer:
        writer.drop("visits", "count")
        writer.put("visits", "count", [("user-0", 5)])
        writer.drop("visits", "pages")
        writer.drop("in")
    after = manifest_of(tmp_path / "less")
    with open_snapshot(job) as snapshot:
        before = snapshot.manifest
    with open_snapshot(tmp_path / "less") as snapshot:
        assert dict(snapshot.state("visits", "count").items()) == {"user-0": 5}
        assert set(snapshot.states("visits")) == {"count", "last", "history", "(timers)"}
        assert snapshot.states("visits")["count"].number > max(before.numbers.states["visits"].values())
    assert after.sources == {}
    assert list(before.sources) == ["in"]

    with write_savepoint(pipeline, tmp_path / "none", base=job) as writer:
        writer.drop("visits")
    after = manifest_of(tmp_path / "none")
    assert (after.operators, after.layers, os.listdir(tmp_path / "none" / "layers")) == ({}, [], [])
    assert after.numbers.next_operator == before.numbers.next_operator

    with write_savepoint(pipeline, tmp_path / "anew", base=job) as writer:
        writer.drop("visits")
        writer.put("visits", "count", [("user-0", 5)])
    assert manifest_of(tmp_path / "anew").numbers.operators == {"visits": before.numbers.next_operator}


async def test_the_result_is_of_the_moment_and_job_of_its_base(tmp_path: Path) -> None:
    """Positions, times, and output not known to be committed go along: a restore treats it as its base."""
    job = await job_with_state(tmp_path)
    with write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "new", base=job) as writer:
        writer.transform("visits", "count", lambda user, count: (user, count))
    with open_snapshot(job) as snapshot:
        before = snapshot.manifest
    after = manifest_of(tmp_path / "new")
    kept = ("job", "attempt", "checkpoint", "created_us", "sources", "sinks", "times", "final", "pipeline")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert before.sources["in"]
    assert before.times

    with write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "seed"):
        pass
    fresh = manifest_of(tmp_path / "seed")
    assert (fresh.checkpoint, fresh.attempt, fresh.sources, fresh.times) == (1, 1, {}, [])
    assert fresh.job not in {"", before.job}


async def test_a_sort_in_files_gives_the_same_as_one_in_memory(tmp_path: Path) -> None:
    """More than 16 runs, so that runs of runs are merged too."""
    pipeline = visits(tmp_path / "log", Outputs())
    rows = [(f"user-{at * 7919 % 3000}", at) for at in range(3000)]
    for name, limit in (("memory", 1 << 30), ("files", 10_000)):
        with write_savepoint(pipeline, tmp_path / name, sorted_at_once=limit) as writer:
            writer.put("visits", "count", rows)
            runs = len(list((tmp_path / name / "sorting").iterdir()))
            assert (runs > 0) == (name == "files")
        assert sorted(os.listdir(tmp_path / name)) == ["layers", "layers.verified", "manifest.json"]
    assert same(tmp_path / "memory", tmp_path / "files")
    with open_snapshot(tmp_path / "files") as snapshot:
        assert list(snapshot.state("visits", "count").items()) == sorted(rows)


async def test_a_base_on_another_disk_is_copied(tmp_path: Path) -> None:
    job = await job_with_state(tmp_path)

    class OtherDisk(RealFiles):
        def link(self, source: str, target: str, /) -> None:
            if source.startswith(f"{job}/"):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source)
            super().link(source, target)

    with (
        use_world(replace(current_world(), files=OtherDisk())),
        write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "copy", base=job),
    ):
        pass
    assert same(job, tmp_path / "copy")
    assert {path.stat().st_nlink for path in (tmp_path / "copy" / "layers").iterdir()} == {1}


async def test_a_base_whose_layers_go_while_they_are_linked_gives_way_to_the_next(tmp_path: Path) -> None:
    job = await job_with_state(tmp_path)
    pipeline = visits(tmp_path / "log", Outputs())
    with write_savepoint(pipeline, tmp_path / "kept", base=job) as writer:
        writer.transform("visits", "count", lambda user, count: (user, count + 100))

    class Moving(RealFiles):
        moved = False

        def link(self, source: str, target: str, /) -> None:
            if not self.moved:
                self.moved = True
                move_on(job, tmp_path / "kept")
            super().link(source, target)

    files = Moving()
    with (
        use_world(replace(current_world(), files=files)),
        write_savepoint(pipeline, tmp_path / "copy", base=job),
    ):
        pass
    assert files.moved
    with open_snapshot(tmp_path / "copy") as snapshot:
        assert snapshot.state("visits", "count").get("user-0") == 106
    assert len(os.listdir(tmp_path / "copy" / "layers")) == 1


async def test_a_job_that_runs_may_be_the_base_and_goes_on_undisturbed(tmp_path: Path) -> None:
    """One process has the layers open twice, under two names."""
    await append(tmp_path / "log", records(0, 7))
    outputs = Outputs()
    async with visits(tmp_path / "log", outputs).run(store=tmp_path / "store", checkpoint_interval=None) as job:
        await outputs.reach(7)
        await job.checkpoint()
        pipeline = visits(tmp_path / "log", Outputs())
        with write_savepoint(pipeline, tmp_path / "one", base=tmp_path / "store") as writer:
            writer.put("visits", "count", [("user-9", 9)])
        with write_savepoint(pipeline, tmp_path / "two", base=tmp_path / "store"):
            pass
        await append(tmp_path / "log", records(7, 14))
        await outputs.reach(14)
        await job.checkpoint()
    for place, counts in (("one", 1), ("two", 1), ("store", 2)):
        with open_snapshot(tmp_path / place) as snapshot:
            found = dict(snapshot.state("visits", "count").items())
            assert found == {f"user-{at}": counts for at in range(7)} | ({"user-9": 9} if place == "one" else {})


async def test_savepoints_of_savepoints_keep_their_layers_apart(tmp_path: Path) -> None:
    """What is linked from the first and what is written in the second have names of their own."""
    pipeline = two_operators(tmp_path)
    with write_savepoint(pipeline, tmp_path / "0") as writer:
        for operator in ("visits", "others"):
            writer.put(operator, "count", [("a", 0)])
    for number in range(3):
        with write_savepoint(pipeline, tmp_path / f"{number + 1}", base=tmp_path / f"{number}") as writer:
            writer.transform("visits" if number != 1 else "others", "count", lambda key, count: (key, count + 1))
    with open_snapshot(tmp_path / "3") as snapshot:
        assert [snapshot.state(name, "count").get("a") for name in ("visits", "others")] == [2, 1]
        assert len({layer.name for layer in snapshot.manifest.layers}) == 2
    assert len(os.listdir(tmp_path / "3" / "layers")) == 2


async def test_output_that_is_not_known_to_be_committed_goes_along(tmp_path: Path) -> None:
    """T101: a restore commits it; without it, it would be lost. So its sink is renamed, or given up on purpose."""
    await append(tmp_path / "log", records(0, 7))

    def pipeline_to(name: str) -> Pipeline:
        pipeline = Pipeline("t")
        pipeline.source(EventLog(tuple[str, str, int], tmp_path / "log").view(stop="now"), name="in").key_by(
            lambda record: record[0]
        ).count(name="op").map(lambda pair: pair[1]).sink(EventLog(int, tmp_path / "out"), name=name)
        return pipeline

    await pipeline_to("out").run(store=tmp_path / "store")
    with write_savepoint(pipeline_to("out"), tmp_path / "new", base=tmp_path / "store") as writer:
        writer.transform("op", "value", lambda key, count: (key, count))
    with open_snapshot(tmp_path / "store") as snapshot:
        assert [token.operator for token in snapshot.manifest.sinks] == ["out"]
        assert manifest_of(tmp_path / "new").sinks == snapshot.manifest.sinks
    with (
        pytest.raises(RestoreError, match="pending output of sink 'out'"),
        write_savepoint(pipeline_to("elsewhere"), tmp_path / "lost", base=tmp_path / "store"),
    ):
        pass
    with write_savepoint(pipeline_to("elsewhere"), tmp_path / "renamed", base=tmp_path / "store") as writer:
        writer.rename("out", "elsewhere")
    assert [token.operator for token in manifest_of(tmp_path / "renamed").sinks] == ["elsewhere"]
    with write_savepoint(pipeline_to("elsewhere"), tmp_path / "dropped", base=tmp_path / "store") as writer:
        writer.drop("out")
    assert manifest_of(tmp_path / "dropped").sinks == []


async def test_the_log_keeps_what_a_copy_needs(tmp_path: Path) -> None:
    """Also under the name that its source has now; and one whose log cannot be told is taken back."""
    job = await job_with_state(tmp_path)
    pipeline = visits(tmp_path / "log", Outputs())
    with write_savepoint(pipeline, tmp_path / "new", base=job) as writer:
        writer.put("visits", "count", [("user-0", 5)])
    log = EventLog(tuple[str, str, int], tmp_path / "log")
    of_job = manifest_of(tmp_path / "new").job
    registered = {consumer.name: (consumer.store, consumer.positions) for consumer in await log.consumers()}
    assert registered == {
        f"{of_job}/in": (str(job), [39]),
        f"{of_job}/in@new": (str(tmp_path / "new"), [39]),
    }
    await log.aclose()
    (tmp_path / "log").rename(tmp_path / "moved")
    (tmp_path / "log").mkdir()
    with (
        pytest.raises(StoreError, match="could not be told to keep what"),
        write_savepoint(pipeline, tmp_path / "lost", base=job),
    ):
        pass
    assert not (tmp_path / "lost").exists()


async def test_no_log_keeps_what_was_taken_back(tmp_path: Path) -> None:
    """One of two logs cannot be told: the other one had been, and kept its records for ever."""

    def pipeline() -> Pipeline:
        pipeline, logs = Pipeline("t"), [EventLog(tuple[str, str, int], tmp_path / name) for name in ("one", "two")]
        one, two = (pipeline.source(log.view(stop="now"), name=f"in-{n}") for n, log in enumerate(logs))
        one.union(two).key_by(lambda record: record[0]).count(name="op").sink(lambda _: None, name="out")
        return pipeline

    for name in ("one", "two"):
        await append(tmp_path / name, records(0, 7))
    await pipeline().run(store=tmp_path / "store")
    (tmp_path / "two").rename(tmp_path / "moved")
    (tmp_path / "two").mkdir()
    with (
        pytest.raises(StoreError, match="could not be told to keep what"),
        write_savepoint(pipeline(), tmp_path / "lost", base=tmp_path / "store"),
    ):
        pass
    assert not (tmp_path / "lost").exists()
    consumers = await EventLog(tuple[str, str, int], tmp_path / "one").consumers()
    assert [consumer.name.partition("/")[2] for consumer in consumers] == ["in-0"]
