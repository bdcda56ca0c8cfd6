"""Bookings on accounts, and what must be told of them, by a plain loop: no stream, no state but one dictionary."""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_ACCOUNTS = 400


class Booking(NamedTuple):
    """One line of the input; a refund is below 0."""

    number: int
    account: str
    cents: int


class Statement(NamedTuple):
    """What is told of a booking: an amount, in which direction, and what is on the account then."""

    booking: int
    account: str
    kind: str
    cents: int
    balance: int


def bookings(first: int, count: int, *, refunds: float, seed: int) -> list[Booking]:
    """Give bookings numbered from `first`; so many of them, as a share of 1, are refunds: one at least, if any."""
    random = Random(f"{seed} {first}")
    found = []
    for number in range(first, first + count):
        cents = random.randrange(100, 50_000)
        account = f"account-{min(random.randrange(_ACCOUNTS), random.randrange(_ACCOUNTS)):03}"
        found.append(Booking(number, account, -cents if random.random() < refunds else cents))
    if refunds and found and all(booking.cents > 0 for booking in found):
        found[-1] = found[-1]._replace(cents=-found[-1].cents)
    return found


def statements_of(booked: Iterable[Booking]) -> list[Statement]:
    """Give the right statements, in the order of the bookings."""
    balances: dict[str, int] = defaultdict(int)
    told = []
    for number, account, cents in booked:
        balances[account] += cents
        told.append(Statement(number, account, "refund" if cents < 0 else "payment", abs(cents), balances[account]))
    return told
