"""Dead letters are sent again, each once: however often that is done, and wherever it was broken off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import pytest

from actorstream import EventLog, Failure, OutputTag, Pipeline
from actorstream.errors import CodecError
from actorstream.evolve import Resent, resend
from actorstream.evolve.resend import _Origin

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Order:
    """A record."""

    id: int
    currency: str = "EUR"


def failure(number: int, operator: str = "price", timer: str | None = None) -> Failure[Order]:
    """Give a letter."""
    return Failure(None if timer else Order(number), operator, "KeyError: 'XYZ'", "Traceback ...", timer=timer)


class Logs:
    """A log of letters, and the one that the pipeline reads."""

    def __init__(self, folder: Path) -> None:
        self.dead = EventLog(Failure[Order], folder / "dead", partitions=3)
        self.orders = EventLog(Order, folder / "orders", partitions=2, key=lambda order: order.id)

    async def write(self, *letters: Failure[Order]) -> None:
        """Add letters."""
        async with self.dead:
            await self.dead.extend(letters)

    async def sent(self) -> list[int]:
        """Give the records in the input log."""
        async with self.orders:
            return sorted([record.value.id async for record in self.orders.records(stop="now")])


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    """Give both, which are not there yet."""
    return Logs(tmp_path)


async def test_each_letter_is_sent_once_however_often_it_is_asked_for(logs: Logs) -> None:
    """New letters are sent by the next call; those of timers have no record."""
    await logs.write(*map(failure, range(1_000)), failure(0, timer="idle"))

    assert await resend(logs.dead, logs.orders) == Resent(1_000, 0, 1)
    assert await resend(logs.dead, logs.orders) == Resent(0, 1_000, 1)
    await logs.write(failure(1_000), failure(1_001))
    assert await resend(logs.dead, logs.orders) == Resent(2, 1_000, 1)
    assert await logs.sent() == list(range(1_002))


async def test_an_operator_s_letters_are_sent_apart_from_the_others(logs: Logs) -> None:
    """What one call passes over is left for another."""
    await logs.write(*[failure(number, "even" if number % 2 == 0 else "odd") for number in range(100)])

    assert await resend(logs.dead, logs.orders, operator="odd") == Resent(50, 0, 0)
    assert await logs.sent() == list(range(1, 100, 2))
    assert await resend(logs.dead, logs.orders) == Resent(50, 50, 0)
    assert await logs.sent() == list(range(100))


async def test_two_at_a_time_send_nothing_twice(logs: Logs) -> None:
    """The mark and the records are written together, so whoever comes second finds it."""
    await logs.write(*map(failure, range(3_000)))

    async with logs.dead, logs.orders, anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(resend, logs.dead, logs.orders)

    assert await logs.sent() == list(range(3_000))


async def test_pieces_need_not_be_those_of_the_call_that_was_broken_off(logs: Logs) -> None:
    """A piece that begins before the mark and ends behind it adds its end."""
    async with logs.orders:
        writer = logs.orders.writer(_Origin("dead letters of x", "price", 0))
        assert await writer.add_once([(place, Order(place)) for place in (0, 1, 2)]) == 3
        assert await writer.add_once([(place, Order(place)) for place in (1, 2, 4, 7)]) == 2
        assert await writer.add_once([(7, Order(7))]) == 0

    assert await logs.sent() == [0, 1, 2, 4, 7]


async def test_the_pipeline_handles_what_was_sent_again(logs: Logs, tmp_path: Path) -> None:
    """The whole round: a record fails, what was wrong is mended, it is sent again and comes out."""
    known = {"EUR": 1.0}
    orders = EventLog(Order, tmp_path / "in-order")
    failed = OutputTag[Failure[Order]]("failed")
    priced = EventLog(float, tmp_path / "priced")

    async def run() -> None:
        pipeline = Pipeline("prices")
        prices = pipeline.source(orders, name="orders").map(
            lambda order: order.id * known[order.currency], name="price", errors=failed
        )
        prices.sink(priced, name="priced")
        prices.side_output(failed).sink(logs.dead, name="dead")
        async with pipeline.run(store=tmp_path / "store") as job, job.subscribe(prices) as results:
            async for price in results:
                if price == 7:
                    break

    async with orders:
        await orders.extend([Order(1), Order(2, "XYZ"), Order(7)])
    await run()
    known["XYZ"] = 10.0
    assert await resend(logs.dead, orders) == Resent(1, 0, 0)
    async with orders:
        await orders.append(Order(7))
    await run()

    async with priced:
        assert sorted([record.value async for record in priced.records(stop="now")]) == [1, 7, 7, 20]


async def test_a_record_that_does_not_fit_is_refused(logs: Logs, tmp_path: Path) -> None:
    """Of records that another operator was given the input log takes none."""
    await logs.write(failure(1))
    other = EventLog(str, tmp_path / "other")

    with pytest.raises(CodecError):
        await resend(logs.dead, other)  # type: ignore[misc]
