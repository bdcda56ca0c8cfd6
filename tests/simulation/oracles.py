"""What must be true of the disk at every moment at which a process has ended, whatever ended it.

    cut         a manifest's layers, read back   ==  the models, fed with the input up to the manifest's positions, but
                                                     for the records that it holds in flight before them
    prefix      the committed output of a lane   ==  the first results that the models give for it, in that order
    commit      committed output                 <=  what the newest valid manifest covers
    kept        what was committed once is there for ever; a manifest and its layers never change
    complete    (at the end) nothing of a lane is missing

All is read through the library's own reading functions, never through a mutated one.
"""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from actorstream.codec.values import codec_for
from actorstream.connectors.memory import SequenceSource
from actorstream.errors import StoreError
from actorstream.graph.chaining import plan_graph
from actorstream.graph.nodes import ProcessSpec
from actorstream.model.batch import Batch
from actorstream.model.ids import OperatorNumber, StateNumber
from actorstream.model.key_groups import KeyGroupRange
from actorstream.operators.columns import columns_of
from actorstream.runtime.flights import overtaken
from actorstream.runtime.restoring import restore
from actorstream.state.memtable import MISSING
from actorstream.state.operator_state import OperatorState, StateColumn
from actorstream.state.stack import LayerStack
from actorstream.state.unkeyed import BROADCAST_KEY, read_lists
from actorstream.testing.committed import read_log
from actorstream.testing.session import BrokenPromiseError
from actorstream.testing.watching import Checkpoints
from tests.simulation.going_round import still_inside
from tests.simulation.jobs import MAX_PARALLELISM
from tests.simulation.stages import STATE_KEYS, Event, Result, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actorstream.checkpoints.directory import CheckpointDirectory
    from actorstream.checkpoints.manifest import Manifest
    from actorstream.graph.nodes import LogicalGraph
    from actorstream.operators.columns import Column
    from actorstream.runtime.restoring import Restored
    from actorstream.testing.disk import SimulatedDisk
    from tests.simulation.jobs import Output, SimulatedJob, Stage
    from tests.simulation.stages import Model

Lane: TypeAlias = tuple[str, str]
"""The key of a stage, and the lane of the input: between the two the order is kept."""

Partitions: TypeAlias = "Mapping[str, Sequence[Sequence[Event]]]"
"""The events of each source, by partition, in the order of their offsets."""

WAYS = frozenset({"left", "right"})
"""The operators that begin a diamond's ways, by which they mark what goes by them."""

_RESULTS = codec_for(Result)


class Oracles:
    """Watches one disk through all sessions of one run."""

    def __init__(self, disk: SimulatedDisk, job: SimulatedJob, inputs: Partitions) -> None:
        self._job = job
        self._checkpoints = Checkpoints(disk, f"{disk.root}/store/{job.name}")
        self._cuts = Cuts(disk, job, inputs)
        self._outputs = Outputs(disk, job, inputs, {sink: f"{disk.root}/{sink}" for sink in job.outputs})

    def check(self, *, at_the_end: bool = False) -> None:
        """Look at everything; raise BrokenPromiseError."""
        self._outputs.check([self._check_manifests()], at_the_end=at_the_end)

    def _check_manifests(self) -> dict[str, list[Event]]:
        """Check every manifest; give the events that the newest valid one covers, by stage."""
        covered: dict[str, list[Event]] = {stage: [] for stage in self._job.stages}
        for manifest, directory in self._checkpoints.check():
            covered = self._cuts.check(manifest, directory)
        return covered

    @property
    def cuts(self) -> int:
        """How many checkpoints were compared."""
        return self._checkpoints.looked_at


