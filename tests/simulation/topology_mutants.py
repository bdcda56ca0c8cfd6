"""A bug in the real code for each oracle of the public simulation: the oracle that it was made for must find it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.api.job import Job
from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.protocol.commit import SinkCommits
from actorstream.runtime.event_time import EventTime
from actorstream.runtime.mailbox import Lane, Mailbox
from actorstream.runtime.messages import SnapshotReport, SplitPosition
from actorstream.runtime.sinks import SinkPort
from actorstream.runtime.source import SourceSubtask
from actorstream.state.memtable import RowTable
from actorstream.state.missing import MISSING
from actorstream.testing.disk import SimulatedDisk
from actorstream.testing.session import Session
from tests.simulation.mutation import at_work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from tests.simulation.mutation import Patches


@dataclass(frozen=True)
class TopologyMutant:
    """One bug.

    Attributes:
        name: What is wrong.
        oracle: Which one is to find it.
        apply: Puts it in.
        fixed: What of the topology is not left to chance.
        plan: What of the plan is not.
    """

    name: str
    oracle: str
    apply: Callable[[], AbstractContextManager[object]]
    fixed: Mapping[str, object] = field(default_factory=dict)
    plan: Mapping[str, object] = field(default_factory=dict)


_RESTARTS = {"sessions": (Session(2, kills=((300, 3), (500, 3))), Session(2)), "pause": 0.1}
_CANCELLED = {"sessions": (Session(2, cancel_step=90), Session(2))}
_LONG = {"interval": 0.02, "pause": 0.05}
_BETWEEN = {"sessions": (*(Session(2, crash_step=step) for step in (400, 330, 300, 360)), Session(2)), **_LONG}
TOPOLOGY_MUTANTS: list[TopologyMutant] = []


def mutant(
    name: str, oracle: str, plan: Mapping[str, object] | None = None, **fixed: object
) -> Callable[[Patches], Patches]:
    """Enter a function that gives patches."""

    def enter(patches: Patches) -> Patches:
        TOPOLOGY_MUTANTS.append(TopologyMutant(name, oracle, at_work(patches), fixed, plan or {}))
        return patches

    return enter


@mutant("the position in a snapshot is one behind what was emitted", "cut")
def _one_behind() -> Sequence[AbstractContextManager[object]]:
    real = SourceSubtask.report

    def report(self: SourceSubtask) -> SnapshotReport:
        found = real(self)
        positions = {
            split: SplitPosition(at.position - 1, finished=False)
            if isinstance(at.position, int) and at.position > 0 and not at.finished
            else at
            for split, at in found.positions.items()
        }
        return replace(found, positions=positions)

    return [patch.object(SourceSubtask, "report", report)]


@mutant(
    "what is restored is not committed, but written anew",
    "complete",
    _BETWEEN,
    tail="none",
)
def _no_recommit() -> Sequence[AbstractContextManager[object]]:
    def on_restored(self: SinkCommits, pending: Any) -> Sequence[object]:
        return []

    return [patch.object(SinkCommits, "on_restored", on_restored)]


@mutant("a batch is put into its lane twice", "prefix")
def _twice() -> Sequence[AbstractContextManager[object]]:
    real = Lane.put
    puts = [0]

    def put(self: Lane[Any], item: Any, records: int = 0, size_bytes: int = 0) -> None:
        real(self, item, records, size_bytes)
        puts[0] += records > 0
        if records and puts[0] % 9 == 0 and hasattr(item, "values"):
            real(self, item, records, size_bytes)

    return [patch.object(Lane, "put", put)]


@mutant("the names of a log's files are not made durable", "kept", poison=False)
def _names_not_durable() -> Sequence[AbstractContextManager[object]]:
    real = SimulatedDisk.sync_dir

    def sync_dir(self: SimulatedDisk, path: str, /) -> None:
        if "/simulated/" not in f"{path}/":
            real(self, path)

    return [patch.object(SimulatedDisk, "sync_dir", sync_dir)]


@mutant("an actor's clock starts anew after a restart", "monotone", tail="window", shape="chain")
def _clock_anew() -> Sequence[AbstractContextManager[object]]:
    real = EventTime.restore

    def restore(self: EventTime, *given: Any) -> None:
        real(self, *given)
        self.clock.now = -(1 << 62)

    return [patch.object(EventTime, "restore", restore)]


@mutant("an attempt that was replaced commits all the same", "fenced", _RESTARTS, tail="table")
def _not_fenced() -> Sequence[AbstractContextManager[object]]:
    """As where a dead attempt's actors are not waited for: its ports go on beside the next one's."""
    real = SinkPort.complete
    old: dict[tuple[str, int], SinkPort] = {}

    async def complete(self: SinkPort, checkpoint: Any) -> None:
        before = old.setdefault((self.context.operator, self.context.subtask), self)
        if before is not self and before.context.attempt < self.context.attempt:
            await before._writer.commit(b"of the one before")
        await real(self, checkpoint)

    return [patch.object(SinkPort, "complete", complete)]


@mutant("a checkpoint's number is given again, to another one", "immutable")
def _number_again() -> Sequence[AbstractContextManager[object]]:
    real = CheckpointDirectory.publish
    published = [0]

    def publish(self: CheckpointDirectory, manifest: Any) -> None:
        real(self, manifest)
        published[0] += 1
        if published[0] % 3 == 0 and manifest.layers:
            name = f"{self._root}/layers/{manifest.layers[0].name}"
            with open(name, "r+b") as file:
                file.seek(-1, 2)
                file.write(b"\x55")

    return [patch.object(CheckpointDirectory, "publish", publish)]


@mutant("a manifest is written by half", "readable")
def _by_half() -> Sequence[AbstractContextManager[object]]:
    real = CheckpointDirectory.publish
    published = [0]

    def publish(self: CheckpointDirectory, manifest: Any) -> None:
        real(self, manifest)
        published[0] += 1
        if published[0] % 3 == 0:
            folder = f"{self._root}/checkpoints/{manifest.checkpoint}"
            with open(f"{folder}/manifest.json", "r+b") as file:
                file.truncate(40)

    return [patch.object(CheckpointDirectory, "publish", publish)]


@mutant("a lane that was unblocked stays blocked now and then", "progress")
def _stays_blocked() -> Sequence[AbstractContextManager[object]]:
    real = Mailbox.unblock
    calls = [0]

    def unblock(self: Mailbox[Any, Any], channels: Any) -> None:
        calls[0] += 1
        if calls[0] % 7:
            real(self, channels)

    return [patch.object(Mailbox, "unblock", unblock)]


@mutant("a question is answered from what was frozen last", "query", tail="table", poison=False)
def _stale() -> Sequence[AbstractContextManager[object]]:
    real = Job.get
    known: dict[object, object] = {}

    async def get(self: Job, of: Any, key: Any, /, **given: Any) -> Any:
        answer = await real(self, of, key, **given)
        return known.setdefault((id(self), key), answer)

    return [patch.object(Job, "get", get)]


@mutant("a question is answered while the attempt's state is let go", "query", tail="table", poison=False)
def _let_go() -> Sequence[AbstractContextManager[object]]:
    real = RowTable.peek
    asked = [0]

    def peek(self: RowTable, key: Any) -> Any:
        asked[0] += 1
        return MISSING if asked[0] % 9 == 0 else real(self, key)

    return [patch.object(RowTable, "peek", peek)]


@mutant("a cancelled job does not let go of its store", "released", _CANCELLED)
def _not_released() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(CheckpointDirectory, "close", lambda self: None)]
