"""The actor of a process with async handlers: takes records ahead of those that have become state (key_calls.py).

    lanes ──take──> queue ──handlers end──> handed on in order ──> the chain, as if its handlers were plain ones
                                                 │
    timers that are due ──handlers end──> fire ──┘       while one is due whose handler has not ended, nothing is handed
                                                         on: what is taken is handled ahead, and barriers pass

What was taken and not handed on is in flight, as it is of any async function (takes_ahead.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from actorstream.errors import InvariantError
from actorstream.graph.nodes import ProcessSpec, inputs_of
from actorstream.model.batch import Batch
from actorstream.model.times import TIME_MAX
from actorstream.operators.awaited_timers import AwaitedTimers
from actorstream.operators.process_text import handler_of
from actorstream.runtime.callers import known
from actorstream.runtime.key_calls import KeyCalls
from actorstream.runtime.operator_life import OperatorPlace
from actorstream.runtime.subtask import Subtask
from actorstream.runtime.takes_ahead import TakesAhead
from actorstream.runtime.turns import TurnSubtask

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from actorstream.model.ids import ChannelIndex, CheckpointId
    from actorstream.model.signals import ChannelItem
    from actorstream.runtime.event_time import EventTime


class WithHandlers(Subtask):
    """An actor whose head is a process with async handlers."""

    calls: KeyCalls
    _ahead: EventTime | None = None

    def look_ahead(self, time: EventTime | None) -> None:
        """Take the clocks for what is taken: they are ahead of those for what is handed on. Before `run`."""
        self._ahead = time

    async def _opened(self, stack: AsyncExitStack) -> None:
        node, binding = self.chain.head, self.binding
        spec = node.spec
        if binding is None or self.state is None or not isinstance(spec, ProcessSpec) or spec.calls is None:
            raise InvariantError(f"{self.identity} has no async handlers")
        place = OperatorPlace(node.name, self.identity.subtask, self.chain.parallelism)
        wake = self.mailbox.arrival.wake
        self.calls = KeyCalls(spec.calls, place, self.deployment.job, self.deployment.world, wake)
        stack.push_async_callback(self.calls.close)
        stack.enter_context(known(self.calls, self))
        runner = self.runner
        self.calls.floors = lambda: runner.floors
        self.calls.reached = lambda: runner.reached_us
        bindings = self._bindings
        self.calls.letters = lambda: None if bindings is None else bindings.letters.get(node.id)
        handlers = [handler_of(node, side) for side in range(inputs_of(spec))]
        self.calls.bind(binding, self.state, handlers, self._sides, self._ahead)

    @property
    def timers(self) -> AwaitedTimers | None:
        """Those of the process; None: it has no on_timer."""
        timers = None if self.binding is None else self.binding.timers
        return timers if isinstance(timers, AwaitedTimers) else None

    def _waits(self, number: int) -> bool:
        timers = self.timers
        return timers is not None and timers.waits(number)

    def _may_fire(self, number: int) -> bool:
        return not self._waits(number)

    async def _snapshot(self, checkpoint: CheckpointId, *, whole: bool = True) -> None:
        if self.timers is not None:
            self.timers.put_back()
        await super()._snapshot(checkpoint, whole=whole)


class KeySubtask(WithHandlers, TakesAhead):
    """Takes, begins, and hands on what has ended."""

    _fires_all = False

    @property
    def taken(self) -> KeyCalls:
        """What was taken, and its calls."""
        return self.calls

    def _next_ready(self) -> tuple[ChannelIndex, ChannelItem] | None:
        # Behind a timer whose handler has not ended stands all else.
        return None if self.runner.is_due else super()._next_ready()

    def _breaks_off(self) -> bool:
        return super()._breaks_off() or self._waits(0)

    def _fires_up_to(self) -> int:
        return TIME_MAX if self._fires_all else super()._fires_up_to()

    @property
    def clock_is_due(self) -> bool:
        """Tell whether a timer of the clock is due; at the end of input all are."""
        return super().clock_is_due or (self._fires_all and not self._ended and self.runner.clock_due_us != TIME_MAX)

    async def _is_at_its_end(self) -> bool:
        if self.deployment.timers_at_end == "fire":  # one by one: handlers take their time
            self.runner.end_clock()
            self._fires_all = True
            return self.runner.clock_due_us == TIME_MAX and not self.runner.is_due
        return await super()._is_at_its_end()

    async def _begin_in_flight(self, checkpoint: CheckpointId) -> None:
        overtaking = self._begin_recording(checkpoint)
        await overtaking.record(self.calls.queue.in_flight(with_results=False), awaited=True)
        await overtaking.record_front(awaited=True)


class KeyTurnSubtask(WithHandlers, TurnSubtask):
    """In a replay: what was taken is handed on before anything else is taken, and timers are handled one by one."""

    async def _opened(self, stack: AsyncExitStack) -> None:
        await super()._opened(stack)
        if self.timers is not None:
            self.timers.ahead = 1
        self.runner.breaks_off = lambda: self._waits(0)

    async def _on_item(self, channel: ChannelIndex, item: ChannelItem) -> None:
        calls, runner = self.calls, self.runner
        if not isinstance(item, Batch) or not item.values:
            calls.pass_time(channel, item)
            await super()._on_item(channel, item)
            await self._do_what_is_due()
            return
        calls.add(channel, item)
        while calls.queue:
            await self._do_what_is_due()
            while calls.begin():
                await self.deployment.pace.give_way()
            ready = calls.next_ready()
            if ready is None:
                await self.mailbox.arrival.wait()
                continue
            part, rest = ready
            left = None
            if isinstance(rest, Batch):
                await runner.wait_for_credit()
                left = await runner.work(rest, part, self._sides[part])
                if not runner.is_due:
                    runner.tell()
            else:
                await super()._on_item(part, cast("ChannelItem", rest))
            calls.queue.emitted(0 if left is None else len(left.values))
        await self._do_what_is_due()

    async def _is_at_its_end(self) -> bool:
        runner = self.runner
        if self.deployment.timers_at_end == "fire":
            runner.end_clock()
            while runner.clock_due_us != TIME_MAX:
                await self._wait_for_room()
                await runner.fire(TIME_MAX)
                await runner.breathe()
        return await super()._is_at_its_end()

    async def _do_what_is_due(self) -> None:
        while self.runner.is_due:
            await self._wait_for_room()
            await self._fire()

    async def _wait_for_room(self) -> None:
        await super()._wait_for_room()
        while self._waits(0) or self._waits(1):
            while self.calls.begin():
                await self.deployment.pace.give_way()
            if self._waits(0) or self._waits(1):
                await self.mailbox.arrival.wait()
