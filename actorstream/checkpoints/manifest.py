"""What a checkpoint consists of: one JSON document, sealed by a digest, published once.

    layers      L0 L1 L2 …                     each file once, with size and digest
    operators   views: [0,64)   -> L2 L0       newest first, by index into `layers`
                       [64,128) -> L1 L0
                floors  [0,64)   -> watermark  where event time was beyond that of others
    sources     orders: partition 0 -> position
    sinks       tokens not yet known committed
    in flight   views 0: L3                    records sent to a subtask and not in its state yet

A stack belongs to a range of key groups, so what a subtask sees is decided here,
never by what a file holds (T134), and a run serves any number of neighbours that
share one stack. Nothing in a published manifest ever changes.

Format 2 is a manifest with records in flight (checkpoints/in_flight.py): who does not know them must not restore it.
Every other is written as format 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from actorstream.checkpoints.numbers import Numbers
from actorstream.checkpoints.sealed import seal as seal_document
from actorstream.checkpoints.sealed import unseal as unseal_document
from actorstream.codec.documents import Int64, Number16  # noqa: TC001  (documents are read by it)
from actorstream.codec.evolution import KnownSchema
from actorstream.errors import InvariantError, StoreError
from actorstream.model.ids import AttemptNumber, LayerName
from actorstream.model.key_groups import MAX_PARALLELISM_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = 2
"""The newest that is read; what has nothing in flight is written as `ALIGNED_FORMAT`."""
ALIGNED_FORMAT = 1
_LAYER_NAME = re.compile(r"([1-9][0-9]{0,17})-[A-Za-z0-9_.]{1,64}-[0-9]{1,18}\.lmdb")
_REMEDY = "put it back from a copy, or name an older checkpoint to restore (`checkpoints list` shows them)"


@dataclass(frozen=True, slots=True)
class LayerEntry:
    """One immutable file of state: what must be found under its name."""

    name: LayerName
    size: Int64
    digest: str
    entries: Int64


class StackRun(NamedTuple):
    """The stack of the key groups in [start, end): indexes into the manifest's layers, newest first."""

    start: Int64
    end: Int64
    layers: list[Int64]


@dataclass(frozen=True, slots=True)
class StateEntry:
    """One state of an operator: its number in layer keys, and the schemas its values were written with.

    `fingerprint`, `shape`, `version` and `schema`, its number before the values, are those of the newest;
    `older` has all others of which there may be values. How they are told apart says codec/evolution.py. `map_key`
    is the shape of a map's keys, None where that is not known.
    """

    number: Number16
    kind: Literal["value", "map", "timers", "slices", "broadcast", "list"]
    fingerprint: str
    shape: object
    version: Int64 = 1
    schema: Number16 = 0
    older: list[KnownSchema] = field(default_factory=list)
    map_key: object = None

    @property
    def schemas(self) -> list[KnownSchema]:
        """Give all schemas of which there may be values."""
        return [*self.older, KnownSchema(self.schema, self.version, self.fingerprint, self.shape)]


class FloorRun(NamedTuple):
    """Event time of the key groups in [start, end), where it is beyond the least of all subtasks."""

    start: Int64
    end: Int64
    watermark: Int64


@dataclass(frozen=True, slots=True)
class OperatorEntry:
    """One stateful operator."""

    number: Number16
    parallelism: Int64
    stacks: list[StackRun]
    states: dict[str, StateEntry]
    floors: list[FloorRun] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SplitEntry:
    """How far a split was read: the encoded position of the last emitted record, None before the first."""

    position: bytes | None
    finished: bool


@dataclass(frozen=True, slots=True)
class PendingToken:
    """What a sink pre-committed and is not yet known to have committed."""

    operator: str
    subtask: Int64
    checkpoint: Int64
    attempt: Int64
    token: bytes


class PartTimeEntry(NamedTuple):
    """Where the watermark generator of a split or channel stood."""

    generator: bytes
    watermark: Int64
    idle: bool


class ToldEntry(NamedTuple):
    """What those behind an exchange had been told."""

    watermark: Int64
    idle: bool


class TimeEntry(NamedTuple):
    """How far event time had come in one subtask.

    `assigned` is by operator, `parts` by operator, then split or channel, `told` by exchange.
    """

    chain: str
    subtask: Int64
    entering: Int64
    after: Int64
    assigned: dict[str, Int64]
    parts: dict[str, dict[str, PartTimeEntry]]
    told: dict[str, ToldEntry]


