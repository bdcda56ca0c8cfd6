"""A running job: questions about its state, its counters, checkpoints on demand."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.api.settings import Settings
from actorstream.errors import CodecError, JobFailed, PlanError, StoreError
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import ListState, MapState, ValueState
from actorstream.operators.ttl import TTL
from actorstream.operators.unkeyed_declarations import BroadcastState
from actorstream.protocol.restart import Restart
from tests.runtime.doubles import Splits, Target, settle, until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from actorstream.api.job import Job
    from actorstream.api.table import Table
    from actorstream.operators.contexts import Context


class Base(KeyedProcess[str, int, int]):
    """Declares one state, which a subclass has beside others."""

    total: ValueState[int] = ValueState(7)

    def on_element(self, value: int, ctx: Context[str], /) -> Iterable[int]:
        """Add up."""
        self.total += value
        return [self.total]


class Profile(Base):
    """A state of each kind."""

    best: ValueState[int | None] = ValueState(None)
    cart: ValueState[dict[str, int]] = ValueState(factory=dict)
    recent: ListState[int] = ListState()
    days: MapState[int, str] = MapState()

    def on_element(self, value: int, ctx: Context[str], /) -> Iterable[int]:
        """Remember everything."""
        self.best = max(self.best or 0, value)
        self.cart[str(value)] = value
        self.recent.append(value)
        self.days[-value] = str(value)
        return super().on_element(value, ctx)


class Aging(KeyedProcess[str, int, int]):
    """States that expire, by either clock, beside one that stays; values are times in microseconds."""

    gone: ValueState[int] = ValueState(5, ttl=timedelta(microseconds=1))
    total: ValueState[int] = ValueState(7)
    held: ValueState[list[int]] = ValueState(factory=list, ttl=timedelta(hours=1))
    recent: ListState[int] = ListState(ttl=TTL(10e-6, domain="event"))
    items: MapState[int, int] = MapState(ttl=TTL(10e-6, domain="event"))

    def on_element(self, value: int, ctx: Context[str], /) -> Iterable[int]:
        """Remember everything."""
        self.gone = value
        self.total += value
        self.held.append(value)
        self.recent.append(value)
        self.items[value] = value
        return [value]


def key(value: int) -> str:
    return f"k{value % 2}"


async def fed(job: Job, records: int) -> None:
    """Wait until as many records came out of the process."""
    await until(lambda: job.summary().records_out == records)


class Asked:
    """A pipeline with tables and processes that are asked while it runs."""

    def __init__(self, values: list[int], allowed: int | None = None, target: Target | None = None) -> None:
        self.source = Splits({"a": values}, ended=False, allowed=allowed)
        self.pipeline = Pipeline("t")
        keyed = self.pipeline.source(self.source, name="in").key_by(key)
        self.count: Table[str, int] = keyed.count(name="count")
        self.lists: Table[str, list[int]] = keyed.fold(list[int](), lambda values, v: [*values, v], name="lists")
        self.latest: Table[str, int] = keyed.latest(lambda v: v if v < 8 else None, name="latest")
        self.target = target or Target()
        keyed.process(Profile, name="profile").sink(self.target, name="out")


# ---- get


@pytest.mark.parametrize("parallelism", [1, 3])
async def test_table_and_every_state_kind_can_be_asked_live(parallelism: int) -> None:
    made = Asked([1, 2, 3, 4])
    async with made.pipeline.run(parallelism=parallelism, checkpoint_interval=0.002) as job:
        await fed(job, 4)
        await job.checkpoint()
        assert await job.get(made.count, "k1") == 2
        assert await job.get(made.lists, "k1") == [1, 3]
        assert await job.get(made.latest, "k0") == 4
        assert await job.get(Profile.total, "k1") == 7 + 4
        assert await job.get(Profile.best, "k1") == 3
        assert await job.get(Profile.cart, "k1") == {"1": 1, "3": 3}
        assert await job.get(Profile.recent, "k0") == [2, 4]
        days = await job.get(Profile.days, "k0")
        assert list(days.items()) == [(-4, "4"), (-2, "2")]


async def test_missing_key_is_none_for_a_table_and_the_default_for_a_state() -> None:
    made = Asked([])
    async with made.pipeline.run() as job:
        assert await job.get(made.count, "nobody") is None
        assert await job.get(made.lists, "nobody") is None
        assert await job.get(Profile.total, "nobody") == 7
        assert await job.get(Profile.best, "nobody") is None
        assert await job.get(Profile.cart, "nobody") == {}
        assert await job.get(Profile.recent, "nobody") == []
        assert await job.get(Profile.days, "nobody") == {}


async def test_key_that_was_deleted_is_missing() -> None:
    made = Asked([2, 8])
    async with made.pipeline.run() as job:
        await fed(job, 2)
        assert await job.get(made.latest, "k0") is None


async def test_answer_is_the_askers_own() -> None:
    """Changing it changes nothing in the job."""
    made = Asked([1])
    async with made.pipeline.run() as job:
        await fed(job, 1)
        for _ in range(2):
            (await job.get(made.lists, "k1") or []).append(99)
            recent = await job.get(Profile.recent, "k1")
            assert isinstance(recent, list)
            recent.append(99)
            (await job.get(Profile.cart, "k1"))["x"] = 1
        assert await job.get(made.lists, "k1") == [1]
        assert await job.get(Profile.recent, "k1") == [1]
        assert await job.get(Profile.cart, "k1") == {"1": 1}
        default = await job.get(Profile.cart, "nobody")
        default["x"] = 1
        assert await job.get(Profile.cart, "nobody") == {}


async def test_state_that_expires_is_shown_as_a_handler_would_see_it_t129(tmp_path: Path) -> None:
    """Values without their expiries, defaults where it has passed; also after a restart, when all is on disk."""
    records, target = [2, 1, 21, 31], Target()
    for given in (records, []):
        source = Splits({"a": records}, ended=False)
        pipeline = Pipeline("t")
        timed = pipeline.source(source, name="in").assign_timestamps(lambda value: value / 1e6, out_of_orderness=2e-6)
        timed.key_by(key).process(Aging, name="aging").sink(target, name="out")
        async with pipeline.run(store=tmp_path) as job:
            await fed(job, len(given))
            assert [await job.get(Aging.gone, k) for k in ("k0", "k1", "nobody")] == [5, 5, 5]
            assert [await job.get(Aging.total, k) for k in ("k0", "k1", "nobody")] == [9, 60, 7]
            assert [await job.get(Aging.held, k) for k in ("k0", "k1", "nobody")] == [[2], [1, 21, 31], []]
            assert [await job.get(Aging.recent, k) for k in ("k0", "k1", "nobody")] == [[], [1, 21, 31], []]
            assert [await job.get(Aging.items, k) for k in ("k0", "k1", "nobody")] == [{}, {21: 21, 31: 31}, {}]
            (await job.get(Aging.held, "k1"))[:] = []
            (await job.get(Aging.items, "k1")).clear()  # type: ignore[attr-defined]


async def test_state_is_found_by_its_class_or_the_class_that_declares_it() -> None:
    """The running object's class says which column it is, not the class that was asked with."""
    made = Asked([5])
    async with made.pipeline.run() as job:
        await fed(job, 1)
        assert await job.get(Base.total, "k1") == 12


