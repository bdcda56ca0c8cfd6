"""What must hold of a graph before anything is decided about actors.

Everything that is wrong is found at once and told in one `PlanError`: mending a
pipeline one message at a time is slow. What the pipeline's own methods refuse
where they are called (an async function, an instance for a class) is not
repeated here; what only shows in the whole graph or in how it is run is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from actorstream.errors import PlanError
from actorstream.graph.awaited import AsyncSpec
from actorstream.graph.loops import loop_problems
from actorstream.graph.nodes import (
    Broadcast,
    Keyed,
    OutputSpec,
    ProcessSpec,
    SourceSpec,
    StatefulSpec,
    errors_of,
    inputs_of,
    is_keyed,
    kind_of,
)
from actorstream.model.key_groups import MAX_PARALLELISM_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.graph.nodes import Edge, LogicalGraph, Node

# Names become folders, parts of tokens and words in metrics: no separators, no hidden files.
_NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,128}")


def check_graph(graph: LogicalGraph, *, parallelism: int, has_store: bool) -> None:
    """Refuse what cannot run.

    Args:
        graph: The pipeline as written.
        parallelism: The job's default.
        has_store: State will outlive the process, so it must be found by name.

    Raises:
        PlanError: One or more rules are broken; the message lists every one with its remedy.
    """
    problems = [
        *_check_name("the pipeline", graph.name),
        *_check_shape(graph),
        *loop_problems(graph),
        *_check_names(graph),
        *_check_errors(graph),
        *_check_parallelism(graph, parallelism),
        *(_check_state_names(graph) if has_store else ()),
    ]
    if len(problems) == 1:
        raise PlanError(f"pipeline {graph.name!r}: {problems[0]}")
    if problems:
        raise PlanError(f"pipeline {graph.name!r} has {len(problems)} problems:\n- " + "\n- ".join(problems))


def _check_name(what: str, name: str) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield (
            f"{what} has the name {name!r}: use 1 to 128 letters, digits, '.', '_' or '-', not beginning with '.' "
            "(names become folders and parts of keys)"
        )


def _check_shape(graph: LogicalGraph) -> Iterator[str]:
    if not any(isinstance(node.spec, SourceSpec) for node in graph.nodes):
        yield "nothing is read: add a source with pipeline.source(...)"
    specs = {node.id: node.spec for node in graph.nodes}
    known: set[int] = set()
    for node in graph.nodes:
        if any(edge.source not in known for edge in node.inputs):
            yield f"{_label(node)} reads from an operator that does not come before it in the graph"
        elif any(isinstance(specs[edge.source], OutputSpec) for edge in node.inputs):
            yield f"{_label(node)} reads from a sink: a sink gives nothing on"
        if isinstance(node.spec, SourceSpec) is bool(node.inputs):
            yield f"{_label(node)} has {len(node.inputs)} inputs: a source has none, every other operator has some"
        lacking = set(range(inputs_of(node.spec))) - {edge.side for edge in node.inputs}
        if lacking and node.inputs:
            yield f"{_label(node)} has nothing on input {min(lacking) + 1}"
        if any(is_keyed(node.spec, edge.side) and not isinstance(edge.partitioning, Keyed) for edge in node.inputs):
            yield f"{_label(node)} keeps state by key, but has an input without one: put key_by before it"
        if any(isinstance(edge.partitioning, Broadcast) is not _is_broadcast(node, edge) for edge in node.inputs):
            yield f"{_label(node)} is given another stream than a broadcast one where it takes one, or the reverse"
        known.add(node.id)


def _is_broadcast(node: Node, edge: Edge) -> bool:
    """Tell whether this input is the one that every subtask has whole."""
    return isinstance(node.spec, ProcessSpec) and node.spec.role == "broadcast" and edge.side == 1


def _check_names(graph: LogicalGraph) -> Iterator[str]:
    first: dict[str, Node] = {}
    for node in graph.nodes:
        yield from _check_name(f"a {kind_of(node.spec)}", node.name)
        other = first.setdefault(node.name, node)
        if other is not node:
            yield (
                f"two operators have the name {node.name!r}, a {kind_of(other.spec)} and a {kind_of(node.spec)}: "
                "give one of them another with name=..."
            )


def _check_errors(graph: LogicalGraph) -> Iterator[str]:
    taken = {(edge.source, edge.output) for node in graph.nodes for edge in node.inputs}
    for node in graph.nodes:
        output = errors_of(node.spec)
        if output and (node.id, output) not in taken:
            yield (
                f"{_label(node)} puts the records that fail on the side output {output!r} (errors=...), which nobody "
                "takes, so they would be lost: say .side_output(tag).sink(...) behind it, or leave errors= out, and "
                "the job fails with them"
            )


def _check_parallelism(graph: LogicalGraph, parallelism: int) -> Iterator[str]:
    highest = graph.max_parallelism
    if not 1 <= highest <= MAX_PARALLELISM_LIMIT:
        yield f"max_parallelism is {highest}: use 1 to {MAX_PARALLELISM_LIMIT} (128 if in doubt)"
        return
    asked = [("the job", parallelism)]
    asked += [(_label(node), node.parallelism) for node in graph.nodes if node.parallelism is not None]
    for who, degree in asked:
        if not 1 <= degree <= highest:
            yield (
                f"{who} has parallelism {degree}: use 1 to {highest}, which is the pipeline's max_parallelism "
                "(choose that with the first run: it is fixed for the life of the state)"
            )


def _check_state_names(graph: LogicalGraph) -> Iterator[str]:
    for node in graph.nodes:
        what = "keeps state" if isinstance(node.spec, StatefulSpec) else "has calls in flight in checkpoints"
        if isinstance(node.spec, StatefulSpec | AsyncSpec) and not node.named:
            yield (
                f"{_label(node)} {what} but has no name of its own, and the job has a store, where both are "
                "found by name: say name=..., and keep that name when you change the pipeline"
            )


def _label(node: Node) -> str:
    return f"{kind_of(node.spec)} {node.name!r}"
