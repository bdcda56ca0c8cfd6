"""What a job says of itself while it fails and is started again, and since when what it says is so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from actorstream.api.pipeline import Pipeline
from actorstream.api.settings import Settings
from actorstream.protocol.restart import Restart
from actorstream.testing.harness import harness
from tests.api.explained import Stuck, clock_by_hand, key, move, timed
from tests.runtime.doubles import Splits, Target, settle, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.explained import Timed


def per_minute(pipeline: Pipeline, source: list[Timed], idle_timeout: float | None) -> None:
    stream = timed(pipeline.source(source, name="orders"), idle_timeout=idle_timeout)
    stream.key_by(key).count(name="counts")


async def test_restart_loop_says_its_cause_and_when_it_is_tried_again(tmp_path: Path) -> None:
    source = Splits({"a": [1, 2]}, ended=False, batch=1)
    source.fail_at["a", 1] = ConnectionError("no route to the broker")
    with clock_by_hand() as clock:
        pipeline = Pipeline("p")
        pipeline.source(source, name="orders").sink(Target(), name="out")
        restart = Restart.fixed_delay(5, delay=0.001)
        async with pipeline.run(store=tmp_path, restart=restart) as job:
            await until(lambda: job.summary().restarts == 2)
            source.fail_at.clear()
            await until(lambda: "It runs again" in job.explain())
            text = job.explain()
            assert text.startswith("The job fails, and is started again, ")
            assert "times so far" in text
            assert "ConnectionError" in text
            assert "no route to the broker" in text
            move(clock, 61)
            assert "no route" not in job.explain()


async def test_job_that_waits_to_be_started_again_says_when(tmp_path: Path) -> None:
    source = Splits({"a": [1]}, ended=False)
    source.fail_at["a", 0] = ConnectionError("no route to the broker")
    with clock_by_hand() as clock:
        pipeline = Pipeline("p")
        pipeline.source(source, name="orders").sink(Target(), name="out")
        async with pipeline.run(store=tmp_path, restart=Restart.fixed_delay(5, delay=30)) as job:
            await until(lambda: job.status == "restarting")
            move(clock, 10)
            text = job.explain()
            source.fail_at.clear()
    assert "raised ConnectionError while reading split 'a'" in text
    assert "The next attempt starts at 00:00:30 UTC, in 20 s." in text
    assert "(at 00:00:00 UTC (10 s ago))" in text


async def test_sink_that_is_tried_again_is_named(tmp_path: Path) -> None:
    """Its target is out of reach: that is not the job's fault, and no record is to blame."""
    sink = Stuck("write", error=TimeoutError("the database does not answer"))
    pipeline = Pipeline("p")
    pipeline.source([1], name="orders").sink(sink, name="out")
    async with pipeline.run(store=tmp_path, restart=Restart.fixed_delay(5, delay=30)) as job:
        await until(lambda: job.status == "restarting")
        text = job.explain()
        sink.error = None
        sink.released.set()
    assert text.startswith("Sink 'out' fails, and is tried again: UserCodeError: out (subtask 0) raised TimeoutError")
    assert "the database does not answer" in text
    assert "The next attempt starts at" in text


async def test_checkpoints_that_fail_say_why() -> None:
    sink = Stuck("pre_commit")
    pipeline = Pipeline("p")
    pipeline.source(Splits({"a": [1]}, ended=False)).sink(sink, name="out")
    settings = Settings(checkpoint_timeout=0.005, tolerated_failures=-1)
    async with pipeline.run(checkpoint_interval=None, settings=settings) as job:
        await until(lambda: job.summary().records_in == 1)
        taken = asyncio.ensure_future(job.checkpoint())
        await until(taken.done)
        assert taken.exception() is not None
        text = job.explain()
        sink.released.set()
        await settle()
        await job.checkpoint()
        assert "failed" not in job.explain()
    assert "The last checkpoint failed: timed out after 0.005 s without an acknowledgement of source-0[0]" in text
    assert "transactional sinks show nothing new" in text


async def test_calls_say_which_one_and_for_how_long() -> None:
    sink = Stuck("pre_commit")
    with clock_by_hand() as clock:
        pipeline = Pipeline("p")
        pipeline.source(Splits({"a": [1]}, ended=False)).sink(sink, name="out")
        async with pipeline.run(checkpoint_interval=None) as job:
            await until(lambda: job.summary().records_in == 1)
            taken = asyncio.ensure_future(job.checkpoint())
            await sink.inside.wait()
            assert "has been in pre_commit" not in job.explain()  # it has only begun
            move(clock, 12)
            text = job.explain()
            sink.released.set()
            await taken
    assert text.startswith("'out' has been in pre_commit for 12 s.")


async def test_back_pressure_says_since_when() -> None:
    sink = Stuck("write")
    with clock_by_hand() as clock:
        pipeline = Pipeline("p")
        pipeline.source(Splits({"a": list(range(9_000))}, batch=500, ended=False), name="orders").rebalance().sink(
            sink, name="out"
        )
        async with pipeline.run(checkpoint_interval=None) as job:
            await until(lambda: "'orders' waits for 'out'" in job.explain())
            move(clock, 12)
            text = job.explain()
            sink.released.set()
    assert "'orders' waits for 'out' since 00:00:00 UTC (12 s ago)." in text
    assert "The slowest is 'out': it has been in write for 12 s" in text


async def test_no_input_says_since_when() -> None:
    pipeline = Pipeline("p")
    source: list[Timed] = []
    per_minute(pipeline, source, None)
    async with harness(pipeline) as h:
        await h.advance(clock=5)
        assert "no record has come since the job started at 00:00:00 UTC (5 s ago)" in h.job.explain()
        await h.send(source, ("a", 1.0))
        await h.advance(clock=12)
        assert "no record has come since 00:00:05 UTC (12 s ago)" in h.job.explain()


async def test_records_in_memory_count_as_input_too() -> None:
    """They are taken, not read by a task."""
    with clock_by_hand() as clock:
        pipeline = Pipeline("p")
        pipeline.source([1, 2], name="list").sink(lambda record: None)
        pipeline.source(Splits({"a": []}, ended=False), name="endless").sink(lambda record: None)
        async with pipeline.run() as job:
            await until(lambda: job.summary().records_in == 2)
            await settle()
            move(clock, 12)
            assert "no record has come since 00:00:00 UTC (12 s ago)" in job.explain()
