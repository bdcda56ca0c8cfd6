"""Async functions and handlers, beside bare asyncio tasks that make the same calls in the same run.

    range ──> map(call, concurrency=1,000) ──> out.append          async with TaskGroup: a task a call, a semaphore

A call waits 10 ms of asyncio's clock, or gives its result at once: then what it costs is ours. For the checkpoint the
calls wait for an event, so that all 1,000 are in flight whenever it is asked for. What comes out is compared with what
went in, in order where that was said.
"""

from __future__ import annotations

import asyncio
import gc
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from actorstream import Context, KeyedProcess, Pipeline, ValueState
from benchmarks.errors import WrongOutputError
from benchmarks.figures import Aim, Figure, Findings, publish, tell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Call = Callable[[int], Awaitable[int]]

CONCURRENCY = 1_000
CALL_SECONDS = 0.01
KEYS = 1_000
_CALLS_AIM = Aim("<", 2)
_OVERHEAD_AIM = Aim("<", 25)
_KEYED_AIM = Aim(">=", 20_000)
_CHECKPOINT_AIM = Aim("<", 100)


async def waits(number: int) -> int:
    """Give the number after a while, as a service would."""
    await asyncio.sleep(CALL_SECONDS)
    return number


async def at_once(number: int) -> int:
    """Give the number without waiting for anything."""
    return number


def plainly(number: int) -> int:
    """Give the number."""
    return number


class Counted(KeyedProcess[int, int, int]):
    """Gives how many of its key there were, at once."""

    count: ValueState[int] = ValueState(0)

    async def on_element(self, number: int, ctx: Context[int], /) -> list[int]:
        """Count one."""
        self.count += 1
        return [self.count]


async def awaited(call: Call, records: int, *, ordered: bool = True) -> float:
    """Await a call for each record in a pipeline; give the seconds."""
    out: list[int] = []
    pipeline = Pipeline("calls")
    pipeline.source(range(records)).map(call, concurrency=CONCURRENCY, ordered=ordered).sink(out.append)
    return await _timed(pipeline, lambda: _compare(out if ordered else sorted(out), range(records)))


async def mapped(records: int) -> float:
    """Do the same with a plain function; give the seconds."""
    out: list[int] = []
    pipeline = Pipeline("plain")
    pipeline.source(range(records)).map(plainly).sink(out.append)
    return await _timed(pipeline, lambda: _compare(out, range(records)))


