"""The composition root: one run of a pipeline, from its options to a supervised root task.

    async with pipeline.run(store="data") as job: ...        beside your code
    await pipeline.run()                                     to the end

The job has a root task of its own, the library's only `create_task`, so the block
may be entered and left in different tasks, as fixtures and exit stacks do (T138).
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import anyio

from actorstream.api.feeding import feeding
from actorstream.api.job import Job
from actorstream.api.options import STATE_MEMORY
from actorstream.api.savepoint import Savepoint
from actorstream.api.settings import Settings, duration_us
from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.errors import ActorstreamError, InvariantError, PlanError, RestoreError, StoreError, StoreInUseError
from actorstream.graph.chaining import plan_graph
from actorstream.model.ids import CheckpointId
from actorstream.model.world import World
from actorstream.protocol.restart import Restart
from actorstream.runtime.beginning import check_store, look_up
from actorstream.runtime.building import JobContext
from actorstream.runtime.forking import close_sinks, fork_sinks
from actorstream.runtime.job_settings import JobSettings
from actorstream.runtime.retaining import release
from actorstream.runtime.statistics import JobStatistics
from actorstream.runtime.supervisor import Supervisor
from actorstream.runtime.watchdog import watched
from actorstream.system.current import current_world
from actorstream.system.log import log
from actorstream.system.scratch import InlineOffload, ScratchFiles

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType

    from actorstream.api.job import Summary
    from actorstream.api.options import RunOptions, StrPath
    from actorstream.graph.nodes import LogicalGraph
    from actorstream.model.ids import JobId
    from actorstream.model.world import Offload
    from actorstream.runtime.beginning import Beginning
    from actorstream.runtime.replay_order import Replaying


class Run:
    """One use of a pipeline, in one of two ways.

    `await pipeline.run()`: until every input has ended; gives counts and durations, or raises JobFailed.
    `async with pipeline.run() as job`: beside your code. Entering returns once state is restored and every operator
    is open. Leaving the block stops the job: sources stop, one final checkpoint, its output is committed. A bounded
    job is not waited for: say `await job.wait()`. Leaving by an exception cancels at once, with no checkpoint.
    A failed job cancels the task that entered the block, if it is still inside, and leaving raises JobFailed: one
    exception, never a group, the operator's error as its cause. A web server goes on serving after its lifespan was
    cancelled: see `on_failure`.

    What is found before the job is up is raised as it is: PlanError, RestoreError, StoreError.
    """

    def __init__(
        self, graph: LogicalGraph, options: RunOptions, *, wire: bool = False, replaying: Replaying | None = None
    ) -> None:
        """Plan the graph; nothing runs yet.

        Args:
            graph: The pipeline.
            options: As given to `Pipeline.run`.
            wire: Send every channel item through the codec of the wire: a test's switch.
            replaying: Makes it a replay: actors take turns, and the graph's own sinks are written to, no fork's.

        Raises:
            PlanError: The pipeline cannot run.
        """
        self._replaying = replaying
        store = options.get("store")
        self._store = None if store is None else os.path.abspath(os.fspath(store))
        self._plan = plan_graph(graph, parallelism=options.get("parallelism", 1), has_store=store is not None)
        self._on_failure = options.get("on_failure")
        self._take_over = options.get("take_over", False)
        default = Restart.never() if store is None else Restart.exponential()
        self._settings = _job_settings(options, wire=wire)
        self._restore = _path_of(options.get("restore"))
        self._fork = options.get("fork") or ""
        self._retain = options.get("settings", Settings()).resolved().retain
        self._world = current_world()
        self._supervisor = Supervisor(options.get("restart", default), self._world.random.fraction)
        self._statistics = JobStatistics()
        self._root: asyncio.Task[None] | None = None
        self._inside: asyncio.Task[object] | None = None
        self._cancelled_host = False
        self._leaving = False
        self._job: Job | None = None

    def __await__(self) -> Generator[object, None, Summary]:
        """Run until every input has ended."""
        return self._to_end().__await__()

    async def _to_end(self) -> Summary:
        async with self as job:
            return await job.wait()

    async def __aenter__(self) -> Job:
        """Start the job; returns once it is up."""
        if self._root is not None:
            raise PlanError("this run was used already: call pipeline.run() again")
        loop = asyncio.get_running_loop()
        self._root = loop.create_task(self._body(), name=f"actorstream {self._plan.graph.name}")  # the only one
        self._root.add_done_callback(self._on_end)
        try:
            await self._supervisor.opened.wait()
        except BaseException:
            await _cancel(self._root)
            raise
        if self._supervisor.status in {"starting", "failed"}:
            await _outcome(self._root)
            raise self._first_error()
        self._inside = asyncio.current_task()
        folder = None if self._store is None else os.path.join(self._store, self._folder)
        self._job = Job(self._plan, self._supervisor, self._statistics, self._world, folder)
        return self._job

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Stop the job, or cancel it where the block was left by an exception."""
        root = self._root
        if root is None:
            raise InvariantError("a run was left that was not entered")
        self._leaving = True
        if self._job is not None:
            self._job.release_subscriptions()
        if kind is None:
            self._supervisor.request_stop()
        elif not self._supervisor.ended.is_set():
            root.cancel()
        try:
            with anyio.CancelScope(shield=kind is not None):
                await _outcome(root)
        except asyncio.CancelledError:
            self._take_back()
            await _cancel(root)
            raise
        if kind is not None and root.cancelled():
            return
        failure = self._supervisor.failure
        if self._take_back() > 0 or _is_others_cancellation(error):
            return
        if failure is not None and error is not failure:
            raise failure

    def _on_end(self, root: asyncio.Task[None]) -> None:
        """Tell the host that the job has given up: nobody may be waiting for it."""
        if root.cancelled() or root.exception() is None or self._supervisor.failure is None:
            return
        host = self._inside
        if host is not None and not self._leaving and not host.done():
            self._cancelled_host = True
            host.cancel(f"job {self._plan.graph.name} has failed")
        if self._on_failure is not None and host is not None:
            self._on_failure(self._supervisor.failure)

    def _take_back(self) -> int:
        """Take back that the host was cancelled because the job had failed; tell how often others have cancelled it."""
        if not self._cancelled_host or self._inside is None:
            return 0
        self._cancelled_host = False
        return self._inside.uncancel()

    def _first_error(self) -> Exception:
        """Give why the job never came up."""
        failure = self._supervisor.failure
        if failure is None:
            error = None if self._root is None or self._root.cancelled() else self._root.exception()
            return error if isinstance(error, Exception) else InvariantError("the job ended before it was up")
        cause = failure.__cause__
        return cause if isinstance(cause, PlanError | RestoreError | StoreError) else failure

    # ---- the root task

    async def _body(self) -> None:
        with watched(self._world, self._settings.watchdog_us / 1e6) as self._supervisor.watch:
            await self._live()

    async def _live(self) -> None:
        world, offload = self._world, self._world.offload
        documents: Offload = offload
        name, temporary, scratch = self._folder, "", None
        if self._store is None:
            temporary = world.files.temporary(f"actorstream-{world.random.token()}")
            documents = InlineOffload()
            scratch = ScratchFiles(world.files, temporary, os.path.join(temporary, name, "layers"))
            # Not `replace`: a simulated process's world is made in a way of its own.
            world = World(world.clock, scratch, offload, world.random, processes=world.processes)
        root = os.path.join(self._store or temporary, name)
        directory = CheckpointDirectory(world.files, root)
        forked = fork_sinks(self._plan.graph, self._fork if self._replaying is None else "")
        try:
            beginning = await documents.run(self._look_up, root)
            job = await documents.run(
                _open, directory, world.random.token(), beginning, take_over=self._take_over, fork=self._fork
            )
            with feeding(self._plan.graph, self._supervisor):
                await self._supervisor.run(
                    JobContext(
                        plan=self._plan,
                        settings=self._settings,
                        world=world,
                        job=job,
                        directory=directory,
                        root=root,
                        layers_folder=os.path.join(root, "layers"),
                        statistics=self._statistics,
                        answer=self._supervisor.answer,
                        documents=documents,
                        durable=self._store is not None,
                        beginning=beginning,
                        fork=self._fork,
                        forked=forked,
                        replaying=self._replaying,
                    )
                )
        finally:
            self._supervisor.opened.set()
            with anyio.CancelScope(shield=True):
                await self._let_checkpoints_go(directory)
                directory.close()
                await close_sinks(forked)
            if scratch is not None and not scratch.remove_unused():
                await offload.run(world.files.remove_tree, temporary)

    async def _let_checkpoints_go(self, directory: CheckpointDirectory) -> None:
        """Remove the store where the settings say so; what cannot be removed stays, and is told."""
        ended_well = self._supervisor.status == "finished"
        if self._store is None or self._retain == "always" or (self._retain == "on_failure" and not ended_well):
            return
        try:
            job = directory.note.job
            await self._world.offload.run(directory.remove)
            await release(self._supervisor.plan or self._plan, job)
        except ActorstreamError as error:
            log.warning("checkpoints stay", reason=str(error))

    @property
    def _folder(self) -> str:
        """Name the job's folder in its store."""
        return f"{self._plan.graph.name}@{self._fork}" if self._fork else self._plan.graph.name

    def _look_up(self, root: str) -> Beginning | None:
        """Find the snapshot to begin from; blocking."""
        files = self._world.files
        if self._restore is not None:
            origin = os.path.join(os.path.dirname(root), self._plan.graph.name, "savepoints")
            return look_up(files, self._restore, origin, self._fork)
        if self._fork and not files.exists(os.path.join(root, "JOB")):
            raise RestoreError(
                f"there is no fork {self._fork!r} in {os.path.dirname(root)} to go on with: name the savepoint that it "
                "begins from (restore=...)"
            )
        return None


