"""A pipeline under test: the real runtime, in memory, on inputs and a clock that only the test moves.

    async with harness(pipeline) as h:
        await h.send(clicks, "a", "b")              all of it is processed when this returns
        await h.advance(watermark=noon, clock=60)   event time; the clock
        assert h.outputs(counts) == [("a", 1), ("b", 1)]
        await h.checkpoint()
        await h.crash_and_recover()                 back to the checkpoint; what was sent since comes again

Nothing waits for time to pass. Between two calls the job is at rest (quiescence.py), so what a test sees does not
depend on the machine's speed.
"""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from actorstream.api.settings import Settings, duration_us
from actorstream.api.stream import Stream
from actorstream.connectors.memory import FETCH_RECORDS
from actorstream.errors import InvariantError, PlanError
from actorstream.eventlog.instants import instant, instant_us
from actorstream.eventlog.log import EventLog
from actorstream.graph.nodes import OutputSpec
from actorstream.graph.render import function_name
from actorstream.model.times import TIME_MAX
from actorstream.testing.harness_outputs import RecordedOutputs
from actorstream.testing.harness_source import FedSource, FedSplit, Journal, Sent, SentWatermark
from actorstream.testing.isolation import Isolation
from actorstream.testing.quiescence import busy_in, have_ended, wait_until
from actorstream.testing.run_under_test import RunUnderTest

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from actorstream.api.draft import Draft
    from actorstream.api.job import Job
    from actorstream.api.options import RunOptions
    from actorstream.api.pipeline import Pipeline
    from actorstream.eventlog.instants import Duration, Time
    from actorstream.model.connect import Source
    from actorstream.runtime.built import Built
    from actorstream.testing.harness_outputs import Place, TapeKey

T = TypeVar("T")

PATIENCE_SECONDS = 10.0


def harness(  # noqa: PLR0913  (what a test may vary)
    pipeline: Pipeline,
    *,
    parallelism: int = 1,
    batch: int = FETCH_RECORDS,
    splits: int = 1,
    isolate: bool = False,
    settings: Settings | None = None,
    patience: float = PATIENCE_SECONDS,
) -> AbstractAsyncContextManager[Harness]:
    """Run a pipeline under the hands of a test.

    The job runs on the test's own loop and keeps no store. Its clock stands at 2026-01-01T00:00Z. Checkpoints are
    taken where the test says so. Each `pipeline.source(x)` reads what the test sends to x and nothing else: x itself
    is not touched. Sinks are the pipeline's own.

    Leaving the block stops the job with a final checkpoint; leaving it by an exception cancels it.

    Args:
        pipeline: Built as for `run`.
        parallelism: Of operators that do not say their own.
        batch: How many records travel together at most. No result depends on it.
        splits: How many splits every source has, for tests of what is done for each.
        isolate: Find what works only because operators share objects. Each is an actor of its own (from where event
            time is assigned), records go one by one and through the codec, and an operator that changes a record
            which it has emitted or been given is named. After each call state goes through a checkpoint and back, and
            operators are built anew. Slow.
        settings: As for `run`.
        patience: Real seconds that one call may take before it raises and says who is busy.

    Raises:
        PlanError: The pipeline cannot run.
    """
    for name, number in (("batch", batch), ("splits", splits)):
        if number < 1:
            raise PlanError(f"harness: {name} is {number}, expected at least 1")
    options: RunOptions = {"parallelism": parallelism, "checkpoint_interval": None, "settings": settings or Settings()}
    run = RunUnderTest(pipeline.draft, options, batch=1 if isolate else batch, splits=splits, isolate=isolate)
    return Harness(pipeline.draft, run, patience, Isolation() if isolate else None)


