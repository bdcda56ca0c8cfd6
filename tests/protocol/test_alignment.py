"""What must hold of barrier alignment, whatever the order of arrival."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.errors import InvariantError
from actorstream.model.ids import ChannelIndex, CheckpointId
from actorstream.protocol.alignment import Alignment, Block, Decline, Effect, ForwardCancel, Snapshot, Unblock

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

A, B, C = ChannelIndex(0), ChannelIndex(1), ChannelIndex(2)
ONE, TWO, THREE = CheckpointId(1), CheckpointId(2), CheckpointId(3)


def unblock(*channels: ChannelIndex) -> Unblock:
    return Unblock(frozenset(channels))


def test_first_barrier_blocks_only_its_own_channel() -> None:
    """The picture of the module.

    A   a b |1 c d      c and d wait
    B   x   |1 y        until B's barrier is in
    """
    alignment = Alignment(channels=2)

    assert alignment.on_barrier(A, ONE) == [Block(A)]
    assert alignment.blocked == {A}
    assert alignment.on_barrier(B, ONE) == [Block(B), Snapshot(ONE), unblock(A, B)]
    assert alignment.blocked == frozenset()


def test_source_snapshots_when_triggered_and_once_only() -> None:
    """No channels: the coordinator's trigger is all there is, and it may be repeated."""
    source = Alignment(channels=0)

    assert source.all_ended
    assert source.on_trigger(ONE) == [Snapshot(ONE)]
    assert source.on_trigger(ONE) == []
    assert source.on_trigger(TWO) == [Snapshot(TWO)]


def test_trigger_is_ignored_while_a_channel_is_open() -> None:
    """Its barrier or its end is still to come, and the cut must wait for that."""
    alignment = Alignment(channels=1)

    assert alignment.on_trigger(ONE) == []
    assert alignment.on_end_of_input(A) == []
    assert alignment.on_trigger(ONE) == [Snapshot(ONE)]


def test_end_of_input_counts_as_aligned_t01() -> None:
    """T01: B ends while 1 aligns: nobody waits for it any more.

    A   |1 ...
    B   x ▮
    """
    alignment = Alignment(channels=2)
    alignment.on_barrier(A, ONE)

    assert alignment.on_end_of_input(B) == [Snapshot(ONE), unblock(A)]


def test_barrier_and_end_of_one_channel_count_once_t02() -> None:
    """T02: a set of channels, not a counter: A's end must not stand for C's barrier.

    A   |1 |2 ▮
    B   |1 |2
    C   |1    ...
    """
    alignment = Alignment(channels=3)
    for channel in (A, B, C):
        alignment.on_barrier(channel, ONE)
    assert alignment.on_end_of_input(A) == []

    assert alignment.on_barrier(B, TWO) == [Block(B)]
    assert alignment.on_barrier(C, TWO) == [Block(C), Snapshot(TWO), unblock(B, C)]


def test_newer_barrier_subsumes_the_older_checkpoint_t03() -> None:
    """T03: B never delivers barrier 1, so 2 proves that 1 was given up.

    A   |1 ...
    B   |2
    """
    alignment = Alignment(channels=2)
    alignment.on_barrier(A, ONE)

    assert alignment.on_barrier(B, TWO) == [
        ForwardCancel(ONE),
        Decline(ONE, "subsumed by checkpoint 2"),
        unblock(A),
        Block(B),
    ]


def test_obsolete_barrier_is_ignored_and_leaves_its_channel_open_t04() -> None:
    """T04: barrier 1 was still on its way when 2 started on the other channel."""
    alignment = Alignment(channels=2)
    alignment.on_barrier(B, TWO)

    assert alignment.on_barrier(A, ONE) == []
    assert alignment.blocked == {B}
    assert alignment.on_barrier(A, TWO) == [Block(A), Snapshot(TWO), unblock(A, B)]


