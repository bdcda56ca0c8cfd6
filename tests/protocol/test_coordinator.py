"""What must hold of the checkpoint coordinator, case by case. All orders of arrival: test_coordinator_orders.py."""

from __future__ import annotations

import pytest

from actorstream.model.ids import CheckpointId, SubtaskId
from actorstream.protocol.coordinator import Coordinator
from actorstream.protocol.coordinator_effects import (
    Abort,
    Answer,
    Complete,
    Fail,
    Publish,
)
from tests.protocol.coordinating import (
    ALL,
    COUNT,
    FOUR,
    ONE,
    SECOND,
    SINK,
    SOURCE,
    THREE,
    TWO,
    ack_all,
    complete,
    coordinator,
    finish_all,
    started,
    trigger,
)

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


MANY = tuple(SubtaskId("count", number) for number in range(8))


@pytest.mark.parametrize(("missing", "told"), [(5, ""), (6, " and 1 more"), (8, " and 3 more")])
def test_a_timeout_names_five_who_are_missing_and_counts_the_others(missing: int, told: str) -> None:
    """A message of 2,000 names helps nobody."""
    it = Coordinator[str](
        subtasks=MANY,
        sources=frozenset(MANY),
        first_checkpoint=ONE,
        interval_us=SECOND,
        timeout_us=1_234_567,
        pause_us=0,
        tolerated_failures=3,
    )
    it.on_start(0)
    it.on_time(SECOND)
    for subtask in MANY[missing:]:
        it.on_ack(SECOND, subtask, ONE, "")
    abort, *_ = it.on_time(3 * SECOND)
    assert isinstance(abort, Abort)
    assert abort.reason == (
        f"timed out after 1.23457 s without an acknowledgement of {', '.join(map(str, MANY[:5]))}{told}"
    )


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


def test_a_failure_to_publish_what_is_not_published_is_ignored_t74() -> None:
    """Of a checkpoint that is over, and of one that was never asked for: nothing fails for it."""
    it = started()
    it.on_time(SECOND)
    complete(it, SECOND + 1, ONE)
    assert it.on_publish_failed(SECOND + 2, ONE, "the disk is full") == []
    assert it.on_publish_failed(SECOND + 2, FOUR, "the disk is full") == []


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


def test_only_what_is_neither_asked_for_nor_the_last_may_overtake_t17() -> None:
    """T17: savepoints and the last checkpoint hold nothing that is in flight, so their barriers wait."""
    it = started()
    assert not it.may_overtake(), "nothing is in progress"
    it.on_time(SECOND)
    assert it.may_overtake()
    it.on_savepoint(SECOND, 1, "x")
    complete(it, SECOND, ONE)
    assert not it.may_overtake(), "a savepoint"
    it.on_stop(SECOND, 2)
    complete(it, SECOND, TWO)
    assert not it.may_overtake(), "the last one, at which sources stop"

    it = started()
    finish_all(it, 0)
    assert not it.may_overtake(), "the last one, as all inputs have ended"
