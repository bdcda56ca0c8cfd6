"""From a manifest to what each subtask starts with.

    manifest ──restore──> numbers, layer stacks, split positions, tokens, records in flight

How the next manifest comes about says assembling.py.

Everything is found by the operator's name. What the plan no longer has is refused
with its name, never dropped silently.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actorstream.checkpoints.in_flight import read_part
from actorstream.checkpoints.numbers import Numbers
from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import RestoreError
from actorstream.graph.nodes import SinkSpec, SourceSpec
from actorstream.model.ids import CheckpointId
from actorstream.model.key_groups import KeyGroupRange
from actorstream.model.times import TIME_MIN
from actorstream.operators.floors import Floor
from actorstream.protocol.commit import PendingCommit
from actorstream.runtime.event_time import NOTHING_TOLD, PartTime, TimeReport, Told, least
from actorstream.runtime.messages import SplitPosition
from actorstream.runtime.rescaled_time import floors_within
from actorstream.runtime.schema_check import check_states
from actorstream.state.layer import LayerFile, open_written
from actorstream.state.verified import prove

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from actorstream.checkpoints.directory import CheckpointDirectory
    from actorstream.checkpoints.in_flight import InFlightPart
    from actorstream.checkpoints.manifest import Manifest
    from actorstream.graph.plan import Chain, Plan
    from actorstream.model.world import FileSystem
    from actorstream.operators.columns import Column
    from actorstream.runtime.retaining import ClaimedSavepoint
    from actorstream.state.layer import Layer
    from actorstream.state.unkeyed import Unkeyed


@dataclass(slots=True)
class Restored:
    """What an attempt starts from. `close` gives up the layers that no stack took.

    `kept` holds the positions of every checkpoint still in the store, oldest first, `columns` the states as they
    read what the layers hold. `claimed` is the savepoint that is the job's from now on. `in_doubt` are names that may
    be of other operators than in the snapshot: no time is known of those. `floors` says how far event time had come for
    key groups of an operator, beyond the least of all; `parallelism` how many subtasks each operator had, and
    `unkeyed` what its state without key was. `in_flight` goes to the subtasks before anything new.
    """

    checkpoint: CheckpointId | None = None
    numbers: Numbers = field(default_factory=Numbers)
    stacks: dict[str, list[tuple[KeyGroupRange, list[Layer]]]] = field(default_factory=dict)
    splits: dict[str, dict[str, SplitPosition]] = field(default_factory=dict)
    tokens: dict[str, dict[int, list[PendingCommit]]] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    kept: list[dict[str, dict[str, SplitPosition]]] = field(default_factory=list)
    times: dict[str, dict[int, TimeReport]] = field(default_factory=dict)
    claimed: ClaimedSavepoint | None = None
    columns: Mapping[str, Sequence[Column]] = field(default_factory=dict)
    floors: dict[str, list[Floor]] = field(default_factory=dict)
    in_doubt: frozenset[str] = frozenset()
    parallelism: dict[str, int] = field(default_factory=dict)
    unkeyed: Mapping[str, Unkeyed] = field(default_factory=dict)
    in_flight: list[InFlightPart] = field(default_factory=list)

    def _known(self, chain: Chain) -> Mapping[int, TimeReport]:
        """Give the event times of a chain's subtasks, as far as its names mean what they did."""
        known, doubt = self.times.get(chain.name, {}), self.in_doubt
        if not doubt or chain.name in doubt:
            return {} if chain.name in doubt else known
        return {subtask: _without(report, doubt) for subtask, report in known.items()}

    def time_of(self, chain: Chain, subtask: int) -> TimeReport:
        """Give the event time of a subtask, or the least of all where its chain had another parallelism."""
        known = self._known(chain)
        if subtask in known and len(known) == chain.parallelism:
            return known[subtask]
        return least(known.values())

    def told_by(self, chain: Chain, subtask: int, exchange: str) -> Told | None:
        """Give what a subtask had told those behind an exchange; None where there was no such exchange or subtask."""
        known = self._known(chain)
        if len(known) != chain.parallelism:
            return None if self.times else NOTHING_TOLD
        return self.time_of(chain, subtask).told.get(exchange)

    def reached_by(self, chain: Chain, subtask: int) -> int:
        """Give how far event time had come for the operator with state, in whichever chain it was.

        Where it had another parallelism that is the least of all its subtasks.
        """
        if chain.stateful is None or chain.stateful.name in self.in_doubt:
            return TIME_MIN
        name, known = chain.stateful.name, self.times.get(chain.name, {})
        if subtask in known and len(known) == chain.parallelism and name in known[subtask].assigned:
            return known[subtask].assigned[name]
        reports = [report for by_subtask in self.times.values() for report in by_subtask.values()]
        return min([report.assigned[name] for report in reports if name in report.assigned], default=TIME_MIN)

    def parts_of(self, chain: Chain) -> dict[str, dict[str, PartTime]]:
        """Give where each generator stood, by operator and split or channel, whichever subtask had it."""
        parts: dict[str, dict[str, PartTime]] = {}
        for report in self._known(chain).values():
            for operator, by_part in report.parts.items():
                parts.setdefault(operator, {}).update(by_part)
        return parts

    def floors_of(self, chain: Chain, key_groups: KeyGroupRange) -> list[Floor]:
        """Give for which of these key groups the operator with state had come further than the least of all."""
        if chain.stateful is None or chain.stateful.name in self.in_doubt:
            return []
        return floors_within(self.floors.get(chain.stateful.name, ()), key_groups)

    def close(self) -> None:
        """Let go of this object's own hold on the layers."""
        for layer in self.layers:
            layer.release()
        self.layers = []


