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
import tempfile
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias
from unittest.mock import patch

import anyio

from actorstream.api.run import Run
from actorstream.api.settings import Settings
from actorstream.errors import StoreError
from actorstream.eventlog.log import EventLog
from actorstream.protocol.restart import Restart
from actorstream.runtime.subtask import Subtask
from actorstream.system.current import current_world, use_world
from actorstream.testing.disk import SimulatedDisk
from actorstream.testing.ends import Pile, Trickle
from actorstream.testing.loop import SimulatedLoop
from actorstream.testing.run import run_simulated
from actorstream.testing.session import BrokenPromiseError, Session, judge
from actorstream.testing.surroundings import FailingFiles, bounded_mailboxes, freeze_early, ticking
from actorstream.testing.world import START_US
from tests.simulation.inputs import (
    MEMORY_FOLDER,
    PARTITIONS,
    Shape,
    ends_of,
    events_of,
    input_log,
    lay_out,
    partitions_of,
)
from tests.simulation.jobs import DRAWN, JOBS
from tests.simulation.oracles import Oracles
from tests.simulation.stages import Event, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from actorstream.api.options import RunOptions
    from actorstream.api.settings import SettingValues
    from actorstream.graph.nodes import LogicalGraph
    from actorstream.model.connect import Source
    from actorstream.model.ids import ChannelIndex
    from actorstream.model.signals import ChannelItem
    from actorstream.testing.loop import Policy
    from actorstream.testing.run import Outcome

END_S = 120.0
STEPS_MAX = 50_000
STEPS_USUAL = 600
OPERATIONS_USUAL = 120


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
    early_freezes: float = 0.0
    pause: float = 0.02
    call_delay: float = 0.01
    restarts: bool = True
    live: bool = False
    pad: int = 0
    in_memory: bool = False
    alignment: float | None = None
    dawdles: float = 0.0

    @property
    def shape(self) -> Shape:
        """What its inputs are."""
        return Shape(self.events, self.seed % 4, self.pad)


Main: TypeAlias = "Callable[[Plan, Session, str], Coroutine[Any, Any, str]]"
"""The program of a simulated process: of a plan, its session, and a folder."""


@contextmanager
def dawdling(most: float) -> Iterator[None]:
    """Let each actor take its time over what its lanes bring, so that they fill, and each is read in its own order."""
    real = Subtask._on_item

    async def on_item(self: Subtask, channel: ChannelIndex, item: ChannelItem) -> None:
        environment = asyncio.get_running_loop().environment  # type: ignore[attr-defined]
        if environment.random() < 0.5:
            await anyio.sleep(environment.random() * most)
        await real(self, channel, item)

    with patch.object(Subtask, "_on_item", on_item):
        yield


@dataclass(frozen=True)
class Story:
    """How a plan went: the end of each session, and how many checkpoints were read back."""

    outcomes: Sequence[Outcome[str]]
    cuts: int


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
        if rng.random() < 0.15:
            changes = range(1, OPERATIONS_USUAL)
            faults = {
                change: rng.choice((errno.EIO, errno.ENOSPC)) for change in rng.sample(changes, rng.randint(1, 3))
            }
            session = replace(session, faults=faults)
        elif rng.random() < 0.15:
            session = replace(session, failing=rng.choice(("/layers", "/checkpoints", "/staged")))
        sessions.append(session)
        if rng.random() < 0.4:
            parallelism = rng.randint(1, 3)
    sessions.append(Session(parallelism, power=True))
    drawn = Plan(
        seed,
        job=rng.choice(DRAWN),
        policy=rng.choice(("fifo", "random", "random", "pct")),
        events=rng.choice((20, 40, 60)),
        sessions=tuple(sessions),
        wire=rng.random() < 0.3,
        lane_records=rng.choice((1, 40, 100, 2_048)),
        interval=rng.choice((0.02, 0.06, 0.06, 0.2)),
        timeout=rng.choice((0.03, 0.06, 60.0, 60.0)),
        retained=rng.choice((1, 2, 100)),
        early_freezes=rng.choice((0.0, 0.0, 0.0, 0.02, 0.004)),
        pause=rng.choice((0.0, 0.004, 0.02, 0.02)),
        call_delay=rng.choice((0.001, 0.01, 0.01)),
        live=rng.random() < 0.25,
        pad=12_000 if rng.random() < 0.1 else 0,
        in_memory=rng.random() < 0.25,
        alignment=rng.choice((None, None, 0.0, 0.0, 0.005, 0.03)),
    )
    if drawn.alignment is not None:
        drawn = replace(drawn, dawdles=rng.choice((0.0, 0.005, 0.02)))
    return replace(drawn, **fixed)  # type: ignore[arg-type]


def run_plan(plan: Plan, mutant: Callable[[], AbstractContextManager[object]] = nullcontext) -> Story:
    """Run all sessions, `mutant` at work inside them, and check after each.

    Raises:
        BrokenPromiseError: The oracle that is violated, also that a session failed or did not end; a note says how to
            repeat the run.
    """
    try:
        return _run_plan(plan, mutant)
    except BrokenPromiseError as broken:
        broken.add_note(f"again: run_plan({plan!r})")
        raise


