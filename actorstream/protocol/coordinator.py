"""The checkpoint coordinator: decides when a checkpoint starts, is complete, has failed, and when the job ends.

    idle ──Trigger──> collecting ──all acks──> publishing ──durable──> idle        Complete: now sinks may commit
                          │                        │
                    decline, timeout         publish failed
                          └─────────Abort──────────┘──> idle, or Fail when too many failed in a row

One checkpoint is in progress at a time. What starts the next one, first match wins:

    a stop request, or all subtasks finished    the final checkpoint: see protocol/ending.py
    a savepoint, then a manual request          at once (T88)
    the interval                                start to start, and not within the pause after a completion

The final checkpoint is retried under a new id when it fails, about a second after the failed one began; once it is
durable nothing is started any more, and the job finishes when every subtask has committed its output.

A savepoint takes its id from the same row, and is none of the job's checkpoints: nothing is committed, its failure
does not count, and a recovery does not know of it.

Invariants:
    - Ids strictly increase, failed ones included (T81).
    - `Publish(n)` only with an acknowledgement of n from every subtask (T73); `Complete(n)` only after n was published.
    - Every request is answered exactly once, but for one that is handed over; after `Finish`, `HandOver` or `Fail`
      there are answers only.

Pure: no clock, no I/O, no asyncio. `now_us` is any clock that does not go back.
Sources: Carbone et al. 2015, "Lightweight Asynchronous Snapshots for Distributed Dataflows".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from actorstream.errors import InvariantError
from actorstream.model.ids import CheckpointId, SubtaskId
from actorstream.protocol.coordinator_effects import (
    Abort,
    Answer,
    Complete,
    Drain,
    Effect,
    Fail,
    Finish,
    HandOver,
    Keep,
    Publish,
    PublishSavepoint,
    Resume,
    Trigger,
    answers,
)
from actorstream.protocol.ending import SAVEPOINTS_MAX, Ending, EndRequest, KeepRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

R = TypeVar("R")

FINAL_RETRY_US = 1_000_000
"""Start to start of two tries of the final checkpoint (or the interval, where that is shorter)."""


@dataclass(slots=True)
class _InProgress(Generic[R]):
    """One checkpoint or savepoint between its trigger and its outcome."""

    checkpoint: CheckpointId
    started_us: int
    stop: bool
    final: bool
    requests: list[int]
    savepoint: str | None = None
    reports: dict[SubtaskId, R] = field(default_factory=dict)
    publishing: bool = False


class Coordinator(Generic[R]):
    """Decides for one attempt of a job. `R` is what a subtask reports with its acknowledgement; opaque here.

    Nothing starts before `on_start` (T89). Events of other checkpoints than the one in progress, of unknown subtasks,
    and repeated ones are ignored (T74).
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
        self._last_start_us = self._paused_until_us = self._retry_final_at_us = 0
        self._current: _InProgress[R] | None = None
        self._failures = 0
        self._finished: set[SubtaskId] = set()
        self._unfed: set[SubtaskId] = set()
        self._requests: list[int] = []
        self._ending = Ending()
        self._final: CheckpointId | None = None
        self._final_committed: set[SubtaskId] = set()
        self._over = False
        self._failed: str | None = None

    @property
    def wake_at_us(self) -> int | None:
        """When to call `on_time` next, if nothing else comes before; None: not needed. Read after each event."""
        if not self._started or self._is_closed():
            return None
        if self._current is None:
            return self._due_us()
        return None if self._current.publishing else self._current.started_us + self._timeout_us

    def may_overtake(self) -> bool:
        """Tell whether the barriers in progress may overtake: not those of a savepoint or of the last one (T17)."""
        current = self._current
        return current is not None and current.savepoint is None and not (current.stop or current.final)

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

        A checkpoint in progress is let end first. The error is its, or that none will start any more: the job ends.
        """
        if self._is_closed():
            return [Answer(request, None, self._closed_reason())]
        self._requests.append(request)
        return self._advance(now_us)

    def on_savepoint(self, now_us: int, request: int, savepoint: str) -> list[Effect[R]]:
        """Answer with the id of a savepoint that starts after this call, or is made of the final checkpoint (T116)."""
        if self._final is not None and not self._over:
            self._ending.keeps.append(KeepRequest(request, savepoint, ends=False))
            return []
        if self._is_closed():
            return [Answer(request, None, self._closed_reason())]
        if len(self._ending.savepoints) >= SAVEPOINTS_MAX:
            return [Answer(request, None, f"{SAVEPOINTS_MAX} savepoints wait already: ask again later")]
        self._ending.savepoints.append((request, savepoint))
        return self._advance(now_us)

    def on_stop(
        self, now_us: int, request: int, *, savepoint: str | None = None, drain: bool = False
    ) -> list[Effect[R]]:
        """End the job with a final checkpoint at whose barrier the sources stop, and answer with its id.

        A checkpoint in progress is let end first. Where the final one is in progress or complete already, because
        all inputs ended or another stop came, that one is the answer (T116); to a drain, if it is drained.

        Args:
            now_us: Now.
            request: Whom to answer.
            savepoint: Make one of the final checkpoint, and answer only then. If any of it fails, the answer is an
                error and the job goes on, unless something else wants its end too.
            drain: Let the sources end first, as if their input had.
        """
        ends = self._final is not None or (self._current is not None and self._current.final)
        if drain and ends and not self._ending.draining and not self._over:
            return [Answer(request, None, "the job ends already, without draining: ask for the savepoint alone")]
        if self._final is not None and not self._over:
            self._ending.join(request, savepoint)
            return [Answer(request, self._final, None)] if savepoint is None else []
        if self._is_closed():
            told = self._final if savepoint is None and not drain else None
            return [Answer(request, told, None if told is not None else self._closed_reason())]
        drained = self._ending.draining
        asked = EndRequest(request, "end" if savepoint is None else "savepoint", savepoint or "", drain)
        self._ending.requests.append(asked)
        return [*([Drain()] if drain and not drained else []), *self._advance(now_us)]

    def on_hand_over(self, now_us: int, request: int) -> list[Effect[R]]:
        """End the attempt for another one that goes on from its final checkpoint; only a failure is answered."""
        if self._is_closed():
            return [Answer(request, None, self._closed_reason())]
        self._ending.requests.append(EndRequest(request, "hand over"))
        return self._advance(now_us)

    def on_ack(self, now_us: int, subtask: SubtaskId, checkpoint: CheckpointId, report: R) -> list[Effect[R]]:
        """Take in a subtask's durable snapshot of `checkpoint`."""
        current = self._collecting(checkpoint)
        if current is None or subtask not in self._known or subtask in current.reports:
            return []
        current.reports[subtask] = report
        return self._publish(current) if self._has_all_acks(current) else []

    def on_decline(self, now_us: int, subtask: SubtaskId, checkpoint: CheckpointId, reason: str) -> list[Effect[R]]:
        """Abort `checkpoint`, which a subtask will never acknowledge."""
        current = self._collecting(checkpoint) if subtask in self._known else None
        return [] if current is None else self._fail_current(now_us, current, f"{subtask} declined: {reason}")

    def on_finished(self, now_us: int, subtask: SubtaskId, *, whole: bool = True) -> list[Effect[R]]:
        """All input of `subtask` has ended and its end-of-input work is done; not `whole`: it goes on with that.

        Its barriers may never come: from now on it is triggered directly, also for what it has not acknowledged yet.
        """
        if subtask not in self._known or subtask in self._finished or self._is_closed():
            return []
        (self._finished if whole else self._unfed).add(subtask)
        if (current := self._current) is None:
            return self._advance(now_us)
        missing = not current.publishing and subtask not in current.reports
        return [Trigger(current.checkpoint, (subtask,), current.stop)] if missing else []

    def on_published(self, now_us: int, checkpoint: CheckpointId) -> list[Effect[R]]:
        """The manifest of `checkpoint` is durable."""
        current = self._publishing(checkpoint)
        if current is None:
            return []
        self._current = None
        if current.savepoint is not None:
            return [*answers(current.requests, checkpoint, None), *self._advance(now_us)]
        self._failures = 0
        self._latest_completed = checkpoint
        self._paused_until_us = now_us + self._pause_us
        effects: list[Effect[R]] = [Complete(checkpoint), *answers(current.requests, checkpoint, None)]
        if current.final:
            return effects + self._close(checkpoint)
        return effects + self._advance(now_us)

    def on_publish_failed(self, now_us: int, checkpoint: CheckpointId, reason: str) -> list[Effect[R]]:
        """The manifest of `checkpoint` could not be made durable. Its id is never used again."""
        current = self._publishing(checkpoint)
        return [] if current is None else self._fail_current(now_us, current, f"publishing failed: {reason}")

    def on_committed(self, now_us: int, subtask: SubtaskId, checkpoint: CheckpointId) -> list[Effect[R]]:
        """Every sink commit up to `checkpoint` in `subtask` is done. Any id from the final one on will do (T115)."""
        known = self._known - self._final_committed
        if self._final is None or self._over or checkpoint < self._final or subtask not in known:
            return []
        self._final_committed.add(subtask)
        return self._after_commits(now_us) if self._final_committed == self._known else []

    def on_kept(self, now_us: int, problem: str | None) -> list[Effect[R]]:
        """The savepoint of the last `Keep` is durable, or could not be made."""
        keep = self._ending.on_kept(problem)
        answer = Answer(keep.request, self._final if problem is None else None, problem)
        return [answer, *self._after_commits(now_us)]

    def _after_commits(self, now_us: int) -> list[Effect[R]]:
        """Say what follows the final checkpoint, now that all its output is committed."""
        if self._final is not None and self._ending.keeps:
            return [Keep(self._final, self._ending.keeps[0].savepoint)]
        match self._ending.after(all_finished=self._all_finished()):
            case "end":
                self._over = True
                return [*answers(self._ending.handed_over, None, self._closed_reason()), Finish()]
            case "hand over":
                self._over = True
                return [HandOver()]
            case "go on":
                self._final = None
                self._final_committed.clear()
                self._ending.go_on()
                return [Resume(), *self._advance(now_us)]

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
        if current.savepoint is not None:
            return [PublishSavepoint(current.checkpoint, reports, current.savepoint)]
        return [Publish(current.checkpoint, reports, current.final)]

    def _wants_final(self) -> bool:
        return self._ending.stops or self._all_finished()

    def _all_finished(self) -> bool:
        return self._finished == self._known

    def _due_us(self) -> int | None:
        """When the next checkpoint may start, if none is in progress."""
        if self._wants_final():
            return self._retry_final_at_us
        if self._requests or self._ending.savepoints:
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
        checkpoint, stop, final = self._next_id, self._ending.stops, self._wants_final()
        self._next_id = CheckpointId(checkpoint + 1)
        self._last_start_us = now_us
        if self._ending.savepoints and not final:
            request, savepoint = self._ending.savepoints.popleft()
            self._current = _InProgress(checkpoint, now_us, False, False, [request], savepoint)  # noqa: FBT003
        else:
            self._current = _InProgress(checkpoint, now_us, stop, final, self._requests)
            self._requests = []
        direct = tuple(each for each in self._subtasks if each in self._sources | self._finished | self._unfed)
        return [Trigger(checkpoint, direct, stop)]

    def _fail_current(self, now_us: int, current: _InProgress[R], reason: str) -> list[Effect[R]]:
        """Abort the checkpoint in progress, and count it once (T84): it is gone with this call.

        What was only asked for, a savepoint or a stop with one, is answered and does not count.
        """
        self._current = None
        error = f"{'checkpoint' if current.savepoint is None else 'savepoint'} {current.checkpoint} failed: {reason}"
        effects: list[Effect[R]] = [Abort(current.checkpoint, reason, self._latest_completed)]
        effects += answers(current.requests, None, error)
        if current.savepoint is not None:
            return effects + self._advance(now_us)
        if current.stop and not self._ending.insists and not self._all_finished():
            effects += [*answers(self._ending.give_up(), None, error), Resume()]
            return effects + self._advance(now_us)
        self._failures += 1
        if 0 <= self._tolerated_failures < self._failures:
            return effects + self._fail(f"the last, checkpoint {current.checkpoint}: {reason}")
        if current.final:
            self._retry_final_at_us = current.started_us + min(FINAL_RETRY_US, self._interval_us or FINAL_RETRY_US)
        return effects + self._advance(now_us)

    def _timeout_reason(self, current: _InProgress[R]) -> str:
        missing = [str(each) for each in self._subtasks if each not in current.reports]
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        return (
            f"timed out after {self._timeout_us / 1e6:g} s without an acknowledgement of {', '.join(missing[:5])}{more}"
        )

    def _is_closed(self) -> bool:
        return self._final is not None or self._failed is not None

    def _closed_reason(self) -> str:
        return self._failed or f"the job ends with checkpoint {self._final}: no later one will start"

    def _close(self, final: CheckpointId) -> list[Effect[R]]:
        """`final` is complete: wait for the commits only. A savepoint that waits is made of it."""
        self._final = final
        answered = self._ending.close()
        refused, self._requests = self._requests, []
        return [*answers(answered, final, None), *answers(refused, None, self._closed_reason())]

    def _fail(self, last: str) -> list[Effect[R]]:
        self._failed = f"{self._failures} checkpoints in a row failed, {self._tolerated_failures} may; {last}"
        return [*answers([*self._ending.fail(), *self._requests], None, self._failed), Fail(self._failed)]