async def test_restored_state_can_be_asked_before_anything_is_read(tmp_path: Path) -> None:
    made = Asked([1, 2, 3, 4])
    async with made.pipeline.run(store=tmp_path) as job:
        await fed(job, 4)
    again = Asked([1, 2, 3, 4], target=made.target)
    async with again.pipeline.run(store=tmp_path, parallelism=2) as job:
        assert await job.get(again.count, "k1") == 2
        assert await job.get(Profile.total, "k0") == 13
        assert list((await job.get(Profile.days, "k0")).items()) == [(-4, "4"), (-2, "2")]


async def test_process_in_the_actor_of_its_source_can_be_asked(tmp_path: Path) -> None:
    """Its state goes by its own name, not by that of the actor; also after a restore with two subtasks, and back."""
    source = Splits({"a": [1, 2, 3, 4]}, ended=False)
    pipeline = Pipeline("t")
    table = pipeline.source(source, name="in").key_by(key).process(Profile, name="profile")
    table.sink(Target(), name="out")
    asked = 0
    for parallelism in (1, 2, 1):
        async with pipeline.run(store=tmp_path, parallelism=parallelism) as job:
            if not asked:
                await fed(job, 4)
            asked += 1
            assert await job.get(Profile.total, "k1", operator="profile") == 7 + 4
            assert await job.get(Base.total, "k0") == 7 + 6
            assert await job.get(Profile.cart, "k1") == {"1": 1, "3": 3}
            assert await job.get(Profile.recent, "k0") == [2, 4]
            assert list((await job.get(Profile.days, "k0")).items()) == [(-4, "4"), (-2, "2")]
            with pytest.raises(PlanError, match="is a state of these operators of the job: none"):
                await job.get(Profile.total, "k1", operator="in")


