"""One measurement of `state`, in a process of its own: `python -m benchmarks.state_child TASK STORE KEYS ...`.

    fill     STORE KEYS                      every key once, checkpoints every second, a stop with a final checkpoint
    restart  STORE KEYS SPAWNED_NS           to the first record that the store does not know
    stalls   STORE KEYS CHANGED CALM         change so many keys, then a checkpoint while the loop is saturated;
                                             with CALM=1 the collector is as `actorstream run` sets it
    memory   STORE KEYS MILLISECONDS BUDGET  all keys once, then random updates, with state_memory=BUDGET

Prints one line of JSON. All but `fill` end with SIGKILL to themselves. A wrong result ends them with an error.
"""

# ruff: noqa: E402, PLC0415  (the first thing to happen is a look at the clock; imports are part of what is measured)

import time

UP_NS = time.monotonic_ns()

import asyncio
import json
import os
import random
import signal
import sys
from itertools import chain, count, repeat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOT_KEYS = 1_000
_BASELINE_SECONDS = 0.5
_NANO = 1e9


async def fill(store: str, keys: int) -> None:
    """Make a store that holds so many keys."""
    from benchmarks.state_job import Check, Numbers, each_once, start

    check = Check(keys)
    began = time.monotonic()
    async with start(Numbers(each_once(keys)), check.take, store=store):
        await check.wait(keys)
    _say({"seconds": time.monotonic() - began})


async def restart(store: str, keys: int, spawned_ns: int) -> None:
    """Restore, and take the first record that the store does not know."""
    from benchmarks.state_job import Check, Numbers, key_of, start

    imported_ns = time.monotonic_ns()
    check = Check(keys, visited=1)
    source = Numbers(lambda first: (key_of(number, keys) for number in count(first)))
    async with start(source, check.take, store=store, checkpoint_interval=None):
        up_ns = time.monotonic_ns()
        await check.wait(1)
        first_ns = time.monotonic_ns()
        _say(
            {
                "interpreter": (UP_NS - spawned_ns) / _NANO,
                "imports": (imported_ns - UP_NS) / _NANO,
                "restore": (up_ns - imported_ns) / _NANO,
                "record": (first_ns - up_ns) / _NANO,
                "from_spawn": (first_ns - spawned_ns) / _NANO,
                "from_interpreter": (first_ns - UP_NS) / _NANO,
            }
        )
        _die()  # the store stays as it was, for the next restart


async def stalls(store: str, keys: int, changed: int, *, calm: bool) -> None:
    """Watch the loop during one checkpoint, and before it for comparison."""
    from actorstream.cli.running import calm_collector
    from benchmarks.loop_stalls import Watchdog, longest
    from benchmarks.state_job import Check, Numbers, key_of, start

    if calm:
        calm_collector()
    hot = min(_HOT_KEYS, changed)

    def updates(first: int) -> "Iterator[int]":
        changes = (key_of(number, keys) for number in range(first, first + changed))
        return chain(changes, (key_of(first + number % hot, keys) for number in count()))

    check = Check(keys, visited=1)
    run = start(Numbers(updates), check.take, store=store, checkpoint_interval=None)
    async with run as job, Watchdog() as dog:
        await check.wait(changed)
        dog.take()
        records = check.records
        await asyncio.sleep(_BASELINE_SECONDS)
        before, rate_before = longest(dog.take()), (check.records - records) / _BASELINE_SECONDS
        records, began = check.records, time.monotonic()
        await job.checkpoint()
        seconds = time.monotonic() - began
        during = dog.take()
        worst = longest(during)
        _say(
            {
                "seconds": seconds,
                "entries": job.metrics()["job.last_checkpoint_entries"],
                "stall": worst.late,
                "stall_cpu": worst.cpu,
                "stall_gc": worst.gc,
                "stall_no_core": worst.no_core,
                "stall_rest": worst.rest,
                "stall_own": max(stall.late - stall.no_core for stall in during),
                "over_10_ms": sum(stall.late > 0.010 for stall in during),
                "stall_before": before.late,
                "records_per_second": (check.records - records) / seconds,
                "records_per_second_before": rate_before,
            }
        )
        _die()


async def memory(store: str, keys: int, seconds: float, budget: int) -> None:
    """Update random keys for a while; every result is compared."""
    from benchmarks.state_job import Check, Numbers, key_of, start

    draw = random.Random(keys).random

    def updates(first: int) -> "Iterator[int]":
        once = (key_of(number, keys) for number in range(first, keys))
        return chain(once, (int(draw() * keys) for _ in repeat(None)))

    check = Check(keys)
    before = _status("VmRSS")
    async with start(Numbers(updates), check.take, store=store, state_memory=budget) as job:
        began = time.monotonic()
        await check.wait(keys)
        filled = time.monotonic() - began
        records = check.records
        await asyncio.sleep(seconds)
        _say(
            {
                "before": before,
                "peak": _status("VmHWM"),
                "fill_records_per_second": keys / filled,
                "records_per_second": (check.records - records) / seconds,
                "checkpoints": job.summary().checkpoints,
            }
        )
        _die()


def _status(name: str) -> int:
    """Read bytes of memory from the system's account of this process."""
    with open("/proc/self/status", encoding="utf-8") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _say(found: dict[str, float]) -> None:
    print(json.dumps(found), flush=True)


def _die() -> None:
    """End without a final checkpoint, which nobody needs."""
    os.kill(os.getpid(), signal.SIGKILL)


def main(task: str, store: str, *numbers: str) -> None:
    """Do one task."""
    match task, [int(number) for number in numbers]:
        case "fill", [keys]:
            asyncio.run(fill(store, keys))
        case "restart", [keys, spawned_ns]:
            asyncio.run(restart(store, keys, spawned_ns))
        case "stalls", [keys, changed, calm]:
            asyncio.run(stalls(store, keys, changed, calm=bool(calm)))
        case "memory", [keys, milliseconds, budget]:
            asyncio.run(memory(store, keys, milliseconds / 1_000, budget))
        case _:
            raise SystemExit(f"there is no task {task!r} of {len(numbers)} numbers")


if __name__ == "__main__":
    main(*sys.argv[1:])
