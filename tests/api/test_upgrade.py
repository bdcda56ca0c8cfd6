"""Snapshots under new code: operators renamed, given up, added; and forks beside the job they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.api.settings import Settings
from actorstream.errors import PlanError, RestoreError
from actorstream.eventlog.log import EventLog
from tests.api.evolving import KEYS, check, has_read, numbers, sums
from tests.runtime.doubles import Splits, Target

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.api.savepoint import Savepoint


async def at(tmp_path: Path, source: Splits[int], sink: Any, count: int = 120) -> Savepoint:
    """Run the job up to here, and stop it with a savepoint."""
    async with sums(source, sink).run(store=tmp_path) as job:
        await has_read(job, count)
        return await job.stop(savepoint="v1")


# ---- names


async def test_state_of_an_operator_that_is_gone_is_refused_and_named(tmp_path: Path) -> None:
    """Forgetting it silently would look like success."""
    source, out = numbers(30), Target()
    savepoint = await at(tmp_path / "one", source, out)

    with pytest.raises(RestoreError, match=r"holds state of operator 'sum', which the pipeline does not have"):
        await sums(source, out, name="total").run(store=tmp_path / "two", restore=savepoint)


async def test_a_renamed_operator_keeps_its_state_and_may_say_so_at_each_start(tmp_path: Path) -> None:
    """`restore_as`: also the sink, whose pending output goes along, and the source with its positions."""
    source, out = numbers(30), Target()
    async with sums(source, out).run(store=tmp_path, checkpoint_interval=None) as job:
        await has_read(job, 120)
        await job.savepoint("pending")
    settings = Settings(restore_as={"sum": "total", "out": "results"})
    for allowed in (40, 50):
        source.allow(allowed)
        renamed = sums(source, out, name="total", sink_name="results")
        async with renamed.run(store=tmp_path, settings=settings, parallelism=2) as job:
            await has_read(job, 40)
    check(out.committed, 50)


async def test_names_may_be_exchanged_but_two_cannot_become_one(tmp_path: Path) -> None:
    """Each name has one state."""
    source = numbers(30)

    def two(first: str, second: str) -> Pipeline:
        pipeline = Pipeline("sums")
        keyed = pipeline.source(source, name="in").key_by(lambda v: v % KEYS)
        keyed.map_with_state(0, lambda n, v: (n + 1, (first, n + 1)), name=first).sink(out, name="counts")
        keyed.map_with_state(0, lambda n, v: (n + v, (second, n + v)), name=second).sink(out, name="totals")
        return pipeline

    out = Target()
    async with two("a", "b").run(store=tmp_path) as job:
        await has_read(job, 120)
    with pytest.raises(RestoreError, match=r"restore_as makes 'a' 'b', but the snapshot has another operator of that"):
        await two("a", "b").run(store=tmp_path, settings=Settings(restore_as={"a": "b"}))
    source.allow(31)
    out.committed.clear()
    async with two("b", "a").run(store=tmp_path, settings=Settings(restore_as={"a": "b", "b": "a"})) as job:
        await has_read(job, 4)
    assert {name: max(n for at, n in out.committed if at == name) for name in ("a", "b")}["b"] <= 18 + 1


async def test_what_may_be_dropped_is_dropped_and_a_name_used_again_starts_empty(tmp_path: Path) -> None:
    """The number in the layers is not used again: the new operator sees nothing of the old one."""
    source, out = numbers(30), Target()
    await at(tmp_path, source, out)

    def without(*, again: bool) -> Pipeline:
        pipeline = Pipeline("sums")
        stream = pipeline.source(source, name="in")
        if again:
            counted = stream.key_by(lambda v: v % KEYS).map_with_state(0, lambda n, v: (n + 1, n + 1), name="sum")
            counted.sink(late, name="counts")
        stream.sink(plain, name="plain")
        return pipeline

    plain, late = Target(), Target()
    source.allow(40)
    dropping = Settings(allow_dropped=["sum", "out"])
    async with without(again=False).run(store=tmp_path, settings=dropping) as job:
        await has_read(job, 40)
    assert len(plain.committed) == 40
    source.allow(50)
    async with without(again=True).run(store=tmp_path) as job:
        await has_read(job, 40)
    assert sorted(late.committed)[-1] <= 40 // KEYS + 1
    assert late.committed.count(1) == KEYS


async def test_a_stateful_operator_that_is_new_starts_empty(tmp_path: Path) -> None:
    """Beside one that goes on."""
    source, out, counts = numbers(30), Target(), Target()
    savepoint = await at(tmp_path / "one", source, out)
    pipeline = sums(source, out)
    stream = pipeline.source(Splits({"x": range(9)}, ended=False), name="more")
    stream.key_by(lambda v: v % 2).map_with_state(0, lambda n, v: (n + 1, n + 1), name="count").sink(
        counts, name="counts"
    )
    source.allow(40)
    async with pipeline.run(store=tmp_path / "two", restore=savepoint) as job:
        await has_read(job, 49)
    check(out.committed, 40)
    assert len(counts.committed) == 9


async def test_changed_max_parallelism_says_what_it_was(tmp_path: Path) -> None:
    """T123: every key would be looked for in another group."""
    source = numbers(30)
    savepoint = await at(tmp_path / "one", source, Target())
    pipeline = Pipeline("sums", max_parallelism=64)
    keyed = pipeline.source(source, name="in").key_by(lambda v: v % KEYS)
    keyed.map_with_state(0, lambda n, v: (n, n), name="sum").sink(Target(), name="out")

    with pytest.raises(RestoreError, match=r"taken with max_parallelism 128, the pipeline has 64"):
        await pipeline.run(store=tmp_path / "two", restore=savepoint)


async def test_a_changed_key_type_says_what_it_was(tmp_path: Path) -> None:
    """T34: no key would find its state."""
    source = numbers(30)
    savepoint = await at(tmp_path / "one", source, Target())
    pipeline = Pipeline("sums")
    keyed = pipeline.source(source, name="in").key_by(lambda v: str(v % KEYS))
    keyed.map_with_state(0, lambda n, v: (n, n), name="sum").sink(Target(), name="out")
    source.allow(40)

    with pytest.raises(Exception, match=r"key") as refused:
        async with pipeline.run(store=tmp_path / "two", restore=savepoint) as job:
            await job.wait()
    assert "int" in str(refused.value)
    assert "str" in str(refused.value)


# ---- forks


async def test_a_fork_runs_beside_its_origin_with_output_of_its_own(tmp_path: Path) -> None:
    """Both go on from the savepoint, at the same time, and neither sees the other."""
    source = numbers(30)
    log = EventLog(tuple[int, int], tmp_path / "out", partitions=2, key=lambda pair: pair[0])
    async with log, sums(source, log).run(store=tmp_path / "store", checkpoint_interval=None) as origin:
        await has_read(origin, 120)
        savepoint = await origin.savepoint("before")
        async with sums(source, log).run(
            store=tmp_path / "store", restore=savepoint, fork="v2", checkpoint_interval=0.05, parallelism=2
        ) as fork:
            source.allow(40)
            await has_read(origin, 160)
            await has_read(fork, 40)
            assert fork.status == origin.status == "running"
        await origin.stop()
        check([record.value async for record in log.records(stop="now")], 40)
        mine = EventLog(tuple[int, int], tmp_path / "out@v2")
        async with mine:
            records = [record.value async for record in mine.records(stop="now")]
        assert len(records) == 40, "what the origin had pending is the origin's"

    source.allow(45)
    async with log, sums(source, log).run(store=tmp_path / "store", fork="v2") as fork:
        await has_read(fork, 20)
    async with log, sums(source, log).run(store=tmp_path / "store", restore="before", fork="v2") as fork:
        source.allow(50)
        await has_read(fork, 20)
    async with mine:
        assert len([record.value async for record in mine.records(stop="now")]) == 80


async def test_sinks_know_a_fork_by_its_name(tmp_path: Path) -> None:
    """A target of one's own keeps them apart by the job's id."""
    source, out = numbers(30), Names()
    async with sums(source, out).run(store=tmp_path) as job:
        await has_read(job, 120)
        await job.savepoint("a")
    async with sums(source, out).run(store=tmp_path, restore="a", fork="canary"):
        pass
    origin, fork = out.jobs
    assert fork.endswith("@canary")
    assert fork.removesuffix("@canary") != origin


class Names(Target):
    """A target that notes who writes."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[str] = []

    def writer(self, ctx: Any, /) -> Any:
        """Note the job."""
        self.jobs.append(ctx.job)
        return super().writer(ctx)


