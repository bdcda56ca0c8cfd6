"""Small auction houses where much coincides: few auctions, few prices, gaps, and events on the edges of windows."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from benchmarks.nexmark.events import Auction, Bid, Event, Person

START_MS = 1_700_000_000_000
IDS_MAX = 4


class Arrivals(NamedTuple):
    """Events as they arrive, none after one that is more than `disorder` seconds younger."""

    events: list[Event]
    disorder: float


@st.composite
def arrivals(draw: st.DrawFn) -> Arrivals:
    """Draw events, and let each take some of the disorder to arrive."""
    disorder_ms = draw(st.sampled_from([0, 1, 500, 2_000, 15_000]))
    times = st.one_of(st.integers(0, 60_000), st.integers(0, 30).map(lambda n: n * 2_000 - 1 + n % 3))
    drawn: list[tuple[int, Event]] = []
    for kind in draw(st.lists(st.sampled_from(["person", "auction", "bid", "bid", "bid"]), max_size=40)):
        at_ms = START_MS + draw(times)
        event = _event(draw, kind, len(drawn), at_ms)
        drawn.append((at_ms + draw(st.integers(0, disorder_ms)), event))
    drawn.sort(key=lambda each: each[0])
    return Arrivals([event for _, event in drawn], disorder_ms / 1_000)


def _event(draw: st.DrawFn, kind: str, number: int, at_ms: int) -> Event:
    """Make an event; people and auctions have an id that no other has."""
    at = at_ms / 1_000
    an_id = st.integers(0, IDS_MAX)
    if kind == "person":
        return Person(number, f"name {number}", "", "a city", draw(st.sampled_from(["OR", "WA"])), at)
    if kind == "auction":
        expires = (at_ms + draw(st.integers(0, 20_000))) / 1_000
        category = draw(st.sampled_from([10, 11]))
        return Auction(number, "an item", draw(an_id), category, 1, 10 * number, expires, at)
    return Bid(draw(an_id), draw(an_id), draw(st.integers(1, 3)), "a channel", at)
