"""What travels in a channel between batches: control in band, so that its place among records is exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from actorstream.model.batch import Batch
    from actorstream.model.ids import CheckpointId


@dataclass(frozen=True, slots=True)
class Barrier:
    """The Chandy-Lamport marker: what came before it is in `checkpoint`, what follows is not."""

    checkpoint: CheckpointId


@dataclass(frozen=True, slots=True)
class CancelBarrier:
    """Stands where the barrier of an aborted checkpoint would stand: do not wait for it (T09)."""

    checkpoint: CheckpointId


@dataclass(frozen=True, slots=True)
class EndOfInput:
    """The last item of a channel."""


Signal: TypeAlias = Barrier | CancelBarrier | EndOfInput
ChannelItem: TypeAlias = "Batch | Signal"
