"""Where the output of a fork goes: beside that of its origin, never into it.

A sink that has a place for forks, as an EventLog has, gives another one for the fork's name. To any other the name
is a part of the job's id: a target that keeps writers apart by it keeps these apart. A plain function is called
as the origin calls it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from actorstream.graph.nodes import CallSpec, SinkSpec
from actorstream.model.connect import ForkableSink
from actorstream.system.log import log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from actorstream.graph.nodes import LogicalGraph
    from actorstream.model.connect import Sink


def fork_sinks(graph: LogicalGraph, fork: str) -> dict[str, Sink[object]]:
    """Give, by operator, the sinks that stand in for those of the pipeline; none where `fork` is empty."""
    forked: dict[str, Sink[object]] = {}
    if not fork:
        return forked
    for node in graph.nodes:
        if isinstance(node.spec, SinkSpec) and isinstance(node.spec.sink, ForkableSink):
            forked[node.name] = node.spec.sink.forked(fork)
        elif isinstance(node.spec, SinkSpec | CallSpec):
            log.warning("the fork's output goes where its origin's does", fork=fork, operator=node.name)
    return forked


async def close_sinks(forked: Mapping[str, Sink[object]]) -> None:
    """Close what was made for the fork."""
    for sink in forked.values():
        close = cast("Callable[[], Awaitable[None]] | None", getattr(sink, "aclose", None))
        if close is not None:
            await close()
