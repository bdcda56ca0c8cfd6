"""One measurement of `rescale`, in a process of its own: `python -m benchmarks.rescale_child TASK STORE KEYS ...`.

    rescale    STORE KEYS ROUNDS RATE MEMORY          fill a new store, every key once; then 1 to 2, 2 to 4, 4 to 1
                                                      subtasks under load, each followed by records for many keys,
                                                      and 1 to 2 again right after a savepoint
    restart    STORE KEYS READ                        from the store's newest checkpoint to the job being open
    savepoint  STORE KEYS READ NUMBER                 one of unchanged state, one after 1 % of the keys have changed
    restore    STORE KEYS READ SAVEPOINT              into a store that is not there yet, from a savepoint's folder
    fork       STORE KEYS READ SAVEPOINT NUMBER RATE  the same, beside the running origin

READ is how many records the store has seen: what `rescale` says. Prints one line of
JSON. All but `rescale` end with SIGKILL to themselves: the store stays as it was.
A wrong result ends them with an error.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from itertools import product
from typing import TYPE_CHECKING

from benchmarks.errors import WrongOutputError
from benchmarks.rescale_job import SPLITS, CheckOn, Load, Outputs, start

if TYPE_CHECKING:
    from actorstream import Job

STEPS = ("1 to 2", "2 to 4", "4 to 1", "1 to 2 after a savepoint")
_BURST_RECORDS = 200_000
_SETTLE_SECONDS = 1.5
_AFTER_SECONDS = 0.5


async def rescale(store: str, keys: int, rounds: int, rate: float, memory: int) -> None:
    """Fill a store and rescale under load, with as much of the state in memory as its budget allows."""
    load, check = Load(keys), CheckOn(keys, 0)
    outputs = Outputs(check)
    found: dict[str, float] = {}
    load.burst(keys)
    async with start(load, outputs.take, store=store, state_memory=memory) as job:
        for number, step in product(range(rounds), STEPS):
            await check.wait(load.due)
            load.steady(rate)
            await _caught_up(load, check)
            if step.endswith("savepoint"):
                await job.savepoint(f"round-{number}")
            await asyncio.sleep(_SETTLE_SECONDS)
            found |= {f"{number}: {name}": seconds for name, seconds in (await _rescale(job, step, outputs)).items()}
            load.steady(0)
            load.burst(min(keys, _BURST_RECORDS))
            if step == STEPS[-1]:
                await job.rescale(1)
        # Each record that comes is compared with the number of those before it; none may be missing, and no more come.
        await check.wait(load.due)
        await asyncio.sleep(_AFTER_SECONDS)
        if check.records != load.due:
            raise WrongOutputError(
                f"{check.records} records came out, expected {load.due}; measure nothing before this is mended"
            )
    _say({**found, "read": load.due})


async def _rescale(job: Job, step: str, outputs: Outputs) -> dict[str, float]:
    outputs.take_longest()
    await asyncio.sleep(_AFTER_SECONDS)
    before = outputs.take_longest()
    began = time.monotonic()
    await job.rescale(int(step.split()[2]))
    seconds = time.monotonic() - began
    await asyncio.sleep(_AFTER_SECONDS)
    return {f"{step}, before": before, f"{step}, in all": seconds, f"{step}, pause": outputs.take_longest()}


async def _caught_up(load: Load, check: CheckOn) -> None:
    """Wait until the load's backlog is worked off, but for what came due just now."""
    while (due := load.due) > check.records:
        await check.wait(due)


async def restart(store: str, keys: int, read: int) -> None:
    """Go on from the store's newest checkpoint."""
    load, check = Load(keys, read), CheckOn(keys, read)
    began = time.monotonic()
    async with start(load, check.take, store=store, checkpoint_interval=None):
        seconds = time.monotonic() - began
        await _one_of_each(load, check)
        _say({"seconds": seconds})
        _die()


async def savepoint(store: str, keys: int, read: int, number: int) -> None:
    """Take two savepoints: of what is in layers already, and with something to write."""
    load, check = Load(keys, read), CheckOn(keys, read)
    async with start(load, check.take, store=store, checkpoint_interval=None) as job:
        unchanged = await _seconds_of_savepoint(job, f"unchanged-{number}")
        load.burst(max(SPLITS, keys // 100))
        await check.wait(load.due - read)
        changed = await _seconds_of_savepoint(job, f"changed-{number}")
        _say({"unchanged": unchanged, "changed": changed})
        _die()


async def _seconds_of_savepoint(job: Job, name: str) -> float:
    began = time.monotonic()
    await job.savepoint(name)
    return time.monotonic() - began


async def restore(store: str, keys: int, read: int, place: str) -> None:
    """Begin a store from a savepoint."""
    load, check = Load(keys, read), CheckOn(keys, read)
    began = time.monotonic()
    async with start(load, check.take, store=store, restore=place, checkpoint_interval=None):
        seconds = time.monotonic() - began
        await _one_of_each(load, check)
        _say({"seconds": seconds})
        _die()


async def fork(store: str, keys: int, read: int, beginning: tuple[str, int], rate: float) -> None:
    """Begin a fork beside its origin, which goes on under its load."""
    load, check = Load(keys, read), CheckOn(keys, read)
    outputs = Outputs(check)
    forked, forked_check = Load(keys, read), CheckOn(keys, read)
    place, number = beginning
    async with start(load, outputs.take, store=store, checkpoint_interval=None):
        load.steady(rate)
        await asyncio.sleep(_SETTLE_SECONDS)
        outputs.take_longest()
        began = time.monotonic()
        run = start(
            forked, forked_check.take, store=store, restore=place, fork=f"fork-{number}", checkpoint_interval=None
        )
        async with run:
            seconds = time.monotonic() - began
            await _one_of_each(forked, forked_check)
            await asyncio.sleep(_AFTER_SECONDS)
            _say({"seconds": seconds, "origin": outputs.take_longest()})
            _die()


async def _one_of_each(load: Load, check: CheckOn) -> None:
    """See that the job has state and positions: take one record of each split."""
    load.burst(SPLITS)
    await check.wait(SPLITS)


def _say(found: dict[str, float]) -> None:
    print(json.dumps(found), flush=True)


def _die() -> None:
    """End without a final checkpoint, which nobody needs."""
    os.kill(os.getpid(), signal.SIGKILL)


def main(task: str, store: str, keys: str, *more: str) -> None:
    """Do one task."""
    match task, more:
        case "rescale", [rounds, rate, memory]:
            asyncio.run(rescale(store, int(keys), int(rounds), float(rate), int(memory)))
        case "restart", [read]:
            asyncio.run(restart(store, int(keys), int(read)))
        case "savepoint", [read, number]:
            asyncio.run(savepoint(store, int(keys), int(read), int(number)))
        case "restore", [read, place]:
            asyncio.run(restore(store, int(keys), int(read), place))
        case "fork", [read, place, number, rate]:
            asyncio.run(fork(store, int(keys), int(read), (place, int(number)), float(rate)))
        case _:
            raise SystemExit(f"there is no task {task!r} with {more}")


if __name__ == "__main__":
    main(*sys.argv[1:])
