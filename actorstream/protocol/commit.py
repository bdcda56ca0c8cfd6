"""Sink commits: decides when what a sink has pre-committed becomes visible.

At each barrier the sink's writer hands over a token that names everything written
since the last one. The token is in the manifest before anything is committed, and
stays in every later manifest until its commit is known to be done.

    barrier      |1        |2        |3
    pre-commit    t1        t2        t3
    checkpoint    complete  aborted   complete
    commit        t1        -         t2 t3        an aborted checkpoint's output rides along (T104)

A restore hands back the tokens of the restored manifest: their checkpoint is
complete, so they are committed again before any source reads (T101). Commits are
idempotent at the target, since a crash can come between a commit and the next
manifest (T102).

Invariants:
    - Tokens are committed in the order in which they were pre-committed, each once in a run.
    - A token is committed only after a notice of a complete checkpoint at or above its own.
    - Nothing is forgotten before `on_committed`: `pending` is what the next manifest must hold.

Pure: the caller carries the effects out in order, and feeds `on_committed` after each `Commit`.

Sources: two-phase commit; Carbone et al. 2017, "State Management in Apache Flink", section on end-to-end guarantees.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from actorstream.errors import InvariantError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.model.ids import CheckpointId


@dataclass(frozen=True, slots=True)
class PendingCommit:
    """A token that is not known to be committed, and the checkpoint at whose barrier it was made."""

    checkpoint: CheckpointId
    token: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """Commit `token`, then feed `on_committed(checkpoint)`; a failure of it must fail the job."""

    checkpoint: CheckpointId
    token: bytes


@dataclass(frozen=True, slots=True)
class Committed:
    """Tell the coordinator: every token up to `checkpoint` is committed."""

    checkpoint: CheckpointId


Effect: TypeAlias = Commit | Committed


class SinkCommits:
    """The tokens of one sink in one subtask, oldest first."""

    def __init__(self) -> None:
        """Start with nothing pending."""
        self._waiting: deque[PendingCommit] = deque()
        self._in_flight: deque[PendingCommit] = deque()
        self._newest_complete: CheckpointId | None = None
        self._newest_pre_commit: CheckpointId | None = None
        self._idle_through: CheckpointId | None = None

    def on_restored(self, pending: Sequence[PendingCommit]) -> list[Effect]:
        """Commit again what the restored checkpoint holds. Called first, before anything is written.

        Tokens of one checkpoint may come from several subtasks of before (T109).

        Raises:
            InvariantError: Something was pre-committed already.
        """
        if self._newest_pre_commit is not None:
            raise InvariantError(f"restored tokens came after checkpoint {self._newest_pre_commit} was pre-committed")
        self._waiting.extend(sorted(pending, key=lambda commit: commit.checkpoint))
        return self.on_complete(self._waiting[-1].checkpoint) if self._waiting else []

    def on_pre_commit(self, checkpoint: CheckpointId, token: bytes | None) -> None:
        """Keep what the writer gave at the barrier of `checkpoint`; None: it had written nothing.

        Call it before `pending` is read for that checkpoint's manifest.

        Raises:
            InvariantError: The checkpoint is not above the last one.
        """
        if self._newest_pre_commit is not None and checkpoint <= self._newest_pre_commit:
            raise InvariantError(f"pre-commit of checkpoint {checkpoint} came after {self._newest_pre_commit}")
        self._newest_pre_commit = checkpoint
        if token is not None:
            self._waiting.append(PendingCommit(checkpoint, token))

    def on_complete(self, checkpoint: CheckpointId) -> list[Effect]:
        """Take the notice that `checkpoint` is complete: it may be repeated, late or skipped (T83, T103)."""
        if self._newest_complete is None or checkpoint > self._newest_complete:
            self._newest_complete = checkpoint
        due = self._take_due(self._newest_complete)
        self._in_flight.extend(due)
        return [*(Commit(commit.checkpoint, commit.token) for commit in due), *self._report()]

    def on_committed(self, checkpoint: CheckpointId) -> list[Effect]:
        """Forget the oldest token in flight: its commit is done.

        Raises:
            InvariantError: That token is not of `checkpoint`, or none is in flight.
        """
        if not self._in_flight or self._in_flight[0].checkpoint != checkpoint:
            expected = self._in_flight[0].checkpoint if self._in_flight else "none"
            raise InvariantError(
                f"commit of checkpoint {checkpoint} was reported, expected {expected}: commits keep order"
            )
        self._in_flight.popleft()
        return self._report()

    def pending(self) -> tuple[PendingCommit, ...]:
        """Give every token not yet known to be committed, oldest first: what a snapshot must carry."""
        return (*self._in_flight, *self._waiting)

    def idle_through(self) -> CheckpointId | None:
        """Give the newest complete checkpoint up to which nothing was left to commit; None: none yet."""
        return self._idle_through

    def _take_due(self, complete: CheckpointId) -> list[PendingCommit]:
        """Take from the waiting tokens those that may be committed, aborted checkpoints' included (T104)."""
        due = []
        while self._waiting and self._waiting[0].checkpoint <= complete:
            due.append(self._waiting.popleft())
        return due

    def _report(self) -> list[Effect]:
        if self._in_flight or self._newest_complete is None:
            return []
        self._idle_through = self._newest_complete
        return [Committed(self._newest_complete)]
