"""Running a pipeline again over what was recorded: as fast as it can be read, and with one result.

    logs ──one order (runtime/replay_order.py)──> the pipeline, each operator once ──> logs in a folder of their own

The result is a property of the records, the code and the savepoint. It depends on nothing else: not on batches, nor on
the parallelism that the pipeline says or the savepoint was taken with, nor on who ran first, the machine's clock or the
seed of its hashes. So a difference between two replays is one of the code. What is outside of the pipeline, such as a
service that a function asks, is not recorded, and no replay knows what it would have said.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio

from actorstream.api.run import Run
from actorstream.api.settings import Settings
from actorstream.evolve import replay_folder
from actorstream.evolve.replay_folder import ReplayNote
from actorstream.evolve.replayed_graph import logs_in, outputs_of, replayed
from actorstream.evolve.stretches import absolute, span_of
from actorstream.graph.chaining import plan_graph
from actorstream.graph.replaying import grain_of
from actorstream.protocol.restart import Restart
from actorstream.runtime.replay_order import Replaying, ReplayProgress
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorstream.api.job import Summary
    from actorstream.api.options import RunOptions, StrPath
    from actorstream.api.pipeline import Pipeline
    from actorstream.eventlog.log import EventLog
    from actorstream.eventlog.view import LogStop
    from actorstream.evolve.stretches import Reads, ReplayStart, Span
    from actorstream.graph.nodes import LogicalGraph

_FORK = "replay"
CHECKPOINT_SECONDS = 1.0
"""How often output is committed, so that no more than that of a second waits in files."""


def nobody(progress: ReplayProgress) -> None:
    """Take note of nothing."""
    del progress


async def replay(
    pipeline: Pipeline,
    *,
    start: ReplayStart,
    until: LogStop,
    into: StrPath,
    settings: Settings | None = None,
    progress: Callable[[ReplayProgress], object] = nobody,
) -> Summary:
    """Run `pipeline` over a stretch of its logs, as fast as they can be read and in one fixed order.

    Output logs are written below `into` under their own names, the same records at the same offsets with the same
    times whenever this is repeated; other sinks and plain functions get nothing. Records come by the time at which they
    were appended; at equal times by the source's place in the pipeline, then by partition and offset. Processing
    time is that of the records. Input ends at `until`, as any bounded input does: windows close and timers fire.

    Each operator runs once, whatever parallelism is said. It is the pipeline's live logs that are read; nothing
    of a running job is touched.

    Args:
        pipeline: What to run: its sources are EventLogs, or parts of them, or sequences, which come first.
        start: A savepoint (or its folder): with its state, and from where it was taken. "earliest": empty, from the
            first record. A time: empty, from the first record at or after it.
        until: "now": what is there at the call. A time: what came before it. Positions: of one log, exclusive.
        into: A folder that is empty or not there yet, or that of a replay that was killed: that is begun anew.
        settings: Of these, `allow_dropped` and `restore_as` fit a savepoint to new code.
        progress: Called about four times a second.

    Raises:
        PlanError: A source cannot be replayed, two outputs have one name, or a word is none.
        StoreError: `into` holds something else, the savepoint is missing, or the disk refuses.
        RestoreError: The savepoint does not fit the pipeline.
        JobFailed: A function raised; its error is the cause. `into` is unfinished then.
    """
    span = await span_of(current_world(), start, until)
    graph = pipeline.draft.graph()
    return await replay_over(graph, span, await span.reads_of(graph), into, settings=settings, progress=progress)


async def replay_over(
    graph: LogicalGraph,
    span: Span,
    reads: Mapping[str, Reads],
    into: StrPath,
    *,
    settings: Settings | None,
    progress: Callable[[ReplayProgress], object],
) -> Summary:
    """Do what `replay` does over offsets that are known."""
    world, path = current_world(), absolute(into)
    outputs = outputs_of(graph)
    grain = grain_of(plan_graph(_with_one_subtask(graph), has_store=False))
    replaying = Replaying(
        grain=grain,
        readings={name: each.readings for name, each in reads.items()},
        behind={name: each.behind for name, each in reads.items()},
        start_us=span.begin.clock_us,
        progress=progress,
    )
    options: RunOptions = {
        "restart": Restart.never(),
        "settings": settings or Settings(),
        "checkpoint_interval": CHECKPOINT_SECONDS,
    }
    if span.begin.savepoint is not None:
        options["restore"], options["fork"] = span.begin.savepoint, _FORK
    folder = await world.offload.run(replay_folder.begin, world.files, path)
    try:
        logs = await logs_in(world, outputs, path)
        try:
            run = Run(replayed(graph, reads, logs), options, replaying=replaying)
            async with run as job:
                summary = await job.wait()
            counts = {name: (await log.summary()).records for name, log in logs.items()}
        finally:
            await _close(logs)
        note = ReplayNote(graph.name, span.begin.savepoint, _offsets(reads), counts)
        await current_world().offload.run(folder.finish, note)
    finally:
        folder.release()
    return summary


async def _close(logs: Mapping[str, EventLog[Any]]) -> None:
    with anyio.CancelScope(shield=True):
        for log in logs.values():
            await log.aclose()


def _with_one_subtask(graph: LogicalGraph) -> LogicalGraph:
    return replace(graph, nodes=[replace(node, parallelism=1) for node in graph.nodes])


def _offsets(reads: Mapping[str, Reads]) -> dict[str, dict[str, tuple[int, int]]]:
    return {
        name: {split: (reading.first, reading.end) for split, reading in each.readings.items()}
        for name, each in reads.items()
    }
