"""What must be true of the disk at every moment at which a process has ended, whatever ended it.

    cut         a manifest's layers, read back   ==  the models, fed with the input up to the manifest's positions
    prefix      the committed output of a lane   ==  the first results that the models give for it, in that order
    commit      committed output                 <=  what the newest valid manifest covers
    kept        what was committed once is there for ever; a manifest and its layers never change
    complete    (at the end) nothing of a lane is missing

All is read through the library's own reading functions, never through a mutated one.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.codec.documents import decode_json
from actorstream.codec.values import codec_for
from actorstream.connectors.memory import SequenceSource
from actorstream.errors import StoreError
from actorstream.eventlog.folder import LogDocument
from actorstream.eventlog.records import Read
from actorstream.eventlog.row import SegmentRow
from actorstream.graph.chaining import plan_graph
from actorstream.graph.nodes import ProcessSpec
from actorstream.model.ids import OperatorNumber, StateNumber
from actorstream.model.key_groups import KeyGroupRange
from actorstream.operators.columns import columns_of
from actorstream.protocol.attempts import is_void
from actorstream.runtime.restoring import restore
from actorstream.state.memtable import MISSING
from actorstream.state.operator_state import OperatorState, StateColumn
from actorstream.state.stack import LayerStack
from tests.simulation.jobs import MAX_PARALLELISM
from tests.simulation.stages import STATE_KEYS, Event, Result, settled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actorstream.checkpoints.manifest import Manifest
    from actorstream.operators.columns import Column
    from actorstream.protocol.attempts import Claim
    from actorstream.protocol.recovery import ManifestFact
    from actorstream.runtime.restoring import Restored
    from actorstream.testing.disk import SimulatedDisk
    from tests.simulation.jobs import SimulatedJob, Stage
    from tests.simulation.stages import Model

Lane: TypeAlias = tuple[str, str]
"""The key of a stage, and the lane of the input: between the two the order is kept."""

Partitions: TypeAlias = "Mapping[str, Sequence[Sequence[Event]]]"
"""The events of each source, by partition, in the order of their offsets."""

_RESULTS = codec_for(Result)


class BrokenPromiseError(AssertionError):
    """An oracle is violated; `oracle` names it."""

    def __init__(self, oracle: str, what: str) -> None:
        super().__init__(f"{oracle}: {what}")
        self.oracle = oracle


class Oracles:
    """Watches one disk through all sessions of one run."""

    def __init__(self, disk: SimulatedDisk, job: SimulatedJob, inputs: Partitions) -> None:
        self._disk = disk
        self._job = job
        self._inputs = inputs
        self._root = f"{disk.root}/store/{job.name}"
        self._seen: dict[tuple[int, int], str] = {}
        self._committed: dict[str, Counter[Lane]] = {sink: Counter() for sink in job.outputs}
        self._columns = _columns(job)
        self.cuts = 0

    def check(self, *, at_the_end: bool = False) -> None:
        """Look at everything; raise BrokenPromiseError."""
        covered = self._check_manifests()
        for sink in self._job.outputs:
            self._check_output(sink, covered, at_the_end=at_the_end)

    # ---- checkpoints

    def _check_manifests(self) -> dict[str, list[Event]]:
        """Check every manifest; give the events that the newest valid one covers, by stage."""
        covered: dict[str, list[Event]] = {stage: [] for stage in self._job.stages}
        if not os.path.isdir(f"{self._root}/checkpoints") or not os.path.isdir(f"{self._root}/attempts"):
            return covered
        directory = CheckpointDirectory(self._disk, self._root)
        try:
            claims = directory.claims()
            facts = [fact for fact in directory.manifests() if not _is_void(fact, claims)]
            for fact in facts:
                covered = self._check_manifest(directory, fact)
        except StoreError as error:
            raise BrokenPromiseError("readable", str(error)) from error
        return covered

    def _check_manifest(self, directory: CheckpointDirectory, fact: ManifestFact) -> dict[str, list[Event]]:
        if fact.problem is not None:
            raise BrokenPromiseError("readable", f"checkpoint {fact.checkpoint}: {fact.problem}")
        manifest = directory.read(fact.checkpoint)
        known = self._seen.setdefault((manifest.attempt, manifest.checkpoint), manifest.digest)
        if known != manifest.digest:
            raise BrokenPromiseError("immutable", f"checkpoint {fact.checkpoint} is another one than before")
        if problems := directory.verify(manifest):
            raise BrokenPromiseError("immutable", f"checkpoint {fact.checkpoint}: {problems}")
        restored = restore(self._disk, directory, manifest)
        try:
            covered = self._covered(restored)
            for stage, events in covered.items():
                if self._job.stages[stage].stateful:
                    self._check_cut(manifest, restored, stage, events)
        finally:
            restored.close()
        self.cuts += 1
        return covered

    def _covered(self, restored: Restored) -> dict[str, list[Event]]:
        """Give what each stage had been fed with at the positions of a checkpoint."""
        raw: list[Event] = []
        for source in self._job.sources:
            for split, place in restored.splits.get(f"in-{source}", {}).items():
                taken = place.position + 1 if isinstance(place.position, int) else 0
                events = self._inputs[source][int(split)]
                if place.finished and taken != len(events):
                    raise BrokenPromiseError(
                        "cut", f"split {split} of {source} is finished at {taken} of {len(events)}"
                    )
                raw += events[:taken]
        return {name: [fed for event in raw for fed in stage.feeds(event)] for name, stage in self._job.stages.items()}

    def _check_cut(self, manifest: Manifest, restored: Restored, name: str, events: Sequence[Event]) -> None:
        stage = self._job.stages[name]
        models: dict[str, Model] = {}
        for event in events:
            models.setdefault(stage.key(event), stage.model()).step(stage.key(event), event)
        reader = self._read_state(manifest, restored, name)
        for key in STATE_KEYS:
            right = {state: settled(state, value) for state, value in models.get(key, stage.model()).states().items()}
            there = {state: settled(state, value) for state, value in reader.read(key).items()}
            if any(right[state] != there.get(state) for state in right):
                raise BrokenPromiseError(
                    "cut",
                    f"checkpoint {manifest.checkpoint} of attempt {manifest.attempt}, {name}[{key}]: the layers hold "
                    f"{there}, the input up to its positions gives {right}",
                )
        reader.close()

    def _read_state(self, manifest: Manifest, restored: Restored, stage: str) -> _StateReader:
        entry = manifest.operators[stage]
        columns = [
            StateColumn(StateNumber(entry.states[column.name].number), column.name, column.kind, column.codec)
            for column in self._columns[stage]
        ]
        everything = KeyGroupRange(0, MAX_PARALLELISM)
        state = OperatorState(
            operator=OperatorNumber(entry.number),
            columns=columns,
            key_groups=everything,
            max_parallelism=MAX_PARALLELISM,
            stack=LayerStack.covering(everything, restored.stacks.get(stage, ())),
            name=stage,
        )
        return _StateReader(state, columns)

    # ---- output

    def _check_output(  # noqa: C901  (one walk along the output, and what may be wrong at each record)
        self, sink: str, covered: Mapping[str, list[Event]], *, at_the_end: bool
    ) -> None:
        output = self._job.outputs[sink]
        stage = self._job.stages[output.stage]
        models: dict[str, Model] = {}
        everything = [event for parts in self._inputs.values() for part in parts for event in part]
        left = {
            lane: iter(events)
            for lane, events in _lanes(stage, [fed for event in everything for fed in stage.feeds(event)]).items()
        }
        allowed = Counter(_lane(stage, event) for event in covered[output.stage])
        fed: Counter[Lane] = Counter()
        committed: Counter[Lane] = Counter()

        def next_of(lane: Lane) -> Result | None:
            """Feed the model with the lane until the sink gets something."""
            for event in left.get(lane, ()):
                fed[lane] += 1
                result = models.setdefault(lane[0], stage.model()).step(lane[0], event)
                if output.passes(result):
                    return result
            return None

        try:
            results = read_results(self._disk, f"{self._disk.root}/{sink}")
        except StoreError as error:
            raise BrokenPromiseError("readable", str(error)) from error
        for result in results:
            lane = (result.key, result.event.lane)
            expected = next_of(lane)
            if result != expected:
                raise BrokenPromiseError("prefix", f"{sink} holds {result}, {expected} was to come")
            committed[lane] += 1
            if fed[lane] > allowed[lane]:
                raise BrokenPromiseError("commit", f"{sink} holds {result}, which no complete checkpoint covers")
        if lost := self._committed[sink] - committed:
            raise BrokenPromiseError("kept", f"{sink}: committed output is gone: {lost}")
        self._committed[sink] = committed
        if at_the_end:
            for lane in left:
                if (missing := next_of(lane)) is not None:
                    raise BrokenPromiseError("complete", f"{sink} lacks {missing} and what follows in {lane}")


class _StateReader:
    """Asks an operator's state for all that it holds of one key."""

    def __init__(self, state: OperatorState, columns: Sequence[StateColumn]) -> None:
        self._state = state
        self._values = [column.name for column in columns if column.kind == "value"]

    def read(self, key: str) -> dict[str, object]:
        states: dict[str, object] = {name: dict(table.peek(key)) for name, table in self._state.maps.items()}
        row = self._state.rows.peek(key) if self._values else MISSING
        if row is not MISSING:
            values = (row,) if len(self._values) == 1 else cast("tuple[object, ...]", row)
            states.update(zip(self._values, values, strict=True))
        return states

    def close(self) -> None:
        self._state.stack.release()


