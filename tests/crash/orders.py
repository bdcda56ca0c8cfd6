"""What the crash tests run and kill: orders in, one update an order and every fifth as a milestone out.

    orders ──key_by customer──> Ledger ──┬──────────────> updates       transactional, one an order
     2 partitions    2 x 2 channels      └──every fifth──> milestones    transactional

`python -m tests.crash.orders FOLDER [NAME]` runs it until SIGTERM; it says "begins" once all is imported, and "up".
With a name it takes savepoints NAME-0, NAME-1, … and rescales itself all the time.
`expected` is the same in plain Python, written apart from it: no stream, no state class.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import sys
from collections import defaultdict
from os.path import join
from typing import TYPE_CHECKING, NamedTuple

import anyio

from actorstream import Context, EventLog, Job, KeyedProcess, ListState, MapState, Pipeline, ValueState
from actorstream.eventlog.folder import LogSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

CHECKPOINT_SECONDS = 0.1
_SMALL = LogSettings(segment_bytes=1 << 20)


class Order(NamedTuple):
    number: int
    customer: str
    cents: int


class Update(NamedTuple):
    """`recent` is changed in place, `same` is read from a map: both show a state that was lost or doubled."""

    number: int
    customer: str
    orders: int
    cents: int
    recent: tuple[int, ...]
    same: int


class Ledger(KeyedProcess[str, Order, Update]):
    orders: ValueState[int] = ValueState(0)
    cents: ValueState[int] = ValueState(0)
    recent: ListState[int] = ListState()
    sizes: MapState[int, int] = MapState()

    def on_element(self, order: Order, ctx: Context[str], /) -> list[Update]:
        self.orders += 1
        self.cents += order.cents
        self.recent.append(order.number)
        del self.recent[:-3]
        same = self.sizes.get(order.cents % 4, 0) + 1
        self.sizes[order.cents % 4] = same
        return [Update(order.number, ctx.key, self.orders, self.cents, tuple(self.recent), same)]


def orders_log(folder: str, settings: LogSettings = _SMALL) -> EventLog[Order]:
    return EventLog(Order, join(folder, "orders"), partitions=2, key=lambda order: order.customer, settings=settings)


def output_log(folder: str, name: str, settings: LogSettings = _SMALL) -> EventLog[Update]:
    return EventLog(Update, join(folder, name), partitions=2, key=lambda update: update.customer, settings=settings)


def build(folder: str, settings: LogSettings = _SMALL) -> Pipeline:
    pipeline = Pipeline("orders")
    orders = pipeline.source(orders_log(folder, settings), name="orders")
    updates = orders.key_by(lambda order: order.customer).process(Ledger, name="ledger", parallelism=2)
    updates.sink(output_log(folder, "updates", settings), name="updates")
    milestones = updates.filter(lambda update: update.orders % 5 == 0)
    milestones.sink(output_log(folder, "milestones", settings), name="milestones")
    return pipeline


class Outputs(NamedTuple):
    """What each customer's records must be, in order."""

    updates: dict[str, list[Update]]
    milestones: dict[str, list[Update]]


def expected(orders: Iterable[Order]) -> Outputs:
    past: dict[str, list[Order]] = defaultdict(list)
    outputs = Outputs(defaultdict(list), defaultdict(list))
    for order in orders:
        mine = past[order.customer]
        mine.append(order)
        update = Update(
            order.number,
            order.customer,
            len(mine),
            sum(one.cents for one in mine),
            tuple(one.number for one in mine[-3:]),
            sum(one.cents % 4 == order.cents % 4 for one in mine),
        )
        outputs.updates[order.customer].append(update)
        if len(mine) % 5 == 0:
            outputs.milestones[order.customer].append(update)
    return outputs


async def by_customer(log: EventLog[Update]) -> dict[str, list[Update]]:
    found: dict[str, list[Update]] = defaultdict(list)
    async for record in log.records(stop="now"):
        found[record.value.customer].append(record.value)
    return found


async def count(log: EventLog[Order] | EventLog[Update]) -> int:
    return (await log.summary()).records


async def wait_count(log: EventLog[Update], wanted: int) -> None:
    """Wait until so many are committed; what another process does gives no event to wait for."""
    async with asyncio.timeout(30):
        while await count(log) < wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def main(folder: str, name: str) -> None:
    run = build(folder).run(store=join(folder, "store"), checkpoint_interval=CHECKPOINT_SECONDS)
    print("begins", flush=True)  # noqa: T201  (the parent listens)
    async with run as job, anyio.create_task_group() as beside:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, job.stop_soon)
        print("up", flush=True)  # noqa: T201
        if name:
            beside.start_soon(evolve, job, name)
        await job.wait()
        beside.cancel_scope.cancel()


async def evolve(job: Job, name: str) -> None:
    """Take savepoints and change the parallelism, without a pause; say each before it begins."""
    for number in itertools.count():
        print("savepoint", flush=True)  # noqa: T201
        await job.savepoint(f"{name}-{number}")
        print("rescale", flush=True)  # noqa: T201
        await job.rescale(1 + number % 3, operator="ledger")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], "".join(sys.argv[2:])))
