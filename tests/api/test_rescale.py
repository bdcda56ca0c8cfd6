"""Another parallelism while the job runs: nothing is lost, nothing comes twice, and a failure leaves it as it was."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from typing import TYPE_CHECKING

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.api.settings import Settings
from actorstream.errors import JobFailed, PlanError, StoreError
from actorstream.eventlog.log import EventLog
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import MapState, ValueState
from actorstream.protocol.restart import Restart
from actorstream.system.current import current_world, use_world
from actorstream.system.files import RealFiles
from tests.api.evolving import KEYS, check, has_read, numbers, sums
from tests.checkpoints.stepped_files import SteppedFiles, Switch, fail_at, nothing
from tests.runtime.doubles import Splits, Target, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

    from actorstream.model.ids import LayerName
    from actorstream.operators.contexts import Context
    from actorstream.runtime.built import Built


@pytest.mark.parametrize("store", [True, False], ids=["store", "no store"])
async def test_any_row_of_rescales_loses_and_doubles_nothing(tmp_path: Path, *, store: bool) -> None:
    """Up and down, with records and pending output at every one of them."""
    source, out = numbers(5), Target()
    options = {"store": tmp_path} if store else {}
    async with sums(source, out).run(**options, checkpoint_interval=None) as job:  # type: ignore[arg-type]
        for step, parallelism in enumerate((3, 1, 4, 2, 2, 7), start=1):
            source.allow(5 * step)
            await has_read(job, 20 * step)
            await job.rescale(parallelism)
            assert job.status == "running"
            subtasks = {name.split(".")[1] for name in job.metrics() if name.startswith("sum.")}
            assert len(subtasks) == (parallelism if parallelism > 1 else 0), "one subtask joins its source's actor"
            check(out.committed, 5 * step)
        source.allow(40)
        await has_read(job, 160)
    check(out.committed, 40)


async def test_one_operator_alone_is_rescaled(tmp_path: Path) -> None:
    """The others stay as they are, also with a later rescale of all."""
    source, out = numbers(10), Target()
    async with sums(source, out).run(store=tmp_path) as job:
        await has_read(job, 40)
        await job.rescale(3, operator="sum")
        assert {name.rsplit(".", 1)[0] for name in job.metrics() if not name.startswith("job")} >= {
            "in.0", "sum.0", "sum.1", "sum.2",
        }  # fmt: skip
        await job.rescale(2)
        parts = {name.rsplit(".", 1)[0] for name in job.metrics() if not name.startswith("job")}
        assert {"in.0", "in.1", "sum.0", "sum.1", "sum.2", "out.0", "out.1"} == parts
        source.allow(20)
        await has_read(job, 80)
    check(out.committed, 20)


async def test_what_cannot_be_is_refused_before_anything_happens(tmp_path: Path) -> None:
    """No checkpoint is taken for it."""
    async with sums(numbers(3), Target()).run(store=tmp_path, checkpoint_interval=None) as job:
        with pytest.raises(PlanError, match=r"parallelism 129: use 1 to 128"):
            await job.rescale(129)
        with pytest.raises(PlanError, match=r"parallelism 0: use 1 to 128"):
            await job.rescale(0, operator="sum")
        with pytest.raises(PlanError, match=r"no operator 'total' to rescale: the job has \['in', 'out', 'sum'\]"):
            await job.rescale(2, operator="total")
        assert job.metrics()["job.checkpoints"] == 0


async def test_two_rescales_at_once_one_waits_for_none(tmp_path: Path) -> None:
    """The second is told; afterwards it can be asked again."""
    source, out = numbers(10), Target()
    async with sums(source, out).run(store=tmp_path) as job:
        await has_read(job, 40)
        outcomes = await asyncio.gather(job.rescale(2), job.rescale(3), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes].count(StoreError) == 1
        assert outcomes.count(None) == 1
        await job.rescale(3)
        source.allow(20)
        await has_read(job, 80)
    check(out.committed, 20)


async def test_a_rescale_whose_checkpoint_fails_leaves_the_job_as_it_was(tmp_path: Path) -> None:
    """The first one, while it runs; or the second one, at whose barrier the sources stop: they read on."""
    switch = Switch()
    world = current_world()
    source, out = numbers(10), Target()
    with use_world(type(world)(world.clock, SteppedFiles(switch), world.offload, world.random, world.processes)):
        settings = Settings(tolerated_failures=1)
        async with sums(source, out).run(store=tmp_path, checkpoint_interval=None, settings=settings) as job:
            await has_read(job, 40)
            for skip in (0, 1):
                switch.then = fail_at("link", "manifest.json", errno.ENOSPC, skip=skip)
                with pytest.raises(StoreError, match="No space left on device"):
                    await job.rescale(3)
                switch.then = nothing
                assert job.status == "running"
                source.allow(20 + 10 * skip)
                await has_read(job, 80 + 40 * skip)
            await job.rescale(3)
            assert job.status == "running"
            source.allow(40)
            await has_read(job, 160)
    check(out.committed, 40)


async def test_a_job_that_fails_while_it_is_rescaled_restarts_by_the_old_plan_and_says_so(tmp_path: Path) -> None:
    """What was asked for did not happen; nothing is lost."""
    source, out = numbers(10), Target()
    restart = Restart.fixed_delay(5, delay=0)
    async with sums(source, out).run(store=tmp_path, checkpoint_interval=None, restart=restart) as job:
        await has_read(job, 40)
        await job.checkpoint()
        source.allow(20)
        await has_read(job, 80)
        out.crash_before_commit = RuntimeError("the target is gone")
        with pytest.raises(StoreError):
            await job.rescale(3)
        await until(lambda: job.status == "running")
        assert job.summary().restarts == 1
        await job.rescale(3)
        source.allow(30)
        async with asyncio.timeout(10):
            while len(out.committed) < 120:
                await job.checkpoint()
    check(out.committed, 30)


async def test_a_job_that_fails_when_it_was_handed_over_restarts_by_the_new_plan(tmp_path: Path) -> None:
    """And a later rescale of one operator begins from that."""
    source, out = numbers(10), Target()
    failures = [ValueError("not today")]

    def refuse_once(built: Built) -> None:
        if len(built.subtasks) > 1 and failures:
            raise failures.pop()

    restart = Restart.fixed_delay(5, delay=0)
    async with sums(source, out).run(store=tmp_path, restart=restart) as job:
        await has_read(job, 40)
        job._supervisor.on_built = refuse_once
        with pytest.raises(StoreError, match="not today"):
            await job.rescale(3)
        await until(lambda: job.status == "running")
        await job.rescale(2, operator="out")
        source.allow(20)
        await has_read(job, 80)
        parts = {name.rsplit(".", 1)[0] for name in job.metrics() if not name.startswith("job")}
        assert parts == {"in.0", "in.1", "in.2", "sum.0", "sum.1", "sum.2", "out.0", "out.1"}
    check(out.committed, 20)


async def test_a_stop_that_comes_during_a_rescale_is_kept(tmp_path: Path) -> None:
    """Leaving the block while a rescale is under way ends the job, in good order."""
    source, out = numbers(10), Target()
    async with sums(source, out).run(store=tmp_path) as job:
        await has_read(job, 40)
        rescaling = asyncio.ensure_future(job.rescale(3))
        await until(lambda: job.status == "restarting")
        assert "The job is being rescaled: its sources stop at a checkpoint" in job.explain()
    assert job.status == "finished"
    (outcome,) = await asyncio.gather(rescaling, return_exceptions=True)
    assert outcome is None or isinstance(outcome, StoreError | JobFailed)
    check(out.committed, 10)


async def test_an_input_that_ends_during_a_rescale_ends_the_job(tmp_path: Path) -> None:
    """There is nobody to go on."""
    source, out = Splits({"a": range(50)}, allowed=50), Target()
    async with sums(source, out).run(store=tmp_path) as job:
        with pytest.raises(StoreError):  # noqa: PT012
            while True:
                await job.rescale(2)
                await job.rescale(1)
        await job.wait()
    assert len(out.committed) == 50


class Basket(KeyedProcess[int, int, tuple[int, int, int]]):
    """A value and a map."""

    count: ValueState[int] = ValueState(0)
    seen: MapState[int, int] = MapState()

    def on_element(self, value: int, ctx: Context[int]) -> list[tuple[int, int, int]]:
        """Count, and remember."""
        self.count += 1
        self.seen[value] = self.count
        return [(ctx.key, self.count, len(self.seen))]


async def test_queries_and_subscriptions_find_the_new_subtasks(tmp_path: Path) -> None:
    """`get` asks the subtask that has the key now; a subscriber hears all of them."""
    source, out = numbers(10), Target()
    pipeline = Pipeline("baskets")
    results = pipeline.source(source, name="in").key_by(lambda v: v % KEYS).process(Basket, name="baskets")
    results.sink(out, name="out")
    async with pipeline.run(store=tmp_path) as job:
        await has_read(job, 40)
        subscription = job.subscribe(results, overflow="drop_oldest")
        await job.rescale(4)
        expected = {key: sum(1 for v in range(40) if v % KEYS == key) for key in range(KEYS)}
        assert {key: await job.get(Basket.count, key) for key in range(KEYS)} == expected
        seen: Mapping[int, int] = await job.get(Basket.seen, 3)
        assert len(seen) == expected[3]
        source.allow(12)
        heard = {key async for key in _keys(subscription, 8)}
        assert heard == {v % KEYS for v in range(40, 48)}


async def _keys(subscription: AsyncIterable[tuple[int, int, int]], count: int) -> AsyncIterator[int]:
    found = 0
    async for key, _, _ in subscription:
        yield key
        found += 1
        if found == count:
            return


async def test_a_log_gets_each_record_once_through_rescales_and_crashes(tmp_path: Path) -> None:
    """Tokens of subtasks that are no more are committed by others (T109)."""
    source = numbers(10)
    log = EventLog(tuple[int, int], tmp_path / "out", partitions=3, key=lambda pair: pair[0])
    async with log:
        async with sums(source, log).run(store=tmp_path / "store", parallelism=4, checkpoint_interval=None) as job:
            await has_read(job, 40)
            await job.rescale(1)
            source.allow(20)
            await has_read(job, 80)
            await job.savepoint("pending")
        source.allow(30)
        async with sums(source, log).run(store=tmp_path / "store", parallelism=3) as job:
            await has_read(job, 40)
            await job.rescale(2)
        check([record.value async for record in log.records(stop="now")], 30)


def keys_in_memory(built: Built) -> int:
    """Count what the states of an attempt hold in memory."""
    states = [subtask.state for subtask in built.subtasks.values() if subtask.state is not None]
    return sum(state.statistics().keys_in_memory for state in states)


async def test_the_pause_does_not_wait_for_the_old_state_to_be_taken_apart(tmp_path: Path) -> None:
    """That takes the longer the more there is: the layers are let go of at once, the rest beside the next attempt."""
    source, out = numbers(10), Target()
    async with sums(source, out).run(store=tmp_path, checkpoint_interval=None) as job:
        await has_read(job, 40)
        old = await job._supervisor.running()
        attach = job._supervisor.on_built
        seen: list[tuple[int, set[LayerName]]] = []

        def look(built: Built) -> None:
            seen.append((keys_in_memory(old), old.layers_in_use()))
            attach(built)

        job._supervisor.on_built = look
        await job.rescale(3)
        assert seen == [(KEYS, set())]
        await until(lambda: not keys_in_memory(old))
        source.allow(20)
        await has_read(job, 80)
    check(out.committed, 20)


async def test_the_old_state_is_taken_apart_also_where_the_next_attempt_does_not_come_up(tmp_path: Path) -> None:
    """A process that goes on without the job keeps nothing of it."""

    def refuse(built: Built) -> None:
        raise ValueError("not today")

    olds: list[Built] = []

    async def fail() -> None:
        async with sums(numbers(10), Target()).run(store=tmp_path, restart=Restart.never()) as job:
            await has_read(job, 40)
            olds.append(await job._supervisor.running())
            job._supervisor.on_built = refuse
            await job.rescale(3)

    with pytest.raises(JobFailed, match="not today"):
        await fail()
    [old] = olds
    assert not keys_in_memory(old)
    assert not old.layers_in_use()


class WatchedFiles(RealFiles):
    """Tells `on_read` which layers are read to their end. What has just been changed has no identity of its own."""

    def __init__(self, on_read: Callable[[str], None]) -> None:
        self._on_read = on_read

    def chunks(self, path: str, /) -> Iterator[bytes]:
        if path.endswith(".lmdb"):
            self._on_read(os.path.basename(path))
        return super().chunks(path)

    def identity(self, path: str, /) -> str:
        status = os.stat(path)
        return f"{status.st_ino} {status.st_size} {status.st_ctime_ns}"


async def test_what_a_savepoint_has_linked_is_read_while_the_job_still_runs(tmp_path: Path) -> None:
    """A link changes a file's time, so its proof is void: reading all of the state must not be a part of the pause."""
    read: list[tuple[str, str]] = []
    world = current_world()
    files = WatchedFiles(lambda name: read.append((name, job.status)))
    source, out = numbers(10), Target()
    with use_world(type(world)(world.clock, files, world.offload, world.random, world.processes)):
        async with sums(source, out).run(store=tmp_path, checkpoint_interval=None) as job:
            await has_read(job, 40)
            savepoint = await job.savepoint("before")
            linked = os.listdir(os.path.join(savepoint.path, "layers"))
            read.clear()
            await job.rescale(3)
            assert sorted((name, status) for name, status in read if name in linked) == [(linked[0], "running")]
            source.allow(20)
            await has_read(job, 80)
    check(out.committed, 20)


