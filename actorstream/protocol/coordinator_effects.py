"""What the checkpoint coordinator wants done, as values.

protocol/coordinator.py decides, runtime/coordinator.py carries out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actorstream.model.ids import CheckpointId, SubtaskId

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Trigger:
    """Tell `subtasks` to snapshot for `checkpoint`; with `stop`, sources read nothing after that barrier.

    May name a subtask that has the trigger already: it ignores the second one.
    """

    checkpoint: CheckpointId
    subtasks: tuple[SubtaskId, ...]
    stop: bool


@dataclass(frozen=True, slots=True)
class Abort:
    """Tell every subtask that `checkpoint` failed. `latest_completed` heals a lost `Complete` (T83)."""

    checkpoint: CheckpointId
    reason: str
    latest_completed: CheckpointId | None


@dataclass(frozen=True, slots=True)
class Publish(Generic[R]):
    """Make the manifest durable, then feed `on_published` or `on_publish_failed`. `final`: the job ends with it."""

    checkpoint: CheckpointId
    reports: Mapping[SubtaskId, R]
    final: bool


@dataclass(frozen=True, slots=True)
class PublishSavepoint(Generic[R]):
    """Make a savepoint durable, then feed `on_published` or `on_publish_failed`; it is no checkpoint of the job's."""

    checkpoint: CheckpointId
    reports: Mapping[SubtaskId, R]
    savepoint: str


@dataclass(frozen=True, slots=True)
class Complete:
    """`checkpoint` is durable: tell every subtask, sinks commit, old files may go."""

    checkpoint: CheckpointId


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer a manual or stop request: with a completed checkpoint, or with an error."""

    request: int
    checkpoint: CheckpointId | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Fail:
    """More checkpoints failed in a row than are tolerated: the attempt must end."""

    reason: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Let the sources end, as if their input had."""


@dataclass(frozen=True, slots=True)
class Keep:
    """The final checkpoint is complete and committed: make a savepoint of it, then feed `on_kept`."""

    checkpoint: CheckpointId
    savepoint: str


@dataclass(frozen=True, slots=True)
class Resume:
    """The job does not end after all: sources that have stopped read on."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """The final checkpoint is complete and committed: the attempt ends, and another goes on from it."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The final checkpoint is complete and all its output is committed: the job ends."""


Effect: TypeAlias = (
    Trigger
    | Abort
    | Publish[R]
    | PublishSavepoint[R]
    | Complete
    | Answer
    | Fail
    | Drain
    | Keep
    | Resume
    | HandOver
    | Finish
)


def answers(requests: Iterable[int], checkpoint: CheckpointId | None, error: str | None) -> list[Answer]:
    """Answer several requests alike."""
    return [Answer(request, checkpoint, error) for request in requests]
