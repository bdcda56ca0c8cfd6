"""Card payments in; totals of each card, and alerts about risky payments, out. Exactly once.

    payments ──parse──key_by card──┬──fold───────> totals     one update a payment
                                   └──RiskScore──> alerts     one in a few hundred payments

The whole program is here: what the demo kills and restarts is nothing but this.
"""

from __future__ import annotations

from dataclasses import dataclass
from os.path import join
from typing import TYPE_CHECKING, NamedTuple

from actorstream.api.pipeline import Pipeline
from actorstream.eventlog.log import EventLog
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import MapState, ValueState

if TYPE_CHECKING:
    from actorstream.operators.contexts import Context


class Payment(NamedTuple):
    """One line of the input: amounts in cents, times in milliseconds."""

    number: int
    card: str
    cents: int
    country: str
    at: int


class CardTotal(NamedTuple):
    """What a card has paid so far."""

    card: str
    payments: int
    cents: int


@dataclass(frozen=True)
class Alert:
    """A payment that does not look like its card's others."""

    payment: int
    card: str
    score: int
    reasons: str


class RiskScore(KeyedProcess[str, Payment, Alert]):
    """Holds each payment against what is usual for its card."""

    payments: ValueState[int] = ValueState(0)
    usual_cents: ValueState[int] = ValueState(0)
    last_at: ValueState[int] = ValueState(0)
    countries: MapState[str, int] = MapState()  # each with the time of the first payment

    def on_element(self, payment: Payment, _: Context[str], /) -> list[Alert] | None:
        """Give an alert for a score of 60 or more."""
        signs: list[tuple[int, str]] = []
        new_country = payment.country not in self.countries
        if self.payments >= 3:
            if payment.cents > 4 * self.usual_cents:
                signs.append((50, "amount"))
            if new_country:
                signs.append((30, "country"))
            if payment.at - self.last_at < 500:
                signs.append((20, "haste"))

        self.payments += 1
        self.usual_cents += (payment.cents - self.usual_cents) // 8
        self.last_at = payment.at
        if new_country:
            self.countries[payment.country] = payment.at

        score = sum(points for points, _ in signs)
        if score < 60:
            return None
        return [Alert(payment.number, payment.card, score, " ".join(reason for _, reason in signs))]


def parse(line: str) -> Payment:
    """Read one line of the input."""
    number, card, cents, country, at = line.split(",")
    return Payment(int(number), card, int(cents), country, int(at))


def add(total: tuple[int, int], payment: Payment) -> tuple[int, int]:
    """Count and sum up."""
    return total[0] + 1, total[1] + payment.cents


def build(folder: str) -> Pipeline:
    """Give the pipeline between the logs in `folder`."""
    lines = EventLog(str, join(folder, "payments"))
    totals = EventLog(CardTotal, join(folder, "totals"))
    alerts = EventLog(Alert, join(folder, "alerts"))

    pipeline = Pipeline("cards")
    by_card = pipeline.source(lines, name="payments").map(parse).key_by(lambda payment: payment.card)
    by_card.process(RiskScore).sink(alerts, name="alerts")
    by_card.fold((0, 0), add, name="sums").map(lambda entry: CardTotal(entry[0], *entry[1])).sink(totals, name="totals")
    return pipeline
