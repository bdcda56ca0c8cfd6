"""Bugs in timers: when one fires, how often, and what a snapshot knows of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.model.ids import ChannelIndex
from actorstream.model.signals import Barrier
from actorstream.runtime.subtask import Subtask
from actorstream.state.timers import TimerTable
from tests.mutations.circumstances import OFTEN
from tests.mutations.entering import Area

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

AREA = Area("timers")


@AREA.in_time("a timer of an older snapshot that has fired is not taken out of the next", job="timers", **OFTEN)
def _timer_not_taken_out() -> Sequence[AbstractContextManager[object]]:
    real = TimerTable._take_out

    def take_out(self: TimerTable, part: bytes, suffix: bytes, at: int | None = None) -> bool:
        if at is not None and self.live.change_of(part, suffix) is None:
            return True
        return real(self, part, suffix, at)

    return [patch.object(TimerTable, "_take_out", take_out)]


@AREA.in_time("a barrier is taken between firing and handing on", job="timers", **OFTEN)
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
