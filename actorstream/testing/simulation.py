"""Does your pipeline give every result once, whatever happens? Ask a machine that breaks down on purpose.

    def shop() -> Pipeline: ...                                what your program builds, on the records of a test

    def test_nothing_is_lost_or_doubled() -> None:
        simulate(shop, seeds=50).check()

        undisturbed run ──> what is to come out ──────────────────────────────┐
        seed 0 .. 49    ──> reordering, crashes, power cuts, disk faults, … ──> compared after every process

Time, threads, randomness and the disk are simulated; your functions and the library's own runtime, state, store and
logs are real. One seed is one run, in every process and on every machine. A run that fails is made smaller, and told
in one line, which repeats it: `simulate(shop, plan="17 mailbox=1 | crash_step=213 | ")`.

    simulation_run.py     one run           simulation_plan.py   what it consists of      shrinking.py   made smaller
    simulated_process.py  one process       surroundings.py ends.py raising.py ledger.py  what disturbs it
    session.py            what happens to it                     figures.py               how much has happened
    committed.py          what came out     watching.py          what holds for every job
    unsimulated.py        what no simulation can repeat, and so refuses
    interrupts.py         what ends the test, not the pipeline
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actorstream.api.settings import Settings
from actorstream.errors import ActorstreamError, PlanError
from actorstream.testing.committed import Expected
from actorstream.testing.figures import Figures
from actorstream.testing.ledger import outside as outside
from actorstream.testing.placed_pipeline import name_of
from actorstream.testing.session import BrokenPromiseError as BrokenPromiseError
from actorstream.testing.shrinking import STEPS_MAX, shrink
from actorstream.testing.simulation_plan import draw, parse
from actorstream.testing.simulation_run import SimulatedPipeline
from actorstream.testing.unsimulated import CannotBeSimulatedError as CannotBeSimulatedError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    from actorstream.api.pipeline import Pipeline
    from actorstream.testing.simulation_plan import Plan
    from actorstream.testing.simulation_run import Story

SEEDS = 25
CRASHES = 3
_FAILURES_MAX = 3


class SimulationFailedError(AssertionError):
    """Some runs of a simulation broke a promise; the message has one line for each, which repeats it."""


@dataclass
class Simulation:
    """What a simulation has seen.

    Attributes:
        seeds: How many runs were made, those that made failures smaller not among them.
        crashes: How many processes died, or were cancelled.
        recoveries: How many processes went on from what a dead or cancelled one had left, and did what they should.
        checkpoints: How many checkpoints were read back.
        failures: A line for each run that broke a promise: what was found, and the call that repeats it.
        ends: How many processes have finished, crashed, stopped, were cancelled, gave up.
        figures: What has happened to them, by kind, and how much each promise was looked at.
    """

    seeds: int = 0
    crashes: int = 0
    recoveries: int = 0
    checkpoints: int = 0
    failures: Sequence[str] = ()
    ends: Counter[str] = field(default_factory=Counter)
    figures: Figures = field(default_factory=Figures)

    def check(self) -> None:
        """Raise if a run broke a promise.

        Raises:
            SimulationFailedError: Has the lines of `failures`.
        """
        if self.failures:
            raise SimulationFailedError(
                "\n".join([f"{len(self.failures)} of {self.seeds} runs failed", *self.failures])
            )

    def add(self, story: Story) -> None:
        """Count what a run has seen."""
        died = [outcome.crash is not None or outcome.result == "cancelled" for outcome in story.outcomes]
        self.crashes += sum(died)
        self.recoveries += sum(died[:-1])
        self.checkpoints += story.checkpoints
        self.figures.add(story.figures)
        self.ends.update("crashed" if each.crash else each.result or "failed" for each in story.outcomes)


def simulate(  # noqa: PLR0913  (what a test may say)
    pipeline: Callable[[], Pipeline],
    *,
    seeds: int | Iterable[int] = SEEDS,
    crashes: int = CRASHES,
    reference: Callable[[], Sequence[object]] | None = None,
    in_order_by: Callable[[Any], Hashable] | None = None,
    parallelism: int = 4,
    settings: Settings | None = None,
    plan: str | None = None,
) -> Simulation:
    """Exactly once under reordering, crashes, power cuts and disk faults?

    Each run draws from its seed: the order of everything that is ready, bounds of mailboxes, pauses, intervals of
    checkpoints, parallelism; and processes that die at any step, lose power, are cancelled, stopped, rescaled, meet a
    full or bad disk, slow sinks, sources out of reach, functions that raise, actors that are killed. After each process
    all that is visible outside is compared with what is to come out, in the end to the last element.

    Args:
        pipeline: Builds the pipeline, with inputs that end. Called once for each simulated process, as a new process
            would import your program. What it may read and write: see docs/guides/simulation.md.
        seeds: How many runs; or which.
        crashes: How many processes of a run do not come to their end, at most. 0: nothing happens but reordering.
        reference: Gives what is to come out of all sinks together, in any order. None: what the undisturbed run gives.
        in_order_by: Gives an element's lane, such as its key: elements of one lane come in the order of the reference.
            None: any order is right.
        parallelism: The most subtasks of an operator.
        settings: As for `run`.
        plan: One run only: what the line of a failure says.

    Returns:
        What was seen; `check()` raises if a run failed. At most three failures are looked for, and the first one is
        made smaller.

    Raises:
        PlanError: The pipeline cannot be simulated, an argument makes no sense, or an event loop runs here.
        JobFailed: The pipeline fails with nothing in its way.
    """
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        raise PlanError("simulate() runs loops of its own, and one runs here already: call it from a plain function")
    _check_callable(pipeline=pipeline, reference=reference, in_order_by=in_order_by)
    if not isinstance(settings, Settings | None):
        raise PlanError(f"simulate: settings is {settings!r}, expected a Settings")
    said = _as_said(pipeline, reference, in_order_by, settings)
    given = None if reference is None else {"": list(reference())}
    with _quiet():
        simulated = SimulatedPipeline(pipeline, Expected(given or {}, in_order_by), settings)
        if plan is not None:
            return _simulate(simulated, [parse(plan)], said, shrinks=False)
        numbers = _seeds(seeds)
        _check_whole(crashes, "crashes", 0)
        _check_whole(parallelism, "parallelism", 1, simulated.max_parallelism)
        _, length = simulated.expected()
        plans = (draw(seed, length, crashes=crashes, parallelism=parallelism) for seed in numbers)
        return _simulate(simulated, plans, said, shrinks=True)


def _seeds(seeds: int | Iterable[int]) -> Iterator[int]:
    """Give the seeds of the runs as they are asked for: they may come from somebody who looks at the clock.

    Raises:
        PlanError: One is no seed, or there is none: what was not run has shown nothing.
    """
    if isinstance(seeds, int):
        _check_whole(seeds, "seeds", 1)
    number = None
    for number in range(seeds) if isinstance(seeds, int) else seeds:
        _check_whole(number, "a seed", 0)
        yield number
    if number is None:
        raise PlanError("simulate: there are no seeds: give a number of runs, or which")


def _check_whole(value: object, what: str, least: int, most: int | None = None) -> None:
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}, the pipeline's max_parallelism"
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        raise PlanError(f"simulate: {what} is {value!r}, expected an int {bounds}")


def _check_callable(**given: object) -> None:
    for what, function in given.items():
        if function is not None and not callable(function):
            raise PlanError(f"simulate: {what} is {type(function).__name__}, expected a function")
    if given["pipeline"] is None:
        raise PlanError("simulate: expected a function that builds the pipeline")


def _as_said(
    pipeline: Callable[[], Pipeline],
    reference: Callable[[], Sequence[object]] | None,
    in_order_by: Callable[[Any], Hashable] | None,
    settings: Settings | None,
) -> str:
    """Give the arguments without which the line of a failure would not repeat it."""
    said = [name_of(pipeline)]
    said += [] if reference is None else [f"reference={name_of(reference)}"]
    said += [] if in_order_by is None else [f"in_order_by={name_of(in_order_by)}"]
    said += [] if settings is None else [f"settings={settings!r}"]
    return ", ".join(said)


def _simulate(simulated: SimulatedPipeline, plans: Iterable[Plan], said: str, *, shrinks: bool) -> Simulation:
    report = Simulation()
    failures: list[str] = []
    for plan in plans:
        report.seeds += 1
        try:
            report.add(simulated.run(plan))
        except BrokenPromiseError as broken:
            smaller, what = _made_smaller(simulated, plan, broken) if shrinks and not failures else (plan, str(broken))
            failures.append(f'{what}  # again: simulate({said}, plan="{smaller}")')
            if len(failures) == _FAILURES_MAX:
                break
    report.failures = tuple(failures)
    return report


def _made_smaller(simulated: SimulatedPipeline, plan: Plan, broken: BrokenPromiseError) -> tuple[Plan, str]:
    """Give the smallest plan that breaks the same promise, and what it says."""
    said = {str(plan): str(broken)}

    def still_fails(smaller: Plan) -> bool:
        try:
            simulated.run(smaller)
        except BrokenPromiseError as again:
            said[str(smaller)] = str(again)
            return again.oracle == broken.oracle
        except ActorstreamError:
            return False  # with fewer records it cannot even run undisturbed
        return False

    if not still_fails(plan) or said[str(plan)] != str(broken):
        return plan, (
            f"{broken}; the same run once more ended otherwise: the pipeline uses what the simulation does not hold "
            "(the real clock, an order of sets of strings, what an earlier run left in a module)"
        )
    budget = simulated.steps + STEPS_MAX
    smallest = shrink(plan, still_fails, records=simulated.records, enough=lambda: simulated.steps > budget)
    return smallest, said[str(smallest)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's log from saying of thousands of simulated failures what is done on purpose."""
    logger = logging.getLogger("actorstream")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
