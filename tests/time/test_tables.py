"""What a table says of a time, however late it says so."""

from __future__ import annotations

from typing import NamedTuple

from actorstream import Change, OutputTag, Pipeline
from actorstream.testing import harness


class Price(NamedTuple):
    """A price from a time on; None: there is none from then on."""

    at: int
    cents: int | None


async def test_a_deletion_counts_at_its_own_time_though_the_key_is_gone_already() -> None:
    """As of event time 5 there was no price, whether that was said before or after there was none at 9."""
    pipeline = Pipeline("p")
    prices: list[Price] = []
    orders: list[int] = []
    table = (
        pipeline.source(prices)
        .assign_timestamps(lambda price: price.at, out_of_orderness=100)
        .key_by(lambda _: "k")
        .latest(lambda price: price.cents, name="prices")
    )
    changes = table.changes()
    rows = pipeline.source(orders).assign_timestamps(float, out_of_orderness=100).key_by(lambda _: "k")
    joined = rows.join_table(table, as_of="event_time", name="joined")
    async with harness(pipeline) as h:
        await h.send(prices, Price(1, 100), Price(9, None), Price(5, None))
        await h.send(orders, 2, 6, 10)
        assert h.outputs(changes) == [Change("k", None, 100), Change("k", 100, None)], "the second changed nothing"
        await h.end_input()
        assert h.outputs(joined) == [(2, 100), (6, None), (10, None)]


async def test_a_record_that_asks_for_a_time_whose_versions_are_gone_is_late() -> None:
    pipeline = Pipeline("p")
    prices: list[Price] = []
    orders: list[float] = []
    table = (
        pipeline.source(prices)
        .assign_timestamps(lambda price: price.at)
        .key_by(lambda _: "k")
        .latest(lambda price: price.cents, versions=5, name="prices")
    )
    too_late: OutputTag[float] = OutputTag("too late")
    rows = pipeline.source(orders).assign_timestamps(float).key_by(lambda _: "k")
    joined = rows.join_table(table, as_of="event_time", late=too_late, name="joined")
    behind = joined.side_output(too_late)
    async with harness(pipeline) as h:
        await h.send(prices, Price(1, 100), Price(20, 200))
        await h.send(orders, 20.0, 17.0, 12.0)
        await h.end_input()
        assert h.outputs(joined) == [(17.0, 100), (20.0, 200)]
        assert h.outputs(behind) == [12.0]