def _without(report: TimeReport, doubt: frozenset[str]) -> TimeReport:
    return report._replace(
        assigned={name: time for name, time in report.assigned.items() if name not in doubt},
        parts={name: parts for name, parts in report.parts.items() if name not in doubt},
        told={name: told for name, told in report.told.items() if name.rpartition(":")[0] not in doubt},
    )


def check_restorable(manifest: Manifest, plan: Plan, columns: Mapping[str, Sequence[Column]]) -> None:
    """Refuse a manifest that this plan cannot go on from.

    Raises:
        RestoreError: Another max_parallelism, state or tokens of an operator that is gone, or a changed schema.
    """
    if manifest.max_parallelism != plan.graph.max_parallelism:
        raise RestoreError(
            f"checkpoint {manifest.checkpoint} was taken with max_parallelism {manifest.max_parallelism}, the pipeline "
            f"has {plan.graph.max_parallelism}: it is fixed for the life of the state; "
            f"say Pipeline({plan.graph.name!r}, max_parallelism={manifest.max_parallelism})"
        )
    for name, operator in manifest.operators.items():
        if name not in columns:
            raise RestoreError(
                f"checkpoint {manifest.checkpoint} holds state of operator {name!r}, which the pipeline does not have "
                f"(it has {sorted(columns)}): keep the operator's name, say what it is called now "
                f"(restore_as={{{name!r}: ...}}), or give its state up (allow_dropped=[{name!r}])"
            )
        check_states(name, operator, columns[name])
    nodes = plan.graph.nodes
    _check_in_flight(manifest, {node.name for node in nodes})
    _check_present("pending output of sink", {token.operator for token in manifest.sinks}, nodes, SinkSpec)
    _check_present("positions of source", manifest.sources, nodes, SourceSpec)


def _check_in_flight(manifest: Manifest, present: Collection[str]) -> None:
    for entry in manifest.in_flight:
        if entry.chain not in present:
            # A savepoint holds what is awaited, and what goes round, unless all of it had run out before it.
            none = "start from a savepoint, which holds none"
            none = none if entry.overtaken else "let them all out first (job.stop(savepoint=..., drain=True))"
            raise RestoreError(
                f"checkpoint {manifest.checkpoint} holds {entry.records:,} records "
                f"{'in flight to operator' if entry.overtaken else 'that were awaited by, or went round in loop'} "
                f"{entry.chain!r}, which the pipeline does not have (it has {sorted(present)}): keep the operator's "
                f"name, say what it is called now (restore_as={{{entry.chain!r}: ...}}), {none}, or give these records "
                f"up (allow_dropped=[{entry.chain!r}])"
            )


def _check_present(what: str, names: Mapping[str, object] | set[str], nodes: Sequence[object], spec: type) -> None:
    present = {node.name for node in nodes if isinstance(node.spec, spec)}  # type: ignore[attr-defined]
    for name in sorted(names):
        if name not in present:
            raise RestoreError(
                f"the checkpoint holds {what} {name!r}, which the pipeline does not have (it has {sorted(present)}): "
                f"keep its name, say what it is called now (restore_as={{{name!r}: ...}}), or give that up "
                f"(allow_dropped=[{name!r}])"
            )


def restore(
    files: FileSystem,
    directory: CheckpointDirectory,
    manifest: Manifest,
    tell: Callable[[int, int], None] = lambda done_bytes, total_bytes: None,
) -> Restored:
    """Open everything that a manifest lists; blocking, for a thread.

    Files that this machine has not found good since it was turned on are read first, and `tell` is
    called with the bytes read so far and to be read; what it raises ends the reading.

    Raises:
        StoreError: A layer is missing or damaged; names the file, what was found and the remedy.
    """
    restored = Restored(CheckpointId(manifest.checkpoint), manifest.numbers)
    try:
        layers = {
            directory.layer_path(entry.name): LayerFile(entry.name, entry.size, entry.digest, entry.entries)
            for entry in manifest.layers
        }
        prove(files, layers, tell)
        for path, file in layers.items():
            restored.layers.append(open_written(path, file))
        for entry in manifest.in_flight:
            found = [restored.layers[index] for index in entry.layers]
            part = read_part(found, entry.written or entry.chain, entry.subtask, entry.items)
            restored.in_flight.append(part.renamed(entry.chain))
    except BaseException:
        restored.close()
        raise
    for name, operator in manifest.operators.items():
        restored.parallelism[name] = operator.parallelism
        restored.stacks[name] = [
            (KeyGroupRange(run.start, run.end), [restored.layers[index] for index in run.layers])
            for run in operator.stacks
        ]
    restored.splits = positions_in(manifest)
    # Where it was drained, event time was at its end, and starts anew.
    for chain, subtask, entering, after, assigned, parts, told in () if manifest.drained else manifest.times:
        restored.times.setdefault(chain, {})[subtask] = TimeReport(
            entering,
            after,
            assigned,
            {name: {part: PartTime(*place) for part, place in each.items()} for name, each in parts.items()},
            {name: Told(*each) for name, each in told.items()},
        )
    for name, operator in () if manifest.drained else manifest.operators.items():
        restored.floors[name] = [
            Floor(KeyGroupRange(start, end), watermark) for start, end, watermark in operator.floors
        ]
    for token in manifest.sinks:
        by_subtask = restored.tokens.setdefault(token.operator, {})
        by_subtask.setdefault(token.subtask, []).append(PendingCommit(CheckpointId(token.checkpoint), token.token))
    return restored


def positions_in(manifest: Manifest) -> dict[str, dict[str, SplitPosition]]:
    """Give how far each split of each source was emitted."""
    return {
        name: {
            split: SplitPosition(
                None if entry.position is None else SELF_DESCRIBING.decode(entry.position), finished=entry.finished
            )
            for split, entry in splits.items()
        }
        for name, splits in manifest.sources.items()
    }
