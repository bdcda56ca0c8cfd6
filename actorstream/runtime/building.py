"""From a plan and a store to actors: claim an attempt, decide what to restore, open layers, wire lanes.

claim ─> decide ─> load manifest ─> open layers (verified) ─> states, positions, tokens ─> actors and lanes
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain as row
from itertools import count
from typing import TYPE_CHECKING

from actorstream.graph.awaited import AsyncSpec
from actorstream.graph.nodes import Forward, Keyed, PartitionBy, ProcessSpec, awaits
from actorstream.model.ids import CheckpointId, LayerName, OperatorNumber, SubtaskId
from actorstream.model.key_groups import range_of
from actorstream.model.times import TIME_MIN
from actorstream.operators.columns import columns_of
from actorstream.operators.process_binding import make_process
from actorstream.operators.routing import Chooser, Router
from actorstream.operators.step_text import Bindings
from actorstream.operators.throttle import Throttle
from actorstream.protocol.coordinator import Coordinator
from actorstream.runtime.aligned_sources import AlignedSources
from actorstream.runtime.assembling import ManifestWriter
from actorstream.runtime.async_subtask import AsyncSubtask
from actorstream.runtime.built import Built
from actorstream.runtime.compactor import Compactor, OwnedStack
from actorstream.runtime.coordinator import CoordinatorActor
from actorstream.runtime.deployment import Deployment
from actorstream.runtime.encodable import check_awaited_encodable, check_encodable, check_loops_encodable
from actorstream.runtime.event_time import NOTHING_TOLD, EventTime, TimeReport, Told
from actorstream.runtime.flights import Flights, alignment_timeout_of, in_step, moved, places_of, plan_for
from actorstream.runtime.gate import Gate
from actorstream.runtime.key_subtask import KeySubtask, WithHandlers
from actorstream.runtime.loop_head import LoopHead
from actorstream.runtime.loop_wiring import LoopWiring
from actorstream.runtime.mailbox import Front
from actorstream.runtime.opening import claim_attempt, open_restored
from actorstream.runtime.operator_states import number_all, read_unkeyed, state_of
from actorstream.runtime.outputs import ExchangeOutput
from actorstream.runtime.pace import Pace
from actorstream.runtime.replay_order import ReplayOrder
from actorstream.runtime.retaining import Retaining
from actorstream.runtime.source import SourceSubtask
from actorstream.runtime.splits import assign_splits, blaming, silent_subtasks
from actorstream.runtime.subtask import Subtask
from actorstream.runtime.takes_ahead import TakesAhead
from actorstream.runtime.turns import InTurns
from actorstream.state.budget import Budget
from actorstream.state.writer import LayerWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actorstream.checkpoints.directory import CheckpointDirectory
    from actorstream.graph.nodes import NodeId
    from actorstream.graph.plan import Chain, Exchange, Plan
    from actorstream.model.connect import Sink
    from actorstream.model.ids import JobId
    from actorstream.model.world import Offload, World
    from actorstream.operators.columns import Column
    from actorstream.protocol.attempts import Claim
    from actorstream.runtime.beginning import Beginning
    from actorstream.runtime.job_settings import JobSettings
    from actorstream.runtime.messages import CoordinatorMessage, SnapshotReport, SplitPosition
    from actorstream.runtime.replay_order import Replaying
    from actorstream.runtime.restoring import Restored
    from actorstream.runtime.statistics import JobStatistics
    from actorstream.state.operator_state import OperatorState
    from actorstream.state.stack import LayerStack

HOST = "0"
"""Names the one process that runs the actors; worker processes get numbers of their own."""


@dataclass(frozen=True, slots=True)
class JobContext:
    """What every attempt of one run has in common.

    `documents` carries out what touches documents of the store only. `durable`: the store stays when the process ends.
    `beginning` is a savepoint to begin from; `fork` names a job beside its origin, with the sinks `forked`. `replaying`
    makes it a replay, whose actors take turns.
    """

    plan: Plan
    settings: JobSettings
    world: World
    job: JobId
    directory: CheckpointDirectory
    root: str
    layers_folder: str
    statistics: JobStatistics
    answer: Callable[[int, CheckpointId | None, str | None], None]
    documents: Offload
    durable: bool = True
    beginning: Beginning | None = None
    fork: str = ""
    replaying: Replaying | None = None
    forked: Mapping[str, Sink[object]] = field(default_factory=dict)

    def with_plan(self, plan: Plan) -> JobContext:
        """Give the same with other actors."""
        return self if plan is self.plan else replace(self, plan=plan)


async def build(context: JobContext) -> Built:
    """Claim the next attempt and make its actors.

    Raises:
        PlanError: Barriers may overtake records that have no encoding, or what goes round, or is awaited, has none.
        FencedError: Another process took the attempt's number.
        RestoreError: The newest checkpoint cannot be restored, or not into this plan.
        StoreError: A file of it is missing or damaged.
    """
    if alignment_timeout_of(context.plan, context.settings) is not None:
        check_encodable(context.plan)
    check_loops_encodable(context.plan)
    check_awaited_encodable(context.plan)
    claim = await context.documents.run(claim_attempt, context)
    processes: dict[SubtaskId, object] = {}
    for chain in context.plan.chains:
        if chain.stateful is not None and isinstance(chain.stateful.spec, ProcessSpec):
            for subtask in chain.subtasks():
                with blaming(chain.stateful.name, "when it was built"):
                    processes[subtask] = make_process(chain.stateful.spec.factory, chain.stateful.spec.owner)
    columns = {
        chain.stateful.name: columns_of(chain.stateful, processes.get(SubtaskId(chain.name, 0)))
        for chain in context.plan.chains
        if chain.stateful is not None
    }
    restored = await open_restored(context, columns, claim)
    store = context.root if context.durable else None
    retaining = Retaining(context.plan, context.job, store, restored.kept, max(1, context.settings.retained))
    try:
        before, context = context.plan, context.with_plan(plan_for(context.plan, restored.in_flight, restored.in_doubt))
        processes = moved(processes, before, context.plan)
        groups = context.plan.graph.max_parallelism
        restored.unkeyed = await read_unkeyed(restored, restored.columns or columns, groups)
        await retaining.before_reading()
        splits = await assign_splits(context.plan, restored, durable=context.durable)
        return _Builder(context, claim, restored, restored.columns or columns, processes, retaining).build(splits)
    finally:
        restored.close()


class _Builder:
    """Makes the actors of one attempt."""

    def __init__(
        self,
        context: JobContext,
        claim: Claim,
        restored: Restored,
        columns: Mapping[str, Sequence[Column]],
        processes: Mapping[SubtaskId, object],
        retaining: Retaining,
    ) -> None:
        self._context = context
        self._claim = claim
        self._restored = restored
        self._columns = columns
        self._processes = processes
        self._retaining = retaining
        self._loops = LoopWiring(context.plan)
        self._numbers = number_all(restored.numbers, columns)
        self._subtasks: dict[SubtaskId, Subtask] = {}
        self._silent: frozenset[SubtaskId] = frozenset()
        self._flights = Flights(context.plan, restored.in_flight)
        self._alignment_timeout_us = alignment_timeout_of(context.plan, context.settings)
        self._layer_numbers = count(1)
        world, settings = context.world, context.settings
        self._order = None if context.replaying is None else ReplayOrder(context.replaying, world.clock)
        self._deployment = Deployment(
            world=world,
            pace=Pace(world.clock, world.offload, settings.burst_us / 1e6),
            layers=LayerWriter(world, context.layers_folder, self._layer_name, child=world.processes),
            budget=Budget(settings.state_memory),
            gate=Gate(),
            job=f"{context.job}@{context.fork}" if context.fork else context.job,
            sinks=context.forked,
            holder=context.directory.holder,
            attempt=claim.attempt,
            committed_through=self._committed_through(),
            restored_tokens=restored.tokens,
            tell=self._tell,
            pushed=self._pushed,
            durable=context.durable,
            aligned=AlignedSources(),
            timers_at_end=settings.timers_at_end,
            unkeyed=restored.unkeyed,
        )

    def build(self, splits: Mapping[SubtaskId, Mapping[str, SplitPosition]]) -> Built:
        plan = self._context.plan
        self._silent = silent_subtasks(plan, splits)
        for chain in plan.chains:
            for identity in chain.subtasks():
                self._subtasks[identity] = self._subtask(chain, identity, splits.get(identity))
        for chain in plan.chains:
            for identity in chain.subtasks():
                self._connect(chain, identity)
        self._loops.restore(self._restored, self._told, self._subtasks)
        read = {identity: each.parts for identity, each in self._subtasks.items() if isinstance(each, SourceSubtask)}
        for receiver, channel, item in row(self._flights.all(read), self._flights.catching_up(self._told)):
            self._subtasks[receiver].mailbox.front.append(Front(channel, item))
        self._compactor = self._make_compactor()
        self._coordinator = self._make_coordinator(frozenset(splits) | self._loops.heads, self._compactor)
        self._built = Built(
            plan,
            self._claim,
            self._restored.checkpoint,
            self._coordinator,
            self._compactor,
            self._deployment,
            self._subtasks,
        )
        self._built.order = self._order
        return self._built

    def _told(self, sender: Chain, subtask: int, exchange: Exchange) -> Told | None:
        """Give what a subtask has told those behind an exchange; None if nobody knows.

        A silent one that has told nothing is idle from the start, so that what is late does not depend on when it
        comes to say so: with one split that is the same at any parallelism.
        """
        told = self._restored.told_by(sender, subtask, exchange.name)
        if told in {None, NOTHING_TOLD} and SubtaskId(sender.name, subtask) in self._silent:
            return Told(TIME_MIN, idle=True)
        return told

    def _layer_name(self) -> LayerName:
        """Give the next name; writer and compactor share the numbers."""
        return LayerName(f"{self._claim.attempt}-{HOST}-{next(self._layer_numbers)}.lmdb")

    def _committed_through(self) -> CheckpointId:
        """Give the newest checkpoint whose output may be at the sinks: more there means that a checkpoint was lost."""
        if self._context.settings.accept_duplicates:
            return CheckpointId(self._claim.first_checkpoint - 1)
        return self._restored.checkpoint or CheckpointId(0)

    def _layers_in_use(self) -> set[LayerName]:
        return self._built.layers_in_use()

    def _pushed(self, stack: LayerStack) -> None:
        self._compactor.on_pushed(stack)

    def _tell(self, message: CoordinatorMessage) -> None:
        self._coordinator.tell(message)

    def _subtask(self, chain: Chain, identity: SubtaskId, splits: Mapping[str, SplitPosition] | None) -> Subtask:
        state, process = self._state(chain, identity), self._processes.get(identity)
        order = self._order
        source, other = (SourceSubtask, Subtask) if order is None else (order.source, order.subtask)
        if splits is not None:
            return source(self._deployment, chain, identity, state, splits, process)
        channels = sum(map(self._context.plan.channels_of, chain.inputs))
        if chain.loop is not None:
            member = self._loops.member_class(chain)(self._deployment, chain, identity, state, channels, process)
            return self._loops.entered(member, self._deployment.timers_at_end)
        if order is None and awaits(chain.head.spec):
            other = AsyncSubtask if isinstance(chain.head.spec, AsyncSpec) else KeySubtask
        return other(self._deployment, chain, identity, state, channels, process)

    def _state(self, chain: Chain, identity: SubtaskId) -> OperatorState | None:
        if chain.stateful is None:
            return None
        columns, groups = self._columns[chain.stateful.name], self._context.plan.graph.max_parallelism
        return state_of(chain, identity, self._numbers, columns, self._restored, groups)

    def _connect(self, chain: Chain, identity: SubtaskId) -> None:
        plan = self._context.plan
        outputs: dict[Exchange, ExchangeOutput] = {}
        routers: dict[Exchange, Router | Chooser] = {}
        timed: set[Exchange] = set()
        own = self._restored.time_of(chain, identity.subtask)
        for exchange in chain.outputs:
            receiver = plan.chain_of[exchange.receiver]
            channel = plan.channel(receiver, exchange, identity.subtask)
            if isinstance(exchange.partitioning, Forward):
                indexes: Sequence[int] = [identity.subtask]
            else:
                indexes = range(receiver.parallelism)
            lanes = [self._subtasks[SubtaskId(receiver.name, index)].mailbox.lanes[channel] for index in indexes]
            # Unknown to those behind, at another parallelism: then all is told anew, also who is idle.
            told = self._told(chain, identity.subtask, exchange) or NOTHING_TOLD
            outputs[exchange] = ExchangeOutput(exchange, lanes, wire=self._context.settings.wire, told=told)
            if len(lanes) > 1 and (router := self._router(exchange, len(lanes))) is not None:
                routers[exchange] = router
            if receiver.needs_timestamps:
                timed.add(exchange)
        subtask = self._subtasks[identity]
        senders = plan.senders(chain, identity.subtask)
        time = self._event_time(chain, identity, subtask, own) if chain.needs_timestamps or chain.assigns else None
        if isinstance(subtask, WithHandlers) and time is not None:
            subtask.look_ahead(self._event_time(chain, identity, subtask, own))
        sides = [exchange.side for exchange, _ in senders]
        throttles = self._throttles(chain)
        bindings = Bindings(state=subtask.state, routers=routers, timed=timed, throttles=throttles)
        subtask.connect(outputs, bindings, time, sides)
        if (
            throttles
            or isinstance(subtask, TakesAhead)
            or (self._alignment_timeout_us is not None and self._order is None)
        ):
            splits = subtask.parts if isinstance(subtask, SourceSubtask) else ()
            subtask.let_overtake(places_of(plan, senders, splits), in_step(senders))

    def _event_time(self, chain: Chain, identity: SubtaskId, subtask: Subtask, own: TimeReport) -> EventTime:
        """Make the clocks of a subtask, as they were."""
        plan = self._context.plan
        senders = plan.senders(chain, identity.subtask)
        channels = [f"{exchange.input}/{sender}" for exchange, sender in senders]
        parts = subtask.parts if isinstance(subtask, SourceSubtask | LoopHead) else channels
        clock = subtask.period_clock if isinstance(subtask, InTurns) else self._context.world.clock
        time = EventTime(chain, parts, clock, source=isinstance(subtask, SourceSubtask))
        told_by = [
            self._flights.told(chain, identity.subtask, exchange, sender)
            or self._told(plan.chain_of[exchange.sender], sender, exchange)
            for exchange, sender in senders
        ]
        if isinstance(subtask, LoopHead):
            told_by = [Told(own.entering, idle=False)]
        reached = self._restored.reached_by(chain, identity.subtask)
        own_groups = range_of(identity.subtask, chain.parallelism, plan.graph.max_parallelism)
        floors = self._restored.floors_of(chain, own_groups)
        time.restore(own, self._restored.parts_of(chain), told_by, reached, floors)
        return time

    def _router(self, exchange: Exchange, targets: int) -> Router | Chooser | None:
        match exchange.partitioning:
            case Keyed():
                return Router(targets, self._context.plan.graph.max_parallelism)
            case PartitionBy(fn):
                return Chooser(fn, targets)
            case _:
                return None

    def _throttles(self, chain: Chain) -> dict[NodeId, Throttle]:
        """Make those of one subtask, none for a replay: it is as fast as it can be."""
        rates = chain.throttles if self._order is None else ()
        return {node: Throttle(rate, self._context.world.clock) for node, rate in rates}

    def _make_compactor(self) -> Compactor:
        stacks = [
            OwnedStack(
                OperatorNumber(self._numbers.operators[subtask.chain.stateful.name]),
                subtask.state.stack,
                subtask.expiry_clocks.stamps,
            )
            for subtask in self._subtasks.values()
            if subtask.state is not None and subtask.chain.stateful is not None
        ]
        world = self._context.world
        return Compactor(
            world,
            self._context.layers_folder,
            self._layer_name,
            stacks,
            hold=self._deployment.gate.hold,
            child=world.processes,
        )

    def _make_coordinator(self, sources: frozenset[SubtaskId], compactor: Compactor) -> CoordinatorActor:
        context, settings = self._context, self._context.settings
        protocol: Coordinator[SnapshotReport] = Coordinator(
            subtasks=list(self._subtasks),
            sources=sources,
            first_checkpoint=self._claim.first_checkpoint,
            interval_us=settings.checkpoint_interval_us,
            timeout_us=settings.checkpoint_timeout_us,
            pause_us=settings.checkpoint_pause_us,
            tolerated_failures=settings.tolerated_failures,
            latest_completed=self._restored.checkpoint,
        )
        writer = ManifestWriter(context.job, self._claim.attempt, context.plan, self._numbers, self._columns, settings)
        return CoordinatorActor(
            world=context.world,
            documents=context.documents,
            protocol=protocol,
            directory=context.directory,
            manifests=writer,
            tell={identity: subtask.mailbox.tell for identity, subtask in self._subtasks.items()},
            answer=context.answer,
            in_use=self._layers_in_use,
            retaining=self._retaining,
            compact=compactor.on_complete,
            retained=settings.retained,
            statistics=context.statistics,
            durable=context.durable,
            claimed=self._restored.claimed,
            alignment_timeout_us=self._alignment_timeout_us,
        )
