"""What must come out, by a plain loop over the same payments.

Written apart from the pipeline, on purpose: no import of it, no stream, no state
but three dictionaries. If the two agree on every record, both are right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Expected(NamedTuple):
    """Output records as plain tuples, in the order of the input."""

    totals: list[tuple[object, ...]]
    alerts: list[tuple[object, ...]]


def fold(lines: Iterable[str]) -> Expected:
    """Give (card, payments, cents) for each payment, and (payment, card, score, reasons) for risky ones."""
    totals: list[tuple[object, ...]] = []
    alerts: list[tuple[object, ...]] = []
    paid: dict[str, int] = {}
    cards: dict[str, list[int]] = {}  # payments, usual amount, time of the last one
    visited: set[tuple[str, str]] = set()
    for line in lines:
        fields = line.split(",")
        card, cents, place, at = fields[1], int(fields[2]), (fields[1], fields[3]), int(fields[4])
        seen, usual, last = cards.get(card, (0, 0, 0))
        large = seen >= 3 and cents > 4 * usual
        abroad = seen >= 3 and place not in visited
        hasty = seen >= 3 and at - last < 500
        score = 50 * large + 30 * abroad + 20 * hasty
        if score >= 60:
            reasons = [name for name, is_so in (("amount", large), ("country", abroad), ("haste", hasty)) if is_so]
            alerts.append((int(fields[0]), card, score, " ".join(reasons)))
        cards[card] = [seen + 1, usual + (cents - usual) // 8, at]
        visited.add(place)
        paid[card] = paid.get(card, 0) + cents
        totals.append((card, seen + 1, paid[card]))
    return Expected(totals, alerts)
