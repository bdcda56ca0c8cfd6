"""Whether what an exchange carries can be recorded: told before the job runs, as far as functions say what they give.

    def parse(line: str) -> Socket: ...     stream.map(parse) ══> another actor       refused, with the exchange's name

A barrier that overtakes writes records down that are on their way from actor to actor (overtaking.py). What has no
encoding would fail the job at the first such barrier, which may be the first busy day. So would what goes back in a
loop, which every checkpoint writes down, whatever its barriers do. What a function does not say, or
says in general words (object, a protocol, a base class), is found out then.
"""

from __future__ import annotations

import inspect
from collections import abc
from enum import Enum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from actorstream.codec.records import record_class
from actorstream.codec.self_describing import NATIVE
from actorstream.errors import PlanError
from actorstream.graph.awaited import AsyncSpec
from actorstream.graph.nodes import FilterSpec, FlatMapSpec, InspectSpec, MapSpec, ProcessSpec, ThrottleSpec, awaits
from actorstream.runtime.flights import may_overtake

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorstream.graph.nodes import Node, NodeId
    from actorstream.graph.plan import Exchange, Plan

_HANDED_ON = frozenset(
    {abc.Iterable, abc.Iterator, abc.Generator, abc.AsyncIterable, abc.AsyncIterator, abc.AsyncGenerator, abc.Sequence}
    | {list, tuple, set}
)


def check_encodable(plan: Plan) -> None:
    """Refuse a plan in which barriers may overtake records that have no encoding.

    Raises:
        PlanError: Names the exchange, the operator before it, and the type.
    """
    nodes = {node.id: node for node in plan.graph.nodes}
    for chain in plan.chains:
        for exchange in filter(may_overtake, chain.inputs):
            given = _without_encoding(nodes, exchange)
            if given is not None:
                raise PlanError(
                    f"alignment_timeout is set, so records on the exchange {exchange.name!r} may become part of a "
                    f"checkpoint, but {nodes[exchange.sender].name!r} gives {given.__qualname__}, which has no "
                    "encoding: make it a dataclass, NamedTuple or Struct of types that have one, or take aligned "
                    "checkpoints (alignment_timeout=None)"
                )


def check_awaited_encodable(plan: Plan) -> None:
    """Refuse a plan in which records are awaited that have no encoding.

    Raises:
        PlanError: Names the operator, the one before it, and the type.
    """
    nodes = {node.id: node for node in plan.graph.nodes}
    for chain in plan.chains:
        for exchange in chain.inputs if awaits(chain.head.spec) else ():
            given = _without_encoding(nodes, exchange)
            if given is not None:
                raise PlanError(
                    f"what {chain.head.name!r} awaits becomes part of checkpoints, but {nodes[exchange.sender].name!r} "
                    f"gives {given.__qualname__}, which has no encoding: make it a dataclass, NamedTuple or Struct of "
                    "types that have one (docs/guides/schema.md)"
                )


def check_loops_encodable(plan: Plan) -> None:
    """Refuse a plan in which records go round that have no encoding.

    Raises:
        PlanError: Names the loop, the operator from which they go back, and the type.
    """
    nodes = {node.id: node for node in plan.graph.nodes}
    for chain in plan.chains:
        for exchange in chain.back:
            given = _without_encoding(nodes, exchange)
            if given is not None:
                raise PlanError(
                    f"what goes round in loop {chain.loop!r} becomes part of checkpoints, but "
                    f"{nodes[exchange.sender].name!r} gives back {given.__qualname__}, which has no encoding: make it "
                    "a dataclass, NamedTuple or Struct of types that have one (docs/guides/schema.md)"
                )


def _without_encoding(nodes: Mapping[NodeId, Node], exchange: Exchange) -> type | None:
    """Give the type of what comes by an exchange, if its sender says so and it has no encoding."""
    given = _given_by(nodes, nodes[exchange.sender], exchange.output)
    return given if isinstance(given, type) and _has_no_encoding(given) else None


def _given_by(nodes: Mapping[NodeId, Node], node: Node, output: str) -> object:
    """Give what an operator says that it gives; None where it says nothing."""
    spec = node.spec
    if output:
        return None
    match spec:
        case FilterSpec() | InspectSpec() | ThrottleSpec() | AsyncSpec(kind="filter"):
            given = _given_by(nodes, nodes[node.inputs[0].source], node.inputs[0].output)
        case MapSpec() | AsyncSpec(kind="map"):
            given = _said(spec.fn)
        case FlatMapSpec() | AsyncSpec():
            given = _item(_said(spec.fn))
        case ProcessSpec() if spec.owner is not None:
            given = _item(_said(getattr(spec.owner, "on_element", None)))
        case _:
            given = None
    return given


def _said(function: object) -> object:
    if isinstance(function, type):
        return function
    try:
        # Of the arguments' types some may be there for type checkers only.
        only = SimpleNamespace(__annotations__={"return": getattr(function, "__annotations__", {}).get("return")})
        return get_type_hints(only, getattr(function, "__globals__", {})).get("return")
    except (NameError, TypeError, ValueError, AttributeError, SyntaxError):
        return None  # hints are for people: whatever is in them, the pipeline runs


def _item(given: object) -> object:
    args = get_args(given)
    return args[0] if get_origin(given) in _HANDED_ON and args else None


def _has_no_encoding(kind: type[Any]) -> bool:
    general = kind in {object, Any} or inspect.isabstract(kind) or getattr(kind, "_is_protocol", False)
    if general or kind in NATIVE or issubclass(kind, Enum):
        return False
    if any(not _has_no_encoding(each) for each in kind.__subclasses__()):
        return False
    return record_class(kind) is None
