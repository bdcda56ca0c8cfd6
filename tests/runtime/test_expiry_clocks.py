"""What merges are told of the time: never more than what handlers go by, also those of a restored snapshot."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import anyio.lowlevel
import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.model.batch import Batch
from actorstream.model.ids import CheckpointId
from actorstream.model.signals import Barrier, EndOfInput, Watermark
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import MapState, ValueState
from actorstream.operators.ttl import TTL
from actorstream.runtime import compactor as compactor_module
from actorstream.runtime.messages import Acked
from actorstream.state.entries import EXPIRING, KIND
from actorstream.state.ttl import stamp_of
from actorstream.system.current import current_world
from tests.firing import fired_at_once
from tests.runtime.deploying import Deploying, subtask_of
from tests.runtime.doubles import Splits, Target, settle, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from actorstream.api.job import Job
    from actorstream.operators.contexts import Context
    from actorstream.operators.process_timers import Timer
    from actorstream.runtime.built import Built
    from actorstream.runtime.subtask import Subtask

ONE = CheckpointId(1)
EVENT, CLOCK = 1, 2


class Mixed(KeyedProcess[Any, Any, Any]):
    """A state of each clock, and one that stays. A record is when to set timers; `look` is called by each handler."""

    by_event: ValueState[int] = ValueState(0, ttl=TTL(timedelta(microseconds=10), domain="event"))
    by_clock: MapState[int, int] = MapState(ttl=TTL(timedelta(hours=1)))
    stays: ValueState[int] = ValueState(0)
    look: ClassVar[Any] = None

    def on_element(self, value: tuple[int, ...], ctx: Context[Any], /) -> None:
        """Set timers, named by their times."""
        self._look(ctx)
        for at in value:
            ctx.set_timer(at / 1e6, name=str(at))
        self.by_event = self.stays = len(value)
        self.by_clock[0] = 1

    def on_timer(self, timer: Timer, ctx: Context[Any], /) -> None:
        """Look."""
        self._look(ctx)

    def _look(self, ctx: Any) -> None:
        if Mixed.look is not None:
            Mixed.look(ctx.watermark_us)


@pytest.fixture(autouse=True)
def nobody_looks() -> Iterator[None]:
    yield
    Mixed.look = None


class Actor:
    """The actor of one process with two inputs. `snapshots` are written only once that is begun."""

    def __init__(self, built: Built, group: anyio.abc.TaskGroup) -> None:
        self.subtask: Subtask = subtask_of(built, "mixed")
        self.said: Any = built.coordinator._messages
        self._group = group

    async def put(self, *items: Any) -> None:
        """Give the same items to both lanes."""
        for item in items:
            for lane in self.subtask.mailbox.lanes:
                lane.put(item)
        await settle(50)

    async def write_snapshots(self) -> None:
        self._group.start_soon(self.subtask.snapshots.run)
        await until(lambda: any(isinstance(message, Acked) for message in self.said))

    def stamps(self) -> dict[int, int]:
        return self.subtask.expiry_clocks.stamps()


@asynccontextmanager
async def actor(store: Path) -> AsyncIterator[Actor]:
    pipeline = Pipeline("t")
    one, other = pipeline.source([()], name="one"), pipeline.source([()], name="other")
    one.union(other).key_by(lambda v: 0).process(Mixed, name="mixed").sink(Target(), name="out")
    built = await Deploying(pipeline, store).build()

    async def start() -> None:
        """Begin at once."""

    async with anyio.create_task_group() as group:
        mixed = Actor(built, group)
        group.start_soon(mixed.subtask.run, lambda: None, start)
        await settle()
        yield mixed
        group.cancel_scope.cancel()
    await built.close()


def record(*timers: int, at: int = 0) -> Batch:
    return Batch([timers], [at], [0])


async def test_each_state_that_expires_goes_by_its_own_clock(tmp_path: Path) -> None:
    """One that stays has none: with none, nothing is dropped."""
    async with actor(tmp_path) as mixed:
        await mixed.put(record(), Watermark(100))
        before = current_world().clock.now_us()
        stamps = mixed.stamps()
        assert set(stamps) == {EVENT, CLOCK}
        assert stamps[EVENT] == stamp_of(100, "event")
        assert before <= stamps[CLOCK] <= current_world().clock.now_us()


async def test_where_no_watermark_has_come_or_the_input_has_ended_event_time_is_not_known(tmp_path: Path) -> None:
    """Else everything would expire at the end, also what was to live for ever; or nothing could be told from that."""
    async with actor(tmp_path) as mixed:
        await mixed.put(record())
        assert set(mixed.stamps()) == {CLOCK}
        await mixed.put(Watermark(100))
        assert set(mixed.stamps()) == {EVENT, CLOCK}
        await mixed.put(EndOfInput())
        assert set(mixed.stamps()) == {CLOCK}


async def test_timer_that_is_due_sees_what_has_not_expired_at_its_own_time(tmp_path: Path) -> None:
    """Time has leaped to 100, and passes from timer to timer: a merge between two of them keeps what expires at 70."""
    handlers: list[int] = []
    merges: list[tuple[int, int]] = []
    with fired_at_once(1):
        async with actor(tmp_path) as mixed:
            await mixed.put(record(50, 60, 90))
            Mixed.look = handlers.append
            relieve = mixed.subtask.runner.after_piece
            assert relieve is not None

            def merge() -> None:
                relieve()
                merges.append((len(handlers), mixed.stamps()[EVENT] - stamp_of(0, "event")))

            mixed.subtask.runner.after_piece = merge
            await mixed.put(Watermark(100))
            assert handlers == [50, 60, 90]
            assert [done for done, _ in merges] == [1, 2, 3]
            assert all(told <= watermark for done, told in merges for watermark in handlers[done:])
            assert [told for _, told in merges] == [60, 90, 100], "and drops what it may"
            assert mixed.stamps()[EVENT] == stamp_of(100, "event")


async def test_until_a_snapshot_is_durable_event_time_stands_at_its_barrier(tmp_path: Path) -> None:
    """It will list the layers of then, and be restored with the time of the barrier: what had not expired is needed."""
    async with actor(tmp_path) as mixed:
        await mixed.put(record(), Watermark(100), Barrier(ONE), Watermark(130))
        assert mixed.subtask.snapshots.reporting
        assert mixed.stamps()[EVENT] == stamp_of(100, "event")
        await mixed.put(Barrier(CheckpointId(2)), Watermark(140))
        assert mixed.stamps()[EVENT] == stamp_of(100, "event"), "the first of two"
        await mixed.write_snapshots()
        await until(lambda: not mixed.subtask.snapshots.reporting)
        assert mixed.stamps()[EVENT] == stamp_of(140, "event")


async def test_early_freeze_holds_no_time_up(tmp_path: Path) -> None:
    """Nobody restores from it."""
    async with actor(tmp_path) as mixed:
        await mixed.put(record(), Watermark(100))
        state = mixed.subtask.state
        assert state is not None
        generation = state.freeze()
        assert generation is not None
        mixed.subtask.snapshots.submit_early(generation)
        await mixed.put(Watermark(130))
        assert mixed.stamps()[EVENT] == stamp_of(130, "event")


# ---- whole jobs


class Visit(KeyedProcess[str, tuple[str, float], int]):
    """Says how often a key was seen, for as long as that is remembered; a subclass says for how long."""

    def on_element(self, value: tuple[str, float], ctx: Context[str], /) -> list[int]:
        """Count."""
        process: Any = self
        process.seen += 1
        process.days[1] = process.seen
        return [process.seen]


class Fading(Visit):
    """For a moment by the clock."""

    seen: ValueState[int] = ValueState(0, ttl=timedelta(microseconds=1))
    days: MapState[int, int] = MapState(ttl=timedelta(microseconds=1))


class Staying(Visit):
    """For ever."""

    seen: ValueState[int] = ValueState(0)
    days: MapState[int, int] = MapState()


class TenSeconds(Visit):
    """Ten seconds, by event time."""

    seen: ValueState[int] = ValueState(0, ttl=TTL(10, domain="event"))
    days: MapState[int, int] = MapState(ttl=TTL(10, domain="event"))


def visits(owner: type[Visit], source: Any) -> Pipeline:
    pipeline = Pipeline("t")
    timed = pipeline.source(source, name="in", parallelism=1).assign_timestamps(lambda value: value[1])
    timed.key_by(lambda value: value[0]).process(owner, name="visit").sink(Target(), name="out")
    return pipeline


def subtasks_of(job: Job) -> list[Subtask]:
    """Give those that keep state."""
    attempt = job._supervisor.attempt
    assert attempt is not None
    return [subtask for subtask in attempt.built.subtasks.values() if subtask.state is not None]


def state_of(job: Job) -> Any:
    (subtask,) = subtasks_of(job)
    return subtask.state


def expiring_entries(job: Job) -> int:
    """Count what the layers hold that has an expiry, passed or not; in how many layers does not matter."""
    stack = state_of(job).stack
    layers = {layer for _, run in stack.runs() for layer in run}
    return len({key for layer in layers for key, value in layer.scan(b"") if value[0] & KIND == EXPIRING})


async def checkpoint_after(job: Job, source: Splits[Any], records: int) -> None:
    source.allow(records)
    await until(lambda: job.summary().records_out >= records)
    await job.checkpoint()


def merges_from(monkeypatch: pytest.MonkeyPatch, layers: int) -> None:
    monkeypatch.setattr(compactor_module, "LAYERS_AIM", layers)
    monkeypatch.setattr(compactor_module, "MERGED_MIN", layers)


async def test_values_stay_whose_time_to_live_was_taken_away_t129(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had expired by the clock, and was in no merge yet, is there again after the restart: no merge takes it."""
    records = [(f"k{n}", 0.0) for n in range(4)]
    merges_from(monkeypatch, 100)
    source = Splits({"a": records}, batch=1, allowed=0, ended=False)
    async with visits(Fading, source).run(store=tmp_path, checkpoint_interval=None) as job:
        for allowed in range(1, 5):
            await checkpoint_after(job, source, allowed)
        assert expiring_entries(job) == 8
    merges_from(monkeypatch, 1)
    source = Splits({"a": [*records, ("new", 1.0)]}, batch=1, allowed=4, ended=False)
    async with visits(Staying, source).run(store=tmp_path, checkpoint_interval=None) as job:
        source.allow(5)
        await until(lambda: job.summary().records_out == 1)
        await job.checkpoint()
        await until(lambda: state_of(job).stack.layers == 1)
        assert [await job.get(Staying.seen, key) for key, _ in records] == [1] * 4
        assert await job.get(Staying.days, "k0") == {1: 1}
        assert expiring_entries(job) == 8


