"""What must hold of the checkpoint coordinator, case by case. All orders of arrival: test_coordinator_orders.py."""

from __future__ import annotations

import pytest

from actorstream.errors import InvariantError
from actorstream.model.ids import CheckpointId, SubtaskId
from actorstream.protocol.coordinator import FINAL_RETRY_US, Coordinator
from actorstream.protocol.coordinator_effects import (
    Abort,
    Answer,
    Complete,
    Effect,
    Fail,
    Finish,
    Publish,
    Trigger,
)

SOURCE, COUNT, SINK = SubtaskId("source", 0), SubtaskId("count", 0), SubtaskId("sink", 0)
ALL = (SOURCE, COUNT, SINK)
SECOND = 1_000_000
ONE, TWO, THREE, FOUR = (CheckpointId(n) for n in range(1, 5))


def coordinator(
    *, interval: int | None = SECOND, timeout: int = 10 * SECOND, pause: int = 0, tolerated: int = 0, first: int = 1
) -> Coordinator[str]:
    return Coordinator(
        subtasks=ALL,
        sources=frozenset({SOURCE}),
        first_checkpoint=CheckpointId(first),
        interval_us=interval,
        timeout_us=timeout,
        pause_us=pause,
        tolerated_failures=tolerated,
    )


def started(
    *, interval: int | None = SECOND, timeout: int = 10 * SECOND, pause: int = 0, tolerated: int = 0
) -> Coordinator[str]:
    it = coordinator(interval=interval, timeout=timeout, pause=pause, tolerated=tolerated)
    assert it.on_start(0) == []
    return it


def ack_all(it: Coordinator[str], now: int, checkpoint: CheckpointId) -> list[Effect[str]]:
    return [effect for subtask in ALL for effect in it.on_ack(now, subtask, checkpoint, f"{subtask}@{checkpoint}")]


def complete(it: Coordinator[str], now: int, checkpoint: CheckpointId) -> list[Effect[str]]:
    ack_all(it, now, checkpoint)
    return it.on_published(now, checkpoint)


def finish_all(it: Coordinator[str], now: int) -> list[Effect[str]]:
    return [effect for subtask in ALL for effect in it.on_finished(now, subtask)]


def commit_all(it: Coordinator[str], now: int, checkpoint: CheckpointId) -> list[Effect[str]]:
    return [effect for subtask in ALL for effect in it.on_committed(now, subtask, checkpoint)]


def trigger(checkpoint: CheckpointId, *subtasks: SubtaskId, stop: bool = False) -> Trigger:
    return Trigger(checkpoint, subtasks or (SOURCE,), stop)


# ------------------------------------------------------------------------------------------- one checkpoint


def test_complete_needs_every_ack_and_the_durable_manifest_t73() -> None:
    """T73: what is announced must be restorable.

    Trigger ── ack ack ack ── Publish ── published ── Complete
    """
    it = started()
    assert it.on_time(SECOND) == [trigger(ONE)]
    assert it.on_ack(SECOND, SOURCE, ONE, "s") == []
    assert it.on_ack(SECOND, SINK, ONE, "k") == []

    assert it.on_ack(SECOND, COUNT, ONE, "c") == [Publish(ONE, {SOURCE: "s", COUNT: "c", SINK: "k"}, final=False)]
    assert it.on_published(SECOND, ONE) == [Complete(ONE)]


def test_late_repeated_and_unknown_events_are_ignored_t74() -> None:
    """T74: an ack of an old checkpoint, of a stranger, or twice, must not complete anything."""
    it = started(tolerated=1)
    it.on_time(SECOND)
    it.on_ack(SECOND, SOURCE, ONE, "first")

    assert it.on_ack(SECOND, SOURCE, ONE, "second") == []
    assert it.on_ack(SECOND, SubtaskId("stranger", 0), ONE, "x") == []
    assert it.on_ack(SECOND, COUNT, TWO, "from the future") == []
    assert it.on_decline(SECOND, SubtaskId("stranger", 0), ONE, "x") == []
    assert it.on_published(SECOND, ONE) == []
    it.on_ack(SECOND, COUNT, ONE, "c")
    assert it.on_ack(SECOND, SINK, ONE, "k") == [Publish(ONE, {SOURCE: "first", COUNT: "c", SINK: "k"}, final=False)]
    assert it.on_ack(SECOND, SINK, ONE, "k") == []


