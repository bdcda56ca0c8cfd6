"""A coordinator of three subtasks, and what tests do with it."""

from __future__ import annotations

from actorstream.model.ids import CheckpointId, SubtaskId
from actorstream.protocol.coordinator import Coordinator
from actorstream.protocol.coordinator_effects import (
    Effect,
    Trigger,
)

SOURCE, COUNT, SINK = SubtaskId("source", 0), SubtaskId("count", 0), SubtaskId("sink", 0)
ALL = (SOURCE, COUNT, SINK)
SECOND = 1_000_000
ONE, TWO, THREE, FOUR = (CheckpointId(n) for n in range(1, 5))


def coordinator(
    *, interval: int | None = SECOND, timeout: int = 10 * SECOND, pause: int = 0, tolerated: int = 0, first: int = 1
) -> Coordinator[str]:
    return Coordinator(
        subtasks=ALL,
        sources=frozenset({SOURCE}),
        first_checkpoint=CheckpointId(first),
        interval_us=interval,
        timeout_us=timeout,
        pause_us=pause,
        tolerated_failures=tolerated,
    )


def started(
    *, interval: int | None = SECOND, timeout: int = 10 * SECOND, pause: int = 0, tolerated: int = 0
) -> Coordinator[str]:
    it = coordinator(interval=interval, timeout=timeout, pause=pause, tolerated=tolerated)
    assert it.on_start(0) == []
    return it


def ack_all(it: Coordinator[str], now: int, checkpoint: CheckpointId) -> list[Effect[str]]:
    return [effect for subtask in ALL for effect in it.on_ack(now, subtask, checkpoint, f"{subtask}@{checkpoint}")]


def complete(it: Coordinator[str], now: int, checkpoint: CheckpointId) -> list[Effect[str]]:
    ack_all(it, now, checkpoint)
    return it.on_published(now, checkpoint)


def finish_all(it: Coordinator[str], now: int) -> list[Effect[str]]:
    return [effect for subtask in ALL for effect in it.on_finished(now, subtask)]


def commit_all(it: Coordinator[str], now: int, checkpoint: CheckpointId) -> list[Effect[str]]:
    return [effect for subtask in ALL for effect in it.on_committed(now, subtask, checkpoint)]


def trigger(checkpoint: CheckpointId, *subtasks: SubtaskId, stop: bool = False) -> Trigger:
    return Trigger(checkpoint, subtasks or (SOURCE,), stop)