def _is_others_cancellation(error: BaseException | None) -> bool:
    """Tell whether a block is left because others have cancelled the task: no failure takes the place of that."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _path_of(restore: Savepoint | StrPath | int | None) -> str | None:
    """Give the path or name of a snapshot that is none of the store's own checkpoints."""
    if restore is None or isinstance(restore, int):
        return None
    return restore.path if isinstance(restore, Savepoint) else os.fspath(restore)


def _open(
    directory: CheckpointDirectory, token: str, beginning: Beginning | None, *, take_over: bool, fork: str
) -> JobId:
    """Open the store. The lock keeps honest processes apart; the attempt that is claimed next fences the rest."""
    job = directory.open(token, origin=None if beginning is None else beginning.origin, fork=fork)
    check_store(directory, beginning, fork=fork)
    try:
        directory.lock()
    except StoreInUseError as error:
        if not take_over:
            raise
        log.warning("taking over a store that another process holds", found=str(error))
    return job


async def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end, however often the waiting task is cancelled itself.

    It is cancelled once only: what it waits for while it closes is shielded from anyio's cancellations, not from these.
    """
    if not task.cancelling():
        task.cancel()
    again: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await _outcome(task)
            except asyncio.CancelledError as error:
                again = error
    if again is not None:
        raise again


async def _outcome(task: asyncio.Task[None]) -> None:
    """Wait for a task to end, however it ends."""
    await asyncio.wait([task])


def _job_settings(options: RunOptions, *, wire: bool) -> JobSettings:
    resolved = options.get("settings", Settings()).resolved()
    interval = options.get("checkpoint_interval", 1.0)
    restore = options.get("restore")
    return JobSettings(
        checkpoint_interval_us=None if interval is None else duration_us(interval, "run: checkpoint_interval"),
        checkpoint_timeout_us=resolved.checkpoint_timeout_us,
        checkpoint_pause_us=resolved.checkpoint_pause_us,
        tolerated_failures=resolved.tolerated_failures,
        retained=resolved.retained,
        timers_at_end=resolved.timers_at_end,
        burst_us=resolved.burst_us,
        watchdog_us=resolved.watchdog_us,
        state_memory=options.get("state_memory", STATE_MEMORY),
        restore=CheckpointId(restore) if isinstance(restore, int) else None,
        accept_duplicates=options.get("accept_duplicates", False),
        allow_dropped=resolved.allow_dropped,
        restore_as=resolved.restore_as,
        claim=resolved.claim,
        wire=wire,
        alignment_timeout_us=resolved.alignment_timeout_us,
    )
