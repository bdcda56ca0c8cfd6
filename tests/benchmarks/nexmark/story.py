"""A short evening at the auction house, and what each query says of it, worked out by hand.

Seconds:   0    1    2     3     4  5    9   9.001   12   13    14       19.999  20       25   30
           Ann  Bob  opens opens bids    bids on 10  Cy   opens opens    bid     bid      12   13
                     10    11    on 11   300  900         12    13       on 12   on 13    closes
                     100                 closes
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from benchmarks.nexmark.events import Auction, Bid, Event, Person

START = 1_700_000_000
SECONDS = timedelta(seconds=1)


def at(seconds: float) -> float:
    return round(START + seconds, 3)


def instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(START, UTC) + seconds * SECONDS


ANN = Person(1, "Ann", "ann@example.org", "Salem", "OR", at(0))
BOB = Person(2, "Bob", "bob@example.org", "Spokane", "WA", at(1))
CY = Person(3, "Cy", "cy@example.org", "Fresno", "CA", at(12))

TOO_LATE_BUT_HIGH = Bid(10, 3, 900, "Elm", at(9.001))
HIGHEST_OF_THE_SECOND = Bid(12, 1, 900, "Elm", at(19.999))
ONLY_ONE = Bid(13, 2, 400, "Elm", at(20))

EVENTS: list[Event] = [
    ANN,
    BOB,
    Auction(10, "lamp", 1, 10, 100, 500, expires=at(9), at=at(2)),
    Bid(10, 2, 100, "Elm", at(2)),
    Auction(11, "harp", 2, 10, 100, 600, expires=at(8), at=at(3)),
    Bid(11, 1, 200, "Elm", at(4)),
    Bid(11, 3, 200, "Elm", at(5)),
    Bid(10, 2, 300, "Elm", at(9)),
    TOO_LATE_BUT_HIGH,
    CY,
    Auction(12, "jar", 3, 11, 100, 700, expires=at(25), at=at(13)),
    Auction(13, "desk", 1, 10, 100, 800, expires=at(30), at=at(14)),
    HIGHEST_OF_THE_SECOND,
    ONLY_ONE,
]

Q3 = [("Ann", "Salem", "OR", 10), ("Ann", "Salem", "OR", 13)]

Q4 = [(10, 200.0), (10, 250.0), (11, 900.0), (10, 300.0)]
"""11 closes, 10, 12, 13: the bid of 900 came a millisecond after 10 had closed, that of 300 just in time."""

Q5 = [
    (10, 1, instant(4)),
    (11, 2, instant(6)),
    (11, 2, instant(8)),
    (10, 3, instant(10)),
    (10, 3, instant(12)),
    (10, 2, instant(14)),
    (11, 2, instant(14)),
    (10, 2, instant(16)),
    (10, 2, instant(18)),
    (12, 1, instant(20)),
    *[(auction, 1, instant(end)) for end in (22, 24, 26, 28) for auction in (12, 13)],
    (13, 1, instant(30)),
]

Q6 = [(2, 200.0), (1, 300.0), (3, 900.0), (1, 350.0)]

Q7 = [TOO_LATE_BUT_HIGH, HIGHEST_OF_THE_SECOND, ONLY_ONE]

Q8 = [(1, "Ann", 500), (2, "Bob", 600), (3, "Cy", 700)]
"""Ann opens 13 too, but in the period after that in which she has registered."""

ANSWERS = {"q3": Q3, "q4": Q4, "q5": Q5, "q6": Q6, "q7": Q7, "q8": Q8}
