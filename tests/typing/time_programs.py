"""Programs that go by time, on the public surface: see programs.py for how mistakes are marked."""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, assert_type

from actorstream import (
    TTL,
    Change,
    Context,
    EventLog,
    KeyedCoProcess,
    KeyedProcess,
    MapState,
    OutputTag,
    Pipeline,
    Session,
    Sliding,
    Stream,
    Table,
    Timer,
    Tumbling,
    ValueState,
    WindowResult,
)
from actorstream.testing import harness

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Click:
    user: str
    page: str
    at: datetime


@dataclass(frozen=True)
class Order:
    id: str
    at: datetime


@dataclass(frozen=True)
class Payment:
    order: str
    amount: float
    at: datetime


clicks_log = EventLog(Click, "clicks", key=lambda c: c.user)
bad = OutputTag[str]("bad")


# ---- timers, state that expires, a side output
class Idle(KeyedProcess[str, Click, str]):
    clicks: ValueState[int] = ValueState(0)
    pages: MapState[str, int] = MapState(ttl=timedelta(days=1))
    seen: ValueState[bool] = ValueState(False, ttl=TTL(60, domain="event", refresh="read"))

    def on_element(self, value: Click, ctx: Context[str], /) -> None:
        self.clicks += 1
        self.seen = True
        ctx.set_timer(value.at + timedelta(minutes=30))
        ctx.cancel_timer("other", domain="processing")
        ctx.emit_to(bad, value.page)
        ctx.emit_to(bad, 7)  # type: ignore[misc]  # refused: the tag is of str
        ctx.set_timer("soon")  # type: ignore[arg-type]  # refused: no time

    def on_timer(self, timer: Timer, ctx: Context[str], /) -> Iterator[str]:
        assert_type(timer.at, datetime)
        assert_type(self.clicks, int)
        yield f"{ctx.key} left after {self.clicks} clicks"
        ctx.clear()


def idle_users(p: Pipeline) -> None:
    by_user = p.source(clicks_log).assign_timestamps(lambda c: c.at, out_of_orderness=5).key_by(lambda c: c.user)
    left = by_user.process(Idle)
    assert_type(left, Stream[str])
    assert_type(left.side_output(bad), Stream[str])
    p.source(clicks_log).assign_timestamps(lambda c: c.page)  # type: ignore[arg-type,return-value]  # refused: no time


# ---- windows
def per_minute(p: Pipeline) -> None:
    clicks = p.source(clicks_log).assign_timestamps(
        lambda c: c.at, out_of_orderness=timedelta(seconds=5), idle_timeout=30
    )
    per_page = (
        clicks.key_by(lambda c: c.page).window(Tumbling(timedelta(minutes=1)), allowed_lateness=60).count(name="n")
    )
    assert_type(per_page.late, Stream[Click])
    per_page.map(lambda w: (w.key, w.start, w.value)).sink(print)
    lengths = clicks.key_by(lambda c: c.user).window(Session(300))
    first: Stream[WindowResult[str, float]] = lengths.fold(
        0.0, lambda total, c: total + len(c.page), merge=lambda left, right: left + right
    )
    first.sink(print)
    pages = lengths.apply(lambda of_session: [c.page for c in of_session], name="visits")
    assert_type(pages.map(lambda w: w.value), Stream[list[str]])
    busiest = clicks.key_by(lambda c: c.page).window(Sliding(10, slide=2)).count()
    highest = busiest.window_all(Tumbling(2)).max_by(lambda w: w.value)
    assert_type(highest.map(lambda w: w.value), Stream[WindowResult[str, int]])


# ---- two streams
class Match(KeyedCoProcess[str, Order, Payment, float]):
    placed: ValueState[Order | None] = ValueState(None)

    def on_left(self, value: Order, ctx: Context[str], /) -> None:
        self.placed = value

    def on_right(self, value: Payment, ctx: Context[str], /) -> list[float]:
        return [value.amount] if self.placed else []


def paid_orders(p: Pipeline, orders: EventLog[Order], payments: EventLog[Payment]) -> None:
    placed = p.source(orders).assign_timestamps(lambda o: o.at).key_by(lambda o: o.id)
    paying = p.source(payments).assign_timestamps(lambda x: x.at).key_by(lambda x: x.order)
    assert_type(placed.interval_join(paying, before=0, after=600), Stream[tuple[Order, Payment]])
    paid = placed.interval_join(paying, before=0, after=timedelta(minutes=10), how="left")
    assert_type(paid, Stream[tuple[Order, Payment | None]])
    matched = placed.cogroup(paying, Tumbling(60), lambda os, ps: [(len(os), sum((x.amount for x in ps), 0.0))])
    assert_type(matched, Stream[WindowResult[str, tuple[int, float]]])
    assert_type(placed.window_join(paying, Tumbling(60)), Stream[WindowResult[str, tuple[Order, Payment]]])
    assert_type(placed.connect(paying).process(Match), Stream[float])
    newest = paying.latest(lambda x: x.amount, versions=60)
    assert_type(newest, Table[str, float])
    assert_type(newest.changes(), Stream[Change[str, float]])
    assert_type(placed.join_table(newest, how="inner", as_of="event_time"), Stream[tuple[Order, float]])
    numbered = p.source(orders).key_by(lambda o: len(o.id))
    numbered.interval_join(paying, before=0, after=1)  # type: ignore[arg-type]  # refused: keys of another type


# ---- a test on virtual time
async def idle_is_told(p: Pipeline, now: datetime) -> None:
    left = p.source(clicks_log).assign_timestamps(lambda c: c.at).key_by(lambda c: c.user).process(Idle)
    async with harness(p) as h:
        await h.send(clicks_log, Click("ann", "7", now))
        await h.checkpoint()
        await h.crash_and_recover()
        await h.advance(watermark=now + timedelta(hours=1))
        assert_type(h.outputs(left), list[str])
