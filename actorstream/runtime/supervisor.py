"""The supervisor: attempt after attempt, until the job is over, is stopped, or gives up.

starting ──> running ──> finished
   ^            │ failure: ask the restart strategy
   └─ restarting ┘─────> failed (JobFailed)
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Literal, TypeAlias

import anyio
from xxhash import xxh3_64_hexdigest

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import (
    CodecError,
    DataLossError,
    FencedError,
    InputError,
    InvariantError,
    JobFailed,
    PlanError,
    RestoreError,
    StoreError,
    UserCodeError,
)
from actorstream.protocol.restart import GiveUp, RestartAfter, RestartState
from actorstream.runtime.attempt import Attempt
from actorstream.runtime.building import build
from actorstream.runtime.messages import CheckpointRequest
from actorstream.system.log import log

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable

    from actorstream.graph.plan import Plan
    from actorstream.model.ids import CheckpointId
    from actorstream.protocol.restart import Restart
    from actorstream.runtime.building import JobContext
    from actorstream.runtime.built import Built
    from actorstream.runtime.watchdog import Watch

_A_CHECKPOINT = CheckpointRequest(0)
Status: TypeAlias = Literal["starting", "running", "restarting", "stopping", "finished", "failed"]


class Supervisor:
    """One run of a job. `run` is the body of its root task."""

    def __init__(self, restart: Restart, jitter: Callable[[], float]) -> None:
        """Start with nothing tried."""
        self.status: Status = "starting"
        self.opened = anyio.Event()
        self.ended = anyio.Event()
        self.attempt: Attempt | None = None
        self.failure: JobFailed | None = None
        self.on_built: Callable[[Built], None] = lambda _: None
        self.on_ended: Callable[[], None] = lambda: None
        self._restarts = RestartState(restart)
        self._jitter = jitter
        self._requests: dict[int, asyncio.Future[CheckpointId]] = {}
        self._undone: dict[int, Status] = {}
        self._numbers = count(1)
        self._stop_requested = False
        self.last_failure: Exception | None = None
        self.last_failure_us = 0
        self.next_try: float | None = None
        self._hurry = anyio.Event()
        self._up = anyio.Event()
        self.plan: Plan | None = None
        self.watch: Watch | None = None
        self._handed_over: Built | None = None
        self._before: Built | None = None
        self._rescaling: tuple[int, Plan] | None = None

    async def run(self, context: JobContext) -> None:
        """Run the job to its end.

        Raises:
            JobFailed: Restarts are used up; the failure is its cause.
        """
        self.plan = context.plan
        try:
            while True:
                failure = await self._try(context)
                if failure is None and self._handed_over is not None:
                    context = self._rescaled(context)
                elif failure is None:
                    self.status = "finished"
                    return
                else:
                    await self._after(failure, context)
        except JobFailed as error:
            self.status = "failed"
            self.failure = error
            raise
        except anyio.get_cancelled_exc_class():
            self.status = "failed"
            self.failure = JobFailed(
                "the job was cancelled: what its last checkpoint does not hold comes again next time"
            )
            raise
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            self.status = "failed"
            raise
        except BaseException as error:  # noqa: BLE001  (the supervisor's: a job that ends in silence seems complete)
            cause = _first_of(error)
            self.status = "failed"
            self.failure = _job_failed(f"{type(cause).__name__}: {cause} (not tried again: it is no Exception)", cause)
            raise self.failure from cause
        finally:
            self._refuse_requests("the job has ended")
            self.ended.set()
            self.opened.set()
            self._up.set()
            self.on_ended()

    async def _try(self, context: JobContext) -> Exception | None:
        """Run one attempt; give its failure, None if the job is over or was handed over."""
        self._before, self._handed_over = self._handed_over, None
        try:
            built = await build(context)
            self.plan = built.plan
            self.on_built(built)
            self.attempt = Attempt(built, None if self._before is None else self._close_before)
            await self.attempt.run(self._opened, self._closing)
            self._handed_over = built if built.coordinator.handed_over else None
        except Exception as error:  # noqa: BLE001  (the supervisor's: the restart strategy decides)
            return error
        finally:
            self._collect(context)
            self.attempt = None
            await self._close_before()
        return None

    async def _close_before(self) -> None:
        """Close what the attempt before has left where it has handed over; a second call does nothing."""
        if self._before is not None:
            await self._before.close()
            self._before = None

    def _opened(self) -> None:
        if self.attempt is None:
            return
        built = self.attempt.built
        log.info("job runs", attempt=built.claim.attempt, restored_from=built.restored_from)
        self.status = "stopping" if self._stop_requested else "running"
        self.opened.set()
        self._up.set()
        if self._rescaling is not None and self._rescaling[1] is self.plan:
            self.answer(self._rescaling[0], built.restored_from, None)
            self._rescaling = None
        if self._stop_requested:
            built.coordinator.tell(CheckpointRequest(next(self._numbers), stop=True))

    def _closing(self) -> None:
        """Let questions wait for the next attempt, or for the end: this one's state is about to be let go."""
        if self._up.is_set():  # else the attempt was never up: who waits already waits for the next one on this event
            self._up = anyio.Event()

    def _rescaled(self, context: JobContext) -> JobContext:
        """Give what the next attempt runs by: the old one has handed over to another plan."""
        if self._rescaling is None:
            raise InvariantError("an attempt handed over that nobody asked to")
        self.plan = self._rescaling[1]
        return replace(context, plan=self.plan)

    async def _after(self, failure: Exception, context: JobContext) -> None:
        self._refuse_requests(f"the attempt failed: {failure}")
        if (
            isinstance(failure, FencedError | RestoreError | PlanError | DataLossError | InputError)
            or not self.opened.is_set()
        ):
            # Trying again cannot help: somebody else owns the job, or it never came up.
            raise _job_failed(f"{type(failure).__name__}: {failure}", failure)
        clock = context.world.clock
        self.last_failure, self.last_failure_us = failure, clock.now_us()
        now_us = int(clock.monotonic() * 1e6)
        match self._restarts.on_failure(now_us, _place(failure), self._jitter()):
            case GiveUp(reason):
                raise _job_failed(f"{failure} (not tried again: {reason})", failure)
            case RestartAfter(delay_us):
                told = "; ".join([f"{type(failure).__name__}: {failure}", *getattr(failure, "__notes__", [])])
                log.warning("job restarts", after_seconds=delay_us / 1e6, failure=told)
                self.status = "restarting"
                context.statistics.restarts += 1
                self.next_try = clock.monotonic() + delay_us / 1e6
                with anyio.move_on_after(delay_us / 1e6):
                    await self._hurry.wait()
                self.next_try = None
                # A stop cuts one delay short: a job that keeps failing while it stops must not spin.
                self._hurry = anyio.Event()

    def _collect(self, context: JobContext) -> None:
        """Keep an ended attempt's counters."""
        if self.attempt is not None:
            for subtask in self.attempt.built.subtasks.values():
                if not subtask.chain.inputs:
                    context.statistics.records_in += subtask.statistics.records_in
                context.statistics.records_out += subtask.statistics.records_delivered

    async def running(self) -> Built:
        """Give the attempt that runs; wait for it while the job restarts.

        Raises:
            JobFailed: The job has given up.
            StoreError: The job has ended.
        """
        up = None
        while up is not self._up:  # waiting takes a turn, in which the attempt may have begun to let go of its state
            up = self._up
            await up.wait()
        if self.failure is not None:
            raise self.failure
        if self.attempt is None:
            raise StoreError("the job has ended: its state is in the store, run it again to ask it")
        return self.attempt.built

    # ---- requests

    def request(self, future: asyncio.Future[CheckpointId], asked: CheckpointRequest = _A_CHECKPOINT) -> int | None:
        """Ask the running attempt for a checkpoint or savepoint; `future` gets its id, or StoreError.

        `asked` says all but its number, which is given back; None if nothing can be asked for now.
        """
        if self.attempt is None or self.status not in {"running", "stopping"}:
            what = "savepoint" if asked.savepoint is not None else "checkpoint"
            future.set_exception(StoreError(f"no {what} can be taken now: the job is {self.status}; ask again later"))
            return None
        number = next(self._numbers)
        self._requests[number] = future
        if asked.stop or asked.hand_over:
            # It may go on after all: then the answer sets that right.
            self._undone[number] = self.status
            self.status = "stopping" if asked.stop else "restarting"
        self.attempt.built.coordinator.tell(replace(asked, request=number))
        return number

    @property
    def rescaling(self) -> bool:
        """Tell whether another attempt is to go on by another plan."""
        return self._rescaling is not None

    async def prove_layers(self) -> None:
        """Read now what an attempt that is handed over to would read while nothing comes out.

        Raises:
            StoreError: A layer is missing or damaged: the job goes on, but no other attempt could begin.
        """
        if self.attempt is not None:
            await self.attempt.built.prove_layers()

    def request_rescale(self, future: asyncio.Future[CheckpointId], plan: Plan) -> None:
        """Let another attempt go on by `plan`, after a checkpoint; `future` gets its id once that attempt is open."""
        if self._rescaling is not None or self.status != "running":
            now = "being rescaled" if self._rescaling is not None else self.status
            future.set_exception(StoreError(f"the job cannot be rescaled now: it is {now}; ask again later"))
            return
        number = self.request(future, CheckpointRequest(0, hand_over=True))
        self._rescaling = None if number is None else (number, plan)

    def request_stop(self) -> None:
        """Let the sources stop and the job end with a final checkpoint."""
        if self._stop_requested or self.ended.is_set():
            return
        self._stop_requested = True
        self._hurry.set()
        if self.attempt is not None and self._up.is_set():
            # Also while another end is tried for: that may fail, and then this one insists.
            self.status = "stopping"
            self.attempt.built.coordinator.tell(CheckpointRequest(next(self._numbers), stop=True))

    def answer(self, request: int, checkpoint: CheckpointId | None, error: str | None) -> None:
        """Take the coordinator's answer to a request."""
        future = self._requests.pop(request, None)
        before = self._undone.pop(request, None)
        if error is not None:
            if before is not None and self.status in {"stopping", "restarting"} and self.attempt is not None:
                self.status = "stopping" if self._stop_requested else before
            if self._rescaling is not None and self._rescaling[0] == request:
                self._rescaling = None
        if future is None or future.done():
            return
        if checkpoint is not None:
            future.set_result(checkpoint)
        else:
            future.set_exception(StoreError(error if error is not None else "no reason was given"))

    def _refuse_requests(self, reason: str) -> None:
        for request in list(self._requests):
            self.answer(request, None, reason)


def _first_of(error: BaseException) -> BaseException:
    """Give the error that counts where a task group tells of several: one that is no Exception, if there is."""
    while isinstance(error, BaseExceptionGroup):
        error = min(error.exceptions, key=lambda each: isinstance(each, Exception))
    return error


def _job_failed(message: str, cause: BaseException) -> JobFailed:
    failure = JobFailed(message)
    failure.__cause__ = cause
    for note in getattr(cause, "__notes__", ()):
        failure.add_note(note)
    return failure


def _place(failure: Exception) -> Hashable | None:
    """Identify the record that a user's function failed on, the same in every attempt."""
    if isinstance(failure, CodecError):
        # A key or value that has no encoding today has none tomorrow.
        return type(failure).__name__
    if not isinstance(failure, UserCodeError):
        return None
    if failure.record is None:
        # A sink's target or a source may be out of reach for a while: waiting helps, and no record is to blame.
        return None
    try:
        record = xxh3_64_hexdigest(SELF_DESCRIBING.encode(failure.record))
    except CodecError:
        record = f"{type(failure.record).__qualname__} at {failure.position!r}"
    return failure.operator, failure.subtask, record
