"""Loops: which operators records go round in, and what a loop may not consist of.

    source ──> head ──> step ──┬──> leave ──> ...
                ^              │
                └─────back─────┘

Members are those on a way from the head to an edge that leads back to it: here `head` and `step`. `leave` may share
an actor with them, but a record there is out of the loop. What comes from elsewhere may enter at any member.

A back edge is not among a node's inputs, so that the graph without back edges has inputs before what they feed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.graph.nodes import AssignSpec, LoopSpec, SourceSpec, ThrottleSpec, TimedSpec, awaits, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actorstream.graph.nodes import LogicalGraph, Node, NodeId


def loops_of(graph: LogicalGraph) -> Mapping[NodeId, frozenset[NodeId]]:
    """Give, by the head of each loop, the operators that records go round in."""
    return {node.id: _members(graph, node) for node in graph.nodes if isinstance(node.spec, LoopSpec)}


def loop_problems(graph: LogicalGraph) -> Iterator[str]:
    """Say what is wrong with the loops of a graph."""
    taken: dict[NodeId, Node] = {}
    for head_id, members in loops_of(graph).items():
        head = next(node for node in graph.nodes if node.id == head_id)
        yield from _edge_problems(graph, head)
        for node in graph.nodes:
            if node.id not in members:
                continue
            other = taken.setdefault(node.id, head)
            if isinstance(node.spec, LoopSpec) and node is not head:
                yield (
                    f"loop {node.name!r} is inside loop {head.name!r}: one loop may not hold another; let records of "
                    "both go round in one, with a field that says what is to be done with them"
                )
            elif other is not head and not isinstance(node.spec, LoopSpec):
                yield (
                    f"{node.name!r} is in two loops, {other.name!r} and {head.name!r}: one loop may not reach into "
                    "another; let records of both go round in one"
                )
            elif isinstance(node.spec, TimedSpec):
                yield (
                    f"{kind_of(node.spec)} {node.name!r} is inside loop {head.name!r}: it waits for event time to "
                    "pass, which waits for what goes round; put it before the loop or behind it, or use a KeyedProcess"
                )
            elif isinstance(node.spec, ThrottleSpec):
                yield (
                    f"throttle {node.name!r} is inside loop {head.name!r}, where records would have to wait for those "
                    "behind them: put it before the loop or behind it"
                )
            elif awaits(node.spec):
                yield (
                    f"async {kind_of(node.spec)} {node.name!r} is inside loop {head.name!r}, which counts what is in "
                    "it by what comes through its lanes: await before the loop or behind it"
                )
            elif isinstance(node.spec, AssignSpec):
                yield (
                    f"{node.name!r} gives records new times inside loop {head.name!r}, where event time follows the "
                    "times with which they came in: say assign_timestamps before the loop or behind it"
                )


def _edge_problems(graph: LogicalGraph, head: Node) -> Iterator[str]:
    if not head.back:
        yield f"loop {head.name!r}: nothing goes back: let its body give (what goes back, what leaves)"
    if not head.inputs:
        yield f"loop {head.name!r} has no input: say stream.feedback(...) of a stream that a source begins"
    inside = _reached_from(graph, head)
    names = {node.id: node for node in graph.nodes}
    for edge in head.back:
        source = names.get(edge.source)
        if source is head:
            yield (
                f"loop {head.name!r}: what goes back is what came in, so every record would go round for ever: put an "
                "operator between, or filter what goes back"
            )
        elif source is None or source.id not in inside:
            name = "nothing" if source is None else repr(source.name)
            yield (
                f"loop {head.name!r}: what goes back comes from {name}, which is not fed by what the body was given: "
                "let the body work on its argument"
            )
        elif isinstance(source.spec, SourceSpec):
            yield f"loop {head.name!r}: a source goes back, {source.name!r}: join it before the loop, with union"


def _members(graph: LogicalGraph, head: Node) -> frozenset[NodeId]:
    leading = {edge.source for edge in head.back}
    for node in reversed(graph.nodes):
        if node.id in leading:
            leading.update(edge.source for edge in node.inputs)
    return frozenset({head.id, *(_reached_from(graph, head) & leading)})


def _reached_from(graph: LogicalGraph, head: Node) -> set[NodeId]:
    reached = {head.id}
    for node in graph.nodes:
        if any(edge.source in reached for edge in node.inputs):
            reached.add(node.id)
    return reached