def test_ack_of_an_aborted_checkpoint_does_not_count_for_the_next_t74() -> None:
    """T74: the mix of two checkpoints is no consistent cut."""
    it = started(tolerated=1)
    it.on_time(SECOND)
    it.on_decline(SECOND, COUNT, ONE, "full")
    it.on_time(2 * SECOND)
    it.on_ack(2 * SECOND, SOURCE, TWO, "s")
    it.on_ack(2 * SECOND, COUNT, TWO, "c")

    assert it.on_ack(2 * SECOND, SINK, ONE, "late") == []


def test_ids_strictly_increase_failed_ones_too_t81() -> None:
    """T81: files of a failed checkpoint may exist under its id."""
    it = coordinator(tolerated=-1, first=7)
    it.on_start(0)

    assert it.on_time(SECOND) == [trigger(CheckpointId(7))]
    it.on_decline(SECOND, COUNT, CheckpointId(7), "full")
    assert it.on_time(2 * SECOND) == [trigger(CheckpointId(8))]
    ack_all(it, 2 * SECOND, CheckpointId(8))
    it.on_publish_failed(2 * SECOND, CheckpointId(8), "disk full")
    assert it.on_time(3 * SECOND) == [trigger(CheckpointId(9))]


def test_one_checkpoint_is_in_progress_t82() -> None:
    """T82: so a completion has no older one beside it that it would have to drop."""
    it = started()
    it.on_time(SECOND)

    assert it.on_time(5 * SECOND) == []
    assert it.on_request(5 * SECOND, 1) == []


def test_abort_carries_the_latest_completed_id_t83() -> None:
    """T83: a subtask that missed the completion of 1 learns it from the abort of 2."""
    it = started(tolerated=1)
    it.on_time(SECOND)
    complete(it, SECOND, ONE)
    it.on_time(2 * SECOND)

    assert it.on_decline(2 * SECOND, COUNT, TWO, "full") == [Abort(TWO, "count[0] declined: full", ONE)]


def test_restored_checkpoint_is_the_latest_completed_at_first_t83() -> None:
    """T83: its tokens may be committed as well."""
    it: Coordinator[str] = Coordinator(
        subtasks=ALL,
        sources=frozenset({SOURCE}),
        first_checkpoint=FOUR,
        interval_us=SECOND,
        timeout_us=SECOND,
        pause_us=0,
        tolerated_failures=1,
        latest_completed=THREE,
    )
    it.on_start(0)
    it.on_time(SECOND)

    assert it.on_decline(SECOND, SINK, FOUR, "x") == [Abort(FOUR, "sink[0] declined: x", THREE)]


def test_failures_count_once_an_id_and_reset_on_success_t84() -> None:
    """T84: two declines of one checkpoint are one failure; a success starts the count anew."""
    it = started(tolerated=1)
    it.on_time(SECOND)
    it.on_decline(SECOND, COUNT, ONE, "a")
    assert it.on_decline(SECOND, SINK, ONE, "b") == []
    it.on_time(2 * SECOND)
    complete(it, 2 * SECOND, TWO)
    it.on_time(3 * SECOND)
    assert it.on_decline(3 * SECOND, COUNT, THREE, "c") == [Abort(THREE, "count[0] declined: c", TWO)]
    it.on_time(4 * SECOND)

    reason = "2 checkpoints in a row failed, 1 may; the last, checkpoint 4: count[0] declined: d"
    assert it.on_decline(4 * SECOND, COUNT, FOUR, "d") == [
        Abort(FOUR, "count[0] declined: d", TWO),
        Fail(reason),
    ]
    assert it.on_time(99 * SECOND) == []
    assert it.wake_at_us is None


def test_negative_tolerance_never_fails_the_job_t84() -> None:
    """T84: the job goes on without checkpoints as long as it must."""
    it = started(tolerated=-1)
    for n in range(1, 50):
        it.on_time(n * SECOND)
        assert len(it.on_decline(n * SECOND, COUNT, CheckpointId(n), "x")) == 1


def test_nothing_starts_before_all_subtasks_run_t89() -> None:
    """T89: a trigger would reach a subtask that cannot take it."""
    it = coordinator()

    assert it.on_time(5 * SECOND) == []
    assert it.on_request(5 * SECOND, 1) == []
    assert it.on_stop(5 * SECOND, 2) == []
    assert it.wake_at_us is None
    assert it.on_start(6 * SECOND) == [trigger(ONE, stop=True)]


