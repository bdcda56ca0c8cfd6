"""One run of a pipeline whose world, inputs and failures are a test's.

pipeline's graph ── every source replaced ──> Run, in a world of its own
                                               clock    by hand
                                               threads  none: what would block is called on the loop
                                               restart  after a crash that the test makes, and only then
"""

# ruff: noqa: SLF001  (a run is made for a user's block; here a test stands in for it)

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from actorstream.api.options import check_run_options
from actorstream.api.run import Run
from actorstream.connectors.iterables import AsyncIterableSource, IterableSource
from actorstream.connectors.memory import SequenceSource
from actorstream.errors import ActorstreamError, PlanError
from actorstream.graph.nodes import SourceSpec
from actorstream.model.times import TIME_MAX
from actorstream.model.world import World
from actorstream.protocol.restart import GiveUp, Restart, RestartAfter, RestartState
from actorstream.system.current import current_world, use_world
from actorstream.system.scratch import InlineOffload
from actorstream.testing.harness_source import FedSource
from actorstream.testing.isolation import separate
from actorstream.testing.manual_clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from types import TracebackType

    from actorstream.api.draft import Draft
    from actorstream.api.job import Job
    from actorstream.api.options import RunOptions
    from actorstream.model.connect import Source
    from actorstream.model.ids import CheckpointId
    from actorstream.protocol.restart import Effect
    from actorstream.runtime.built import Built


class _CrashError(ActorstreamError):
    """The test has let the attempt die."""


class _RestartAfterCrash(RestartState):
    """Starts the job again after a crash made by the test, at once; any other failure ends it."""

    def __init__(self) -> None:
        super().__init__(Restart.never())
        self.crashing = False

    def on_failure(self, now_us: int, place: Hashable | None, fraction: float) -> Effect:
        """Tell the two apart; the arguments do not matter."""
        crashing, self.crashing = self.crashing, False
        return RestartAfter(0) if crashing else GiveUp("a harness restarts a job only in crash_and_recover")


class RunUnderTest:
    """Made and left by a harness; between two calls of it the job is at rest."""

    def __init__(self, draft: Draft, options: RunOptions, *, batch: int, splits: int, isolate: bool) -> None:
        """Plan the pipeline with its sources replaced; nothing runs yet.

        Raises:
            PlanError: The pipeline cannot run.
        """
        self.clock = ManualClock()
        self.sources: list[FedSource] = []
        graph = draft.graph()
        for number, node in enumerate(draft.nodes):
            if isinstance(node.spec, SourceSpec):
                fed = FedSource(node.name, given_to(node.spec.source), splits, batch)
                self.sources.append(fed)
                spec = SourceSpec(cast("Source[object, object]", fed), "replayable")
                graph.nodes[number] = replace(node, spec=spec)
        if isolate:
            separate(graph)
        outer = current_world()
        check_run_options(options)
        with use_world(World(self.clock, outer.files, InlineOffload(), outer.random)):
            self._run = Run(graph, options)
        # The plan has its chains; by the nodes of its graph the job knows the pipeline's own streams.
        graph.nodes[:] = draft.graph().nodes
        self._restarts = _RestartAfterCrash()
        self._supervisor = self._run._supervisor
        self._supervisor._restarts = self._restarts
        self._told: Exception | None = None

    async def start(self, on_built: Callable[[Built], None]) -> Job:
        """Start the job; `on_built` is called with each attempt before it runs.

        Raises:
            ActorstreamError: It does not come up.
        """
        self._supervisor.on_built = on_built
        job = await self._run.__aenter__()
        self._run._inside = None  # a failure is raised by the harness's next call: nobody has to be cancelled
        follow = self._supervisor.on_built

        def both(built: Built) -> None:
            on_built(built)
            follow(built)

        self._supervisor.on_built = both
        return job

    async def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the job as its block does; a failure that the test has heard of is not raised again."""
        if kind is None and self._told is not None:
            kind, error = type(self._told), self._told
        await self._run.__aexit__(kind, error, trace)

    @property
    def checkpoint(self) -> int:
        """The newest complete checkpoint, 0 if there is none."""
        return self._run._statistics.last_checkpoint_id

    @property
    def ended(self) -> bool:
        """Whether the job is over, well or badly."""
        return self._supervisor.ended.is_set()

    @property
    def built(self) -> Built | None:
        """The attempt that runs, None while there is none."""
        attempt = self._supervisor.attempt
        return attempt.built if attempt is not None and self._supervisor.status == "running" else None

    def raise_failure(self) -> None:
        """Raise what the job has failed with, if it has.

        Raises:
            JobFailed: The operator's error is its cause.
        """
        if self._supervisor.failure is not None:
            self._told = self._supervisor.failure
            raise self._told

    def check_running(self, what: str) -> None:
        """Refuse what only a running job can do.

        Raises:
            JobFailed: The job has failed.
            PlanError: It has ended, or was not entered.
        """
        self.raise_failure()
        if self.ended:
            raise PlanError(f"{what}: the job has ended; outputs can still be read")
        if self.built is None:
            raise PlanError(f"{what}: the job does not run: use the harness inside `async with harness(pipeline) as h`")

    def check_watermarks(self) -> None:
        """Refuse to advance event time where a source's word would end at times that are assigned later.

        Raises:
            PlanError: Names what assigns them.
        """
        for chain in self._run._plan.chains:
            if chain.assigns and chain.inputs:
                raise PlanError(
                    f"advance: a source's watermark does not get past {chain.assigns[0].name}, which is not in the "
                    "actor of its source: say assign_timestamps at the source, before union and rebalance, or let "
                    "records move event time"
                )

    def crash(self) -> Built:
        """Let the running attempt die; give it. The next one starts in the next turns of the loop."""
        attempt = self._supervisor.attempt
        if attempt is None:
            raise PlanError("crash: no attempt runs")
        self._restarts.crashing = True
        attempt.fail(_CrashError("the test let the job crash"))
        return attempt.built

    def request_checkpoint(self) -> asyncio.Future[CheckpointId]:
        """Ask for a checkpoint; the future gets its id once it is complete, or StoreError."""
        requested: asyncio.Future[CheckpointId] = asyncio.get_running_loop().create_future()
        self._supervisor.request(requested)
        return requested

    def clock_due(self) -> int:
        """Give the first instant after which some actor does something by itself; TIME_MAX if none does."""
        built = self.built
        return min((subtask.clock_due for subtask in built.subtasks.values()), default=TIME_MAX) if built else TIME_MAX

    def wake_all(self) -> None:
        """Let every actor look at the clock."""
        built = self.built
        for subtask in built.subtasks.values() if built is not None else ():
            subtask.mailbox.arrival.wake()


def given_to(source: object) -> object:
    """Give what the pipeline's author handed to `Pipeline.source` to make this source."""
    return source.values if isinstance(source, SequenceSource | IterableSource | AsyncIterableSource) else source
