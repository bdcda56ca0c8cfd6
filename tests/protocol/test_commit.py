"""What must hold of sink commits, whatever the order and repetition of notices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.errors import InvariantError
from actorstream.model.ids import CheckpointId
from actorstream.protocol.commit import Commit, Committed, Effect, PendingCommit, SinkCommits

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

ONE, TWO, THREE = CheckpointId(1), CheckpointId(2), CheckpointId(3)


def sink_with(*checkpoints: CheckpointId) -> SinkCommits:
    sink = SinkCommits()
    for checkpoint in checkpoints:
        sink.on_pre_commit(checkpoint, b"t%d" % checkpoint)
    return sink


def test_token_is_committed_only_when_its_checkpoint_is_complete() -> None:
    """And it stays in the snapshots until the commit is known to be done."""
    sink = sink_with(ONE)
    assert sink.pending() == (PendingCommit(ONE, b"t1"),)

    assert sink.on_complete(ONE) == [Commit(ONE, b"t1")]
    assert sink.pending() == (PendingCommit(ONE, b"t1"),)
    assert sink.on_committed(ONE) == [Committed(ONE)]
    assert sink.pending() == ()


def test_restored_tokens_are_committed_first_t101() -> None:
    """T101: the crash came between the manifest and the commit. Several old subtasks may hold one checkpoint."""
    sink = SinkCommits()

    restored = [PendingCommit(TWO, b"b"), PendingCommit(ONE, b"a"), PendingCommit(TWO, b"c")]
    assert sink.on_restored(restored) == [Commit(ONE, b"a"), Commit(TWO, b"b"), Commit(TWO, b"c")]
    assert sink.on_committed(ONE) == []
    assert sink.on_committed(TWO) == []
    assert sink.on_committed(TWO) == [Committed(TWO)]


def test_nothing_restored_is_nothing_to_do_t101() -> None:
    """T101: an empty start."""
    assert SinkCommits().on_restored([]) == []


def test_repeated_notice_commits_nothing_again_t102() -> None:
    """T102: neither while the commit runs nor after it; the report may come again."""
    sink = sink_with(ONE)
    sink.on_complete(ONE)

    assert sink.on_complete(ONE) == []
    sink.on_committed(ONE)
    assert sink.on_complete(ONE) == [Committed(ONE)]


def test_later_notice_commits_all_earlier_tokens_once_t103() -> None:
    """T103: the notice of 2 comes before that of 1."""
    sink = sink_with(ONE, TWO)

    assert sink.on_complete(TWO) == [Commit(ONE, b"t1"), Commit(TWO, b"t2")]
    assert sink.on_complete(ONE) == []
    sink.on_committed(ONE)
    assert sink.on_committed(TWO) == [Committed(TWO)]


def test_aborted_checkpoints_output_rides_along_t104() -> None:
    """T104: 1 was aborted; its records are in the state of 2 and must come out with it."""
    sink = sink_with(ONE)
    sink.on_pre_commit(TWO, b"t2")
    assert sink.pending() == (PendingCommit(ONE, b"t1"), PendingCommit(TWO, b"t2"))

    assert sink.on_complete(TWO) == [Commit(ONE, b"t1"), Commit(TWO, b"t2")]


def test_restored_tokens_are_taken_before_anything_is_written_t105() -> None:
    """T105: what an earlier attempt left open must be settled first, or the order is lost."""
    sink = sink_with(THREE)

    with pytest.raises(InvariantError, match="restored tokens came after checkpoint 3 was pre-committed"):
        sink.on_restored([PendingCommit(ONE, b"a")])


def test_tail_is_committed_with_the_final_checkpoint_t106() -> None:
    """T106: the end of input pre-commits under last + 1, and an idle final one is reported as well."""
    sink = sink_with(ONE)
    sink.on_complete(ONE)
    sink.on_committed(ONE)
    sink.on_pre_commit(TWO, None)

    assert sink.on_complete(TWO) == [Committed(TWO)]


def test_report_waits_for_every_token_the_notice_covers_t107() -> None:
    """T107: a job must not end while a commit runs, also one that a later notice added."""
    sink = sink_with(ONE, TWO)
    sink.on_complete(ONE)
    assert sink.on_complete(TWO) == [Commit(TWO, b"t2")]

    assert sink.on_committed(ONE) == []
    assert sink.idle_through() is None
    assert sink.on_committed(TWO) == [Committed(TWO)]
    assert sink.idle_through() == TWO


def test_newer_tokens_wait_for_their_own_notice() -> None:
    """2 is pre-committed while 1 completes."""
    sink = sink_with(ONE, TWO)
    sink.on_complete(ONE)

    assert sink.on_committed(ONE) == [Committed(ONE)]
    assert sink.pending() == (PendingCommit(TWO, b"t2"),)


def test_events_out_of_order_are_bugs() -> None:
    """A barrier does not go back, and commits are carried out in order."""
    sink = sink_with(ONE, TWO)

    with pytest.raises(InvariantError, match="pre-commit of checkpoint 2 came after 2"):
        sink.on_pre_commit(TWO, b"x")
    with pytest.raises(InvariantError, match="commit of checkpoint 1 was reported, expected none"):
        sink.on_committed(ONE)
    sink.on_complete(TWO)
    with pytest.raises(InvariantError, match="commit of checkpoint 2 was reported, expected 1"):
        sink.on_committed(TWO)


STEPS = st.sampled_from(["write", "write", "barrier", "barrier", "complete", "notice", "notice", "work", "crash"])


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEPS, min_size=10, max_size=60), pick=st.randoms(use_true_random=False))
def test_every_record_is_committed_once_and_in_order(steps: Sequence[str], pick: random.Random) -> None:
    """Records 0, 1, 2 ... are written; notices come in any order and repeatedly; crashes restore the newest complete.

    The target takes a token once (T102). What is committed must always be 0..m without a gap, and all of it in the end.
    """
    world = _World()
    for step in steps:
        world.step(step, pick)
    world.step("barrier", pick)
    world.step("complete", pick)
    world.notices = [world.newest_complete]
    world.step("notice", pick)
    while world.to_do:
        world.step("work", pick)

    assert world.committed == list(range(world.written))
    assert world.sink.pending() == ()


class _World:
    """A source that can go back, a sink, manifests, and a target that knows the tokens it has taken."""

    def __init__(self) -> None:
        self.sink = SinkCommits()
        self.written = 0
        self.open: list[int] = []
        self.last_id = 0
        self.cut: dict[int, tuple[int, tuple[PendingCommit, ...]]] = {0: (0, ())}
        self.newest_complete = 0
        self.notices: list[int] = []
        self.to_do: list[Commit] = []
        self.seen: set[bytes] = set()
        self.committed: list[int] = []

    def step(self, step: str, pick: random.Random) -> None:
        match step:
            case "write":
                self.open.append(self.written)
                self.written += 1
            case "barrier":
                self.last_id += 1
                token = " ".join(map(str, self.open)).encode() if self.open else None
                self.sink.on_pre_commit(CheckpointId(self.last_id), token)
                self.open = []
                self.cut[self.last_id] = (self.written, self.sink.pending())
            case "complete" if self.last_id in self.cut:
                self.newest_complete = self.last_id
                self.notices.append(self.last_id)
            case "notice" if self.notices:
                notice = self.notices[pick.randrange(len(self.notices))]
                self.carry_out(self.sink.on_complete(CheckpointId(notice)))
            case "work" if self.to_do:
                commit = self.to_do.pop(0)
                assert commit.checkpoint <= self.newest_complete, "nothing is committed early"
                if commit.token not in self.seen:
                    self.seen.add(commit.token)
                    self.committed += map(int, commit.token.split())
                assert self.committed == list(range(len(self.committed))), "lost, doubled or out of order"
                self.carry_out(self.sink.on_committed(commit.checkpoint))
            case "crash":
                self.restore()
            case _:
                assert step in {"complete", "notice", "work"}, "there was nothing to do for it"

    def restore(self) -> None:
        self.written, pending = self.cut[self.newest_complete]
        self.cut = {self.newest_complete: (self.written, pending)}
        self.sink, self.open, self.to_do, self.notices = SinkCommits(), [], [], []
        self.carry_out(self.sink.on_restored(pending))

    def carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Commit():
                    assert effect not in self.to_do, "one run commits each token once"
                    self.to_do.append(effect)
                case Committed(checkpoint):
                    assert not self.to_do
                    assert all(pending.checkpoint > checkpoint for pending in self.sink.pending())
