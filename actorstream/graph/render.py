"""A plan in words and as a drawing: what runs where, and what is promised of it.

`describe` answers the questions one has before trusting a pipeline with data:
which operators share an actor, how records get from one to the next, what is
read again after a crash, and what can come out twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from actorstream.errors import PlanError
from actorstream.graph.nodes import (
    AssignSpec,
    Broadcast,
    CallSpec,
    Forward,
    Keyed,
    PartitionBy,
    Rebalance,
    SinkSpec,
    SourceSpec,
    ThrottleSpec,
    TimedSpec,
    kind_of,
)
from actorstream.graph.replaying import replay_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.graph.nodes import Guarantee, NodeId, Partitioning, Spec
    from actorstream.graph.plan import Chain, Plan

_DURABILITY = {
    True: "durable: state and positions are in the store",
    False: "not durable: no store, so state is gone when the process ends",
    None: "not durable unless run with store=...",
}


def describe(plan: Plan, store: bool | None, format: Literal["text", "mermaid"] = "text") -> str:  # noqa: A002, FBT001
    """Draw a plan.

    Args:
        plan: What to draw.
        store: Whether the job has a store; None where that is not decided yet.
        format: "text", or "mermaid" (a flowchart for Markdown pages).

    Raises:
        PlanError: There is no such format.
    """
    match format:
        case "text":
            return "\n".join(_text(plan, store)) + "\n"
        case "mermaid":
            return "\n".join(_mermaid(plan, store)) + "\n"
        case _:
            raise PlanError(f"describe knows no format {format!r}: use 'text' or 'mermaid'")


def sink_guarantee(spec: SinkSpec | CallSpec) -> Guarantee:
    """Say how often a record can come out of a sink when the job is killed and restored."""
    return "exactly once" if isinstance(spec, SinkSpec) else "at least once"


def _text(plan: Plan, store: bool | None) -> Iterator[str]:  # noqa: FBT001
    yield f"pipeline {plan.graph.name}, max parallelism {plan.graph.max_parallelism}"
    yield _DURABILITY[store]
    yield from replay_lines(plan.graph)
    for warning in warnings_of(plan):
        yield f"warning: {warning}"
    for chain in plan.chains:
        yield ""
        yield f"chain {chain.name}, {_subtasks(chain)}"
        yield from _text_chain(plan, chain)


def _text_chain(plan: Plan, chain: Chain) -> Iterator[str]:
    waiting = [(chain.head, "  ")]
    drawn: set[NodeId] = set()
    while waiting:
        node, indent = waiting.pop()
        if node.id in drawn:
            yield f"{indent}{node.name}, as above"
            continue
        drawn.add(node.id)
        keyed = " (keyed)" if chain.keyed_inside and node is chain.stateful else ""
        yield indent + ": ".join([node.name, *_words(node.spec)]) + keyed
        for exchange in chain.outputs:
            if exchange.sender == node.id:
                back = "back, " if exchange.back else ""
                receiver = plan.chain_of[exchange.receiver].name
                yield f"{indent}  ={back}{_partitioning(exchange.partitioning)}=> {receiver}"
        waiting += [(taker, indent + "  ") for taker, _ in reversed(chain.feeds[node.id])]


def _mermaid(plan: Plan, store: bool | None) -> Iterator[str]:  # noqa: FBT001
    yield "---"
    yield f'title: "{plan.graph.name} ({_DURABILITY[store]})"'
    yield "---"
    yield "flowchart LR"
    for chain in plan.chains:
        yield f'  subgraph c{chain.head.id}["{chain.name}, {_subtasks(chain)}"]'
        for node in chain.nodes:
            yield f'    n{node.id}["{"<br>".join([node.name, *map(_escape, _words(node.spec))])}"]'
        for node in chain.nodes:
            for taker, _ in chain.feeds[node.id]:
                arrow = "== keyed ==>" if chain.keyed_inside and taker is chain.stateful else "-->"
                yield f"    n{node.id} {arrow} n{taker.id}"
        yield "  end"
    for chain in plan.chains:
        for exchange in chain.outputs:
            word = _partitioning(exchange.partitioning)
            arrow = f"-. back, {word} .->" if exchange.back else f"== {word} ==>"
            yield f"  n{exchange.sender} {arrow} n{exchange.receiver}"


def warnings_of(plan: Plan) -> Iterator[str]:
    """Say what will surprise: operators that go by event time, and inputs that bring no watermark."""
    nodes = {node.id: node for node in plan.graph.nodes}
    assigned: set[NodeId] = set()
    for node in plan.graph.nodes:
        if isinstance(node.spec, AssignSpec) or (node.inputs and all(edge.source in assigned for edge in node.inputs)):
            assigned.add(node.id)
    for chain in plan.chains:
        if chain.throttles and not isinstance(chain.head.spec, SourceSpec):
            name = nodes[chain.throttles[0][0]].name
            yield (
                f"throttle {name} is in another actor than the source, so checkpoints wait for what is before it; "
                "say .throttle(...) right behind the source, or set alignment_timeout"
            )
    for node in plan.graph.nodes:
        if not isinstance(node.spec, TimedSpec) or not node.spec.definition.event_time:
            continue
        for edge in node.inputs:
            if edge.source not in assigned:
                yield (
                    f"{node.name} goes by event time, but no watermark comes from {nodes[edge.source].name}: nothing "
                    "will come out before that input ends; say .assign_timestamps(...) behind its source"
                )


def _subtasks(chain: Chain) -> str:
    return "1 subtask" if chain.parallelism == 1 else f"{chain.parallelism} subtasks"


def _words(spec: Spec) -> list[str]:
    """Say what a node is, and what it promises."""
    match spec:
        case SourceSpec():
            lost = "" if spec.replay == "replayable" else ": records in flight at a crash are lost"
            return [f"source {type(spec.source).__name__}", spec.replay + lost]
        case SinkSpec():
            return [f"sink {type(spec.sink).__name__}", f"{sink_guarantee(spec)} (transactional)"]
        case CallSpec():
            return [f"sink {function_name(spec.fn)}", sink_guarantee(spec)]
        case ThrottleSpec(rate):
            return ["throttle", f"{rate:g} records/s"]
        case _:
            return [kind_of(spec)]


def function_name(fn: object) -> str:
    """Name a callable for people: `print`, `lambda`, the class of a callable object."""
    return str(getattr(fn, "__name__", type(fn).__name__)).strip("<>")


def _partitioning(partitioning: Partitioning) -> str:
    match partitioning:
        case Forward():
            return "forward"
        case Keyed():
            return "keyed"
        case PartitionBy():
            return "partition_by"
        case Rebalance():
            return "rebalance"
        case Broadcast():
            return "broadcast"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
