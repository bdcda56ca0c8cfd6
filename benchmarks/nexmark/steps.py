"""What is done with one record: called by the pipelines of queries.py and by the loops of answers.py alike.

Results are named tuples too. Money is whole cents, so that sums are the same in any order.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  (a result's fields are looked up when it is stored)
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeGuard

from benchmarks.nexmark.events import Auction, Bid, Event, Person

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actorstream import WindowResult

WINDOW: Final = 10.0
SLIDE: Final = 2.0

_EUROS_A_THOUSAND_DOLLARS: Final = 908
_CHOSEN: Final = 123
_LOCAL_STATES: Final = frozenset({"OR", "ID", "CA"})
_LOCAL_CATEGORY: Final = 10
_SALES_REMEMBERED: Final = 10

Offer: TypeAlias = tuple[Auction, Bid]
Total: TypeAlias = tuple[int, int]
"""(sum of the prices, how many)"""
Prices: TypeAlias = tuple[int, ...]
Hottest: TypeAlias = tuple[tuple[int, int], ...]
"""(auction, bids) of all that share the first place"""

NO_PRICES: Final[Prices] = ()
NONE_HOT: Final[Hottest] = ()


class LocalItem(NamedTuple):
    """q3: an auction that may interest people who live near its seller."""

    name: str
    city: str
    state: str
    auction: int


class Sale(NamedTuple):
    """q4, q6: an auction that has closed, and the highest price that was bid."""

    auction: int
    seller: int
    category: int
    price: int


class HotItem(NamedTuple):
    """q5: no auction has had more bids in the ten seconds before `until`."""

    auction: int
    bids: int
    until: datetime


class NewSeller(NamedTuple):
    """q8: somebody who has registered and opened an auction in the same ten seconds."""

    id: int
    name: str
    reserve: int


# ---- any event


def time_of(event: Event) -> float:
    """Give the event time."""
    return event.at


def is_person(event: Event) -> TypeGuard[Person]:
    """Tell the kind of event."""
    return isinstance(event, Person)


def is_auction(event: Event) -> TypeGuard[Auction]:
    """Tell the kind of event."""
    return isinstance(event, Auction)


def is_bid(event: Event) -> TypeGuard[Bid]:
    """Tell the kind of event."""
    return isinstance(event, Bid)


# ---- keys and numbers


def id_of(person: Person) -> int:
    """q8: the key of a person."""
    return person.id


def auction_of(bid: Bid) -> int:
    """q4, q5, q6: the key of a bid."""
    return bid.auction


def number_of(auction: Auction) -> int:
    """q4, q6: the key of an auction among bids."""
    return auction.id


def seller_of(auction: Auction) -> int:
    """q8: the key of an auction among people."""
    return auction.seller


def price_of(bid: Bid) -> int:
    """q7: what the highest bid has most of."""
    return bid.price


# ---- q0, q1, q2


def itself(event: Event) -> Event:
    """Give the event."""
    return event


def in_euros(bid: Bid) -> Bid:
    """Convert the price."""
    return Bid(bid.auction, bid.bidder, bid.price * _EUROS_A_THOUSAND_DOLLARS // 1_000, bid.channel, bid.at)


def is_on_chosen_auction(bid: Bid) -> bool:
    """Choose every 123rd auction."""
    return bid.auction % _CHOSEN == 0


def auction_and_price(bid: Bid) -> tuple[int, int]:
    """Show these two."""
    return bid.auction, bid.price


# ---- q3


def is_local(auction: Auction) -> bool:
    """Keep the category that is asked for."""
    return auction.category == _LOCAL_CATEGORY


def is_person_or_local_auction(event: Event) -> TypeGuard[Person | Auction]:
    """Drop the bids, and the auctions of other categories."""
    return isinstance(event, Person) or (isinstance(event, Auction) and event.category == _LOCAL_CATEGORY)


def seller_in(event: Person | Auction) -> int:
    """Give the key: a person's id is that of a seller."""
    return event.id if isinstance(event, Person) else event.seller


def local_items(seller: Person, auctions: Sequence[int]) -> Sequence[LocalItem]:
    """Show what this seller sells, if it is somebody from one of the three states."""
    if seller.state not in _LOCAL_STATES:
        return ()
    return [LocalItem(seller.name, seller.city, seller.state, auction) for auction in auctions]


# ---- q4, q6


def is_in_time(offer: Offer) -> bool:
    """Tell whether the auction was open; the join has seen to it that it had been opened."""
    auction, bid = offer
    return bid.at <= auction.expires


def auction_in(offer: Offer) -> int:
    """Give the key of an offer."""
    return offer[0].id


def sale_of(offer: Offer) -> Sale:
    """Give what is sold if no better offer comes."""
    auction, bid = offer
    return Sale(auction.id, auction.seller, auction.category, bid.price)


def category_of(sale: Sale) -> int:
    """q4: the key of a sale."""
    return sale.category


def seller_in_sale(sale: Sale) -> int:
    """q6: the key of a sale."""
    return sale.seller


def add_sale(total: Total, sale: Sale) -> Total:
    """q4: the fold."""
    prices, sales = total
    return prices + sale.price, sales + 1


def average(category: tuple[int, Total]) -> tuple[int, float]:
    """q4: give a category's average price."""
    key, (prices, sales) = category
    return key, prices / sales


def average_of_last(prices: Prices, sale: Sale) -> tuple[Prices, tuple[int, float]]:
    """q6: remember a seller's last prices, and give their average."""
    prices = (*prices, sale.price)[-_SALES_REMEMBERED:]
    return prices, (sale.seller, sum(prices) / len(prices))


# ---- q5, q7, q8


def keep_hottest(best: Hottest, count: WindowResult[int, int]) -> Hottest:
    """q5: of the counts of one window, keep the largest, and all that are equal to it."""
    if not best or count.value > best[0][1]:
        return ((count.key, count.value),)
    return (*best, (count.key, count.value)) if count.value == best[0][1] else best


def hot_items(window: WindowResult[None, Hottest]) -> Iterable[HotItem]:
    """q5: show them, the oldest auction first."""
    return [HotItem(auction, bids, window.end) for auction, bids in sorted(window.value)]


def highest_bid(window: WindowResult[None, Bid]) -> Bid:
    """q7: show the bid; it says when it was."""
    return window.value


def new_seller(pair: WindowResult[int, tuple[Person, Auction]]) -> NewSeller:
    """q8: show who it is and what the auction should bring at least."""
    person, auction = pair.value
    return NewSeller(person.id, person.name, auction.reserve)
