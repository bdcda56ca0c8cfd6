"""Attempts: numbers that fence the deployments of one job from each other.

Every deployment claims the next attempt number and the id of its first checkpoint,
above every id that was ever seen. A manifest that an older attempt publishes at or
above that id is void: its writer is a zombie, which had not noticed yet.

    attempt 1   1  2  3  4 . . . 7      7 is a zombie's: void
    attempt 2                 5  6      claimed with first checkpoint 5, restored 4

The store must keep this order, so that no two attempts commit output of diverging
histories (tests/protocol/test_recovery.py plays it in random interleavings):

    publisher     write a draft ──> no later number taken? ──> link the draft: only then sinks commit
    new attempt   take the number ──> remove the drafts of older ones ──> list the ids ──> claim ──> decide

A publisher that comes second finds its draft gone; one that comes first is in the
list, and its checkpoint is what the new attempt starts from.

Pure: the caller makes numbers and claims durable by creating files that must not exist yet.
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
