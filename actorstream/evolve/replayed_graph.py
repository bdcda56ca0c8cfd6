"""A pipeline's graph as a replay runs it: sources that end, one subtask of each operator, outputs into one folder.

    orders (EventLog) ──> count x3 ──> totals (EventLog)          orders, offsets 0 to 9 ──> count ──> <into>/totals
                             └──────> print                                                    └──> nobody

Names stay what they are, so a savepoint's state finds its operators.
"""

from __future__ import annotations

from dataclasses import replace
from os.path import basename, join
from typing import TYPE_CHECKING, Any

from actorstream.errors import PlanError
from actorstream.eventlog.log import EventLog
from actorstream.evolve.replay_folder import NAMES
from actorstream.graph.nodes import AssignSpec, CallSpec, SinkSpec, SourceSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from actorstream.evolve.stretches import Reads
    from actorstream.graph.nodes import LogicalGraph, Spec
    from actorstream.model.connect import SinkContext
    from actorstream.model.world import World


class NoOutput:
    """The sink of what a replay does not write: takes everything and keeps nothing."""

    def writer(self, ctx: SinkContext, /) -> NoOutput:
        """Give itself: there is nothing to tell writers apart by."""
        del ctx
        return self

    async def __aenter__(self) -> Self:
        """Open nothing."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Close nothing."""

    async def write(self, values: Sequence[object], /) -> None:
        """Take records."""

    async def pre_commit(self, checkpoint: int, /) -> bytes | None:
        """There is nothing to commit."""
        del checkpoint
        return None

    async def commit(self, token: bytes, /) -> None:
        """Not called: no token was given."""

    async def abort(self, token: bytes | None, /) -> None:
        """Drop nothing."""


def outputs_of(graph: LogicalGraph) -> dict[str, EventLog[Any]]:
    """Give the logs that a pipeline writes, by the name that they have in a replay's folder.

    Raises:
        PlanError: Two outputs have one name, or one has a name that the folder needs itself.
    """
    found: dict[str, EventLog[Any]] = {}
    writers: dict[str, str] = {}
    for node in graph.nodes:
        if not isinstance(node.spec, SinkSpec) or not isinstance(node.spec.sink, EventLog):
            continue
        log = node.spec.sink
        name = basename(log.path)
        if name in found:
            same = " (the order between two writers of one log is not fixed)" if found[name].path == log.path else ""
            raise PlanError(
                f"pipeline {graph.name!r} cannot be replayed: {writers[name]} and {node.name} write logs that are "
                f"both called {name!r}{same}: in a replay's folder each needs a name of its own"
            )
        if name in NAMES:
            raise PlanError(f"pipeline {graph.name!r} cannot be replayed: a log in a replay cannot be called {name!r}")
        found[name], writers[name] = log, node.name
    return found


async def logs_in(world: World, outputs: Mapping[str, EventLog[Any]], into: str) -> dict[str, EventLog[Any]]:
    """Give the logs that take their place in a replay's folder: of as many partitions, where these are there."""
    logs = {}
    for name, log in outputs.items():
        partitions = None
        if await world.offload.run(world.files.exists, join(log.path, "LOG")):
            partitions = len((await log.summary()).next)
        logs[name] = log.at(join(into, name), partitions=partitions)
    return logs


def replayed(graph: LogicalGraph, reads: Mapping[str, Reads], logs: Mapping[str, EventLog[Any]]) -> LogicalGraph:
    """Give the graph to run."""

    def spec_of(name: str, spec: Spec) -> Spec:
        match spec:
            case SourceSpec():
                return SourceSpec(reads[name].source, "replayable")
            case SinkSpec(sink=EventLog() as log):
                return SinkSpec(logs[basename(log.path)])
            case SinkSpec() | CallSpec():
                return SinkSpec(NoOutput())
            case AssignSpec():
                # Who is idle or ahead of others, the machine's clock would decide.
                return replace(spec, idle_timeout_us=None, alignment=None)
            case _:
                return spec

    nodes = [replace(node, spec=spec_of(node.name, node.spec), parallelism=1) for node in graph.nodes]
    return replace(graph, nodes=nodes)
