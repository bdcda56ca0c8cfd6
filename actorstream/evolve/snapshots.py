"""Reading the state in a checkpoint or savepoint, without the job that took it.

    with open_snapshot("data/shop") as snapshot:              a job's newest checkpoint, or a savepoint
        visits = snapshot.state("visits", "count")
        visits.get("ann")                                     one key
        for key, count in visits.items(start="a", stop="b"):  a range, in order

Nothing is changed and no lock is taken, so the job may run meanwhile. Without its classes values are plain
(codec/plain.py), each by the schema that it was written with; with `pipeline=` they are of the types that it declares,
renamed and migrated as a job would do it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from actorstream.codec.evolution import plain_evolved
from actorstream.errors import PlanError, RestoreError, StoreError
from actorstream.evolve.declared_states import declared_in, plan_of
from actorstream.evolve.offline_state import OfflineState
from actorstream.evolve.snapshot_places import open_layers, path_of
from actorstream.evolve.stored_items import items_of
from actorstream.model.ids import OperatorNumber, StateNumber
from actorstream.model.key_groups import KeyGroupRange
from actorstream.model.times import TIME_MIN
from actorstream.runtime.schema_check import evolved_column
from actorstream.state.live_rows import Instants
from actorstream.state.stack import LayerStack
from actorstream.state.ttl import ExpiringCodec, stamp_of
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from actorstream.api.pipeline import Pipeline
    from actorstream.checkpoints.manifest import Manifest, OperatorEntry, StateEntry
    from actorstream.codec.values import Codec
    from actorstream.evolve.declared_states import Declared, DeclaredState
    from actorstream.evolve.snapshot_places import OpenSnapshot, SnapshotPath


class Snapshot:
    """A snapshot that is open for reading, until its block ends.

    Attributes:
        manifest: What it consists of.
        operators: The operators that have state in it, by name.
    """

    def __init__(self, opened: OpenSnapshot, declared: Declared | None = None) -> None:
        """Read what is `opened`; values are of the types that are `declared`, else plain."""
        self.manifest: Manifest = opened.manifest
        self.operators: Sequence[str] = sorted(opened.manifest.operators)
        self._declared = declared
        self._closed = False
        self._stacks = {
            name: LayerStack.covering(
                KeyGroupRange(0, self.manifest.max_parallelism),
                [
                    (KeyGroupRange(run.start, run.end), [opened.layers[index] for index in run.layers])
                    for run in operator.stacks
                ],
            )
            for name, operator in self.manifest.operators.items()
        }

    def states(self, operator: str) -> Mapping[str, StateEntry]:
        """Give the states of an operator: kind and schema by name.

        Raises:
            PlanError: It has no state here.
        """
        return self._operator(operator).states

    def stack(self, operator: str) -> LayerStack:
        """Give the layers of an operator, for all its key groups."""
        self._operator(operator)
        return self._stacks[operator]

    def state(self, operator: str, name: str) -> OfflineState:
        """Give one state.

        Raises:
            PlanError: There is none of that name.
            RestoreError: The pipeline given declares another type, and what is stored cannot be read as it.
        """
        entry = self._operator(operator)
        state = entry.states.get(name)
        if state is None:
            raise PlanError(
                f"operator {operator!r} has no state {name!r} in this snapshot: it has {sorted(entry.states)}"
            )
        declared = (self._declared or {}).get(operator, {}).get(name)
        where = f"{operator}.{name}"
        codec = plain_values(state) if declared is None else _declared_values(operator, state, declared)
        lasting = declared is not None and declared.ttl is None
        return OfflineState(
            items_of(state.kind, where, codec),
            state.kind,
            (OperatorNumber(entry.number), StateNumber(state.number)),
            self._stacks[operator],
            None if lasting else self.instants(operator),
            self._check_open,
        )

    def instants(self, operator: str) -> Callable[[int], Instants]:
        """Give what time it is here for the key groups of an operator.

        By the clock that is when the snapshot was taken; event time is that of `event_time`, or a floor beyond it
        (operators/floors.py): as a job that is restored from here begins.
        """
        reached, drained = self.event_time(operator), self.manifest.drained
        event = TIME_MIN if reached is None else reached
        floors = {
            group: watermark
            for start, end, watermark in (() if drained else self._operator(operator).floors)
            for group in range(start, end)
        }
        processing = stamp_of(self.manifest.created_us, "processing")
        return lambda group: Instants(processing, stamp_of(max(event, floors.get(group, TIME_MIN)), "event"))

    def event_time(self, operator: str) -> int | None:
        """Give how far event time had come for an operator, the least of its subtasks; None where none is known.

        Where the job was drained it is none: it was at its end, and begins anew.
        """
        if self.manifest.drained:
            return None
        times = [time.assigned[operator] for time in self.manifest.times if operator in time.assigned]
        return min(times, default=None)

    def close(self) -> None:
        """Let go of the layers; a second call does nothing."""
        self._closed = True
        for stack in self._stacks.values():
            stack.release()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("this snapshot is closed: read it inside of its `with` block")

    def _operator(self, name: str) -> OperatorEntry:
        entry = self.manifest.operators.get(name)
        if entry is None:
            raise PlanError(f"there is no operator {name!r} with state in this snapshot: it has {self.operators}")
        return entry


def plain_values(stored: StateEntry) -> Codec[Any]:
    """Give the codec of a state's values without their classes: each is read by the schema that it was written with."""
    newest, *older = reversed(stored.schemas)
    return plain_evolved(newest, older)


def _declared_values(operator: str, stored: StateEntry, declared: DeclaredState) -> Codec[Any]:
    try:
        return lasting_codec(evolved_column(operator, declared.column, stored).codec)
    except RestoreError as error:
        raise RestoreError(f"{error}; or read it without the pipeline") from error


def lasting_codec(codec: Codec[Any]) -> Codec[Any]:
    """Give the codec of the values alone, without their expiries."""
    return codec.values if isinstance(codec, ExpiringCodec) else codec


@contextmanager
def open_snapshot(path: SnapshotPath, *, pipeline: Pipeline | None = None) -> Iterator[Snapshot]:
    """Open a checkpoint or savepoint for reading, for the block. Blocking: in a service, do it in a thread.

    Args:
        path: A savepoint, or its folder; a checkpoint's folder, `<store>/<pipeline>/checkpoints/<id>`; or a job's,
            `<store>/<pipeline>`: its newest checkpoint.
        pipeline: Values are of the types that it declares, older ones renamed and migrated. Without it they are
            plain: a record is a dict of the fields that it was written with; Enums among keys need their module to
            be imported.

    Raises:
        StoreError: There is none, it is not finished, or a file of it is missing, damaged or of a newer format.
    """
    declared = None if pipeline is None else declared_in(plan_of(pipeline))
    opened = open_layers(current_world().files, path_of(path))
    try:
        snapshot = Snapshot(opened, declared)
    finally:
        opened.close()  # its stacks hold the layers
    try:
        yield snapshot
    finally:
        snapshot.close()
