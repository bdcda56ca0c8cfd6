"""What the words of the scenario files about event time mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from actorstream.model.times import TIME_MAX
from actorstream.protocol.idleness import IdleClock
from actorstream.protocol.watermark_alignment import IDLE, AlignmentGroup
from actorstream.protocol.watermarks import WatermarkCombiner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorstream.protocol.idleness import Pause
    from tests.scenarios.stages import Stage


class WatermarksStage:
    """`inputs N`, `add [idle]`, then `watermark INPUT TIME|max`, `idle|active|end INPUT`, `cap INPUT`, `restart`."""

    def __init__(self) -> None:
        self.combiner = WatermarkCombiner(0)

    def play(self, verb: str, words: Sequence[str]) -> Sequence[object]:
        """Feed one event, or ask."""
        it = self.combiner
        match verb, words:
            case "inputs", [count]:
                self.combiner = WatermarkCombiner(int(count))
            case "add", idle:
                return [f"input {it.add_input(idle=idle == ['idle'])}"]
            case "watermark", [number, time]:
                return it.on_watermark(int(number), TIME_MAX if time == "max" else int(time))
            case "idle", [number]:
                return it.on_idle(int(number))
            case "active", [number]:
                return it.on_active(int(number))
            case "end", [number]:
                return it.on_end(int(number))
            case "cap", [number]:
                cap = it.cap(int(number))
                return ["no cap" if cap == TIME_MAX else cap]
            case "restart", []:
                self.combiner = WatermarkCombiner(0)
                self.combiner.restore(it.snapshot())
                return [f"output {self.combiner.output}", "idle" if self.combiner.idle else "active"]
            case _:
                raise ValueError(f"unknown command: {verb} {words}")
        return []


class DriftStage:
    """`group DRIFT`, then `join|leave|paused MEMBER`, `report MEMBER TIME|idle`; the last line shown is the limit."""

    def __init__(self) -> None:
        self.group = AlignmentGroup[str](0)

    def play(self, verb: str, words: Sequence[str]) -> Sequence[object]:
        """Feed one event."""
        if verb == "group":
            self.group = AlignmentGroup[str](int(words[0]))
            return []
        limit = self.group.limit
        effects = self._event(verb, *words)
        return effects if self.group.limit == limit else [*effects, self._limit()]

    def _event(self, verb: str, member: str, time: str = "") -> Sequence[object]:
        match verb:
            case "join":
                self.group.join(member)
                return []
            case "leave":
                return self.group.leave(member)
            case "report":
                return self.group.report(member, IDLE if time == "idle" else int(time))
            case _:
                raise ValueError(f"unknown command: {verb} {member}")

    def _limit(self) -> str:
        return "no limit" if self.group.limit == TIME_MAX else f"limit {self.group.limit}"


class IdlenessStage:
    """`timeout N [started TIME]`, then `record|resumed|paused|look TIME [REASON]`; shown is what becomes of it."""

    def __init__(self) -> None:
        self.clock = IdleClock(1)

    def play(self, verb: str, words: Sequence[str]) -> Sequence[object]:
        """Feed one event, then look."""
        if verb == "timeout":
            timeout, *started = words
            self.clock = IdleClock(int(timeout), int(started[-1]) if started else None)
            return []
        now, reasons = int(words[0]), cast("Sequence[Pause]", words[1:])
        match verb:
            case "record":
                self.clock.on_record(now)
            case "paused":
                self.clock.on_paused(now, *reasons)
            case "resumed":
                self.clock.on_resumed(now, *reasons)
            case "look":
                pass
            case _:
                raise ValueError(f"unknown command: {verb} {words}")
        if self.clock.is_idle(now):
            return ["idle"]
        at = self.clock.idle_at(now)
        return ["active, the clock stands" if at is None else f"active, idle at {at}"]


STAGES: dict[str, Callable[[], Stage]] = {
    "watermarks": WatermarksStage,
    "drift": DriftStage,
    "idleness": IdlenessStage,
}
"""By the first word of a scenario file's name."""
