"""Bugs in timers: when one fires, how often, and what a snapshot knows of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.model.ids import ChannelIndex
from actorstream.model.signals import Barrier
from actorstream.model.times import TIME_MAX
from actorstream.runtime.chain_runner import ChainRunner
from actorstream.runtime.subtask import Subtask
from actorstream.state.timers import TimerTable
from tests.mutations.circumstances import OFTEN
from tests.mutations.entering import Area

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from actorstream.state.timer_epoch import Place

AREA = Area("timers")


@AREA.in_time("a timer of an older snapshot that has fired is not taken out of the next", job="timers", **OFTEN)
def _timer_not_taken_out() -> Sequence[AbstractContextManager[object]]:
    real = TimerTable._take_out

    def take_out(self: TimerTable, part: bytes, suffix: bytes, at: int | None = None) -> bool:
        if at is not None and self.live.change_of(part, suffix) is None:
            return True
        return real(self, part, suffix, at)

    return [patch.object(TimerTable, "_take_out", take_out)]


_IN_LINE = OFTEN | {"interval": 0.01, "alignment": None}
"""A barrier that overtakes comes by another way."""


@AREA.in_time("a barrier is taken between firing and handing on", job="timers", **_IN_LINE)
def _before_handing_on() -> Sequence[AbstractContextManager[object]]:
    real = Subtask._fire

    async def fire(self: Subtask) -> None:
        deliver = self.runner._deliver

        async def barrier_first(compiled: Any, results: Any) -> None:
            while self.mailbox.control and self.runner.may_pause:
                await self._on_control(self.mailbox.control.popleft())
            lane = self.mailbox.next_of(Barrier)
            if lane is not None:
                await self._on_item(ChannelIndex(lane), self.mailbox.lanes[lane].take())
            await deliver(compiled, results)

        with patch.object(self.runner, "_deliver", barrier_first):
            await real(self)

    return [patch.object(Subtask, "_fire", fire)]


@AREA.in_time("a timer that is moved fires at its old time too", job="moved", **OFTEN)
def _old_time() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(TimerTable, "_before", lambda self, part, suffix: None)]


@AREA.in_time("timers of a key are not told apart by their names", job="timers")
def _one_name() -> Sequence[AbstractContextManager[object]]:
    real = TimerTable._suffix_of
    return [patch.object(TimerTable, "_suffix_of", lambda self, number, name: real(self, number, "one"))]


@AREA.in_time("timers by the clock that wait at the end of input are dropped", job="timers")
def _clock_dropped() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(ChainRunner, "clock_due_us", property(lambda self: TIME_MAX))]


@AREA.in_time("a timer that comes from the layers fires as that of the key before", job="timers", **OFTEN)
def _key_before() -> Sequence[AbstractContextManager[object]]:
    real = TimerTable._take_among_layers
    last: list[object] = []

    def take(self: TimerTable, number: int, up_to: int) -> Place | None:
        found = real(self, number, up_to)
        if found is None:
            return None
        key, last[:] = (last or [found[3]])[0], [found[3]]
        return (*found[:3], key, found[4])

    return [patch.object(TimerTable, "_take_among_layers", take)]
