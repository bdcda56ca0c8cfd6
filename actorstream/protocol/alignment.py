"""Barrier alignment: decides when a subtask may snapshot, and what of its channels belongs to the snapshot.

Aligned. A subtask may snapshot once the barrier of one checkpoint has come in on every
open channel. Until then a channel that has delivered its barrier stays blocked:
what follows the barrier belongs to the next checkpoint.

    channel 0   a  b  |1  c  d        |1 is the barrier of checkpoint 1
    channel 1   x  |1  y              the snapshot holds {a, b, x}; c, d, y wait

Overtaking. Where that takes too long, a barrier may go past the records queued before it. From then on the subtask
waits for nobody: it snapshots, and what was sent before a channel's barrier and is not in its state is recorded.

    channel 0   a |1 b            behind its barrier already: nothing of it is recorded (T12)
    channel 1   x y z |1 w        the barrier is taken out ahead of y and z: these two are recorded
    channel 2   p q ...           what is taken from now on is recorded, until barrier 1 comes, or overtakes it (T16)

The snapshot is whole when the barrier has come on every open channel. Meanwhile no channel is blocked: the state is
frozen, and what follows a barrier is not recorded.

A channel may be *in step*: one of a stream that all subtasks get, of which every snapshot has to hold the same. On it
a barrier overtakes nothing, and no snapshot is taken before it has come in its place there.

    channel 0   a |1 b            blocked
    channel 1   x y |1 z          may be overtaken, but not yet
    in step     p q |1            first p and q, whatever else waits: then the snapshot; x and y are recorded

A subtask without open channels (a source, or one whose inputs have all ended)
gets no barrier: the coordinator triggers it directly.

    newest seen       3      barriers and cancels at or below it are stale, but for the one in progress
    aborted through   5      known from the coordinator before any barrier: 4 and 5 are never started

Ids only grow and the coordinator runs one checkpoint at a time, so an abort of 5
says that everything up to 5 is over: one number remembers all aborted ids (T09).

Pure: no clock, no I/O, no asyncio. The caller feeds one event at a time and
carries out the returned effects in order, before it feeds the next event.

Sources: Chandy & Lamport 1985 (markers, recording of channels); Carbone et al. 2015, "Lightweight
Asynchronous Snapshots for Distributed Dataflows" (alignment); Flink's unaligned checkpoints, FLIP-76.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from actorstream.errors import InvariantError
from actorstream.model.ids import ChannelIndex, CheckpointId


@dataclass(frozen=True, slots=True)
class Block:
    """Take nothing more from `channel` until it is unblocked."""

    channel: ChannelIndex


@dataclass(frozen=True, slots=True)
class Unblock:
    """Take from `channels` again, in any order. Never empty."""

    channels: frozenset[ChannelIndex]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Send the barrier to all outputs, then freeze the state, with nothing in between (T11).

    `whole`: that is all; else what is in flight belongs to it, until `Whole`.
    """

    checkpoint: CheckpointId
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """Record whatever is taken from `channels` from now on, before it is worked on. Never empty."""

    channels: frozenset[ChannelIndex]


@dataclass(frozen=True, slots=True)
class RecordQueued:
    """Record what is queued in `channel` ahead of its barrier or end, and nothing of it any more."""

    channel: ChannelIndex


@dataclass(frozen=True, slots=True)
class Whole:
    """All that was in flight for `checkpoint` is recorded."""

    checkpoint: CheckpointId


@dataclass(frozen=True, slots=True)
class Discard:
    """Forget what was recorded for `checkpoint`, and record no more: it will never be."""

    checkpoint: CheckpointId


@dataclass(frozen=True, slots=True)
class ForwardCancel:
    """Send a `CancelBarrier` to all outputs: this subtask will never send that barrier."""

    checkpoint: CheckpointId


@dataclass(frozen=True, slots=True)
class Decline:
    """Tell the coordinator that this subtask will never complete `checkpoint`."""

    checkpoint: CheckpointId
    reason: str


Effect: TypeAlias = Block | Unblock | Snapshot | Record | RecordQueued | Whole | Discard | ForwardCancel | Decline


