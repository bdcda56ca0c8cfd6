"""A pipeline's graph while it is being written, and the places in it that streams stand for.

    Pipeline ──has──> Draft (nodes, only ever added)
    Stream   ──has──> Origin (draft, input edges)   ──then(spec)──> Origin of the new node

A stream is nothing but its origin: the edges that its next operator will have as
inputs. So a union or a rebalance costs no operator of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from actorstream.api.options import check_options
from actorstream.errors import InvariantError, PlanError
from actorstream.graph.nodes import Edge, Forward, LogicalGraph, Node, NodeId, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorstream.api.keyed import KeyedStream
    from actorstream.api.options import Options
    from actorstream.api.windowed import AllWindowedStream
    from actorstream.graph.nodes import Partitioning, Spec


@dataclass(slots=True, eq=False)
class Draft:
    """Collects nodes.

    `keyed` makes the stream that `key_by` gives, `windowed` that of `window_all`: handed in by the pipeline,
    because these are built on streams.
    """

    name: str
    max_parallelism: int
    keyed: Callable[[Origin], KeyedStream[Any, Any]]
    windowed: Callable[..., AllWindowedStream[Any]]
    nodes: list[Node] = field(default_factory=list)
    side_outputs: set[tuple[NodeId, str]] = field(default_factory=set)

    def add(self, spec: Spec, inputs: tuple[Edge, ...], options: Options, name: str | None = None) -> Origin:
        """Add an operator.

        Args:
            spec: What it does.
            inputs: Where its records come from.
            options: What the user says of it.
            name: Its name where the user gives none; otherwise it is "<kind>-<n>", n being its place in the pipeline.

        Raises:
            PlanError: An option is misspelt or of a wrong type.
        """
        kind = kind_of(spec)
        check_options(options, f"{kind} in pipeline {self.name!r}")
        node_id = NodeId(len(self.nodes))
        given = options.get("name", name)
        node = Node(
            id=node_id,
            name=f"{kind}-{node_id}" if given is None else given,
            spec=spec,
            inputs=inputs,
            named=given is not None,
            parallelism=options.get("parallelism"),
            new_chain=options.get("new_chain", False),
        )
        self.nodes.append(node)
        return Origin(self, (Edge(node_id, Forward()),))

    def close_loop(self, head: Node, back: Origin, leaves: Origin) -> None:
        """Let what comes out at `back` come in at `head` again; `leaves` is what goes on from the loop.

        Raises:
            PlanError: They are of another pipeline.
        """
        for stream in (back, leaves):
            if stream.draft is not self:
                raise PlanError(
                    f"feedback {head.name!r}: its body gave a stream of pipeline {stream.draft.name!r}, not of "
                    f"{self.name!r}: let it work on the stream that it is given"
                )
        self.nodes[head.id] = replace(head, back=back.inputs)

    def graph(self) -> LogicalGraph:
        """Give the graph as it is now: what is added later is not in it."""
        return LogicalGraph(self.name, self.max_parallelism, list(self.nodes))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a stream's records come from: the inputs of whatever operator comes next."""

    draft: Draft
    inputs: tuple[Edge, ...]

    @property
    def node(self) -> Node:
        """The one operator behind the stream; a union has several: see `inputs`."""
        if len(self.inputs) != 1:
            raise InvariantError(f"a stream with {len(self.inputs)} inputs has no single operator")
        return self.draft.nodes[self.inputs[0].source]

    def then(self, spec: Spec, options: Options, name: str | None = None) -> Origin:
        """Add an operator that reads this stream."""
        return self.draft.add(spec, self.inputs, options, name)

    def through(self, partitioning: Partitioning) -> Origin:
        """Give the same records, distributed anew; this takes the place of what was said before."""
        return replace(self, inputs=tuple(replace(edge, partitioning=partitioning) for edge in self.inputs))

    def side(self, output: str) -> Origin:
        """Give the records of a side output of the operator behind the stream."""
        self.draft.side_outputs.update((edge.source, output) for edge in self.inputs)
        return replace(self, inputs=tuple(Edge(edge.source, Forward(), output) for edge in self.inputs))

    def beside(self, other: Origin) -> Origin:
        """Give the inputs of an operator that tells two apart: this stream is the first, `other` the second.

        Raises:
            PlanError: It belongs to another pipeline.
        """
        both = self.joined([other])
        first = len(self.inputs)
        inputs = [replace(edge, side=int(number >= first)) for number, edge in enumerate(both.inputs)]
        return replace(both, inputs=tuple(inputs))

    def joined(self, others: Sequence[Origin]) -> Origin:
        """Give the records of this stream and of `others`.

        Raises:
            PlanError: One of them belongs to another pipeline.
        """
        for other in others:
            if other.draft is not self.draft:
                raise PlanError(
                    f"a stream of pipeline {other.draft.name!r} cannot join one of pipeline {self.draft.name!r}: "
                    "build both on one Pipeline, or pass records between the two through an EventLog"
                )
        return replace(self, inputs=self.inputs + tuple(edge for other in others for edge in other.inputs))
