"""The Nexmark queries as pipelines: each turns the stream of events into the stream of its answer.

    pipeline = Pipeline("hot items")
    arrivals = pipeline.source(events(100_000)).assign_timestamps(time_of, out_of_orderness=DISORDER)
    q5(arrivals).sink(print)

q0 to q3 take events as they arrive; q4 to q8 need event time. Each docstring begins with the query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import actorstream
from actorstream import KeyedProcess, ListState, ValueState
from benchmarks.nexmark import steps
from benchmarks.nexmark.events import Auction, Person
from benchmarks.nexmark.generator import LONGEST_AUCTION
from benchmarks.nexmark.steps import NO_PRICES, NONE_HOT, SLIDE, WINDOW, LocalItem, Offer, Sale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actorstream import Context, Stream, Timer
    from benchmarks.nexmark.events import Bid, Event
    from benchmarks.nexmark.steps import HotItem, NewSeller


# ---- without state


def q0(events: Stream[Event]) -> Stream[Event]:
    """Pass every event on."""
    return events.map(steps.itself)


def q1(events: Stream[Event]) -> Stream[Bid]:
    """Convert the price of each bid from dollars to euros."""
    return bids(events).map(steps.in_euros)


def q2(events: Stream[Event]) -> Stream[tuple[int, int]]:
    """Find the bids on every 123rd auction, and show auction and price."""
    return bids(events).filter(steps.is_on_chosen_auction).map(steps.auction_and_price)


# ---- joins


def q3(events: Stream[Event]) -> Stream[LocalItem]:
    """Who is selling in Oregon, Idaho or California in category 10, and in which auctions?

    A join without an end: an auction waits for its seller, and a seller for auctions. One stream brings both, so
    that they are joined in the order in which they arrive.
    """
    relevant = cast("Stream[Person | Auction]", events.filter(steps.is_person_or_local_auction))
    return relevant.key_by(steps.seller_in).process(LocalItems)


class LocalItems(KeyedProcess[int, Person | Auction, LocalItem]):
    """Of one seller: who it is and, until we know that, which auctions there were."""

    seller: ValueState[Person | None] = ValueState(None)
    waiting: ListState[int] = ListState()

    def on_element(self, event: Person | Auction, ctx: Context[int], /) -> Sequence[LocalItem]:
        """Give the auctions whose seller is known now."""
        if isinstance(event, Person):
            self.seller = event
            found = steps.local_items(event, self.waiting)
            self.waiting.clear()
            return found
        if self.seller is None:
            self.waiting.append(event.id)
            return ()
        return steps.local_items(self.seller, (event.id,))


def q4(events: Stream[Event]) -> Stream[tuple[int, float]]:
    """What is the average price of the closed auctions of each category?

    A category's average comes anew whenever one of its auctions closes with a bid.
    """
    return sales(events).key_by(steps.category_of).fold((0, 0), steps.add_sale, name="totals").map(steps.average)


def q6(events: Stream[Event]) -> Stream[tuple[int, float]]:
    """What is the average price of the last ten closed auctions of each seller?

    A seller's average comes anew whenever one of the auctions closes with a bid.
    """
    return (
        sales(events).key_by(steps.seller_in_sale).map_with_state(NO_PRICES, steps.average_of_last, name="last-prices")
    )


def sales(events: Stream[Event]) -> Stream[Sale]:
    """Give every auction that closes with a bid, and its highest price: what q4 and q6 share.

    A bid counts from the instant at which its auction opens to that at which it closes, both included.
    """
    opened = auctions(events).key_by(steps.number_of)
    offered = bids(events).key_by(steps.auction_of)
    offers = opened.interval_join(offered, before=0, after=LONGEST_AUCTION, name="offers")
    return offers.filter(steps.is_in_time).key_by(steps.auction_in).process(Closing)


class Closing(KeyedProcess[int, Offer, Sale]):
    """Of one auction: the best offer, until it closes."""

    best: ValueState[Sale | None] = ValueState(None)

    def on_element(self, offer: Offer, ctx: Context[int], /) -> None:
        """Keep the better offer; the first one sets the alarm."""
        auction, bid = offer
        if self.best is None:
            ctx.set_timer(auction.expires)
        if self.best is None or bid.price > self.best.price:
            self.best = steps.sale_of(offer)

    def on_timer(self, timer: Timer, ctx: Context[int], /) -> Iterable[Sale]:
        """Sell, and forget the auction."""
        if self.best is not None:
            yield self.best
        ctx.clear()


def q8(events: Stream[Event]) -> Stream[NewSeller]:
    """Who has registered and opened an auction in the same ten seconds, and with which reserve?"""
    registered = people(events).key_by(steps.id_of)
    opened = auctions(events).key_by(steps.seller_of)
    return registered.window_join(opened, actorstream.Tumbling(WINDOW), name="newcomers").map(steps.new_seller)


# ---- windows


def q5(events: Stream[Event]) -> Stream[HotItem]:
    """Which auctions had the most bids in the last ten seconds? Every two seconds.

    All counts of a window carry the instant before its end, so a window of one slide holds them, and no others.
    """
    windows = actorstream.Sliding(WINDOW, slide=SLIDE)
    counts = bids(events).key_by(steps.auction_of).window(windows).count(name="bids-of-each-auction")
    hottest = counts.window_all(actorstream.Tumbling(SLIDE)).fold(NONE_HOT, steps.keep_hottest, name="hottest")
    return hottest.flat_map(steps.hot_items)


def q7(events: Stream[Event]) -> Stream[Bid]:
    """Which bid was the highest of each ten seconds? Of equal ones, the first to arrive."""
    highest = bids(events).window_all(actorstream.Tumbling(WINDOW)).max_by(steps.price_of, name="highest")
    return highest.map(steps.highest_bid)


# ---- one kind of event


def people(events: Stream[Event]) -> Stream[Person]:
    """Keep the people."""
    return cast("Stream[Person]", events.filter(steps.is_person))


def auctions(events: Stream[Event]) -> Stream[Auction]:
    """Keep the auctions."""
    return cast("Stream[Auction]", events.filter(steps.is_auction))


def bids(events: Stream[Event]) -> Stream[Bid]:
    """Keep the bids."""
    return cast("Stream[Bid]", events.filter(steps.is_bid))


QUERIES: Final[dict[str, Callable[[Stream[Event]], Stream[Any]]]] = {
    query.__name__: query for query in (q0, q1, q2, q3, q4, q5, q6, q7, q8)
}