def test_cancel_before_any_barrier_is_remembered_t05() -> None:
    """T05: barriers of a cancelled checkpoint must not start an alignment that can never end."""
    alignment = Alignment(channels=2)

    assert alignment.on_cancel(A, ONE) == [ForwardCancel(ONE), Decline(ONE, "input channel 0 cancelled it")]
    assert alignment.on_barrier(B, ONE) == []
    assert alignment.blocked == frozenset()


def test_what_came_on_a_channel_that_has_ended_is_named() -> None:
    alignment = Alignment(channels=2)
    alignment.on_end_of_input(A)
    with pytest.raises(InvariantError, match=r"barrier 1 came on channel 0, .* those are \[1\]"):
        alignment.on_barrier(A, ONE)
    with pytest.raises(InvariantError, match=r"cancel of 1 came on channel 0"):
        alignment.on_cancel(A, ONE)


def test_interleaved_cancels_go_downstream_once_each_t06() -> None:
    """T06: two upstreams each cancel 1 and 2; a flood would multiply with every hop."""
    alignment = Alignment(channels=2)

    effects = alignment.on_cancel(A, ONE) + alignment.on_cancel(A, TWO)
    effects += alignment.on_cancel(B, ONE) + alignment.on_cancel(B, TWO)

    assert [e for e in effects if isinstance(e, ForwardCancel)] == [ForwardCancel(ONE), ForwardCancel(TWO)]


def test_cancel_of_a_subsumed_checkpoint_does_not_touch_the_newer_one_t07() -> None:
    """T07: 1 is over already; 2 goes on aligning."""
    alignment = Alignment(channels=2)
    alignment.on_barrier(A, TWO)

    assert alignment.on_cancel(B, ONE) == []
    assert alignment.on_barrier(B, TWO) == [Block(B), Snapshot(TWO), unblock(A, B)]


@pytest.mark.parametrize("overtakes", [True, False])
def test_next_barrier_and_cancel_work_in_both_orders_t08(overtakes: bool) -> None:
    """T08: barrier 2 on one channel may come before or after the cancel of 1 on the other."""
    alignment = Alignment(channels=2)
    alignment.on_barrier(A, ONE)
    if overtakes:
        alignment.on_barrier(B, TWO)
        alignment.on_cancel(A, ONE)
        done = alignment.on_barrier(A, TWO)
    else:
        assert alignment.on_cancel(B, ONE)[-1] == unblock(A)
        alignment.on_barrier(B, TWO)
        done = alignment.on_barrier(A, TWO)

    assert done == [Block(A), Snapshot(TWO), unblock(A, B)]


def test_newer_cancel_frees_what_waited_for_the_older_barrier_t08() -> None:
    """T08: B skips 1 and cancels 2: A must not wait for a barrier 1 that never comes."""
    alignment = Alignment(channels=2)
    alignment.on_barrier(A, ONE)

    effects = alignment.on_cancel(B, TWO)

    assert [e for e in effects if isinstance(e, ForwardCancel)] == [ForwardCancel(ONE), ForwardCancel(TWO)]
    assert unblock(A) in effects


def test_abort_before_the_barrier_forwards_a_cancel_instead_of_a_snapshot_t09() -> None:
    """T09: downstream must not wait; and the notice may run ahead of several checkpoints."""
    alignment = Alignment(channels=2)
    for checkpoint in range(1, 1000):
        assert alignment.on_abort(CheckpointId(checkpoint)) == []

    assert alignment.on_barrier(A, CheckpointId(999)) == [ForwardCancel(CheckpointId(999))]
    assert alignment.on_barrier(B, CheckpointId(999)) == []
    assert alignment.on_barrier(A, CheckpointId(1000)) == [Block(A)]


def test_abort_while_aligning_frees_the_channels_t09() -> None:
    """T09: the coordinator knows, so nothing is declined."""
    alignment = Alignment(channels=2)
    alignment.on_barrier(A, ONE)

    assert alignment.on_abort(ONE) == [ForwardCancel(ONE), unblock(A)]
    assert alignment.on_barrier(B, ONE) == []


