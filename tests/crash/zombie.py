"""A process of the job that is stopped and comes back, another that has gone on without it, and the load on both."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from actorstream import JobFailed, StoreError
from tests.crash.freezing import HASTY
from tests.crash.orders import CHECKPOINT_SECONDS, Order, build, by_customer, count, expected, orders_log, output_log
from tests.crash.process import Child, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence
    from random import Random

DEADLINE_SECONDS = 30
HELD = "has held its writer lock"


@asynccontextmanager
async def zombie(folder: Path, *, take_over: bool = False) -> AsyncIterator[Child]:
    """Give a process that has imported all and waits for "begin"."""
    words = ["take over"] if take_over else []
    own = Path(mkdtemp(dir=folder))  # for its last words
    async with started("-m", "tests.crash.freezing", str(folder), *words, folder=own, listens=True) as child:
        await child.until("ready")
        yield child


async def until_it_stops(child: Child) -> str:
    """Wait until the process has stopped itself, or has come past where it should; give its last word."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            assert not child.ended, child.last_words()
            said = await child.says(("freezes", "past"))
            if said.startswith("past"):
                return said
            while not is_stopped(child):  # noqa: ASYNC110  (of another process)
                await asyncio.sleep(0.001)
            return said


def is_stopped(child: Child) -> bool:
    return Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def until_committed(folder: Path, orders: int) -> None:
    log = output_log(str(folder), "updates", HASTY)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await count(log) < orders:  # noqa: ASYNC110  (perhaps by another process)
            await asyncio.sleep(0.005)


async def until_checkpoints(folder: Path, more: int) -> None:
    """Wait until so many more checkpoints have been published."""
    wanted = _newest_checkpoint(folder) + more
    async with asyncio.timeout(DEADLINE_SECONDS):
        while _newest_checkpoint(folder) < wanted:  # noqa: ASYNC110  (by another process)
            await asyncio.sleep(0.005)


def _newest_checkpoint(folder: Path) -> int:
    return max((int(path.name) for path in (folder / "store" / "orders" / "checkpoints").iterdir()), default=0)


async def append(folder: Path, orders: Sequence[Order]) -> bool:
    """Append them; False where a stopped process holds the log."""
    try:
        await orders_log(str(folder), HASTY).extend(orders)
    except StoreError as refused:
        if HELD not in str(refused):
            raise
        return False
    return True


async def take_over(folder: Path, orders: Sequence[Order]) -> bool:
    """Go on with the job of a stopped process, up to the last of `orders`; False where that process holds a log.

    Raises:
        StoreError: It was refused for another reason; so for JobFailed.
    """
    there = await count(orders_log(str(folder), HASTY))
    if not await append(folder, orders[there:]):
        return False
    run = build(str(folder), HASTY).run(store=folder / "store", take_over=True, checkpoint_interval=CHECKPOINT_SECONDS)
    try:
        async with run:
            await until_committed(folder, len(orders))
    except (StoreError, JobFailed) as refused:
        if HELD not in f"{refused} {refused.__cause__}":
            raise
        return False
    return True


async def comes_up(child: Child) -> bool:
    """Wait until the job of the process is up; False where it was refused since another holds a log."""
    await child.until("begins")
    try:
        await child.until("up")
    except AssertionError:
        assert await child.wait() == 1
        assert HELD in child.last_words(), child.last_words()
        return False
    return True


async def wake_up(child: Child) -> None:
    """Let the stopped process go on: it finds that it is fenced, says so, and ends."""
    child.signal(signal.SIGCONT)
    try:
        code = await child.wait()
    except TimeoutError:
        child.signal(signal.SIGUSR1)
        await asyncio.sleep(1)
        raise AssertionError(f"it woke up and did not end: {child.last_words()}") from None
    assert code == 1, f"{child.said[-3:]} {child.last_words()}"
    assert "FencedError" in child.last_words()


async def check(folder: Path, orders: Sequence[Order]) -> None:
    """Every output is there once, in order, with the right state in it."""
    wanted = expected(orders)
    assert await by_customer(output_log(str(folder), "updates", HASTY)) == wanted.updates
    assert await by_customer(output_log(str(folder), "milestones", HASTY)) == wanted.milestones


class Load:
    """Appends orders, some milliseconds apart; what a frozen process keeps from being appended is not counted."""

    def __init__(self, folder: Path, rng: Random) -> None:
        self.orders: list[Order] = []
        self._folder = folder
        self._rng = rng

    async def append_for(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            await self._append()

    async def beside(self, *doing: Awaitable[None]) -> None:
        """Go on appending while something is done."""
        async with asyncio.TaskGroup() as group:
            done = [group.create_task(_run(each)) for each in doing]
            while not all(task.done() for task in done):
                await self._append()

    async def _append(self) -> None:
        first = len(self.orders)
        more = [
            Order(number, f"customer {self._rng.randrange(20)}", self._rng.randrange(1_000))
            for number in range(first, first + self._rng.randrange(1, 24))
        ]
        if await append(self._folder, more):
            self.orders += more
        await asyncio.sleep(0.01)


async def _run(doing: Awaitable[None]) -> None:
    await doing
