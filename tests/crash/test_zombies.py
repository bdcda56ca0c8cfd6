"""A process that freezes and wakes up after another has taken over neither publishes nor commits, and says why.

    first    ── up ── commits ── SIGSTOP ................................. SIGCONT ── FencedError, status 1
    second                           take_over=True ── goes on to the end ──
    both logs of output: every record once, in order, with the right state in it

Where the first one freezes while it writes to a log it holds the log's lock: then the second one is refused by the name
of that log, the first one wakes up, completes what it was at, and is fenced; a third goes on.
"""

from __future__ import annotations

import os
import random
import signal
from contextlib import AsyncExitStack
from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.crash.orders import Order
from tests.crash.test_sigkill import say
from tests.crash.zombie import (
    Load,
    append,
    check,
    comes_up,
    take_over,
    until_checkpoints,
    until_committed,
    until_it_stops,
    wake_up,
    zombie,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.crash.process import Child

SEED = int(os.environ.get("ZOMBIE_SEED", "7"))
ORDERS = [Order(number, f"customer {number % 7}", number * 37 % 101) for number in range(240)]
BEFORE, WITH = 60, 160
"""So many are committed before the process freezes, and so many are there then."""
TRIES = 4
"""So often a process may freeze while another thread of it holds a log by chance."""

# Where a commit is cut: by the call before which the process stops. True: it then holds a log.
POINTS = {
    "output is staged": ("sync */updates/staged/*-open", False),
    "output is staged, the checkpoint not written": ("make_dirs */checkpoints/*", False),
    "the draft is half there": ("sync */manifest.json.*.draft", False),
    "after the last look, before the link": ("link */manifest.json", False),
    "linked, not yet durable": ("unlink */manifest.json.*.draft", False),
    "published, nobody told": ("link */completed", False),
    "the staged file is looked at, before the log's transaction": ("look */updates/staged/*-[0-9]*", False),
    "inside the log's transaction": ("read */updates/staged/*-[0-9]*", True),
    "committed, the lock still held": ("synced */updates/segments/*", True),
    "committed, not tidied up": ("unlink */updates/staged/*-[0-9]", False),
}

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(90)]


async def freeze_and_take_over(folder: Path, point: str) -> tuple[str, bool]:
    """Do all of the drawing above; give where the first one froze, and whether the second could go on meanwhile."""
    assert await append(folder, ORDERS[:BEFORE])
    async with zombie(folder) as first:
        first.tell("begin")
        await first.until("up")
        await until_committed(folder, BEFORE)
        await until_checkpoints(folder, 2)  # what was committed can be read before all is done that belongs to it
        first.tell(f"freeze {point}")
        await first.until("told")
        assert await append(folder, ORDERS[BEFORE:WITH])
        where = await until_it_stops(first)
        if where.startswith("past"):
            return where, True
        went_on = await take_over(folder, ORDERS)
        await wake_up(first)
    if not went_on:
        assert await take_over(folder, ORDERS)
    await check(folder, ORDERS)
    return where, went_on


@pytest.mark.parametrize("point", POINTS)
async def test_a_process_that_froze_inside_a_commit_is_fenced_when_it_wakes_up(point: str, tmp_path: Path) -> None:
    """T105: what it was at may have come to its end, or not; nothing after it counts.

    All threads stop, and one of them may be at the other log, or at this one for the other subtask: then it is held.
    """
    call, holds_the_log = POINTS[point]
    went_on, tries = False, 0
    while not went_on and tries < (1 if holds_the_log else TRIES):
        folder = tmp_path / str(tries)
        folder.mkdir()
        where, went_on = await freeze_and_take_over(folder, f"before {call}")
        assert where.startswith("freezes"), where
        tries += 1
    assert went_on is not holds_the_log


@pytest.mark.verify
@pytest.mark.timeout(1_200)
async def test_a_process_may_freeze_at_every_file_call_of_a_commit(tmp_path: Path) -> None:
    """Some seventy places, each with processes and logs of its own."""
    held = 0
    for nth in count(1):
        folder = tmp_path / str(nth)
        folder.mkdir()
        where, went_on = await freeze_and_take_over(folder, f"at {nth}")
        say(f"{nth} {where} {'went on' if went_on else 'refused'}")
        if where.startswith("past"):
            break
        held += not went_on
    assert nth > 50, "the sweep came by what it is for"
    assert 0 < held < nth / 2


@pytest.mark.parametrize(
    "freezes",
    [pytest.param(3, id="3"), pytest.param(30, id="30", marks=[pytest.mark.verify, pytest.mark.timeout(600)])],
)
async def test_processes_that_freeze_under_load_at_any_moment_are_fenced(freezes: int, tmp_path: Path) -> None:
    """One after another takes over from a frozen one, beside which the load goes on; all of them wake up again.

    One that finds a log held by a frozen process is refused; it has fenced that process off by then.
    """
    say(f"ZOMBIE_SEED={SEED}")
    load, rng = Load(tmp_path, random.Random(SEED)), random.Random(SEED + 1)
    refused = 0
    async with AsyncExitStack() as stack:
        frozen: list[Child] = []
        for number in range(freezes):
            child = await stack.enter_async_context(zombie(tmp_path, take_over=True))
            child.tell("begin")
            if await comes_up(child):
                if rng.random() < 0.5:  # they wake up beside the one that has taken over
                    await load.beside(*map(wake_up, frozen))
                    frozen = []
                await load.append_for(0.5 * rng.random())
                child.signal(signal.SIGSTOP)
                frozen.append(child)
            else:
                refused += 1
                await load.beside(*map(wake_up, frozen))
                frozen = []
            say(f"{number}: {len(load.orders)} orders, {len(frozen)} are frozen, {refused} were refused")
        went_on = await take_over(tmp_path, load.orders)
        for child in frozen:
            await wake_up(child)
    if not went_on:
        assert frozen, "nobody else can have held a log"
        assert await take_over(tmp_path, load.orders)
    await check(tmp_path, load.orders)
    assert refused <= freezes // 2
