"""Which states an operator has, with their names and codecs: what layers and manifests are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast, get_args, get_origin, get_type_hints

from actorstream.codec.evolution import AS_DECLARED, Evolution, KnownSchema, evolve
from actorstream.codec.schema import schema_of
from actorstream.codec.values import SELF_DESCRIBING, codec_for, codec_of
from actorstream.errors import CodecError, PlanError
from actorstream.graph.nodes import (
    CountSpec,
    ExtremeSpec,
    FoldSpec,
    LatestSpec,
    MapWithStateSpec,
    ProcessSpec,
    ReduceSpec,
    SumSpec,
    TimedSpec,
    TopSpec,
)
from actorstream.operators.accumulating_declarations import AggregatingState, ReducingState
from actorstream.operators.keyed_process import has_timers
from actorstream.operators.process_roles import problem_of_role
from actorstream.operators.state_declarations import ListState, MapState, ValueState, declarations_of
from actorstream.operators.unkeyed_declarations import BroadcastState, OperatorListState
from actorstream.state.ttl import ExpiringCodec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.codec.schema import Schema
    from actorstream.codec.values import Codec
    from actorstream.graph.nodes import Node
    from actorstream.operators.state_declarations import Declaration
    from actorstream.operators.timed import TimedDefinition
    from actorstream.state.operator_state import StateKind

VALUE = "value"
"""The name of the one state of a rolling aggregate."""

_KINDS: dict[type, StateKind] = {
    ListState: "value",
    MapState: "map",
    BroadcastState: "broadcast",
    OperatorListState: "list",
}

TIMERS = "(timers)"
"""The name of a process's timers: no attribute can have it."""


@dataclass(frozen=True, slots=True)
class Column:
    """One state of an operator.

    Attributes:
        name: Unique in the operator.
        kind: How its values lie in layers.
        codec: For its values.
        evolution: What is declared for values of other schemas.
        number: Of the schema that is written.
        others: The schemas of which there may be values beside.
        map_key: What the keys of a map are declared to be; None where that is not said.
    """

    name: str
    kind: StateKind
    codec: Codec[Any]
    evolution: Evolution = AS_DECLARED
    number: int = 0
    others: tuple[KnownSchema, ...] = ()
    map_key: Schema | None = None

    def evolved(self, known: Sequence[KnownSchema]) -> Column:
        """Give the column over a store that holds values of the `known` schemas.

        Raises:
            SchemaRefusedError: Values of one of them cannot be read.
        """
        expiring = self.codec if isinstance(self.codec, ExpiringCodec) else None
        declared = self.codec if expiring is None else expiring.values
        codec, own, others = evolve(declared, self.evolution, known)
        evolved = codec if expiring is None else ExpiringCodec(codec, expiring.domain)
        return replace(self, codec=evolved, number=own.number, others=others)


def columns_of(node: Node, process: object | None) -> list[Column]:
    """Give the states of an operator, none for a stateless one.

    Args:
        node: The operator.
        process: Its process object, where it is a `process` operator.

    Raises:
        PlanError: A state's annotation is missing, cannot be resolved, or has no codec.
    """
    match node.spec:
        case CountSpec():
            return [Column(VALUE, "value", codec_for(int))]
        case SumSpec() | ReduceSpec() | LatestSpec() | ExtremeSpec() | TopSpec():
            return [Column(VALUE, "value", SELF_DESCRIBING)]
        case FoldSpec(initial) | MapWithStateSpec(initial):
            return [Column(VALUE, "value", _codec_of_initial(node.name, initial))]
        case ProcessSpec():
            owner = type(process)
            if (problem := problem_of_role(node.spec.role, process, declarations_of(owner))) is not None:
                raise PlanError(f"{owner.__name__} ({node.name}) {problem}")
            timers = [Column(TIMERS, "timers", SELF_DESCRIBING)] if has_timers(process) else []
            return _declared(node.name, owner) + timers
        case TimedSpec(definition=definition):
            return cast("TimedDefinition", definition).columns(node.name)
        case _:
            return []


def _codec_of_initial(operator: str, initial: object) -> Codec[Any]:
    codec = codec_of(initial)
    try:
        codec.encode(initial)
    except CodecError as error:
        raise PlanError(f"{operator}: its initial value cannot be stored: {error}") from error
    return codec


def _declared(operator: str, owner: type) -> list[Column]:
    declared = declarations_of(owner)
    hints = _hints(operator, owner) if declared else {}
    columns: list[Column] = []
    for name, declaration in declared.items():
        arguments = get_args(hints.get(name)) if get_origin(hints.get(name)) is type(declaration) else ()
        try:
            match declaration:
                case ValueState(default=default, factory=None) if not arguments:
                    columns.append(_column(name, "value", declaration, codec_of(default)))
                case ValueState() if arguments:
                    columns.append(_column(name, "value", declaration, codec_for(arguments[0])))
                case ReducingState() if arguments:
                    columns.append(_column(name, "value", declaration, codec_for(arguments[0])))
                case AggregatingState() if arguments:
                    columns.append(_column(name, "value", declaration, codec_for(arguments[1])))
                case ListState() | OperatorListState():
                    element = arguments[0] if arguments else object
                    codec = codec_for(list[element])  # type: ignore[valid-type]
                    columns.append(_column(name, _KINDS[type(declaration)], declaration, codec))
                case MapState() | BroadcastState():
                    codec = codec_for(arguments[1] if arguments else object)
                    keys = schema_of(arguments[0]) if arguments else None
                    columns.append(replace(_column(name, _KINDS[type(declaration)], declaration, codec), map_key=keys))
                case _:
                    kind = type(declaration).__name__
                    raise PlanError(f"{owner.__name__}.{name} needs an annotation: {name}: {kind}[...] = ...")
        except CodecError as error:
            raise PlanError(f"{owner.__name__}.{name} ({operator}) cannot be stored: {error}") from error
        if (problem := declaration.evolution.problem(columns[-1].codec.schema)) is not None:
            raise PlanError(f"{owner.__name__}.{name} ({operator}): {problem}")
    return columns


def _hints(operator: str, owner: type) -> dict[str, Any]:
    try:
        return get_type_hints(owner)
    except NameError as error:
        raise PlanError(
            f"{owner.__name__} ({operator}): an annotation cannot be resolved: {error}; "
            "define the types of states at the top of a module, and import them outside of `if TYPE_CHECKING`"
        ) from error


def _column(name: str, kind: StateKind, declaration: Declaration, codec: Codec[Any]) -> Column:
    ttl = declaration.ttl
    return Column(name, kind, codec if ttl is None else ExpiringCodec(codec, ttl.domain), declaration.evolution)