class Alignment:
    """State of one subtask's alignment. At most one checkpoint is in progress.

    Attributes:
        in_step: Channels on which no barrier overtakes; to be set before the first event.

    Invariants:
        - Blocked channels are a strict subset of the open ones, and there are none when idle or while recording.
        - Of one id there is at most one `Snapshot` or `ForwardCancel`, and ids only grow.
        - After a `Snapshot` that is not whole comes one `Whole` or `Discard` of its id, before anything of another.
    """

    def __init__(self, channels: int) -> None:
        """Start idle with channels 0..channels-1 open.

        Args:
            channels: Number of input channels; 0 for a source.

        Raises:
            InvariantError: `channels` is negative.
        """
        if channels < 0:
            raise InvariantError(f"a subtask has 0 or more input channels, got {channels}")
        self.in_step: frozenset[ChannelIndex] = frozenset()
        self._open = {ChannelIndex(index) for index in range(channels)}
        self._arrived: set[ChannelIndex] = set()
        self._recording = False
        self._current: CheckpointId | None = None
        self._newest = CheckpointId(0)
        self._aborted_through = CheckpointId(0)
        self._unable: str | None = None

    @property
    def blocked(self) -> frozenset[ChannelIndex]:
        """Channels that must not be read now."""
        return frozenset() if self._recording else frozenset(self._arrived)

    @property
    def recorded(self) -> frozenset[ChannelIndex]:
        """Channels of which whatever is taken has to be recorded."""
        return frozenset(self._open - self._arrived) if self._recording else frozenset()

    @property
    def aligning(self) -> CheckpointId | None:
        """The checkpoint that waits for barriers and has taken no snapshot yet: one that may be overtaken."""
        return None if self._recording else self._current

    def missing(self, checkpoint: CheckpointId) -> frozenset[ChannelIndex]:
        """Give the channels in step that `checkpoint` waits for before its barrier may overtake; none if it is over."""
        if checkpoint <= self._aborted_through or (checkpoint <= self._newest and checkpoint != self._current):
            return frozenset()
        missing = self.in_step & self._open
        return missing - self._arrived if checkpoint == self._current else missing

    @property
    def all_ended(self) -> bool:
        """Tell whether no channel is open: such a subtask is triggered by the coordinator."""
        return not self._open

    def on_barrier(self, channel: ChannelIndex, checkpoint: CheckpointId) -> list[Effect]:
        """Take in the barrier of `checkpoint` that arrived on `channel`.

        Raises:
            InvariantError: The channel has ended, or is blocked.
        """
        self._require_readable(channel, f"barrier {checkpoint}")
        effects = self._begin(checkpoint)
        if checkpoint != self._current or channel in self._arrived:
            return effects
        return effects + (self._arrive(channel) if self._recording else self._align(channel))

    def on_overtaking_barrier(self, channel: ChannelIndex, checkpoint: CheckpointId) -> list[Effect]:
        """Take in the barrier of `checkpoint`, taken out of `channel` ahead of what is queued there.

        The channel may be blocked: then an older checkpoint is in progress, which this one proves to be over.

        Raises:
            InvariantError: The channel has ended, or one in step is missing.
        """
        if channel not in self._open:
            raise InvariantError(f"barrier {checkpoint} came on channel {channel}, which has ended")
        if missing := self.missing(checkpoint):
            raise InvariantError(f"barrier {checkpoint} may not overtake before it is in on channels {sorted(missing)}")
        effects = self._begin(checkpoint)
        if checkpoint != self._current or channel in self._arrived:
            return effects
        effects += self._overtake(but=channel)
        return effects + (self._arrive(channel, queued=True) if self._recording else [])

    def on_timeout(self, checkpoint: CheckpointId) -> list[Effect]:
        """Wait no longer for the barriers of `checkpoint`: too much stands before them.

        Nothing, if the checkpoint is complete, given up, or has not begun here (T13), or a channel in step is missing.
        """
        return self._overtake() if checkpoint == self._current and not self.missing(checkpoint) else []

    def on_queued_end(self, channel: ChannelIndex) -> list[Effect]:
        """See the end of a channel behind what is queued there: no barrier will come on it.

        While recording, the end need not be waited for. It comes again, as `on_end_of_input`, when it is taken.
        """
        if not self._recording or channel in self._arrived or channel not in self._open:
            return []
        return self._arrive(channel, queued=True)

    def on_cancel(self, channel: ChannelIndex, checkpoint: CheckpointId) -> list[Effect]:
        """Take in a `CancelBarrier` that arrived on `channel`: upstream gave `checkpoint` up.

        Raises:
            InvariantError: The channel has ended, or is blocked.
        """
        self._require_readable(channel, f"cancel of {checkpoint}")
        reason = f"input channel {channel} cancelled it"
        if checkpoint == self._current:
            return self._give_up(reason)
        if self._is_stale(checkpoint):
            return []
        return [*self._subsume(checkpoint), ForwardCancel(checkpoint), Decline(checkpoint, reason)]

    def on_end_of_input(self, channel: ChannelIndex) -> list[Effect]:
        """Stop waiting for `channel`: it has delivered its last record.

        Raises:
            InvariantError: The channel has ended already, or is blocked (a
                blocked channel is not read, so it cannot deliver its end).
        """
        self._require_readable(channel, "end of input")
        self._open.remove(channel)
        self._arrived.discard(channel)
        return self._complete_if_whole() if self._recording else self._complete_if_aligned()

    def on_trigger(self, checkpoint: CheckpointId) -> list[Effect]:
        """Snapshot for `checkpoint` without a barrier, by order of the coordinator.

        Ignored while a channel is open (its barrier will come, or its end), and
        for an id that is old, done or aborted: a trigger may be repeated.
        """
        if self._open or self._is_stale(checkpoint) or checkpoint <= self._aborted_through:
            return []
        self._current = self._newest = checkpoint
        return self._complete_if_aligned()

    def on_abort(self, checkpoint: CheckpointId) -> list[Effect]:
        """Give `checkpoint` up by order of the coordinator, and whatever is older.

        It may come before the first barrier (then that barrier starts nothing),
        while aligning, or after the snapshot (then nothing is left to do).
        """
        self._aborted_through = max(self._aborted_through, checkpoint)
        if self._current is None or self._current > checkpoint:
            return []
        given_up = self._current
        if self._recording:
            return [Discard(given_up), *self._release()]
        return [ForwardCancel(given_up), *self._release()]

    def on_unable(self, reason: str) -> None:
        """From now on no snapshot can be taken (restoring, closing): decline each one instead (T10)."""
        self._unable = reason

    def on_able(self) -> None:
        """Snapshots can be taken again."""
        self._unable = None

    def _require_readable(self, channel: ChannelIndex, what: str) -> None:
        if channel not in self._open or channel in self.blocked:
            raise InvariantError(
                f"{what} came on channel {channel}, which is closed or blocked; only open channels may be read, "
                f"and those are {sorted(self._open - self.blocked)}"
            )

    def _begin(self, checkpoint: CheckpointId) -> list[Effect]:
        """Make `checkpoint` the one in progress, unless it is old, done or aborted."""
        if self._is_stale(checkpoint):
            return []
        effects = self._subsume(checkpoint)
        if checkpoint <= self._aborted_through:
            return [*effects, ForwardCancel(checkpoint)]
        self._current = checkpoint
        return effects

    def _is_stale(self, checkpoint: CheckpointId) -> bool:
        return checkpoint <= self._newest

    def _subsume(self, checkpoint: CheckpointId) -> list[Effect]:
        """Make `checkpoint` the newest one: it proves that the coordinator gave the older one up (T03)."""
        effects = self._give_up(f"subsumed by checkpoint {checkpoint}")
        self._newest = checkpoint
        return effects

    def _align(self, channel: ChannelIndex) -> list[Effect]:
        return [*self._block(channel), *self._complete_if_aligned()]

    def _block(self, channel: ChannelIndex) -> list[Effect]:
        self._arrived.add(channel)
        return [Block(channel)]

    def _is_aligned(self) -> bool:
        return self._arrived == self._open

    def _overtake(self, but: ChannelIndex | None = None) -> list[Effect]:
        """Snapshot now, and record what has not arrived. `but`: the channel whose barrier is at hand."""
        if self._current is None or self._recording:
            return []
        if self._unable is not None:
            return self._give_up(self._unable)
        effects: list[Effect] = [Snapshot(self._current, whole=False)]
        if self._arrived:
            effects.append(Unblock(frozenset(self._arrived)))
        self._recording = True
        rest = self.recorded - {but}
        return [*effects, Record(rest)] if rest else effects

    def _arrive(self, channel: ChannelIndex, *, queued: bool = False) -> list[Effect]:
        """Note that all of a channel that belongs to the snapshot is recorded, once what is `queued` is."""
        self._arrived.add(channel)
        return [*([RecordQueued(channel)] if queued else []), *self._complete_if_whole()]

    def _complete_if_whole(self) -> list[Effect]:
        if self._current is None or not self._is_aligned():
            return []
        done = self._current
        return [Whole(done), *self._release()]

    def _complete_if_aligned(self) -> list[Effect]:
        if self._current is None or not self._is_aligned():
            return []
        if self._unable is not None:
            return self._give_up(self._unable)
        done = self._current
        return [Snapshot(done), *self._release()]

    def _give_up(self, reason: str) -> list[Effect]:
        """Abandon the checkpoint in progress, if there is one."""
        if self._current is None:
            return []
        given_up = self._current
        # Once the barrier is sent on, those behind hear from the coordinator that it is over.
        gone: Effect = Discard(given_up) if self._recording else ForwardCancel(given_up)
        return [gone, Decline(given_up, reason), *self._release()]

    def _release(self) -> list[Effect]:
        """Become idle."""
        blocked = self.blocked
        self._arrived.clear()
        self._recording = False
        self._current = None
        return [Unblock(blocked)] if blocked else []
