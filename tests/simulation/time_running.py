"""Runs a job of event time through a plan, and compares what it has committed with an undisturbed run.

prefix      what is committed of a key is how the undisturbed run begins (where no order is fixed: a part of it)
kept        what was committed once is there for ever
complete    (at the end) nothing is missing: what was late is late, and nothing else
once        (of jobs that flicker, whose lateness is chance) no window twice, and each record once, in a result or late
monotone    no clock of any actor ever goes back, nor behind what the checkpoint says
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import anyio

from actorstream.api.run import Run
from actorstream.api.settings import Settings
from actorstream.eventlog.log import EventLog
from actorstream.protocol.restart import Restart
from actorstream.system.current import current_world, use_world
from actorstream.testing.disk import SimulatedDisk
from actorstream.testing.session import BrokenPromiseError, Session, judge
from actorstream.testing.surroundings import FailingFiles, rescale_now_and_then, ticking
from actorstream.testing.watching import watermarks_watched
from actorstream.testing.world import START_US
from tests.firing import fired_at_once
from tests.simulation.inputs import MEMORY_FOLDER, PARTITIONS
from tests.simulation.oracles import read_results
from tests.simulation.running import END_S, Plan, Story, dawdling, draw, run_session
from tests.simulation.stages import Result
from tests.simulation.time_jobs import TIME_JOBS, pipeline_of, sinks_of
from tests.simulation.time_sources import Quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from actorstream.testing.run import Outcome

DAWDLES = 0.03
"""Virtual seconds, at most, that an actor of a job that flickers waits before an item."""

Committed = dict[str, dict[str, list[Result]]]
"""By sink and key."""


def draw_time(seed: int, **fixed: object) -> Plan:
    """Draw a plan for a job of event time: like any other, with up to four subtasks."""
    rng = random.Random(f"time {seed}")
    plan = draw(seed, live=False, in_memory=False, pad=0)
    widths = [rng.randint(1, 4), rng.randint(1, 4)]
    sessions = tuple(replace(session, parallelism=rng.choice(widths)) for session in plan.sessions)
    plan = replace(plan, job=rng.choice(list(TIME_JOBS)), sessions=sessions, early_freezes=0.0)
    return replace(plan, **fixed)  # type: ignore[arg-type]


def moved(plan: Plan) -> Plan:
    """Have sessions of a plan rescaled while they run."""
    rng = random.Random(f"moved {plan.seed}")
    return replace(plan, sessions=[_with_rescales(session, rng) for session in plan.sessions])


def _with_rescales(session: Session, rng: random.Random) -> Session:
    if rng.random() < 0.4:
        return session
    rescales = [(rng.random() * 0.2, rng.randint(1, 4)) for _ in range(rng.randint(1, 3))]
    return replace(session, rescales=rescales)


def run_time_plan(plan: Plan, mutant: Callable[[], AbstractContextManager[object]] = nullcontext) -> Story:
    """Run all sessions, `mutant` at work inside them, and check after each.

    Raises:
        BrokenPromiseError: The oracle that is violated; a note says how to repeat the run.
    """
    expected = {} if TIME_JOBS[plan.job].flickers else undisturbed(plan.job, plan.events, plan.seed % 4)
    try:
        return _run(plan, expected, mutant)
    except BrokenPromiseError as broken:
        broken.add_note(f"again: run_time_plan({plan!r})")
        raise


@lru_cache(maxsize=64)
def undisturbed(job: str, events: int, variant: int) -> Committed:
    """Give the output of a run with one subtask, no faults and no interruption."""
    plan = Plan(variant, job=job, events=events, policy="fifo", sessions=(Session(),), interval=0.2)
    with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER) as root:
        disk = SimulatedDisk(root)
        judge(_session(plan, 0, disk, START_US).error, plan.sessions[0])
        committed = committed_in(disk, job)
        disk.kill()
    return committed


def committed_in(disk: SimulatedDisk, job: str) -> Committed:
    """Read what the sinks hold."""
    found: Committed = {}
    for sink in sinks_of(TIME_JOBS[job]):
        by_key = found.setdefault(sink, {})
        for result in read_results(disk, f"{disk.root}/{sink}"):
            by_key.setdefault(result.key, []).append(result)
    return found


def _run(plan: Plan, expected: Committed, mutant: Callable[[], AbstractContextManager[object]]) -> Story:
    outcomes: list[Outcome[str]] = []
    before: Committed = {}
    start_us = START_US
    with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER) as root:
        disk = SimulatedDisk(root)
        for number, session in enumerate(plan.sessions):
            with mutant(), watermarks_watched() as gone_back:
                outcome = _session(plan, number, disk, start_us)
            start_us = outcome.ended_us
            outcomes.append(outcome)
            _judge(outcome, session)
            if gone_back:
                raise BrokenPromiseError("monotone", gone_back[0])
            if session.power:
                disk.power_cut(random.Random(f"{plan.seed} {number}"))
            else:
                disk.kill()
            now = committed_in(disk, plan.job)
            ended = outcome.result == "finished"
            if TIME_JOBS[plan.job].flickers:
                check_once(plan, before, now, ended=ended)
            else:
                check(expected, before, now, ordered=TIME_JOBS[plan.job].ordered, ended=ended)
            before = now
            disk.kill()
        if outcomes[-1].result != "finished":
            raise BrokenPromiseError("progress", f"the last session is {outcomes[-1]}")
    return Story(outcomes, 0)


def _judge(outcome: Outcome[str], session: Session) -> None:
    """As `judge`; a promise that a source or operator found broken is told as it is."""
    error: BaseException | None = outcome.error
    while error is not None:
        if isinstance(error, BrokenPromiseError):
            raise error
        error = error.__cause__
    judge(outcome.error, session)


def check(expected: Committed, before: Committed, now: Committed, *, ordered: bool, ended: bool) -> None:
    """Compare; raise BrokenPromiseError."""
    for sink, by_key in expected.items():
        there, earlier = now.get(sink, {}), before.get(sink, {})
        for key in {*by_key, *there, *earlier}:
            right, found, kept = (each.get(key, []) for each in (by_key, there, earlier))
            if found[: len(kept)] != kept if ordered else Counter(kept) - Counter(found):
                raise BrokenPromiseError("kept", f"{sink}[{key}] held {kept}, now {found}")
            if right[: len(found)] != found if ordered else Counter(found) - Counter(right):
                raise BrokenPromiseError("prefix", f"{sink}[{key}] holds {found}, undisturbed it is {right}")
            if ended and len(found) != len(right):
                raise BrokenPromiseError("complete", f"{sink}[{key}] holds {found}, undisturbed it is {right}")


def check_once(plan: Plan, before: Committed, now: Committed, *, ended: bool) -> None:
    """Count windows and records, and compare with the input; raise BrokenPromiseError."""
    there, earlier = (Counter(row for by_key in each.values() for row in _flat(by_key)) for each in (now, before))
    if earlier - there:
        raise BrokenPromiseError("kept", f"{earlier - there} is gone")
    windows = Counter((row.key, row.event.seq) for row in there.elements() if row.event.source == "window")
    records = Counter(row.event for row in there.elements() if row.event.source != "window")
    twice = [each for each, count in (windows + records).items() if count > 1]
    if twice:
        raise BrokenPromiseError("once", f"{twice} came twice")
    sources = TIME_JOBS[plan.job].sources(plan.events, plan.seed % 4, plan.pause)
    given = {event for source in sources.values() for rows in source.rows for event in rows}
    if records.keys() - given or (ended and given - records.keys()):
        raise BrokenPromiseError("complete", f"{given ^ records.keys()} is in the output or in the input only")


def _flat(by_key: Mapping[str, list[Result]]) -> Iterator[Result]:
    for rows in by_key.values():
        yield from rows


def _session(plan: Plan, number: int, disk: SimulatedDisk, start_us: int) -> Outcome[str]:
    fired = random.Random(f"fired {plan.seed} {number}").choice((1, 2, 256))
    with fired_at_once(fired), dawdling(DAWDLES) if TIME_JOBS[plan.job].flickers else nullcontext():
        return run_session(plan, number, disk, start_us, _main, "time ")


async def _main(plan: Plan, session: Session, root: str) -> str:
    """The program of the simulated process."""
    world = current_world()
    environment = asyncio.get_running_loop().environment  # type: ignore[attr-defined]
    files = FailingFiles(world.files, session.failing, environment) if session.failing else world.files
    with use_world(ticking(world, files)), anyio.fail_after(END_S):
        async with _run_of(plan, session.parallelism, root) as job:
            asked = rescale_now_and_then(job, session.rescales)
            rescaling = asyncio.get_running_loop().create_task(asked, name="rescales")
            try:
                if session.stop_after is None:
                    await job.wait()
                    return "finished"
                await anyio.sleep(session.stop_after)
            finally:
                rescaling.cancel()
    return "stopped"


def _run_of(plan: Plan, parallelism: int, root: str) -> Run:
    job = TIME_JOBS[plan.job]
    sources = job.sources(plan.events, plan.seed % 4, plan.pause)
    for source in sources.values():
        if isinstance(source, Quiet):
            # After a restart there may be nothing left to be heard of.
            source.undisturbed = len(plan.sessions) == 1
    # Who dawdles needs more time than some plans give.
    timeout = max(plan.timeout, 1.0) if job.flickers else plan.timeout
    sinks: Mapping[str, EventLog[Result]] = {
        sink: EventLog(Result, f"{root}/{sink}", partitions=PARTITIONS, key=lambda result: result.key)
        for sink in sinks_of(job)
    }
    return Run(
        pipeline_of(job, sources, sinks).draft.graph(),
        {
            "store": f"{root}/store",
            "parallelism": parallelism,
            "checkpoint_interval": plan.interval,
            "restart": Restart.fixed_delay(100, delay=0.05) if plan.restarts else Restart.never(),
            "settings": Settings(
                burst=0.0001,
                retained=plan.retained,
                checkpoint_timeout=timeout,
                tolerated_failures=-1,
                alignment_timeout=plan.alignment,
            ),
        },
        wire=plan.wire,
    )
