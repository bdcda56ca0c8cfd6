"""The logical graph: what the user's words build, before anything is decided about actors.

    source ──forward──> map ──keyed(fn)──> count ──forward──> sink

A node is one operator; an edge says how records get from the node before to it.
Specs hold the user's functions as they are; nothing here calls them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NewType, TypeAlias, assert_never

from actorstream.graph.awaited import AsyncSpec, HandlerCalls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actorstream.graph.waiting import Timed
    from actorstream.model.connect import Sink, Source

NodeId = NewType("NodeId", int)
Function: TypeAlias = "Callable[..., object]"
Replay: TypeAlias = Literal["replayable", "not replayable"]
Guarantee: TypeAlias = Literal["exactly once", "at least once"]
ProcessRole: TypeAlias = Literal["keyed", "broadcast", "unkeyed"]


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Reads records in."""

    source: Source[object, object]
    replay: Replay


@dataclass(frozen=True, slots=True)
class MapSpec:
    """One record in, one out. `errors`, here and elsewhere: the side output of what `fn` raises; "" fails the job."""

    fn: Function
    errors: str = ""


@dataclass(frozen=True, slots=True)
class FilterSpec:
    """One record in, the same or none out."""

    fn: Function
    errors: str = ""


@dataclass(frozen=True, slots=True)
class FlatMapSpec:
    """One record in, any number out."""

    fn: Callable[..., Iterable[object] | None]
    errors: str = ""


@dataclass(frozen=True, slots=True)
class InspectSpec:
    """One record in, the same out, shown to a function."""

    fn: Function


@dataclass(frozen=True, slots=True)
class ThrottleSpec:
    """One record in, the same out, at most `rate` a second over all subtasks."""

    rate: float


@dataclass(frozen=True, slots=True)
class CountSpec:
    """Keyed: emits (key, count) for each record."""


@dataclass(frozen=True, slots=True)
class SumSpec:
    """Keyed: value = value + fn(record), from 0; emits (key, value)."""

    fn: Function


@dataclass(frozen=True, slots=True)
class ReduceSpec:
    """Keyed: the first record is the value, then fn(value, record); emits (key, value)."""

    fn: Function


@dataclass(frozen=True, slots=True)
class ExtremeSpec:
    """Keyed: the least or greatest fn(record), or by that the record; of equal ones the first. Emits (key, value)."""

    fn: Function
    word: Literal["min", "max", "min_by", "max_by"]


@dataclass(frozen=True, slots=True)
class TopSpec:
    """Keyed: the `n` records with the greatest fn(record), the greatest first; emits (key, them) where they changed."""

    fn: Function
    n: int


@dataclass(frozen=True, slots=True)
class FoldSpec:
    """Keyed: value = fn(value, record), from a copy of `initial`; emits (key, value)."""

    initial: object
    fn: Function


@dataclass(frozen=True, slots=True)
class LatestSpec:
    """Keyed: value = fn(record), None deletes; emits (key, value) where it is not None."""

    fn: Function


@dataclass(frozen=True, slots=True)
class MapWithStateSpec:
    """Keyed: (value, result) = fn(value, record), from a copy of `initial`; emits result."""

    initial: object
    fn: Function


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A class of the user's, built by `factory` once for each subtask, with `inputs` that it tells apart.

    `owner` is the class itself where the factory is one: queries by `Class.state` find it so. `role`: "keyed" is a
    `KeyedProcess` or `KeyedCoProcess`, "broadcast" a `BroadcastProcess`, whose second input has no keys, "unkeyed" a
    `Process`, which has none at all. `word` is the method that added it. `calls`: its handlers are async.
    """

    factory: Callable[[], object]
    owner: type | None
    inputs: int = 1
    role: ProcessRole = "keyed"
    word: str = "process"
    errors: str = ""
    calls: HandlerCalls | None = None


@dataclass(frozen=True, slots=True)
class AssignSpec:
    """Gives records their event time, and the stream its watermarks.

    A watermark follows the highest time by `out_of_orderness_us`, unless `generator` makes one for each split.
    `alignment` is (group, max drift in microseconds).
    """

    fn: Function
    out_of_orderness_us: int
    generator: Callable[[], object] | None
    idle_timeout_us: int | None
    alignment: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class TimedSpec:
    """Keyed: a window or join, which waits for time to pass. `late` names its output of what came too late."""

    definition: Timed
    late: str = "late"


@dataclass(frozen=True, slots=True)
class LoopSpec:
    """The head of a loop: gives on what comes in, and what comes back."""


@dataclass(frozen=True, slots=True)
class SinkSpec:
    """Writes records out in step with checkpoints."""

    sink: Sink[object]


@dataclass(frozen=True, slots=True)
class CallSpec:
    """Calls a plain function, or awaits an async one, with each record: at least once."""

    fn: Function
    is_async: bool


RollingSpec: TypeAlias = (
    CountSpec | SumSpec | ReduceSpec | ExtremeSpec | TopSpec | FoldSpec | LatestSpec | MapWithStateSpec
)
StatefulSpec: TypeAlias = RollingSpec | ProcessSpec | TimedSpec
OutputSpec: TypeAlias = SinkSpec | CallSpec
Spec: TypeAlias = (
    SourceSpec
    | (MapSpec | FilterSpec | FlatMapSpec | InspectSpec | AsyncSpec | ThrottleSpec | AssignSpec | LoopSpec)
    | (StatefulSpec | OutputSpec)
)


def is_keyed(spec: Spec, side: int = 0) -> bool:
    """Tell whether the records of an input come with keys, under which the operator keeps state."""
    if isinstance(spec, ProcessSpec):
        return spec.role == "keyed" or (spec.role == "broadcast" and side == 0)
    return isinstance(spec, StatefulSpec)


def inputs_of(spec: Spec) -> int:
    """Tell how many inputs an operator has that it tells apart: a union is one."""
    match spec:
        case TimedSpec(definition=definition):
            return definition.inputs
        case ProcessSpec():
            return spec.inputs
        case SourceSpec():
            return 0
        case _:
            return 1


def asks_for_time(spec: Spec) -> bool:
    """Tell whether an operator needs, or shows, the event time of its records."""
    if isinstance(spec, TimedSpec):
        return spec.definition.takes_time
    return isinstance(spec, ProcessSpec) or bool(errors_of(spec))


def awaits(spec: Spec) -> bool:
    """Tell whether an operator awaits functions of the user's, and so takes records ahead of those it is done with."""
    return isinstance(spec, AsyncSpec) or (isinstance(spec, ProcessSpec) and spec.calls is not None)