class Harness:
    """Feeds a job, moves its clock, lets it crash, and reads its streams.

    Every call returns once the job is at rest. Every call raises JobFailed if the job has failed, with the operator's
    error as its cause; a job under test is restarted only by `crash_and_recover`.
    """

    def __init__(self, draft: Draft, run: RunUnderTest, patience: float, isolation: Isolation | None) -> None:
        """Take a run that was not started; made by `harness`."""
        self._isolation = isolation
        self._draft = draft
        self._run = run
        self._patience = patience
        self._journal = Journal(run.sources)
        self._outputs = RecordedOutputs(_places_of(draft))
        self._job: Job | None = None
        self._watermark_us: int | None = None
        self._seen_checkpoint = 0
        self._lengths_at: dict[int, Mapping[TapeKey, int]] = {}

    async def __aenter__(self) -> Self:
        """Start the job; returns once every operator is open and every source waits for records."""
        self._job = await self._run.start(self._on_built)
        try:
            await self._rest()
        except BaseException as error:
            await self._run.leave(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Stop the job, or cancel it where the block was left by an exception."""
        await self._run.leave(kind, error, trace)

    @property
    def job(self) -> Job:
        """The job, as `pipeline.run` gives it: for `get`, `metrics` and the like."""
        if self._job is None:
            raise PlanError("the job does not run: use the harness inside `async with harness(pipeline) as h`")
        return self._job

    # ---- inputs and time

    async def send(
        self,
        source: Source[T, Any] | Stream[T] | Iterable[T] | AsyncIterable[T] | Callable[[], AsyncIterable[T]],
        /,
        *values: T,
        at: Time | None = None,
        split: int = 0,
    ) -> None:
        """Let a source read `values`, and have them processed.

        Args:
            source: What the pipeline was given: `x` of `pipeline.source(x)`, the same object, or the stream that
                this call gave. Where several sources read it, each of them gets the values.
            values: The records.
            at: The event time that the source gives with each of them. Without it an EventLog gives what its
                `timestamp` says, or the clock; any other source gives none.
            split: To which split; see `harness(splits=...)`.

        Raises:
            JobFailed: A function of the pipeline raised; its error is the cause.
            PlanError: There is no such source or split, or the inputs have ended.
        """
        self._begin("send")
        times = self._times(source, values, at)
        entries = [Sent(value, None if time is None else time / 1e6) for value, time in zip(values, times, strict=True)]
        self._journal.send([(_split_of(fed, split), entries) for fed in self._sources(source)])
        await self._finish_call()

    async def advance(self, *, watermark: Time | None = None, clock: Duration | None = None) -> None:
        """Let time pass: event time up to `watermark`, then the clock by `clock`, each with all that follows from it.

        Args:
            watermark: Every split of every source says that no record of this time or an earlier one comes any more.
                Part of what is sent: after a crash it comes again.
            clock: How far; the clock stops at each instant at which something is due.

        Raises:
            JobFailed: A function of the pipeline raised; its error is the cause.
            PlanError: Neither is given, time would go back, or a watermark would end at an `assign_timestamps` that
                is not in the actor of its source.
        """
        self._begin("advance")
        if watermark is None and clock is None:
            raise PlanError("advance: say how far: watermark=... for event time, clock=... for the clock")
        if watermark is not None:
            self._run.check_watermarks()
            self._send_watermark(instant_us(watermark))
            await self._rest()
        if clock is not None:
            await self._move_clock(duration_us(clock, "advance: clock"))
        await self._finish_call()

    async def end_input(self) -> None:
        """End every source; returns when the job has finished with its final checkpoint.

        Where the settings say that timers of the clock are waited for, the clock moves as far as they need.

        Raises:
            JobFailed: A function of the pipeline raised; its error is the cause.
        """
        self._begin("end_input")
        self._journal.end()
        await wait_until(self._unfinished, self._patience)
        self._run.raise_failure()

    def outputs(self, stream: Stream[T], /) -> list[T]:
        """Give what `stream` gave since the last call with it, each element once, whatever crashed in between.

        Of the operators behind a stream (a union has several) and their subtasks, each one's output is in its order.

        Raises:
            PlanError: The stream is not of this pipeline, or was made after the job was started.
        """
        if stream.origin.draft is not self._draft:
            raise PlanError(f"outputs: the stream is one of pipeline {stream.origin.draft.name!r}")
        places = tuple((edge.source, edge.output) for edge in stream.origin.inputs)
        return cast("list[T]", self._outputs.take(places))

    # ---- checkpoints and crashes

    async def checkpoint(self) -> None:
        """Take a checkpoint; returns once it is complete and committed.

        Raises:
            StoreError: It failed.
        """
        self._begin("checkpoint")
        await self._complete_checkpoint()

    async def crash_and_recover(self) -> None:
        """Let the job die without a last word, start it again from its last checkpoint, and send again what came after.

        The clock does not go back. Operators are built anew; that `close` is called on the old ones is all that
        differs from `kill -9`.

        Raises:
            JobFailed: It cannot be restored.
            ReplayDiffersError: An output that the test has taken is not what the replay gave in its place.
        """
        self._begin("crash_and_recover")
        await self._recover()

    # ---- inside

    async def _finish_call(self) -> None:
        """Let what was sent be processed; in isolation, let state pass through a checkpoint too."""
        await self._rest()
        if self._isolation is not None:
            self._isolation.check()
            await self._complete_checkpoint()
            await self._recover()

    async def _complete_checkpoint(self) -> None:
        requested = self._run.request_checkpoint()
        await wait_until(lambda: None if requested.done() else self._who_works(), self._patience)
        self._run.raise_failure()
        requested.result()
        self._note_checkpoint()
        await self._rest()

    async def _recover(self) -> None:
        self._journal.rewind()
        dead = self._run.crash()
        await self._rest(dead)
        for _ in self._journal.replay():
            await self._rest()
        self._outputs.check_replay()

    def _begin(self, what: str) -> None:
        """Refuse a call that comes too late; what was checkpointed since the last one is of this moment."""
        self._run.check_running(what)
        self._note_checkpoint()

    def _note_checkpoint(self) -> None:
        newest = self._run.checkpoint
        if newest != self._seen_checkpoint:
            self._lengths_at[newest] = self._outputs.lengths()
            self._seen_checkpoint = newest

    def _on_built(self, built: Built) -> None:
        """Record what a new attempt gives, from where its checkpoint stands."""
        restored = built.restored_from
        lengths = {} if restored is None else self._lengths_at.get(restored)
        if lengths is None:
            raise PlanError(
                f"checkpoint {restored} was taken while records were processed, so it is unknown which outputs it "
                "covers: in a test, take checkpoints between two calls of the harness"
            )
        self._outputs.rewind(lengths)
        self._outputs.attach(built)
        if self._isolation is not None:
            self._isolation.attach(built)

    async def _rest(self, dead: Built | None = None) -> None:
        """Wait until the job is at rest: another attempt of it than `dead`."""

        def busy() -> str | None:
            self._run.raise_failure()
            built = self._run.built
            if built is None or built is dead:
                return "the job restarts"
            return busy_in(built, self._journal.splits)

        await wait_until(busy, self._patience)
        self._seen_checkpoint = self._run.checkpoint

    def _unfinished(self) -> str | None:
        if self._run.ended:
            return None
        due, built = self._run.clock_due(), self._run.built
        if due < TIME_MAX and built is not None and have_ended(built) and busy_in(built, ()) is None:
            self._set_clock(due + 1)
        return self._who_works()

    def _who_works(self) -> str:
        built = self._run.built
        return (None if built is None else busy_in(built, ())) or "a checkpoint is not complete"

    def _send_watermark(self, time_us: int) -> None:
        before = self._watermark_us
        if before is not None and time_us < before:
            raise PlanError(f"advance: the watermark cannot go back from {instant(before)} to {instant(time_us)}")
        self._watermark_us = time_us
        self._journal.send([(split, [SentWatermark(time_us)]) for split in self._journal.splits])

    async def _move_clock(self, by_us: int) -> None:
        clock = self._run.clock
        target = clock.now_us() + by_us
        while (due := self._run.clock_due()) < target:
            await self._tick(due + 1)
            if self._run.clock_due() <= due:
                raise InvariantError(f"what was due at {due} was not done, though the clock reads {clock.now_us()}")
        await self._tick(target)

    async def _tick(self, now_us: int) -> None:
        self._set_clock(now_us)
        await self._rest()

    def _set_clock(self, now_us: int) -> None:
        self._run.clock.move_to(max(now_us, self._run.clock.now_us()))
        self._run.wake_all()

    def _sources(self, source: object) -> list[FedSource]:
        if isinstance(source, Stream):
            nodes = {self._draft.nodes[edge.source].name for edge in source.origin.inputs}
            found = [fed for fed in self._run.sources if fed.operator in nodes and source.origin.draft is self._draft]
        else:
            found = [fed for fed in self._run.sources if _is_given(fed, source)]
        if not found:
            shown = function_name(source) if callable(source) else f"{source!r:.80}"
            names = ", ".join(f"{fed.operator} (reads {fed.given!r:.80})" for fed in self._run.sources)
            raise PlanError(
                f"send: pipeline {self._draft.name!r} reads nothing from {shown}; its sources are {names}: "
                "give the very object that pipeline.source was given, or the stream that it gave back"
            )
        return found

    def _times(self, source: object, values: Sequence[object], at: Time | None) -> Sequence[int | None]:
        """Give the event time that the source has for each value."""
        if at is not None:
            return [instant_us(at)] * len(values)
        if not isinstance(source, EventLog):
            return [None] * len(values)
        timestamp = source._timestamp  # noqa: SLF001  (what the log does at an append)
        now_us = self._run.clock.now_us()
        return [now_us if timestamp is None else instant_us(timestamp(value)) for value in values]


def _places_of(draft: Draft) -> dict[Place, str]:
    """Give every output of a pipeline, with its operator's name."""
    places: dict[Place, str] = {
        (node.id, ""): node.name for node in draft.nodes if not isinstance(node.spec, OutputSpec)
    }
    for node, output in sorted(draft.side_outputs):
        places[node, output] = f"side output {output!r} of {draft.nodes[node].name}"
    return places


def _is_given(fed: FedSource, source: object) -> bool:
    """Tell whether this source reads `source`. A method is a new object each time that it is looked up."""
    return fed.given is source or (isinstance(source, MethodType) and fed.given == source)


def _split_of(fed: FedSource, split: int) -> FedSplit:
    found = fed.fed.get(str(split))
    if found is None:
        raise PlanError(f"send: {fed.operator} has no split {split}: harness(pipeline, splits=...) says how many")
    return found