class Cuts:
    """Compares what a snapshot holds with what the models remember at its positions.

    `plain` gives the name that an operator of a snapshot has in the job: it may have been renamed since. `compared`
    counts the states of keys that were. `bare` gives a value of a state as the models have it.
    """

    def __init__(
        self,
        disk: SimulatedDisk,
        job: SimulatedJob,
        inputs: Partitions,
        plain: Callable[[str], str] = lambda name: name,
        bare: Callable[[str, object], object] = lambda _, value: value,
    ) -> None:
        self._disk = disk
        self._job = job
        self._inputs = inputs
        self._plain = plain
        self._bare = bare
        self._columns = {plain(name): columns for name, columns in _columns(job).items()}
        self.compared = 0
        self._behind = _behind(job, plain)

    def check(
        self,
        manifest: Manifest,
        directory: CheckpointDirectory,
        unseen: Mapping[str, Sequence[Event]] = MappingProxyType({}),
    ) -> dict[str, list[Event]]:
        """Give the events that a snapshot covers, by stage. `unseen`: what an operator began after."""
        restored = restore(self._disk, directory, manifest)
        try:
            covered, flying = self.covered(restored), self.flying(restored)
            for stage, events in covered.items():
                if not self._job.stages[stage].stateful:
                    continue
                before = Counter([*unseen.get(stage, ()), *flying.get(stage, ())])
                known = [event for event in events if not _take(before, event)]
                self._check_cut(manifest, restored, stage, known)
        finally:
            restored.close()
        return covered

    def gone_by(self, manifest: Manifest, directory: CheckpointDirectory, stage: str) -> list[Event]:
        """Give what an operator that begins after a snapshot will not see: what was in flight before it, it will."""
        restored = restore(self._disk, directory, manifest)
        try:
            flying = Counter(self.flying(restored).get(stage, ()))
            return [event for event in self.covered(restored)[stage] if not _take(flying, event)]
        finally:
            restored.close()

    def flying(self, restored: Restored) -> dict[str, list[Event]]:
        """Give what was in flight somewhere before each stage: covered by the positions, and in no state of it yet."""
        found: dict[str, list[Event]] = {}
        for part in overtaken(restored.in_flight):
            values = [value for _, item in part.items if isinstance(item, Batch) for value in item.values]
            behind = self._behind.get(self._plain(part.chain), set())  # a later version may have nothing of it
            for stage in behind & self._job.stages.keys():
                feeds = self._job.stages[stage].feeds
                for value in values:
                    event = value if isinstance(value, Event) else cast("Result", value).event
                    fed = [event] if "/" in event.source else feeds(event)
                    found.setdefault(stage, []).extend(each for each in fed if _goes_by(each, self._plain(part.chain)))
        return found

    def covered(self, restored: Restored) -> dict[str, list[Event]]:
        """Give what each stage had been fed with at the positions of a snapshot."""
        raw: list[Event] = []
        splits = {self._plain(source): positions for source, positions in restored.splits.items()}
        for source in self._job.sources:
            for split, place in splits.get(f"in-{source}", {}).items():
                taken = place.position + 1 if isinstance(place.position, int) else 0
                events = self._inputs[source][int(split)]
                if place.finished and taken != len(events):
                    raise BrokenPromiseError(
                        "cut", f"split {split} of {source} is finished at {taken} of {len(events)}"
                    )
                raw += events[:taken]
        fed = {name: [each for event in raw for each in stage.feeds(event)] for name, stage in self._job.stages.items()}
        for name, stage in self._job.stages.items():
            inside = Counter(() if stage.inside else still_inside(restored))
            fed[name] = [event for event in fed[name] if not _take(inside, event)]
        return fed

    def _check_cut(self, manifest: Manifest, restored: Restored, name: str, events: Sequence[Event]) -> None:
        stage = self._job.stages[name]
        operator = next((each for each in manifest.operators if self._plain(each) == name), None)
        if operator is None:
            if name in self._job.droppable:
                return
            raise BrokenPromiseError("cut", f"checkpoint {manifest.checkpoint} holds nothing of {name}")
        models: dict[str, Model] = {}
        for event in events:
            models.setdefault(stage.key(event), stage.model()).step(stage.key(event), event)
        reader = self._read_state(manifest, restored, name, operator)
        for key in STATE_KEYS:
            right = {state: settled(state, value) for state, value in models.get(key, stage.model()).states().items()}
            there = {state: settled(state, self._bare(state, value)) for state, value in reader.read(key).items()}
            self.compared += len(right)
            if any(right[state] != there.get(state) for state in right):
                raise BrokenPromiseError(
                    "cut",
                    f"checkpoint {manifest.checkpoint} of attempt {manifest.attempt}, {operator}[{key}]: the layers "
                    f"hold {there}, the input up to its positions gives {right}",
                )
        reader.close()

    def _read_state(self, manifest: Manifest, restored: Restored, stage: str, operator: str) -> _StateReader:
        entry = manifest.operators[operator]
        columns = [
            StateColumn(StateNumber(stored.number), column.name, column.kind, column.evolved(stored.schemas).codec)
            for column in self._columns[stage]
            for stored in (entry.states[column.name],)
        ]
        everything = KeyGroupRange(0, MAX_PARALLELISM)
        state = OperatorState(
            operator=OperatorNumber(entry.number),
            columns=columns,
            key_groups=everything,
            max_parallelism=MAX_PARALLELISM,
            stack=LayerStack.covering(everything, restored.stacks.get(operator, ())),
            name=operator,
        )
        return _StateReader(state, columns, OperatorNumber(entry.number))


