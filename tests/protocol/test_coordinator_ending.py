"""Savepoints, stops with one, and handing over to another attempt. All orders: test_coordinator_ending_orders.py."""

from __future__ import annotations

import pytest

from actorstream.model.ids import CheckpointId, SubtaskId
from actorstream.protocol.coordinator_effects import (
    Abort,
    Answer,
    Complete,
    Drain,
    Fail,
    Finish,
    HandOver,
    Keep,
    Publish,
    PublishSavepoint,
    Resume,
)
from actorstream.protocol.ending import SAVEPOINTS_MAX
from tests.protocol.coordinating import (
    ALL,
    COUNT,
    ONE,
    SECOND,
    SINK,
    SOURCE,
    THREE,
    TWO,
    ack_all,
    commit_all,
    complete,
    finish_all,
    started,
    trigger,
)


def reports(checkpoint: CheckpointId) -> dict[SubtaskId, str]:
    return {subtask: f"{subtask}@{checkpoint}" for subtask in ALL}


# ------------------------------------------------------------------------------------------- while it runs


def test_a_savepoint_commits_nothing_and_is_none_of_the_checkpoints_t77() -> None:
    """T77: no `Complete`, and an abort still names the newest checkpoint as the latest."""
    it = started(interval=None)

    assert it.on_savepoint(0, 7, "before") == [trigger(ONE)]
    assert ack_all(it, 0, ONE) == [PublishSavepoint(ONE, reports(ONE), "before")]
    assert it.on_published(0, ONE) == [Answer(7, ONE, None)]
    it.on_request(0, 8)
    assert it.on_decline(0, COUNT, TWO, "full")[0] == Abort(TWO, f"{COUNT} declined: full", None)


def test_a_savepoint_that_fails_does_not_count() -> None:
    """Somebody's wish for one must not end a job that is well."""
    it = started(tolerated=0)
    it.on_savepoint(0, 1, "x")

    assert it.on_decline(0, COUNT, ONE, "full") == [
        Abort(ONE, f"{COUNT} declined: full", None),
        Answer(1, None, f"savepoint 1 failed: {COUNT} declined: full"),
    ]
    it.on_savepoint(0, 2, "x")
    ack_all(it, 0, TWO)
    assert it.on_publish_failed(0, TWO, "there is one") == [
        Abort(TWO, "publishing failed: there is one", None),
        Answer(2, None, "savepoint 2 failed: publishing failed: there is one"),
    ]
    assert it.on_time(SECOND) == [trigger(THREE)]


def test_a_source_that_ends_during_a_savepoint_takes_its_snapshot_and_does_not_stop() -> None:
    """Its barrier may never come; the savepoint is not the last one, and sources stop at the last one only."""
    it = started(interval=None)
    it.on_savepoint(0, 1, "x")

    assert it.on_finished(0, COUNT) == [trigger(ONE, COUNT)]


def test_a_drain_during_a_savepoint_is_no_end_that_came_before_it() -> None:
    """The job would refuse to drain because it ends: a savepoint ends nothing."""
    it = started(interval=None)
    it.on_savepoint(0, 1, "x")

    assert it.on_stop(0, 2, drain=True) == [Drain()]
    assert complete(it, 0, ONE) == [Answer(1, ONE, None)]


def test_savepoints_go_before_manual_checkpoints_and_those_before_periodic_ones_t88() -> None:
    """T88: each its own; the requests for a checkpoint share one."""
    it = started()
    it.on_time(SECOND)
    it.on_request(SECOND, 1)
    it.on_savepoint(SECOND, 2, "a")
    it.on_savepoint(SECOND, 3, "b")

    assert complete(it, SECOND, ONE) == [Complete(ONE), trigger(TWO)]
    assert ack_all(it, SECOND, TWO) == [PublishSavepoint(TWO, reports(TWO), "a")]
    assert it.on_published(SECOND, TWO) == [Answer(2, TWO, None), trigger(THREE)]
    assert complete(it, SECOND, THREE) == [Answer(3, THREE, None), trigger(CheckpointId(4))]
    assert complete(it, SECOND, CheckpointId(4)) == [Complete(CheckpointId(4)), Answer(1, CheckpointId(4), None)]