async def test_a_rescale_adds_to_what_another_has_done_while_its_layers_were_read(tmp_path: Path) -> None:
    """It asks for one operator: what all others have is that of the moment of its change, not that of its call."""
    read: list[str] = []
    may_read = threading.Event()
    may_read.set()
    world = current_world()

    def hold_the_first(name: str) -> None:
        read.append(name)
        if len(read) == 1:
            assert may_read.wait(20)

    source, out = numbers(10), Target()
    files = WatchedFiles(hold_the_first)
    with use_world(type(world)(world.clock, files, world.offload, world.random, world.processes)):
        async with sums(source, out).run(store=tmp_path, checkpoint_interval=None) as job:
            await has_read(job, 40)
            await job.savepoint("before")
            read.clear()
            may_read.clear()
            late = asyncio.ensure_future(job.rescale(3, operator="out"))
            await until(lambda: len(read) == 1)
            await job.rescale(2, operator="sum")
            may_read.set()
            await late
            parts = {name.rsplit(".", 1)[0] for name in job.metrics() if not name.startswith("job")}
            assert parts == {"in.0", "sum.0", "sum.1", "out.0", "out.1", "out.2"}
            source.allow(20)
            await has_read(job, 80)
    check(out.committed, 20)


def flip_last_byte(path: str) -> None:
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes((last ^ 1,)))


async def test_a_layer_that_is_damaged_is_found_before_the_job_is_handed_over(tmp_path: Path) -> None:
    """It goes on with what it has in memory, and says so; no attempt begins that could not read its state."""
    source, out = numbers(10), Target()
    async with sums(source, out).run(store=tmp_path, checkpoint_interval=None) as job:
        await has_read(job, 40)
        savepoint = await job.savepoint("before")
        [layer] = os.listdir(os.path.join(savepoint.path, "layers"))
        flip_last_byte(os.path.join(savepoint.path, "layers", layer))
        with pytest.raises(StoreError, match=f"{layer}: digest .* it is damaged"):
            await job.rescale(3)
        assert job.status == "running"
        source.allow(20)
        await has_read(job, 80)
    check(out.committed, 20)
