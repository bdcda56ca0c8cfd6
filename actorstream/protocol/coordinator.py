"""The checkpoint coordinator: decides when a checkpoint starts, is complete, has failed, and when the job ends.

    idle ──Trigger──> collecting ──all acks──> publishing ──durable──> idle        Complete: now sinks may commit
                          │                        │
                    decline, timeout         publish failed
                          └─────────Abort──────────┘──> idle, or Fail when too many failed in a row

One checkpoint is in progress at a time. What starts the next one, first match wins:

    a stop request, or all subtasks finished    the final checkpoint: the job ends with it
    a manual request                            at once
    the interval                                start to start, and not within the pause after a completion

The final checkpoint is retried under a new id when it fails, about a second after
the failed one began; once it is durable nothing is started any more, and the job
finishes when every subtask has committed its output.

Invariants:
    - Ids strictly increase, failed ones included (T81).
    - `Publish(n)` only with an acknowledgement of n from every subtask (T73); `Complete(n)` only after n was published.
    - Every request is answered exactly once; `Finish` or `Fail` is the last effect that no request asked for.

Pure: no clock, no I/O, no asyncio. `now_us` is any clock that does not go back.

Sources: Carbone et al. 2015, "Lightweight Asynchronous Snapshots for Distributed Dataflows".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from actorstream.errors import InvariantError
from actorstream.model.ids import CheckpointId, SubtaskId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

R = TypeVar("R")

FINAL_RETRY_US = 1_000_000
"""Start to start of two tries of the final checkpoint (or the interval, where that is shorter)."""


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
class Finish:
    """The final checkpoint is complete and all its output is committed: the job ends."""


Effect: TypeAlias = Trigger | Abort | Publish[R] | Complete | Answer | Fail | Finish


@dataclass(slots=True)
class _InProgress(Generic[R]):
    """One checkpoint between its trigger and its outcome."""

    checkpoint: CheckpointId
    started_us: int
    stop: bool
    final: bool
    requests: list[int]
    reports: dict[SubtaskId, R] = field(default_factory=dict)
    publishing: bool = False


class Coordinator(Generic[R]):
    """Decides for one attempt of a job. `R` is what a subtask reports with its acknowledgement; opaque here.

    Nothing starts before `on_start` (T89). Events of other checkpoints than the
    one in progress, of unknown subtasks, and repeated ones are ignored (T74).
    """

    def __init__(  # noqa: PLR0913  (the settings of a job, by name)
        self,
        *,
        subtasks: Sequence[SubtaskId],
        sources: frozenset[SubtaskId],
        first_checkpoint: CheckpointId,
        interval_us: int | None,
        timeout_us: int,
        pause_us: int,
        tolerated_failures: int,
        latest_completed: CheckpointId | None = None,
    ) -> None:
        """Wait for `on_start`.

        Args:
            subtasks: Every subtask of the job; each acknowledges every checkpoint.
            sources: Those that are always triggered directly.
            first_checkpoint: The attempt's first id, from its claim.
            interval_us: Start to start of two checkpoints; None: only requested ones and the final one.
            timeout_us: From the start to the last acknowledgement.
            pause_us: Least time from a completion to the next periodic start.
            tolerated_failures: So many checkpoints in a row may fail; negative: any number.
            latest_completed: The checkpoint that was restored.

        Raises:
            InvariantError: No subtasks, or a source that is none of them.
        """
        if not subtasks or not sources <= set(subtasks):
            raise InvariantError(f"sources must be among the subtasks, got sources {set(sources)} of {list(subtasks)}")
        self._subtasks = tuple(subtasks)
        self._known = frozenset(subtasks)
        self._sources = sources
        self._next_id = first_checkpoint
        self._interval_us = interval_us
        self._timeout_us = timeout_us
        self._pause_us = pause_us
        self._tolerated_failures = tolerated_failures
        self._latest_completed = latest_completed
        self._started = False
        self._last_start_us = 0
        self._paused_until_us = 0
        self._retry_final_at_us = 0
        self._current: _InProgress[R] | None = None
        self._failures = 0
        self._finished: set[SubtaskId] = set()
        self._requests: list[int] = []
        self._stop_requests: list[int] = []
        self._final: CheckpointId | None = None
        self._final_committed: set[SubtaskId] = set()
        self._finish_sent = False
        self._failed: str | None = None

    @property
    def wake_at_us(self) -> int | None:
        """When to call `on_time` next, if nothing else comes before; None: not needed. Read after each event."""
        if not self._started or self._is_closed():
            return None
        if self._current is None:
            return self._due_us()
        return None if self._current.publishing else self._current.started_us + self._timeout_us

    def on_start(self, now_us: int) -> list[Effect[R]]:
        """All subtasks run: checkpoints may start, the first periodic one after an interval."""
        self._started = True
        self._last_start_us = self._paused_until_us = now_us
        return self._advance(now_us)

    def on_time(self, now_us: int) -> list[Effect[R]]:
        """Time has passed. May be called at any moment."""
        current = self._current
        if current is not None and not current.publishing and now_us >= current.started_us + self._timeout_us:
            return self._fail_current(now_us, current, self._timeout_reason(current))
        return self._advance(now_us)

    def on_request(self, now_us: int, request: int) -> list[Effect[R]]:
        """Answer `request` with the id of a checkpoint that starts after this call.

        A checkpoint in progress is let end first. The error is that of the
        checkpoint, or that none will start any more because the job ends.
        """
        if self._is_closed():
            return [Answer(request, None, self._closed_reason())]
        self._requests.append(request)
        return self._advance(now_us)

    def on_stop(self, now_us: int, request: int) -> list[Effect[R]]:
        """End the job with a final checkpoint at whose barrier the sources stop, and answer with its id.

        A checkpoint in progress is let end first. Where the final checkpoint is
        in progress or complete already, because all inputs ended or another stop
        came, that one is the answer (T116).
        """
        if self._is_closed():
            return [Answer(request, self._final, None if self._final is not None else self._closed_reason())]
        self._stop_requests.append(request)
        return self._advance(now_us)

    def on_ack(self, now_us: int, subtask: SubtaskId, checkpoint: CheckpointId, report: R) -> list[Effect[R]]:
        """Take in a subtask's durable snapshot of `checkpoint`."""
        del now_us
        current = self._collecting(checkpoint)
        if current is None or subtask not in self._known or subtask in current.reports:
            return []
        current.reports[subtask] = report
        return self._publish(current) if self._has_all_acks(current) else []

    def on_decline(self, now_us: int, subtask: SubtaskId, checkpoint: CheckpointId, reason: str) -> list[Effect[R]]:
        """A subtask will never acknowledge `checkpoint`: abort it."""
        current = self._collecting(checkpoint)
        if current is None or subtask not in self._known:
            return []
        return self._fail_current(now_us, current, f"{subtask} declined: {reason}")

    def on_finished(self, now_us: int, subtask: SubtaskId) -> list[Effect[R]]:
        """All input of `subtask` has ended and its end-of-input work is done.

        Its barriers may never come, so from now on it is triggered directly, also
        for the checkpoint in progress if it has not acknowledged that.
        """
        if subtask not in self._known or subtask in self._finished or self._is_closed():
            return []
        self._finished.add(subtask)
        current = self._current
        if current is not None:
            missing = not current.publishing and subtask not in current.reports
            return [Trigger(current.checkpoint, (subtask,), current.stop)] if missing else []
        return self._advance(now_us)

    def on_published(self, now_us: int, checkpoint: CheckpointId) -> list[Effect[R]]:
        """The manifest of `checkpoint` is durable."""
        current = self._publishing(checkpoint)
        if current is None:
            return []
        self._current = None
        self._failures = 0
        self._latest_completed = checkpoint
        self._paused_until_us = now_us + self._pause_us
        effects: list[Effect[R]] = [Complete(checkpoint), *_answers(current.requests, checkpoint, None)]
        if current.final:
            return effects + self._close(checkpoint)
        return effects + self._advance(now_us)

    def on_publish_failed(self, now_us: int, checkpoint: CheckpointId, reason: str) -> list[Effect[R]]:
        """The manifest of `checkpoint` could not be made durable. Its id is never used again."""
        current = self._publishing(checkpoint)
        if current is None:
            return []
        return self._fail_current(now_us, current, f"publishing failed: {reason}")

    def on_committed(self, now_us: int, subtask: SubtaskId, checkpoint: CheckpointId) -> list[Effect[R]]:
        """Every sink commit up to `checkpoint` in `subtask` is done. Any id from the final one on will do (T115)."""
        del now_us
        if self._final is None or self._finish_sent or checkpoint < self._final or subtask not in self._known:
            return []
        self._final_committed.add(subtask)
        if self._final_committed != self._known:
            return []
        self._finish_sent = True
        return [Finish()]

    def _collecting(self, checkpoint: CheckpointId) -> _InProgress[R] | None:
        """Give the checkpoint in progress if it is `checkpoint` and still waits for acknowledgements."""
        current = self._current
        return current if current is not None and self._is_of(current, checkpoint) and not current.publishing else None

    def _publishing(self, checkpoint: CheckpointId) -> _InProgress[R] | None:
        current = self._current
        return current if current is not None and self._is_of(current, checkpoint) and current.publishing else None

    def _is_of(self, current: _InProgress[R], checkpoint: CheckpointId) -> bool:
        return current.checkpoint == checkpoint

    def _has_all_acks(self, current: _InProgress[R]) -> bool:
        return current.reports.keys() == self._known

    def _publish(self, current: _InProgress[R]) -> list[Effect[R]]:
        current.publishing = True
        reports = {subtask: current.reports[subtask] for subtask in self._subtasks if subtask in current.reports}
        return [Publish(current.checkpoint, reports, current.final)]

    def _wants_final(self) -> bool:
        return bool(self._stop_requests) or self._finished == self._known

    def _due_us(self) -> int | None:
        """When the next checkpoint may start, if none is in progress."""
        if self._wants_final():
            return self._retry_final_at_us
        if self._requests:
            return self._last_start_us
        if self._interval_us is None:
            return None
        return max(self._last_start_us + self._interval_us, self._paused_until_us)

    def _advance(self, now_us: int) -> list[Effect[R]]:
        """Start the next checkpoint if one is due."""
        if not self._started or self._current is not None or self._is_closed():
            return []
        due_us = self._due_us()
        return [] if due_us is None or now_us < due_us else self._begin(now_us)

    def _begin(self, now_us: int) -> list[Effect[R]]:
        checkpoint, stop = self._next_id, bool(self._stop_requests)
        self._next_id = CheckpointId(checkpoint + 1)
        self._last_start_us = now_us
        self._current = _InProgress(checkpoint, now_us, stop, self._wants_final(), self._requests)
        self._requests = []
        direct = self._sources | self._finished
        return [Trigger(checkpoint, tuple(subtask for subtask in self._subtasks if subtask in direct), stop)]

    def _fail_current(self, now_us: int, current: _InProgress[R], reason: str) -> list[Effect[R]]:
        """Abort the checkpoint in progress, and count it once (T84): it is gone with this call."""
        self._current = None
        self._failures += 1
        effects: list[Effect[R]] = [Abort(current.checkpoint, reason, self._latest_completed)]
        effects += _answers(current.requests, None, f"checkpoint {current.checkpoint} failed: {reason}")
        if self._is_intolerable():
            return effects + self._fail(f"the last, checkpoint {current.checkpoint}: {reason}")
        if current.final:
            self._retry_final_at_us = current.started_us + min(FINAL_RETRY_US, self._interval_us or FINAL_RETRY_US)
        return effects + self._advance(now_us)

    def _is_intolerable(self) -> bool:
        return 0 <= self._tolerated_failures < self._failures

    def _timeout_reason(self, current: _InProgress[R]) -> str:
        missing = [str(subtask) for subtask in self._subtasks if subtask not in current.reports]
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        return f"timed out after {self._timeout_us / 1e6:g} s without an acknowledgement of {shown}"

    def _is_closed(self) -> bool:
        """Tell whether no checkpoint will start any more."""
        return self._final is not None or self._failed is not None

    def _closed_reason(self) -> str:
        return self._failed or f"the job ends with checkpoint {self._final}: no later one will start"

    def _close(self, final: CheckpointId) -> list[Effect[R]]:
        """`final` is complete: wait for the commits only."""
        self._final = final
        return [
            *_answers(self._stop_requests, final, None),
            *_answers(self._requests, None, self._closed_reason()),
        ]

    def _fail(self, last: str) -> list[Effect[R]]:
        self._failed = f"{self._failures} checkpoints in a row failed, {self._tolerated_failures} may; {last}"
        return [*_answers([*self._stop_requests, *self._requests], None, self._failed), Fail(self._failed)]


def _answers(requests: Iterable[int], checkpoint: CheckpointId | None, error: str | None) -> list[Answer]:
    return [Answer(request, checkpoint, error) for request in requests]