# ------------------------------------------------------------------------------------------- time


def test_interval_is_start_to_start_and_pause_is_from_completion() -> None:
    """T88: a slow checkpoint is followed at once, but not within the pause.

    start 1 s ──── complete 3.5 s ──pause 0.2 s── start 3.7 s ─ complete 3.8 s ──── start 4.7 s
    """
    it = started(pause=SECOND // 5)
    assert it.wake_at_us == SECOND
    it.on_time(SECOND)
    assert complete(it, 3_500_000, ONE) == [Complete(ONE)]
    assert it.wake_at_us == 3_700_000
    assert it.on_time(3_600_000) == []
    assert it.on_time(3_700_000) == [trigger(TWO)]
    complete(it, 3_800_000, TWO)
    assert it.wake_at_us == 4_700_000


def test_timeout_names_who_is_missing() -> None:
    """The operator of the job must see where to look."""
    it = started(timeout=3 * SECOND, tolerated=1)
    it.on_time(SECOND)
    it.on_ack(SECOND, SOURCE, ONE, "s")
    assert it.wake_at_us == 4 * SECOND
    assert it.on_time(4 * SECOND - 1) == []

    assert it.on_time(4 * SECOND) == [
        Abort(ONE, "timed out after 3 s without an acknowledgement of count[0], sink[0]", None),
        trigger(TWO),
    ]


def test_publish_in_flight_is_not_aborted() -> None:
    """Its manifest may be durable already: only the outcome decides."""
    it = started(timeout=3 * SECOND)
    it.on_time(SECOND)
    ack_all(it, SECOND, ONE)

    assert it.wake_at_us is None
    assert it.on_time(99 * SECOND) == []
    assert it.on_decline(99 * SECOND, COUNT, ONE, "late") == []
    assert it.on_published(99 * SECOND, ONE) == [Complete(ONE), trigger(TWO)]


def test_publish_failure_aborts_and_counts() -> None:
    """The next one gets a new id."""
    it = started(tolerated=1)
    it.on_time(SECOND)
    ack_all(it, SECOND, ONE)

    assert it.on_publish_failed(SECOND, ONE, "disk full") == [Abort(ONE, "publishing failed: disk full", None)]
    assert it.wake_at_us == 2 * SECOND


def test_without_an_interval_only_requests_start_checkpoints() -> None:
    """And the final one."""
    it = started(interval=None)

    assert it.wake_at_us is None
    assert it.on_time(99 * SECOND) == []
    assert it.on_request(99 * SECOND, 1) == [trigger(ONE)]


# ------------------------------------------------------------------------------------------- requests


def test_request_gets_a_checkpoint_that_started_after_it() -> None:
    """The one in progress may have passed the record that the caller just sent."""
    it = started()
    it.on_time(SECOND)
    it.on_request(SECOND, 1)
    it.on_request(SECOND, 2)

    assert complete(it, SECOND, ONE) == [Complete(ONE), trigger(TWO)]
    assert complete(it, SECOND, TWO) == [Complete(TWO), Answer(1, TWO, None), Answer(2, TWO, None)]


def test_failed_checkpoint_answers_its_requests_with_the_error() -> None:
    """The caller decides whether to ask again."""
    it = started(tolerated=1)
    it.on_request(0, 1)

    assert it.on_decline(0, COUNT, ONE, "full") == [
        Abort(ONE, "count[0] declined: full", None),
        Answer(1, None, "checkpoint 1 failed: count[0] declined: full"),
    ]


def test_request_waiting_behind_a_failure_is_served_by_the_next() -> None:
    """It was not part of what failed."""
    it = started(tolerated=1)
    it.on_time(SECOND)
    it.on_request(SECOND, 1)

    assert it.on_decline(SECOND, COUNT, ONE, "x") == [Abort(ONE, "count[0] declined: x", None), trigger(TWO)]
    assert complete(it, SECOND, TWO) == [Complete(TWO), Answer(1, TWO, None)]


def test_request_while_stopping_is_answered_by_a_stop_checkpoint_that_starts_later() -> None:
    """A checkpoint was in progress, then a stop, then the request: the stopping one covers it."""
    it = started()
    it.on_time(SECOND)
    it.on_stop(SECOND, 1)
    it.on_request(SECOND, 2)
    complete(it, SECOND, ONE)

    assert complete(it, SECOND, TWO) == [Complete(TWO), Answer(2, TWO, None), Answer(1, TWO, None)]


def test_request_during_the_final_checkpoint_is_told_that_none_follows() -> None:
    """Answered, not left waiting: nothing starts after the final one."""
    it = started()
    it.on_stop(0, 1)
    it.on_request(0, 2)

    none_follows = "the job ends with checkpoint 1: no later one will start"
    assert complete(it, 0, ONE) == [Complete(ONE), Answer(1, ONE, None), Answer(2, None, none_follows)]
    assert it.on_request(0, 3) == [Answer(3, None, none_follows)]


# ------------------------------------------------------------------------------------------- stop


def test_stop_ends_with_a_final_checkpoint_whose_output_is_committed() -> None:
    """Finish waits for the commits of every subtask."""
    it = started()

    assert it.on_stop(0, 1) == [trigger(ONE, stop=True)]
    assert ack_all(it, 0, ONE) == [Publish(ONE, {s: f"{s}@1" for s in ALL}, final=True)]
    assert it.on_published(0, ONE) == [Complete(ONE), Answer(1, ONE, None)]
    assert it.on_committed(0, SOURCE, ONE) == []
    assert it.on_committed(0, COUNT, ONE) == []
    assert it.on_committed(0, SINK, ONE) == [Finish()]
    assert it.wake_at_us is None


def test_stop_lets_the_checkpoint_in_progress_end_first() -> None:
    """Then comes the stopping one, at once, with no regard to interval and pause."""
    it = started(pause=5 * SECOND)
    it.on_time(SECOND)

    assert it.on_stop(SECOND, 1) == []
    assert complete(it, SECOND, ONE) == [Complete(ONE), trigger(TWO, stop=True)]


def test_stop_follows_a_failed_checkpoint_too() -> None:
    """The one in progress need not succeed."""
    it = started(tolerated=1)
    it.on_time(SECOND)
    it.on_stop(SECOND, 1)

    assert it.on_decline(SECOND, COUNT, ONE, "x")[1:] == [trigger(TWO, stop=True)]


def test_declined_stop_checkpoint_is_retried_under_a_new_id_then_fails() -> None:
    """Up to the tolerance, paced, and the request is answered only when it is decided."""
    it = started(tolerated=1, interval=10 * SECOND)
    it.on_stop(0, 1)
    assert it.on_decline(0, COUNT, ONE, "x") == [Abort(ONE, "count[0] declined: x", None)]
    assert it.wake_at_us == FINAL_RETRY_US
    assert it.on_time(FINAL_RETRY_US) == [trigger(TWO, stop=True)]
    ack_all(it, FINAL_RETRY_US, TWO)

    failed = "2 checkpoints in a row failed, 1 may; the last, checkpoint 2: publishing failed: disk full"
    assert it.on_publish_failed(FINAL_RETRY_US, TWO, "disk full") == [
        Abort(TWO, "publishing failed: disk full", None),
        Answer(1, None, failed),
        Fail(failed),
    ]
    assert it.on_stop(FINAL_RETRY_US, 2) == [Answer(2, None, failed)]


def test_every_stop_request_gets_the_same_answer() -> None:
    """A second one while the final checkpoint is in progress joins it; a third comes after it."""
    it = started()
    it.on_stop(0, 1)

    assert it.on_stop(0, 2) == []
    assert complete(it, 0, ONE) == [Complete(ONE), Answer(1, ONE, None), Answer(2, ONE, None)]
    assert it.on_stop(0, 3) == [Answer(3, ONE, None)]


# ------------------------------------------------------------------------------------------- end of input


def test_finished_subtask_is_triggered_at_once_for_the_checkpoint_in_progress_t89() -> None:
    """T89: the source ended before its barrier: it acks, but count never sees a barrier.

    source   ... ▮    trigger 1: ack
    count    ... ▮    no barrier: trigger 1 directly
    """
    it = started()
    it.on_time(SECOND)
    it.on_ack(SECOND, SOURCE, ONE, "s")

    assert it.on_finished(SECOND, SOURCE) == []
    assert it.on_finished(SECOND, COUNT) == [trigger(ONE, COUNT)]
    assert it.on_finished(SECOND, COUNT) == []


def test_finished_subtask_is_triggered_directly_in_later_checkpoints() -> None:
    """In the order of the subtasks, beside the sources."""
    it = started()
    it.on_finished(0, COUNT)

    assert it.on_time(SECOND) == [trigger(ONE, SOURCE, COUNT)]


def test_end_of_all_input_takes_a_final_checkpoint_at_once_t106() -> None:
    """T106: what came after the last barrier is committed by last + 1, without waiting for the interval."""
    it = started(interval=None)

    assert finish_all(it, 5) == [trigger(ONE, *ALL)]
    assert ack_all(it, 5, ONE) == [Publish(ONE, {s: f"{s}@1" for s in ALL}, final=True)]


def test_final_checkpoint_follows_the_one_in_progress_t106() -> None:
    """T106: the one in progress may have been cut before the end of some subtask."""
    it = started()
    it.on_time(SECOND)
    it.on_ack(SECOND, SOURCE, ONE, "s")
    assert finish_all(it, SECOND) == [trigger(ONE, COUNT), trigger(ONE, SINK)]
    it.on_ack(SECOND, COUNT, ONE, "c")
    assert it.on_ack(SECOND, SINK, ONE, "k") == [Publish(ONE, {SOURCE: "s", COUNT: "c", SINK: "k"}, final=False)]

    assert it.on_published(SECOND, ONE) == [Complete(ONE), trigger(TWO, *ALL)]


def test_failed_final_checkpoint_is_retried_under_a_new_id_t106() -> None:
    """T106: the tail of the output hangs on it; the retry is paced by the interval where that is short."""
    it = started(tolerated=2, interval=SECOND // 10)
    finish_all(it, 5)
    ack_all(it, 6, ONE)
    it.on_publish_failed(7, ONE, "disk full")

    assert it.wake_at_us == 5 + SECOND // 10
    assert it.on_time(5 + SECOND // 10) == [trigger(TWO, *ALL)]
    assert complete(it, 2 * SECOND, TWO) == [Complete(TWO)]


def test_wait_for_the_final_commits_ends_with_any_later_id_t115() -> None:
    """T115: notices overtake each other; older ids are no proof."""
    it = started()
    finish_all(it, 0)
    complete(it, 0, ONE)
    it.on_committed(0, SOURCE, CheckpointId(9))
    it.on_committed(0, COUNT, CheckpointId(0))
    it.on_committed(0, SubtaskId("stranger", 0), ONE)
    assert it.on_committed(0, SINK, ONE) == []

    assert it.on_committed(0, COUNT, TWO) == [Finish()]
    assert commit_all(it, 0, TWO) == []


def test_stop_while_all_are_finished_joins_the_final_checkpoint_t115() -> None:
    """T115 and its neighbour T116: both waits are served by the same checkpoint."""
    it = started()
    finish_all(it, 0)

    assert it.on_stop(0, 1) == []
    assert complete(it, 0, ONE) == [Complete(ONE), Answer(1, ONE, None)]
    assert it.on_stop(0, 2) == [Answer(2, ONE, None)]
    assert commit_all(it, 0, ONE) == [Finish()]
    assert it.on_stop(0, 3) == [Answer(3, ONE, None)]


def test_subtask_that_finishes_during_the_stop_checkpoint_is_triggered_with_stop() -> None:
    """Its source ended by itself just before the stop: still one final checkpoint, not two."""
    it = started()
    it.on_stop(0, 1)
    it.on_ack(0, SOURCE, ONE, "s")

    assert it.on_finished(0, COUNT) == [trigger(ONE, COUNT, stop=True)]
    it.on_ack(0, COUNT, ONE, "c")
    it.on_ack(0, SINK, ONE, "k")
    assert it.on_published(0, ONE) == [Complete(ONE), Answer(1, ONE, None)]
    assert it.on_finished(0, SINK) == []


def test_subtasks_that_finished_before_the_start_make_the_first_checkpoint_final() -> None:
    """A job restored from its own end takes one more, and ends."""
    it = coordinator()
    finish_all(it, 0)

    assert it.on_start(5) == [trigger(ONE, *ALL)]


def test_sources_must_be_among_the_subtasks() -> None:
    """Else a checkpoint could never complete."""
    with pytest.raises(InvariantError, match="sources must be among the subtasks"):
        Coordinator[str](
            subtasks=[COUNT],
            sources=frozenset({SOURCE}),
            first_checkpoint=ONE,
            interval_us=None,
            timeout_us=1,
            pause_us=0,
            tolerated_failures=0,
        )
