"""What a record costs, as a ratio to a plain loop that does the same work in the same process.

    round 1   q0: plain ours plain   q1: plain ours plain   ...
    round 2   q1: plain ours plain   ...                 q0: plain ours plain

Rules: input in memory; `out.append` for each record on both sides; the same user
functions; the garbage collector on, one collection before each timed run; durable
means fsync on the disk of the working directory. Our time runs from building the
pipeline to the end of `await pipeline.run()`, opening and closing of the store and
the final checkpoint included. Output of all runs is compared, in order.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from actorstream import Pipeline
from benchmarks.errors import WrongOutputError
from benchmarks.events import SEED, make_events
from benchmarks.figures import tell
from benchmarks.machine import machine
from benchmarks.readings import Reading, Round, Seconds
from benchmarks.report import as_document, as_table
from benchmarks.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.events import Events
    from benchmarks.workloads import Workload


class Outcome(NamedTuple):
    """What one run gave: enough to compare it, not the records themselves, which would stay in memory."""

    seconds: Seconds
    records: int
    checksum: int
    checkpoints: int = 0


def cost(
    *,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every reading to this file too.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Alternating rounds; take at least 5 for a figure to keep.")] = 5,
    events: Annotated[int, typer.Option(min=1, help="Events of each run.")] = 1_000_000,
    only: Annotated[list[str] | None, typer.Option(help="Measure this workload only; may be repeated.")] = None,
) -> None:
    """Measure records per second against a plain Python loop."""
    chosen = choose(only or ())
    started = datetime.now(UTC)
    readings = measure(chosen, events=events, rounds=rounds, disk=Path.cwd(), tell=tell)
    tell("")
    typer.echo(as_table(readings))
    typer.echo(f"\n{machine()}, {started:%Y-%m-%d}")
    if json_file is not None:
        document = as_document(readings, started=started, seed=SEED)
        json_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def choose(names: Sequence[str]) -> list[Workload]:
    """Give the named workloads, or all.

    Raises:
        typer.BadParameter: There is no such workload.
    """
    known = {workload.name: workload for workload in WORKLOADS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise typer.BadParameter(f"there is no workload {unknown[0]!r}: take one of {', '.join(known)}")
    return [workload for workload in WORKLOADS if not names or workload.name in names]


def measure(
    workloads: Sequence[Workload], *, events: int, rounds: int, disk: Path, tell: Callable[[str], None]
) -> list[Reading]:
    """Run every workload `rounds` times, in another order each round.

    Args:
        workloads: What to run.
        events: How many events each run reads.
        rounds: How often each runs.
        disk: Folder in which durable stores are made, and removed again.
        tell: Hears which run comes next.

    Raises:
        WrongOutputError: A pipeline gave other output than its plain loop.
    """
    made = make_events(events)
    taken: dict[str, list[Round]] = {workload.name: [] for workload in workloads}
    records: dict[str, int] = {}
    with asyncio.Runner() as runner:
        for number, workload in _rotated(workloads, rounds):
            tell(f"round {number + 1} of {rounds}: {workload.name}")
            one, outcome = _round(runner, workload, made, disk)
            taken[workload.name].append(one)
            records[workload.name] = outcome.records
    return [
        Reading(workload.name, workload.goal, events, records[workload.name], tuple(taken[workload.name]))
        for workload in workloads
    ]


def _rotated(workloads: Sequence[Workload], rounds: int) -> Iterator[tuple[int, Workload]]:
    for number in range(rounds):
        first = number % len(workloads)
        for workload in (*workloads[first:], *workloads[:first]):
            yield number, workload


def _round(runner: asyncio.Runner, workload: Workload, events: Events, disk: Path) -> tuple[Round, Outcome]:
    values = workload.input(events)
    before = _run_plain(workload, values)
    if workload.durable_seconds is None:
        ours = runner.run(_run_pipeline(workload, values, None))
    else:
        with TemporaryDirectory(prefix="benchmark-store-", dir=disk) as store:
            ours = runner.run(_run_pipeline(workload, values, store))
    after = _run_plain(workload, values)
    for outcome in (ours, after):
        if (outcome.records, outcome.checksum) != (before.records, before.checksum):
            raise WrongOutputError(
                f"{workload.name}: {outcome.records} records with checksum {outcome.checksum} were found, "
                f"{before.records} with {before.checksum} expected; measure nothing before this is mended"
            )
    return Round(before.seconds, ours.seconds, after.seconds, ours.checkpoints), ours


def _run_plain(workload: Workload, values: list[Any]) -> Outcome:
    gc.collect()
    start = _now()
    out = workload.plain(values)
    return Outcome(_since(start), len(out), _checksum(out))


async def _run_pipeline(workload: Workload, values: list[Any], store: str | None) -> Outcome:
    out: list[Any] = []
    gc.collect()
    start = _now()
    pipeline = Pipeline("cost")
    workload.connect(pipeline, values, out.append)
    summary = await pipeline.run(store=store, checkpoint_interval=workload.durable_seconds)
    return Outcome(_since(start), len(out), _checksum(out), summary.checkpoints)


def _checksum(out: list[Any]) -> int:
    """Tell outputs of one process apart, their order too."""
    return hash(tuple(out))


def _now() -> Seconds:
    return Seconds(time.perf_counter(), time.process_time())


def _since(start: Seconds) -> Seconds:
    now = _now()
    return Seconds(now.wall - start.wall, now.cpu - start.cpu)