async def test_question_while_restarting_waits_for_the_next_attempt(tmp_path: Path) -> None:
    made = Asked(list(range(10)), allowed=4)
    async with made.pipeline.run(store=tmp_path, restart=Restart.fixed_delay(3, delay=0.05)) as job:
        await fed(job, 4)
        await job.checkpoint()
        made.source.fail_at["a", 4] = ConnectionError("gone")
        await until(lambda: job.status == "restarting")
        made.source.fail_at.clear()
        assert await job.get(made.count, "k1") == 2


async def test_table_of_another_pipeline_is_refused() -> None:
    made, other = Asked([]), Asked([])
    async with made.pipeline.run() as job:
        with pytest.raises(PlanError, match="table 'count' is not of this job"):
            await job.get(other.count, "a")


async def test_state_of_a_class_that_is_not_in_the_job_or_twice_is_refused_with_the_choice() -> None:
    class Other(KeyedProcess[str, int, int]):
        n: ValueState[int] = ValueState(0)

    pipeline = Pipeline("t")
    keyed = pipeline.source(Splits({"a": [1]}, ended=False)).key_by(key)
    first, second = [], []  # type: ignore[var-annotated]
    keyed.process(Base, name="first").sink(first.append)
    keyed.process(Profile, name="second").sink(second.append)
    async with pipeline.run() as job:
        await until(lambda: first and second)
        others: list[Any] = [42, Other, BroadcastState()]
        for other in others:
            with pytest.raises(PlanError, match="expected a table, or a state by key"):
                await job.get(other, "k")
        with pytest.raises(PlanError, match=r"Other\.n is a state of these operators of the job: none"):
            await job.get(Other.n, "a")
        with pytest.raises(PlanError, match=r"Base\.total is .* first, second; expected exactly one: say operator="):
            await job.get(Base.total, "k1")
        assert await job.get(Base.total, "k1", operator="second") == 8


async def test_key_that_no_record_can_have_is_refused() -> None:
    made = Asked([])
    async with made.pipeline.run() as job:
        with pytest.raises(CodecError):
            await job.get(made.count, None)  # type: ignore[misc]


async def test_question_after_the_end_says_where_the_state_is() -> None:
    made = Asked([1])
    async with made.pipeline.run() as job:
        await job.stop()
        with pytest.raises(StoreError, match="the job has ended: its state is in the store"):
            await job.get(made.count, "k1")


# ---- checkpoints, stop, counters


async def test_checkpoint_gives_the_id_of_one_that_started_after_the_call(tmp_path: Path) -> None:
    made = Asked([1, 2])
    async with made.pipeline.run(store=tmp_path, checkpoint_interval=None) as job:
        first = await job.checkpoint()
        assert await job.checkpoint() == first + 1
        assert job.metrics()["job.last_checkpoint_id"] == first + 1
    with pytest.raises(StoreError, match="the job is finished"):
        await job.checkpoint()


async def test_checkpoint_that_fails_is_told_and_the_job_goes_on() -> None:
    """A sink that hangs holds the barrier up until the checkpoint's time is over."""
    release: list[int] = []

    async def send(value: int) -> None:
        while not release:
            await settle(1)

    pipeline = Pipeline("t")
    pipeline.source(Splits({"a": [1]}, ended=False), name="in").rebalance().sink(send, name="out")
    settings = Settings(checkpoint_timeout=0.05)
    async with pipeline.run(checkpoint_interval=None, settings=settings) as job:
        await until(lambda: job.summary().records_in == 1)
        with pytest.raises(StoreError, match=r"timed out after 0.05 s without an acknowledgement of .*out\[0\]"):
            await job.checkpoint()
        release.append(1)
        assert await job.checkpoint() == 2
        assert (job.status, job.metrics()["job.failed_checkpoints"]) == ("running", 1)


