"""The answers to the Nexmark queries, from their text: over the whole list of events at once.

Nothing is shared with the pipelines or with the loops of `cost` but the classes of the events: no streaming, no
watermark, no state; times in whole milliseconds. Slow, and short enough to be seen to be right.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from benchmarks.nexmark.events import Auction, Bid, Event, Person

PERIOD = 10_000
"""Milliseconds of a window."""


def people_in(events: list[Event]) -> list[Person]:
    return [event for event in events if isinstance(event, Person)]


def auctions_in(events: list[Event]) -> list[Auction]:
    return [event for event in events if isinstance(event, Auction)]


def bids_in(events: list[Event]) -> list[Bid]:
    return [event for event in events if isinstance(event, Bid)]


def ms(seconds: float) -> int:
    return round(seconds * 1_000)


def q0(events: list[Event]) -> list[Event]:
    """Every event."""
    return list(events)


def q1(events: list[Event]) -> list[Bid]:
    """Every bid, a dollar being 0.908 euros; parts of a cent are dropped."""
    return [bid._replace(price=int(bid.price * 908 / 1000)) for bid in bids_in(events)]


def q2(events: list[Event]) -> list[tuple[int, int]]:
    """SELECT auction, price FROM bid WHERE auction mod 123 = 0."""
    return [(bid.auction, bid.price) for bid in bids_in(events) if bid.auction % 123 == 0]


def q3(events: list[Event]) -> list[tuple[str, str, str, int]]:
    """All pairs of an auction in category 10 and a seller in OR, ID or CA, sorted."""
    local = {person.id: person for person in people_in(events) if person.state in ("OR", "ID", "CA")}
    return sorted(
        (local[auction.seller].name, local[auction.seller].city, local[auction.seller].state, auction.id)
        for auction in auctions_in(events)
        if auction.category == 10 and auction.seller in local
    )


def winners(events: list[Event]) -> list[tuple[Auction, int]]:
    """Each auction that had a bid while it was open, and the highest of them, by the time at which it closed."""
    by_auction: dict[int, list[Bid]] = {}
    for bid in bids_in(events):
        by_auction.setdefault(bid.auction, []).append(bid)
    valid = {
        auction: [bid.price for bid in by_auction.get(auction.id, ()) if auction.at <= bid.at <= auction.expires]
        for auction in auctions_in(events)
    }
    sold = [(auction, max(prices)) for auction, prices in valid.items() if prices]
    return sorted(sold, key=lambda each: (each[0].expires, each[0].id))


def q4(events: list[Event]) -> list[tuple[int, float]]:
    """At each close of an auction: the mean of all prices that its category has brought by then."""
    sold = [(auction.category, price) for auction, price in winners(events)]
    before = [[p for c, p in sold[: number + 1] if c == category] for number, (category, _) in enumerate(sold)]
    return [(category, sum(prices) / len(prices)) for (category, _), prices in zip(sold, before, strict=True)]


def q5(events: list[Event]) -> list[tuple[int, int, datetime]]:
    """For each ten seconds that begin at an even second: the auctions with the most bids, and how many that is."""
    bids = bids_in(events)
    spans = [range(ms(bid.at) // 2_000 * 2_000 - 8_000, ms(bid.at) + 1, 2_000) for bid in bids]
    answer: list[tuple[int, int, datetime]] = []
    for start in sorted({start for span in spans for start in span}):
        counts = Counter(bid.auction for bid in bids if start <= ms(bid.at) < start + PERIOD)
        most = max(counts.values())
        answer += [(auction, most, instant(start + PERIOD)) for auction in sorted(counts) if counts[auction] == most]
    return answer


def q6(events: list[Event]) -> list[tuple[int, float]]:
    """At each close of an auction: the mean price of the last ten that its seller has sold."""
    sold = [(auction.seller, price) for auction, price in winners(events)]
    before = [[p for s, p in sold[: number + 1] if s == seller][-10:] for number, (seller, _) in enumerate(sold)]
    return [(seller, sum(prices) / len(prices)) for (seller, _), prices in zip(sold, before, strict=True)]


def q7(events: list[Event]) -> list[Bid]:
    """For each ten seconds: the bid with the highest price; of equal ones that which stands first."""
    bids = bids_in(events)
    periods = sorted({ms(bid.at) // PERIOD for bid in bids})
    return [max((b for b in bids if ms(b.at) // PERIOD == period), key=lambda b: b.price) for period in periods]


def q8(events: list[Event]) -> list[tuple[int, str, int]]:
    """All pairs of a person and an auction of theirs of the same ten seconds: by period, person and time."""
    pairs = [
        (ms(auction.at) // PERIOD, person.id, auction.at, number, (person.id, person.name, auction.reserve))
        for number, auction in enumerate(auctions_in(events))
        for person in people_in(events)
        if person.id == auction.seller and ms(person.at) // PERIOD == ms(auction.at) // PERIOD
    ]
    return [pair[-1] for pair in sorted(pairs)]


def instant(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
