"""Short words for building graphs in tests: a node is known by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from actorstream.connectors.memory import SequenceSource
from actorstream.graph.nodes import (
    CallSpec,
    CountSpec,
    Edge,
    Forward,
    Keyed,
    LogicalGraph,
    MapSpec,
    Node,
    NodeId,
    Partitioning,
    ProcessSpec,
    Rebalance,
    Replay,
    SourceSpec,
    Spec,
    TimedSpec,
    inputs_of,
)
from actorstream.operators.joins.cogroup import window_join
from actorstream.operators.joins.interval import IntervalJoin
from actorstream.operators.windows.aggregates import counting
from actorstream.operators.windows.assigners import Tumbling
from actorstream.operators.windows.definition import WindowDefinition
from actorstream.operators.windows.sliced_definition import SlicedDefinition

if TYPE_CHECKING:
    from actorstream.model.connect import Source


def key(value: object) -> object:
    return value


def reading(source: object, replay: Replay = "replayable") -> SourceSpec:
    return SourceSpec(cast("Source[object, object]", source), replay)


SOURCE = reading(SequenceSource([]))
MAP = MapSpec(key)
COUNT = CountSpec()
PROCESS = ProcessSpec(object, None)
WINDOW = TimedSpec(SlicedDefinition(WindowDefinition(Tumbling(5), counting())))
WINDOW_JOIN = TimedSpec(window_join(Tumbling(5)))
INTERVAL_JOIN = TimedSpec(IntervalJoin(1, 1))
CALL = CallSpec(print, is_async=False)
FORWARD, KEYED, REBALANCE = Forward(), Keyed(key), Rebalance()


class Building:
    """Adds nodes by name; of an operator with two inputs the first is the left one."""

    def __init__(self, max_parallelism: int = 128) -> None:
        self.graph = LogicalGraph("test", max_parallelism)

    def add(
        self,
        name: str,
        spec: Spec,
        *inputs: str | tuple[str, Partitioning],
        named: bool = True,
        parallelism: int | None = None,
        new_chain: bool = False,
    ) -> Building:
        """Add a node; an input without a partitioning is a forward edge."""
        edges = [(given, FORWARD) if isinstance(given, str) else given for given in inputs]
        sides = inputs_of(spec)
        self.graph.nodes.append(
            Node(
                NodeId(len(self.graph.nodes)),
                name,
                spec,
                tuple(
                    Edge(self.id_of(source), partitioning, side=min(number, sides - 1) if sides == 2 else 0)
                    for number, (source, partitioning) in enumerate(edges)
                ),
                named,
                parallelism,
                new_chain,
            )
        )
        return self

    def id_of(self, name: str) -> NodeId:
        """Give the newest node of that name; an unknown one is far ahead."""
        found = [node.id for node in self.graph.nodes if node.name == name]
        return found[-1] if found else NodeId(1_000)
