"""The recovery decision: from which checkpoint a job starts, or why it must not.

    manifests   3   4   5!  6v        5 is unreadable, 6 is void (a zombie's)
    decision    refuse: name 5 and what is wrong with it; 4 only if a person asks for it

The newest manifest that is not void is the job's state. If it cannot be read,
nothing older is taken silently (T90): sinks may have committed what an older one
does not know of, and would commit it twice. For the same reason an older one that
a person asks for needs a second yes where later output may have been committed.

Pure: the caller reads the manifests and carries the decision out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from actorstream.protocol.attempts import is_void

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.model.ids import AttemptNumber, CheckpointId
    from actorstream.protocol.attempts import Claim


@dataclass(frozen=True, slots=True)
class ManifestFact:
    """What is known of one manifest in the store.

    Attributes:
        checkpoint: Its id, from its place in the store.
        attempt: Who published it; None where that cannot be read.
        problem: Why it, or a layer that it lists, cannot be used, naming the file; None: it is good.
    """

    checkpoint: CheckpointId
    attempt: AttemptNumber | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class StartEmpty:
    """There is no state yet: read from the start."""


@dataclass(frozen=True, slots=True)
class RestoreFrom:
    """Restore this checkpoint, and commit the tokens that it holds first."""

    checkpoint: CheckpointId


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not start. `reason` says what was found, and what a person can do."""

    reason: str


@dataclass(frozen=True, slots=True)
class RestoreSavepoint:
    """Restore the snapshot that a person names, which is none of the store's checkpoints."""


Decision: TypeAlias = StartEmpty | RestoreFrom | Refuse


def decide(
    manifests: Sequence[ManifestFact],
    attempts: Sequence[Claim],
    *,
    restore: CheckpointId | None = None,
    accept_duplicates: bool = False,
) -> Decision:
    """Decide what to start from.

    Args:
        manifests: Every manifest found, in any order.
        attempts: Every claim found.
        restore: The checkpoint that a person asks for; None: the newest.
        accept_duplicates: A person accepts that output is written twice: every newer manifest counts as committed.
    """
    valid = not_void(manifests, attempts)
    if restore is not None and restore not in valid:
        return _refuse_absent(restore, manifests, sorted(valid))
    newest = max(valid, default=None)
    if newest is None:
        return StartEmpty()
    chosen = newest if restore is None else restore
    if chosen < newest and not accept_duplicates:
        return _refuse_duplicates(chosen, newest, valid)
    problem = valid[chosen].problem
    return RestoreFrom(chosen) if problem is None else _refuse_unreadable(chosen, problem, valid)


def decide_savepoint(
    manifests: Sequence[ManifestFact],
    attempts: Sequence[Claim],
    *,
    savepoint: CheckpointId,
    begun_from: bool,
    accept_duplicates: bool = False,
) -> Decision | RestoreSavepoint:
    """Decide what to start from where a person names a savepoint.

    Args:
        manifests: Every manifest found in the store, in any order.
        attempts: Every claim found.
        savepoint: The savepoint's id, of the same row as the store's checkpoints, or below that row.
        begun_from: The store was begun from this savepoint: then its own newest checkpoint is what is meant.
        accept_duplicates: A person accepts that output is written twice.
    """
    valid = not_void(manifests, attempts)
    newest = max(valid, default=None)
    if newest is None or accept_duplicates:
        return RestoreSavepoint()
    if begun_from:
        return decide(manifests, attempts)
    if newest > savepoint:
        return Refuse(
            f"output up to checkpoint {newest} may be committed already, so a start from savepoint {savepoint} would "
            "write some of it twice; leave the savepoint out to go on from the newest checkpoint, run a fork of it, or "
            "pass --accept-duplicates (accept_duplicates=True)"
        )
    return RestoreSavepoint()


def not_void(manifests: Sequence[ManifestFact], attempts: Sequence[Claim]) -> dict[CheckpointId, ManifestFact]:
    """Give the manifests that count.

    Of an unreadable one it is unknown: taking it for void could hide the newest state.
    """
    return {
        fact.checkpoint: fact
        for fact in manifests
        if fact.attempt is None or not is_void(fact.attempt, fact.checkpoint, attempts)
    }


def _refuse_absent(
    restore: CheckpointId, manifests: Sequence[ManifestFact], available: Sequence[CheckpointId]
) -> Refuse:
    found = "is void: an attempt that had been replaced published it" if _listed(restore, manifests) else "is not there"
    return Refuse(f"checkpoint {restore} {found}; choose one of {list(available)}")


def _listed(checkpoint: CheckpointId, manifests: Sequence[ManifestFact]) -> bool:
    return any(fact.checkpoint == checkpoint for fact in manifests)


def _refuse_duplicates(chosen: CheckpointId, newest: CheckpointId, valid: dict[CheckpointId, ManifestFact]) -> Refuse:
    usable = valid[newest].problem is None
    remedy = f"restore checkpoint {newest}" if usable else f"bring checkpoint {newest} back from a copy"
    return Refuse(
        f"output up to checkpoint {newest} may be committed already, so a start from checkpoint {chosen} would write "
        f"some of it twice; {remedy}, or pass --accept-duplicates (accept_duplicates=True)"
    )


def _refuse_unreadable(chosen: CheckpointId, problem: str, valid: dict[CheckpointId, ManifestFact]) -> Refuse:
    older = [checkpoint for checkpoint in sorted(valid) if checkpoint < chosen and valid[checkpoint].problem is None]
    remedy = (
        f"name an older one yourself, the newest good one is {older[-1]}" if older else "there is no older good one"
    )
    return Refuse(f"checkpoint {chosen} cannot be restored: {problem}; bring the file back from a copy, or {remedy}")
