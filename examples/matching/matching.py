"""Orders meet their payments; what has waited half an hour for its other half goes to a side output.

    orders ────> key_by(id) ────┐           ┌──> paid
                                ├──> match ─┼──> unpaid: orders without a payment
    payments ──> key_by(order) ─┘           └──> unknown: payments without an order, or paid twice

    python matching.py            four orders, five payments

Which of the two comes first, nobody fixes: so both handlers look whether the other half is there, and otherwise keep
their own, with a timer of event time. It fires when both streams are half an hour further, so nothing that was in time
can come any more, and each half has the same fate in every run.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from actorstream import (
    Context,
    KeyedCoProcess,
    ListState,
    OutputTag,
    Pipeline,
    Stream,
    Timer,
    ValueState,
)

PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True)
class Order:
    id: str
    at: datetime


@dataclass(frozen=True)
class Payment:
    id: str
    order: str
    at: datetime


UNPAID: OutputTag[Order] = OutputTag("unpaid")
UNKNOWN: OutputTag[Payment] = OutputTag("unknown")


class Match(KeyedCoProcess[str, Order, Payment, tuple[Order, Payment]]):
    """One order, and the payments that name it."""

    placed: ValueState[Order | None] = ValueState(None)
    payments: ListState[Payment] = ListState()

    def on_left(self, order: Order, ctx: Context[str], /) -> Iterator[tuple[Order, Payment]]:
        for payment in self.payments:
            if abs(payment.at - order.at) <= PATIENCE:
                self.payments.remove(payment)
                ctx.cancel_timer(payment.id)
                yield order, payment
                return
        self.placed = order
        ctx.set_timer(order.at + PATIENCE)

    def on_right(self, payment: Payment, ctx: Context[str], /) -> Iterator[tuple[Order, Payment]]:
        order = self.placed
        if order is not None and abs(payment.at - order.at) <= PATIENCE:
            self.placed = None
            ctx.cancel_timer()
            yield order, payment
        else:
            self.payments.append(payment)
            ctx.set_timer(payment.at + PATIENCE, payment.id)

    def on_timer(self, timer: Timer, ctx: Context[str], /) -> None:
        if not timer.name and self.placed is not None:
            ctx.emit_to(UNPAID, self.placed)
            self.placed = None
        for payment in self.payments:
            if payment.id == timer.name:
                ctx.emit_to(UNKNOWN, payment)
                self.payments.remove(payment)
                return


def matched(orders: Stream[Order], payments: Stream[Payment]) -> Stream[tuple[Order, Payment]]:
    """Give the pairs; the rest is on the side outputs. Both come up to a minute late."""
    placed = orders.assign_timestamps(lambda order: order.at, out_of_orderness=60, idle_timeout=None)
    paid = payments.assign_timestamps(lambda payment: payment.at, out_of_orderness=60, idle_timeout=None)
    by_order = paid.key_by(lambda payment: payment.order)
    return placed.key_by(lambda order: order.id).connect(by_order).process(Match, name="match")


def at(minute: int) -> datetime:
    return datetime(2026, 11, 24, 9, tzinfo=UTC) + timedelta(minutes=minute)


ORDERS = [Order("A", at(0)), Order("B", at(1)), Order("C", at(2)), Order("D", at(50))]
PAYMENTS = [
    Payment("p1", "A", at(4)),
    Payment("p2", "A", at(5)),  # A is paid already
    Payment("p3", "B", at(32)),  # too late
    Payment("p4", "X", at(40)),
    Payment("p5", "D", at(49)),  # its clock is behind, or its order was slow
]


async def main() -> None:
    pipeline = Pipeline("matching")
    pairs = matched(pipeline.source(ORDERS, name="orders"), pipeline.source(PAYMENTS, name="payments"))
    told: list[str] = []
    pairs.sink(lambda pair: told.append(f"{pair[0].id} paid by {pair[1].id}"))
    pairs.side_output(UNPAID).sink(lambda order: told.append(f"{order.id} unpaid"))
    pairs.side_output(UNKNOWN).sink(lambda payment: told.append(f"{payment.id} for {payment.order} unknown"))
    await pipeline.run()
    print("\n".join(sorted(told)))


if __name__ == "__main__":
    asyncio.run(main())
