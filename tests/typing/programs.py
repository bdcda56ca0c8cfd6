"""Programs on the public surface: both checkers must accept every line.

A line marked `# refused:` holds a mistake that both must find: an ignore that
nothing needs is an error, so the check is that they print nothing.
"""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_type

import actorstream
from actorstream import (
    Context,
    EventLog,
    Job,
    JobFailed,
    KeyedProcess,
    ListState,
    LogPosition,
    MapState,
    Pipeline,
    Restart,
    Settings,
    Stream,
    Summary,
    Table,
    ValueState,
    collect,
    replayable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator
    from datetime import datetime


# 0 ---- domain
@dataclass(frozen=True)
class Click:
    user: str
    page: str
    at: datetime


@dataclass(frozen=True)
class Order:
    id: str
    user: str
    at: datetime


@dataclass(frozen=True)
class Payment:
    order: str
    card: str
    amount: float
    at: datetime


# 1 ---- word count: one line to run and have the result, one to run it as a script
def word_count(lines: list[str]) -> Table[str, int]:
    return Pipeline("word-count").source(lines).flat_map(str.split).key_by(lambda word: word).count()


async def words() -> dict[str, int]:
    return dict(await collect(word_count(["a b", "b"])))


def script() -> None:
    p = Pipeline("word-count")
    p.source(["a b", "b"]).flat_map(str.split).key_by(lambda word: word).count().sink(print)
    assert_type(actorstream.run(p), Summary)


# 2 ---- keyed state
class Visits(KeyedProcess[str, Click, str]):
    clicks: ValueState[int] = ValueState(0)
    last: ValueState[str | None] = ValueState(None)
    pages: MapState[str, int] = MapState()
    cart: ValueState[list[str]] = ValueState(factory=list)
    seen: ListState[datetime] = ListState()

    def __init__(self, limit: int = 100) -> None:
        self.limit = limit

    def on_element(self, click: Click, ctx: Context[str], /) -> Iterator[str]:
        assert_type(self.clicks, int)
        assert_type(self.last, str | None)
        self.clicks += 1
        self.last = click.page
        self.cart.append(click.page)
        self.seen.append(click.at)
        self.pages[click.page] = self.pages.get(click.page, 0) + 1
        if self.clicks > self.limit:
            yield f"{ctx.key} was at {self.last} at {ctx.now}"
            for page, n in self.pages.scan(start="/shop", stop="/shop~"):
                yield f"{page} {n}"
            del self.last
            ctx.clear()


clicks_log = EventLog(Click, "clicks", partitions=8, key=lambda c: c.user)


def frequent_visitors() -> Pipeline:
    p = Pipeline("frequent-visitors")
    by_user = p.source(clicks_log).key_by(lambda c: c.user)
    assert_type(by_user.process(Visits), Stream[str])
    assert_type(by_user.process(lambda: Visits(5), name="impatient"), Stream[str])
    by_user.process(Visits(5))  # type: ignore[arg-type]  # refused: an instance would be shared by all subtasks
    by_user.process(Visits, label="x")  # type: ignore[call-arg]  # refused: no such option
    return p


# 3 ---- from event log to event log, exactly once, with everything a run takes
@dataclass(frozen=True)
class Alert:
    card: str
    total: float


def large_totals(payments: EventLog[Payment], alerts: EventLog[Alert]) -> Pipeline:
    p = Pipeline("large-totals", max_parallelism=256)
    totals = (
        p.source(payments, name="payments", parallelism=2)
        .filter(lambda x: x.amount > 0)
        .key_by(lambda x: x.card)
        .fold(0.0, lambda total, x: total + x.amount, name="totals")
    )
    assert_type(totals, Table[str, float])
    large = totals.filter(lambda entry: entry[1] > 500).map(lambda entry: Alert(*entry))
    large.sink(alerts, name="alerts")
    large.rebalance().map(lambda alert: alert.card).sink(print)
    totals.sink(alerts)  # type: ignore[arg-type]  # refused: a log of alerts does not take (card, total)
    largest = p.source(payments.view(stop="now")).key_by(lambda x: x.card).reduce(lambda x, y: max(x, y, key=id))
    assert_type(largest, Table[str, Payment])
    return p


async def run_it(p: Pipeline, failed: list[JobFailed]) -> Summary:
    summary = await p.run(
        store="state/",
        checkpoint_interval=0.5,
        restart=Restart.exponential(attempts=5),
        parallelism=2,
        on_failure=failed.append,
        settings=Settings(retained=5, checkpoint_timeout=20),
    )
    await p.run(storage="state/")  # type: ignore[call-arg]  # refused: no such option
    return summary


# 4 ---- inside FastAPI
p4 = Pipeline("live-counts")
live = p4.source(clicks_log).key_by(lambda c: c.page).count(name="views")


@asynccontextmanager
async def lifespan(_: object) -> AsyncGenerator[dict[str, Job]]:
    async with p4.run(store="state/", checkpoint_interval=10) as job:
        yield {"job": job}


async def views(job: Job, page: str) -> int:
    return await job.get(live, page) or 0


async def click(job: Job, c: Click) -> int:
    position = await clicks_log.append(c)
    assert_type(position, LogPosition)
    return await views(job, c.page)


async def user(job: Job, name: str) -> int:
    n = await job.get(Visits.clicks, name)
    assert_type(n, int)
    await job.get(Visits.clicks, 7)  # type: ignore[misc]  # refused: keys are str
    return n


async def follow(job: Job) -> None:
    async with job.subscribe(live, overflow="drop_oldest") as updates:
        async for page, n in updates:
            assert_type((page, n), tuple[str, int])
    await job.checkpoint()
    await job.stop()
    assert_type(await job.wait(), Summary)


# 5 ---- a replayable source is an async generator that can start after a position
@replayable
async def ticks(after: int | None) -> AsyncIterator[tuple[int, float]]:
    n = 0 if after is None else after + 1
    while True:
        yield n, n * 0.5
        n += 1


def tick_pipeline() -> Pipeline:
    p = Pipeline("ticks")
    assert_type(p.source(ticks), Stream[float])
    states = p.source(ticks).key_by(lambda x: int(x) % 2).map_with_state(0.0, lambda s, x: (s + x, f"{s}"))
    assert_type(states, Stream[str])
    return p


# 6 ---- change data capture into a table that HTTP asks
@dataclass(frozen=True)
class Upsert:
    id: int
    name: str
    country: str


@dataclass(frozen=True)
class Delete:
    id: int


# a type checker cannot infer a union from a tuple of types: say it once
changes: EventLog[Upsert | Delete] = EventLog((Upsert, Delete), "customers", key=lambda c: c.id)
cdc = Pipeline("customers")
customers = (
    cdc.source(changes).key_by(lambda c: c.id).latest(lambda c: c if isinstance(c, Upsert) else None, name="customers")
)
assert_type(customers, Table[int, Upsert])


async def customer(job: Job, number: int) -> Upsert | None:
    return await job.get(customers, number)


# 7 ---- several types through one operator
class Follow(KeyedProcess[str, Order | Payment, str]):
    def on_element(self, value: Order | Payment, ctx: Context[str], /) -> list[str]:
        match value:
            case Order():
                return [f"ordered {value.id}"]
            case Payment():
                return [f"paid {value.amount}"]


def both(orders: Stream[Order], payments: Stream[Payment]) -> Stream[str]:
    return orders.key_by(lambda o: o.id).union(payments.key_by(lambda x: x.order)).process(Follow)


# 8 ---- a loop
def countdown(p: Pipeline) -> Stream[int]:
    def body(n: Stream[int]) -> tuple[Stream[int], Stream[int]]:
        less = n.map(lambda x: x - 1)
        return less.filter(lambda x: x > 0), less.filter(lambda x: x == 0)

    return p.source([3, 5]).feedback(body, name="countdown")


def spelled(p: Pipeline) -> Stream[str]:
    out = p.source([3, 5]).feedback(lambda n: (n.map(lambda x: x - 1), n.map(str)), name="spelled")
    assert_type(out, Stream[str])
    p.source([3]).feedback(lambda n: (n.map(str), n), name="other")  # type: ignore[arg-type]  # refused: another type goes back
    return out
