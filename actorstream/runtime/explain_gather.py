"""Takes the picture that `job.explain()` explains: reads what the runtime knows, and changes nothing.

    supervisor ── status, failure, attempt
    attempt    ── coordinator's protocol, and each actor: lanes, clocks, splits, calls

It is called between two turns of the loop, so what it sees fits together. Nothing is counted or kept for it beyond
what the runtime needs itself and the instants at which waits begin: a job that is never asked pays nothing.
"""

# ruff: noqa: SLF001  (each actor's insides are its own; this is the one reader of all of them)

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from actorstream.errors import UserCodeError
from actorstream.graph.nodes import SinkSpec, SourceSpec, TimedSpec
from actorstream.model.batch import Batch
from actorstream.model.times import TIME_MIN
from actorstream.operators.generators import BoundedOutOfOrderness
from actorstream.operators.waiting_text import delay_of
from actorstream.runtime.calls import Calls
from actorstream.runtime.explain_picture import (
    Actor,
    Call,
    Channel,
    Checkpoints,
    CheckpointUnderWay,
    Failure,
    Gauge,
    Limited,
    LoopHeld,
    Part,
    Picture,
    Split,
    Waiting,
)
from actorstream.runtime.key_calls import KeyCalls
from actorstream.runtime.source import SourceSubtask
from actorstream.runtime.takes_ahead import TakesAhead

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actorstream.graph.nodes import AssignSpec
    from actorstream.graph.plan import Exchange, Plan
    from actorstream.model.ids import ChannelIndex, SubtaskId
    from actorstream.model.world import Clock
    from actorstream.protocol.watermarks import InputSnapshot
    from actorstream.runtime.built import Built
    from actorstream.runtime.chain_runner import ChainRunner
    from actorstream.runtime.event_time import EventTime
    from actorstream.runtime.explain_picture import Held, Reader, WaitingKind
    from actorstream.runtime.outputs import ExchangeOutput
    from actorstream.runtime.statistics import JobStatistics
    from actorstream.runtime.subtask import Subtask
    from actorstream.runtime.supervisor import Supervisor


def gather(
    plan: Plan,
    supervisor: Supervisor,
    statistics: JobStatistics,
    clock: Clock,
    *,
    started: float,
    readers: Sequence[Reader] = (),
) -> Picture:
    """Look at a job.

    Args:
        plan: Its operators.
        supervisor: Its attempts.
        statistics: The counters of the attempts that have ended.
        clock: The world's.
        started: When the job was started, by the monotonic clock.
        readers: Subscriptions that have no room.
    """
    attempt = supervisor.attempt
    now_us, monotonic = clock.now_us(), clock.monotonic()
    look = _Look(now_us, monotonic, {} if attempt is None else attempt.built.subtasks)
    actors = tuple(map(look.actor, look.subtasks.values()))
    ended = supervisor.ended.is_set()
    return Picture(
        now_us=now_us,
        status="failed" if supervisor.failure is not None else supervisor.status,
        rescaling=supervisor.rescaling,
        loop_held=_loop_held(supervisor),
        seconds=monotonic - started,
        records_in=statistics.records_in + sum(actor.records_in for actor in actors if actor.source is not None),
        records_out=statistics.records_out
        + sum(subtask.statistics.records_delivered for subtask in look.subtasks.values()),
        restarts=statistics.restarts,
        gave_up=None if supervisor.failure is None else str(supervisor.failure),
        failure=None if ended else _failure(plan, supervisor, clock),
        gate_closed=attempt is not None and attempt.built.deployment.gate.closed,
        actors=actors,
        checkpoints=Checkpoints() if attempt is None else look.checkpoints(attempt.built),
        readers=tuple(readers),
        timers_at_end="fire" if attempt is None else attempt.built.deployment.timers_at_end,
    )


def _failure(plan: Plan, supervisor: Supervisor, clock: Clock) -> Failure | None:
    error = supervisor.last_failure
    if error is None:
        return None
    operator = error.operator if isinstance(error, UserCodeError) else None
    sinks = {node.name for node in plan.graph.nodes if isinstance(node.spec, SinkSpec)}
    text = f"{type(error).__name__}: {error}"
    return Failure(
        text,
        operator,
        operator in sinks,
        supervisor.last_failure_us,
        None
        if supervisor.next_try is None
        else clock.now_us() + round((supervisor.next_try - clock.monotonic()) * 1e6),
    )


def _loop_held(supervisor: Supervisor) -> LoopHeld | None:
    block = None if supervisor.watch is None else supervisor.watch.block
    if block is None:
        return None
    own = supervisor.attempt is None or block.job == supervisor.attempt.built.deployment.job
    return LoopHeld(
        block.since_us,
        block.stack[-1] if block.stack else "a function without a name",
        block.operator,
        block.subtask if own else None,
        block.since_us + round(block.seconds * 1e6) if block.over else None,
    )


class _Sending(NamedTuple):
    """What all channels of one exchange from one sender have in common: see `Channel`."""

    sender: SubtaskId
    operator: str
    gauge: str | None
    told_us: int | None
    delay_us: int


