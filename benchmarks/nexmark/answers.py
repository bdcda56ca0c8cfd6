"""Four of the queries as loops written by hand: what `cost` compares the pipelines with.

One pass over the events as they arrive, with the functions of steps.py and with everything bound to local names. A
window closes as soon as no event of it can come any more: when the youngest event so far is `disorder` past its end.
Input keeps that bound, so nothing here asks whether an event is late. Results come in the order of the pipelines': by
window, then by id.

These are the loops that one writes. Those "at hand" and "by slices" are beside them for information: they know that
the next event is mostly of the windows of the one before, or what windows have in common.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING, TypeAlias

from benchmarks.nexmark.generator import DISORDER
from benchmarks.nexmark.steps import (
    SLIDE,
    WINDOW,
    HotItem,
    LocalItem,
    NewSeller,
    auction_of,
    id_of,
    is_auction,
    is_bid,
    is_person,
    is_person_or_local_auction,
    local_items,
    price_of,
    seller_in,
    seller_of,
    time_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.nexmark.events import Auction, Bid, Event, Person

Counts: TypeAlias = dict[int, int]
"""Bids by auction."""

_WINDOWS_OF_A_BID = tuple(SLIDE * number for number in range(int(WINDOW / SLIDE)))
"""How far before the start of its slide the windows of a bid start."""


def q3(events: list[Event]) -> list[LocalItem]:
    """Join people and auctions as they come."""
    out: list[LocalItem] = []
    put, relevant, key = out.append, is_person_or_local_auction, seller_in
    sellers: dict[int, Person] = {}
    waiting: dict[int, list[int]] = {}
    for event in events:
        if relevant(event):
            seller = key(event)
            if is_person(event):
                sellers[seller] = event
                for item in local_items(event, waiting.pop(seller, ())):
                    put(item)
            elif seller in sellers:
                for item in local_items(sellers[seller], (event.id,)):
                    put(item)
            else:
                waiting.setdefault(seller, []).append(event.id)
    return out


def q5(events: list[Event], disorder: float = DISORDER) -> list[HotItem]:
    """Count each bid in its five windows."""
    out: list[HotItem] = []
    put, time, keep, key = out.append, time_of, is_bid, auction_of
    windows: defaultdict[float, Counts] = defaultdict(dict)
    due = inf
    youngest = -inf
    for event in events:
        at = time(event)
        if at > youngest:
            youngest = at
            if at - disorder >= due:
                due = _close_counts(windows, at - disorder, put)
        if keep(event):
            auction = key(event)
            slide = at - at % SLIDE
            for earlier in _WINDOWS_OF_A_BID:
                counts = windows[slide - earlier]
                counts[auction] = counts.get(auction, 0) + 1
            due = min(due, slide - _WINDOWS_OF_A_BID[-1] + WINDOW)
    _close_counts(windows, inf, put)
    return out


def q5_with_windows_at_hand(events: list[Event], disorder: float = DISORDER) -> list[HotItem]:
    """Count each bid in its five windows, which are mostly those of the bid before: for information."""
    out: list[HotItem] = []
    put, time, keep, key = out.append, time_of, is_bid, auction_of
    windows: defaultdict[float, Counts] = defaultdict(dict)
    mine: list[Counts] = []
    slide = due = inf
    youngest = -inf
    for event in events:
        at = time(event)
        if at > youngest:
            youngest = at
            if at - disorder >= due:
                due = _close_counts(windows, at - disorder, put)
        if keep(event):
            auction = key(event)
            if not slide <= at < slide + SLIDE:
                slide = at - at % SLIDE
                mine = [windows[slide - earlier] for earlier in _WINDOWS_OF_A_BID]
                due = min(windows) + WINDOW
            for counts in mine:
                counts[auction] = counts.get(auction, 0) + 1
    _close_counts(windows, inf, put)
    return out


def _close_counts(windows: dict[float, Counts], time: float, put: Callable[[HotItem], object]) -> float:
    """Show the windows that end by `time`; give when the next one ends."""
    for start in _ended(windows, time):
        _put_hottest(windows.pop(start), start + WINDOW, put)
    return min(windows, default=inf) + WINDOW


def q5_by_slices(events: list[Event], disorder: float = DISORDER) -> list[HotItem]:
    """Count each bid once, and add up five counts at the end of each window: for information."""
    out: list[HotItem] = []
    put, time, keep, key = out.append, time_of, is_bid, auction_of
    slices: defaultdict[float, Counts] = defaultdict(dict)
    mine: Counts = {}
    slide = due = inf
    youngest = -inf
    for event in events:
        at = time(event)
        if at > youngest:
            youngest = at
            if at - disorder >= due:
                due = _close_slices(slices, due, at - disorder, put)
        if keep(event):
            auction = key(event)
            if not slide <= at < slide + SLIDE:
                slide = at - at % SLIDE
                mine = slices[slide]
                due = min(due, slide + SLIDE)
            mine[auction] = mine.get(auction, 0) + 1
    if slices:
        _close_slices(slices, due, max(slices) + WINDOW, put)
    return out


def _close_slices(slices: dict[float, Counts], due: float, time: float, put: Callable[[HotItem], object]) -> float:
    """Show the windows that end at `due`, and later until `time`; give when the next one ends."""
    while due <= time:
        counts: Counts = {}
        for earlier in _WINDOWS_OF_A_BID:
            for auction, bids in slices.get(due - SLIDE - earlier, {}).items():
                counts[auction] = counts.get(auction, 0) + bids
        if counts:
            _put_hottest(counts, due, put)
        slices.pop(due - WINDOW, None)
        due += SLIDE
    return due if slices else inf


def _put_hottest(counts: Counts, until: float, put: Callable[[HotItem], object]) -> None:
    most = max(counts.values())
    for auction in sorted(auction for auction, bids in counts.items() if bids == most):
        put(HotItem(auction, most, datetime.fromtimestamp(until, UTC)))


def q7(events: list[Event], disorder: float = DISORDER) -> list[Bid]:
    """Keep the highest bid of each window."""
    out: list[Bid] = []
    put, time, keep, price = out.append, time_of, is_bid, price_of
    highest: dict[float, Bid] = {}
    due = inf
    youngest = -inf
    for event in events:
        at = time(event)
        if at > youngest:
            youngest = at
            if at - disorder >= due:
                for ended in _ended(highest, at - disorder):
                    put(highest.pop(ended))
                due = min(highest, default=inf) + WINDOW
        if keep(event):
            start = at - at % WINDOW
            top = highest.get(start)
            if top is None or price(event) > price(top):
                highest[start] = event
                due = min(due, start + WINDOW)
    for ended in _ended(highest, inf):
        put(highest[ended])
    return out


def q7_with_the_window_at_hand(events: list[Event], disorder: float = DISORDER) -> list[Bid]:
    """Keep the highest bid of each window, mostly that of the bid before: for information."""
    out: list[Bid] = []
    put, time, keep, price = out.append, time_of, is_bid, price_of
    highest: dict[float, Bid] = {}
    start = due = inf
    youngest = -inf
    top = -1
    for event in events:
        at = time(event)
        if at > youngest:
            youngest = at
            if at - disorder >= due:
                for ended in _ended(highest, at - disorder):
                    put(highest.pop(ended))
                due = min(highest, default=inf) + WINDOW
        if keep(event):
            cents = price(event)
            if not start <= at < start + WINDOW:
                start = at - at % WINDOW
                top = price(highest[start]) if start in highest else -1
                due = min(due, start + WINDOW)
            if cents > top:
                highest[start] = event
                top = cents
    for ended in _ended(highest, inf):
        put(highest[ended])
    return out


def q8(events: list[Event], disorder: float = DISORDER) -> list[NewSeller]:
    """Gather the people and auctions of each window."""
    out: list[NewSeller] = []
    put, time, is_left, left_key, is_right, right_key = out.append, time_of, is_person, id_of, is_auction, seller_of
    registered: defaultdict[float, dict[int, Person]] = defaultdict(dict)
    opened: defaultdict[float, dict[int, list[Auction]]] = defaultdict(dict)
    due = inf
    youngest = -inf
    for event in events:
        at = time(event)
        if at > youngest:
            youngest = at
            if at - disorder >= due:
                for start in _ended(registered.keys() | opened.keys(), at - disorder):
                    _put_new_sellers(registered.pop(start, {}), opened.pop(start, {}), put)
                due = min(registered.keys() | opened.keys(), default=inf) + WINDOW
        if is_left(event):
            start = at - at % WINDOW
            registered[start][left_key(event)] = event
            due = min(due, start + WINDOW)
        elif is_right(event):
            start = at - at % WINDOW
            opened[start].setdefault(right_key(event), []).append(event)
            due = min(due, start + WINDOW)
    for start in _ended(registered, inf):
        _put_new_sellers(registered[start], opened[start], put)
    return out


def _put_new_sellers(
    people: dict[int, Person], auctions: dict[int, list[Auction]], put: Callable[[NewSeller], object]
) -> None:
    for seller in sorted(people.keys() & auctions.keys()):
        person = people[seller]
        for auction in sorted(auctions[seller], key=time_of):
            put(NewSeller(person.id, person.name, auction.reserve))


def _ended(starts: Iterable[float], time: float) -> list[float]:
    """Give the windows that end by `time`, the earliest first."""
    return sorted(start for start in starts if start + WINDOW <= time)
