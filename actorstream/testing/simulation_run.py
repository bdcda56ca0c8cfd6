"""One run of a pipeline on a simulated machine: process after process on one disk, looked at after each.

    undisturbed()    one process, asyncio's own order, nothing in its way: what is to come out, and how long it takes
    run(plan)        what the plan says; raises BrokenPromiseError

The real runtime, state, store and logs run; only clock, threads, disk and randomness are simulated.
"""

# ruff: noqa: SLF001  (a job is made for a user's block; here a simulation stands in for it)

from __future__ import annotations

import os
import random
import tempfile
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import anyio

from actorstream.api.run import Run
from actorstream.api.settings import Settings
from actorstream.errors import JobFailed, PlanError, StoreError
from actorstream.protocol.restart import Restart
from actorstream.runtime.mailbox import LANE_RECORDS
from actorstream.system.current import current_world, use_world
from actorstream.testing.committed import Committed, Expected
from actorstream.testing.disk import SimulatedDisk
from actorstream.testing.loop import DeadlockError, StepLimitError
from actorstream.testing.placed_pipeline import PlacedPipeline, Surroundings
from actorstream.testing.run import run_simulated
from actorstream.testing.session import BrokenPromiseError, Places, Session, judge
from actorstream.testing.simulation_plan import Length, Plan
from actorstream.testing.surroundings import (
    FailingFiles,
    at_step,
    bounded_mailboxes,
    freeze_early,
    kill_task,
    lose_notices,
    records_for,
    rescale_now_and_then,
    save_now_and_then,
    simulated_loop,
    ticking,
)
from actorstream.testing.unsimulated import find_unsimulated, only_simulated
from actorstream.testing.watching import Checkpoints, check_released, watermarks_watched
from actorstream.testing.world import START_US

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from actorstream.api.job import Job
    from actorstream.api.pipeline import Pipeline
    from actorstream.checkpoints.directory import CheckpointDirectory
    from actorstream.checkpoints.manifest import Manifest
    from actorstream.graph.nodes import LogicalGraph
    from actorstream.runtime.building import Built
    from actorstream.testing.committed import Rows
    from actorstream.testing.run import Outcome

MEMORY_FOLDER = "/dev/shm" if os.path.isdir("/dev/shm") else None
_STEPS_MAX = 2_000_000
_SECONDS_MAX = 30 * 86_400.0
_TIMES_AS_LONG = 60
_BURST_S = 0.0001
_LOST_S = 0.2
_RESTARTS = 100
_RECORDS_UNKNOWN = 50


@dataclass(frozen=True)
class Story:
    """How a run went: the end of each process, how many checkpoints were read back, what was visible at the end."""

    outcomes: Sequence[Outcome[str]]
    checkpoints: int
    rows: Mapping[str, Sequence[object]]
    calls: int = 0


@dataclass(frozen=True)
class Watch:
    """What a test of ours has to say to a run.

    Attributes:
        mutant: Entered around each process.
        beside: Runs beside the job, in its process, and is cancelled when that ends.
        on_checkpoints: Looks at the checkpoints that count, after each process.
    """

    mutant: Callable[[], AbstractContextManager[object]] = nullcontext
    beside: Callable[[Job], Mapping[str, Callable[[], object]]] | None = None
    on_checkpoints: Callable[[SimulatedDisk, Sequence[tuple[Manifest, CheckpointDirectory]]], None] | None = None


