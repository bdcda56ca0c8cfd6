"""How a job ends: a stop, or the end of all input. Savepoints and others: test_coordinator_ending.py."""

from __future__ import annotations

import pytest

from actorstream.errors import InvariantError
from actorstream.model.ids import CheckpointId, SubtaskId
from actorstream.protocol.coordinator import FINAL_RETRY_US, Coordinator
from actorstream.protocol.coordinator_effects import (
    Abort,
    Answer,
    Complete,
    Fail,
    Finish,
    Publish,
)
from tests.protocol.coordinating import (
    ALL,
    COUNT,
    ONE,
    SECOND,
    SINK,
    SOURCE,
    TWO,
    ack_all,
    commit_all,
    complete,
    coordinator,
    finish_all,
    started,
    trigger,
)

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


def test_one_whose_inputs_have_ended_and_who_goes_on_is_triggered_and_ends_nothing() -> None:
    """Timers that wait, or calls in flight: no barrier comes to it any more, and the checkpoint is not the last one."""
    it = started()
    assert it.on_finished(0, COUNT, whole=False) == []
    assert it.on_finished(0, SOURCE) == []
    assert it.on_time(SECOND) == [trigger(ONE, SOURCE, COUNT)]
    it.on_ack(SECOND, SOURCE, ONE, "s")
    assert it.on_finished(SECOND, SINK, whole=False) == [trigger(ONE, SINK)]
    assert it.on_finished(SECOND, COUNT) == [trigger(ONE, COUNT)]  # it may have been told before it knew
    it.on_ack(SECOND, COUNT, ONE, "c")
    it.on_ack(SECOND, SINK, ONE, "k")
    assert it.on_published(SECOND, ONE)[0] == Complete(ONE)
    assert it.on_finished(SECOND, SINK) == [trigger(TWO, SOURCE, COUNT, SINK)]  # the last one


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