def test_only_so_many_savepoints_wait_t88() -> None:
    """T88: a queue without bounds is a leak."""
    it = started(interval=None)
    it.on_request(0, 0)
    for request in range(SAVEPOINTS_MAX):
        assert it.on_savepoint(0, request, "x") == []

    assert it.on_savepoint(0, 5_000, "x") == [Answer(5_000, None, "1000 savepoints wait already: ask again later")]


def test_a_completed_checkpoint_leaves_a_savepoint_that_waits_alone_t82() -> None:
    """T82: it is not subsumed."""
    it = started()
    it.on_time(SECOND)
    it.on_savepoint(SECOND, 1, "x")

    assert complete(it, SECOND, ONE) == [Complete(ONE), trigger(TWO)]


def test_savepoints_that_wait_when_the_job_ends_are_made_of_its_final_checkpoint_t116() -> None:
    """T116: the state they asked for is that one; the job ends whether it works or not."""
    it = started(interval=None)
    it.on_request(0, 0)
    it.on_savepoint(0, 1, "x")
    it.on_savepoint(0, 2, "y")
    finish_all(it, 0)
    complete(it, 0, ONE)
    complete(it, 0, TWO)

    assert commit_all(it, 0, TWO) == [Keep(TWO, "x")]
    assert it.on_kept(0, None) == [Answer(1, TWO, None), Keep(TWO, "y")]
    assert it.on_savepoint(0, 3, "z") == []
    assert it.on_kept(0, "disk full") == [Answer(2, None, "disk full"), Keep(TWO, "z")]
    assert it.on_kept(0, None) == [Answer(3, TWO, None), Finish()]


# ------------------------------------------------------------------------------------------- stop with savepoint


def test_stop_with_savepoint_keeps_the_final_checkpoint_once_its_output_is_committed() -> None:
    """What it holds is out: a job restored from it elsewhere needs nothing of this place's sinks."""
    it = started()

    assert it.on_stop(0, 5, savepoint="last") == [trigger(ONE, stop=True)]
    assert ack_all(it, 0, ONE) == [Publish(ONE, reports(ONE), final=True)]
    assert it.on_published(0, ONE) == [Complete(ONE)]
    assert commit_all(it, 0, ONE) == [Keep(ONE, "last")]
    assert it.on_kept(0, None) == [Answer(5, ONE, None), Finish()]


def test_a_savepoint_that_cannot_be_made_lets_the_job_go_on() -> None:
    """The checkpoint stands; nothing was read behind it; the next one comes when it is due."""
    it = started()
    it.on_stop(0, 5, savepoint="last")
    complete(it, 0, ONE)
    commit_all(it, 0, ONE)

    assert it.on_kept(0, "disk full") == [Answer(5, None, "disk full"), Resume()]
    assert it.wake_at_us == SECOND
    assert it.on_time(SECOND) == [trigger(TWO)]
    complete(it, SECOND, TWO)
    it.on_stop(SECOND, 6, savepoint="last")
    complete(it, SECOND, THREE)
    assert commit_all(it, SECOND, THREE) == [Keep(THREE, "last")]
    assert it.on_kept(SECOND, None) == [Answer(6, THREE, None), Finish()]


@pytest.mark.parametrize("how", ["declined", "not published", "timed out"])
def test_a_stop_with_savepoint_whose_checkpoint_fails_lets_the_job_go_on(how: str) -> None:
    """Never half stopped, whatever failed; and it does not count against the job."""
    it = started(tolerated=0)
    it.on_stop(0, 5, savepoint="last")
    match how:
        case "declined":
            effects = it.on_decline(0, COUNT, ONE, "full")
        case "timed out":
            effects = it.on_time(10 * SECOND)
        case _:
            ack_all(it, 0, ONE)
            effects = it.on_publish_failed(0, ONE, "disk full")

    assert isinstance(effects[0], Abort)
    assert isinstance(effects[1], Answer)
    assert effects[1].error is not None
    assert effects[2] == Resume()
    assert Fail not in map(type, effects)
    if how != "timed out":
        assert it.on_time(SECOND) == [trigger(TWO)]


def test_a_plain_stop_beside_it_insists() -> None:
    """The final checkpoint is tried again, for both."""
    it = started(tolerated=3)
    it.on_stop(0, 5, savepoint="last")
    it.on_stop(0, 6)

    assert it.on_decline(0, COUNT, ONE, "full") == [Abort(ONE, f"{COUNT} declined: full", None)]
    assert it.on_time(SECOND) == [trigger(TWO, stop=True)]
    assert complete(it, SECOND, TWO) == [Complete(TWO), Answer(6, TWO, None)]
    assert commit_all(it, SECOND, TWO) == [Keep(TWO, "last")]
    assert it.on_kept(SECOND, "disk full") == [Answer(5, None, "disk full"), Finish()]