def errors_of(spec: Spec) -> str:
    """Name the side output of the records that an operator's function could not handle; "": they fail the job."""
    return spec.errors if isinstance(spec, MapSpec | FilterSpec | FlatMapSpec | AsyncSpec | ProcessSpec) else ""


def kind_of(spec: Spec) -> str:  # noqa: C901, PLR0911, PLR0912  (one line a spec)
    """Give the word by which the user added the operator: what `describe` and made-up names say."""
    match spec:
        case SourceSpec():
            return "source"
        case MapSpec():
            return "map"
        case FilterSpec():
            return "filter"
        case FlatMapSpec():
            return "flat_map"
        case InspectSpec():
            return "inspect"
        case ThrottleSpec():
            return "throttle"
        case AsyncSpec(kind=kind):
            return kind
        case AssignSpec():
            return "assign_timestamps"
        case LoopSpec():
            return "feedback"
        case TimedSpec(definition=definition):
            return definition.kind
        case CountSpec():
            return "count"
        case SumSpec():
            return "sum"
        case ReduceSpec():
            return "reduce"
        case ExtremeSpec():
            return spec.word
        case TopSpec():
            return "top_n"
        case FoldSpec():
            return "fold"
        case LatestSpec():
            return "latest"
        case MapWithStateSpec():
            return "map_with_state"
        case ProcessSpec():
            return spec.word
        case SinkSpec() | CallSpec():
            return "sink"
        case _:
            assert_never(spec)


@dataclass(frozen=True, slots=True)
class Forward:
    """To the subtask of the same index; joins the two in one actor where nothing speaks against it."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """To the subtask that owns the record's key."""

    key: Function


def one_for_all(record: object) -> int:
    """Give the key of what has none: one subtask has all records."""
    del record
    return 0


@dataclass(frozen=True, slots=True)
class PartitionBy:
    """To the subtask fn(record, how many there are)."""

    fn: Function


@dataclass(frozen=True, slots=True)
class Rebalance:
    """To each subtask in turn, a batch at a time."""


@dataclass(frozen=True, slots=True)
class Broadcast:
    """To every subtask: each has all records, those of one sender in its order."""


Partitioning: TypeAlias = Forward | Keyed | PartitionBy | Rebalance | Broadcast


@dataclass(frozen=True, slots=True)
class Edge:
    """How records get from node `source` to the node that holds this edge as an input.

    `output` names a side output of the source, "" is the main one. `side` says which input of a node with two.
    """

    source: NodeId
    partitioning: Partitioning
    output: str = ""
    side: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """One operator.

    `named` tells a name given by the user from one made up by us; `parallelism`
    None means the job's. `back` are the edges that lead back to the head of a loop, from operators that come after it.
    """

    id: NodeId
    name: str
    spec: Spec
    inputs: tuple[Edge, ...]
    named: bool = False
    parallelism: int | None = None
    new_chain: bool = False
    back: tuple[Edge, ...] = ()


@dataclass(slots=True)
class LogicalGraph:
    """All nodes of a pipeline, in the order in which they were added (inputs come first, but for what comes back)."""

    name: str
    max_parallelism: int
    nodes: list[Node] = field(default_factory=list)
