"""The physical plan: chains, the channels between their subtasks, and what each chain needs.

    chain "source-0"  p=1        chain "views"  p=2
    [source -> map]   ──keyed──> [views]  [views]      2 subtasks, 1 input channel each

With one subtask each, the keyed operator joins the chain before it ("inside").

Channels of a subtask are numbered input edge by input edge, and within an edge
by the index of the sending subtask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actorstream.graph.nodes import AssignSpec, Forward, ThrottleSpec, is_keyed
from actorstream.model.ids import ChannelIndex, SubtaskId

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actorstream.graph.nodes import Edge, LogicalGraph, Node, NodeId, Partitioning


@dataclass(frozen=True, slots=True)
class Exchange:
    """An edge between two chains: what `sender` gives goes to the head of `receiver`.

    `input` is the edge's place among the inputs of the receiving node, so that a
    stream joined with itself gives two exchanges. `output` and `side` are the edge's. `name` is the receiver's name and
    that place: what snapshots call it. `back`: it leads back to the head of a loop.
    """

    sender: NodeId
    receiver: NodeId
    input: int
    partitioning: Partitioning
    output: str = ""
    side: int = 0
    name: str = ""
    back: bool = False


@dataclass(frozen=True, slots=True)
class Chain:
    """Operators that run in one actor for each subtask: records enter at `nodes[0]` only.

    `feeds` holds, for each node of the chain, who takes its records in the same chain, in graph order, and by which
    of its edges: a join that has both its inputs in here is there once for each. `outputs` are the exchanges that
    leave the chain, `inputs` those that enter at its head, `back` those that lead back to it. `needs_timestamps`:
    something in this chain or behind it asks for the event time with which records enter, before any is assigned.
    `stateful` is the operator that keeps state, if there is one: the head, or further inside. `loop` names the loop
    that records of this chain may go round in.
    """

    name: str
    parallelism: int
    nodes: tuple[Node, ...]
    feeds: Mapping[NodeId, tuple[tuple[Node, Edge], ...]]
    inputs: tuple[Exchange, ...]
    outputs: tuple[Exchange, ...]
    needs_timestamps: bool
    stateful: Node | None = None
    back: tuple[Exchange, ...] = ()
    loop: str | None = None

    @property
    def keyed_inside(self) -> bool:
        """Tell whether the keys are made in this chain, for an operator that is not its head."""
        return self.stateful is not None and self.stateful is not self.nodes[0] and is_keyed(self.stateful.spec)

    @property
    def assigns(self) -> tuple[Node, ...]:
        """The operators that give records new event times."""
        return tuple(node for node in self.nodes if isinstance(node.spec, AssignSpec))

    @property
    def throttles(self) -> tuple[tuple[NodeId, float], ...]:
        """The operators that let so many records a second pass, with what that is for each subtask."""
        nodes = [(node.id, node.spec) for node in self.nodes]
        return tuple((at, spec.rate / self.parallelism) for at, spec in nodes if isinstance(spec, ThrottleSpec))

    @property
    def head(self) -> Node:
        """The node at which records enter."""
        return self.nodes[0]

    def subtasks(self) -> Iterator[SubtaskId]:
        """Give the ids of the parallel instances."""
        return (SubtaskId(self.name, index) for index in range(self.parallelism))


@dataclass(frozen=True, slots=True)
class Plan:
    """Every chain, senders before receivers.

    `parallelism` is of operators that do not say their own; `of_operators` counts instead of what they say.
    """

    graph: LogicalGraph
    parallelism: int
    of_operators: Mapping[str, int]
    chains: tuple[Chain, ...]
    chain_of: Mapping[NodeId, Chain]

    def subtasks(self) -> Iterator[SubtaskId]:
        """Give every subtask of the job."""
        for chain in self.chains:
            yield from chain.subtasks()

    def channel(self, receiver: Chain, exchange: Exchange, sender_subtask: int) -> ChannelIndex:
        """Number the channel on which `sender_subtask` reaches any subtask of `receiver`.

        On a forward exchange the sender's subtask i reaches only the receiver's
        subtask i, so such an exchange takes one channel; the others take one for
        each sender.
        """
        first = 0
        for other in (*receiver.inputs, *receiver.back):
            if other == exchange:
                break
            first += self.channels_of(other)
        return ChannelIndex(first + (0 if self.channels_of(exchange) == 1 else sender_subtask))

    def senders(self, receiver: Chain, subtask: int) -> list[tuple[Exchange, int]]:
        """Give, for each channel of a receiving subtask in order, its exchange and the index of the sending subtask.

        What comes back in a loop has channels of its own, after these.
        """
        return [
            (exchange, subtask if isinstance(exchange.partitioning, Forward) else sender)
            for exchange in receiver.inputs
            for sender in range(self.channels_of(exchange))
        ]

    def channels_of(self, exchange: Exchange) -> int:
        """Count the channels that `exchange` gives to one receiving subtask."""
        return 1 if isinstance(exchange.partitioning, Forward) else self.chain_of[exchange.sender].parallelism
