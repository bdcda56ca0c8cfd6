"""The actor of an async function: takes records ahead of those that it emits, and awaits what it was given for them.

    lanes ──take──> queue: begun | waiting for a slot ──finished, in order──> the chain behind the function ──> outputs
                      └── calls, as tasks ──┘

What was taken and not emitted is still in flight, for everything that counts: event time enters with what is emitted,
so a watermark waits for the records before it, and a snapshot records the queue as what it is, records of the channels
that are not in the state yet (Chandy and Lamport), with the results that are there. So a snapshot never waits for a
call, and a restore, at any parallelism too, gives these records back before anything new (flights.py).

A barrier that comes in a lane while all slots are taken does not wait either: what is before it is taken into the
queue, not begun.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from actorstream.errors import CodecError, InvariantError
from actorstream.graph.awaited import AsyncSpec
from actorstream.model.batch import Batch
from actorstream.model.ids import ChannelIndex
from actorstream.model.signals import Barrier, CancelBarrier, EndOfInput
from actorstream.runtime.call_queue import Ended
from actorstream.runtime.calls import Calls
from actorstream.runtime.operator_life import OperatorPlace
from actorstream.runtime.subtask import Subtask
from actorstream.runtime.turns import TurnSubtask

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from actorstream.graph.plan import Chain
    from actorstream.model.ids import CheckpointId, SubtaskId
    from actorstream.model.signals import ChannelItem
    from actorstream.runtime.deployment import Deployment
    from actorstream.state.operator_state import OperatorState


class _BeginMore:
    """Taken where there is more to begin than fits into a turn: nothing is done with it."""


_BEGIN_MORE = cast("ChannelItem", _BeginMore())


class WithCalls(Subtask):
    """An actor whose head is an async function."""

    calls: Calls

    @property
    def spec(self) -> AsyncSpec:
        """What is awaited, and how."""
        spec = self.chain.head.spec
        if not isinstance(spec, AsyncSpec):
            raise InvariantError(f"{self.identity} awaits nothing")
        return spec

    async def _open(self, stack: AsyncExitStack) -> None:
        place = OperatorPlace(self.chain.head.name, self.identity.subtask, self.chain.parallelism)
        self.calls = Calls(self.spec, place, self.deployment.job, self.deployment.world, self.mailbox.arrival.wake)
        stack.push_async_callback(self.calls.close)
        await super()._open(stack)


class AsyncSubtask(WithCalls):
    """Takes, begins, and emits what is finished."""

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

    def _take_next(self, *, room: bool) -> tuple[ChannelIndex, ChannelItem] | None:
        calls = self.calls
        while True:
            more = calls.begin()
            if calls.failure is not None:
                raise calls.failure
            if room and (ready := calls.queue.next_ready()) is not None:
                return cast("tuple[ChannelIndex, ChannelItem]", ready)
            if more:
                return ChannelIndex(0), _BEGIN_MORE
            if not calls.wants_more() and not self._barrier_waits():
                return None
            taken = super()._take_next(room=True)
            if taken is None:
                return None
            channel, item = taken
            if isinstance(item, Barrier | CancelBarrier | EndOfInput):
                return taken
            calls.add(channel, item)

    def _barrier_waits(self) -> bool:
        """Tell whether a barrier is in a lane from which may be taken, behind records for which there is no slot."""
        return any(isinstance(item, Barrier) for lane in self.mailbox.lanes if not lane.blocked for item in lane.items)

    def _put_back(self, channel: ChannelIndex, rest: Batch | None) -> None:
        del channel
        self.calls.queue.emitted(0 if rest is None else len(rest.values))

    async def _on_item(self, channel: ChannelIndex, item: ChannelItem) -> None:
        if isinstance(item, _BeginMore):
            return
        if isinstance(item, EndOfInput):
            await self._carry_out(self.alignment.on_end_of_input(channel))
            self.calls.flush = self.alignment.all_ended
            self.calls.add(channel, Ended())
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
        return bool(self.calls.queue) or super().has_in_flight

    async def _begin_in_flight(self, checkpoint: CheckpointId) -> None:
        overtaking = self.overtaking
        if overtaking is None:
            raise InvariantError(f"{self.identity} has no names for its channels")
        overtaking.begin(checkpoint, self._channels_now())
        queue = self.calls.queue
        kept, bare = list(queue.in_flight()), list(queue.in_flight(with_results=False))
        for (channel, item), (_, without) in zip(kept, bare, strict=True):
            try:
                await overtaking.record([(channel, item)], awaited=True)
            except CodecError:  # results that have no encoding: these calls are made again
                await overtaking.record([(channel, without)], awaited=True)
        await overtaking.record_front(awaited=True)


class AsyncTurnSubtask(WithCalls, TurnSubtask):
    """In a replay: the records of a batch are awaited together, and all of them before anything else is taken."""

    @property
    def spec(self) -> AsyncSpec:
        """Results are in order, whatever was said."""
        return replace(super().spec, ordered=True)

    async def _on_item(self, channel: ChannelIndex, item: ChannelItem) -> None:
        calls = self.calls
        if not isinstance(item, Batch):
            await super()._on_item(channel, item)
            return
        calls.flush = True
        calls.add(channel, item)
        while calls.queue:
            while calls.begin():
                await self.deployment.pace.give_way()
            if calls.failure is not None:
                raise calls.failure
            ready = calls.queue.next_ready()
            if ready is None:
                await self.mailbox.arrival.wait()
            else:
                await super()._on_item(*cast("tuple[ChannelIndex, ChannelItem]", ready))
                calls.queue.emitted(0)
