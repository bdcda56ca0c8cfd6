"""Runs an async main as a process that can die at any step, and tells how it ended.

    disk = SimulatedDisk(tmp_path)
    outcome = run_simulated(main, seed=3, disk=disk, crash_at=120)    # dies in place of its step 120
    if outcome.crash:
        disk.power_cut(rng)                                           # or not: then the process was killed
    run_simulated(main, seed="3, again", disk=disk)                   # must recover

To sweep all places for a crash, run once without and go through 1..outcome.steps (`crash_at`), or through
1..outcome.disk_operations (`crash_at_operation`: also inside a call that runs in a thread).

A dead process is fenced off from its disk first. Then its coroutines are closed, as Python would do it later at a
moment of its own: their `finally` blocks run in the dead world, where the disk raises SimulatedCrash and the loop
takes no callback. A double of an outside system guards itself with `SimulatedWorld.ensure_alive`.
"""

# ruff: noqa: SLF001  (tasks that will never end, and what anyio remembers of them, have no public way out)

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from anyio._backends import _asyncio as anyio_asyncio

from actorstream.errors import InvariantError
from actorstream.state.lmdb_env import close_all
from actorstream.system.current import use_world
from actorstream.testing.disk import SimulatedDisk, temporary_disk
from actorstream.testing.interrupts import find_end_of_test
from actorstream.testing.loop import Policy, SimulatedCrash, SimulatedLoop
from actorstream.testing.world import START_US, SimulatedWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping

    from actorstream.model.world import FileSystem
    from actorstream.testing.faults import AttachedFiles
    from actorstream.testing.loop import SimulatedTask

T = TypeVar("T")

