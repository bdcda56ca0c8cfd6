"""What a block of `write_savepoint` has gathered so far: the base, what was said of it, and new entries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from actorstream.codec.evolution import SchemaRefusedError
from actorstream.errors import PlanError
from actorstream.evolve.offline_state import OfflineState
from actorstream.evolve.rewritten import Rewritten
from actorstream.evolve.snapshots import lasting_codec, plain_values
from actorstream.evolve.stored_items import items_of
from actorstream.model.ids import OperatorNumber, StateNumber
from actorstream.state.ttl import stamp_of

if TYPE_CHECKING:
    from actorstream.checkpoints.manifest import StateEntry
    from actorstream.codec.contract import Codec
    from actorstream.evolve.carried import Carried
    from actorstream.evolve.declared_states import Declared, DeclaredState
    from actorstream.evolve.savepoint_draft import SavepointDraft
    from actorstream.evolve.snapshots import Snapshot
    from actorstream.evolve.stored_items import Items
    from actorstream.model.world import World


class Target(NamedTuple):
    """A state that gets new entries: its number, its items, where they are gathered."""

    number: int
    items: Items
    entries: Rewritten
    timers: bool


@dataclass(slots=True)
class Gathered:
    """See the module.

    Attributes:
        world: Disk, clock and randomness.
        declared: The states of the pipeline.
        draft: The folder.
        base: What it is made from; None: nothing.
        carried: What is taken over from the base.
        max_parallelism: Of the result.
        sorted_at_once: Bytes that an operator's sort keeps in memory.
        entries: New entries, by operator number.
        items: What reads the items of states with new entries, by operator and state number.
    """

    world: World
    declared: Declared
    draft: SavepointDraft
    base: Snapshot | None
    carried: Carried
    max_parallelism: int
    sorted_at_once: int
    entries: dict[int, Rewritten] = field(default_factory=dict)
    items: dict[int, dict[int, Items]] = field(default_factory=dict)

    def declared_state(self, operator: str, name: str) -> DeclaredState:
        """Give a state of the pipeline.

        Raises:
            PlanError: It has none of that name.
        """
        states = self.declared.get(operator)
        if states is None:
            raise PlanError(
                f"the pipeline has no operator {operator!r} with state: it has {sorted(self.declared)}; "
                "rename what the base has first"
            )
        if name not in states:
            raise PlanError(f"operator {operator!r} of the pipeline has no state {name!r}: it has {sorted(states)}")
        return states[name]

    def target(self, operator: str, name: str) -> Target:
        """Begin to write into a state of the pipeline; values are without the header of their schema.

        Raises:
            PlanError: It has no such state.
        """
        declared = self.declared_state(operator, name)
        carried, number = self.carried.begin_writing(operator, name)
        column = declared.column
        items = items_of(column.kind, f"{operator}.{name}", lasting_codec(column.codec))
        self.items.setdefault(carried.number, {})[number] = items
        return Target(number, items, self.entries_of(operator, carried.number), column.kind == "timers")

    def entries_of(self, operator: str, number: int) -> Rewritten:
        """Give where an operator's new entries are gathered."""
        found = self.entries.get(number)
        if found is None:
            found = self.entries[number] = Rewritten(
                self.world.files,
                self.draft.sorting,
                OperatorNumber(number),
                self.max_parallelism,
                self.sorted_at_once,
            )
        found.name = operator
        return found

    def base_state(self, operator: str, name: str) -> OfflineState:
        """Give a state of the base, by the operator's present name, to be read as the pipeline declares it.

        Where values of one of its schemas cannot be read so, all are plain.

        Raises:
            PlanError: The base has none, or it is dropped or transformed.
        """
        stored, carried = self.carried.kept_state(operator, name), self.carried.operators[operator]
        base, origin = self.base, carried.origin
        if base is None or origin is None:
            raise PlanError(f"operator {operator!r} has no state {name!r}: there is no base")
        declared = self.declared.get(operator, {}).get(name)
        lasting = declared is not None and declared.ttl is None
        codec = None if declared is None else _declared_values(stored, declared)
        return OfflineState(
            items_of(stored.kind, f"{operator}.{name}", plain_values(stored) if codec is None else codec),
            stored.kind,
            (OperatorNumber(carried.number), StateNumber(stored.number)),
            base.stack(origin),
            None if lasting else base.instants(origin),
        )

    def expiry_of(self, operator: str, declared: DeclaredState) -> int | None:
        """Give the stamp at which a value expires that is written now; None where nothing expires, or no time is known.

        A value without one lives until the job writes it again.
        """
        if declared.ttl is None:
            return None
        at: int | None = self.world.clock.now_us()
        if declared.ttl.domain == "event":
            carried = self.carried.operators.get(operator)
            known = self.base is not None and carried is not None and carried.origin is not None
            at = self.base.event_time(carried.origin) if known else None  # type: ignore[union-attr,arg-type]
        return None if at is None else stamp_of(at + declared.ttl.duration_us, declared.ttl.domain)


def _declared_values(stored: StateEntry, declared: DeclaredState) -> Codec[Any] | None:
    """Give the codec that reads stored values as what is declared; None where there is none."""
    if declared.column.kind != stored.kind:
        return None
    try:
        return lasting_codec(declared.column.evolved(stored.schemas).codec)
    except SchemaRefusedError:
        return None
