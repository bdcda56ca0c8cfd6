"""What the simulated loop promises: one seed is one run, on virtual time, with asyncio's and anyio's own rules."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.lowlevel
import pytest
from anyio._backends import _asyncio as anyio_asyncio

from actorstream.testing.loop import DeadlockError, Policy, SimulatedCrash, SimulatedLoop, StepLimitError
from actorstream.testing.run import bury

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
POLICIES: list[Policy] = ["fifo", "random", "pct"]


def run(main: Callable[[], Coroutine[Any, Any, T]], **options: Any) -> tuple[T, SimulatedLoop]:
    loop = SimulatedLoop(**options)
    try:
        return loop.run_until_complete(main()), loop
    finally:
        bury(loop)


async def busy_scenario() -> list[str]:
    """Everything the runtime builds on: groups, cancelling, streams, futures, call_soon, timers, threads, locks."""
    log: list[str] = []
    loop = asyncio.get_running_loop()
    sender, receiver = anyio.create_memory_object_stream[int](2)
    lock = anyio.Lock()

    async def send(first: int) -> None:
        for value in range(first, first + 3):
            await sender.send(value)
            await anyio.sleep(0.001 * (value % 3))

    async def receive() -> None:
        async with receiver:
            async for value in receiver:
                async with lock:
                    await anyio.lowlevel.checkpoint()
                    log.append(f"got {value} at {loop.time():.4f}")

    async def sleeper(number: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            log.append(f"cancelled {number}")

    async def mailbox() -> None:
        waiter: asyncio.Future[str] = loop.create_future()
        loop.call_soon(waiter.set_result, "mail")
        log.append(await waiter)
        log.append(str(await anyio.to_thread.run_sync(lambda: "threaded")))
        log.append(str(await loop.run_in_executor(None, lambda x: x, "executor")))

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(sleeper, number)
        async with anyio.create_task_group() as inner:
            inner.start_soon(receive)
            inner.start_soon(mailbox)
            async with anyio.create_task_group() as senders:
                senders.start_soon(send, 0)
                senders.start_soon(send, 10)
            sender.close()
        group.cancel_scope.cancel()
    with anyio.move_on_after(0.5) as scope:
        await anyio.sleep(10)
    log.append(f"{scope.cancelled_caught} {loop.time():.3f}")
    return log


def fingerprint(policy: Policy) -> str:
    """Sum up five runs, for comparing processes."""
    parts = []
    for seed in range(5):
        log, loop = run(busy_scenario, seed=seed, policy=policy)
        parts.append(f"{loop.steps} {loop.digest} {log}")
    return "\n".join(parts)


@pytest.mark.parametrize("policy", POLICIES)
def test_one_seed_is_one_run_in_this_process(policy: Policy) -> None:
    """Leftovers of earlier runs (task names, caches, the collector's state) must not shift anything."""
    first = fingerprint(policy)
    garbage = [[object() for _ in range(100)] for _ in range(100)]

    assert fingerprint(policy) == first
    assert garbage


def test_one_seed_is_one_run_in_any_process() -> None:
    """Hash seeds and memory addresses differ between processes; anyio cancels in the order of sets of both."""
    code = "from tests.testing.test_loop import fingerprint; print(fingerprint('random'))"
    seen = {fingerprint("random")}
    for hash_seed in ("0", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONMALLOC": "malloc"}
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment, cwd=ROOT
        )
        seen.add(done.stdout.removesuffix("\n"))

    assert len(seen) == 1


def test_seeds_explore_different_orders() -> None:
    """A simulation that always takes asyncio's order would find nothing that tests on asyncio do not find."""
    orders = {
        policy: {run(busy_scenario, seed=seed, policy=policy)[1].digest for seed in range(20)} for policy in POLICIES
    }

    assert len(orders["random"]) >= 18
    assert len(orders["pct"]) >= 18


def test_anyio_keeps_its_promises_under_100_seeds() -> None:
    """Reordered or not: every record arrives once and in its sender's order, every sleeper is cancelled once."""
    for seed in range(100):
        log, _ = run(busy_scenario, seed=seed, policy="random" if seed % 2 else "pct")
        got = [int(line.split()[1]) for line in log if line.startswith("got")]
        assert [value for value in got if value < 10] == [0, 1, 2]
        assert [value for value in got if value >= 10] == [10, 11, 12]
        assert sorted(line for line in log if line.startswith("cancelled")) == [f"cancelled {n}" for n in range(4)]
        assert {"mail", "threaded", "executor"} <= set(log)
        assert log[-1].startswith("True")


def test_asyncio_primitives_work_under_seeds() -> None:
    """Users' handlers may use asyncio's own: queues, locks, timeouts, task groups, async generators."""

    async def main() -> list[int]:
        queue: asyncio.Queue[int] = asyncio.Queue(2)
        taken: list[int] = []

        async def numbers() -> Any:
            for number in range(6):
                await asyncio.sleep(0)
                yield number

        async def put() -> None:
            async for number in numbers():
                await queue.put(number)

        async def take() -> None:
            while len(taken) < 6:
                taken.append(await queue.get())

        async with asyncio.TaskGroup() as group:
            group.create_task(put())
            group.create_task(take())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(2)
        done, _ = await asyncio.wait({asyncio.ensure_future(asyncio.sleep(n, n)) for n in (3, 1, 2)})
        assert len(done) == 3
        return taken

    for seed in range(20):
        assert run(main, seed=seed)[0] == list(range(6))


def test_only_steps_of_tasks_are_reordered() -> None:
    """Mailboxes hand over by call_soon and rely on asyncio's order among callbacks."""

    async def main() -> tuple[list[int], list[int]]:
        loop = asyncio.get_running_loop()
        called: list[int] = []
        stepped: list[int] = []

        async def step(number: int) -> None:
            stepped.append(number)

        async with anyio.create_task_group() as group:
            for number in range(6):
                loop.call_soon(called.append, number)
                group.start_soon(step, number)
        return called, stepped

    orders = set()
    for seed in range(20):
        (called, stepped), _ = run(main, seed=seed)
        assert called == list(range(6))
        orders.add(tuple(stepped))
    assert len(orders) > 10


def test_fifo_is_asyncios_own_order() -> None:
    """The policy to compare with: what a plain event loop would have done."""

    async def main() -> list[str]:
        log: list[str] = []

        async def worker(name: str) -> None:
            for turn in range(3):
                log.append(f"{name}{turn}")
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            for name in "abc":
                group.start_soon(worker, name)
        return log

    assert run(main, policy="fifo")[0] == asyncio.run(main())


def test_a_year_of_virtual_time_passes_at_once() -> None:
    """Time jumps to the next timer, exactly."""

    async def main() -> float:
        await anyio.sleep(365 * 86400)
        return asyncio.get_running_loop().time()

    assert run(main)[0] == 365 * 86400


def test_timers_that_were_cancelled_do_not_pile_up() -> None:
    """Each guarded wait leaves a timer behind that nobody waits for; long runs have millions."""

    async def main() -> int:
        for _ in range(5000):
            with anyio.move_on_after(3600):
                await anyio.sleep(0.001)
        loop: Any = asyncio.get_running_loop()
        return len(loop._scheduled)

    assert run(main)[0] < 300


def test_steps_may_cost_time() -> None:
    """Without a cost no timer fires while a task is ready; with one, a busy task meets its deadline."""

    async def main() -> bool:
        with anyio.move_on_after(0.01) as scope:
            while True:
                await anyio.lowlevel.checkpoint()
        return scope.cancelled_caught

    assert run(main, step_cost=0.0001)[0]
    with pytest.raises(StepLimitError, match="not over after 1000 steps"):
        run(main, max_steps=1000)


def test_deadlock_says_where_each_task_waits() -> None:
    """The message alone must show who waits for whom: a hung test tells nothing."""

    async def wait_for_mail(event: anyio.Event) -> None:
        await event.wait()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(wait_for_mail, anyio.Event(), name="reader")
            group.start_soon(anyio.sleep_forever, name="sleeper")

    with pytest.raises(DeadlockError) as caught:
        run(main)
    message = str(caught.value)
    assert "'reader' waits in test_deadlock_says_where_each_task_waits.<locals>.wait_for_mail (test_loop.py:" in message
    assert "'sleeper' waits in" in message
    assert "main' waits in" in message


def test_crash_takes_the_place_of_its_step() -> None:
    """Sweeping 1..steps must crash at every step once, and after the last one not at all."""

    async def main() -> str:
        await anyio.sleep(1)
        return "over"

    _, loop = run(main, seed=1)
    for step in range(1, loop.steps + 1):
        with pytest.raises(SimulatedCrash, match=f"step {step},"):
            run(main, seed=1, crash_at=step)
    assert run(main, seed=1, crash_at=loop.steps + 1)[0] == "over"


def test_crash_inside_a_step_ends_the_run_with_that_step() -> None:
    """A crash raised by the disk reaches a task, which would keep it to itself: others must not step again."""
    stepped_after: list[str] = []

    async def crash() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        await anyio.sleep(1)
        raise loop.crash("power")

    async def bystander() -> None:
        await anyio.sleep(1)
        await anyio.sleep(0.0001)
        stepped_after.append("stepped")

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(crash)
            group.start_soon(bystander)

    for seed in range(10):
        with pytest.raises(SimulatedCrash, match="power"):
            run(main, seed=seed)
    assert stepped_after == []


def test_anyio_is_changed_only_while_a_simulated_loop_runs() -> None:
    """Other tests of the process, and the program that embeds a simulation, need anyio as it is."""
    scope_init = anyio_asyncio.CancelScope.__init__
    in_thread = anyio_asyncio.AsyncIOBackend.__dict__["run_sync_in_worker_thread"]

    async def look() -> bool:
        return anyio_asyncio.CancelScope.__init__ is scope_init

    async def crash() -> None:
        raise SystemExit

    assert run(look)[0] is False
    with pytest.raises(SystemExit):
        run(crash)
    assert anyio_asyncio.CancelScope.__init__ is scope_init
    assert anyio_asyncio.AsyncIOBackend.__dict__["run_sync_in_worker_thread"] is in_thread
    assert gc.isenabled()


def test_another_thread_is_refused() -> None:
    """Its timing is the machine's: the run could not be repeated."""
    errors: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def call() -> None:
            try:
                loop.call_soon_threadsafe(print)
            except RuntimeError as error:
                errors.append(str(error))

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    run(main)
    assert errors == ["another thread called a simulated loop: run blocking calls by `World.offload`"]


def test_sets_of_tasks_and_futures_have_one_order() -> None:
    """asyncio.wait and user code keep tasks in sets, whose order by address differs in every process."""

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        tasks = {loop.create_task(asyncio.sleep(0), name=f"t{n}") for n in range(50)}
        futures = {loop.create_future(): n for n in range(50)}
        order = [task.get_name() for task in tasks]
        assert list(set(futures)) == sorted(futures, key=hash)
        await asyncio.wait(tasks)
        return order

    assert run(main)[0] == run(main)[0]


def test_speed_is_worth_having() -> None:
    """Thousands of seeds in a test run; the figure is printed, and asserted only far below what is usual."""

    async def main() -> None:
        sender, receiver = anyio.create_memory_object_stream[int](3)

        async def send() -> None:
            async with sender:
                for value in range(5000):
                    await sender.send(value)

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            async with receiver:
                async for _ in receiver:
                    pass

    for policy in POLICIES:
        start = time.process_time()
        _, loop = run(main, policy=policy)
        rate = loop.steps / (time.process_time() - start)
        print(f"{policy}: {rate:,.0f} steps/s")  # noqa: T201
        assert rate > 5_000