class InFlightEntry(NamedTuple):
    """What had been sent to a subtask and was not in its state: `layers`, by index, hold `items` with `records`.

    Barriers had overtaken `overtaken` of the items; the others were in a loop. `written` is the chain's name in the
    layers, "" where it is still called so.
    """

    chain: str
    subtask: Int64
    layers: list[Int64]
    items: Int64
    overtaken: Int64
    records: Int64
    size: Int64
    written: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One checkpoint. `digest` is written by `seal`; leave it empty.

    `drained`: the sources ended though their input had not, so event time is at its end and starts anew. `logs` says,
    by source, where the log is that keeps records for whoever goes on from here. `graph` is the pipeline's fingerprint
    (graph/fingerprint.py).
    `restore_as` and `allow_dropped` are what the run was told that took it: done by then, and not to be done again.
    `in_flight` is what its barriers had overtaken, which a savepoint has none of, and what was in a loop.
    """

    format: Int64
    job: str
    pipeline: str
    attempt: Int64
    checkpoint: Int64
    final: bool
    created_us: Int64
    max_parallelism: Int64
    numbers: Numbers = field(default_factory=Numbers)
    layers: list[LayerEntry] = field(default_factory=list)
    operators: dict[str, OperatorEntry] = field(default_factory=dict)
    sources: dict[str, dict[str, SplitEntry]] = field(default_factory=dict)
    sinks: list[PendingToken] = field(default_factory=list)
    duration_us: Int64 = 0
    times: list[TimeEntry] = field(default_factory=list)
    drained: bool = False
    logs: dict[str, str] = field(default_factory=dict)
    graph: str = ""
    restore_as: dict[str, str] = field(default_factory=dict)
    allow_dropped: list[str] = field(default_factory=list)
    in_flight: list[InFlightEntry] = field(default_factory=list)
    digest: str = ""


def seal(manifest: Manifest) -> bytes:
    """Write the document with its digest.

    Raises:
        InvariantError: The manifest contradicts itself.
    """
    wanted = format_of(manifest.in_flight)
    problem = _problem(manifest) if manifest.format == wanted else f"format {manifest.format} is not {wanted}"
    if problem is not None:
        raise InvariantError(f"the manifest of checkpoint {manifest.checkpoint} is wrong: {problem}")
    return seal_document(manifest)


def unseal(path: str, data: bytes) -> Manifest:
    """Read a manifest of this format or an older one.

    Raises:
        StoreError: Damaged, of a newer format, or contradicting itself; names the file and the remedy.
    """
    manifest = unseal_document(Manifest, path, data, newest=FORMAT, remedy=_REMEDY)
    problem = _problem(manifest)
    if problem is not None:
        raise StoreError(f"{path} contradicts itself: {problem}; {_REMEDY}")
    return manifest


def format_of(in_flight: Sequence[InFlightEntry]) -> int:
    """Give the format in which a manifest with so much in flight is written."""
    return FORMAT if in_flight else ALIGNED_FORMAT


def overtaken_in(manifest: Manifest) -> int:
    """Count what the barriers of a checkpoint had overtaken: 0 where it is aligned, as every savepoint is."""
    return sum(entry.overtaken for entry in manifest.in_flight)


def attempt_of(name: str) -> AttemptNumber | None:
    """Give the attempt that wrote a layer, from `<attempt>-<host>-<n>.lmdb`; None for any other name."""
    match = _LAYER_NAME.fullmatch(name)
    return AttemptNumber(int(match[1])) if match else None


def _problem(manifest: Manifest) -> str | None:
    if min(manifest.attempt, manifest.checkpoint, manifest.max_parallelism) < 1:
        return "attempt, checkpoint and max_parallelism start at 1"
    if manifest.max_parallelism > MAX_PARALLELISM_LIMIT:
        return f"max_parallelism is {manifest.max_parallelism}, over {MAX_PARALLELISM_LIMIT}"
    if len({layer.name for layer in manifest.layers}) != len(manifest.layers):
        return "a layer is listed twice"
    for layer in manifest.layers:
        # A name also says where a file is opened: nothing here may lead out of the store.
        if attempt_of(layer.name) is None:
            return f"{layer.name!r} is no layer name: expected <attempt>-<host>-<n>.lmdb"
    for name, operator in manifest.operators.items():
        problem = _stack_problem(operator, len(manifest.layers), manifest.max_parallelism)
        problem = problem or _order_problem("floors of key groups", operator.floors, manifest.max_parallelism)
        if problem is not None:
            return f"operator {name!r}: {problem}"
    return _in_flight_problem(manifest) or manifest.numbers.problem()


def _in_flight_problem(manifest: Manifest) -> str | None:
    if manifest.format == ALIGNED_FORMAT and manifest.in_flight:
        return f"format {ALIGNED_FORMAT} has no records in flight"
    layers = len(manifest.layers)
    for chain, subtask, indexes, items, overtaken, records, size, _ in manifest.in_flight:
        if not indexes or not 0 <= min(indexes) <= max(indexes) < layers:
            return f"records in flight to {chain!r} refer to a layer that is not among the {layers} listed"
        if min(subtask, items - overtaken, overtaken, records, size) < 0:
            return f"records in flight to {chain!r} are counted below 0"
    if len({(entry.chain, entry.subtask, entry.written) for entry in manifest.in_flight}) != len(manifest.in_flight):
        return "records in flight to one subtask are listed twice"
    return None


def _stack_problem(operator: OperatorEntry, layers: int, max_parallelism: int) -> str | None:
    for start, end, stack in operator.stacks:
        if stack and not 0 <= min(stack) <= max(stack) < layers:
            return f"key groups [{start}, {end}) refer to a layer that is not among the {layers} listed"
    return _order_problem("key groups", operator.stacks, max_parallelism)


def _order_problem(what: str, runs: Sequence[StackRun | FloorRun], max_parallelism: int) -> str | None:
    end_before = 0
    for start, end, _ in runs:
        if not end_before <= start < end <= max_parallelism:
            return f"{what} [{start}, {end}) overlap, are out of order or not below {max_parallelism}"
        end_before = end
    return None
