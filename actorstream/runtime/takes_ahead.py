"""An actor that takes records ahead of those that it is done with, and so has some in flight at every barrier.

    lanes ──take──> queue: begun | waiting for a slot ──ready, in order──> the chain

What was taken and not handed on is still in flight, for everything that counts: event time enters with what is handed
on, so a watermark waits for the records before it, and a snapshot records the queue as what it is, records of the
channels that are not in the state yet (Chandy and Lamport). So a snapshot never waits for a call, and a restore, at any
parallelism too, gives these records back before anything new (flights.py).

A barrier that comes in a lane while all slots are taken does not wait either: what is before it is taken into the
queue, not begun. Nor does the end of an input: no barrier comes from who has ended, and whoever has not taken that is
not triggered in its stead.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Protocol, cast

from actorstream.errors import InvariantError
from actorstream.model.ids import ChannelIndex
from actorstream.model.signals import Barrier, CancelBarrier, EndOfInput
from actorstream.runtime.call_queue import Ended
from actorstream.runtime.subtask import Subtask

if TYPE_CHECKING:
    from actorstream.graph.plan import Chain
    from actorstream.model.batch import Batch
    from actorstream.model.ids import CheckpointId, SubtaskId
    from actorstream.model.signals import ChannelItem
    from actorstream.runtime.call_queue import CallQueue, Signal
    from actorstream.runtime.deployment import Deployment
    from actorstream.runtime.overtaking import Overtaking
    from actorstream.state.operator_state import OperatorState


class _BeginMore:
    """Taken where there is more to begin than fits into a turn: nothing is done with it."""


_BEGIN_MORE = cast("ChannelItem", _BeginMore())


class TakenAhead(Protocol):
    """What was taken, and the calls that are made for it.

    Attributes:
        failure: What the actor fails with, once there is something.
        flush: Begin also what may still be added to: nothing more comes.
    """

    failure: Exception | None
    flush: bool

    @property
    def queue(self) -> CallQueue:
        """What was taken and not handed on."""
        ...

    @property
    def running(self) -> int:
        """How many calls are running."""
        ...

    def begin(self) -> bool:
        """Begin what there is room for; tell whether there is more to begin in another turn."""
        ...

    def next_ready(self) -> tuple[ChannelIndex, Batch | Signal] | None:
        """Give what may be handed on now."""
        ...

    def wants_more(self) -> bool:
        """Tell whether more records would be begun, if they were there."""
        ...

    def add(self, channel: ChannelIndex, item: Batch | Signal) -> None:
        """Take what came on a channel."""
        ...


class TakesAhead(Subtask):
    """Takes, begins, and hands on what is ready."""

    def __init__(
        self,
        deployment: Deployment,
        chain: Chain,
        identity: SubtaskId,
        state: OperatorState | None,
        channels: int,
        process: object | None = None,
    ) -> None:
        """Take what the attempt restored for this subtask."""
        super().__init__(deployment, chain, identity, state, channels, process)
        self._ends_left = channels

    @property
    @abstractmethod
    def taken(self) -> TakenAhead:
        """What was taken, and its calls."""

    def _take_next(self, *, room: bool) -> tuple[ChannelIndex, ChannelItem] | None:
        calls = self.taken
        while True:
            more = calls.begin()
            if calls.failure is not None:
                raise calls.failure
            if room and (ready := self._next_ready()) is not None:
                return ready
            if more:
                return ChannelIndex(0), _BEGIN_MORE
            if not calls.wants_more() and not self._signal_waits():
                return None
            taken = super()._take_next(room=True)
            if taken is None:
                return None
            channel, item = taken
            if isinstance(item, Barrier | CancelBarrier | EndOfInput):
                return taken
            calls.add(channel, item)

    def _next_ready(self) -> tuple[ChannelIndex, ChannelItem] | None:
        """Give what may be handed on now."""
        return cast("tuple[ChannelIndex, ChannelItem] | None", self.taken.next_ready())

    def _signal_waits(self) -> bool:
        """Tell whether a barrier, or an end, is in a lane from which may be taken, behind records without a slot."""
        lanes = [lane for lane in self.mailbox.lanes if not lane.blocked]
        return any(isinstance(item, Barrier | EndOfInput) for lane in lanes for item in lane.items)

    def _put_back(self, channel: ChannelIndex, rest: Batch | None) -> None:
        del channel
        self.taken.queue.emitted(0 if rest is None else len(rest.values))

    async def _on_item(self, channel: ChannelIndex, item: ChannelItem) -> None:
        if isinstance(item, _BeginMore):
            return
        if isinstance(item, EndOfInput):
            await self._carry_out(self.alignment.on_end_of_input(channel))
            self.taken.flush = self.alignment.all_ended
            self.taken.add(channel, Ended())
            if self.alignment.all_ended:
                self._goes_on()
        elif isinstance(item, Ended):
            await self._on_end_of(channel)
        else:
            await super()._on_item(channel, item)

    async def _on_end_of(self, channel: ChannelIndex) -> None:
        """A channel's last record is out."""
        self._ends_left -= 1
        time = self.runner.time
        if time is not None:
            time.on_end(channel)
        if not self._ends_left:
            await self._end()
        elif time is not None:
            await self._time_moved()

    @property
    def has_in_flight(self) -> bool:
        """Tell whether something was taken that is not in the state yet."""
        return bool(self.taken.queue) or super().has_in_flight

    def _begin_recording(self, checkpoint: CheckpointId) -> Overtaking:
        """Begin to record what is in flight."""
        overtaking = self.overtaking
        if overtaking is None:
            raise InvariantError(f"{self.identity} has no names for its channels")
        overtaking.begin(checkpoint, self._channels_now())
        return overtaking