class Outputs:
    """Follows the logs of one job: what is committed there, and what was to come.

    `before`: what the job did not see of the input, by stage: a fork begins behind it.
    """

    def __init__(
        self,
        disk: SimulatedDisk,
        job: SimulatedJob,
        inputs: Partitions,
        folders: Mapping[str, str],
        before: Mapping[str, Sequence[Event]] = MappingProxyType({}),
    ) -> None:
        self._disk = disk
        self._job = job
        self._inputs = inputs
        self._folders = folders
        self._before = before
        self.committed: dict[str, Counter[Lane]] = {sink: Counter() for sink in folders}

    def check(self, covered: Sequence[Mapping[str, Sequence[Event]]], *, at_the_end: bool) -> None:
        """Look at all logs. `covered`: by stage, what each snapshot covers whose output may be committed."""
        for sink in self._folders:
            self._check_output(sink, covered, at_the_end=at_the_end)

    def _check_output(self, sink: str, covered: Sequence[Mapping[str, Sequence[Event]]], *, at_the_end: bool) -> None:
        output = self._job.outputs[sink]
        stage = self._job.stages[output.stage]
        expected = self._expected(output.stage, output)
        allowed: Counter[Lane] = Counter()
        for each in covered:
            allowed |= Counter(_lane(stage, event) for event in each.get(output.stage, ()))
        committed: Counter[Lane] = Counter()
        try:
            results = read_results(self._disk, self._folders[sink])
        except StoreError as error:
            raise BrokenPromiseError("readable", str(error)) from error
        for result in results:
            lane = (result.key, result.event.lane)
            was_to_come = expected.next_of(lane)
            if result != was_to_come:
                raise BrokenPromiseError("prefix", f"{sink} holds {result}, {was_to_come} was to come")
            committed[lane] += 1
            if expected.fed[lane] > allowed[lane]:
                raise BrokenPromiseError("commit", f"{sink} holds {result}, which no complete checkpoint covers")
        if lost := self.committed[sink] - committed:
            raise BrokenPromiseError("kept", f"{sink}: committed output is gone: {lost}")
        self.committed[sink] = committed
        for lane in expected.lanes() if at_the_end else ():
            if (missing := expected.next_of(lane)) is not None:
                raise BrokenPromiseError("complete", f"{sink} lacks {missing} and what follows in {lane}")

    def _expected(self, name: str, output: Output) -> _Expected:
        stage = self._job.stages[name]
        everything = [event for parts in self._inputs.values() for part in parts for event in part]
        expected = _Expected(stage, output, [fed for event in everything for fed in stage.feeds(event)])
        expected.skip(self._before.get(name, ()))
        return expected


