"""The program of one simulated process: it runs a pipeline to where its session ends, and is disturbed on the way.

    session ──> graph with disturbed ends ──> Run ──┬── the job
                                                    └── beside it: rescales, savepoints, memory pressure, who asks

What happens in it is counted where it happens, so a process that died before has met less than was drawn.
"""

# ruff: noqa: SLF001  (a job is made for a user's block; here a simulation stands in for it)

from __future__ import annotations

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
    from actorstream.checkpoints.directory import CheckpointDirectory
    from actorstream.checkpoints.manifest import Manifest
    from actorstream.graph.nodes import LogicalGraph
    from actorstream.runtime.building import Built
    from actorstream.testing.disk import SimulatedDisk
    from actorstream.testing.placed_pipeline import PlacedPipeline, Surroundings
    from actorstream.testing.simulation_plan import Plan

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
    """

    mutant: Callable[[], AbstractContextManager[object]] = nullcontext
    beside: Callable[[Job], Mapping[str, Callable[[], object]]] | None = None
    on_checkpoints: Callable[[SimulatedDisk, Sequence[tuple[Manifest, CheckpointDirectory]]], None] | None = None


@dataclass
class SimulatedProcess:
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
    _readings: Places = field(default_factory=Places)
    _notices: Places = field(default_factory=Places)
    _files: FailingFiles | None = None
    _runs: list[Run] = field(default_factory=list)
    _done: Counter[str] = field(default_factory=Counter)

    def faults(self) -> Counter[str]:
        """Count what has happened in it by now."""
        found = Counter(self._done)
        found["raise"], found["source out of reach"] = self.calls.hits, self._readings.hits
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
        check_released(loop, self._disk)
        return "cancelled"

    async def _run_job(self) -> str:
        session = self._session
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
            work["savepoints"] = save_now_and_then(job, session.savepoints, self._done)
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
        run = Run(
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
        self._runs.append(run)
        return run
