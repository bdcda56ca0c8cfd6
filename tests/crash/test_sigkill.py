"""SIGKILL at any moment, under load: every output record is there, once, in order, with the right state in it."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import pytest

from tests.crash.orders import Order, by_customer, count, expected, orders_log, output_log, wait_count
from tests.crash.process import Child, started

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream import EventLog

SEED = 20
Moment: TypeAlias = Literal["after start", "in restore", "after up", "in publish", "before commit"]
KILLS: dict[Moment, int] = {"after start": 2, "in restore": 4, "after up": 2, "in publish": 3, "before commit": 3}
CUSTOMERS = [f"customer {number}" for number in range(40)]


@dataclass
class Load:
    """Appends orders, a few milliseconds apart, until told to stop. `begun` has those that may be in the log."""

    log: EventLog[Order]
    rng: random.Random
    appended: list[Order] = field(default_factory=list)
    begun: list[Order] = field(default_factory=list)
    stop: bool = False

    async def run(self) -> None:
        while not self.stop:
            first = len(self.appended)
            orders = [
                Order(number, self.rng.choice(CUSTOMERS[: self.rng.choice([3, 40])]), self.rng.randrange(1_000))
                for number in range(first, first + self.rng.randrange(1, 24))
            ]
            self.begun += orders
            await self.log.extend(orders)
            self.appended += orders
            await asyncio.sleep(0.015)


@dataclass
class Drill:
    """Starts the job and kills it, again and again."""

    folder: Path
    rng: random.Random
    in_restore: int = 0
    before_first_checkpoint: int = 0
    lags: list[int] = field(default_factory=list)

    async def once(self, moment: Moment, load: Load) -> None:
        newest = self._newest()
        async with started("-m", "tests.crash.orders", str(self.folder), folder=self.folder) as child:
            await self._wait(moment, child, newest)
            while not (lag := await self._lag(load)):  # noqa: ASYNC110  (of another process)
                await asyncio.sleep(0.001)
            await child.kill()
            await child.until(None)
        self.in_restore += "begins" in child.said and "up" not in child.said
        self.before_first_checkpoint += self._newest() == newest
        self.lags.append(lag)
        say(f"{len(self.lags):2} {moment:13} lag {lag:4} newest checkpoint {newest} -> {self._newest()}")

    async def _lag(self, load: Load) -> int:
        return len(load.appended) - await count(output_log(str(self.folder), "updates"))

    async def _wait(self, moment: Moment, child: Child, newest: int) -> None:
        """Return at the moment: seeded, but for what the scheduler adds."""
        delay = self.rng.random()
        if moment == "after start":
            await asyncio.sleep(0.7 * delay)
            return
        await child.until("begins" if moment == "in restore" else "up")
        if moment in {"in restore", "after up"}:
            await asyncio.sleep((0.08 if moment == "in restore" else 0.4) * delay)
            return
        skipped = self.rng.randrange(2)
        while not self._sees(moment, newest + skipped):
            assert not child.ended, child.last_words()
            await asyncio.sleep(0.0005)
        await asyncio.sleep(0.004 * delay)

    def _sees(self, moment: Moment, newest: int) -> bool:
        """Tell whether a checkpoint above `newest` is about to be published, or just was."""
        if moment == "before commit":
            return self._newest() > newest
        return any(checkpoint > newest for checkpoint in self._with("*.draft"))

    def _newest(self) -> int:
        return max(self._with("manifest.json"), default=0)

    def _with(self, pattern: str) -> list[int]:
        """Give the checkpoints that have such a file; the job deletes old ones while we look."""
        while True:
            try:
                return [int(path.parent.name) for path in self._checkpoints().glob(f"*/{pattern}")]
            except FileNotFoundError:
                continue

    def _checkpoints(self) -> Path:
        return self.folder / "store" / "orders" / "checkpoints"


def say(what: str) -> None:
    """For the report of a failure: which kills there were."""
    sys.stdout.write(f"{what}\n")


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_14_kills_under_load_lose_and_double_nothing(tmp_path: Path) -> None:
    """Kills fall into the start, the restore, between and into checkpoints, between publish and commit."""
    say(f"seed {SEED}")
    rng = random.Random(SEED)
    moments = [moment for moment, kills in KILLS.items() for _ in range(kills)]
    rng.shuffle(moments)
    load, drill = Load(orders_log(str(tmp_path)), rng), Drill(tmp_path, random.Random(SEED + 1))
    updates, milestones = (output_log(str(tmp_path), name) for name in ("updates", "milestones"))
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run())
        try:
            for moment in moments:
                await drill.once(moment, load)
        finally:
            load.stop = True
    async with started("-m", "tests.crash.orders", str(tmp_path), folder=tmp_path) as child:
        await wait_count(updates, len(load.appended))
        child.signal(signal.SIGTERM)
        assert await child.wait() == 0, child.last_words()

    say(f"{drill.in_restore} in a restore, {drill.before_first_checkpoint} before the process's first checkpoint")
    assert len(drill.lags) >= sum(KILLS.values()) - 4
    assert min(drill.lags) > 0
    assert drill.in_restore > 0
    assert KILLS["after start"] < drill.before_first_checkpoint < len(drill.lags) - KILLS["before commit"]
    wanted = expected(load.appended)
    assert await by_customer(updates) == wanted.updates
    assert await by_customer(milestones) == wanted.milestones
