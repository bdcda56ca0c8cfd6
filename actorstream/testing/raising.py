"""Users' functions and handlers of which the n-th call raises, whichever operator that is.

    map filter flat_map map_batches sum reduce fold latest map_with_state                  around the function
    assign_timestamps key_by                                                               around the function
    open on_element on_left on_right on_broadcast on_timer close                           in a class of its own
    windows and cogroups: what is computed of their records, on_window, triggers           around it, or in a class
    plain functions as sinks                                                               around the function

One counter goes through all of them, so a sweep over its numbers meets every callback at each of its calls.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from functools import wraps
from inspect import isfunction
from typing import TYPE_CHECKING, Any

from actorstream.graph.awaited import AsyncSpec
from actorstream.graph.nodes import (
    AssignSpec,
    CallSpec,
    ExtremeSpec,
    FilterSpec,
    FlatMapSpec,
    FoldSpec,
    InspectSpec,
    Keyed,
    LatestSpec,
    MapSpec,
    MapWithStateSpec,
    PartitionBy,
    ProcessSpec,
    ReduceSpec,
    SumSpec,
    TimedSpec,
    TopSpec,
)
from actorstream.operators.joins.cogroup import CoGroup
from actorstream.operators.windows.definition import WindowDefinition
from actorstream.operators.windows.sliced_definition import SlicedDefinition
from actorstream.testing.session import DisturbanceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.graph.nodes import Edge, LogicalGraph, Node
    from actorstream.graph.waiting import Timed
    from actorstream.operators.windows.aggregates import Aggregation
    from actorstream.testing.session import Places

_WITH_FUNCTION = (
    MapSpec,
    FilterSpec,
    FlatMapSpec,
    InspectSpec,
    ExtremeSpec,
    TopSpec,
    AsyncSpec,
    SumSpec,
    ReduceSpec,
    FoldSpec,
    LatestSpec,
    MapWithStateSpec,
    AssignSpec,
    CallSpec,
)
_PLAIN = ("on_element", "on_left", "on_right", "on_broadcast", "on_timer", "on_window", "on_merge")
_ASYNC = ("open", "close")


def raising(graph: LogicalGraph, places: Places) -> None:
    """Let those calls of the graph's functions raise that `places` has drawn."""
    graph.nodes[:] = [_raising_node(node, places) for node in graph.nodes]


def _raising_node(node: Node, places: Places) -> Node:
    inputs = tuple(_raising_edge(edge, node.name, places) for edge in node.inputs)
    spec = node.spec
    if isinstance(spec, _WITH_FUNCTION):
        wrap = _async_function if isinstance(spec, CallSpec) and spec.is_async else _function
        spec = replace(spec, fn=wrap(spec.fn, node.name, places))
    elif isinstance(spec, ProcessSpec):
        owner = None if spec.owner is None else _class(spec.owner, node.name, places)
        made_by = owner or _factory(spec.factory, node.name, places)
        spec = replace(spec, factory=made_by, owner=owner)
    elif isinstance(spec, TimedSpec):
        spec = replace(spec, definition=_definition(spec.definition, node.name, places))
    return replace(node, spec=spec, inputs=inputs)


def _definition(definition: Timed, name: str, places: Places) -> Timed:
    match definition:
        case SlicedDefinition(windows=windows):
            return replace(definition, windows=_windows(windows, name, places))
        case WindowDefinition():
            return _windows(definition, name, places)
        case CoGroup(fn=fn) if not _is_ours(fn):
            return replace(definition, fn=_function(fn, name, places))
        case _:
            return definition


def _windows(windows: WindowDefinition, name: str, places: Places) -> WindowDefinition:
    trigger = windows.trigger
    if trigger is not None and not _is_ours(type(trigger)):
        trigger = copy(trigger)
        trigger.__class__ = _class(type(trigger), f"a trigger of {name}", places)
    process = None if windows.process is None else _factory(windows.process, name, places)
    aggregation = _aggregation(windows.aggregation, name, places)
    return replace(windows, aggregation=aggregation, trigger=trigger, process=process)  # type: ignore[arg-type]


def _aggregation(aggregation: Aggregation, name: str, places: Places) -> Aggregation:
    if aggregation.shape in {"count", "process"}:
        return aggregation  # nothing of the user's is in it
    calls: dict[str, Any] = {
        call: _function(fn, f"{call} of {name}", places)
        for call in ("fn", "add", "merge", "result")
        if (fn := getattr(aggregation, call)) is not None and not (call == "add" and aggregation.is_kept)
    }
    return replace(aggregation, **calls)


def _raising_edge(edge: Edge, name: str, places: Places) -> Edge:
    if isinstance(edge.partitioning, PartitionBy):
        return replace(
            edge, partitioning=PartitionBy(_function(edge.partitioning.fn, f"the choice for {name}", places))
        )
    if not isinstance(edge.partitioning, Keyed):
        return edge
    return replace(edge, partitioning=Keyed(_function(edge.partitioning.key, f"the key of {name}", places)))


def _function(fn: Callable[..., object], name: str, places: Places) -> Callable[..., Any]:
    def called(*given: object) -> object:
        _here(name, places)
        return fn(*given)

    return wraps(fn)(called) if isfunction(fn) else called


def _async_function(fn: Callable[..., Any], name: str, places: Places) -> Callable[..., Any]:
    async def called(*given: object) -> object:
        _here(name, places)
        return await fn(*given)

    return called


def _factory(make: Callable[[], object], name: str, places: Places) -> Callable[[], object]:
    def made() -> object:
        process = make()
        process.__class__ = _class(type(process), name, places)
        return process

    return made


def _class(owner: type, name: str, places: Places) -> type:
    """Give a class like `owner` whose own handlers raise at their places."""
    handlers: dict[str, object] = {}
    for handler in (*_PLAIN, *_ASYNC):
        real = getattr(owner, handler, None)
        if real is None or _is_ours(real):
            continue  # it has none of its own
        wrap = _async_function if handler in _ASYNC else _function
        handlers[handler] = wrap(real, f"{name}.{handler}", places)
    known = {"__module__": owner.__module__, "__qualname__": owner.__qualname__, "__doc__": owner.__doc__}
    return type(owner.__name__, (owner,), {**known, **handlers})


def _is_ours(what: object) -> bool:
    return getattr(what, "__module__", "").startswith("actorstream.operators")


def _here(name: str, places: Places) -> None:
    if places.here():
        raise DisturbanceError(f"the simulation let {name} raise at call {places.count}")
