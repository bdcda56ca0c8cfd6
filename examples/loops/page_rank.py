"""PageRank of a graph whose edges come one by one: what changes at a vertex is told to its neighbours, round and round.

    python page_rank.py          edges of a small graph, and the ranks that they lead to

A vertex keeps its rank, and the rank that its neighbours know of. Where the two differ by more than `ENOUGH`, it tells
each neighbour its share of the difference; a new edge makes all shares smaller, which is told as well. Differences
become smaller with each turn, so the loop comes to rest; the next edge sets it going again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from actorstream import Context, KeyedProcess, MapState, Pipeline, Stream, ValueState, collect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DAMPING = 0.85
ENOUGH = 1e-4

Edge = tuple[str, str]
Message = tuple[str, str, str, float]
"""To a vertex; "edge" and to whom, "more" and how much, or, on its way out, "is" and its rank."""


class Vertex(KeyedProcess[str, Message, Message]):
    """One page."""

    rank: ValueState[float] = ValueState(0.0)
    known: ValueState[float] = ValueState(0.0)
    degree: ValueState[int] = ValueState(0)
    links: MapState[str, bool] = MapState()

    def on_element(self, message: Message, ctx: Context[str], /) -> Iterator[Message]:
        """Take an edge, or more rank."""
        vertex, kind, other, amount = message
        if not self.rank:
            self.rank = 1 - DAMPING
        if kind == "more":
            self.rank += amount
        elif other not in self.links:
            share = DAMPING * self.known
            for link in self.links:
                yield link, "more", "", share / (self.degree + 1) - share / self.degree
            self.links[other] = True
            self.degree += 1
            yield other, "more", "", share / self.degree
        if abs(self.rank - self.known) > ENOUGH:
            more = DAMPING * (self.rank - self.known)
            self.known = self.rank
            for link in self.links:
                yield link, "more", "", more / self.degree
            yield vertex, "is", "", self.rank


def ranks(edges: Stream[Edge]) -> Stream[Message]:
    """Give the rank of a vertex each time it has changed."""

    def body(messages: Stream[Message]) -> tuple[Stream[Message], Stream[Message]]:
        told = messages.key_by(lambda message: message[0]).process(Vertex, name="vertices")
        return told.filter(lambda message: message[1] == "more"), told.filter(lambda message: message[1] == "is")

    return edges.map(lambda edge: (edge[0], "edge", edge[1], 0.0)).feedback(body, name="ranks")


async def page_rank(edges: Iterable[Edge]) -> dict[str, float]:
    """Give the last rank of each vertex."""
    changes = await collect(ranks(Pipeline("page-rank").source(list(edges))))
    return {vertex: rank for vertex, _, _, rank in changes}


if __name__ == "__main__":
    EDGES = [("home", "shop"), ("home", "news"), ("news", "home"), ("shop", "home"), ("shop", "cart"), ("cart", "home")]
    for page, found in sorted(asyncio.run(page_rank(EDGES)).items(), key=lambda each: -each[1]):
        print(f"{page:6}{found:.3f}")
