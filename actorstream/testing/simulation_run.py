"""One run of a pipeline on a simulated machine: process after process on one disk, looked at after each.

    undisturbed()    one process, asyncio's own order, nothing in its way: what is to come out, and how long it takes
    run(plan)        what the plan says; raises BrokenPromiseError

The real runtime, state, store and logs run; only clock, threads, disk and randomness are simulated.
"""

from __future__ import annotations

import os
import random
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actorstream.api.settings import Settings
from actorstream.errors import PlanError
from actorstream.runtime.mailbox import LANE_RECORDS
from actorstream.testing.committed import Committed, Expected
from actorstream.testing.disk import SimulatedDisk
from actorstream.testing.figures import Figures
from actorstream.testing.forks import Forks, check_finished
from actorstream.testing.loop import DeadlockError, StepLimitError
from actorstream.testing.placed_pipeline import PlacedPipeline, Surroundings
from actorstream.testing.run import run_simulated
from actorstream.testing.session import BrokenPromiseError, Session, judge
from actorstream.testing.simulated_process import SimulatedProcess, Watch
from actorstream.testing.simulation_plan import Length, Plan
from actorstream.testing.surroundings import bounded_mailboxes, records_for
from actorstream.testing.unsimulated import find_unsimulated, only_simulated
from actorstream.testing.watching import Checkpoints, watermarks_watched
from actorstream.testing.world import START_US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from actorstream.api.pipeline import Pipeline
    from actorstream.testing.committed import Rows
    from actorstream.testing.run import Outcome

MEMORY_FOLDER = "/dev/shm" if os.path.isdir("/dev/shm") else None
_STEPS_MAX = 2_000_000
_SECONDS_MAX = 30 * 86_400.0
_TIMES_AS_LONG = 60
_RECORDS_UNKNOWN = 50


@dataclass(frozen=True)
class Story:
    """How a run went: the end of each process, how many checkpoints were read back, what was visible at the end."""

    outcomes: Sequence[Outcome[str]]
    checkpoints: int
    rows: Mapping[str, Sequence[object]]
    calls: int = 0
    figures: Figures = field(default_factory=Figures)


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
    def max_parallelism(self) -> int:
        """The most subtasks of an operator."""
        return self._pipeline.max_parallelism

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
            figures = Figures()
            committed = Committed(expected, figures.checks)
            checkpoints = Checkpoints(disk, f"{around.root}/store/{self._pipeline.name}")
            forks = Forks(disk, around, self._pipeline, self._watch)
            outcomes: list[Outcome[str]] = []
            rows: Mapping[str, Rows] = {}
            start_us, calls = START_US, 0
            for number, session in enumerate(plan.sessions):
                if session.fork:
                    forks.before()
                with self._watch.mutant(), watermarks_watched(figures.checks) as gone_back:
                    outcome, process = self._process(plan, number, disk, around, start_us, length)
                start_us, calls = outcome.ended_us, calls + process.calls.count
                outcomes.append(outcome)
                figures.ended(outcome, session)
                figures.faults += process.faults()
                self._judge(outcome, session, gone_back)
                if session.fork:
                    forks.after()
                else:
                    around.savepoints += process.made
                if session.power:
                    disk.power_cut(random.Random(f"{plan.seed} {number}"))
                else:
                    disk.kill()
                found = checkpoints.check()
                if self._watch.on_checkpoints is not None:
                    self._watch.on_checkpoints(disk, found)
                rows = self._watch.shown(self._pipeline.exactly(disk, around))
                ended = outcome.result == "finished"
                committed.check(rows, around.called, at_the_end=ended and not session.fork)
                if session.fork:
                    forks.check(session.fork, at_the_end=ended)
                disk.kill()
            check_finished(plan.sessions, outcomes)
        flat = {sink: [row for part in parts for row in part] for sink, parts in rows.items()}
        figures.looked(checkpoints.looked_at, sum(ledger.asked for ledger in around.ledgers.values()))
        return Story(outcomes, checkpoints.looked_at, flat, calls, figures)

    @contextmanager
    def _machine(self) -> Iterator[tuple[SimulatedDisk, Surroundings]]:
        with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER) as root:
            self._pipeline.lay_out(root)
            disk = SimulatedDisk(root)
            try:
                yield disk, Surroundings(root)
            except BrokenPromiseError as broken:
                # The folder's name is of this run only: with it no run would end as the one before.
                broken.args = tuple(str(each).replace(root, "") for each in broken.args)
                raise
            disk.kill()  # a user's logs are open to the end of their process, which is here

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
    ) -> tuple[Outcome[str], SimulatedProcess]:
        """Run one process; give its end, and what has happened in it."""
        session = plan.sessions[number]
        steps = _STEPS_MAX if limits is None else 20_000 + _TIMES_AS_LONG * limits.steps
        seconds = _SECONDS_MAX if limits is None else 120.0 + _TIMES_AS_LONG * limits.seconds
        seed = f"{plan.seed} {number}"
        settings, undisturbed = self._settings, limits is None
        process = SimulatedProcess(self._pipeline, plan, number, disk, around, settings, self._watch, undisturbed)
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
        return outcome, process
