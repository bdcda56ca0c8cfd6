"""Two processes run one job: a newer one takes over from an older one that does not know it yet.

    older   claim 1 ── reads, publishes, commits ──────────── x   must notice
    newer             claim 2 ── restores ── reads, publishes, commits ── end

Both live on one loop and one disk, so the seed interleaves their steps. The store's lock is what keeps honest processes
apart; here it lets everybody in, as a network disk that lost it would, and only attempt numbers are left.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from actorstream.errors import FencedError, JobFailed, StoreError
from actorstream.system.current import current_world, use_world
from actorstream.testing.faults import InterceptedFiles
from actorstream.testing.loop import SimulatedLoop
from actorstream.testing.run import run_simulated
from actorstream.testing.session import BrokenPromiseError
from actorstream.testing.surroundings import ticking
from tests.simulation.running import END_S, Plan, draw, make_run, new_machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.model.world import FileLock
    from actorstream.testing.faults import CallKind


class UnlockedFiles(InterceptedFiles):
    """A disk whose lock on the store lets everybody in; the logs' own locks work."""

    def _before(self, kind: CallKind, path: str, half: Callable[[], None] | None = None) -> None:
        """Let every call through."""

    def lock(self, path: str, /) -> FileLock | None:
        return _NoLock() if "/store/" in path else super().lock(path)


class _NoLock:
    def release(self) -> None:
        pass


def draw_zombie(seed: int) -> Plan:
    """Draw the job that both run."""
    rng = random.Random(f"zombie {seed}")
    return replace(draw(seed), restarts=False, interval=rng.choice((0.02, 0.06)), timeout=60.0, live=False)


def run_zombie(plan: Plan, mutant: Callable[[], AbstractContextManager[object]] = nullcontext) -> list[str]:
    """Run both to their ends and check; give how they ended.

    Raises:
        BrokenPromiseError: Neither finished, or what is committed is not exact.
    """
    with new_machine(plan) as (disk, oracles):
        with mutant():
            outcome = run_simulated(
                lambda: _both(plan, disk.root),
                seed=f"zombie {plan.seed}",
                policy=plan.policy,
                disk=disk,
                max_steps=200_000,
            )
        if outcome.error is not None:
            raise BrokenPromiseError("progress", f"{outcome.error!r}") from outcome.error
        if "finished" not in outcome.value():
            raise BrokenPromiseError("progress", f"neither finished: {outcome.value()}")
        disk.power_cut(random.Random(plan.seed))
        oracles.check(at_the_end=True)
        disk.kill()
        return outcome.value()


async def _both(plan: Plan, root: str) -> list[str]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    world = current_world()
    takes_over_after = loop.environment.random() * 0.6

    async def run(parallelism: int) -> None:
        with use_world(ticking(world, UnlockedFiles(world.files))):
            try:
                await make_run(plan, parallelism, root)
                ends.append("finished")
            except (JobFailed, StoreError) as error:
                cause = error.__cause__ if isinstance(error, JobFailed) else error
                if not isinstance(cause, StoreError):
                    raise
                ends.append("fenced" if isinstance(cause, FencedError) else f"failed: {cause}")

    ends: list[str] = []
    with anyio.fail_after(END_S):
        async with anyio.create_task_group() as group:
            group.start_soon(run, 1 + plan.seed % 3)
            await anyio.sleep(takes_over_after)
            group.start_soon(run, plan.sessions[-1].parallelism)
    return ends
