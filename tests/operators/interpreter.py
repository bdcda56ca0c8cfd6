"""What a chain means, said a second time and as slowly as one likes: one record after the other, down the tree."""

from __future__ import annotations

from collections import defaultdict
from copy import deepcopy
from operator import is_not
from typing import TYPE_CHECKING, Any

from actorstream.codec.ordered_keys import encode_key
from actorstream.graph.nodes import (
    CallSpec,
    CountSpec,
    ExtremeSpec,
    FilterSpec,
    FlatMapSpec,
    FoldSpec,
    InspectSpec,
    Keyed,
    LatestSpec,
    MapSpec,
    MapWithStateSpec,
    ReduceSpec,
    SourceSpec,
    SumSpec,
    TopSpec,
)
from actorstream.model.key_groups import key_group_of, owner_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actorstream.graph.nodes import Node, Spec
    from actorstream.graph.plan import Exchange, Plan

Sent = dict[tuple[int, int, int], list[tuple[object, object, object]]]
"""(sender, receiver, receiving subtask, or 0) -> what was sent, with keys and event times."""


class Interpreter:
    """One chain of a plan, with its own idea of state."""

    def __init__(self, plan: Plan, head: str) -> None:
        self.plan = plan
        self.chain = next(
            chain
            for chain in plan.chains
            if chain.head.name == head or (chain.stateful is not None and chain.stateful.name == head)
        )
        self.start = next(node for node in self.chain.nodes if node.name == head)
        self.state: dict[object, Any] = {}
        self.sent: Sent = defaultdict(list)
        self.tapped: dict[str, list[object]] = defaultdict(list)
        self.called: dict[str, int] = defaultdict(int)
        self._time: object = None

    def feed(
        self, values: Sequence[object], keys: Sequence[object] | None, times: Sequence[object] | None = None
    ) -> None:
        for index, value in enumerate(values):
            self._time = times[index] if times is not None else None
            self._take(self.start, value, keys[index] if keys is not None else None)

    def _take(self, node: Node, value: Any, key: object = None) -> None:
        if isinstance(node.spec, CallSpec):
            self.called[node.name] += 1
        for result in self._results(node.spec, value, key):
            self.tapped[node.name].append(result)
            for taker, edge in self.chain.feeds[node.id]:
                self._take(
                    taker, result, edge.partitioning.key(result) if isinstance(edge.partitioning, Keyed) else None
                )
            for exchange in self.chain.outputs:
                if exchange.sender == node.id:
                    self._send(exchange, result)

    def _results(self, spec: Spec, value: Any, key: object) -> Iterable[Any]:
        match spec:
            case SourceSpec():
                return [value]
            case MapSpec(fn):
                return [fn(value)]
            case FilterSpec(fn):
                return [value] if fn(value) else []
            case FlatMapSpec(fn):
                return list(fn(value) or ())
            case InspectSpec(fn):
                fn(value)
                return [value]
            case CallSpec(fn):
                fn(value)
                return []
            case _:
                return self._keyed(spec, value, key)

    def _keyed(self, spec: Spec, value: Any, key: object) -> Iterable[Any]:
        state = self.state
        match spec:
            case CountSpec():
                state[key] = state.get(key, 0) + 1
            case SumSpec(fn):
                state[key] = state.get(key, 0) + fn(value)
            case ReduceSpec(fn):
                state[key] = fn(deepcopy(state[key]), value) if key in state else value
            case ExtremeSpec() | TopSpec():
                if not self._ranked(spec, value, key):
                    return []
            case FoldSpec(initial, fn):
                state[key] = fn(deepcopy(state.get(key, initial)), value)
            case LatestSpec(fn):
                state[key] = fn(value)
                if state[key] is None:
                    del state[key]
                    return []
            case MapWithStateSpec(initial, fn):
                after: Any = fn(deepcopy(state.get(key, initial)), value)
                state[key] = after[0]
                return [after[1]]
            case _:
                raise AssertionError(spec)
        return [(key, deepcopy(state[key]))]

    def _ranked(self, spec: ExtremeSpec | TopSpec, value: Any, key: object) -> bool:
        """Tell whether there is anything to say."""
        by: Any = spec.fn
        if isinstance(spec, ExtremeSpec):
            whole = spec.word.endswith("by")
            held = [self.state[key]] if key in self.state else []
            choose: Any = min if spec.word.startswith("min") else max
            self.state[key] = choose([*held, value if whole else by(value)], key=by if whole else None)
            return True
        before = self.state.get(key, ())
        self.state[key] = tuple(sorted((*before, value), key=by, reverse=True)[: spec.n])
        return len(self.state[key]) > len(before) or any(map(is_not, before, self.state[key]))

    def _send(self, exchange: Exchange, value: object) -> None:
        key, target = None, 0
        if isinstance(exchange.partitioning, Keyed):
            key = exchange.partitioning.key(value)
            target = owner_of(
                key_group_of(encode_key(key), 128), self.plan.chain_of[exchange.receiver].parallelism, 128
            )
        self.sent[exchange.sender, exchange.receiver, target].append((value, key, self._time))
