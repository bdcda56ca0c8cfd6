"""Runs a simulated job through crashes, cuts, stops and restarts, as one seed draws it.

    plan = draw(seed)                       which job, how it is scheduled, what happens to it
    run_plan(plan)                          raises BrokenPromiseError

A plan is a row of sessions on one disk. A session is one process: it runs the job to its end, to a clean stop, or to
its death; then the machine is killed or loses its power, and the oracles look at the disk. The last session is left
alone and must finish. The real pipeline, runtime, state, store and logs run; only clock, threads, disk and randomness
are simulated. Time passes while code runs (`_TickingClock`), so that bursts end, and slices are cut, anywhere.
"""

from __future__ import annotations

import asyncio
import errno
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal
from unittest.mock import patch

import anyio

from actorstream.api.run import Run
from actorstream.api.settings import Settings
from actorstream.errors import JobFailed, StoreError
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.positions import LogPosition
from actorstream.model.connect import Fetched
from actorstream.model.ids import CheckpointId
from actorstream.model.world import World
from actorstream.protocol.restart import Restart
from actorstream.runtime.mailbox import Mailbox
from actorstream.system.current import current_world, use_world
from actorstream.testing.disk import SimulatedDisk
from actorstream.testing.loop import SimulatedLoop
from actorstream.testing.run import run_simulated
from actorstream.testing.world import START_US
from tests.simulation.jobs import JOBS, Event, Result, make_events
from tests.simulation.oracles import BrokenPromiseError, Oracles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.api.job import Job
    from actorstream.eventlog.view import LogView
    from actorstream.model.connect import Source
    from actorstream.testing.loop import Policy
    from actorstream.testing.run import Outcome
    from tests.simulation.jobs import SimulatedJob

MEMORY_FOLDER = "/dev/shm"
PARTITIONS = 2
TICK_S = 0.00005
END_S = 600.0
STEPS_MAX = 100_000
STEPS_USUAL = 3_000
OPERATIONS_USUAL = 500


@dataclass(frozen=True)
class Session:
    """One process of a plan. With neither crash nor stop it runs to the end.

    Attributes:
        parallelism: Of the job.
        crash_step: Dies in place of this step of the loop.
        crash_operation: Dies in place of this change of the disk.
        power: The machine loses power after it, else the process is only gone.
        stop_after: Leaves the job, with a final checkpoint, after so many virtual seconds.
        faults: errno by the number of the change of the disk that fails.
    """

    parallelism: int = 1
    crash_step: int | None = None
    crash_operation: int | None = None
    power: bool = False
    stop_after: float | None = None
    faults: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """All that one run consists of."""

    seed: int
    job: str = "keyed"
    policy: Policy = "random"
    events: int = 40
    sessions: Sequence[Session] = (Session(),)
    wire: bool = False
    lane_records: int = 100
    interval: float | None = 0.06
    timeout: float = 60.0
    retained: int = 3
    early_freezes: bool = False
    call_delay: float = 0.01


def draw(seed: int, **fixed: object) -> Plan:
    """Draw a plan; `fixed` are attributes that are not left to chance."""
    rng = random.Random(f"plan {seed}")
    parallelism = rng.randint(1, 3)
    sessions = []
    for _ in range(rng.randint(1, 4)):
        session = Session(parallelism, power=rng.random() < 0.6)
        kind = rng.random()
        if kind < 0.45:
            session = replace(session, crash_step=1 + int(rng.random() * STEPS_USUAL))
        elif kind < 0.8:
            session = replace(session, crash_operation=1 + int(rng.random() * OPERATIONS_USUAL))
        else:
            session = replace(session, stop_after=rng.random() * 0.6)
        sessions.append(session)
        if rng.random() < 0.4:
            parallelism = rng.randint(1, 3)
    sessions.append(Session(parallelism, power=True))
    drawn = Plan(
        seed,
        job=rng.choice(list(JOBS)),
        policy=rng.choice(("fifo", "random", "random", "pct")),
        events=rng.choice((20, 40, 60)),
        sessions=tuple(sessions),
        wire=rng.random() < 0.3,
        lane_records=rng.choice((1, 40, 100, 2_048)),
        interval=rng.choice((0.02, 0.06, 0.06, 0.2)),
        timeout=rng.choice((0.03, 0.06, 60.0, 60.0)),
        retained=rng.choice((1, 2, 100)),
        early_freezes=rng.random() < 0.4,
        call_delay=rng.choice((0.001, 0.01, 0.01)),
    )
    return replace(drawn, **fixed)  # type: ignore[arg-type]


def run_plan(plan: Plan, mutant: Callable[[], object] | None = None) -> Oracles:
    """Run all sessions, `mutant` at work inside them, and check after each.

    Raises:
        BrokenPromiseError: The oracle that is violated, also that a session failed or did not end.
    """
    with ExitStack() as stack:
        root = stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY_FOLDER))
        inputs = _lay_out(root, plan)
        disk = SimulatedDisk(root)
        oracles = Oracles(disk, JOBS[plan.job], inputs)
        start_us = START_US
        for number, session in enumerate(plan.sessions):
            outcome = run_session(plan, number, disk, start_us)
            start_us = outcome.ended_us
            judge(outcome, session)
            if session.power:
                disk.power_cut(random.Random(f"{plan.seed} {number}"))
            else:
                disk.kill()
            oracles.check(at_the_end=outcome.result == "finished")
            disk.kill()
        if outcome.result != "finished":
            raise BrokenPromiseError("progress", f"the last session is {outcome}")
    return oracles
