"""What all actors of one attempt share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actorstream.model.connect import Sink
    from actorstream.model.ids import AttemptNumber, CheckpointId
    from actorstream.model.world import World
    from actorstream.protocol.commit import PendingCommit
    from actorstream.runtime.aligned_sources import AlignedSources
    from actorstream.runtime.gate import Gate
    from actorstream.runtime.messages import CoordinatorMessage
    from actorstream.runtime.pace import Pace
    from actorstream.state.budget import Budget
    from actorstream.state.stack import LayerStack
    from actorstream.state.unkeyed import Unkeyed
    from actorstream.state.writer import LayerWriter


TimersAtEnd: TypeAlias = Literal["fire", "drop", "wait"]


@dataclass(frozen=True, slots=True)
class Deployment:
    """One attempt, seen from its actors.

    `restored_tokens` holds, by sink operator and the subtask that wrote them, the
    tokens that the restored checkpoint carries. `tell` reaches the coordinator, `pushed` the
    compactor: a layer was put on this stack. `durable`: the store stays when the process ends. `timers_at_end`:
    what becomes of timers set by the clock when all input has ended. `sinks` stand in, by operator, for those of the
    pipeline: a fork's. `job` is what sinks know the job by, and `holder` tells
    apart two that have one attempt number. `unkeyed` is, by operator, what was restored that belongs to no key.
    """

    world: World
    pace: Pace
    layers: LayerWriter
    budget: Budget
    gate: Gate
    job: str
    attempt: AttemptNumber
    committed_through: CheckpointId
    restored_tokens: Mapping[str, Mapping[int, Sequence[PendingCommit]]]
    tell: Callable[[CoordinatorMessage], None]
    pushed: Callable[[LayerStack], None]
    durable: bool
    aligned: AlignedSources
    timers_at_end: TimersAtEnd = "fire"
    sinks: Mapping[str, Sink[object]] = field(default_factory=dict)
    holder: str = ""
    unkeyed: Mapping[str, Unkeyed] = field(default_factory=dict)

    def deadline(self, seconds: float) -> float:
        """Give the loop time at which `seconds` are over."""
        return anyio.current_time() + seconds