def test_a_plain_stop_that_comes_while_the_savepoint_is_made_ends_the_job_all_the_same() -> None:
    """Also where the savepoint fails."""
    it = started()
    it.on_stop(0, 5, savepoint="last")
    complete(it, 0, ONE)
    commit_all(it, 0, ONE)

    assert it.on_stop(0, 6) == [Answer(6, ONE, None)]
    assert it.on_kept(0, "disk full") == [Answer(5, None, "disk full"), Finish()]


def test_stop_with_savepoint_while_the_job_waits_for_its_final_commits_t116() -> None:
    """T116: all input has ended, the final checkpoint is complete, its output not committed yet."""
    it = started()
    finish_all(it, 0)
    complete(it, 0, ONE)

    assert it.on_stop(0, 5, savepoint="last") == []
    assert commit_all(it, 0, ONE) == [Keep(ONE, "last")]
    assert it.on_kept(0, None) == [Answer(5, ONE, None), Finish()]
    (answer,) = it.on_stop(0, 6, savepoint="later")
    assert isinstance(answer, Answer)
    assert answer.error == "the job ends with checkpoint 1: no later one will start"


def test_an_end_of_input_during_a_stop_with_savepoint_ends_the_job_though_the_savepoint_fails() -> None:
    """There is nothing to go on with."""
    it = started()
    it.on_stop(0, 5, savepoint="last")
    finish_all(it, 0)
    complete(it, 0, ONE)
    commit_all(it, 0, ONE)

    assert it.on_kept(0, "disk full") == [Answer(5, None, "disk full"), Finish()]


def test_a_savepoint_beside_a_stop_with_one_that_fails_ends_nothing() -> None:
    """It was asked for alone, before or after the final checkpoint; that it is made of that one is no wish to end."""
    it = started()
    it.on_stop(0, 5, savepoint="last")
    it.on_savepoint(0, 6, "beside")
    complete(it, 0, ONE)
    commit_all(it, 0, ONE)
    assert it.on_savepoint(0, 7, "later") == []

    assert it.on_kept(0, "disk full") == [Answer(5, None, "disk full"), Keep(ONE, "beside")]
    assert it.on_kept(0, None) == [Answer(6, ONE, None), Keep(ONE, "later")]
    assert it.on_kept(0, None) == [Answer(7, ONE, None), Resume()]


# ------------------------------------------------------------------------------------------- drain


def test_drain_lets_the_sources_end_first() -> None:
    """The final checkpoint comes when all has flowed off."""
    it = started(interval=None)

    assert it.on_stop(0, 5, savepoint="last", drain=True) == [Drain()]
    assert it.on_finished(0, SOURCE) == []
    assert it.on_finished(0, COUNT) == []
    assert it.on_finished(0, SINK) == [trigger(ONE, *ALL)]
    complete(it, 0, ONE)
    assert commit_all(it, 0, ONE) == [Keep(ONE, "last")]
    assert it.on_kept(0, None) == [Answer(5, ONE, None), Finish()]


def test_checkpoints_go_on_while_it_drains_and_a_second_drain_changes_nothing() -> None:
    """A drain may take long: windows fire."""
    it = started()
    it.on_stop(0, 5, savepoint="a", drain=True)

    assert it.on_stop(0, 6, savepoint="b", drain=True) == []
    assert it.on_stop(0, 7) == []
    assert it.on_time(SECOND) == [trigger(ONE)]
    complete(it, SECOND, ONE)
    finish_all(it, SECOND)
    assert complete(it, SECOND, TWO) == [Complete(TWO), Answer(7, TWO, None)]
    assert commit_all(it, SECOND, TWO) == [Keep(TWO, "a")]
    assert it.on_kept(SECOND, None) == [Answer(5, TWO, None), Keep(TWO, "b")]


def test_a_drain_that_comes_while_the_job_ends_is_told_so() -> None:
    """Its windows would not be closed."""
    it = started()
    it.on_stop(0, 5)

    assert it.on_stop(0, 6, savepoint="x", drain=True) == [
        Answer(6, None, "the job ends already, without draining: ask for the savepoint alone")
    ]


