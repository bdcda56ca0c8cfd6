"""An asyncio event loop on virtual time: one seed is one order of everything that happens.

    loop = SimulatedLoop(seed=7, policy="random")
    loop.run_until_complete(main())             # anyio and asyncio code as it is

        ready    [task step] [callback] [task step] [task step]      timers  (when, callback) …
                      └── the policy picks one and runs it             └── nothing ready: time jumps here

No selector, no thread, no real clock: what asyncio would have learnt from the machine, the seed decides.

Invariants:
    - Only steps of tasks are reordered. Callbacks keep their order among themselves: asyncio promises it, and its
      futures and anyio's cancel scopes rely on it.
    - Nothing depends on addresses or on the hash seed: tasks and futures hash by their number, and anyio's sets of
      tasks and scopes, which it walks when it cancels, are ordered while a simulated loop runs, and only then.
    - The garbage collector is off while the loop runs: finalizers would run at steps of its own choosing.
    - A crash ends the run between two steps, or inside one that then leads nowhere: no task steps again.

Sources: policy `pct` is Burckhardt et al. 2010, "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs".
"""

# ruff: noqa: SLF001  (a loop is built from asyncio's own parts, and anyio has no hook for its order of cancelling)
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import gc
import heapq
import math
import random
import threading
from asyncio import base_events
from collections import deque
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, TypeVarTuple

from anyio._backends import _asyncio as anyio_asyncio

from actorstream.errors import ActorstreamError
from actorstream.testing.interrupts import Interrupts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextvars import Context

    from anyio import CapacityLimiter

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Policy: TypeAlias = Literal["fifo", "random", "pct"]
TaskBody: TypeAlias = Generator[Any, None, T] | Coroutine[Any, Any, T]

_PCT_DROPS = 3
_PCT_FAIRNESS = 1 / 16  # strict priorities never end beside code that yields in a loop, as anyio's cancelling does
_SLOW_CALL_EVERY = 20
_CANCELLED_TIMERS = 100


class SimulatedCrash(BaseException):
    """The simulated process died here. Not an Exception, so that no code under test survives it by accident."""


class DeadlockError(ActorstreamError):
    """Nothing can ever happen again and the run is not over; the message lists where each task waits."""


class StepLimitError(ActorstreamError):
    """The run took more steps than it was given; the message lists where each task waits."""


class SimulatedFuture(asyncio.Future[T]):
    """A future that hashes by its number, so that a set of futures has one order in every process."""

    def __init__(self, *, loop: SimulatedLoop, number: int) -> None:
        self.number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        """Give the number."""
        return self.number


class SimulatedTask(asyncio.Task[T]):
    """A task that hashes by its number: how many tasks and futures its loop had made before it."""

    def __init__(
        self, coro: TaskBody[T], *, loop: SimulatedLoop, name: str, context: Context | None, number: int
    ) -> None:
        self.number = number  # first: registering the task hashes it
        super().__init__(coro, loop=loop, name=name, context=context)

    def __hash__(self) -> int:
        """Give the number."""
        return self.number