def test_abort_after_the_snapshot_does_nothing_t09() -> None:
    """T09: the barrier has gone out; what was written stays good for the next checkpoint."""
    alignment = Alignment(channels=1)
    alignment.on_barrier(A, ONE)

    assert alignment.on_abort(ONE) == []
    assert alignment.on_barrier(A, TWO) == [Block(A), Snapshot(TWO), unblock(A)]


def test_abort_of_an_older_checkpoint_leaves_the_newer_one_alone_t09() -> None:
    """T09: a late notice."""
    alignment = Alignment(channels=2)
    alignment.on_barrier(A, TWO)

    assert alignment.on_abort(ONE) == []
    assert alignment.blocked == {A}


def test_trigger_after_the_abort_is_ignored_t09() -> None:
    """T09: a source may learn of the abort first."""
    source = Alignment(channels=0)
    source.on_abort(TWO)

    assert source.on_trigger(TWO) == []
    assert source.on_trigger(THREE) == [Snapshot(THREE)]


def test_unable_subtask_declines_and_cancels_downstream_t10() -> None:
    """T10: both, or the coordinator or the next subtask waits until the timeout."""
    alignment = Alignment(channels=2)
    alignment.on_unable("still restoring")
    alignment.on_barrier(A, ONE)

    assert alignment.on_barrier(B, ONE) == [
        Block(B),
        ForwardCancel(ONE),
        Decline(ONE, "still restoring"),
        unblock(A, B),
    ]
    alignment.on_able()
    alignment.on_barrier(A, TWO)
    assert Snapshot(TWO) in alignment.on_barrier(B, TWO)


def test_unable_source_declines_its_trigger_t10() -> None:
    """T10: also without channels."""
    source = Alignment(channels=0)
    source.on_unable("closing")

    assert source.on_trigger(ONE) == [ForwardCancel(ONE), Decline(ONE, "closing")]


def test_item_on_a_blocked_or_ended_channel_is_a_bug() -> None:
    """Nothing is read from such a channel, so nothing can arrive on it."""
    alignment = Alignment(channels=3)
    alignment.on_barrier(A, ONE)
    alignment.on_end_of_input(B)

    with pytest.raises(InvariantError, match=r"barrier 2 came on channel 0.*those are \[2\]"):
        alignment.on_barrier(A, TWO)
    with pytest.raises(InvariantError, match="end of input came on channel 1"):
        alignment.on_end_of_input(B)
    with pytest.raises(InvariantError, match="0 or more input channels, got -1"):
        Alignment(channels=-1)


# A feed is one channel's input: r a record, b the next barrier, c the cancel of the next checkpoint, - that
# checkpoint passes by unseen, $ the end (nothing follows).
FEEDS = st.lists(st.text("rrbbbc-", max_size=9).flatmap(lambda t: st.sampled_from([t, t + "$"])), max_size=4)
NOTICES = st.lists(st.tuples(st.sampled_from(["abort", "trigger"]), st.integers(1, 7)), max_size=4)


@settings(max_examples=150, deadline=None)
@given(feeds=FEEDS, notices=NOTICES, order=st.randoms(use_true_random=False))
def test_snapshots_are_consistent_cuts_and_nothing_waits_for_ever(
    feeds: Sequence[str], notices: Sequence[tuple[str, int]], order: random.Random
) -> None:
    """Channels are read and notices come in any order; a blocked channel is never read.

    What the coordinator sees as a timeout (nothing can be read, something is blocked) is answered with its abort.
    """
    subtask = _Subtask(feeds)
    waiting = list(notices)
    while True:
        ready = subtask.readable()
        if not ready and not waiting:
            if subtask.current is None:
                break
            assert subtask.waits_for_a_quiet_channel(subtask.current)
            subtask.notice("abort", subtask.current)
            assert subtask.current is None, "an abort ends the alignment"
            continue
        pick = order.randrange(len(ready) + len(waiting))
        if pick < len(ready):
            subtask.read(ready[pick])
        else:
            subtask.notice(*waiting.pop(pick - len(ready)))

    assert subtask.blocked == frozenset()
    assert all(not rest for rest in subtask.rest), "a channel stayed blocked for ever"
    assert subtask.must_complete() <= subtask.done