def _sending(sender: Subtask, exchange: Exchange, output: ExchangeOutput) -> _Sending:
    runner, stateful = sender.runner, sender.chain.stateful
    operator = next(node.name for node in sender.chain.nodes if node.id == exchange.sender)
    clock = runner._clocks.get(exchange)
    if runner.time is None or clock is None:
        return _Sending(sender.identity, operator, None, None, 0)
    delay_us = delay_of(stateful) if stateful is not None and clock is runner._stage else 0
    return _Sending(sender.identity, operator, _name_of(runner.time, clock), output.watermark, delay_us)


class _Look:
    """One look at an attempt."""

    def __init__(self, now_us: int, monotonic: float, subtasks: Mapping[SubtaskId, Subtask]) -> None:
        self.subtasks = subtasks
        self._now_us = now_us
        self._monotonic = monotonic
        self._behind: dict[int, SubtaskId] = {}
        self._before: dict[int, _Sending] = {}
        for identity, subtask in subtasks.items():
            self._behind.update((id(lane), identity) for lane in subtask.mailbox.lanes)
            for exchange, output in subtask.runner.outputs.items():
                sending = _sending(subtask, exchange, output)
                self._before.update((id(lane), sending) for lane in output.lanes)

    def _wall(self, monotonic: float | None) -> int | None:
        """Give the wall time of an instant by the monotonic clock."""
        return None if monotonic is None else self._now_us - round((self._monotonic - monotonic) * 1e6)

    # ---- actors

    def actor(self, subtask: Subtask) -> Actor:
        chain, statistics, runner, mailbox = subtask.chain, subtask.statistics, subtask.runner, subtask.mailbox
        is_source = isinstance(chain.head.spec, SourceSpec)
        return Actor(
            identity=subtask.identity,
            parallelism=chain.parallelism,
            source=chain.head.name if is_source else None,
            sinks=tuple(node.name for node in chain.nodes if isinstance(node.spec, SinkSpec)),
            functions=tuple(node.name for node in chain.nodes if not isinstance(node.spec, SinkSpec | SourceSpec)),
            began_us=subtask.began_us,
            records_in=statistics.records_in,
            busy_seconds=statistics.busy_seconds,
            slow_us=round(statistics.slow_seconds * 1e6) or None,
            slow_at_us=self._wall(statistics.slow_at),
            idle_seconds=statistics.idle_seconds,
            backpressured_seconds=statistics.backpressured_seconds,
            depth=mailbox.depth,
            rests=mailbox.arrival.is_waited_for and not mailbox.depth,
            opened=runner._bindings is not None,
            ended=subtask._ended,
            held=self._held(subtask),
            layers=0 if subtask.state is None else subtask.state.stack.layers,
            call=self._call(runner),
            waits_for=() if runner.waits_since is None else self._full(runner),
            waits_since_us=self._wall(runner.waits_since),
            writing=len(subtask.snapshots._queue),
            aligning=subtask.alignment._current,
            channels=() if is_source else self._channels(subtask),
            splits=self._splits(subtask) if isinstance(subtask, SourceSubtask) else (),
            gauges=() if runner.time is None else self._gauges(runner.time),
            waiting=self._waiting(runner),
            limited=self._throttled(subtask) or self._calls(subtask),
        )

    def _held(self, subtask: Subtask) -> Held | None:
        if subtask.deployment.gate.closed:
            return "layers"
        return "state memory" if subtask.held else None

    def _call(self, runner: ChainRunner) -> Call | None:
        if runner.calling is None:
            return None
        doing = next(
            (port.doing for port in runner.ports.values() if port.context.operator == runner.calling),
            None,
        )
        return Call(runner.calling, doing, self._wall(runner.calling_since))

    def _throttled(self, subtask: Subtask) -> Limited | None:
        """Give the throttle that lets nothing pass now, though records wait."""
        bindings, mailbox = subtask.runner._bindings, subtask.mailbox
        fronts = [front.item for front in mailbox.front]
        waiting = mailbox.depth + sum(len(item.values) for item in fronts if isinstance(item, Batch))
        is_fed = isinstance(subtask, SourceSubtask) and bool(subtask._ready)  # from memory, as much as may pass
        if bindings is None or not (waiting or is_fed):
            return None
        names = {node.id: node.name for node in subtask.chain.nodes}
        for node, throttle in bindings.throttles.items():
            if throttle.seconds_to_wait() > 0:
                return Limited(names[node], "throttle", throttle.rate * subtask.chain.parallelism, waiting)
        return None

    def _calls(self, subtask: Subtask) -> Limited | None:
        """Give the async function or handlers of which no more may be called now, though records wait."""
        if not isinstance(subtask, TakesAhead):
            return None
        name, calls, queue = subtask.chain.head.name, subtask.taken, subtask.taken.queue
        waiting = queue.unbegun + subtask.mailbox.depth
        if not waiting:
            return None
        limit = calls._calls.concurrency if isinstance(calls, KeyCalls) else 0
        ready = 0
        if isinstance(calls, Calls):
            spec, limit = calls._spec, calls._spec.concurrency
            if spec.rate and queue.unbegun and calls._next_begin > self._monotonic:
                return Limited(name, "rate", spec.rate, waiting)
            if spec.kind != "map_batches":
                ready = queue.open - calls.running
        if calls.running + ready < limit:
            return None
        return Limited(name, "concurrency", limit, waiting, calls.running, ready)

    def _full(self, runner: ChainRunner) -> tuple[SubtaskId, ...]:
        """Give those whose lanes from here have no credit."""
        lanes = [lane for output in runner.outputs.values() for lane in output.lanes if not lane.has_credit()]
        return tuple(dict.fromkeys(self._behind[id(lane)] for lane in lanes))

    def _channels(self, subtask: Subtask) -> tuple[Channel, ...]:
        alignment = subtask.alignment
        late: set[ChannelIndex] = alignment._open - alignment._arrived if alignment._current is not None else set()
        channels: list[Channel] = []
        for index, lane in enumerate(subtask.mailbox.lanes):
            sender, operator, gauge, told_us, delay_us = self._before[id(lane)]
            channels.append(
                Channel(sender, operator, lane.depth, lane.blocked, index in late, gauge, told_us, delay_us)
            )
        return tuple(channels)

    def _splits(self, source: SourceSubtask) -> tuple[Split, ...]:
        taken = source.last_record_us
        lanes = dict(zip(source._splits, source.mailbox.lanes, strict=True))
        return tuple(
            Split(
                name=name,
                finished=place.finished,
                had_records=name in source._held_records or name in taken,
                last_us=taken.get(name),
                depth=lanes[name].depth if name in lanes else 0,
                paused=source._groups[0] if name in lanes and lanes[name].blocked and source._groups else None,
            )
            for name, place in source.positions.items()
        )

    # ---- event time

    def _gauges(self, time: EventTime) -> tuple[Gauge, ...]:
        now, inputs = time._entering.snapshot()
        entering = [self._part(name, standing) for name, standing in zip(time.parts, inputs, strict=True)]
        gauges = [Gauge("", max(now, time.clock.now), tuple(entering))]
        monotonic_us = int(self._monotonic * 1e6)
        for each in time._assigned:
            spec = cast("AssignSpec", each.node.spec)
            now, inputs = each.combiner.snapshot()
            parts: list[Part] = []
            for index, (name, standing) in enumerate(zip(time.parts, inputs, strict=True)):
                generator = each.generators[index]
                highest = generator.highest if isinstance(generator, BoundedOutOfOrderness) else TIME_MIN
                known = isinstance(generator, BoundedOutOfOrderness) and generator.watermark() > TIME_MIN
                idle_at = each.quiet[index].idle_at(monotonic_us) if each.quiet else None
                parts.append(
                    self._part(
                        name,
                        standing,
                        highest if known else None,
                        None if idle_at is None else self._wall(idle_at / 1e6),
                    )
                )
            gauges.append(
                Gauge(
                    each.node.name,
                    max(now, each.clock.now),
                    tuple(parts),
                    spec.idle_timeout_us,
                    spec.out_of_orderness_us,
                )
            )
        return tuple(gauges)

    def _part(self, name: str, standing: InputSnapshot, highest: int | None = None, idle_at: int | None = None) -> Part:
        watermark, idle, ended = standing
        return Part(name, watermark, idle, ended, highest, idle_at)

    def _waiting(self, runner: ChainRunner) -> Waiting | None:
        node, operator, time = runner.chain.stateful, runner._waiting, runner.time
        if node is None or operator is None:
            return None
        gauge = "" if time is None else _name_of(time, runner._stage)
        due, clock_due = operator.due, operator.clock_due
        if not isinstance(node.spec, TimedSpec):
            return Waiting(node.name, "timer", gauge, due, clock_due)
        definition = node.spec.definition
        kind: WaitingKind = "window" if definition.kind.startswith("window-") else "join"
        words = getattr(definition, "windows", definition)  # sliced windows have their definition in themselves
        exact = kind == "window" and not getattr(words, "allowed_lateness_us", 0)
        return Waiting(node.name, kind, gauge, due, clock_due, exact)

    # ---- checkpoints

    def checkpoints(self, built: Built) -> Checkpoints:
        actor = built.coordinator
        protocol = actor._protocol
        current, final = protocol._current, protocol._final
        under_way = None
        if current is not None:
            under_way = CheckpointUnderWay(
                checkpoint=current.checkpoint,
                began_us=self._now_us - (int(self._monotonic * 1e6) - current.started_us),
                missing=tuple(each for each in protocol._subtasks if each not in current.reports),
                publishing=current.publishing,
                final=current.final,
            )
        late = () if final is None else [each for each in protocol._subtasks if each not in protocol._final_committed]
        return Checkpoints(
            interval_us=protocol._interval_us,
            under_way=under_way,
            failed_in_a_row=protocol._failures,
            last_abort=None if actor.last_abort is None else actor.last_abort[1],
            completed=protocol._latest_completed or 0,
            uncommitted=tuple(late),
        )


def _name_of(time: EventTime, clock: object) -> str:
    """Name a clock as its gauge is named."""
    return next((each.node.name for each in time._assigned if each.clock is clock), "")
