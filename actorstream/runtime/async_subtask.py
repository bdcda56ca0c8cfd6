"""The actor of an async function: takes records ahead of those that it emits, and awaits what it was given for them.

    lanes ──take──> queue: begun | waiting for a slot ──finished, in order──> the chain behind the function ──> outputs
                      └── calls, as tasks ──┘

What was taken and not emitted is in flight (takes_ahead.py); a snapshot has it with the results that are there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from actorstream.errors import CodecError, InvariantError
from actorstream.graph.awaited import AsyncSpec
from actorstream.model.batch import Batch
from actorstream.runtime.callers import known
from actorstream.runtime.calls import Calls
from actorstream.runtime.operator_life import OperatorPlace
from actorstream.runtime.subtask import Subtask
from actorstream.runtime.takes_ahead import TakesAhead
from actorstream.runtime.turns import TurnSubtask

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from actorstream.model.ids import ChannelIndex, CheckpointId
    from actorstream.model.signals import ChannelItem


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
        stack.enter_context(known(self.calls, self))
        await super()._open(stack)


class AsyncSubtask(WithCalls, TakesAhead):
    """Takes, begins, and emits what is finished."""

    @property
    def taken(self) -> Calls:
        """What was taken, and its calls."""
        return self.calls

    async def _begin_in_flight(self, checkpoint: CheckpointId) -> None:
        overtaking = self._begin_recording(checkpoint)
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