class SimulatedPipeline:
    """A pipeline, and all that is known of it before it is disturbed.

    Attributes:
        steps: How many steps all of its processes have taken.
    """

    def __init__(
        self,
        make: Callable[[], Pipeline],
        expected: Expected | None = None,
        settings: Settings | None = None,
        watch: Watch | None = None,
    ) -> None:
        """Look at it, and run it once undisturbed where `expected` does not say what is to come out.

        Raises:
            PlanError: It cannot be simulated, or does not come to an end.
            JobFailed: It fails with nothing in its way.
        """
        self._pipeline = PlacedPipeline(make)
        self._settings = settings or Settings()
        self._watch = watch or Watch()
        self._given = expected
        self.steps = 0
        self._undisturbed: dict[int | None, tuple[Expected, Length]] = {}

    @property
    def records(self) -> int | None:
        """How many records the longest input has; None where a part of them could not be judged."""
        return None if self._given is not None and self._given.by_sink else self._pipeline.records

    def expected(self, records: int | None = None) -> tuple[Expected, Length]:
        """Give what is to come out, and how long the undisturbed run is."""
        if records not in self._undisturbed:
            self._undisturbed[records] = self._run_undisturbed(records)
        return self._undisturbed[records]

    def _run_undisturbed(self, records: int | None) -> tuple[Expected, Length]:
        plan = Plan(0, policy="fifo", interval=1.0, in_memory=True, records=records)
        with self._machine() as (disk, around):
            outcome, _ = self._process(plan, 0, disk, around, START_US)
            if outcome.error is not None:
                if isinstance(outcome.error, DeadlockError | StepLimitError | BrokenPromiseError):
                    raise PlanError(
                        f"simulate: {self._pipeline.name} has not come to its end in {_SECONDS_MAX / 86_400:g} virtual "
                        f"days with nothing in its way: its inputs must end ({outcome.error})"
                    ) from outcome.error
                raise find_unsimulated(outcome.error) or outcome.error
            found = self._pipeline.exactly(disk, around)
            by_sink = {sink: [row for part in rows for row in part] for sink, rows in found.items()}
            by_sink.update({name: list(values) for name, values in around.called.items()})
        longest = self._pipeline.records or _RECORDS_UNKNOWN
        length = Length(outcome.steps, outcome.disk_operations, (outcome.ended_us - START_US) / 1e6, longest)
        given = self._given
        if given is not None and given.by_sink:
            return given, length
        return Expected(by_sink, None if given is None else given.in_order_by), length

    def run(self, plan: Plan) -> Story:
        """Run all of a plan's processes, and look at what they leave after each.

        Raises:
            BrokenPromiseError: The oracle that is violated, also that a process failed or did not end.
            CannotBeSimulatedError: The pipeline does what cannot be repeated.
        """
        expected, length = self.expected(plan.records)
        with self._machine() as (disk, around):
            committed = Committed(expected)
            checkpoints = Checkpoints(disk, f"{around.root}/store/{self._pipeline.name}")
            outcomes: list[Outcome[str]] = []
            rows: Mapping[str, Rows] = {}
            start_us, calls = START_US, 0
            for number, session in enumerate(plan.sessions):
                with self._watch.mutant(), watermarks_watched() as gone_back:
                    outcome, count = self._process(plan, number, disk, around, start_us, length)
                start_us, calls = outcome.ended_us, calls + count
                outcomes.append(outcome)
                self._judge(outcome, session, gone_back)
                if session.power:
                    disk.power_cut(random.Random(f"{plan.seed} {number}"))
                else:
                    disk.kill()
                found = checkpoints.check()
                if self._watch.on_checkpoints is not None:
                    self._watch.on_checkpoints(disk, found)
                rows = self._pipeline.exactly(disk, around)
                committed.check(rows, around.called, at_the_end=outcome.result == "finished")
                disk.kill()
            if outcomes[-1].result != "finished":
                raise BrokenPromiseError("progress", f"the last process has not finished: {outcomes[-1]}")
        flat = {sink: [row for part in parts for row in part] for sink, parts in rows.items()}
        return Story(outcomes, checkpoints.looked_at, flat, calls)

    @contextmanager
    def _machine(self) -> Iterator[tuple[SimulatedDisk, Surroundings]]:
        with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER) as root:
            self._pipeline.lay_out(root)
            yield SimulatedDisk(root), Surroundings(root)

    @staticmethod
    def _judge(outcome: Outcome[str], session: Session, gone_back: Sequence[str]) -> None:
        error = outcome.error
        while error is not None:
            if isinstance(error, BrokenPromiseError):
                raise error
            error = error.__cause__
        if (unsimulated := find_unsimulated(outcome.error)) is not None:
            raise unsimulated
        if gone_back:
            raise BrokenPromiseError("monotone", gone_back[0])
        judge(outcome.error, session)

    # ---- one process

    def _process(
        self,
        plan: Plan,
        number: int,
        disk: SimulatedDisk,
        around: Surroundings,
        start_us: int,
        limits: Length | None = None,
    ) -> tuple[Outcome[str], int]:
        """Run one process; give its end, and how often it has called what a user has written, if that was counted."""
        session = plan.sessions[number]
        steps = _STEPS_MAX if limits is None else 20_000 + _TIMES_AS_LONG * limits.steps
        seconds = _SECONDS_MAX if limits is None else 120.0 + _TIMES_AS_LONG * limits.seconds
        seed = f"{plan.seed} {number}"
        process = _Process(self._pipeline, plan, session, disk, around, self._settings, self._watch, limits is None)
        lane = records_for(plan.mailbox) if plan.mailbox else LANE_RECORDS
        with ExitStack() as stack:
            stack.enter_context(bounded_mailboxes(lane))
            stack.enter_context(only_simulated(around.root, seed))
            outcome = run_simulated(
                lambda: process.main(seconds),
                seed=seed,
                policy=plan.policy,
                disk=disk,
                crash_at=session.crash_step,
                crash_at_operation=session.crash_operation,
                fail_at=session.faults,
                start_us=start_us,
                max_steps=steps,
                call_delay=plan.call_delay,
            )
        self.steps += outcome.steps
        return outcome, process.calls.count


