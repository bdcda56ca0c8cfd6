"""Bugs in watermarks: what moves them, who is told, what a snapshot holds of them, and splits that are idle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.model.batch import Batch
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.generators import Custom
from actorstream.protocol.idleness import IdleClock
from actorstream.protocol.watermarks import WatermarkCombiner
from actorstream.runtime.event_time import EventTime, TimeReport
from actorstream.runtime.messages import TriggerCheckpoint
from actorstream.runtime.outputs import ExchangeOutput
from actorstream.runtime.source import SourceSubtask
from actorstream.runtime.subtask import Subtask
from actorstream.testing.session import Session
from tests.mutations.circumstances import OFTEN
from tests.mutations.entering import Area

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

AREA = Area("watermarks")


def _reporting(change: Callable[[TimeReport], TimeReport]) -> Sequence[AbstractContextManager[object]]:
    real = EventTime.report
    return [patch.object(EventTime, "report", lambda self, told: change(real(self, told)))]


@AREA.in_time("the watermark where records enter is not in the snapshot (T47)", job="records", **OFTEN)
def _no_entering() -> Sequence[AbstractContextManager[object]]:
    return _reporting(lambda report: report._replace(entering=TIME_MIN, assigned={}))


@AREA.in_time("the watermark behind assign_timestamps is not in the snapshot (T47)", job="tumbling", **OFTEN)
def _no_assigned() -> Sequence[AbstractContextManager[object]]:
    return _reporting(lambda report: report._replace(entering=TIME_MIN, assigned={}, parts={}))


@AREA.in_time("generators are not restored", job="punctuated", **OFTEN)
def _no_generators() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(Custom, "restore", lambda self, state: None)]


@AREA.in_time("what the channels were told is not restored, nor told again", job="sliding", **OFTEN)
def _told_too_much() -> Sequence[AbstractContextManager[object]]:
    real = ExchangeOutput.__init__

    def init(self: ExchangeOutput, *given: Any, told: Any, **words: Any) -> None:
        real(self, *given, told=told if told.watermark == TIME_MIN else told._replace(watermark=TIME_MAX - 1), **words)

    return [patch.object(ExchangeOutput, "__init__", init)]


_STOPS = tuple(Session(2, stop_after=seconds) for seconds in (0.05, 0.1, 0.1))


@AREA.in_time(
    "a stop tells those behind that event time has ended (T49)", job="sliding", sessions=(*_STOPS, Session(2))
)
def _max_on_stop() -> Sequence[AbstractContextManager[object]]:
    real = SourceSubtask._on_control

    async def on_control(self: SourceSubtask, message: Any) -> None:
        stops = isinstance(message, TriggerCheckpoint) and message.stop
        settled = self._open_splits and not self._deferred and not self.mailbox.front  # else there is more to come
        if stops and settled and self.runner.time is not None:
            self.runner.time.finish()
            while self.runner.is_due:
                await self.runner.fire()
            for output in self.runner.outputs.values():
                output.tell(TIME_MAX - 1, idle=False)
        await real(self, message)

    return [patch.object(SourceSubtask, "_on_control", on_control)]


@AREA.in_time("the end of input is passed on before what it makes due", job="sliding")
def _end_first() -> Sequence[AbstractContextManager[object]]:
    async def end(self: Subtask) -> None:
        self._ending = True
        await self._finish()

    return [patch.object(Subtask, "_end", end)]


@AREA.in_time(
    "batches carry no marks: what is late is decided by batch (T136)", job="records", lane_records=2_048, pause=0.0
)
def _no_marks() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(EventTime, "begin", _begin_with(lambda marks: None))]


@AREA.in_time("all records of a batch see its last watermark (T136)", job="records", lane_records=2_048, pause=0.0)
def _last_mark() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(EventTime, "begin", _begin_with(lambda marks: marks and [marks[-1]] * len(marks)))]


def _begin_with(change: Callable[[list[int] | None], list[int] | None]) -> Callable[..., list[int] | None]:
    real = EventTime.begin
    return lambda self, part, marks: change(real(self, part, marks))


@AREA.in_time("a batch moves the watermark beyond the other splits", job="sliding")
def _no_cap() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(WatermarkCombiner, "cap", lambda self, number: TIME_MAX)]


@AREA.in_time("a batch and the watermark behind it change places", job="records", **OFTEN)
def _overtaken() -> Sequence[AbstractContextManager[object]]:
    real = Subtask._on_item

    async def on_item(self: Subtask, channel: Any, item: Any) -> None:
        if isinstance(item, Batch) and item.watermark is not None and self.runner.time is not None:
            self.runner.time.on_watermark(channel, item.watermark)
            item.marks = None
        await real(self, channel, item)

    return [patch.object(Subtask, "_on_item", on_item)]


_ALONE: dict[str, Any] = {"job": "idle", "sessions": (Session(2),), "interval": 0.2}


@AREA.in_time("nobody is told that a split is idle", **_ALONE)
def _idle_not_told() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(WatermarkCombiner, "on_idle", lambda self, number: ())]


@AREA.in_time("an idle split that gives a record again is not waited for", job="idle")
def _never_active() -> Sequence[AbstractContextManager[object]]:
    return [
        patch.object(WatermarkCombiner, "on_active", lambda self, number: ()),
        patch.object(IdleClock, "is_idle", lambda self, now_us: True),
    ]


@AREA.in_topologies("an actor's clock starts anew after a restart", "monotone", tail="window", shape="chain")
def _clock_anew() -> Sequence[AbstractContextManager[object]]:
    real = EventTime.restore

    def restore(self: EventTime, *given: Any) -> None:
        real(self, *given)
        self.clock.now = -(1 << 62)

    return [patch.object(EventTime, "restore", restore)]
