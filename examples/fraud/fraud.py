"""Payments are judged by rules that change while the job runs: each by the rules that were in effect when it was made.

    payments ──> key_by(card) ──┐
                                ├──> judge ──> alerts
    rules ───────> broadcast ───┘

    python fraud.py            a day of payments; at noon the limit is lowered

A payment waits in state until event time says that no rule for its time can come any more: a timer at its own time, and
the time of an operator is that of its slowest input. So it makes no difference which of the two streams is read first,
in a replay or after a crash either. Rules say how time goes on there: whoever publishes them also says "nothing new".
"""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from actorstream import (
    TTL,
    BroadcastContext,
    BroadcastProcess,
    BroadcastState,
    Context,
    EventLog,
    MapState,
    Pipeline,
    Stream,
    Timer,
)


@dataclass(frozen=True)
class Payment:
    id: str
    card: str
    cents: int
    at: datetime


@dataclass(frozen=True)
class Rule:
    """No card pays more than `cents` within `per`; None: the rule is withdrawn."""

    id: str
    cents: int | None
    per: timedelta
    since: datetime


@dataclass(frozen=True)
class Alert:
    payment: str
    card: str
    rule: str
    cents: int


class Judge(BroadcastProcess[str, Payment, Rule, Alert]):
    """Keeps payments of a card as long as a rule may look back, and all versions of each rule."""

    rules: BroadcastState[str, Sequence[Rule]] = BroadcastState()
    paid: MapState[tuple[datetime, str], int] = MapState(ttl=TTL(timedelta(days=8), domain="event"))

    def on_element(self, payment: Payment, ctx: Context[str], /) -> None:
        self.paid[payment.at, payment.id] = payment.cents
        ctx.set_timer(payment.at, payment.id)

    def on_timer(self, timer: Timer, ctx: Context[str], /) -> Iterator[Alert]:
        for versions in self.rules.values():
            in_effect = [rule for rule in versions if rule.since <= timer.at]
            if in_effect and (limit := in_effect[-1].cents) is not None:
                rule = in_effect[-1]
                before = self.paid.scan(start=(timer.at - rule.per, ""), stop=(timer.at, timer.name))
                total = sum(cents for _, cents in before) + self.paid[timer.at, timer.name]
                if total > limit:
                    yield Alert(timer.name, ctx.key, rule.id, total)

    def on_broadcast(self, rule: Rule, ctx: BroadcastContext, /) -> None:
        rules = ctx.writable(self.rules)
        rules[rule.id] = sorted([*rules.get(rule.id, ()), rule], key=lambda each: each.since)


def judged(payments: Stream[Payment], rules: Stream[Rule]) -> Stream[Alert]:
    """Give the alerts. Rules are said in the order of their times, payments up to a minute late."""
    paid = payments.assign_timestamps(lambda payment: payment.at, out_of_orderness=60, idle_timeout=None)
    said = rules.assign_timestamps(lambda rule: rule.since, idle_timeout=None)
    return paid.key_by(lambda payment: payment.card).connect(said.broadcast()).process(Judge, name="judge")


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, 24, hour, minute, tzinfo=UTC)


def nothing_new(until: datetime) -> Rule:
    """To withdraw a rule that nobody has made changes nothing, but says how far time is."""
    return Rule("none", None, timedelta(0), until)


DAY = timedelta(days=1)
MORNING = [
    Payment("p1", "ann", 300_00, at(9)),
    Payment("p2", "bob", 40_00, at(10)),
    Payment("p3", "ann", 250_00, at(11)),
]
AFTERNOON = [
    Payment("p4", "bob", 70_00, at(13)),
    Payment("p5", "cyd", 90_00, at(14)),
    Payment("p6", "eve", 1_00, at(17)),
]


async def main(folder: Path) -> None:
    payments, rules = EventLog(Payment, folder / "payments"), EventLog(Rule, folder / "rules")
    alerts = EventLog(Alert, folder / "alerts")
    pipeline = Pipeline("fraud")
    judged(pipeline.source(payments), pipeline.source(rules)).sink(alerts)
    async with payments, rules, alerts, pipeline.run(store=folder / "store", checkpoint_interval=0.1) as job:
        told = alerts.records()

        await rules.extend([Rule("daily", 500_00, DAY, at(8)), nothing_new(at(12))])
        await payments.extend(MORNING)
        await payments.append(Payment("noon", "eve", 0, at(12)))
        print((await anext(told)).value)

        await rules.extend([Rule("daily", 100_00, DAY, at(12, 30)), nothing_new(at(18))])
        await payments.extend(AFTERNOON)
        print((await anext(told)).value)
        await job.stop()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        asyncio.run(main(Path(made)))
