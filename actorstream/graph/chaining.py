"""From operators to actors: which operators share one, and what runs between the others.

    source ─forward─> parse ─keyed─> views ─forward─> format ─forward─> sink
                         └──forward──> audit                 (a stream used twice)

    chain "source"              chain "views"
    [source -> parse -> audit]  ──keyed──>  [views -> format -> sink]

A hop between actors costs up to a third of a plain keyed sum (ADR 002), so an
operator joins the actor before it unless something speaks against it. What does:
a rebalancing edge, another parallelism, several inputs (barriers align at the
head of an actor only), or `new_chain`; a broadcast edge comes beside a keyed one.
The head of a loop begins an actor, and an edge that leads back to it never joins. So does an async function: its actor
takes records while others of them are awaited.
So the root of a chain alone has inputs from elsewhere.

A keyed edge distributes, so it ends a chain, but from one subtask to one there
is nothing to distribute: then the operator joins, unless the chain has an
operator with state already (a snapshot is of one operator's state), or times are
assigned behind a flat_map: an operator that waits for time would find the watermark
moved in the middle of a record, where its actor cannot stop.

Several inputs that all come out of the chain are no reason against it where nothing of their
keys is fetched before the records, and the same times were assigned on every way (ADR 004):

    [source -> assign ┬> people ───keyed─┬> newcomers]        a window join of a stream with itself
                      └> auctions ─keyed─┘
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from actorstream.errors import PlanError
from actorstream.graph.awaited import AsyncSpec
from actorstream.graph.checks import check_graph
from actorstream.graph.loops import loops_of
from actorstream.graph.nodes import (
    AssignSpec,
    FlatMapSpec,
    Forward,
    Keyed,
    LoopSpec,
    ProcessSpec,
    Rebalance,
    SourceSpec,
    StatefulSpec,
    ThrottleSpec,
    TimedSpec,
    asks_for_time,
    awaits,
)
from actorstream.graph.plan import Chain, Exchange, Plan

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from actorstream.graph.nodes import Edge, LogicalGraph, Node, NodeId


def plan_graph(
    graph: LogicalGraph,
    *,
    parallelism: int = 1,
    has_store: bool,
    of_operators: Mapping[str, int] | None = None,
    apart: Collection[str] = (),
) -> Plan:
    """Check a graph and decide its actors.

    The plan depends on the arguments only: the same pipeline gives the same
    chains under the same names in every process.

    Args:
        graph: The pipeline as written.
        parallelism: For operators that do not say their own.
        has_store: State outlives the process, so stateful operators need names.
        of_operators: By operator, what counts instead of the parallelism that it says.
        apart: Operators that begin an actor of their own, whatever speaks for another's.

    Raises:
        PlanError: The graph cannot run: see `graph/checks.py`.
    """
    of_operators = of_operators or {}
    said = [_saying(node, of_operators) for node in graph.nodes]
    check_graph(replace(graph, nodes=said), parallelism=parallelism, has_store=has_store)
    degrees = {node.id: node.parallelism or parallelism for node in said}
    heads = _heads(graph, degrees, apart)
    names = {node.id: node.name for node in graph.nodes}
    members: dict[NodeId, list[Node]] = defaultdict(list)
    feeds: dict[NodeId, list[tuple[Node, Edge]]] = defaultdict(list)
    inputs: dict[NodeId, list[Exchange]] = defaultdict(list)
    outputs: dict[NodeId, list[Exchange]] = defaultdict(list)
    for node in graph.nodes:
        members[heads[node.id]].append(node)
        if heads[node.id] != node.id:
            for edge in node.inputs:
                feeds[edge.source].append((node, edge))
            continue
        for exchange in _exchanges(node, degrees):
            inputs[node.id].append(exchange)
            outputs[heads[exchange.sender]].append(exchange)
    back = {node.id: _back_exchanges(node, degrees) for node in graph.nodes if node.back}
    for exchanges in back.values():
        for exchange in exchanges:
            outputs[heads[exchange.sender]].append(exchange)
    loops = {member: names[head] for head, members in loops_of(graph).items() for member in members}
    timed = _timed(graph)
    # Inputs come before what they feed, so the order of heads has senders before receivers.
    chains = tuple(
        Chain(
            name=nodes[0].name,
            parallelism=degrees[head],
            nodes=tuple(nodes),
            feeds={node.id: tuple(feeds[node.id]) for node in nodes},
            inputs=tuple(inputs[head]),
            outputs=tuple(outputs[head]),
            needs_timestamps=head in timed,
            stateful=next((node for node in nodes if isinstance(node.spec, StatefulSpec)), None),
            back=tuple(back.get(head, ())),
            loop=next((loops[node.id] for node in nodes if node.id in loops), None),
        )
        for head, nodes in members.items()
    )
    _check_alignment(graph, chains)
    return Plan(graph, parallelism, of_operators, chains, {node.id: chain for chain in chains for node in chain.nodes})


def _check_alignment(graph: LogicalGraph, chains: Iterable[Chain]) -> None:
    for chain in chains:
        for node in chain.assigns:
            if (
                isinstance(node.spec, AssignSpec)
                and node.spec.alignment
                and not isinstance(chain.head.spec, SourceSpec)
            ):
                raise PlanError(
                    f"pipeline {graph.name!r}: {node.name!r} aligns watermarks, but is not in the actor of a source: "
                    "say assign_timestamps(..., alignment=...) right behind pipeline.source(...)"
                )


def _heads(graph: LogicalGraph, degrees: Mapping[NodeId, int], apart: Collection[str]) -> dict[NodeId, NodeId]:
    """Give, for each node, the node at which its chain begins."""
    heads: dict[NodeId, NodeId] = {}
    timed_by: dict[NodeId, NodeId] = {}  # who gave the records of a node their times: in its chain, else its head
    with_state: set[NodeId] = set()
    expanding: set[NodeId] = set()  # nodes behind a flat_map of their chain
    halting: set[NodeId] = set()  # nodes behind times assigned behind a flat_map
    looping: set[NodeId] = set()  # heads of chains with somebody in a loop
    members = {member for loop in loops_of(graph).values() for member in loop}
    for node in graph.nodes:
        head = node.id
        sources = {edge.source for edge in node.inputs}
        chains = {heads[source] for source in sources}
        alike = len(chains) == 1 and {degrees[source] for source in sources} == {degrees[node.id]}
        apt = (
            not node.new_chain
            and node.name not in apart
            and not isinstance(node.spec, LoopSpec)
            and not awaits(node.spec)
        )
        # A throttle holds records back in its actor, which one in a loop may not.
        apt = apt and not (isinstance(node.spec, ThrottleSpec) and not chains.isdisjoint(looping))
        if alike and apt:
            (chain,) = chains
            halts = isinstance(node.spec, ProcessSpec | TimedSpec) and not sources.isdisjoint(halting)
            inside = degrees[node.id] == 1 and _makes_keys(node) and not halts and chain not in with_state
            # A snapshot is of one operator's state.
            full = isinstance(node.spec, StatefulSpec) and chain in with_state
            if (_is_forward(node) and not full) or (inside and len({timed_by[source] for source in sources}) == 1):
                head = chain
        assigns = isinstance(node.spec, AssignSpec)
        timed_by[node.id] = node.id if assigns or head == node.id else timed_by[node.inputs[0].source]
        if head != node.id:
            expands = not sources.isdisjoint(expanding)
            if not sources.isdisjoint(halting) or (expands and assigns):
                halting.add(node.id)
            if expands:
                expanding.add(node.id)
        if isinstance(node.spec, FlatMapSpec) or (isinstance(node.spec, AsyncSpec) and node.spec.kind == "flat_map"):
            expanding.add(node.id)
        heads[node.id] = head
        if node.id in members:
            looping.add(head)
        if isinstance(node.spec, StatefulSpec):
            with_state.add(head)
    return heads


def _is_forward(node: Node) -> bool:
    return len(node.inputs) == 1 and isinstance(node.inputs[0].partitioning, Forward)


def _saying(node: Node, of_operators: Mapping[str, int]) -> Node:
    return replace(node, parallelism=of_operators[node.name]) if node.name in of_operators else node


def _makes_keys(node: Node) -> bool:
    """Tell whether an operator can make its keys itself, inside a chain."""
    return (
        isinstance(node.spec, StatefulSpec)
        and all(isinstance(edge.partitioning, Keyed) for edge in node.inputs)
        and (len(node.inputs) == 1 or (isinstance(node.spec, TimedSpec) and not node.spec.definition.fetches_rows))
    )


def _exchanges(node: Node, degrees: Mapping[NodeId, int]) -> list[Exchange]:
    return [_exchange(node, edge, index, f"{node.name}:{index}", degrees) for index, edge in enumerate(node.inputs)]


def _back_exchanges(node: Node, degrees: Mapping[NodeId, int]) -> list[Exchange]:
    return [
        replace(_exchange(node, edge, len(node.inputs) + index, f"{node.name}:back{index}", degrees), back=True)
        for index, edge in enumerate(node.back)
    ]


def _exchange(node: Node, edge: Edge, index: int, name: str, degrees: Mapping[NodeId, int]) -> Exchange:
    alike = degrees[edge.source] == degrees[node.id]
    return Exchange(
        sender=edge.source,
        receiver=node.id,
        input=index,
        partitioning=Rebalance() if isinstance(edge.partitioning, Forward) and not alike else edge.partitioning,
        output=edge.output,
        side=edge.side,
        name=name,
    )


def _timed(graph: LogicalGraph) -> set[NodeId]:
    """Find the operators that want the event time with which records come, for themselves or for one behind them."""
    timed: set[NodeId] = set()
    wanted: set[NodeId] = set()  # whose results are wanted with their event time
    known = -1
    while known != len(wanted):  # again where a loop leads back
        known = len(wanted)
        for node in reversed(graph.nodes):
            if asks_for_time(node.spec) or (node.id in wanted and not isinstance(node.spec, AssignSpec)):
                timed.add(node.id)
                wanted.update(edge.source for edge in (*node.inputs, *node.back))
    return timed
