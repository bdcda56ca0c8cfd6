"""SIGKILL at random moments under load, one process after another over one store; all output is checked after each.

    process 1  ── restore ── work ─ KILL
    process 2  (imports)               ── restore ── work ─── KILL
    process 3                          (imports)              ── restore ─ KILL
    load       ── orders all the time ─────────────────────────────────────────
    readers    ── follow both outputs: each record is compared as it comes ────

A process imports while the one before it runs, and opens the store when it is told to; it is started, never forked.

    KILL_SEED=4 pytest tests/crash/test_many_kills.py       repeats the moments; what the scheduler adds is its own
    pytest -m kills                                         200 of them, as `make verify` does
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.crash.orders import Order, Update, by_customer, count, expected, orders_log, output_log
from tests.crash.test_sigkill import Load, say
from tests.crash.zombie import zombie

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream import EventLog

SEED = int(os.environ.get("KILL_SEED", "3"))
MOMENTS = {"begin": 0.15, "up": 0.2, "output": 0.3}
"""Since when, and at most how many seconds: its start and restore, its first checkpoint, some work."""


@dataclass
class Account:
    """What is known of one customer: his orders, and what the first `done` of them come to."""

    orders: list[Order] = field(default_factory=list)
    done: int = 0
    cents: int = 0
    sizes: Counter[int] = field(default_factory=Counter)

    def update(self, orders: int) -> Update:
        """Give the update of so many orders, more than at the last call."""
        for order in self.orders[self.done : orders]:
            self.cents += order.cents
            self.sizes[order.cents % 4] += 1
        self.done = orders
        last = self.orders[orders - 1]
        recent = tuple(order.number for order in self.orders[max(0, orders - 3) : orders])
        return Update(last.number, last.customer, orders, self.cents, recent, self.sizes[last.cents % 4])


class Follower:
    """Reads one output from its beginning, as long as the test lasts: no record comes twice, is missing, or wrong."""

    def __init__(self, log: EventLog[Update], load: Load, every: int) -> None:
        """Take the log that holds each `every`-th update of a customer."""
        self.records = 0
        self._log = log
        self._load = load
        self._every = every
        self._accounts: dict[str, Account] = defaultdict(Account)
        self._known = 0
        self._came = asyncio.Event()

    async def run(self) -> None:
        async for record in self._log.records():
            for order in self._load.begun[self._known :]:
                self._accounts[order.customer].orders.append(order)
            self._known = len(self._load.begun)
            update = record.value
            account = self._accounts[update.customer]
            assert update.orders == account.done + self._every, f"doubled or missing: {update}"
            assert update == account.update(update.orders)
            self.records += 1
            self._came.set()

    async def until(self, records: int) -> None:
        """Wait until so many have been compared."""
        async with asyncio.timeout(20):
            while self.records < records:
                self._came.clear()
                await self._came.wait()


async def kill(folder: Path, kills: int) -> None:
    """Let one process after another work, kill each at a random moment, and compare all that has come out."""
    say(f"KILL_SEED={SEED}")
    rng = random.Random(SEED)
    load = Load(orders_log(str(folder)), random.Random(SEED + 1))
    logs = [output_log(str(folder), name) for name in ("updates", "milestones")]
    followers = [Follower(log, load, every) for log, every in zip(logs, (1, 5), strict=True)]
    in_restore = without_output = 0
    async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
        loading = group.create_task(load.run())
        following = [group.create_task(follower.run()) for follower in followers]
        child = await stack.enter_async_context(zombie(folder))
        for number in range(kills):
            before = followers[0].records
            child.tell("begin")
            next_child = group.create_task(stack.enter_async_context(zombie(folder)))
            since = [*MOMENTS][number % len(MOMENTS)]
            if since == "up":
                await child.until("up")
            elif since == "output":
                await followers[0].until(before + 1)
            seconds = MOMENTS[since] * rng.random()
            await asyncio.sleep(seconds)
            await child.kill()
            await child.until(None)
            for log, follower in zip(logs, followers, strict=True):
                await follower.until(await count(log))
            lag = len(load.appended) - followers[0].records
            assert lag > 0, "there was no load"
            in_restore += "up" not in child.said
            without_output += followers[0].records == before
            say(f"{number:3} {seconds:.3f} s after {since}: {followers[0].records} right, {lag} to come")
            child = await next_child
        load.stop = True
        await loading
        child.tell("begin")
        await followers[0].until(len(load.appended))
        child.signal(signal.SIGTERM)
        assert await child.wait() == 0, child.last_words()
        for log, follower in zip(logs, followers, strict=True):
            await follower.until(await count(log))
        for task in following:
            task.cancel()
    say(f"{in_restore} before it was up, {without_output} without output")
    assert 0 < in_restore < kills
    assert 0 < without_output < kills
    assert followers[0].records == len(load.appended)
    wanted = expected(load.appended)
    assert await by_customer(logs[0]) == wanted.updates
    assert await by_customer(logs[1]) == wanted.milestones


@pytest.mark.crash
@pytest.mark.kills
@pytest.mark.timeout(120)
async def test_12_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path) -> None:
    await kill(tmp_path, 12)


@pytest.mark.crash
@pytest.mark.kills
@pytest.mark.timeout(1_800)
async def test_200_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path) -> None:
    await kill(tmp_path, 200)
