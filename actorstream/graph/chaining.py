"""From operators to actors: which operators share one, and what runs between the others.

    source ─forward─> parse ─keyed─> views ─forward─> format ─forward─> sink
                         └──forward──> audit                 (a stream used twice)

    chain "source"              chain "views"
    [source -> parse -> audit]  ──keyed──>  [views -> format -> sink]

A hop between actors costs up to a third of a plain keyed sum (ADR 002), so an
operator joins the actor before it unless something speaks against it. What does:
a rebalancing edge, another parallelism, several inputs (barriers align at the
head of an actor only), or `new_chain`. So a chain is a tree whose root alone has
inputs from elsewhere.

A keyed edge distributes, so it ends a chain, but from one subtask to one there
is nothing to distribute: then the operator joins, unless the chain has an
operator with state already (a snapshot is of one operator's state).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from actorstream.graph.checks import check_graph
from actorstream.graph.nodes import Forward, Keyed, ProcessSpec, Rebalance, StatefulSpec
from actorstream.graph.plan import Chain, Exchange, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorstream.graph.nodes import LogicalGraph, Node, NodeId


def plan_graph(graph: LogicalGraph, *, parallelism: int = 1, has_store: bool) -> Plan:
    """Check a graph and decide its actors.

    The plan depends on the arguments only: the same pipeline gives the same
    chains under the same names in every process.

    Args:
        graph: The pipeline as written.
        parallelism: For operators that do not say their own.
        has_store: State outlives the process, so stateful operators need names.

    Raises:
        PlanError: The graph cannot run: see `graph/checks.py`.
    """
    check_graph(graph, parallelism=parallelism, has_store=has_store)
    degrees = {node.id: node.parallelism or parallelism for node in graph.nodes}
    heads = _heads(graph, degrees)
    members: dict[NodeId, list[Node]] = defaultdict(list)
    children: dict[NodeId, list[Node]] = defaultdict(list)
    inputs: dict[NodeId, list[Exchange]] = defaultdict(list)
    outputs: dict[NodeId, list[Exchange]] = defaultdict(list)
    for node in graph.nodes:
        members[heads[node.id]].append(node)
        if heads[node.id] != node.id:
            children[node.inputs[0].source].append(node)
            continue
        for exchange in _exchanges(node, degrees):
            inputs[node.id].append(exchange)
            outputs[heads[exchange.sender]].append(exchange)
    timed = _timed(members, outputs)
    # Inputs come before what they feed, so the order of heads has senders before receivers.
    chains = tuple(
        Chain(
            name=nodes[0].name,
            parallelism=degrees[head],
            nodes=tuple(nodes),
            children={node.id: tuple(children[node.id]) for node in nodes},
            inputs=tuple(inputs[head]),
            outputs=tuple(outputs[head]),
            needs_timestamps=head in timed,
            stateful=next((node for node in nodes if isinstance(node.spec, StatefulSpec)), None),
        )
        for head, nodes in members.items()
    )
    return Plan(graph, parallelism, chains, {node.id: chain for chain in chains for node in chain.nodes})


def _heads(graph: LogicalGraph, degrees: Mapping[NodeId, int]) -> dict[NodeId, NodeId]:
    """Give, for each node, the node at which its chain begins."""
    heads: dict[NodeId, NodeId] = {}
    with_state: set[NodeId] = set()
    for node in graph.nodes:
        head = node.id
        if not node.new_chain and len(node.inputs) == 1 and degrees[node.inputs[0].source] == degrees[node.id]:
            before = heads[node.inputs[0].source]
            match node.inputs[0].partitioning:
                case Forward():
                    head = before
                case Keyed() if degrees[node.id] == 1 and isinstance(node.spec, StatefulSpec):
                    head = node.id if before in with_state else before
        heads[node.id] = head
        if isinstance(node.spec, StatefulSpec):
            with_state.add(head)
    return heads


def _exchanges(node: Node, degrees: Mapping[NodeId, int]) -> list[Exchange]:
    return [
        Exchange(
            sender=edge.source,
            receiver=node.id,
            input=index,
            partitioning=Rebalance()
            if isinstance(edge.partitioning, Forward) and degrees[edge.source] != degrees[node.id]
            else edge.partitioning,
        )
        for index, edge in enumerate(node.inputs)
    ]


def _timed(members: Mapping[NodeId, list[Node]], outputs: Mapping[NodeId, list[Exchange]]) -> set[NodeId]:
    """Find the chains in which, or behind which, a process may ask for event time."""
    timed: set[NodeId] = set()
    for head in reversed(list(members)):
        asks = any(isinstance(node.spec, ProcessSpec) for node in members[head])
        if asks or any(exchange.receiver in timed for exchange in outputs.get(head, ())):
            timed.add(head)
    return timed
