"""Connected components of a graph whose edges come one by one: each vertex tells its neighbours the smallest it knows.

    python components.py          edges of a small graph, and the component of each vertex

A vertex keeps its neighbours, and the smallest label that has reached it, at first its own. When it hears of a smaller
one, it tells its neighbours; that is what goes round. An edge that comes late joins two components: the smaller label
goes through the other.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from actorstream import Context, KeyedProcess, MapState, Pipeline, Stream, ValueState, collect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Edge = tuple[int, int]
Message = tuple[int, str, int]
"""To a vertex; "edge" and the neighbour, "label" and the label, or, on its way out, "is" and the vertex's own."""


class Vertex(KeyedProcess[int, Message, Message]):
    """One vertex."""

    label: ValueState[int] = ValueState(-1)
    neighbours: MapState[int, bool] = MapState()

    def on_element(self, message: Message, ctx: Context[int], /) -> Iterator[Message]:
        """Take an edge, or a label."""
        vertex, kind, value = message
        if self.label == -1:
            self.label = vertex
            yield vertex, "is", vertex
        if kind == "edge":
            self.neighbours[value] = True
            yield value, "label", self.label
        elif value < self.label:
            self.label = value
            yield vertex, "is", value
            for neighbour in self.neighbours:
                yield neighbour, "label", value


def labels(edges: Stream[Edge]) -> Stream[Message]:
    """Give the label of a vertex each time it has changed."""

    def body(messages: Stream[Message]) -> tuple[Stream[Message], Stream[Message]]:
        told = messages.key_by(lambda message: message[0]).process(Vertex, name="vertices")
        return told.filter(lambda message: message[1] == "label"), told.filter(lambda message: message[1] == "is")

    both_ways = edges.flat_map(lambda edge: [(edge[0], "edge", edge[1]), (edge[1], "edge", edge[0])])
    return both_ways.feedback(body, name="labels")


async def components(edges: Iterable[Edge]) -> dict[int, int]:
    """Give the last label of each vertex: the smallest vertex of its component."""
    changes = await collect(labels(Pipeline("components").source(list(edges))))
    return {vertex: label for vertex, _, label in changes}


if __name__ == "__main__":
    found = asyncio.run(components([(1, 2), (3, 4), (2, 5), (6, 7), (4, 1)]))
    print(sorted(found.items()))