class _Expected:
    """What a sink is to get, lane after lane, in whichever order the log has the lanes."""

    def __init__(self, stage: Stage, output: Output, events: Sequence[Event]) -> None:
        self._stage = stage
        self._output = output
        self._left = {lane: iter(events) for lane, events in _lanes(stage, events).items()}
        self._models: dict[str, Model] = {}
        self.fed: Counter[Lane] = Counter()

    def lanes(self) -> list[Lane]:
        """Give every lane that there is."""
        return list(self._left)

    def skip(self, events: Sequence[Event]) -> None:
        """Remember what came before, and expect nothing of it."""
        for event in events:
            self._step(_lane(self._stage, event))

    def next_of(self, lane: Lane) -> Result | None:
        """Feed the model with the lane until the sink gets something."""
        while (result := self._step(lane)) is not None:
            if self._output.passes(result):
                return result
        return None

    def _step(self, lane: Lane) -> Result | None:
        event = next(self._left.get(lane, iter(())), None)
        if event is None:
            return None
        self.fed[lane] += 1
        return self._models.setdefault(lane[0], self._stage.model()).step(lane[0], event)


class _StateReader:
    """Asks an operator's state for all that it holds of one key, and of what has none, all that speaks of the key."""

    def __init__(self, state: OperatorState, columns: Sequence[StateColumn], operator: OperatorNumber) -> None:
        self._state = state
        self._broadcast = {column.name: column for column in columns if column.kind == "broadcast"}
        lists = [column for column in columns if column.kind == "list"]
        self._lists = {column.name: list(read_lists(state.stack, operator, column)) for column in lists}
        self._values = [column.name for column in columns if column.kind == "value"]

    def read(self, key: str) -> dict[str, object]:
        states: dict[str, object] = {name: dict(table.peek(key)) for name, table in self._state.maps.items()}
        for name in self._broadcast:
            entries: Any = self._state.unkeyed[name].peek(BROADCAST_KEY)
            states[name] = {lane: value for lane, value in entries if lane.endswith(f":{key}")}
        for name, lists in self._lists.items():
            notes: Any = [each for stored in lists if stored is not None for each in stored.items]
            states[name] = [note for note in notes if f":{key}#" in note]
        row = self._state.rows.peek(key) if self._values else MISSING
        if row is not MISSING:
            values = (row,) if len(self._values) == 1 else cast("tuple[object, ...]", row)
            states.update(zip(self._values, values, strict=True))
        return states

    def close(self) -> None:
        self._state.stack.release()


def read_results(disk: SimulatedDisk, folder: str) -> list[Result]:
    """Give what is committed in a log, partition after partition."""
    return [result for part in read_log(disk, folder, _RESULTS.decode) for result in part]


def _take(counts: Counter[Event], event: Event) -> bool:
    """Take one of an event, if there is one."""
    if counts[event] == 0:
        return False
    counts[event] -= 1
    return True


def _lane(stage: Stage, event: Event) -> Lane:
    return stage.key(event), event.lane


def _lanes(stage: Stage, events: Sequence[Event]) -> Mapping[Lane, list[Event]]:
    lanes: dict[Lane, list[Event]] = {}
    for event in events:
        lanes.setdefault(_lane(stage, event), []).append(event)
    return lanes


def _goes_by(event: Event, operator: str) -> bool:
    """Tell whether an event's way through a diamond, if it went through one, is not another's than the operator's."""
    way = event.source.partition("/")[2]
    return way in {"", operator} or operator not in WAYS


def _behind(job: SimulatedJob, plain: Callable[[str], str]) -> dict[str, set[str]]:
    """Give, by operator, itself and all that its records come to."""
    behind: dict[str, set[str]] = {}
    nodes = _graph(job).nodes
    for node in reversed(nodes):
        after = [each for each in nodes if any(edge.source == node.id for edge in each.inputs)]
        behind[plain(node.name)] = {plain(node.name)}.union(*(behind[plain(each.name)] for each in after))
    return behind


def _graph(job: SimulatedJob) -> LogicalGraph:
    ends: Any = {name: SequenceSource([]) for name in job.sources}
    sinks: Any = dict.fromkeys(job.outputs, lambda _: None)
    return job.pipeline(ends, sinks).draft.graph()


def _columns(job: SimulatedJob) -> dict[str, list[Column]]:
    """Give the states of the job's operators, as its own plan has them."""
    plan = plan_graph(_graph(job), has_store=False)
    return {
        node.name: columns_of(node, node.spec.factory() if isinstance(node.spec, ProcessSpec) else None)
        for node in (chain.stateful for chain in plan.chains)
        if node is not None
    }
