"""What the operator tests share: one chain of a small pipeline, bound to state in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from actorstream.graph.chaining import plan_graph
from actorstream.graph.nodes import Keyed, PartitionBy, ProcessSpec, TimedSpec, errors_of
from actorstream.model.ids import OperatorNumber, StateNumber
from actorstream.model.key_groups import KeyGroupRange
from actorstream.operators.columns import columns_of
from actorstream.operators.event_clock import AssignedClock
from actorstream.operators.failures import DeadLetters
from actorstream.operators.generate import Step
from actorstream.operators.generators import BoundedOutOfOrderness
from actorstream.operators.key_check import KeyCheck
from actorstream.operators.process_binding import ProcessBinding, make_process
from actorstream.operators.routing import Chooser, Router
from actorstream.operators.step_text import Bindings
from actorstream.state.operator_state import OperatorState, StateColumn
from actorstream.state.stack import LayerStack
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actorstream.api.pipeline import Pipeline
    from actorstream.graph.nodes import Node, Partitioning
    from actorstream.graph.plan import Chain, Exchange, Plan
    from actorstream.model.world import Clock
    from actorstream.operators.keyed_process import Keyed as KeyedClass
    from actorstream.operators.step_text import Lists, StepPart
    from actorstream.operators.timed import TimedDefinition

ALL = KeyGroupRange(0, 128)


def planned(pipeline: Pipeline, parallelism: int = 1) -> Plan:
    return plan_graph(pipeline.draft.graph(), parallelism=parallelism, has_store=False)


def state_of(node: Node, process: object | None = None) -> OperatorState:
    """Make the state that a subtask would have for this operator, with nothing on disk."""
    columns = [
        StateColumn(StateNumber(number), column.name, column.kind, column.codec)
        for number, column in enumerate(columns_of(node, process), 1)
    ]
    return OperatorState(
        operator=OperatorNumber(1),
        columns=columns,
        key_groups=ALL,
        max_parallelism=128,
        stack=LayerStack.covering(ALL),
        name=node.name,
    )


def chain_from(plan: Plan, head: str) -> tuple[Chain, StepPart]:
    """Find the chain that begins with `head`, or has it inside behind its key."""
    for chain in plan.chains:
        if chain.head.name == head:
            return chain, "whole"
        if chain.stateful is not None and chain.stateful.name == head:
            return chain, "after key"
    raise LookupError(head)


def router_of(partitioning: Partitioning, parallelism: int) -> Router | Chooser | None:
    match partitioning:
        case Keyed():
            return Router(parallelism, 128)
        case PartitionBy(fn):
            return Chooser(fn, parallelism)
        case _:
            return None


class Rig:
    """One chain of a pipeline, compiled; `head` picks it by its head's name, or its part behind the key by that.

    `part` says which part of the chain `run` does, where that is not all of it. `timed` says of which exchanges the
    receivers want timestamps, whatever they are. `marked`: batches bring marks; `side`: on this input.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        head: str,
        *,
        parallelism: int = 1,
        taps: Iterable[str] = (),
        clock: Clock | None = None,
        part: StepPart | None = None,
        timed: Callable[[Exchange], bool] | None = None,
        marked: bool = False,
        side: int = 0,
    ) -> None:
        self._marked, self._side = marked, side
        self.plan = planned(pipeline, parallelism)
        self.chain, found = chain_from(self.plan, head)
        node = self.chain.stateful
        spec = node.spec if node is not None else None
        self.process = make_process(spec.factory, spec.owner) if isinstance(spec, ProcessSpec) else None
        self.state = state_of(node, self.process) if node is not None else None
        self.bindings = Bindings(state=self.state, key_check=KeyCheck(self.chain.name))
        if node is not None and self.process is not None and self.state is not None:
            process = cast("KeyedClass[Any]", self.process)
            used = current_world().clock if clock is None else clock
            undoes = bool(errors_of(node.spec))
            self.bindings.process = ProcessBinding(node.name, process, self.state, used, undoes=undoes)
        self.bindings.letters = {
            each.id: DeadLetters(each.name, 0, lambda: ("0", 7)) for each in self.chain.nodes if errors_of(each.spec)
        }
        if node is not None and isinstance(spec, TimedSpec) and self.state is not None:
            definition = cast("TimedDefinition", spec.definition)
            self.bindings.operator = definition.open(node.name, self.state, clock or current_world().clock)
        self.bindings.assigned = {each.id: AssignedClock() for each in self.chain.assigns}
        for assigned in self.bindings.assigned.values():
            assigned.generator = BoundedOutOfOrderness(0)
        receivers = {exchange: self.plan.chain_of[exchange.receiver] for exchange in self.chain.outputs}
        self.bindings.routers = {
            exchange: router
            for exchange, receiver in receivers.items()
            if receiver.parallelism > 1
            and (router := router_of(exchange.partitioning, receiver.parallelism)) is not None
        }
        self.bindings.timed = {
            exchange
            for exchange, receiver in receivers.items()
            if (receiver.needs_timestamps if timed is None else timed(exchange))
        }
        self.bindings.taps = tuple((node.id, "") for node in self.chain.nodes if node.name in set(taps))
        self._timed = True if timed is not None else None
        self.done: StepPart = part or found
        self.step = self.part(self.done)

    def part(self, part: StepPart) -> Step:
        """Compile one part of the chain."""
        return Step(self.chain, self.bindings, timed=self._timed, part=part, marked=self._marked, side=self._side)

    def run_beside(self, values: Sequence[object], times: Sequence[int] | None = None) -> None:
        """Run over a batch of the other input, which has no keys."""
        step = Step(self.chain, self.bindings, timed=self._timed, marked=self._marked, side=1)
        step.run(list(values), None, times, None, 0, len(values))

    def fire(self) -> None:
        """Do what is due at the watermark."""
        self.part("fire").run(None, None, None, None, 0, 0)

    def run(
        self, values: Sequence[object], keys: Sequence[object] | None = None, times: Sequence[int] | None = None
    ) -> tuple[Any, ...]:
        """Run the step over one batch."""
        return self.step.run(list(values), None if keys is None else list(keys), times, None, 0, len(values))

    def emitted(self, values: Sequence[object], keys: Sequence[object] | None = None) -> list[Any]:
        """Run a chain with one outlet; give what it collected."""
        (lists,) = self.run(values, keys)
        return list(cast("Lists", lists).values)

    def rows(self) -> dict[object, object]:
        """Give this epoch's rows as they are."""
        assert self.state is not None
        return dict(self.state.rows.live)