async def keyed(records: int) -> float:
    """Await a handler with state for each record; give the seconds."""
    out: list[int] = []
    pipeline = Pipeline("keyed")
    counted = pipeline.source(range(records)).key_by(lambda number: number % KEYS)
    counted.process(Counted, concurrency=CONCURRENCY).sink(out.append)
    return await _timed(
        pipeline, lambda: _compare(sorted(out), sorted(number // KEYS + 1 for number in range(records)))
    )


async def bare(call: Call, records: int) -> float:
    """Make the calls in tasks of asyncio, as many at a time; give the seconds."""
    out: dict[int, int] = {}
    slots = asyncio.Semaphore(CONCURRENCY)

    async def make(number: int) -> None:
        out[number] = await call(number)
        slots.release()

    gc.collect()
    start = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(records):
            await slots.acquire()
            tasks.create_task(make(number))
    results = [out[number] for number in range(records)]
    seconds = time.perf_counter() - start
    _compare(results, range(records))
    return seconds


async def checkpoints(disk: Path, count: int) -> list[float]:
    """Take checkpoints while every slot has a call that does not end; give the milliseconds of each."""
    all_begun, let_go = asyncio.Event(), asyncio.Event()
    begun, records = 0, 2 * CONCURRENCY
    out: list[int] = []

    async def hangs(number: int) -> int:
        nonlocal begun
        begun += 1
        if begun == CONCURRENCY:
            all_begun.set()
        await let_go.wait()
        return number

    pipeline = Pipeline("hanging")
    pipeline.source(range(records), name="numbers").map(hangs, concurrency=CONCURRENCY, name="ask").sink(out.append)
    milliseconds: list[float] = []
    with TemporaryDirectory(prefix="benchmark-async-", dir=disk) as folder:
        async with pipeline.run(store=f"{folder}/store", checkpoint_interval=None) as job:
            await all_begun.wait()
            for _ in range(count):
                start = time.perf_counter()
                await job.checkpoint()
                milliseconds.append(1_000 * (time.perf_counter() - start))
            in_flight = job.metrics()["job.last_checkpoint_in_flight_records"]
            let_go.set()
            await job.wait()
    if in_flight < CONCURRENCY:
        raise WrongOutputError(f"the checkpoint holds {in_flight:g} calls in flight, expected {CONCURRENCY}")
    _compare(out, range(records))
    return milliseconds


async def _timed(pipeline: Pipeline, check: Callable[[], None]) -> float:
    gc.collect()
    start = time.perf_counter()
    await pipeline.run()
    seconds = time.perf_counter() - start
    check()
    return seconds


def _compare(found: Sequence[int], expected: Sequence[int]) -> None:
    if list(found) != list(expected):
        raise WrongOutputError(f"{len(found)} results, expected {len(expected)}, or others, or in another order")


async def measure(*, runs: int, records: int, disk: Path, tell: Callable[[str], None]) -> Findings:
    """Run all of it in turn, `runs` times.

    Raises:
        WrongOutputError: Results are missing, doubled or out of order.
    """
    ordered, unordered, tasks, over, costs, per_second, held = [list[float]() for _ in range(7)]
    for number in range(runs):
        tell(f"run {number + 1} of {runs}: calls of {1_000 * CALL_SECONDS:g} ms")
        ordered.append(await awaited(waits, records))
        unordered.append(await awaited(waits, records, ordered=False))
        tasks.append(await bare(waits, records))
        tell(f"run {number + 1} of {runs}: calls that give their results at once")
        plain = await mapped(records)
        over.append(1e6 * (await awaited(at_once, records) - plain) / records)
        costs.append(1e6 * await bare(at_once, records) / records)
        per_second.append(records / await keyed(records))
        tell(f"run {number + 1} of {runs}: checkpoints")
        held += await checkpoints(disk, 5)
    times = tuple(ours / bare_seconds for ours, bare_seconds in zip(ordered, tasks, strict=True))
    name = f"{records:,} calls of {1_000 * CALL_SECONDS:g} ms"
    return Findings(
        {"runs": runs, "records": records, "concurrency": CONCURRENCY, "call_seconds": CALL_SECONDS, "keys": KEYS},
        [
            Figure(f"{name}, ordered", "s", tuple(ordered), _CALLS_AIM),
            Figure(f"{name}, unordered", "s", tuple(unordered), _CALLS_AIM),
            Figure(f"{name}, bare tasks", "s", tuple(tasks)),
            Figure("ordered / bare tasks", "times", times),
            Figure("overhead of a call that waits for nothing", "µs", tuple(over), _OVERHEAD_AIM),
            Figure("such a call in a bare task", "µs", tuple(costs)),
            Figure(f"async handlers with state, {KEYS:,} keys", "records/s", tuple(per_second), _KEYED_AIM),
            Figure(f"checkpoint with {CONCURRENCY:,} calls in flight", "ms", tuple(held), _CHECKPOINT_AIM),
        ],
        [
            "",
            f"up to {CONCURRENCY:,} calls at a time on one loop; the overhead is that beside a plain function in the "
            "same pipeline; bare tasks: a task a call and a semaphore, without order, state or checkpoints",
        ],
    )


def async_functions(
    *,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file too.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="How many runs of each; take at least 5 for a figure to keep.")] = 5,
    records: Annotated[int, typer.Option(min=1, help="Records of each run.")] = 100_000,
) -> None:
    """Measure async functions and handlers, and checkpoints of calls in flight, against bare asyncio tasks."""
    started = datetime.now(UTC)
    findings = asyncio.run(measure(runs=runs, records=records, disk=Path.cwd(), tell=tell))
    tell("")
    publish(findings, started, json_file)
