"""Attempts: numbers that fence the deployments of one job from each other.

Every deployment claims the next attempt number, the id of its first checkpoint, above
every id that was ever seen, and with it what it starts from: a manifest of an older
attempt above that is void, because its writer is a zombie that had not noticed yet.

    attempt 1   1  2  3  4 . . . 7         7 was published by a zombie: void
    attempt 2                 5  6         claimed: from 4, first checkpoint 5
    attempt 3                       8      claimed: from 6, first checkpoint 8

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
    """One deployment.

    Attributes:
        attempt: Its number.
        first_checkpoint: The id that its first checkpoint will have.
        void_from: Manifests of older attempts at or above this id are void; None: at or above `first_checkpoint`.
    """

    attempt: AttemptNumber
    first_checkpoint: CheckpointId
    void_from: CheckpointId | None = None


def next_claim(
    attempts: Sequence[Claim],
    checkpoint_ids_seen: Iterable[CheckpointId],
    *,
    newest_valid: CheckpointId | None = None,
) -> Claim:
    """Give the claim that a new deployment tries to make.

    Args:
        attempts: All claims there are, in any order.
        checkpoint_ids_seen: Every id found in the store: also void, unfinished and unreadable ones (T81).
        newest_valid: The newest manifest that is not void; 0: there is none. None leaves the gap between it
            and the first id open, in which two zombies beside each other could publish unnoticed.
    """
    attempt = max((claim.attempt for claim in attempts), default=0) + 1
    first_checkpoint = CheckpointId(max(checkpoint_ids_seen, default=0) + 1)
    void_from = None if newest_valid is None else CheckpointId(newest_valid + 1)
    return Claim(AttemptNumber(attempt), first_checkpoint, void_from)


def is_void(manifest_attempt: AttemptNumber, checkpoint: CheckpointId, attempts: Sequence[Claim]) -> bool:
    """Tell whether a later attempt had taken over before `manifest_attempt` published `checkpoint`."""
    return any(claim.attempt > manifest_attempt and checkpoint >= _void_from(claim) for claim in attempts)


def _void_from(claim: Claim) -> CheckpointId:
    return claim.first_checkpoint if claim.void_from is None else claim.void_from


def is_fenced(attempt: AttemptNumber, attempts: Sequence[Claim]) -> bool:
    """Tell whether a later attempt has taken over, so that `attempt` must publish and commit nothing more."""
    return any(claim.attempt > attempt for claim in attempts)
