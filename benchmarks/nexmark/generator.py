"""Events drawn from a seed: the same arguments give the same list, everywhere.

    number   0       1 2 3            4 5 6 ... 49     50      51 52 53 ...
             person  three auctions   46 bids          person  ...

What an event is, its ids and its time follow from its number; the rest is drawn. So "the last auction so far" is
arithmetic and needs no state. Half the bids go to one hot auction, three quarters of the bids come from one hot
bidder and three quarters of the auctions from one hot seller; each stays hot until a hundred more have come. The
others are drawn from those still about: the last 100 auctions, the last 1,000 people.

Invariants:
    - whoever sells or bids has registered, and what is bid on was opened, at the same instant or before;
    - with `disorder`, events arrive in another order, but none after one that is more than `disorder` younger.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, TypeAlias

from benchmarks.nexmark.events import Auction, Bid, Event, Person

if TYPE_CHECKING:
    from collections.abc import Callable

    Chance: TypeAlias = Callable[[], float]

SEED: Final = 20_240_229
RATE: Final = 10_000
DISORDER: Final = 0.1

PEOPLE, AUCTIONS, BIDS = 1, 3, 46
ROUND: Final = PEOPLE + AUCTIONS + BIDS
"""Events after which the kinds of events repeat."""

FIRST_ID: Final = 1_000
FIRST_CATEGORY: Final = 10
CATEGORIES: Final = 5
STATES: Final = ("AZ", "CA", "ID", "OR", "WA", "WY")

COLD_AUCTION: Final = 1 / 2
COLD_BIDDER: Final = 1 / 4
COLD_SELLER: Final = 1 / 4
"""How likely it is that somebody, or something, other than the hot one is drawn."""
HOT_FOR: Final = 100
"""How many auctions, or people, share a hot one."""
OPEN_AUCTIONS: Final = 100
ACTIVE_PEOPLE: Final = 1_000

LONGEST_AUCTION: Final = 60.0
"""Seconds. No auction is open for longer, whatever the rate."""

_START_MS: Final = 1_700_000_000_000
_FIRST_NAMES = ("Ada", "Blaise", "Carl", "Dorothy", "Edsger", "Frances", "Grace", "Hedy", "Ivan", "Joan", "Konrad")
_LAST_NAMES = ("Archer", "Baker", "Cooper", "Dyer", "Fletcher", "Glover", "Mason", "Potter", "Turner")
_CITIES = ("Boise", "Casper", "Eugene", "Flagstaff", "Fresno", "Laramie", "Oakland", "Salem", "Spokane", "Tucson")
_ITEMS = ("atlas", "banjo", "camera", "desk", "easel", "fiddle", "globe", "harp", "inkwell", "jar", "kettle", "lamp")
_HOT_CHANNELS = ("Alder", "Birch", "Cedar", "Elm")
_CHANNELS = tuple(f"channel {number}" for number in range(10_000))


def events(count: int, *, seed: int = SEED, rate: int = RATE, disorder: float = DISORDER) -> list[Event]:
    """Make the first `count` events, in the order in which they arrive.

    Args:
        count: How many.
        seed: Another one gives other events.
        rate: Events in a second of event time.
        disorder: Seconds, of which whole milliseconds count: an event arrives after none that is younger by more.

    Raises:
        ValueError: An argument is out of range.
    """
    if count < 0 or rate < 1 or disorder < 0:
        raise ValueError(f"events({count}, {rate=}, {disorder=}): expected count >= 0, rate >= 1, disorder >= 0")
    made = _in_order(count, random.Random(seed).random, rate)
    return _delayed(made, random.Random(f"delays of {seed}").random, disorder) if disorder else made


def _in_order(count: int, chance: Chance, rate: int) -> list[Event]:
    made: list[Event] = []
    put = made.append
    to_come_ms = OPEN_AUCTIONS * ROUND * 1_000 // (AUCTIONS * rate)  # until all that are open now have successors
    open_ms_max = min(2 * to_come_ms, int(LONGEST_AUCTION * 1_000))
    for number in range(count):
        at_ms = _START_MS + number * 1_000 // rate
        person, place = divmod(number, ROUND)
        if place >= PEOPLE + AUCTIONS:
            put(_bid(person, AUCTIONS * (person + 1) - 1, at_ms / 1_000, chance))
        elif place >= PEOPLE:
            expires_ms = at_ms + 1 + _below(open_ms_max, chance)
            put(_auction(AUCTIONS * person + place - PEOPLE, person, expires_ms / 1_000, at_ms / 1_000, chance))
        else:
            put(_person(person, at_ms / 1_000, chance))
    return made


def _person(number: int, at: float, chance: Chance) -> Person:
    first, last = _one_of(_FIRST_NAMES, chance), _one_of(_LAST_NAMES, chance)
    email = f"{first}.{last}.{number}@example.org".lower()
    return Person(FIRST_ID + number, f"{first} {last}", email, _one_of(_CITIES, chance), _one_of(STATES, chance), at)


def _auction(number: int, last_person: int, expires: float, at: float, chance: Chance) -> Auction:
    if chance() >= COLD_SELLER:
        seller = last_person - last_person % HOT_FOR
    else:
        seller = _one_of_last(ACTIVE_PEOPLE, last_person, chance)
    item = _one_of(_ITEMS, chance)
    category = FIRST_CATEGORY + _below(CATEGORIES, chance)
    initial = _price(chance)
    reserve = initial + _price(chance)
    return Auction(FIRST_ID + number, item, FIRST_ID + seller, category, initial, reserve, expires, at)


def _bid(last_person: int, last_auction: int, at: float, chance: Chance) -> Bid:
    if chance() >= COLD_AUCTION:
        auction = last_auction - last_auction % HOT_FOR
    else:
        auction = _one_of_last(OPEN_AUCTIONS, last_auction, chance)
    if chance() >= COLD_BIDDER:  # the second of the hundred, where the hot seller is the first
        bidder = min(last_person - last_person % HOT_FOR + 1, last_person)
    else:
        bidder = _one_of_last(ACTIVE_PEOPLE, last_person, chance)
    channel = _one_of(_HOT_CHANNELS if chance() < 1 / 2 else _CHANNELS, chance)
    return Bid(FIRST_ID + auction, FIRST_ID + bidder, _price(chance), channel, at)


def _price(chance: Chance) -> int:
    """Draw cents: between 1 and 1,000,000 dollars, each power of ten as likely as the next."""
    return round(100 * 10 ** (6 * chance()))


def _one_of_last(count: int, last: int, chance: Chance) -> int:
    return last - _below(min(count, last + 1), chance)


def _one_of(choices: tuple[str, ...], chance: Chance) -> str:
    return choices[int(chance() * len(choices))]


def _below(end: int, chance: Chance) -> int:
    return int(chance() * end)


def _delayed(made: list[Event], chance: Chance, disorder: float) -> list[Event]:
    """Let each event take up to `disorder` to arrive: whatever arrives before it has happened by then.

    Counted in milliseconds, where the times are whole numbers, so that the bound holds exactly.
    """
    disorder_ms = int(disorder * 1_000)
    arrivals = [round(event.at * 1_000) + chance() * disorder_ms for event in made]
    return [made[index] for index in sorted(range(len(made)), key=arrivals.__getitem__)]
