"""Bugs of event time that the simulation must find: each replaces one small method of the real code for a session."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.checkpoints.manifest import FloorRun
from actorstream.model.batch import Batch
from actorstream.model.ids import ChannelIndex
from actorstream.model.signals import Barrier
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.generators import Custom
from actorstream.operators.windows.sliced import SlicedWindows
from actorstream.protocol.idleness import IdleClock
from actorstream.protocol.watermarks import WatermarkCombiner
from actorstream.runtime import rescaled_time, restoring
from actorstream.runtime.chain_runner import ChainRunner
from actorstream.runtime.event_time import EventTime, TimeReport
from actorstream.runtime.messages import TriggerCheckpoint
from actorstream.runtime.outputs import ExchangeOutput
from actorstream.runtime.rescaled_time import floors_of
from actorstream.runtime.source import SourceSubtask
from actorstream.runtime.subtask import Subtask
from actorstream.state.timers import TimerTable
from actorstream.testing.session import Session
from tests.simulation.mutation import Patches, at_work
from tests.simulation.time_running import draw_time, run_time_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager


@dataclass(frozen=True)
class TimeMutant:
    """One bug. `apply` is entered around each session; `fixed` is what of a plan is not left to chance."""

    name: str
    apply: Callable[[], AbstractContextManager[object]]
    fixed: Mapping[str, object] = field(default_factory=dict)

    def run(self, seed: int) -> None:
        """Run one seed with the bug at work; BrokenPromiseError if it shows."""
        run_time_plan(draw_time(seed, **self.fixed), self.apply)


TIME_MUTANTS: list[TimeMutant] = []


def mutant(name: str, **fixed: object) -> Callable[[Patches], Patches]:
    """Enter a function that gives patches under `name`."""

    def enter(patches: Patches) -> Patches:
        TIME_MUTANTS.append(TimeMutant(name, at_work(patches), fixed))
        return patches

    return enter


# -- what a snapshot holds ---------------------------------------------------------------------------------------------

_OFTEN: dict[str, Any] = {
    "interval": 0.02,
    "timeout": 60.0,
    "pause": 0.02,
    "retained": 2,
    "sessions": (*(Session(2, crash_step=step) for step in (200, 220, 240, 260, 280, 300)), Session(2, power=True)),
}
"""Checkpoints one after the other, and a row of crashes."""


def _reporting(change: Callable[[TimeReport], TimeReport]) -> Sequence[AbstractContextManager[object]]:
    real = EventTime.report
    return [patch.object(EventTime, "report", lambda self, told: change(real(self, told)))]


@mutant("the watermark where records enter is not in the snapshot (T47)", job="records", **_OFTEN)
def _no_entering() -> Sequence[AbstractContextManager[object]]:
    return _reporting(lambda report: report._replace(entering=TIME_MIN, assigned={}))


@mutant("the watermark behind assign_timestamps is not in the snapshot (T47)", job="tumbling", **_OFTEN)
def _no_assigned() -> Sequence[AbstractContextManager[object]]:
    return _reporting(lambda report: report._replace(entering=TIME_MIN, assigned={}, parts={}))


@mutant("generators are not restored", job="punctuated", **_OFTEN)
def _no_generators() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(Custom, "restore", lambda self, state: None)]


@mutant("what the channels were told is not restored, nor told again", job="sliding", **_OFTEN)
def _told_too_much() -> Sequence[AbstractContextManager[object]]:
    real = ExchangeOutput.__init__

    def init(self: ExchangeOutput, *given: Any, told: Any, **words: Any) -> None:
        real(self, *given, told=told if told.watermark == TIME_MIN else told._replace(watermark=TIME_MAX - 1), **words)

    return [patch.object(ExchangeOutput, "__init__", init)]


@mutant("sliced windows forget at a restore which have fired", job="tumbling", **_OFTEN)
def _fired_forgotten() -> Sequence[AbstractContextManager[object]]:
    real = SlicedWindows.on_restore
    return [patch.object(SlicedWindows, "on_restore", lambda self, watermark, floors=(): real(self, TIME_MIN))]


@mutant("a timer of an older snapshot that has fired is not taken out of the next", job="timers", **_OFTEN)
def _timer_not_taken_out() -> Sequence[AbstractContextManager[object]]:
    real = TimerTable._take_out

    def take_out(self: TimerTable, part: bytes, suffix: bytes, at: int | None = None) -> bool:
        if at is not None and self.live.change_of(part, suffix) is None:
            return True
        return real(self, part, suffix, at)

    return [patch.object(TimerTable, "_take_out", take_out)]


_STOPS = tuple(Session(2, stop_after=seconds) for seconds in (0.05, 0.1, 0.1))

_LATER: dict[str, Any] = {
    **_OFTEN,
    "sessions": (*(Session(2, crash_step=step) for step in range(400, 800, 50)), Session(2, power=True)),
}

# -- floors by key group -----------------------------------------------------------------------------------------------

_MOVED: dict[str, Any] = {
    "events": 60,
    "interval": 0.2,
    "timeout": 60.0,
    "sessions": (Session(4, rescales=[(0.05, parallelism) for parallelism in (3, 2, 4, 1, 3)]),),
}
"""Rescaled again and again, while subtasks are at different times."""


def _floors(change: Callable[[list[FloorRun]], list[FloorRun]]) -> Sequence[AbstractContextManager[object]]:
    return [patch.object(restoring, "floors_of", lambda *given: change(floors_of(*given)))]


@mutant("floors are not in the checkpoint (T47)", job="flickering-slices", **_MOVED)
def _no_floors() -> Sequence[AbstractContextManager[object]]:
    return _floors(lambda runs: [])


@mutant("floors are not in the checkpoint, and windows have timers (T47)", job="flickering-records", **_MOVED)
def _no_floors_of_timers() -> Sequence[AbstractContextManager[object]]:
    return _floors(lambda runs: [])


@mutant("key groups get the floors of others (T33)", job="flickering-slices", **_MOVED)
def _floors_of_others() -> Sequence[AbstractContextManager[object]]:
    # As if the first key group were the last one.
    return _floors(lambda runs: sorted(FloorRun(8 - end, 8 - start, watermark) for start, end, watermark in runs))


@mutant("all key groups have the least time of all subtasks", job="flickering-timers", **_MOVED)
def _least_of_all() -> Sequence[AbstractContextManager[object]]:
    real = rescaled_time._of_subtask
    return [patch.object(rescaled_time, "_of_subtask", lambda groups, _, time: real(groups, TIME_MIN, time))]


# -- barriers and firing -----------------------------------------------------------------------------------------------


@mutant("a barrier is taken between two rounds of sliced windows", job="sliding", **_LATER)
def _between_rounds() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(ChainRunner, "may_pause", property(lambda _: True))]


@mutant("a barrier is taken between firing and handing on", job="timers", **_OFTEN)
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


@mutant("a stop tells those behind that event time has ended (T49)", job="sliding", sessions=(*_STOPS, Session(2)))
def _max_on_stop() -> Sequence[AbstractContextManager[object]]:
    real = SourceSubtask._on_control

    async def on_control(self: SourceSubtask, message: Any) -> None:
        if isinstance(message, TriggerCheckpoint) and message.stop and self.runner.time is not None:
            self.runner.time.finish()
            while self.runner.is_due:
                await self.runner.fire()
            for output in self.runner.outputs.values():
                output.tell(TIME_MAX - 1, idle=False)
        await real(self, message)

    return [patch.object(SourceSubtask, "_on_control", on_control)]


@mutant("the end of input is passed on before what it makes due", job="sliding")
def _end_first() -> Sequence[AbstractContextManager[object]]:
    async def end(self: Subtask) -> None:
        self._ending = True
        await self._finish()

    return [patch.object(Subtask, "_end", end)]


# -- watermarks on their way -------------------------------------------------------------------------------------------


@mutant("batches carry no marks: what is late is decided by batch (T136)", job="records", lane_records=2_048, pause=0.0)
def _no_marks() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(EventTime, "begin", _begin_with(lambda marks: None))]


@mutant("all records of a batch see its last watermark (T136)", job="records", lane_records=2_048, pause=0.0)
def _last_mark() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(EventTime, "begin", _begin_with(lambda marks: marks and [marks[-1]] * len(marks)))]


def _begin_with(change: Callable[[list[int] | None], list[int] | None]) -> Callable[..., list[int] | None]:
    real = EventTime.begin
    return lambda self, part, marks: change(real(self, part, marks))


@mutant("a batch moves the watermark beyond the other splits", job="sliding")
def _no_cap() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(WatermarkCombiner, "cap", lambda self, number: TIME_MAX)]


@mutant("the record itself counts for the watermark before it", job="tumbling")
def _too_early() -> Sequence[AbstractContextManager[object]]:
    real = SlicedWindows.on_element
    close_at = SlicedWindows.close_at

    def on_element(self: SlicedWindows, key: object, value: object, timestamp: int, watermark: int, /) -> Any:
        return real(self, key, value, timestamp, max(watermark, timestamp - 1_000_001))

    return [
        patch.object(SlicedWindows, "on_element", on_element),
        patch.object(SlicedWindows, "close_at", lambda self, start: min(close_at(self, start), TIME_MIN)),
    ]


@mutant("a batch and the watermark behind it change places", job="records", **_OFTEN)
def _overtaken() -> Sequence[AbstractContextManager[object]]:
    real = Subtask._on_item

    async def on_item(self: Subtask, channel: Any, item: Any) -> None:
        if isinstance(item, Batch) and item.watermark is not None and self.runner.time is not None:
            self.runner.time.on_watermark(channel, item.watermark)
            item.marks = None
        await real(self, channel, item)

    return [patch.object(Subtask, "_on_item", on_item)]


# -- idle splits -------------------------------------------------------------------------------------------------------

_ALONE: dict[str, Any] = {"job": "idle", "sessions": (Session(2),), "interval": 0.2}


@mutant("nobody is told that a split is idle", **_ALONE)
def _idle_not_told() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(WatermarkCombiner, "on_idle", lambda self, number: ())]


@mutant("an idle split that gives a record again is not waited for", job="idle")
def _never_active() -> Sequence[AbstractContextManager[object]]:
    return [
        patch.object(WatermarkCombiner, "on_active", lambda self, number: ()),
        patch.object(IdleClock, "is_idle", lambda self, now_us: True),
    ]
