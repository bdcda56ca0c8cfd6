"""One result in one line, and a script that ends cleanly when it is told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

import actorstream
from actorstream import EventLog, Pipeline, collect
from actorstream.errors import JobFailed, PlanError, UserCodeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def test_collect_gives_everything_in_order() -> None:
    counted = Pipeline("t").source(["a b", "b"]).flat_map(str.split).key_by(lambda word: word).count()

    assert await collect(counted) == [("a", 1), ("b", 1), ("b", 2)]


async def test_run_is_refused_where_a_loop_runs_already() -> None:
    pipeline = Pipeline("t")
    pipeline.source([1]).sink(print)

    with pytest.raises(PlanError, match=r"await pipeline\.run"):
        actorstream.run(pipeline)


async def test_collect_can_be_called_again_and_leaves_the_pipeline_as_it_was() -> None:
    pipeline = Pipeline("t")
    numbers = pipeline.source([1, 2, 3])

    assert [await collect(numbers), await collect(numbers.map(str)), await collect(numbers)] == [
        [1, 2, 3],
        ["1", "2", "3"],
        [1, 2, 3],
    ]
    assert "collect" not in pipeline.describe()


async def test_collect_stops_at_its_limit_also_where_the_input_has_no_end() -> None:
    async def ticks() -> AsyncIterator[int]:
        for n in count():
            yield n
            await anyio.lowlevel.checkpoint()

    for source in (count(), ticks):
        numbers = Pipeline("t").source(source)
        with anyio.fail_after(10):
            assert await collect(numbers, limit=5) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("limit", [1, 2, 3, 16, 17])
async def test_collect_stops_at_a_limit_that_is_reached_before_the_job_is_seen_to_be_up(limit: int) -> None:
    """Elements come as soon as every operator is open, which is before the block is entered."""
    for _ in range(5):
        assert await collect(Pipeline("t").source(range(1_000)), limit=limit) == list(range(limit))


async def test_collect_gives_fewer_than_its_limit_where_there_are_no_more() -> None:
    assert await collect(Pipeline("t").source([1, 2]), limit=5) == [1, 2]
    assert await collect(Pipeline("t").source(list[int]()), limit=1) == []


async def test_collect_of_a_union_and_of_a_parallel_operator() -> None:
    pipeline = Pipeline("t")
    one, other = pipeline.source([1, 2]), pipeline.source([3])
    spread = one.union(other).rebalance().map(lambda v: v * 10, parallelism=3)

    assert sorted(await collect(one.union(other))) == [1, 2, 3]
    assert sorted(await collect(spread)) == [10, 20, 30]


@pytest.mark.parametrize("limit", [0, -1])
async def test_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(PlanError, match=f"limit is {limit}, expected at least 1, or None"):
        await collect(Pipeline("t").source([1]), limit=limit)


async def test_collect_raises_what_a_function_raised() -> None:
    def broken(value: Any) -> Any:
        raise ValueError("no")

    with pytest.raises(JobFailed) as failed:
        await collect(Pipeline("t").source([1]).map(broken, name="bad"))

    assert isinstance(failed.value.__cause__, UserCodeError)
    assert failed.value.__cause__.operator == "bad"


def test_run_in_a_script_gives_the_counts() -> None:
    seen: list[int] = []
    pipeline = Pipeline("t")
    pipeline.source([1, 2]).sink(seen.append)
    summary = actorstream.run(pipeline)

    assert (summary.records_in, seen) == (2, [1, 2])


def test_run_in_a_script_raises_the_jobs_error() -> None:
    def broken(value: Any) -> Any:
        raise ValueError("no")

    pipeline = Pipeline("t")
    pipeline.source([1]).sink(broken)
    with pytest.raises(JobFailed):
        actorstream.run(pipeline)


SCRIPT = """
import asyncio, sys
import actorstream
from actorstream import EventLog, Pipeline, replayable

@replayable
async def ticks(after):
    n = 0 if after is None else after + 1
    print("from", n, flush=True)
    while True:
        yield n, n
        if n == 300:
            print("up", flush=True)
        n += 1
        await asyncio.sleep(0)

pipeline = Pipeline("ticks")
counts = pipeline.source(ticks, name="ticks").key_by(lambda n: n % 5).count(name="count")
counts.sink(EventLog(object, sys.argv[2]), name="out")
print(actorstream.run(pipeline, store=sys.argv[1], checkpoint_interval=3600))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_stops_a_script_with_a_final_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    """No periodic checkpoint: what is in the log got there by the final one, and the next run goes on behind it."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    starts, written = [], []
    for _ in range(2):
        process = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, str(script), str(tmp_path / "store"), str(tmp_path / "log")],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        try:
            assert process.stdout is not None
            starts.append(int(process.stdout.readline().split()[1]))
            if not starts[-1]:
                assert process.stdout.readline() == "up\n"
            process.send_signal(number)
            out, _ = process.communicate(timeout=20)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, out
        assert "Summary(records_in=" in out
        async with EventLog(object, tmp_path / "log") as log:
            written.append([record.value async for record in log.records(stop="now")])
    assert starts == [0, len(written[0])]
    assert starts[1] > 300
    assert written[1][: starts[1]] == written[0]
    assert written[1] == [(n % 5, n // 5 + 1) for n in range(len(written[1]))]