async def test_a_fork_needs_to_be_told_what_it_begins_from(tmp_path: Path) -> None:
    """An empty one would not be a fork; and a store is of one fork only."""
    source = numbers(30)
    async with sums(source, Target()).run(store=tmp_path) as job:
        await has_read(job, 120)
        savepoint = await job.savepoint("a")
        other = await job.savepoint("b")
    with pytest.raises(RestoreError, match=r"no fork 'x' in .* name the savepoint that it begins from"):
        await sums(source, Target()).run(store=tmp_path, fork="x")
    async with sums(source, Target()).run(store=tmp_path, restore=savepoint, fork="x"):
        pass
    with pytest.raises(RestoreError, match="another name"):
        await sums(source, Target()).run(store=tmp_path, restore=other, fork="x")
    with pytest.raises(PlanError, match="expected a name of 1 to 64"):
        await sums(source, Target()).run(store=tmp_path, restore=savepoint, fork="")


async def test_a_forked_log_is_closed_with_its_job(tmp_path: Path) -> None:
    """Nobody else has it."""
    source = numbers(30)
    log = EventLog(tuple[int, int], tmp_path / "out")
    async with log, sums(source, log).run(store=tmp_path / "store") as job:
        await has_read(job, 120)
        await job.savepoint("a")
    async with log, sums(source, log).run(store=tmp_path / "store", restore="a", fork="x") as job:
        attempt = job._supervisor.attempt
        assert attempt is not None
        (forked,) = attempt.built.deployment.sinks.values()
        assert isinstance(forked, EventLog)
        assert forked._open is not None
    assert forked._open is None
