"""What happens in an online auction house: people register, they open auctions, they bid.

Named tuples: one costs 0.23 µs to make and 0.017 µs to read a field of, a frozen dataclass with slots 0.55 and
0.007 (CPython 3.11). q1 makes one for each bid, no query reads ten fields of one.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias


class Person(NamedTuple):
    """Somebody has registered, and may sell and bid from now on."""

    id: int
    name: str
    email: str
    city: str
    state: str
    at: float
    """Event time: Unix seconds, a whole number of milliseconds."""


class Auction(NamedTuple):
    """Somebody offers an item. Prices are cents."""

    id: int
    item: str
    seller: int
    category: int
    initial_bid: int
    reserve: int
    expires: float
    """When it closes: a bid at this instant still counts."""
    at: float


class Bid(NamedTuple):
    """Somebody bids on an auction, perhaps on one that has closed. The price is in cents."""

    auction: int
    bidder: int
    price: int
    channel: str
    at: float


Event: TypeAlias = Person | Auction | Bid