class SimulatedLoop(base_events.BaseEventLoop):
    """The loop. What the code under test may ask of it beyond tasks, futures, timers and threads raises.

    Attributes:
        steps: How many callbacks and task steps have run.
        digest: Sums up which task ran at which step and time: equal digests are equal runs.
        trace: (time, task's or callback's name) of every step, if asked for.
        crashed: Why the simulated process died, or None.
        unhandled: What asyncio would have written to its log: errors that reached nobody.
        environment: Randomness of the surroundings (delays, faults), apart from the scheduler's, so that one does not
            shift the other.
    """

    def __init__(  # noqa: PLR0913
        self,
        *,
        seed: int | str = 0,
        policy: Policy = "random",
        crash_at: int | None = None,
        max_steps: int = 1_000_000,
        step_cost: float = 0.0,
        call_delay: float = 0.01,
        pct_steps: int = 2000,
        trace: bool = False,
    ) -> None:
        """Make a loop that has not run.

        Args:
            seed: Decides every choice.
            policy: Who of the ready ones runs next: "fifo" is asyncio's own order, "random" takes any, "pct" gives each
                task a random priority and lowers three of them on the way.
            crash_at: Raise SimulatedCrash out of the run in place of this step, counted from 1.
            max_steps: Raise StepLimitError after as many.
            step_cost: Virtual seconds that each step takes. Above 0, timers also fire between ready tasks.
            call_delay: Usual longest virtual time before, and again after, a call in a thread; one in 20 takes more.
            pct_steps: About how long a run is expected to be, for "pct".
            trace: Keep a list of all steps.
        """
        super().__init__()
        self._ready: deque[asyncio.Handle] = deque()
        self._scheduled: list[asyncio.TimerHandle] = []
        self._timer_cancelled_count = 0
        self._clock_resolution = 0.0
        self._now = 0.0
        self._step_cost = step_cost
        self._call_delay = call_delay
        self._scheduler = random.Random(f"{seed} scheduler")
        self.environment = random.Random(f"{seed} environment")
        self._policy = policy
        self._priorities: dict[int, float] = {}
        self._drops = sorted(self._scheduler.randrange(pct_steps) for _ in range(_PCT_DROPS))
        self._numbers = 0
        self._crash_at = crash_at
        self._max_steps = max_steps
        self.steps = 0
        self.digest = 0
        self.trace: list[tuple[float, str]] | None = [] if trace else None
        self.crashed: SimulatedCrash | None = None
        self.unhandled: list[dict[str, Any]] = []
        self.interrupts = Interrupts()

    def time(self) -> float:
        """Give the virtual time, in seconds since the loop was made."""
        return self._now

    def create_task(
        self, coro: TaskBody[T], *, name: object = None, context: Context | None = None
    ) -> SimulatedTask[T]:
        """Start a task under the next number; an unnamed one is named after its function."""
        self._check_closed()
        self._numbers += 1
        label = getattr(coro, "__qualname__", "task") if name is None else name
        return SimulatedTask(coro, loop=self, name=str(label), context=context, number=self._numbers)

    def create_future(self) -> SimulatedFuture[Any]:
        """Make a future under the next number."""
        self._numbers += 1
        return SimulatedFuture(loop=self, number=self._numbers)

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Do as `call_soon`; refuse other threads, whose timing nobody could repeat."""
        if threading.get_ident() != self._thread_id:
            raise RuntimeError("another thread called a simulated loop: run blocking calls by `World.offload`")
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: object, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Run `func` as `offload` does."""
        return self.offload(partial(func, *args))

    def offload(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Stand in for a thread: `call` runs whole, after a delay; its outcome arrives after another.

        As with a thread, cancelling the future does not keep the call from being made.
        """
        outcome: asyncio.Future[T] = self.create_future()
        self.call_later(self._draw_delay(), self._run_aside, call, outcome)
        return outcome

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Do nothing: there are no threads."""

    def run_forever(self) -> None:
        """Run until stopped, with anyio made repeatable and the garbage collector off."""
        collected = gc.isenabled()
        gc.disable()
        try:
            with _repeatable_anyio():
                super().run_forever()
        finally:
            if collected:
                gc.enable()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody handled; what a dead process leaves behind is no news."""
        if self.crashed is None and not self.is_closed():
            self.unhandled.append(context)

    def crash(self, reason: str) -> SimulatedCrash:
        """Let the process die: the run ends with the step that is under way. Give the exception to raise in it."""
        self.crashed = SimulatedCrash(f"{reason}, step {self.steps}, {self._now:.6f} s")
        return self.crashed

    def _run_once(self) -> None:
        self._wake_timers()
        if not self._ready:
            return
        handle = self._take_next()
        if handle._cancelled:
            return
        self.steps += 1
        if self.steps == self._crash_at:
            raise self.crash("crash between two steps")
        if self.steps > self._max_steps:
            raise StepLimitError(f"not over after {self._max_steps} steps, {self._now:.6f} s: {self._whereabouts()}")
        task = _task_of(handle)
        self.digest = hash((self.digest, 0 if task is None else task.number, self._now))
        if self.trace is not None:
            self.trace.append((self._now, _callback_name(handle) if task is None else task.get_name()))
        handle._run()
        self.interrupts.check()
        self._now += self._step_cost
        if self.crashed is not None:
            raise self.crashed

    def _wake_timers(self) -> None:
        if self._timer_cancelled_count > max(_CANCELLED_TIMERS, len(self._scheduled) // 2):
            self._scheduled = [timer for timer in self._scheduled if not timer._cancelled]
            heapq.heapify(self._scheduled)
            self._timer_cancelled_count = 0
        timers = self._scheduled
        while timers and timers[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(timers)._scheduled = False
        if not self._ready and not self._stopping:
            if not timers or timers[0].when() == math.inf:  # a sleep for ever is a timer too
                raise DeadlockError(f"stuck for ever at step {self.steps}, {self._now:.6f} s: {self._whereabouts()}")
            self._now = max(self._now, timers[0].when())
        while timers and timers[0].when() <= self._now:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            self._ready.append(timer)

    def _take_next(self) -> asyncio.Handle:
        ready = self._ready
        if self._policy == "fifo" or len(ready) == 1:
            return ready.popleft()
        if self._policy == "random" or self._scheduler.random() < _PCT_FAIRNESS:
            index = int(self._scheduler.random() * len(ready))
        else:
            index = self._highest_priority()
        if _task_of(ready[index]) is None:
            index = next(place for place, handle in enumerate(ready) if _task_of(handle) is None)
        handle = ready[index]
        del ready[index]
        return handle

    def _highest_priority(self) -> int:
        priorities, draw = self._priorities, self._scheduler.random
        tasks = [_task_of(handle) for handle in self._ready]
        ranks = [draw() if task is None else priorities.setdefault(task.number, draw()) for task in tasks]
        best = ranks.index(max(ranks))
        task = tasks[best]
        if task is not None and self._drops and self.steps >= self._drops[0]:
            del self._drops[0]
            priorities[task.number] = -draw()
        return best

    def _draw_delay(self) -> float:
        slow = self.environment.randrange(_SLOW_CALL_EVERY) == 0
        return self.environment.random() * self._call_delay * (_SLOW_CALL_EVERY if slow else 1)

    def _run_aside(self, call: Callable[[], T], outcome: asyncio.Future[T]) -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001  (as a thread does: whatever it is goes to the waiter)
            self.call_later(self._draw_delay(), _settle, outcome, outcome.set_exception, error)
        else:
            self.call_later(self._draw_delay(), _settle, outcome, outcome.set_result, result)

    def waiting(self) -> list[SimulatedTask[object]]:
        """Give the tasks that are not done, in the order of their making."""
        mine = [task for task in asyncio.all_tasks(self) if isinstance(task, SimulatedTask)]
        return sorted(mine, key=lambda task: task.number)

    def _whereabouts(self) -> str:
        places = [f"task {task.number} {task.get_name()!r} {_whereabouts_of(task)}" for task in self.waiting()]
        return "; ".join(places) or "no task is left"

    def _process_events(self, event_list: object) -> None:
        """Nothing comes from outside."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""


def _task_of(handle: asyncio.Handle) -> SimulatedTask[Any] | None:
    """Give the task if the handle is one of its steps; `task.cancel` as a callback is not."""
    callback = handle._callback
    task = getattr(callback, "__self__", None)
    if type(task) is SimulatedTask and getattr(callback, "__name__", "task_step") in ("task_step", "task_wakeup"):
        return task
    return None


def _callback_name(handle: asyncio.Handle) -> str:
    callback = handle._callback
    return str(getattr(callback, "__qualname__", type(callback).__name__))


def _whereabouts_of(task: SimulatedTask[object]) -> str:
    """Say in which function a task waits, and which one of its own had called that."""
    frames = []
    inner: object = task.get_coro()
    while inner is not None:
        frame = getattr(inner, "cr_frame", None) or getattr(inner, "gi_frame", None)
        if frame is not None:
            frames.append((frame.f_code, frame.f_lineno))
        inner = getattr(inner, "cr_await", None) or getattr(inner, "gi_yieldfrom", None)
    if not frames:
        return "is about to start or end"
    foreign = ("/asyncio/", "/anyio/")
    own = [frame for frame in frames if not any(part in frame[0].co_filename for part in foreign)] or frames
    code, line = own[-1]
    place = f"waits in {code.co_qualname} ({code.co_filename.rpartition('/')[2]}:{line})"
    return place if own[-1] is frames[-1] else f"{place}, in {frames[-1][0].co_qualname}"


def _settle(outcome: asyncio.Future[Any], settle: Callable[[Any], None], value: object) -> None:
    if not outcome.done():
        settle(value)


class _OrderedSet(dict[Any, None]):
    """A set in order of insertion, as far as anyio's cancel scopes use one."""

    def add(self, member: object) -> None:
        self[member] = None

    def remove(self, member: object) -> None:
        del self[member]

    def discard(self, member: object) -> None:
        self.pop(member, None)


@contextmanager
def _repeatable_anyio() -> Iterator[None]:
    """Order anyio's sets of tasks and scopes and lead its threads to `SimulatedLoop.offload`, for the block."""
    scope, backend = anyio_asyncio.CancelScope, anyio_asyncio.AsyncIOBackend
    begin = scope.__init__
    in_thread = backend.__dict__["run_sync_in_worker_thread"]

    def begin_ordered(self: anyio_asyncio.CancelScope, deadline: float = math.inf, shield: bool = False) -> None:  # noqa: FBT001, FBT002
        begin(self, deadline, shield)
        self._child_scopes, self._tasks = _OrderedSet(), _OrderedSet()  # type: ignore[assignment]

    async def run_aside(  # type: ignore[return]  # the scope swallows no error
        cls: type[anyio_asyncio.AsyncIOBackend],
        func: Callable[[*Ts], T],
        args: tuple[*Ts],
        abandon_on_cancel: bool = False,  # noqa: FBT001, FBT002
        limiter: CapacityLimiter | None = None,
    ) -> T:
        loop = asyncio.get_running_loop()
        await cls.checkpoint()
        async with limiter or cls.current_default_thread_limiter():
            with scope(shield=not abandon_on_cancel):
                outcome = loop.run_in_executor(None, func, *args)
                return await outcome

    scope.__init__ = begin_ordered  # type: ignore[method-assign]
    backend.run_sync_in_worker_thread = classmethod(run_aside)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        scope.__init__ = begin  # type: ignore[method-assign]
        backend.run_sync_in_worker_thread = in_thread  # type: ignore[method-assign]
