"""The program of one simulated process: it runs a pipeline to where its session ends, and is disturbed on the way.

    session ──> graph with disturbed ends ──> Run ──┬── the job
                                                    └── beside it: rescales, savepoints, memory pressure, who asks

What happens in it is counted where it happens, so a process that died before has met less than was drawn.
"""

# ruff: noqa: SLF001  (a job is made for a user's block; here a simulation stands in for it)

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import anyio

from actorstream.api.run import Run
from actorstream.api.settings import Settings
from actorstream.errors import JobFailed, StoreError
from actorstream.protocol.restart import Restart
from actorstream.system.current import current_world, use_world
from actorstream.testing.session import BrokenPromiseError, Places, Session
from actorstream.testing.surroundings import (
    FailingFiles,
    at_step,
    freeze_early,
    kill_task,
    lose_notices,
    rescale_now_and_then,
    save_now_and_then,
    simulated_loop,
    ticking,
)
from actorstream.testing.watching import check_released

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Callable, Mapping, Sequence

    from actorstream.api.job import Job
    from actorstream.api.options import RunOptions
    from actorstream.api.settings import SettingValues
    from actorstream.checkpoints.directory import CheckpointDirectory
    from actorstream.checkpoints.manifest import Manifest
    from actorstream.graph.nodes import LogicalGraph
    from actorstream.runtime.built import Built
    from actorstream.testing.committed import Rows
    from actorstream.testing.disk import SimulatedDisk
    from actorstream.testing.placed_pipeline import PlacedPipeline, Surroundings
    from actorstream.testing.simulation_plan import Plan

NOTHING = "nothing to fork"
_BURST_S = 0.0001
_LOST_S = 0.2
_RESTARTS = 100


@dataclass(frozen=True)
class Watch:
    """What a test of ours has to say to a run.

    Attributes:
        mutant: Entered around each process.
        beside: Runs beside the job, in its process, and is cancelled when that ends.
        on_checkpoints: Looks at the checkpoints that count, after each process.
        at_version: Told which version of the program is to be built next; gives the settings that it needs.
        shown: Gives what sinks hold as it is to be compared.
        on_fork: Looks at what a fork has written: its savepoint, its rows, whether it has finished.
    """

    mutant: Callable[[], AbstractContextManager[object]] = nullcontext
    beside: Callable[[Job], Mapping[str, Callable[[], object]]] | None = None
    on_checkpoints: Callable[[SimulatedDisk, Sequence[tuple[Manifest, CheckpointDirectory]]], None] | None = None
    at_version: Callable[[int], SettingValues] = lambda _: {}
    shown: Callable[[Mapping[str, Rows]], Mapping[str, Rows]] = lambda rows: rows
    on_fork: Callable[[SimulatedDisk, str, Mapping[str, Rows], bool], None] | None = None


