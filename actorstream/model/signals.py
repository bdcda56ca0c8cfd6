"""What travels in a channel between batches: control in band, so that its place among records is exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from actorstream.model.batch import Batch
    from actorstream.model.ids import CheckpointId


@dataclass(frozen=True, slots=True)
class Barrier:
    """The Chandy-Lamport marker: what came before it is in `checkpoint`, what follows is not.

    From `overtakes_us` on, by the clock of durations, it may overtake what is queued before it; None: never.
    """

    checkpoint: CheckpointId
    overtakes_us: int | None = None


@dataclass(frozen=True, slots=True)
class CancelBarrier:
    """Stands where the barrier of an aborted checkpoint would stand: do not wait for it (T09)."""

    checkpoint: CheckpointId


@dataclass(frozen=True, slots=True)
class Watermark:
    """No record with this event time, in microseconds, or an earlier one is expected. The channel is active."""

    time_us: int


@dataclass(frozen=True, slots=True)
class Idle:
    """Do not wait for this channel's watermark, until a record or a watermark comes."""


@dataclass(frozen=True, slots=True)
class EndOfInput:
    """The last item of a channel."""


Signal: TypeAlias = Barrier | CancelBarrier | Watermark | Idle | EndOfInput
ChannelItem: TypeAlias = "Batch | Signal"
