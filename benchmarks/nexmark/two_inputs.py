"""q3 once more, with people and auctions as two inputs of one operator: each side has a handler and a type of its own.

    people   ──key_by(id)─────┐
                              ├──connect──> LocalItems
    auctions ──key_by(seller)─┘

It gives the same pairs. Their order may be another: within a batch, one input comes before the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream import KeyedCoProcess, ListState, ValueState
from benchmarks.nexmark import steps
from benchmarks.nexmark.events import Auction, Person
from benchmarks.nexmark.queries import auctions, people
from benchmarks.nexmark.steps import LocalItem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream import Context, Stream
    from benchmarks.nexmark.events import Event


def q3(events: Stream[Event]) -> Stream[LocalItem]:
    """Who is selling in Oregon, Idaho or California in category 10, and in which auctions?"""
    sellers = people(events).key_by(steps.id_of)
    items = auctions(events).filter(steps.is_local).key_by(steps.seller_of)
    return sellers.connect(items).process(LocalItems)


class LocalItems(KeyedCoProcess[int, Person, Auction, LocalItem]):
    """Of one seller: who it is and, until we know that, which auctions there were."""

    seller: ValueState[Person | None] = ValueState(None)
    waiting: ListState[int] = ListState()

    def on_left(self, person: Person, ctx: Context[int], /) -> Sequence[LocalItem]:
        """Give the auctions that have waited."""
        self.seller = person
        found = steps.local_items(person, self.waiting)
        self.waiting.clear()
        return found

    def on_right(self, auction: Auction, ctx: Context[int], /) -> Sequence[LocalItem]:
        """Give the auction, or let it wait."""
        if self.seller is None:
            self.waiting.append(auction.id)
            return ()
        return steps.local_items(self.seller, (auction.id,))