async def test_values_that_have_expired_by_the_clock_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other side of it: with a time-to-live, a merge is what removes them."""
    merges_from(monkeypatch, 1)
    source = Splits({"a": [(f"k{n}", 0.0) for n in range(4)]}, batch=1, allowed=0, ended=False)
    async with visits(Fading, source).run(store=tmp_path, checkpoint_interval=None) as job:
        for allowed in range(1, 5):
            await checkpoint_after(job, source, allowed)
        await until(lambda: expiring_entries(job) <= 2)
        assert await job.get(Fading.seen, "k3") == 0


async def test_values_go_once_the_watermark_has_passed_their_expiry_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the clock of the machine they would all have expired in 1970."""
    source = Splits({"a": [("a", 0.0), ("b", 5.0), ("c", 10.0), ("d", 15.1), ("d", 15.2)]}, batch=1, allowed=0)
    source.ended = False
    monkeypatch.setattr(compactor_module, "MERGED_MIN", 1)
    async with visits(TenSeconds, source).run(store=tmp_path, checkpoint_interval=None) as job:

        async def entries_after(records: int) -> int:
            merges_from(monkeypatch, 100)
            await checkpoint_after(job, source, records)
            merges_from(monkeypatch, 1)
            await job.checkpoint()
            await until(lambda: state_of(job).stack.layers == 1)
            return expiring_entries(job)

        assert await entries_after(2) == 4
        assert await entries_after(3) == 6, "the watermark is just below 10, when a expires"
        assert await entries_after(4) == 4, "now a and b have expired"
        assert await entries_after(5) == 4
        assert [await job.get(TenSeconds.seen, key) for key in "abcd"] == [0, 0, 1, 2]
        assert [await job.get(TenSeconds.days, key) for key in "abcd"] == [{}, {}, {1: 1}, {1: 2}]


