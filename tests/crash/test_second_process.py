"""Two processes on one store: the lock keeps the second out, for as long as the first one lives."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from actorstream import ActorstreamError
from actorstream.errors import StoreInUseError
from tests.crash.orders import Order, build, by_customer, expected, orders_log, output_log, wait_count
from tests.crash.process import started

if TYPE_CHECKING:
    from pathlib import Path

ORDERS = [Order(number, f"customer {number % 7}", number) for number in range(300)]


@pytest.mark.crash
@pytest.mark.timeout(60)
async def test_a_stopped_process_holds_the_store_and_a_killed_one_does_not(tmp_path: Path) -> None:
    """A process that hangs (SIGSTOP) could wake up at any time: the next one starts only when it is gone."""
    folder = str(tmp_path)
    os.mkdir(tmp_path / "second")
    await orders_log(folder).extend(ORDERS[:200])
    updates = output_log(folder, "updates")
    async with started("-m", "tests.crash.orders", folder, folder=tmp_path) as first:
        await first.until("up")
        first.signal(signal.SIGSTOP)
        async with started("-m", "tests.crash.orders", folder, folder=tmp_path / "second") as second:
            assert await second.wait() == 1
            for words in ("StoreInUseError", os.path.join(folder, "store", "orders"), "stop that process"):
                assert words in second.last_words()
        with pytest.raises(StoreInUseError, match="held by another live process") as refused:
            async with build(folder).run(store=tmp_path / "store"):
                pytest.fail("two processes run one job")
        assert isinstance(refused.value, ActorstreamError)
        await first.kill()

    await orders_log(folder).extend(ORDERS[200:])
    async with started("-m", "tests.crash.orders", folder, folder=tmp_path / "second") as second:
        await second.until("up")
        await wait_count(updates, len(ORDERS))
        second.signal(signal.SIGTERM)
        assert await second.wait() == 0, second.last_words()
    assert await by_customer(updates) == expected(ORDERS).updates


@pytest.mark.crash
@pytest.mark.timeout(60)
async def test_a_process_that_was_taken_over_from_is_fenced_when_it_wakes_up(tmp_path: Path) -> None:
    """T105: it holds the lock, but no longer the newest attempt: it neither publishes nor commits, and says why."""
    folder = str(tmp_path)
    log, updates = orders_log(folder), output_log(folder, "updates")
    await log.extend(ORDERS[:200])
    async with started("-m", "tests.crash.orders", folder, folder=tmp_path) as first:
        await first.until("up")
        await wait_count(updates, 200)
        await asyncio.sleep(
            0.3
        )  # a commit can be read before its writer has let go of the log, and a stopped one keeps it
        first.signal(signal.SIGSTOP)
        async with build(folder).run(store=tmp_path / "store", take_over=True):
            await log.extend(ORDERS[200:])
            await wait_count(updates, len(ORDERS))
        first.signal(signal.SIGCONT)
        assert await first.wait() == 1
        assert "FencedError" in first.last_words()
    assert await by_customer(updates) == expected(ORDERS).updates


@pytest.mark.crash
@pytest.mark.timeout(60)
async def test_a_process_that_was_only_asleep_goes_on(tmp_path: Path) -> None:
    """SIGSTOP and SIGCONT under load: time has jumped, and nothing else has happened."""
    folder = str(tmp_path)
    log, updates = orders_log(folder), output_log(folder, "updates")
    async with started("-m", "tests.crash.orders", folder, folder=tmp_path) as child:
        await child.until("up")
        for start in range(0, len(ORDERS), 100):
            await log.extend(ORDERS[start : start + 100])
            child.signal(signal.SIGSTOP)
            await asyncio.sleep(0.3)
            child.signal(signal.SIGCONT)
        await wait_count(updates, len(ORDERS))
        child.signal(signal.SIGTERM)
        assert await child.wait() == 0, child.last_words()
    assert await by_customer(updates) == expected(ORDERS).updates