def test_a_drain_that_comes_when_the_final_checkpoint_is_complete_is_told_so_as_well() -> None:
    """Until the end: with a savepoint or without, no answer says that it was drained; what it is told to do works."""
    told = "the job ends already, without draining: ask for the savepoint alone"
    it = started()
    it.on_stop(0, 5)
    complete(it, 0, ONE)

    assert it.on_stop(0, 6, drain=True) == [Answer(6, None, told)]
    assert it.on_stop(0, 7, savepoint="x", drain=True) == [Answer(7, None, told)]
    assert it.on_savepoint(0, 8, "x") == []
    assert commit_all(it, 0, ONE) == [Keep(ONE, "x")]
    assert it.on_kept(0, None) == [Answer(8, ONE, None), Finish()]
    assert it.on_stop(0, 9, drain=True) == [Answer(9, None, "the job ends with checkpoint 1: no later one will start")]


def test_a_drain_that_comes_when_all_is_drained_is_the_same_one() -> None:
    """While the final checkpoint is under way, and when it is complete."""
    it = started(interval=None)
    it.on_stop(0, 5, savepoint="a", drain=True)
    assert finish_all(it, 0) == [trigger(ONE, *ALL)]

    assert it.on_stop(0, 6, savepoint="b", drain=True) == []
    complete(it, 0, ONE)
    assert it.on_stop(0, 7, savepoint="c", drain=True) == []
    assert it.on_stop(0, 8, drain=True) == [Answer(8, ONE, None)]
    assert commit_all(it, 0, ONE) == [Keep(ONE, "a")]
    assert it.on_kept(0, None) == [Answer(5, ONE, None), Keep(ONE, "b")]
    assert it.on_kept(0, None) == [Answer(6, ONE, None), Keep(ONE, "c")]
    assert it.on_kept(0, None) == [Answer(7, ONE, None), Finish()]


# ------------------------------------------------------------------------------------------- hand over


def test_hand_over_ends_the_attempt_when_all_is_committed() -> None:
    """The next attempt goes on from the checkpoint: nothing is read in between."""
    it = started()

    assert it.on_hand_over(0, 5) == [trigger(ONE, stop=True)]
    assert complete(it, 0, ONE) == [Complete(ONE)]
    assert commit_all(it, 0, ONE) == [HandOver()]
    assert it.on_time(SECOND) == []


def test_a_hand_over_whose_checkpoint_fails_lets_the_job_go_on() -> None:
    """As it was, with an answer."""
    it = started(tolerated=0)
    it.on_hand_over(0, 5)

    assert it.on_decline(0, COUNT, ONE, "full") == [
        Abort(ONE, f"{COUNT} declined: full", None),
        Answer(5, None, f"checkpoint 1 failed: {COUNT} declined: full"),
        Resume(),
    ]


def test_a_stop_beside_a_hand_over_wins() -> None:
    """The job ends; who wanted to hand over is told."""
    it = started()
    it.on_hand_over(0, 5)
    it.on_stop(0, 6)

    assert complete(it, 0, ONE) == [Complete(ONE), Answer(6, ONE, None)]
    assert commit_all(it, 0, ONE) == [
        Answer(5, None, "the job ends with checkpoint 1: no later one will start"),
        Finish(),
    ]


def test_a_stop_with_savepoint_that_comes_late_wins_over_a_hand_over_too() -> None:
    """The final checkpoint is complete, its output not yet committed."""
    it = started()
    it.on_hand_over(0, 5)
    complete(it, 0, ONE)

    assert it.on_stop(0, 6, savepoint="last") == []
    assert commit_all(it, 0, ONE) == [Keep(ONE, "last")]
    assert it.on_kept(0, None) == [
        Answer(6, ONE, None),
        Answer(5, None, "the job ends with checkpoint 1: no later one will start"),
        Finish(),
    ]


def test_a_failed_job_answers_everybody() -> None:
    """Those who wait for a savepoint, an end, or another attempt."""
    it = started(tolerated=0)
    it.on_time(SECOND)
    it.on_savepoint(SECOND, 1, "x")
    it.on_stop(SECOND, 2, savepoint="y")
    it.on_hand_over(SECOND, 3)

    effects = it.on_decline(SECOND, COUNT, ONE, "full")
    assert [effect.request for effect in effects if isinstance(effect, Answer)] == [2, 3, 1]
    assert isinstance(effects[-1], Fail)