async def test_stop_twice_and_after_the_end_is_fine() -> None:
    made = Asked([1])
    async with made.pipeline.run() as job:
        job.stop_soon()
        job.stop_soon()
        await job.stop()
        await job.stop()
        assert job.status == "finished"
        assert (await job.wait()).checkpoints >= 1


async def test_summary_counts_over_restarts(tmp_path: Path) -> None:
    made = Asked(list(range(10)))
    made.source.ended = True
    made.source.fail_at["a", 6] = ConnectionError("gone")
    async with made.pipeline.run(
        store=tmp_path, checkpoint_interval=None, restart=Restart.fixed_delay(3, delay=0.02)
    ) as job:
        await until(lambda: job.status == "restarting")
        made.source.fail_at.clear()
        summary = await job.wait()
    assert (summary.restarts, summary.checkpoints) == (1, 1)
    assert summary.records_in in {10, 3 + 10, 6 + 10}, "of what came before the failure, what was taken by then"
    assert 10 <= summary.records_out <= summary.records_in, "what was delivered again counts again"
    assert len(made.target.committed) == 10
    assert summary == job.summary()._replace(seconds=summary.seconds)


@pytest.mark.parametrize("parallelism", [1, 2])
async def test_metrics_have_the_fields_names(parallelism: int) -> None:
    """With one subtask the first keyed operator is in the source's actor, so that one has layers of state too."""
    made = Asked([1, 2, 3])
    async with made.pipeline.run(checkpoint_interval=None, parallelism=parallelism) as job:
        await fed(job, 3)
        await job.checkpoint()
        metrics = job.metrics()
    assert {name for name in metrics if name.startswith("job.")} == {
        "job.checkpoints",
        "job.failed_checkpoints",
        "job.restarts",
        "job.last_checkpoint_id",
        "job.last_checkpoint_seconds",
        "job.last_checkpoint_entries",
        "job.last_checkpoint_in_flight_records",
        "job.last_checkpoint_in_flight_bytes",
    }
    actor = {
        "records_in",
        "records_out",
        "busy_seconds",
        "idle_seconds",
        "backpressured_seconds",
        "mailbox_records",
        "late_records",
        "alignment_seconds",
        "start_delay_seconds",
        "in_flight_records",
        "in_flight_bytes",
    }
    stateful = {*actor, "state_layers"}
    sampled = {name for name in metrics if name.endswith(".latency_seconds")}
    assert "in.0.latency_seconds" in sampled
    metrics = {name: value for name, value in metrics.items() if name not in sampled}
    assert {name.removeprefix("in.0.") for name in metrics if name.startswith("in.0.")} == (
        stateful if parallelism == 1 else actor
    )
    assert {name.removeprefix("profile.0.") for name in metrics if name.startswith("profile.0.")} == stateful
    assert (metrics["in.0.records_in"], metrics["in.0.records_out"]) == (3, 9 if parallelism == 1 else 12)
    subtasks = range(parallelism)
    assert metrics["job.checkpoints"] == 1
    assert sum(metrics[f"profile.{subtask}.records_in"] for subtask in subtasks) == 3
    assert sum(metrics[f"profile.{subtask}.state_layers"] for subtask in subtasks) in {1, 2}
    assert parallelism == 2 or metrics["in.0.state_layers"] == 1
    assert metrics["job.last_checkpoint_entries"] > 0
    assert all(value >= 0 for value in metrics.values())


async def test_waiting_for_a_job_that_fails_raises_its_error() -> None:
    pipeline = Pipeline("t")

    def broken(value: Any) -> Any:
        raise ValueError("no")

    pipeline.source([1]).map(broken).sink(print)
    with pytest.raises(JobFailed):  # noqa: PT012
        async with pipeline.run() as job:
            with pytest.raises(JobFailed):
                await job.wait()
            await settle()
