"""Attempts: numbers that fence the deployments of one job from each other.

Every deployment claims the next attempt number and the id of its first checkpoint,
above every id that was ever seen. A manifest that an older attempt publishes at or
above that id is void: its writer is a zombie, which had not noticed yet.

    attempt 1   1  2  3  4 . . . 7      7 was published by a zombie: void
    attempt 2                 5  6      claimed with first checkpoint 5, restored 4

A manifest below that id is older than all of the later attempt's, so it can only
be restored while that attempt has completed nothing: then it is a good start.

The order that must hold, so that no two attempts commit output of diverging histories:

    publisher     manifest durable ──> read the claims ──> not fenced: sinks commit
    new attempt   claim durable ──> read the manifests ──> restore the newest that is not void

Whoever comes second sees what the other wrote first.

Pure: the caller makes a claim durable by creating a file that must not exist yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actorstream.model.ids import AttemptNumber, CheckpointId

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Claim:
    """One deployment: its number, and the id that its first checkpoint will have."""

    attempt: AttemptNumber
    first_checkpoint: CheckpointId


def next_claim(attempts: Sequence[Claim], checkpoint_ids_seen: Iterable[CheckpointId]) -> Claim:
    """Give the claim that a new deployment tries to make.

    Args:
        attempts: All claims there are, in any order.
        checkpoint_ids_seen: Every id found in the store: also void, unfinished and unreadable ones (T81).
    """
    attempt = max((claim.attempt for claim in attempts), default=0) + 1
    used = [*checkpoint_ids_seen, *(claim.first_checkpoint for claim in attempts)]
    return Claim(AttemptNumber(attempt), CheckpointId(max(used, default=0) + 1))


def is_void(manifest_attempt: AttemptNumber, checkpoint: CheckpointId, attempts: Sequence[Claim]) -> bool:
    """Tell whether a later attempt had taken over before `manifest_attempt` published `checkpoint`."""
    return any(claim.attempt > manifest_attempt and checkpoint >= claim.first_checkpoint for claim in attempts)


def is_fenced(attempt: AttemptNumber, attempts: Sequence[Claim]) -> bool:
    """Tell whether a later attempt has taken over, so that `attempt` must publish and commit nothing more."""
    return any(claim.attempt > attempt for claim in attempts)
