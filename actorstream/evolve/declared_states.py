"""What states a pipeline has: by operator and name, with their codecs and how long values live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from actorstream.graph.chaining import plan_graph
from actorstream.graph.nodes import ProcessSpec
from actorstream.operators.columns import columns_of
from actorstream.operators.process_binding import class_of, make_process
from actorstream.operators.state_declarations import declarations_of
from actorstream.runtime.splits import blaming

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorstream.api.pipeline import Pipeline
    from actorstream.graph.plan import Plan
    from actorstream.operators.columns import Column
    from actorstream.operators.ttl import TTL


@dataclass(frozen=True, slots=True)
class DeclaredState:
    """One state as the pipeline declares it."""

    column: Column
    ttl: TTL | None


Declared: TypeAlias = "dict[str, dict[str, DeclaredState]]"


def plan_of(pipeline: Pipeline) -> Plan:
    """Give the plan of a pipeline as a job with a store has it.

    Raises:
        PlanError: The pipeline cannot run.
    """
    return plan_graph(pipeline.draft.graph(), has_store=True)


def declared_in(plan: Plan) -> Declared:
    """Give the states of every operator that can have some. Process objects are built, and not opened.

    Raises:
        PlanError: A state cannot be stored.
        UserCodeError: A process could not be built.
    """
    declared: Declared = {}
    for chain in plan.chains:
        node = chain.stateful
        if node is None:
            continue
        process: object = None
        ttls: Mapping[str, TTL | None] = {}
        if isinstance(node.spec, ProcessSpec):
            with blaming(node.name, "when it was built"):
                process = make_process(node.spec.factory, node.spec.owner)
            ttls = {name: declaration.ttl for name, declaration in declarations_of(class_of(process)).items()}
        declared[node.name] = {
            column.name: DeclaredState(column, ttls.get(column.name)) for column in columns_of(node, process)
        }
    return declared
