"""What tells two pipelines apart: whether a name that we made up, such as "map-3", still means the same operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xxhash import xxh3_64_hexdigest

from actorstream.graph.nodes import kind_of

if TYPE_CHECKING:
    from actorstream.graph.nodes import Edge, LogicalGraph


def fingerprint(graph: LogicalGraph) -> str:
    """Give a digest of names, kinds and edges: of no function, and of nothing that a restart may change."""
    rows = [
        (
            node.name,
            node.named,
            kind_of(node.spec),
            [_row(edge) for edge in node.inputs],
            *([[_row(edge) for edge in node.back]] if node.back else []),  # others keep the digest that they had
        )
        for node in graph.nodes
    ]
    return xxh3_64_hexdigest(repr(rows).encode())


def _row(edge: Edge) -> tuple[int, str, str, int]:
    return int(edge.source), type(edge.partitioning).__name__, edge.output, edge.side


def names_in_doubt(graph: LogicalGraph, known: str) -> frozenset[str]:
    """Name the operators that may be others than those of a graph with the fingerprint `known`; "": nobody knows."""
    if known in {"", fingerprint(graph)}:
        return frozenset()
    return frozenset(node.name for node in graph.nodes if not node.named)
