"""Bugs in replays: the one order over all splits, turns, what is put aside, and the clock of the records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.graph.replaying import Grain
from actorstream.model.ids import ChannelIndex
from actorstream.runtime import replay_order, turns
from actorstream.runtime.replay_order import ReplayOrder
from actorstream.runtime.replay_source import ReplayedSource
from actorstream.runtime.source import SourceSubtask
from actorstream.runtime.turns import InTurns, TurnClock, TurnSubtask
from actorstream.testing.surroundings import bounded_mailboxes
from tests.evolve.replays import REPLAY
from tests.mutations.entering import Area

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

AREA = Area("replay")

_TIGHT: dict[str, Any] = {"fetch": 1, "ahead": 1, "piece": 1, "checkpoint": 0.002}


# -- the one order -----------------------------------------------------------------------------------------------------


@AREA.in_replays("records come source by source, not by time", "timers of two inputs")
def _source_by_source() -> Sequence[AbstractContextManager[object]]:
    real = replay_order._Head.fill

    async def fill(self: replay_order._Head) -> bool:
        there = await real(self)
        self.times = [0] * len(self.times)
        return there

    return [patch.object(replay_order._Head, "fill", fill)]


@AREA.in_replays("a split goes on beyond the time at which another one has a record", "windows on all")
def _beyond() -> Sequence[AbstractContextManager[object]]:
    real = replay_order._Head.run

    def run(self: replay_order._Head, left: int, before: object, until_us: int) -> int:
        del before
        return real(self, left, None, until_us)

    return [patch.object(replay_order._Head, "run", run)]


@AREA.in_replays("a clock that went back within a split is taken at its word", "windows on all")
def _not_monotone() -> Sequence[AbstractContextManager[object]]:
    def as_they_are(times: Iterable[int], function: object, *, initial: int) -> Iterator[int]:
        del function
        return iter((initial, *times))

    return [patch.object(replay_order, "accumulate", as_they_are)]


@AREA.in_replays("records of one time come in the order of splits the wrong way round", "timers of two inputs")
def _ties() -> Sequence[AbstractContextManager[object]]:
    real = ReplayOrder._heads

    def heads(self: ReplayOrder) -> Any:
        found = real(self)
        for head in found:
            head.rank = -head.rank[0], -head.rank[1]
        return found

    return [patch.object(ReplayOrder, "_heads", heads)]


@AREA.in_replays("two ways from one source are gone turn by turn, not record by record", "timers by two ways")
def _coarse() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(REPLAY, "grain_of", lambda plan: Grain(512, 1_000_000))]


# -- turns -------------------------------------------------------------------------------------------------------------


@AREA.in_replays("lanes are taken as records come, not in their order", "timers by two ways")
def _as_they_come() -> Sequence[AbstractContextManager[object]]:
    real = TurnSubtask._next_item

    def next_item(self: TurnSubtask) -> Any:
        for index, lane in reversed(list(enumerate(self.mailbox.lanes))):
            if lane.items and not lane.blocked and not turns._is_turn(lane.items[0]):
                return ChannelIndex(index), lane.take()
        return real(self)

    return [patch.object(TurnSubtask, "_next_item", next_item)]


@AREA.in_replays("what was put aside comes back the wrong way round", "timers of two inputs", **_TIGHT)
def _aside_reversed() -> Sequence[AbstractContextManager[object]]:
    real = TurnSubtask._put_aside

    def put_aside(self: TurnSubtask) -> None:
        real(self)
        for aside in self._aside:
            aside.reverse()

    return [patch.object(TurnSubtask, "_put_aside", put_aside)]


@AREA.in_replays("what later lanes have of a turn stays where it is", "a burst by two ways", lane=1, piece=1)
def _not_aside() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(TurnSubtask, "_put_aside", lambda self: None)]


@AREA.in_replays("what was put aside is taken after what has come since", "a burst by two ways", lane=1, piece=1)
def _aside_last() -> Sequence[AbstractContextManager[object]]:
    real = TurnSubtask._next_item

    def next_item(self: TurnSubtask) -> Any:
        if self._lane < len(self._aside) and self._aside[self._lane]:
            lane = self.mailbox.lanes[self._lane]
            if lane.items and not lane.blocked and not turns._is_turn(lane.items[0]):
                return ChannelIndex(self._lane), lane.take()
        return real(self)

    return [patch.object(TurnSubtask, "_next_item", next_item)]


@AREA.in_replays(
    "a barrier comes where a source has come to, not before one turn of all",
    "timers of two inputs",
    **{**_TIGHT, "lane": 1, "checkpoint": 0.0005},
)
def _barrier_anywhere() -> Sequence[AbstractContextManager[object]]:
    return [bounded_mailboxes(1), patch.object(ReplayedSource, "_on_control", SourceSubtask._on_control)]


# -- the clock ---------------------------------------------------------------------------------------------------------


@AREA.in_replays("the clock of a turn is the machine's", "by the clock")
def _machine_clock() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(TurnClock, "now_us", lambda self: self._real.now_us())]


@AREA.in_replays("the clock goes to the next turn at once, and timers fire there", "timers")
def _clock_jumps() -> Sequence[AbstractContextManager[object]]:
    real = InTurns._on_turn

    async def on_turn(self: InTurns, turn: Any) -> None:
        self.turn_clock.us = max(self.turn_clock.us, turn.now_us)
        await real(self, turn)

    return [patch.object(InTurns, "_on_turn", on_turn)]