@dataclass
class _Subtask:
    """Carries effects out as a runtime would, and checks each against the feeds."""

    feeds: Sequence[str]
    blocked: frozenset[int] = frozenset()
    current: int | None = None
    done: set[int] = field(default_factory=set)
    over: list[int] = field(default_factory=list)
    declined: set[int] = field(default_factory=set)
    aborted: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.alignment = Alignment(len(self.feeds))
        self.rest = [list(feed) for feed in self.feeds]
        self.seen = ["" for _ in self.feeds]

    def readable(self) -> list[int]:
        return [index for index, rest in enumerate(self.rest) if rest and index not in self.blocked]

    def read(self, index: int) -> None:
        channel, item = ChannelIndex(index), self.rest[index].pop(0)
        self.seen[index] += item
        checkpoint = CheckpointId(number(self.seen[index]))
        if item == "b":
            self.carry_out(self.alignment.on_barrier(channel, checkpoint))
        elif item == "c":
            self.carry_out(self.alignment.on_cancel(channel, checkpoint))
        elif item == "$":
            self.carry_out(self.alignment.on_end_of_input(channel))

    def notice(self, kind: str, checkpoint: int) -> None:
        if kind == "abort":
            self.aborted.add(checkpoint)
            self.carry_out(self.alignment.on_abort(CheckpointId(checkpoint)))
        else:
            self.carry_out(self.alignment.on_trigger(CheckpointId(checkpoint)))

    def carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Block(channel):
                    assert channel not in self.blocked
                    self.blocked |= {channel}
                    self.current = number(self.seen[channel])
                case Unblock(channels):
                    assert channels == self.blocked, "a checkpoint that is over leaves nothing blocked"
                    self.blocked, self.current = frozenset(), None
                case Snapshot(checkpoint):
                    self.assert_cut(checkpoint)
                    self.done.add(checkpoint)
                    self.over.append(checkpoint)
                case ForwardCancel(checkpoint):
                    self.over.append(checkpoint)
                case Decline(checkpoint):
                    assert checkpoint not in self.declined | self.done
                    self.declined.add(checkpoint)
                case _:
                    raise AssertionError(f"{effect}, where no barrier overtakes")
        assert self.blocked == self.alignment.blocked
        assert self.over == sorted(set(self.over)), "each id is snapshot or cancelled once, in order"

    def assert_cut(self, checkpoint: int) -> None:
        assert checkpoint > max(self.aborted, default=0)
        for seen in self.seen:
            at_barrier = seen.endswith("b") and number(seen) == checkpoint
            assert at_barrier or seen.endswith("$"), f"{seen!r} is not cut at {checkpoint}"

    def waits_for_a_quiet_channel(self, checkpoint: int) -> bool:
        """Tell whether an open channel has not spoken of `checkpoint` yet: the only good reason to wait."""
        return any(number(seen.rstrip("r-")) < checkpoint and not seen.endswith("$") for seen in self.seen)

    def must_complete(self) -> set[int]:
        """Checkpoints whose barrier every feed holds, or has ended before, and that nobody gave up."""
        newest = max((number(feed) for feed in self.feeds), default=0)
        candidates = range(max(self.aborted, default=0) + 1, newest + 1)
        return {n for n in candidates if all(delivers(feed, n) for feed in self.feeds)} - self.unseen()

    def unseen(self) -> set[int]:
        """Checkpoints with no barrier anywhere: only a trigger could start them."""
        return {n for n in range(10) if not any(signal(feed, n) == "b" for feed in self.feeds)}


def number(items: str) -> int:
    return sum(item in "bc-" for item in items)


def signal(feed: str, checkpoint: int) -> str:
    signals = [item for item in feed if item in "bc-"]
    return signals[checkpoint - 1] if 0 < checkpoint <= len(signals) else ""


def delivers(feed: str, checkpoint: int) -> bool:
    return signal(feed, checkpoint) == "b" or (feed.endswith("$") and number(feed) < checkpoint)
