"""The auction house has the proportions, the hot spots and the disorder that it says."""

from __future__ import annotations

from collections import Counter
from functools import cache
from hashlib import sha256
from itertools import pairwise

import pytest

from benchmarks.nexmark.events import Auction, Bid, Event, Person
from benchmarks.nexmark.generator import ACTIVE_PEOPLE, HOT_FOR, LONGEST_AUCTION, OPEN_AUCTIONS, events
from tests.benchmarks.nexmark.by_definition import auctions_in, bids_in, ms, people_in

COUNT = 50_000


@cache
def arrived() -> list[Event]:
    """Give the events as they arrive; not at import, where each worker would make them."""
    return events(COUNT)


@cache
def in_order() -> list[Event]:
    """Give them as they happen."""
    return events(COUNT, disorder=0)


def lateness_ms(arrivals: list[Event]) -> list[int]:
    """Give how much younger the youngest event so far was, at each arrival."""
    youngest = 0
    late: list[int] = []
    for event in arrivals:
        youngest = max(youngest, ms(event.at))
        late.append(youngest - ms(event.at))
    return late


def test_same_arguments_give_the_same_events() -> None:
    """Figures of two days are about the same input."""
    assert events(1_000) == events(1_000)
    assert events(1_000, seed=1) != events(1_000, seed=2)
    assert events(1_000, seed=1, disorder=0)[:500] == events(500, seed=1, disorder=0)


def test_events_of_the_default_seed_are_known() -> None:
    """Nothing of the machine or of the process is in them; a change here ends the row of comparable figures."""
    assert sha256(repr(events(1_000)).encode()).hexdigest()[:16] == "f3080761783195cb"