_CLOSE_ATTEMPTS = 8
_YOUNGER_COLLECTIONS_MAX = 10
"""How often a generation of garbage is looked at before the next older one is, as the collector itself does it."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """How a simulated process ended: with a result, by a crash, or with an error.

    Attributes:
        result: What `main` returned, if neither `crash` nor `error` is set.
        crash: Where the process died, if it did.
        error: What `main` raised, DeadlockError, StepLimitError, or InvariantError: an error that reached nobody.
        steps: How many steps the loop took.
        disk_operations: How many changes of the disk were begun.
        ended_us: What the wall clock read at the end: `start_us` of the process that comes after.
        digest: Sums up the order of all steps: equal digests, equal runs.
    """

    result: T | None
    crash: str | None
    error: BaseException | None
    steps: int
    disk_operations: int
    ended_us: int
    digest: int

    def value(self) -> T:
        """Give the result; raise the error or the crash if there is none."""
        if self.error is not None:
            raise self.error
        if self.crash is not None:
            raise SimulatedCrash(self.crash)
        return self.result  # type: ignore[return-value]  # None only where T admits it


def run_simulated(  # noqa: PLR0913
    main: Callable[[], Coroutine[Any, Any, T]],
    *,
    seed: int | str = 0,
    policy: Policy = "random",
    disk: SimulatedDisk | None = None,
    crash_at: int | None = None,
    crash_at_operation: int | None = None,
    fail_at: Mapping[int, int] | None = None,
    wrap_files: Callable[[AttachedFiles], FileSystem] | None = None,
    start_us: int = START_US,
    max_steps: int = 1_000_000,
    step_cost: float = 0.0,
    call_delay: float = 0.01,
) -> Outcome[T]:
    """Run `main` from start to end, or to its death, in a `SimulatedWorld` that current_world() gives it.

    After an end that is none of `main`'s own (crash, error, deadlock, step limit) every LMDB environment of this real
    process is closed. Tasks that a normal end leaves behind are cancelled, as asyncio.run does.

    What a handler of a signal raises meanwhile, and what `main` raises that is no Exception, is no end of a program:
    it is raised from here.

    Args:
        main: Called without arguments.
        seed: Decides every choice. Give each process of one test its own, or they draw the same ids.
        policy: Who of the ready tasks runs next.
        disk: The machine's disk; a new one for this run only if None.
        crash_at: Die in place of this step.
        crash_at_operation: Die in place of this change of the disk; a write is made by half.
        fail_at: errno by number: that change of the disk fails.
        wrap_files: Given the process's files, gives what it shall see instead (such as `FaultyFiles`).
        start_us: What the wall clock reads at the start.
        max_steps: Give up after as many steps.
        step_cost: Virtual seconds a step takes.
        call_delay: Usual longest virtual time before and after a call in a thread.
    """
    with ExitStack() as stack:
        stack.enter_context(_uncollected())
        if disk is None:
            disk = stack.enter_context(temporary_disk())
        loop = SimulatedLoop(
            seed=seed,
            policy=policy,
            crash_at=crash_at,
            max_steps=max_steps,
            step_cost=step_cost,
            call_delay=call_delay,
        )
        files = disk.attach(crash_at=crash_at_operation, fail_at=fail_at, on_crash=loop.crash)
        wrapped = files if wrap_files is None else wrap_files(files)
        world = SimulatedWorld(loop, wrapped, seed=seed, start_us=start_us)
        result, crash, error = None, None, None
        stack.enter_context(loop.interrupts.watched())
        with use_world(world):
            try:
                result = _run_to_end(loop, main)
            except SimulatedCrash as death:
                crash = str(death)
            except BaseException as problem:  # noqa: BLE001  (what it means is the caller's to say)
                error = problem
                if (end := find_end_of_test(problem)) is not None:
                    raise end from None
            finally:
                files.fence()
                if crash is not None or error is not None:
                    close_all()
                bury(loop)
        loop.interrupts.check()
        return Outcome(result, crash, error, loop.steps, files.operations, world.clock.now_us(), loop.digest)


def bury(loop: SimulatedLoop) -> None:
    """Close the loop and end what still waits on it, in silence; free it all while it is young (a few ms).

    Fence first what the coroutines' `finally` blocks could reach.
    """
    waiting = loop.waiting()
    loop.close()
    states = anyio_asyncio._task_states  # its values refer to its keys: what stays in it is never freed
    for dead in [task for task in states if task.get_loop() is loop]:
        del states[dead]
    with _silence():
        for task in waiting:
            _end(task)
        waiting.clear()
        gc.collect(_generation_due())  # nothing was collected during the run: all of it is in the youngest generation


def _generation_due() -> int:
    """Give the oldest generation whose turn it is: the collector by itself is never on for long enough to look at it.

    What outlives its own run by chance is garbage one run later: a sweep over all steps of a job came to 2 GB of that.
    """
    counts = gc.get_count()
    return max((each for each in (1, 2) if counts[each] > _YOUNGER_COLLECTIONS_MAX), default=0)


def _run_to_end(loop: SimulatedLoop, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    root = loop.create_task(main(), name="main")
    try:
        result = loop.run_until_complete(root)
    finally:
        if root.done() and loop.crashed is None:
            _cancel_leftovers(loop)
    gc.collect(_generation_due())  # an error in a task that nobody asked is told when the task is freed
    if loop.unhandled:
        said = loop.unhandled[0]
        cause = said.get("exception")
        raise InvariantError(f"an error reached nobody: {said['message']}: {cause!r}") from cause
    return result


def _cancel_leftovers(loop: SimulatedLoop) -> None:
    if leftovers := loop.waiting():
        for task in leftovers:
            task.cancel()
        loop.run_until_complete(asyncio.wait(leftovers))
    loop.run_until_complete(loop.shutdown_asyncgens())


def _end(task: SimulatedTask[object]) -> None:
    """Close a suspended coroutine, also one that awaits again while it is closed."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    for _ in range(_CLOSE_ATTEMPTS):
        try:
            task.get_coro().close()
        except BaseException:  # noqa: BLE001  (the last words of a dead process)
            continue
        return


@contextmanager
def _silence() -> Iterator[None]:
    """Drop what Python says about coroutines that end unasked or never began."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.unraisablehook = hook


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector off: it would end a dead process's coroutines at a moment of its own."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
