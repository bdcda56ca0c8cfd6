"""What a plan means for a replay: how fine its turns must be, and what it says of itself.

    one way from each source to each actor, nobody looks at the clock     512 records, or a second of them
    somebody looks at the clock                                          records of one and the same time
    two ways from a source to an actor                                   one record

All three give one result whenever they are repeated; which one is taken decides how true the clock is to the records,
and whether two ways are gone record by record. See runtime/replay_order.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from actorstream.graph.nodes import AssignSpec, CallSpec, LoopSpec, ProcessSpec, SinkSpec, SourceSpec, TimedSpec
from actorstream.model.connect import InMemorySource, RecordedSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.graph.nodes import LogicalGraph, Node, NodeId, Spec
    from actorstream.graph.plan import Plan

RECORDS: Final = 512
SPAN_US: Final = 1_000_000


class Grain(NamedTuple):
    """How turns are cut: after so many records, and before one that came more than `span_us` after the first."""

    records: int
    span_us: int


def grain_of(plan: Plan) -> Grain:
    """Give the coarsest turns that this plan allows."""
    records = 1 if _meets_itself(plan) else RECORDS
    return Grain(records, 0 if any(_looks_at_clock(node.spec) for node in plan.graph.nodes) else SPAN_US)


def _looks_at_clock(spec: Spec) -> bool:
    """Tell whether an operator may ask what time it is: a process of the user's may, for all we know."""
    match spec:
        case ProcessSpec():
            return True
        case TimedSpec(definition=definition):
            return definition.asks_clock
        case AssignSpec(generator=generator):
            return generator is not None
        case _:
            return False


def _meets_itself(plan: Plan) -> bool:
    """Tell whether what one source gives comes to some actor by two lanes."""
    sources: dict[NodeId, frozenset[NodeId]] = {}
    for chain in plan.chains:
        by_lane = [sources[plan.chain_of[exchange.sender].head.id] for exchange in chain.inputs]
        nobody: frozenset[NodeId] = frozenset()
        met = nobody.union(*by_lane)
        if sum(map(len, by_lane)) > len(met):
            return True
        sources[chain.head.id] = met or frozenset({chain.head.id})
    return False


def obstacle(node: Node) -> str | None:
    """Say why a source, or a loop, cannot be replayed; None if it can."""
    spec = node.spec
    if isinstance(spec, LoopSpec):
        return f"{node.name} is a loop: what comes back meets what comes in in another order each time"
    if not isinstance(spec, SourceSpec) or isinstance(spec.source, RecordedSource):
        return None
    kind = type(spec.source).__name__
    if spec.replay == "replayable" and isinstance(spec.source, InMemorySource):
        return None
    if spec.replay == "replayable":
        return f"{node.name} ({kind}) keeps no time with its records: write them to an EventLog, and read that"
    return f"{node.name} ({kind}) gives its records once: write them to an EventLog, and read that"


def replay_lines(graph: LogicalGraph) -> Iterator[str]:
    """Say whether a replay gives the same result each time, and what it leaves out."""
    obstacles = [reason for node in graph.nodes if (reason := obstacle(node)) is not None]
    for reason in obstacles:
        yield f"replay: not possible: {reason}"
    if obstacles:
        return
    silent = [node.name for node in graph.nodes if isinstance(node.spec, CallSpec) or _is_foreign(node)]
    yield "replay: deterministic" + (f"; nothing goes to {', '.join(silent)}: no EventLog" if silent else "")


def _is_foreign(node: Node) -> bool:
    return isinstance(node.spec, SinkSpec) and not isinstance(node.spec.sink, RecordedSource)
