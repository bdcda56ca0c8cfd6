"""What actors and the coordinator say to each other: the whole control plane, as values.

coordinator -> actor     Trigger  Abort  Complete  Resume  Drain      by the control lane
actor -> coordinator     Acked  Declined  InputsEnded  Finished  Committed
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorstream.model.ids import CheckpointId, SubtaskId
    from actorstream.model.key_groups import KeyGroupRange
    from actorstream.protocol.commit import PendingCommit
    from actorstream.runtime.event_time import TimeReport
    from actorstream.state.layer import Layer, LayerFile


@dataclass(frozen=True, slots=True)
class TriggerCheckpoint:
    """Snapshot now; `stop`: read nothing more after it. `overtakes_us` is for the barrier that goes out.

    `settled`: nothing may be in flight in it, whatever has to be worked through first: a savepoint, or the last one.
    """

    checkpoint: CheckpointId
    stop: bool
    overtakes_us: int | None = None
    settled: bool = False


@dataclass(frozen=True, slots=True)
class AbortCheckpoint:
    """This checkpoint will not be; `latest` is the newest that is, so that a lost notice heals (T83)."""

    checkpoint: CheckpointId
    latest: CheckpointId | None


@dataclass(frozen=True, slots=True)
class CompleteCheckpoint:
    """This checkpoint is durable: commit what it covers."""

    checkpoint: CheckpointId


@dataclass(frozen=True, slots=True)
class ResumeReading:
    """The job does not end after all: read on behind the barrier at which you stopped."""


@dataclass(frozen=True, slots=True)
class DrainSource:
    """End as if your input had; your positions stay where they are."""


ControlMessage: TypeAlias = TriggerCheckpoint | AbortCheckpoint | CompleteCheckpoint | ResumeReading | DrainSource


@dataclass(frozen=True, slots=True)
class SplitWatermark:
    """What a source yields in place of a `Fetched` where it knows itself how far event time has come.

    No record of the split with this time or an earlier one follows. It stands in the split like a record: a snapshot
    behind it holds its position.
    """

    time_us: int
    position: object


@dataclass(frozen=True, slots=True)
class SplitPosition:
    """How far a split was emitted; `position` None: nothing yet."""

    position: object
    finished: bool


@dataclass(frozen=True, slots=True)
class InFlightReport:
    """What was in flight to a subtask, in layers; `overtaken` of the items by barriers, the others in a loop.

    `written`: what the layers call the subtask's chain, since a loop's part is in several pieces.
    """

    layers: tuple[LayerFile, ...]
    items: int
    overtaken: int
    records: int
    size_bytes: int
    written: str = ""


@dataclass(frozen=True, slots=True)
class SnapshotReport:
    """One subtask's part of a checkpoint, once everything in it is durable.

    `stacks` are the layers its key groups see as of the barrier; `positions` are a
    source's splits; `pending` are the tokens not known committed, by sink operator; `time` is how far event time
    had come. `in_flight` is what barriers had overtaken, None: nothing; `going_round` is a loop's, in order.
    """

    stacks: tuple[tuple[KeyGroupRange, tuple[Layer, ...]], ...] = ()
    positions: Mapping[str, SplitPosition] = field(default_factory=dict)
    pending: Mapping[str, tuple[PendingCommit, ...]] = field(default_factory=dict)
    entries: int = 0
    time: TimeReport | None = None
    in_flight: InFlightReport | None = None
    going_round: tuple[InFlightReport, ...] = ()

    @property
    def all_in_flight(self) -> tuple[InFlightReport, ...]:
        """Everything that had been sent to the subtask and was not in its state yet."""
        return self.going_round if self.in_flight is None else (self.in_flight, *self.going_round)


@dataclass(frozen=True, slots=True)
class Acked:
    """The subtask's snapshot is durable."""

    subtask: SubtaskId
    checkpoint: CheckpointId
    report: SnapshotReport


@dataclass(frozen=True, slots=True)
class Declined:
    """The subtask cannot complete this checkpoint."""

    subtask: SubtaskId
    checkpoint: CheckpointId
    reason: str


@dataclass(frozen=True, slots=True)
class Finished:
    """All inputs of the subtask have ended and been processed."""

    subtask: SubtaskId


@dataclass(frozen=True, slots=True)
class InputsEnded:
    """All inputs of the subtask have ended, and it goes on working: no barrier comes to it any more."""

    subtask: SubtaskId


@dataclass(frozen=True, slots=True)
class Committed:
    """Every output of the subtask up to this checkpoint is committed."""

    subtask: SubtaskId
    checkpoint: CheckpointId


@dataclass(frozen=True, slots=True)
class CheckpointRequest:
    """Somebody wants a checkpoint (`stop`: the last one), or a savepoint of this name.

    With `stop` and `savepoint` it is made of the last one; `drain`: after the sources have ended. `hand_over`: the
    last one of this attempt, from which another goes on.
    """

    request: int
    stop: bool = False
    savepoint: str | None = None
    drain: bool = False
    hand_over: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """The coordinator to itself: the final checkpoint is a savepoint too, or what is the problem."""

    problem: str | None


CoordinatorMessage: TypeAlias = Acked | Declined | Finished | InputsEnded | Committed | CheckpointRequest | Kept
