"""Where a bug is hunted: real code under simulation, seed by seed, or machines of state, history by history.

    in_jobs         keyed jobs, with crashes, power cuts, stops      cuts of checkpoints, output against models
    in_time         jobs of event time                               output against that of an undisturbed run
    in_topologies   random topologies by the public simulation       a named oracle
    in_replays      a pipeline over recorded logs, replayed          the bytes of a replay without the bug
    in_state        the machines of tests/state                      every reading against a plain dict

A hunt ends with the first thing that is broken. A run is made with the bug put in anew for each process of it.
"""

from __future__ import annotations

import os
from asyncio import CancelledError
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Any, TypeAlias
from unittest.mock import patch

import anyio
import pytest
from hypothesis import Phase
from hypothesis import seed as seeded

from actorstream.errors import ActorstreamError
from actorstream.testing.disk import temporary_disk
from actorstream.testing.loop import DeadlockError, StepLimitError
from actorstream.testing.run import run_simulated
from actorstream.testing.session import BrokenPromiseError, Session
from tests.evolve.replays import Manner, record, replay_in
from tests.simulation.evolution import run_evolution
from tests.simulation.running import Plan, draw, run_plan
from tests.simulation.time_running import draw_time, run_time_plan
from tests.simulation.topologies import draw_topology
from tests.simulation.topology_running import SimulatedTopology
from tests.simulation.zombies import draw_zombie, run_zombie
from tests.state.machines import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actorstream.testing.run import Outcome
    from tests.simulation.evolution_plans import Evolution
    from tests.state.handling import Handling

    Patches: TypeAlias = Callable[[], Sequence[AbstractContextManager[object]]]
    """What puts a bug in: made anew each time."""

Apply: TypeAlias = Callable[[], AbstractContextManager[object]]
"""Enters all patches of a bug."""

Hunt: TypeAlias = Callable[[Apply], "Found | None"]

SEEDS_MAX = 150
HISTORIES_MAX = 400


@dataclass(frozen=True)
class Found:
    """After how many tries a bug was found, seeds or histories, and by what."""

    tries: int
    what: str
    by: str


def at_work(patches: Patches) -> Apply:
    """Give what enters all patches, made anew each time."""

    @contextmanager
    def apply() -> Iterator[None]:
        with ExitStack() as stack:
            for each in patches():
                stack.enter_context(each)
            yield

    return apply


def by_seeds(run_seed: Callable[[int, Apply], object], oracle: str | None = None) -> Hunt:
    """Run seed after seed until an oracle breaks; with `oracle`, until that one does."""

    def hunt(apply: Apply) -> Found | None:
        for seed in range(SEEDS_MAX):
            try:
                run_seed(seed, apply)
            except BrokenPromiseError as broken:
                if oracle in {None, broken.oracle}:
                    refuse_accident(broken)
                    return Found(seed + 1, "seeds", broken.oracle)
        return None

    return hunt


def refuse_accident(broken: BaseException) -> None:
    """Raise AssertionError where something fell over instead of going wrong: a mutant that no longer fits the code.

    A call with a word that its function has no more would be "found" by the first seed, and prove nothing.
    """
    for error in _with_causes(broken):
        if not isinstance(error, (ActorstreamError, BrokenPromiseError, OSError, BaseExceptionGroup, *_ENDS)):
            raise AssertionError(f"the mutant does not fit the code any more: {error!r}") from broken


_ENDS = (CancelledError, anyio.WouldBlock, anyio.EndOfStream, DeadlockError, StepLimitError)
"""What ends a task, or says that nothing goes on: no accident."""


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _with_causes(each)
        error = error.__cause__ or error.__context__


def in_jobs(
    plan: Callable[[int], Plan] | None,
    fixed: Mapping[str, Any],
    *,
    zombie: bool,
    disk_fails: bool,
    evolve: Callable[[int], Evolution] | None,
) -> Hunt:
    """Hunt in jobs with keyed state; see `Area.in_jobs`."""

    def run_seed(seed: int, apply: Apply) -> None:
        if evolve is not None:
            run_evolution(evolve(seed), apply)
            return
        if zombie:
            run_zombie(replace(draw_zombie(seed), **fixed), apply)
            return
        drawn = draw(seed, **fixed) if plan is None else plan(seed)
        if disk_fails:
            failing = Session(drawn.sessions[0].parallelism, failing="/layers")
            drawn = replace(drawn, sessions=[failing, failing, drawn.sessions[-1]])
        run_plan(drawn, apply)

    return by_seeds(run_seed)


def in_time(fixed: Mapping[str, object]) -> Hunt:
    """Hunt in jobs of event time; see `Area.in_time`."""
    return by_seeds(lambda seed, apply: run_time_plan(draw_time(seed, **fixed), apply))


def in_topologies(oracle: str, plan: Mapping[str, Any], fixed: Mapping[str, object]) -> Hunt:
    """Hunt in random topologies; see `Area.in_topologies`."""

    def run_seed(seed: int, apply: Apply) -> None:
        running = SimulatedTopology(draw_topology(seed, **fixed), apply)
        running.run(replace(running.draw(seed), **plan))

    return by_seeds(run_seed, oracle)


def in_replays(case: str, manner: Mapping[str, Any]) -> Hunt:
    """Hunt in replays; see `Area.in_replays`."""

    def run_seed(seed: int, apply: Apply) -> None:
        outcome = _replay(case, Manner(**{"checkpoint": 0.02, **manner}), seed, apply)
        if outcome.error is not None:
            raise BrokenPromiseError("progress", "the replay failed") from outcome.error
        if outcome.value() != _right_replay(case):
            raise BrokenPromiseError("same bytes", f"{outcome.value()}, it must be {_right_replay(case)}")

    return by_seeds(run_seed)


@lru_cache
def _right_replay(case: str) -> Mapping[str, str]:
    return _replay(case, Manner(), 0, nullcontext).value()


def _replay(case: str, manner: Manner, seed: int, apply: Apply) -> Outcome[dict[str, str]]:
    with temporary_disk() as disk:
        root = Path(disk.root)

        async def main() -> dict[str, str]:
            await record(root, seed=4, count=60)
            # Else one that never ends only times out, and the replay goes on behind it.
            with apply(), patch.dict(os.environ, ACTORSTREAM_TOLERATED_FAILURES="0"):
                return await replay_in(manner, root, case, root / "into")

        return run_simulated(main, seed=seed, disk=disk, step_cost=0.0001)


def in_state(machine: type[Handling]) -> Hunt:
    """Hunt with a machine of state, without making short what fails.

    Any other error than of a comparison, or of the library itself, is one of the mutant.
    """

    def hunt(apply: Apply) -> Found | None:
        begun = 0

        class Counted(machine):  # type: ignore[valid-type, misc]
            def __init__(self) -> None:
                nonlocal begun
                begun += 1
                super().__init__()

        with apply():
            try:
                run(seeded(1)(Counted), HISTORIES_MAX, [Phase.generate])
            except (AssertionError, ActorstreamError, pytest.fail.Exception) as error:
                ours = [frame.name for frame in extract_tb(error.__traceback__) if "/tests/state/" in frame.filename]
                by = f"{ours[-1]}: {type(error).__name__}"
                return Found(begun - 1, "histories", by)  # the failing one was run twice
        return None

    return hunt
