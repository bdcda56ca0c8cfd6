"""Actors that take turns: what a replay's actors do, so that no order depends on who happens to run first.

    orders    Turn 7 | a b | Turn 8 |      Turn 9 | c |
    payments  Turn 7 |     | Turn 8 | x y  Turn 9 |   |
                     │
    join             └──> lane 0 up to Turn 8, lane 1 up to Turn 8; now it is turn 8: clock, timers, Turn 8 passed on

A turn's records come from one source (replay_order.py), and every source passes every turn on, down every exchange. An
actor with several lanes takes them one after the other, each up to where the next turn begins, so what it takes is in
one order, however its senders were scheduled and however records were cut into batches.

What waits in a lane whose turn is not yet to be taken is put aside, not left where it counts against the sender's
credit: two actors that each wait for the other's sender would wait for ever. So at most one turn's records are aside.

The clock of processing time stands still during a turn: it is that of the records (`Turn.now_us`), and goes from
timer to timer between two turns. Each actor has a clock of its own, since they are at different turns.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, cast

from actorstream.errors import InvariantError
from actorstream.graph.nodes import AssignSpec
from actorstream.model.ids import ChannelIndex
from actorstream.model.signals import EndOfInput
from actorstream.model.times import TIME_MAX
from actorstream.model.world import World
from actorstream.runtime.subtask import Subtask
from actorstream.system.current import current_world, use_world

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actorstream.graph.plan import Chain
    from actorstream.model.ids import SubtaskId
    from actorstream.model.signals import ChannelItem, Signal
    from actorstream.model.world import Clock
    from actorstream.runtime.deployment import Deployment
    from actorstream.state.operator_state import OperatorState


@dataclass(frozen=True, slots=True)
class Turn:
    """Stands in a lane where a turn begins. It never leaves the process, so the wire does not know it."""

    number: int
    now_us: int


class TurnClock:
    """Processing time is that of the records; durations are the machine's."""

    __slots__ = ("_real", "us")

    def __init__(self, real: Clock, us: int) -> None:
        """Stand at `us`."""
        self._real = real
        self.us = us

    def now_us(self) -> int:
        """Give the time of the turn."""
        return self.us

    def monotonic(self) -> float:
        """Read the machine's clock."""
        return self._real.monotonic()


class PeriodClock:
    """The same clock for what is done once a period: a second is one of the records'."""

    __slots__ = ("_clock",)

    def __init__(self, clock: TurnClock) -> None:
        """Follow `clock`."""
        self._clock = clock

    def now_us(self) -> int:
        """Give the time of the turn."""
        return self._clock.us

    def monotonic(self) -> float:
        """Give the time of the turn in seconds."""
        return self._clock.us / 1e6


def with_turn_clock(deployment: Deployment, start_us: int) -> Deployment:
    """Give what one actor of a replay shares with the others: all but the clock."""
    clock = TurnClock(deployment.world.clock, start_us)
    return replace(deployment, world=_with_clock(deployment.world, clock))


def _with_clock(world: World, clock: Clock) -> World:
    # Worlds of simulations are made in a way of their own: `replace` cannot copy them.
    return World(clock, world.files, world.offload, world.random, processes=world.processes)