def test_of_fifty_events_one_is_a_person_three_are_auctions_and_the_others_bids() -> None:
    """1 : 3 : 46, in that order in every fifty."""
    kinds = [type(event) for event in in_order()]
    assert kinds == ([Person] + [Auction] * 3 + [Bid] * 46) * (COUNT // 50)


def test_ids_are_consecutive() -> None:
    """Each person and auction comes once."""
    assert [person.id for person in people_in(in_order())] == list(range(1_000, 1_000 + COUNT // 50))
    assert [auction.id for auction in auctions_in(in_order())] == list(range(1_000, 1_000 + COUNT // 50 * 3))


def test_event_time_goes_at_the_rate_in_whole_milliseconds() -> None:
    """Event 10,000 happens one second after event 0; three events a second need thirds of one, rounded down."""
    assert in_order()[10_000].at - in_order()[0].at == 1.0
    assert [event.at - 1_700_000_000 for event in events(5, rate=3, disorder=0)] == pytest.approx(
        [0, 0.333, 0.666, 1, 1.333], abs=1e-6
    )
    assert all(event.at == ms(event.at) / 1_000 for event in in_order())


@pytest.mark.parametrize(("rate", "disorder"), [(10_000, 0.1), (100, 2.5), (7, 0.999), (1_000_000, 0.003)])
def test_no_event_is_later_than_the_bound(rate: int, disorder: float) -> None:
    """Watermarks behind the youngest event by `disorder` lose nothing; and events do come out of order."""
    made = events(5_000, rate=rate, disorder=disorder)
    late = lateness_ms(made)

    assert max(late) <= ms(disorder)
    assert max(late) > ms(disorder) / 2
    assert Counter(made) == Counter(events(5_000, rate=rate, disorder=0)), "the same events, in another order"


def test_without_disorder_event_time_never_goes_back() -> None:
    """0 means none."""
    assert all(before.at <= after.at for before, after in pairwise(in_order()))


def test_whatever_is_referred_to_has_happened() -> None:
    """At the same instant or before: so a join loses nothing by waiting for the watermark."""
    registered = {person.id: person.at for person in people_in(arrived())}
    opened = {auction.id: auction.at for auction in auctions_in(arrived())}

    assert all(registered[auction.seller] <= auction.at for auction in auctions_in(arrived()))
    assert all(opened[bid.auction] <= bid.at for bid in bids_in(arrived()))
    assert all(registered[bid.bidder] <= bid.at for bid in bids_in(arrived()))


def test_disorder_brings_some_before_what_they_refer_to() -> None:
    """Or the joins' waiting would never be tried."""
    seen: set[int] = set()
    early = 0
    for event in arrived():
        if isinstance(event, Auction):
            seen.add(event.id)
        elif isinstance(event, Bid):
            early += event.auction not in seen
    assert early > COUNT // 100


def test_hot_ones_are_hot() -> None:
    """Half the bids go to the first auction of a hundred, three quarters of all come from one person of a hundred.

    The cold half is spread over the 100 auctions before, so one in a hundred of it hits the hot one too.
    """
    bids, auctions = bids_in(arrived()), auctions_in(arrived())
    hot_auctions = sum((bid.auction - 1_000) % HOT_FOR == 0 for bid in bids) / len(bids)
    hot_bidders = sum((bid.bidder - 1_000) % HOT_FOR == 1 for bid in bids) / len(bids)
    hot_sellers = sum((auction.seller - 1_000) % HOT_FOR == 0 for auction in auctions) / len(auctions)

    assert hot_auctions == pytest.approx(0.5 + 0.5 / 100, abs=0.01)
    assert hot_bidders == pytest.approx(0.75 + 0.25 / 100, abs=0.02)
    assert hot_sellers == pytest.approx(0.75 + 0.25 / 100, abs=0.03)
    assert Counter(bid.auction for bid in bids).most_common(1)[0][1] > 50 * len(bids) / len(auctions)


def test_those_who_are_not_hot_are_still_about() -> None:
    """The keys in use at one time stay few, however long the stream: the last 100 auctions, the last 1,000 people."""
    last_auction = last_person = 0
    for event in in_order():
        if isinstance(event, Person):
            last_person = event.id
        elif isinstance(event, Auction):
            last_auction = event.id
            assert last_person - event.seller < ACTIVE_PEOPLE
        else:
            assert last_auction - event.auction < OPEN_AUCTIONS
            assert last_person - event.bidder < ACTIVE_PEOPLE


@pytest.mark.parametrize("rate", [10, 100, 10_000])
def test_auctions_close_after_they_open_and_within_the_bound(rate: int) -> None:
    """The join of q4 and q6 keeps auctions for the longest time; on average one is open until 100 more have come."""
    open_ms = [ms(auction.expires) - ms(auction.at) for auction in auctions_in(events(20_000, rate=rate))]

    assert min(open_ms) >= 1
    assert max(open_ms) <= ms(LONGEST_AUCTION)
    assert sum(open_ms) / len(open_ms) == pytest.approx(min(100 * 50 / 3 / rate * 1_000, 30_000), rel=0.1)


def test_prices_span_six_powers_of_ten() -> None:
    """Each as likely as the next, so that the highest bid of a window keeps changing."""
    digits = Counter(len(str(bid.price)) for bid in bids_in(arrived()))
    assert set(digits) <= set(range(3, 10))
    assert all(digits[n] / len(bids_in(arrived())) == pytest.approx(1 / 6, abs=0.01) for n in range(3, 9))
    assert all(0 < auction.initial_bid < auction.reserve for auction in auctions_in(arrived()))


def test_categories_and_states_are_evenly_used() -> None:
    """A fifth of the auctions, half of the people: q3 finds a tenth of the auctions."""
    categories = Counter(auction.category for auction in auctions_in(arrived()))
    states = Counter(person.state for person in people_in(arrived()))
    assert sorted(categories) == [10, 11, 12, 13, 14]
    assert len(states) == 6
    assert {"OR", "ID", "CA"} < set(states)


@pytest.mark.parametrize("arguments", [{"count": -1}, {"rate": 0}, {"disorder": -0.1}])
def test_senseless_arguments_are_refused(arguments: dict[str, float]) -> None:
    """Found where they are given, not as an odd figure."""
    with pytest.raises(ValueError, match="expected count >= 0, rate >= 1, disorder >= 0"):
        events(**{"count": 10, **arguments})  # type: ignore[arg-type]


def test_no_events_at_all() -> None:
    """An empty list, not an error."""
    assert events(0) == []
