"""Payments under rules that change: what a plain loop over all of them finds, in whatever order the two come."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from actorstream import EventLog, Pipeline
from actorstream.testing import simulate
from tests.examples.loading import EXAMPLES, load, run_page

if TYPE_CHECKING:
    import pytest

EXAMPLE = load("fraud", "fraud")
CARDS = ("ann", "bob", "cyd")


def drawn() -> tuple[list[Any], list[Any]]:
    """Give payments, each at most a minute behind one with a later time, and rules that come, change and go."""
    rng = random.Random(7)
    minutes = [minute + rng.random() for minute in range(60)]
    times = [EXAMPLE.at(9) + timedelta(minutes=minute) for minute in sorted(minutes, key=lambda at: at + rng.random())]
    payments = [EXAMPLE.Payment(f"p{n}", rng.choice(CARDS), rng.randrange(100), at) for n, at in enumerate(times)]
    ten = timedelta(minutes=10)
    rules = [
        EXAMPLE.Rule("ten", 150, ten, EXAMPLE.at(9)),
        EXAMPLE.Rule("large", 50, timedelta(0), EXAMPLE.at(9, 10)),
        EXAMPLE.Rule("ten", 60, ten, EXAMPLE.at(9, 20)),
        EXAMPLE.Rule("large", None, ten, EXAMPLE.at(9, 30)),
        EXAMPLE.Rule("ten", 200, ten, EXAMPLE.at(9, 40)),
    ]
    return payments, rules


PAYMENTS, RULES = drawn()


def fraud() -> Pipeline:
    pipeline = Pipeline("fraud")
    alerts = EXAMPLE.judged(pipeline.source(PAYMENTS, name="payments"), pipeline.source(RULES, name="rules"))
    alerts.sink(EventLog(EXAMPLE.Alert, "alerts"), name="alerts")
    return pipeline


def by_hand() -> list[Any]:
    found = []
    for payment in PAYMENTS:
        in_effect = {rule.id: rule for rule in RULES if rule.since <= payment.at}
        for rule in in_effect.values():
            total = sum(
                other.cents
                for other in PAYMENTS
                if other.card == payment.card
                if payment.at - rule.per <= other.at < payment.at or other is payment
            )
            if rule.cents is not None and total > rule.cents:
                found.append(EXAMPLE.Alert(payment.id, payment.card, rule.id, total))
    return found


def test_alerts_are_those_of_the_rules_of_their_time_whatever_crashes() -> None:
    assert {alert.rule for alert in by_hand()} == {"ten", "large"}
    simulate(fraud, seeds=10, reference=by_hand).check()


def test_the_page_shows_what_the_program_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES / "fraud")
    run_page("fraud")
