"""What must hold when barriers overtake records, in every order of arrival there is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from actorstream.errors import InvariantError
from actorstream.model.ids import ChannelIndex, CheckpointId
from actorstream.protocol.alignment import (
    Alignment,
    Block,
    Decline,
    Discard,
    Effect,
    ForwardCancel,
    Record,
    RecordQueued,
    Snapshot,
    Unblock,
    Whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

A, B, C = ChannelIndex(0), ChannelIndex(1), ChannelIndex(2)
ONE, TWO = CheckpointId(1), CheckpointId(2)


def these(*channels: ChannelIndex) -> frozenset[ChannelIndex]:
    return frozenset(channels)


def test_an_overtaking_barrier_snapshots_at_once_and_records_the_rest_t16() -> None:
    """The picture of the module, without its aligned channel.

    B   x y z |1          taken out ahead of y and z
    C   p q ...           recorded as it is taken, until its own barrier overtakes too
    """
    alignment = Alignment(channels=3)
    alignment.on_end_of_input(A)
    effects = alignment.on_overtaking_barrier(B, ONE)
    assert effects == [Snapshot(ONE, whole=False), Record(these(C)), RecordQueued(B)]
    assert (alignment.blocked, alignment.recorded, alignment.aligning) == (these(), these(C), None)
    assert alignment.on_overtaking_barrier(C, ONE) == [RecordQueued(C), Whole(ONE)]
    assert alignment.recorded == frozenset()


def test_channels_behind_their_barrier_are_not_recorded_when_it_takes_too_long_t12() -> None:
    """T12: what waits behind a barrier belongs to the next checkpoint."""
    alignment = Alignment(channels=3)
    alignment.on_barrier(A, ONE)
    assert alignment.aligning == ONE
    assert alignment.on_timeout(ONE) == [Snapshot(ONE, whole=False), Unblock(these(A)), Record(these(B, C))]
    assert alignment.on_overtaking_barrier(C, ONE) == [RecordQueued(C)]
    assert alignment.on_barrier(B, ONE) == [Whole(ONE)]


def test_a_checkpoint_that_is_over_waits_for_nobody_in_step() -> None:
    """Nor does the newest one, when it is whole."""
    alignment = Alignment(channels=2)
    alignment.in_step = these(A, B)
    assert alignment.missing(ONE) == these(A, B)
    alignment.on_barrier(A, ONE)
    assert alignment.missing(ONE) == these(B)
    assert Snapshot(ONE) in alignment.on_barrier(B, ONE)
    assert alignment.missing(ONE) == frozenset()
    assert alignment.missing(TWO) == these(A, B)


def test_a_timeout_of_what_is_over_or_has_not_begun_does_nothing_t13() -> None:
    """T13: after completion, after an abort, of an older one, before the first barrier."""
    alignment = Alignment(channels=2)
    assert alignment.on_timeout(ONE) == []
    alignment.on_barrier(A, ONE)
    assert Snapshot(ONE) in alignment.on_barrier(B, ONE)
    assert alignment.on_timeout(ONE) == []
    alignment.on_barrier(A, TWO)
    assert alignment.on_timeout(ONE) == []
    alignment.on_abort(TWO)
    assert alignment.on_timeout(TWO) == []


def test_a_barrier_in_its_place_after_the_switch_is_the_end_of_recording_t14() -> None:
    """T14: nothing is queued before it then, and nothing need be blocked: the state is frozen."""
    alignment = Alignment(channels=2)
    alignment.on_overtaking_barrier(A, ONE)
    assert alignment.on_barrier(B, ONE) == [Whole(ONE)]
    assert alignment.blocked == frozenset()


def test_who_has_no_timeout_of_its_own_follows_an_overtaking_barrier_t15() -> None:
    """T15: an alignment that has begun switches with the first barrier that overtakes."""
    alignment = Alignment(channels=3)
    alignment.on_barrier(A, ONE)
    assert alignment.on_overtaking_barrier(B, ONE) == [
        Snapshot(ONE, whole=False),
        Unblock(these(A)),
        Record(these(C)),
        RecordQueued(B),
    ]


def test_an_end_behind_the_queue_need_not_be_waited_for_t21() -> None:
    """T21: no barrier follows an end; taken later, the end is only an end."""
    alignment = Alignment(channels=2)
    assert alignment.on_queued_end(B) == [], "while nothing is recorded it says nothing"
    alignment.on_overtaking_barrier(A, ONE)
    assert alignment.on_queued_end(B) == [RecordQueued(B), Whole(ONE)]
    assert alignment.on_queued_end(B) == []
    assert alignment.on_end_of_input(B) == []


def test_what_stood_before_an_end_is_recorded_once_while_others_are_waited_for_t21() -> None:
    """T21: the end is seen again with each look at the queue; a channel that has ended is waited for no more."""
    alignment = Alignment(channels=3)
    alignment.on_overtaking_barrier(A, ONE)
    assert alignment.on_queued_end(B) == [RecordQueued(B)]
    assert alignment.on_queued_end(B) == []
    assert alignment.on_end_of_input(B) == []
    assert alignment.on_queued_end(B) == []
    assert alignment.on_overtaking_barrier(C, ONE) == [RecordQueued(C), Whole(ONE)]


def test_an_end_that_is_taken_while_recording_is_the_end_of_recording_t21() -> None:
    alignment = Alignment(channels=2)
    alignment.on_overtaking_barrier(A, ONE)
    assert alignment.on_end_of_input(A) == [], "the barrier had come"
    assert alignment.on_end_of_input(B) == [Whole(ONE)]
    assert alignment.on_trigger(TWO) == [Snapshot(TWO)]


def test_what_was_recorded_is_forgotten_when_the_checkpoint_is_over() -> None:
    """No cancel goes on: the barrier has; those behind hear of it from the coordinator."""
    for cancelled in (False, True):
        alignment = Alignment(channels=2)
        alignment.on_overtaking_barrier(A, ONE)
        if cancelled:
            assert alignment.on_cancel(B, ONE) == [Discard(ONE), Decline(ONE, "input channel 1 cancelled it")]
        else:
            assert alignment.on_abort(ONE) == [Discard(ONE)]
        assert alignment.recorded == frozenset()
        assert alignment.on_overtaking_barrier(B, ONE) == []


def test_a_newer_barrier_that_overtakes_frees_a_channel_that_is_blocked_t03() -> None:
    """T03: A waits behind barrier 1, which will never come on B; barrier 2 is queued behind it."""
    alignment = Alignment(channels=2)
    alignment.on_barrier(A, ONE)
    assert alignment.on_overtaking_barrier(A, TWO) == [
        ForwardCancel(ONE),
        Decline(ONE, "subsumed by checkpoint 2"),
        Unblock(these(A)),
        Snapshot(TWO, whole=False),
        Record(these(B)),
        RecordQueued(A),
    ]
    assert alignment.on_overtaking_barrier(B, ONE) == []


def test_nothing_is_recorded_where_no_snapshot_can_be_taken_t10() -> None:
    alignment = Alignment(channels=2)
    alignment.on_unable("closing")
    assert alignment.on_overtaking_barrier(A, ONE) == [ForwardCancel(ONE), Decline(ONE, "closing")]
    assert alignment.on_overtaking_barrier(B, ONE) == []


def test_a_barrier_overtakes_nothing_before_it_has_come_in_its_place_where_all_get_the_same() -> None:
    """The last picture of the module: B may be overtaken, but first comes what stands before the barrier on C.

    Else this subtask's snapshot would hold another part of C's stream than those of its neighbours.
    """
    alignment = Alignment(channels=3)
    alignment.in_step = these(C)
    assert alignment.missing(ONE) == these(C)
    alignment.on_barrier(A, ONE)
    assert alignment.on_timeout(ONE) == []
    with pytest.raises(InvariantError, match=r"barrier 1 may not overtake before it is in on channels \[2\]"):
        alignment.on_overtaking_barrier(B, ONE)
    assert alignment.on_barrier(C, ONE) == [Block(C)]
    assert alignment.missing(ONE) == frozenset()
    assert alignment.on_overtaking_barrier(B, ONE) == [
        Snapshot(ONE, whole=False),
        Unblock(these(A, C)),
        RecordQueued(B),
        Whole(ONE),
    ]


def test_nobody_waits_for_a_channel_in_step_that_has_ended_or_for_a_checkpoint_that_is_over() -> None:
    """What is over is taken out of its lane; otherwise it would be hurried for ever."""
    alignment = Alignment(channels=3)
    alignment.in_step = these(B, C)
    alignment.on_end_of_input(B)
    assert alignment.missing(TWO) == these(C)
    alignment.on_abort(ONE)
    assert alignment.missing(ONE) == frozenset()
    alignment.on_barrier(A, TWO)
    assert alignment.missing(ONE) == frozenset()
    alignment.on_end_of_input(C)
    assert alignment.missing(TWO) == frozenset()
    assert alignment.on_timeout(TWO) == [], "it was complete with the end"


def test_a_barrier_cannot_be_taken_out_of_an_ended_channel() -> None:
    alignment = Alignment(channels=2)
    alignment.on_end_of_input(A)
    with pytest.raises(InvariantError, match="barrier 1 came on channel 0, which has ended"):
        alignment.on_overtaking_barrier(A, ONE)


# ---- every order

# A feed is what is sent down one channel: letters are records, digits the barriers of these checkpoints, $ the end.
# The second member: which channels are in step.
FEEDS = [
    (("a1b", "x1y"), these()),
    (("ab1c", "1x$"), these()),
    (("a1b2c", "x1y2z"), these()),
    (("a2b", "x1y2z"), these()),
    (("a1b$", "x$"), these()),
    (("1a2", "1$", "x12"), these()),
    (("ab1c", "xy1z"), these(B)),
    (("ab1c", "x1$"), these(B)),
    (("a1b2c", "x1y2z"), these(B)),
    (("a2b", "x1y2z"), these(B)),
    (("a1b", "x$"), these(B)),
    (("1a2", "1$", "x12"), these(A, C)),
]


@dataclass
class Case:
    """A subtask's runtime, in small: lanes of what was sent and not taken, a state, what was recorded."""

    feeds: tuple[str, ...]
    in_step: frozenset[ChannelIndex] = frozenset()
    overtakes: bool = True
    moves: tuple[tuple[str, int], ...] = ()
    sent: list[int] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    snapshot: dict[int, list[str]] = field(default_factory=dict)
    recorded: dict[int, list[str]] = field(default_factory=dict)
    whole: set[int] = field(default_factory=set)
    over: set[int] = field(default_factory=set)
    recording: int = 0
    ahead: str = ""

    def __post_init__(self) -> None:
        """Make the moves."""
        self.alignment = Alignment(len(self.feeds))
        self.alignment.in_step = self.in_step
        self.sent = [0] * len(self.feeds)
        self.taken = [""] * len(self.feeds)
        self.lanes = [""] * len(self.feeds)
        for kind, channel in self.moves:
            self.move(kind, channel)

    def choices(self) -> Iterator[tuple[str, int]]:
        """Give all that could happen next."""
        for channel, feed in enumerate(self.feeds):
            lane = self.lanes[channel]
            if self.sent[channel] < len(feed):
                yield "send", channel
            if lane and ChannelIndex(channel) not in self.alignment.blocked:
                yield "take", channel
            if self.overtakes and channel not in self.in_step and any(item.isdigit() for item in lane):
                newest = max(item for item in lane if item.isdigit())
                if not self.alignment.missing(CheckpointId(int(newest))):
                    yield "pull", channel
            ends = lane.endswith("$") and not any(map(str.isdigit, lane))
            if ends and ChannelIndex(channel) in self.alignment.recorded:
                yield "see the end", channel
        if self.overtakes and self.alignment.aligning is not None:
            yield "timeout", 0

    def move(self, kind: str, channel: int) -> None:
        index, alignment = ChannelIndex(channel), self.alignment
        match kind:
            case "send":
                self.lanes[channel] += self.feeds[channel][self.sent[channel]]
                self.sent[channel] += 1
            case "timeout":
                assert alignment.aligning is not None
                self.carry_out(alignment.on_timeout(alignment.aligning))
            case "see the end":
                self.ahead = self.lanes[channel]
                self.carry_out(alignment.on_queued_end(index))
            case "pull":
                newest = max(item for item in self.lanes[channel] if item.isdigit())
                self.ahead = self.lanes[channel].partition(newest)[0]
                self.lanes[channel] = self.lanes[channel].replace(newest, "", 1)
                self.carry_out(alignment.on_overtaking_barrier(index, CheckpointId(int(newest))))
            case _:
                item, self.lanes[channel] = self.lanes[channel][0], self.lanes[channel][1:]
                if item.isalpha():
                    if index in alignment.recorded:
                        self.recorded[self.recording][channel] += item
                    self.taken[channel] += item
                elif item == "$":
                    self.carry_out(alignment.on_end_of_input(index))
                else:
                    self.carry_out(alignment.on_barrier(index, CheckpointId(int(item))))

    def carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Snapshot(checkpoint, whole):
                    assert checkpoint > max(self.snapshot, default=0)
                    self.snapshot[checkpoint] = list(self.taken)
                    self.recorded[checkpoint] = [""] * len(self.feeds)
                    self.recording = 0 if whole else checkpoint
                    if whole:
                        self.whole.add(checkpoint)
                case RecordQueued(channel):
                    self.recorded[self.recording][channel] += "".join(filter(str.isalpha, self.ahead))
                case Whole(checkpoint):
                    assert checkpoint == self.recording
                    self.whole.add(checkpoint)
                    self.recording = 0
                case Discard(checkpoint):
                    assert checkpoint == self.recording
                    self.over.add(checkpoint)
                    self.recording = 0
                case Decline(checkpoint) | ForwardCancel(checkpoint):
                    self.over.add(checkpoint)
                case Record(channels):
                    assert channels
                    assert self.recording
                case Block() | Unblock():
                    pass

    def check(self) -> None:
        """State and what was recorded are together all that was sent before the barrier, once and in order."""
        assert self.recording == 0
        assert not self.alignment.blocked
        for checkpoint in self.whole:
            for channel, feed in enumerate(self.feeds):
                sent = "".join(filter(str.isalpha, feed.partition(str(checkpoint))[0]))
                assert self.snapshot[checkpoint][channel] + self.recorded[checkpoint][channel] == sent
                assert not (channel in self.in_step and self.recorded[checkpoint][channel]), "the same for all"
        begun = [n for n in (1, 2) if any(str(n) in feed for feed in self.feeds)]
        if all(str(begun[-1]) in feed or feed.endswith("$") for feed in self.feeds):
            assert begun[-1] in self.whole, "its barriers have come everywhere, and no newer one"


@pytest.mark.parametrize(("feeds", "in_step"), FEEDS)
def test_state_and_recorded_records_are_a_consistent_cut_in_every_order(
    feeds: tuple[str, ...], in_step: frozenset[ChannelIndex]
) -> None:
    """All orders of sending, taking, overtaking and timing out: state + recorded = sent before the barrier.

    Of a channel in step the state alone has all of that.

    Orders that lead to the same place are tried once.
    """
    seen: set[object] = set()
    ends = 0
    waiting: list[tuple[tuple[str, int], ...]] = [()]
    while waiting:
        case = Case(feeds, in_step, moves=waiting.pop())
        place = (
            *case.lanes, *case.sent, *case.taken, str(case.snapshot), str(case.recorded), str(case.whole),
            str(case.over), case.recording, case.alignment.blocked, case.alignment.recorded, case.alignment.aligning,
        )  # fmt: skip
        if place in seen:
            continue
        seen.add(place)
        choices = list(case.choices())
        if not choices:
            ends += 1
            case.check()
        waiting += [(*case.moves, choice) for choice in choices]
    assert ends