@dataclass
class SimulatedProcess:
    """The program of one simulated process."""

    _pipeline: PlacedPipeline
    _plan: Plan
    _number: int
    _disk: SimulatedDisk
    _around: Surroundings
    _settings: Settings
    _watch: Watch
    _undisturbed: bool
    calls: Places = field(default_factory=Places)
    made: list[str] = field(default_factory=list)
    _readings: Places = field(default_factory=Places)
    _notices: Places = field(default_factory=Places)
    _files: FailingFiles | None = None
    _runs: list[Run] = field(default_factory=list)
    _done: Counter[str] = field(default_factory=Counter)
    _tasks_beside: list[Task[object]] = field(default_factory=list)
    _values: SettingValues = field(default_factory=dict)  # type: ignore[assignment]

    @property
    def _session(self) -> Session:
        return self._plan.sessions[self._number]

    def faults(self) -> Counter[str]:
        """Count what has happened in it by now."""
        found = Counter(self._done)
        found["raise"], found["source out of reach"] = self.calls.hits, self._readings.hits
        found["savepoint"] = len(self.made)
        found["lost notice"] = self._notices.hits
        found["disk error"] = 0 if self._files is None else self._files.failed
        found["failed checkpoint"] = sum(run._statistics.failed_checkpoints for run in self._runs)
        found["restart"] = sum(run._statistics.restarts for run in self._runs)
        return +found

    async def main(self, seconds: float) -> str:
        """Run the job to where the session ends; give how that was."""
        loop, world, session = simulated_loop(), current_world(), self._session
        files = world.files
        if session.failing or session.unread:
            looks = Places(session.unread)
            root = self._around.root
            files = self._files = FailingFiles(files, session.failing, loop.environment, looks, root)
        cancelled = anyio.CancelScope()
        if session.cancel_step is not None:
            at_step(loop, {session.cancel_step: cancelled.cancel})
        with use_world(ticking(world, files)):
            with anyio.move_on_after(seconds), cancelled:
                return await self._run_job()
            if not cancelled.cancel_called:
                raise BrokenPromiseError("progress", f"a process has not ended within {seconds:g} virtual seconds")
        if ours := [task for task in self._tasks_beside if not task.done()]:
            with anyio.move_on_after(seconds):
                await asyncio.wait(ours)  # they were cancelled, and may be of those whose turn comes last
        check_released(loop, self._disk)
        return "cancelled"

    async def _run_job(self) -> str:
        session, around = self._session, self._around
        if session.fork and not around.savepoints:
            return NOTHING
        self._values = self._watch.at_version(session.version)
        graph, self.calls, self._readings = self._pipeline.graph_for(self._plan, session, self._around)
        run = self._make_run(graph)
        if session.zombie is not None:
            return await self._run_beside_successor(run, session.zombie)
        supervisor = run._supervisor
        kill = partial(kill_task, supervisor, self._done)
        at_step(simulated_loop(), {step: partial(kill, which) for step, which in session.kills})
        if session.lost:
            self._notices, follow = Places(session.lost), supervisor.on_built

            def on_built(built: Built) -> None:
                lose_notices(built, self._notices)
                follow(built)

            supervisor.on_built = on_built
        async with run as job:
            beside: list[Task[object]] = [
                simulated_loop().create_task(work, name=f"beside: {name}")  # type: ignore[arg-type]
                for name, work in self._beside(job).items()
            ]
            self._tasks_beside = beside
            try:
                if session.stop_after is None:
                    await job.wait()
                    return "finished"
                await anyio.sleep(session.stop_after)
                if session.keeps:
                    await self._keep(job)
            finally:
                for task in beside:
                    if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                        raise error
                    task.cancel()
        return "stopped"

    async def _keep(self, job: Job) -> None:
        """Stop with a savepoint; where none can be made, the job is left as always."""
        with suppress(StoreError):
            made = await job.stop(savepoint=f"kept-{self._number}")
            self._around.begun_from = made.path
            self.made.append(made.path)

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
            self._done["taken over"] += 1
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
        self._done["slow sink"] += bool(session.slow)
        if plan.early_freezes:
            self._done["memory pressure"] += 1
            work["memory pressure"] = freeze_early(job, plan.early_freezes, loop.environment)
        if session.rescales:
            work["rescales"] = rescale_now_and_then(job, session.rescales, self._done)
        if session.savepoints:
            work["savepoints"] = save_now_and_then(job, session.savepoints, f"s{self._number}", self.made)
        if self._watch.beside is not None:
            work.update({name: make() for name, make in self._watch.beside(job).items()})
        return work

    def _make_run(self, graph: LogicalGraph, *, take_over: bool = False) -> Run:
        plan, root = self._plan, self._around.root
        values = {**self._settings._given, **self._values}
        if not self._undisturbed:
            # Where a notice gets lost, only the deadline of its checkpoint ends the waiting.
            timeout = min(plan.timeout, _LOST_S) if self._session.lost else plan.timeout
            values.update(burst=_BURST_S, retained=plan.retained, checkpoint_timeout=timeout, tolerated_failures=-1)
            values.setdefault("alignment_timeout", plan.alignment)
        run = Run(
            graph,
            {
                "store": f"{root}/store",
                "take_over": take_over,
                "parallelism": self._session.parallelism,
                "checkpoint_interval": plan.interval,
                "restart": Restart.fixed_delay(_RESTARTS, delay=0.05),
                "settings": Settings(**values),  # type: ignore[arg-type]
                **self._beginning(),
            },
            wire=plan.wire,
        )
        self._runs.append(run)
        return run

    def _beginning(self) -> RunOptions:
        """Say what it begins from, where that is not the store's newest checkpoint."""
        around, fork = self._around, self._session.fork
        if fork:
            self._done["fork"] += fork not in around.forks
            return {"fork": fork, "restore": around.forks.setdefault(fork, around.savepoints[-1])}
        savepoint, around.begun_from = around.begun_from, None
        if savepoint is None:
            return {}
        self._done["begun from a savepoint"] += 1
        return {"restore": savepoint}