def _run_plan(plan: Plan, mutant: Callable[[], AbstractContextManager[object]]) -> Story:
    with new_machine(plan) as (disk, oracles):
        start_us = START_US
        outcomes: list[Outcome[str]] = []
        for number, session in enumerate(plan.sessions):
            with mutant():
                outcome = run_session(plan, number, disk, start_us)
            start_us = outcome.ended_us
            outcomes.append(outcome)
            judge(outcome.error, session)
            if session.power:
                disk.power_cut(random.Random(f"{plan.seed} {number}"))
            else:
                disk.kill()
            oracles.check(at_the_end=outcome.result == "finished")
            disk.kill()
        if outcomes[-1].result != "finished":
            raise BrokenPromiseError("progress", f"the last session is {outcomes[-1]}")
    return Story(outcomes, oracles.cuts)


@contextmanager
def new_machine(plan: Plan) -> Iterator[tuple[SimulatedDisk, Oracles]]:
    """Give a disk with the plan's input on it, and what watches it."""
    with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER) as root:
        inputs = {source: partitions_of(source, plan.shape) for source in JOBS[plan.job].sources}
        if not plan.live:
            for source in inputs:
                lay_out(f"{root}/in-{source}", source, plan.shape)
        disk = SimulatedDisk(root)
        yield disk, Oracles(disk, JOBS[plan.job], inputs)


def run_session(
    plan: Plan, number: int, disk: SimulatedDisk, start_us: int, main: Main | None = None, kind: str = ""
) -> Outcome[str]:
    """Run one process of the plan; its result is "finished" or "stopped". `kind` gives a seed chances of its own."""
    session = plan.sessions[number]
    with bounded_mailboxes(plan.lane_records), dawdling(plan.dawdles) if plan.dawdles else nullcontext():
        return run_simulated(
            lambda: (main or _main)(plan, session, disk.root),
            seed=f"{kind}{plan.seed} {number}",
            policy=plan.policy,
            disk=disk,
            crash_at=session.crash_step,
            crash_at_operation=session.crash_operation,
            fail_at=session.faults,
            start_us=start_us,
            max_steps=STEPS_MAX if main is None else 2 * STEPS_MAX,  # jobs of event time take more turns
            call_delay=plan.call_delay,
        )


async def _main(plan: Plan, session: Session, root: str) -> str:
    """The program of the simulated process."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    world = current_world()
    files = FailingFiles(world.files, session.failing, loop.environment) if session.failing else world.files
    with use_world(ticking(world, files)), anyio.fail_after(END_S):
        async with make_run(plan, session.parallelism, root) as job:
            beside = []
            if plan.early_freezes:
                beside.append(
                    loop.create_task(freeze_early(job, plan.early_freezes, loop.environment), name="memory pressure")
                )
            if plan.live:
                feeds = (feed(plan, source, root) for source in JOBS[plan.job].sources)
                beside += [loop.create_task(feed, name="feed") for feed in feeds]
            try:
                if session.stop_after is None:
                    await job.wait()
                    return "finished"
                await anyio.sleep(session.stop_after)
            finally:
                for task in beside:
                    task.cancel()
    return "stopped"


def make_run(
    plan: Plan,
    parallelism: int,
    root: str,
    *,
    change: Callable[[LogicalGraph], LogicalGraph] = lambda graph: graph,
    settings: SettingValues | None = None,
    options: RunOptions | None = None,
) -> Run:
    """Make the job's run over the logs below `root`; `change` edits its graph, the rest goes on top of the plan's."""
    job = JOBS[plan.job]
    sources: dict[str, Source[Event, int]] = {}
    for source in job.sources:
        if plan.in_memory and not plan.live:
            sources[source] = Pile(partitions_of(source, plan.shape), plan.pause)
        else:
            view = input_log(f"{root}/in-{source}").view(stop=ends_of(source, plan.shape))
            sources[source] = Trickle(view, plan.pause)
    sinks = {
        sink: EventLog(Result, f"{root}/{sink}", partitions=PARTITIONS, key=lambda result: result.key)
        for sink in job.outputs
    }
    values: SettingValues = {
        "burst": 0.0001,
        "retained": plan.retained,
        "checkpoint_timeout": plan.timeout,
        "tolerated_failures": -1,
        "alignment_timeout": plan.alignment,
    }
    values.update(settings or {})
    usual: RunOptions = {
        "store": f"{root}/store",
        "parallelism": parallelism,
        "checkpoint_interval": plan.interval,
        "restart": Restart.fixed_delay(100, delay=0.05) if plan.restarts else Restart.never(),
        "settings": Settings(**values),
    }
    usual.update(options or {})
    return Run(change(job.pipeline(sources, sinks).draft.graph()), usual, wire=plan.wire)


async def feed(plan: Plan, source: str, root: str) -> None:
    """Append what is not in the log yet, as a service does while its job runs."""
    rng = asyncio.get_running_loop().environment  # type: ignore[attr-defined]
    events = events_of(source, plan.shape)
    log = input_log(f"{root}/in-{source}")
    while True:
        try:
            there = (await log.summary()).records
            if there == len(events):
                return
            await log.extend(events[there : there + rng.randint(1, 5)])
        except StoreError:
            await log.aclose()  # a disk fault: look again what is there
        await anyio.sleep(rng.random() * 0.03)
