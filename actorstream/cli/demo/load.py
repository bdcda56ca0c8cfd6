"""The input: card payments as lines of text, the same for the same seed, appended at an even rate.

Cards are skewed: the busiest of 2,000 makes one payment in forty, the idlest one
in 20,000. Most payments look like their card's others; a few are large, from
abroad, or in haste.
"""

from __future__ import annotations

from itertools import accumulate, islice
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.eventlog.log import EventLog

_CARDS = 2_000
_COUNTRIES = ("AT", "BE", "CH", "DE", "DK", "ES", "FR", "IT", "NL", "PL")
_MILLISECONDS_APART = 40
_BLOCK = 1_000
_SLICE = 200


def payment_lines(seed: int) -> Iterator[str]:
    """Yield `number,card,cents,country,milliseconds` without end."""
    random = Random(seed)
    cards = [f"card-{number:04}" for number in range(_CARDS)]
    weights = list(accumulate(1 / (rank + 5) ** 0.9 for rank in range(_CARDS)))
    usual = {card: random.randrange(500, 20_000) for card in cards}
    home = {card: random.choice(_COUNTRIES) for card in cards}
    number = 0
    while True:
        for card in random.choices(cards, cum_weights=weights, k=_BLOCK):
            chance = random.random()
            cents = int(usual[card] * (0.5 + chance)) * (9 if chance < 0.02 else 1)
            country = random.choice(_COUNTRIES) if 0.01 < chance < 0.03 else home[card]
            yield f"{number},{card},{cents},{country},{number * _MILLISECONDS_APART}"
            number += 1


def card_of(line: str) -> str:
    """Give the card of a line: payments of one card stay in order."""
    return line.split(",", 2)[1]


class Feeder:
    """Appends payments so that at any moment as many are there as the rate asks for.

    Attributes:
        appended: How many payments are durable in the log.
        total: How many there will be.
    """

    def __init__(self, log: EventLog[str], *, seed: int, rate: int, seconds: float) -> None:
        """Begin with none."""
        self._log = log
        self._rate = rate
        self.total = int(rate * seconds)
        self._lines = islice(payment_lines(seed), self.total)
        self.appended = 0

    @property
    def done(self) -> bool:
        """Whether all payments are in the log."""
        return self.appended == self.total

    async def feed(self, elapsed: float) -> None:
        """Append what is due after `elapsed` seconds, in slices."""
        due = min(self.total, int(self._rate * elapsed))
        while self.appended < due:
            size = min(due - self.appended, _SLICE)
            await self._log.extend(islice(self._lines, size))
            self.appended += size