def read_results(disk: SimulatedDisk, folder: str) -> list[Result]:
    """Give what is committed in a log, partition after partition."""
    if not os.path.exists(f"{folder}/LOG"):
        return []
    document = decode_json(LogDocument, disk.read(f"{folder}/LOG"))
    row = SegmentRow(disk, folder, document.id, document.partitions)
    results: list[Result] = []
    try:
        for partition, (first, end) in enumerate(zip(row.first_offsets(), row.newest().ends(), strict=True)):
            offset = first
            while offset < end:
                segment = row.locate(partition, offset)
                read = segment.fetch(partition, offset, end - offset)
                assert isinstance(read, Read), f"{folder}: partition {partition} has nothing at {offset}, ends at {end}"
                results += map(_RESULTS.decode, read.payloads)
                offset += len(read.payloads)
                segment.close()
    finally:
        row.close()
    return results


def _is_void(fact: ManifestFact, claims: Sequence[Claim]) -> bool:
    return fact.attempt is not None and is_void(fact.attempt, fact.checkpoint, claims)


def _lane(stage: Stage, event: Event) -> Lane:
    return stage.key(event), event.lane


def _lanes(stage: Stage, events: Sequence[Event]) -> Mapping[Lane, list[Event]]:
    lanes: dict[Lane, list[Event]] = {}
    for event in events:
        lanes.setdefault(_lane(stage, event), []).append(event)
    return lanes


def _columns(job: SimulatedJob) -> dict[str, list[Column]]:
    """Give the states of the job's operators, as its own plan has them."""
    ends: Any = {name: SequenceSource([]) for name in job.sources}
    sinks: Any = dict.fromkeys(job.outputs, lambda _: None)
    plan = plan_graph(job.pipeline(ends, sinks).draft.graph(), has_store=False)
    return {
        node.name: columns_of(node, node.spec.factory() if isinstance(node.spec, ProcessSpec) else None)
        for node in (chain.stateful for chain in plan.chains)
        if node is not None
    }
