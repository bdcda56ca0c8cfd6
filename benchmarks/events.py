"""Seeded input, built in memory before anything is timed: the same number gives the same events everywhere."""

from __future__ import annotations

import random
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from benchmarks.nexmark.generator import events as nexmark_events

if TYPE_CHECKING:
    from benchmarks.nexmark.events import Event

Bid: TypeAlias = tuple[int, int, int, int]
"""(auction, bidder, price in cents, microseconds since 1970), after the Nexmark queries."""

SEED = 20_240_229
AUCTIONS = 20_000
BIDDERS = 50_000
WORDS = 50_000
WORDS_A_LINE = 10


class Events(NamedTuple):
    """Input of every workload. One word is one event, so lines are fewer than bids."""

    bids: list[Bid]
    lines: list[str]
    nexmark: list[Event]


def make_events(count: int, seed: int = SEED) -> Events:
    """Make `count` bids, lines of `count` words, and `count` events of Nexmark's auction house."""
    chance = random.Random(seed)
    return Events(_bids(chance, count), _lines(chance, count), nexmark_events(count, seed=seed))


def _bids(chance: random.Random, count: int) -> list[Bid]:
    below = chance.randrange
    return [
        (below(AUCTIONS), below(BIDDERS), 100 + below(100_000), 1_700_000_000_000_000 + 100 * index)
        for index in range(count)
    ]


def _lines(chance: random.Random, count: int) -> list[str]:
    """Draw words as a text has them: the n-th commonest with a weight of about 1/n, flattened at the top."""
    vocabulary = [f"word{number}" for number in range(WORDS)]
    weights = list(accumulate(1 / (rank + 100) for rank in range(WORDS)))
    words = chance.choices(vocabulary, cum_weights=weights, k=count)
    return [" ".join(words[at : at + WORDS_A_LINE]) for at in range(0, count, WORDS_A_LINE)]
