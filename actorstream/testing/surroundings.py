"""What surrounds a simulated process and disturbs it: time that passes, a bad disk, tight mailboxes, sudden ends.

loop     at_step(…)          something is done between two of its steps: a task or the whole block is cancelled
files    FailingFiles        in one folder, one change in ten fails; or the n-th look at the disk
clock    ticking(…)          each look at it costs some time, so that bursts end and slices are cut anywhere
actors   bounded_mailboxes   so many items fit into a lane
lose_notices        what the coordinator says, or is told, does not arrive
freeze_early        state is written between checkpoints, as under memory pressure
"""

# ruff: noqa: SLF001  (a process is disturbed where its author gave nobody a handle)

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from contextlib import contextmanager, suppress
from inspect import CORO_SUSPENDED, getcoroutinestate
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

import anyio

from actorstream.errors import JobFailed, StoreError
from actorstream.model.ids import CheckpointId
from actorstream.model.world import World
from actorstream.runtime.mailbox import ITEM_RECORDS, Mailbox
from actorstream.runtime.messages import Acked, CompleteCheckpoint, Declined, TriggerCheckpoint
from actorstream.testing.faults import CHANGES, InterceptedFiles, disk_error
from actorstream.testing.session import Places

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from actorstream.api.job import Job
    from actorstream.model.world import Clock, FileSystem
    from actorstream.runtime.built import Built
    from actorstream.runtime.supervisor import Supervisor
    from actorstream.testing.faults import CallKind
    from actorstream.testing.loop import SimulatedLoop, SimulatedTask

TICK_S = 0.00005
_OF_CHECKPOINTS = (TriggerCheckpoint, Acked, Declined, CompleteCheckpoint)


def simulated_loop() -> SimulatedLoop:
    """Give the loop of the running simulated process."""
    return cast("SimulatedLoop", asyncio.get_running_loop())


def ticking(world: World, files: FileSystem | None = None) -> World:
    """Give the world of a process in which time passes while code runs."""
    return World(_TickingClock(simulated_loop(), world.clock), files or world.files, world.offload, world.random)


class _TickingClock:
    """Virtual time that passes while code runs: each look at the clock costs some."""

    def __init__(self, loop: SimulatedLoop, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock

    def now_us(self) -> int:
        return self._clock.now_us()

    def monotonic(self) -> float:
        self._loop._now += self._loop.environment.random() * TICK_S
        return self._loop._now


class FailingFiles(InterceptedFiles):
    """A disk that is bad in one place: there one change in ten fails; or that cannot be read now and then.

    Attributes:
        failed: How many calls have failed.
    """

    def __init__(
        self, inner: FileSystem, where: str, rng: random.Random, looks: Places | None = None, root: str = ""
    ) -> None:
        """Fail where `where` is part of the path, and at those looks at what is below `root` that were drawn."""
        super().__init__(inner)
        self._root = root
        self._where = where
        self._rng = rng
        self._looks = looks or Places()
        self.failed = 0

    def _before(self, kind: CallKind, path: str, half: Callable[[], None] | None = None) -> None:
        if kind in CHANGES:
            bad = bool(self._where) and self._where in path and self._rng.random() < 0.1
        else:
            bad = path.startswith(self._root) and self._looks.here()
        if bad:
            self.failed += 1
            raise disk_error(errno.EIO, path)


def records_for(items: int) -> int:
    """Give how many records a lane is to hold so that `items` batches of one record fit in."""
    return (items - 1) * (ITEM_RECORDS + 1) + 1


@contextmanager
def bounded_mailboxes(records: int) -> Iterator[None]:
    """Let every lane that is made in the block hold so many records."""
    make = cast("Any", Mailbox.__init__)
    usual = make.__defaults__
    make.__defaults__ = (records,)
    try:
        yield
    finally:
        make.__defaults__ = usual


def at_step(loop: SimulatedLoop, actions: Mapping[int, Callable[[], None]]) -> None:
    """Call `actions[k]` just before the loop takes its step k."""
    if not actions:
        return
    take = loop._run_once
    due = sorted(actions.items(), reverse=True)

    def run_once() -> None:
        while due and loop.steps + 1 >= due[-1][0]:
            due.pop()[1]()
        take()

    loop._run_once = run_once  # type: ignore[method-assign]


def kill_task(supervisor: Supervisor, killed: Counter[str], which: int) -> None:
    """Cancel one task of the attempt that runs, from outside, as nobody should; one that waits somewhere."""
    group = None if supervisor.attempt is None else supervisor.attempt._group
    tasks: list[SimulatedTask[object]] = sorted(getattr(group, "_tasks", ()), key=attrgetter("number"))
    waiting = [task for task in tasks if getcoroutinestate(task.get_coro()) == CORO_SUSPENDED]  # type: ignore[arg-type]
    if waiting:
        killed["killed task"] += 1
        waiting[which % len(waiting)].cancel()


def lose_notices(built: Built, places: Places) -> None:
    """Let some of what the coordinator says of a checkpoint, or is told of it, get lost.

    Within one process nothing gets lost but by a bug, or by an actor that is held up: a checkpoint then fails by its
    deadline, and the next one holds all that it would have held. After the last one there is no next.
    """
    coordinator = built.coordinator

    def losing(tell: Callable[[Any], None]) -> Callable[[Any], None]:
        def told(message: Any) -> None:  # noqa: ANN401  (one of two unions of messages)
            last = isinstance(message, CompleteCheckpoint) and message.checkpoint == coordinator._final
            if last or not isinstance(message, _OF_CHECKPOINTS) or not places.here():
                tell(message)

        return told

    coordinator.tell = losing(coordinator.tell)  # type: ignore[method-assign, assignment]
    coordinator._tell = {identity: losing(tell) for identity, tell in coordinator._tell.items()}


async def freeze_early(job: Job, period: float, rng: random.Random) -> None:
    """Freeze subtasks' state between checkpoints, as the budget for state does.

    The acknowledgement is of checkpoint 0, which no coordinator knows and every one ignores (T74).
    """
    while True:
        await anyio.sleep(rng.random() * period)
        attempt = job._supervisor.attempt
        stateful = [] if attempt is None else [task for task in attempt.built.subtasks.values() if task.state]
        if stateful:
            task = rng.choice(stateful)
            if task.state is not None:
                task.snapshots.submit(CheckpointId(0), task.state.freeze(), task.report())


async def rescale_now_and_then(
    job: Job, rescales: Sequence[tuple[float, int]], done: Counter[str] | None = None
) -> None:
    """Rescale; where the job has ended, restarts, or a checkpoint fails, it goes on as it was."""
    done = Counter() if done is None else done
    for seconds, parallelism in rescales:
        await anyio.sleep(seconds)
        done["rescale asked for"] += 1
        with suppress(JobFailed, StoreError):
            await job.rescale(parallelism)
            done["rescale"] += 1


async def save_now_and_then(job: Job, savepoints: Sequence[float], name: str, made: list[str]) -> None:
    """Make savepoints, whose names begin with `name`; one that cannot be made now is not made. Note their folders."""
    for number, seconds in enumerate(savepoints):
        await anyio.sleep(seconds)
        with suppress(JobFailed, StoreError):
            made.append((await job.savepoint(f"{name}-{number}")).path)