@dataclass
class _Process:
    """The program of one simulated process."""

    _pipeline: PlacedPipeline
    _plan: Plan
    _session: Session
    _disk: SimulatedDisk
    _around: Surroundings
    _settings: Settings
    _watch: Watch
    _undisturbed: bool
    calls: Places = field(default_factory=Places)

    async def main(self, seconds: float) -> str:
        """Run the job to where the session ends; give how that was."""
        loop, world, session = simulated_loop(), current_world(), self._session
        files = FailingFiles(world.files, session.failing, loop.environment) if session.failing else world.files
        cancelled = anyio.CancelScope()
        if session.cancel_step is not None:
            at_step(loop, {session.cancel_step: cancelled.cancel})
        with use_world(ticking(world, files)):
            with anyio.move_on_after(seconds), cancelled:
                return await self._run_job()
            if not cancelled.cancel_called:
                raise BrokenPromiseError("progress", f"a process has not ended within {seconds:g} virtual seconds")
        check_released(loop, self._disk)
        return "cancelled"

    async def _run_job(self) -> str:
        session = self._session
        graph, self.calls, _ = self._pipeline.graph_for(self._plan, session, self._around)
        run = self._make_run(graph)
        if session.zombie is not None:
            return await self._run_beside_successor(run, session.zombie)
        supervisor = run._supervisor
        at_step(simulated_loop(), {step: partial(kill_task, supervisor, which) for step, which in session.kills})
        if session.lost:
            notices, follow = Places(session.lost), supervisor.on_built

            def on_built(built: Built) -> None:
                lose_notices(built, notices)
                follow(built)

            supervisor.on_built = on_built
        async with run as job:
            beside: list[Task[object]] = [
                simulated_loop().create_task(work, name=f"beside: {name}")  # type: ignore[arg-type]
                for name, work in self._beside(job).items()
            ]
            try:
                if session.stop_after is None:
                    await job.wait()
                    return "finished"
                await anyio.sleep(session.stop_after)
            finally:
                for task in beside:
                    if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                        raise error
                    task.cancel()
        return "stopped"

    async def _run_beside_successor(self, zombie: Run, seconds: float) -> str:
        """Let another process take the store over; the first goes on until it notices. Give how the second ends."""
        self._around.zombies = True

        async def go_on() -> None:
            with suppress(JobFailed, StoreError):
                await zombie

        failure: JobFailed | StoreError | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(go_on)
            await anyio.sleep(seconds)
            graph, _, _ = self._pipeline.graph_for(self._plan, self._session, self._around)
            try:
                await self._make_run(graph, take_over=True)
            except (JobFailed, StoreError) as error:
                failure = error
        if failure is not None:
            raise failure
        return "finished"

    def _beside(self, job: Job) -> dict[str, object]:
        loop, plan, session = simulated_loop(), self._plan, self._session
        work: dict[str, object] = {}
        if plan.early_freezes:
            work["memory pressure"] = freeze_early(job, plan.early_freezes, loop.environment)
        if session.rescales:
            work["rescales"] = rescale_now_and_then(job, session.rescales)
        if session.savepoints:
            work["savepoints"] = save_now_and_then(job, session.savepoints)
        if self._watch.beside is not None:
            work.update({name: make() for name, make in self._watch.beside(job).items()})
        return work

    def _make_run(self, graph: LogicalGraph, *, take_over: bool = False) -> Run:
        plan, root = self._plan, self._around.root
        values = dict(self._settings._given)
        if not self._undisturbed:
            # Where a notice gets lost, only the deadline of its checkpoint ends the waiting.
            timeout = min(plan.timeout, _LOST_S) if self._session.lost else plan.timeout
            values.update(burst=_BURST_S, retained=plan.retained, checkpoint_timeout=timeout, tolerated_failures=-1)
        return Run(
            graph,
            {
                "store": f"{root}/store",
                "take_over": take_over,
                "parallelism": self._session.parallelism,
                "checkpoint_interval": plan.interval,
                "restart": Restart.fixed_delay(_RESTARTS, delay=0.05),
                "settings": Settings(**values),  # type: ignore[arg-type]
            },
            wire=plan.wire,
        )