@pytest.mark.parametrize("apart", [False, True], ids=["in the actor of the source", "in one of its own"])
async def test_no_handler_is_behind_what_a_merge_could_have_been_told(tmp_path: Path, apart: bool) -> None:
    """At any turn of the loop: between pieces and rounds of timers, and while keys are fetched in a thread."""
    told = [0]
    behind: list[tuple[int, int]] = []

    def look(watermark: int) -> None:
        if watermark < told[0]:
            behind.append((watermark, told[0]))

    def mixed(source: Any) -> Pipeline:
        """Records are (a time to set a timer to,), 100 µs after their own."""
        pipeline = Pipeline("t")
        timed = pipeline.source(source, name="in").assign_timestamps(lambda value: value[0] / 1e6 - 1e-4)
        keyed = timed.key_by(lambda value: value[0] % 500)
        keyed.process(Mixed, name="mixed", new_chain=apart).sink(Target(), name="out")
        return pipeline

    async def sample(job: Job) -> None:
        (subtask,) = subtasks_of(job)
        while True:
            told[0] = max(told[0], subtask.expiry_clocks.stamps().get(EVENT, 0) - stamp_of(0, "event"))
            await anyio.lowlevel.checkpoint()

    records = [(n,) for n in range(3_000)]
    source = Splits({"a": records}, batch=700, ended=False)
    async with mixed(source).run(store=tmp_path) as job:
        await until(lambda: job.summary().records_in == 3_000)
    source = Splits({"a": [*records, *((n,) for n in range(5_000, 8_000))]}, batch=700, ended=False)
    Mixed.look = look
    async with mixed(source).run(store=tmp_path) as job, anyio.create_task_group() as group:
        group.start_soon(sample, job)
        await until(lambda: told[0] == 7_898)
        group.cancel_scope.cancel()
    assert behind == []
