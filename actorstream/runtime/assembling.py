"""From the reports of all subtasks to the manifest of their checkpoint.

    reports  ──assemble──> manifest      layers once each, stacks by reference, positions, tokens, times, in flight

A restore takes it apart again: restoring.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from actorstream.checkpoints.manifest import (
    InFlightEntry,
    LayerEntry,
    Manifest,
    OperatorEntry,
    PartTimeEntry,
    PendingToken,
    SplitEntry,
    StackRun,
    TimeEntry,
    ToldEntry,
    format_of,
)
from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import CodecError
from actorstream.graph.fingerprint import fingerprint
from actorstream.graph.nodes import SourceSpec
from actorstream.model.connect import RetainingSource
from actorstream.runtime.job_settings import JobSettings
from actorstream.runtime.rescaled_time import floors_of
from actorstream.runtime.schema_check import entry_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actorstream.checkpoints.numbers import Numbers
    from actorstream.graph.plan import Plan
    from actorstream.model.ids import AttemptNumber, CheckpointId, JobId, SubtaskId
    from actorstream.operators.columns import Column
    from actorstream.runtime.event_time import TimeReport
    from actorstream.runtime.messages import InFlightReport, SnapshotReport, SplitPosition
    from actorstream.state.layer import LayerFile


class _Layers:
    """Every layer that the reports name, once."""

    def __init__(self) -> None:
        self.entries: list[LayerEntry] = []
        self._indexes: dict[str, int] = {}

    def index_of(self, file: LayerFile) -> int:
        index = self._indexes.get(file.name)
        if index is None:
            index = self._indexes[file.name] = len(self.entries)
            self.entries.append(LayerEntry(file.name, file.size, file.digest, file.entries))
        return index


@dataclass(frozen=True, slots=True)
class ManifestWriter:
    """Puts the subtasks' reports of one checkpoint together."""

    job: JobId
    attempt: AttemptNumber
    plan: Plan
    numbers: Numbers
    columns: Mapping[str, Sequence[Column]]
    settings: JobSettings = field(default_factory=JobSettings)

    def assemble(
        self,
        checkpoint: CheckpointId,
        reports: Mapping[SubtaskId, SnapshotReport],
        *,
        final: bool,
        created_us: int,
        duration_us: int,
        drained: bool = False,
    ) -> Manifest:
        """Give the manifest of `checkpoint`.

        Raises:
            CodecError: A source's position cannot be encoded.
        """
        layers = _Layers()
        operators: dict[str, OperatorEntry] = {}
        sources: dict[str, dict[str, SplitEntry]] = {}
        sinks: list[PendingToken] = []
        times: list[TimeEntry] = []
        in_flight: list[InFlightEntry] = []
        for chain in self.plan.chains:
            head = chain.head.name
            runs: list[StackRun] = []
            for subtask in chain.subtasks():
                report = reports[subtask]
                for key_groups, stack in report.stacks:
                    runs.append(
                        StackRun(key_groups.start, key_groups.end, [layers.index_of(layer.file) for layer in stack])
                    )
                if report.positions:
                    sources.setdefault(head, {}).update(_splits(head, report.positions))
                if report.time is not None:
                    times.append(_time_entry(subtask, report.time))
                in_flight += [_in_flight_entry(subtask, part, layers) for part in report.all_in_flight]
                for operator, pending in report.pending.items():
                    sinks += [
                        PendingToken(operator, subtask.subtask, commit.checkpoint, self.attempt, commit.token)
                        for commit in pending
                    ]
            if chain.stateful is not None:
                name = chain.stateful.name
                floors = floors_of(chain, reports, self.plan.graph.max_parallelism)
                operators[name] = replace(self._operator(name, chain.parallelism, runs), floors=floors)
        return Manifest(
            format=format_of(in_flight),
            job=self.job,
            pipeline=self.plan.graph.name,
            attempt=self.attempt,
            checkpoint=checkpoint,
            final=final,
            created_us=created_us,
            max_parallelism=self.plan.graph.max_parallelism,
            numbers=self.numbers,
            layers=layers.entries,
            operators=operators,
            sources=sources,
            sinks=sinks,
            duration_us=duration_us,
            times=times,
            drained=drained,
            logs=logs_of(self.plan),
            graph=fingerprint(self.plan.graph),
            restore_as=dict(self.settings.restore_as),
            allow_dropped=sorted(self.settings.allow_dropped),
            in_flight=in_flight,
        )

    def _operator(self, name: str, parallelism: int, runs: list[StackRun]) -> OperatorEntry:
        states = {}
        for column in self.columns[name]:
            states[column.name] = entry_of(column, self.numbers.states[name][column.name])
        return OperatorEntry(self.numbers.operators[name], parallelism, sorted(runs), states)


def _in_flight_entry(subtask: SubtaskId, kept: InFlightReport, layers: _Layers) -> InFlightEntry:
    indexes = [layers.index_of(file) for file in kept.layers]
    counts = kept.items, kept.overtaken, kept.records, kept.size_bytes
    return InFlightEntry(
        subtask.chain, subtask.subtask, indexes, *counts, "" if kept.written == subtask.chain else kept.written
    )


def logs_of(plan: Plan) -> dict[str, str]:
    """Give, by source, the folder of the log that keeps records for a job, where there is one."""
    logs: dict[str, str] = {}
    for chain in plan.chains:
        source = chain.head.spec.source if isinstance(chain.head.spec, SourceSpec) else None
        path = getattr(source, "path", None)
        if isinstance(source, RetainingSource) and isinstance(path, str):
            logs[chain.head.name] = path
    return logs


def _time_entry(subtask: SubtaskId, time: TimeReport) -> TimeEntry:
    return TimeEntry(
        subtask.chain,
        subtask.subtask,
        time.entering,
        time.after,
        dict(time.assigned),
        {name: {part: PartTimeEntry(*place) for part, place in each.items()} for name, each in time.parts.items()},
        {name: ToldEntry(*each) for name, each in time.told.items()},
    )


def _splits(source: str, positions: Mapping[str, SplitPosition]) -> dict[str, SplitEntry]:
    entries = {}
    for split, place in positions.items():
        try:
            encoded = None if place.position is None else SELF_DESCRIBING.encode(place.position)
        except CodecError as error:
            raise CodecError(f"source {source}, split {split!r}: its position cannot be stored: {error}") from error
        entries[split] = SplitEntry(encoded, place.finished)
    return entries