class InTurns(Subtask):
    """What sources and all others have in common: time passes with turns, and with nothing else."""

    @cached_property
    def _has_generators(self) -> bool:
        """Whether generators of the user's want to be asked now and then."""
        specs = [node.spec for node in self.chain.assigns]
        return any(isinstance(spec, AssignSpec) and spec.generator is not None for spec in specs)

    @cached_property
    def turn_clock(self) -> TurnClock:
        """This actor's clock."""
        return cast("TurnClock", self.deployment.world.clock)

    @property
    def period_clock(self) -> Clock:
        """What generators of watermarks are asked by, now and then."""
        return PeriodClock(self.turn_clock)

    async def run(self, opened: Callable[[], None], start: Callable[[], Awaitable[object]]) -> None:
        """Work as any actor, in a world with the clock of the turns: sinks stamp by it."""
        # Not the deployment's world: its files are the job's own, which may be in memory.
        with use_world(_with_clock(current_world(), self.turn_clock)):
            await super().run(opened, start)

    @property
    def clock_due(self) -> int:
        """Nothing is done because a while has passed."""
        return TIME_MAX

    @property
    def clock_is_due(self) -> bool:
        """Timers of the clock fire between two turns only."""
        return False

    async def _look_around(self) -> None:
        """Do nothing: who is idle, the machine's clock must not say."""

    async def _let_a_barrier_through(self) -> None:
        """Do nothing: a barrier stands between two turns."""

    async def _on_turn(self, turn: Turn) -> None:
        """Pass the turn on, then let the clock come to it, from timer to timer."""
        self._send(cast("Signal", turn))
        clock, runner = self.turn_clock, self.runner
        while not self._ended and (due := runner.clock_due_us) < turn.now_us:
            await self._wait_for_room()
            clock.us = max(clock.us, due + 1)
            await runner.fire(clock.us)
            await self._time_moved()
            while runner.is_due:
                await self._wait_for_room()
                await self._fire()
            await runner.breathe()
        clock.us = max(clock.us, turn.now_us)
        if runner.time is not None and self._has_generators and not self._ending:
            runner.time.look_around()
            await self._time_moved()

    async def _wait_for_room(self) -> None:
        while self.held:
            await self.mailbox.arrival.wait()


class TurnSubtask(InTurns):
    """An actor behind sources: takes its lanes in order, turn by turn."""

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
        self._lane = 0
        self._ended_lanes: set[int] = set()
        self._aside: list[deque[ChannelItem]] = [deque() for _ in range(channels)]

    def _next_item(self) -> tuple[ChannelIndex, ChannelItem] | None:
        lanes, aside = self.mailbox.lanes, self._aside
        while self._lane < len(lanes):
            index = self._lane
            lane = lanes[index]
            # A lane that is blocked stands behind a barrier, which is the end of its turn.
            if index not in self._ended_lanes and not lane.blocked:
                if aside[index]:
                    return ChannelIndex(index), aside[index].popleft()
                if not lane.items:
                    self._put_aside()
                    return None
                if not _is_turn(lane.items[0]):
                    return ChannelIndex(index), lane.take()
            self._lane += 1
        return self._next_turn()

    def _next_turn(self) -> tuple[ChannelIndex, ChannelItem] | None:
        """Take the turn from all lanes at once; None while one of them has not come to it, for a barrier was before."""
        lanes = [lane for index, lane in enumerate(self.mailbox.lanes) if index not in self._ended_lanes]
        if not lanes:
            return None
        behind = [lane for lane in lanes if lane.blocked or not lane.items or not _is_turn(lane.items[0])]
        if behind:
            self._lane = 0
            return self._next_item() if any(lane.items and not lane.blocked for lane in behind) else None
        turns = {cast("Turn", lane.take()) for lane in lanes}
        if len(turns) != 1:
            raise InvariantError(f"{self.identity} is at several turns: {sorted(turn.number for turn in turns)}")
        self._lane = 0
        return ChannelIndex(0), cast("ChannelItem", turns.pop())

    def _put_aside(self) -> None:
        """Take what the later lanes have of this turn out of them, so that nobody waits for credit meanwhile."""
        for index in range(self._lane + 1, len(self.mailbox.lanes)):
            lane = self.mailbox.lanes[index]
            while lane.items and not _is_turn(lane.items[0]):
                self._aside[index].append(lane.take())

    async def _on_item(self, channel: ChannelIndex, item: ChannelItem) -> None:
        if isinstance(item, Turn):
            await self._on_turn(item)
            return
        if isinstance(item, EndOfInput):
            self._ended_lanes.add(channel)
        await super()._on_item(channel, item)


def _is_turn(item: object) -> bool:
    return isinstance(item, Turn)
