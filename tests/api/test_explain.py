"""What a running job says of itself: a small real job for each case, and what its sentence must tell."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.api.settings import Settings
from actorstream.errors import JobFailed
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.testing.harness import harness
from tests.api.explained import START, Stuck, clock_by_hand, key, move
from tests.runtime.doubles import Splits, Target, settle, until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actorstream.operators.contexts import Context
    from actorstream.operators.process_timers import Timer
    from tests.api.explained import Timed


def nothing() -> list[Timed]:
    """Give a source of a harness."""
    return []


class Reminds(KeyedProcess[str, "Timed", str]):
    """Sets a timer by the clock, or by event time."""

    domain: str = "processing"

    def on_element(self, value: Timed, ctx: Context[str], /) -> Iterable[str]:
        """Set it."""
        ctx.set_timer(START + timedelta(seconds=value[1]), domain="event" if self.domain == "event" else "processing")
        return ()

    def on_timer(self, timer: Timer, ctx: Context[str], /) -> Iterable[str]:
        """Say so."""
        return ["fired"]


async def test_nothing_is_wrong_before_the_first_record() -> None:
    pipeline = Pipeline("p")
    pipeline.source(nothing()).sink(lambda record: None)
    async with harness(pipeline) as h:
        assert h.job.explain().startswith("Nothing is wrong: no record has come")


async def test_nothing_is_wrong_where_all_input_was_worked_through() -> None:
    pipeline, source = Pipeline("p"), nothing()
    pipeline.source(source).sink(lambda record: None)
    async with harness(pipeline) as h:
        await h.send(source, ("a", 1.0), ("b", 2.0))
        text = h.job.explain()
        assert text.startswith("Nothing is wrong: all that came")
        assert "has been worked through" in text


async def test_job_that_runs_says_how_much_came_and_how_fast() -> None:
    """Asked while records are worked on, by the sink itself."""
    said: list[str] = []

    async def ask(value: int) -> None:
        said.append(job.explain())

    with clock_by_hand() as clock:
        pipeline, source = Pipeline("p"), Splits({"a": [1]}, allowed=0)
        pipeline.source(source).sink(ask, name="out")
        async with pipeline.run() as job:
            move(clock, 0.5)
            source.allow(None)
            await job.wait()
    assert "Nothing is wrong: the job runs, 1 record came in" in said[0]
    assert "(2 records/s on average)" in said[0]


# ---- sources and the job's life


async def test_source_that_has_ended_is_named_where_others_go_on() -> None:
    pipeline = Pipeline("p")
    pipeline.source(Splits({"a": [1, 2]}), name="short").sink(lambda record: None)
    pipeline.source(Splits({"a": [3]}, ended=False), name="long").sink(lambda record: None)
    async with pipeline.run() as job:
        await until(lambda: "ended" in job.explain())
        assert "'short' has ended: nothing more comes from there" in job.explain()
        assert "'long' has" not in job.explain()


async def test_all_sources_ended_says_what_the_job_still_waits_for() -> None:
    """With timers_at_end="wait" that is the clock."""
    with clock_by_hand() as clock:
        pipeline = Pipeline("p")
        pipeline.source([("a", 90.0)]).key_by(key).process(Reminds, name="reminds")
        async with pipeline.run(settings=Settings(timers_at_end="wait")) as job:
            await until(lambda: "All sources have ended" in job.explain())
            text = job.explain()
            assert "All sources have ended; the job ends once the timers of 'reminds' have fired" in text
            assert "the next at 00:01:30 UTC, in 1 min 30 s" in text
            assert "Nothing is wrong" not in text
            move(clock, 91)
            attempt = job._supervisor.attempt
            assert attempt is not None
            for subtask in attempt.built.subtasks.values():
                subtask.mailbox.arrival.wake()
            await job.wait()


async def test_finished_job_says_what_it_did() -> None:
    pipeline = Pipeline("p")
    pipeline.source([1, 2, 3]).sink(lambda record: None)
    async with pipeline.run() as job:
        await job.wait()
    assert job.explain().startswith("The job has finished: 3 records came in and 3 went to sinks")


async def test_failed_job_says_why_and_does_not_raise() -> None:
    """It is then that one asks."""

    def broken(value: int) -> int:
        raise ValueError("no such order")

    pipeline = Pipeline("p")
    pipeline.source([1]).map(broken, name="look-up").sink(lambda record: None)
    job = None
    with pytest.raises(JobFailed):
        async with pipeline.run() as job:
            await job.wait()
    assert job is not None
    assert job.explain().startswith("The job has failed after 0 restarts: look-up (subtask 0) raised ValueError")
    assert "no such order" in job.explain()


# ---- who is slow


async def test_back_pressure_names_the_way_from_the_source_to_the_slowest() -> None:
    """The sink does not come back; the counting before it, and the source, wait for room."""
    sink = Stuck("write")
    pipeline = Pipeline("p")
    source = Splits({"a": list(range(20_000))}, batch=500, ended=False)
    counts = pipeline.source(source, name="orders").rebalance().map(lambda n: n, name="enrich")
    counts.rebalance().sink(sink, name="out")
    async with pipeline.run(checkpoint_interval=None) as job:
        await until(lambda: "'orders' waits for" in job.explain())
        text = job.explain()
        sink.released.set()
    assert "'orders' waits for 'enrich', which waits for 'out'" in text
    assert "The slowest is 'out': it has been in" in text
    assert "Nothing is wrong" not in text


async def test_slow_sink_is_named() -> None:
    sink = Stuck("write")
    with clock_by_hand() as clock:
        pipeline = Pipeline("p")
        pipeline.source([1]).sink(sink, name="out")
        async with pipeline.run() as job:
            await sink.inside.wait()
            move(clock, 12)
            text = job.explain()
            sink.released.set()
    assert text.startswith("'out' has been in")
    assert "see whether what it writes to is reachable" in text


async def test_slow_function_is_named() -> None:
    inside, released = asyncio.Event(), asyncio.Event()

    async def send(value: int) -> None:
        inside.set()
        await released.wait()

    with clock_by_hand() as clock:
        pipeline = Pipeline("p")
        pipeline.source([1]).sink(send, name="send")
        async with pipeline.run() as job:
            await inside.wait()
            move(clock, 12)
            text = job.explain()
            released.set()
    assert text.startswith("'send' has been in a call")


async def test_subscription_that_is_not_read_is_named() -> None:
    pipeline = Pipeline("p")
    numbers = pipeline.source(Splits({"a": list(range(100))}, ended=False)).map(lambda n: n, name="numbers")
    numbers.sink(lambda record: None)
    async with pipeline.run() as job:
        subscription = job.subscribe(numbers, buffer=5)
        await until(lambda: "unread" in job.explain())
        assert "A subscription to 'numbers' has 5 unread elements and no room for more (buffer=5)" in job.explain()
        async with subscription:
            pass


async def test_gate_that_layers_have_closed_is_named() -> None:
    pipeline, source = Pipeline("p"), nothing()
    pipeline.source(source, name="orders").key_by(key).count(name="counts")
    async with harness(pipeline) as h:
        await h.send(source, ("a", 1.0))
        attempt = h.job._supervisor.attempt
        assert attempt is not None
        attempt.built.deployment.gate.hold(closed=True)
        text = h.job.explain()
        attempt.built.deployment.gate.hold(closed=False)
        assert text.startswith("No actor takes records until state has been merged")


# ---- checkpoints


async def test_checkpoint_says_for_whom_it_waits_and_what_that_does() -> None:
    sink = Stuck("pre_commit")
    with clock_by_hand() as clock:
        pipeline = Pipeline("p")
        pipeline.source(Splits({"a": [1]}, ended=False), name="orders").rebalance().sink(sink, name="out")
        async with pipeline.run(checkpoint_interval=None) as job:
            await until(lambda: job.summary().records_in == 1)
            taken = asyncio.ensure_future(job.checkpoint())
            await sink.inside.wait()
            await settle()
            move(clock, 12)
            text = job.explain()
            sink.released.set()
            await taken
            assert "has waited" not in job.explain()
    assert "Checkpoint 1 has waited for 12 s for 'out'" in text
    assert "'orders'" not in text.split("Checkpoint 1", 1)[1].split(";", 1)[0]  # it has acknowledged
    assert "'out' has not come to its barrier: it has been in" in text


async def test_checkpoint_that_aligns_says_which_input_is_missing() -> None:
    """One of two inputs is stuck in a function of its own: its barrier does not come."""
    inside, released = asyncio.Event(), asyncio.Event()

    async def send(value: int) -> None:
        inside.set()
        await released.wait()

    with clock_by_hand() as clock:
        pipeline = Pipeline("p")
        fast = pipeline.source(Splits({"a": [1, 2]}, ended=False), name="fast")
        slow = pipeline.source(Splits({"a": [3]}, ended=False), name="slow")
        slow.sink(send, name="send")
        fast.union(slow).key_by(lambda n: n).count(name="counts")
        async with pipeline.run(checkpoint_interval=None) as job:
            await until(lambda: job.summary().records_in == 3)
            await inside.wait()
            taken = asyncio.ensure_future(job.checkpoint())
            await settle(50)
            move(clock, 12)
            text = job.explain()
            released.set()
            await taken
    assert "Checkpoint 1 has waited for 12 s for 'slow' and 'counts'" in text
    assert "'slow' has not come to its barrier: it has been in a call" in text


async def test_job_that_is_being_stopped_says_for_what_it_waits() -> None:
    sink = Stuck("commit")
    with clock_by_hand() as clock:
        pipeline = Pipeline("p")
        pipeline.source(Splits({"a": [1]}, ended=False)).sink(sink, name="out")
        async with pipeline.run(checkpoint_interval=None) as job:
            await until(lambda: job.summary().records_in == 1)
            job.stop_soon()
            await sink.inside.wait()
            move(clock, 12)
            text = job.explain()
            sink.released.set()
            await job.wait()
    assert text.startswith("The job is being stopped")
    assert "the job ends when 'out' has committed its output" in text


async def test_transactional_sink_without_checkpoints_says_why_it_shows_nothing() -> None:
    target = Target()
    pipeline = Pipeline("p")
    pipeline.source(Splits({"a": [1]}, ended=False)).sink(target, name="out")
    async with pipeline.run(checkpoint_interval=None) as job:
        await until(lambda: job.summary().records_out == 1)
        await settle()
        assert "'out' shows its output when a checkpoint is complete" in job.explain()
        assert "checkpoint_interval=None" in job.explain()
        await job.checkpoint()
        assert job.explain().startswith("Nothing is wrong")
