"""How far event time has come in one subtask: where records enter, and behind each operator that gives them new times.

    channel 0  12 ─┐
    channel 1  30 ─┴─ combiner ─> clock (12)  ──> assign_timestamps ──> clock of its own, the least of its splits'
                                    │
                                    └─> the operator that waits for time; what it has done, `after` says

During a batch the generated loop moves the clocks (operators/event_clock.py); `begin` tells it how far it may,
and `end` takes in how far it came. A batch is of one part: a split in a source, else a channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.event_clock import AssignedClock, EventClock
from actorstream.operators.generators import BoundedOutOfOrderness, Custom
from actorstream.protocol.idleness import IdleClock
from actorstream.protocol.watermarks import WatermarkCombiner

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from actorstream.graph.nodes import AssignSpec, Node, NodeId
    from actorstream.graph.plan import Chain
    from actorstream.model.world import Clock
    from actorstream.operators.floors import Floor
    from actorstream.protocol.idleness import Pause

PERIOD_US = 200_000
"""How often a generator of the user's is asked without a record."""


class PartTime(NamedTuple):
    """Where a generator stands: its state, encoded, its watermark, and whether its split was idle."""

    generator: bytes
    watermark: int
    idle: bool


class Told(NamedTuple):
    """What those behind an exchange know: the watermark, and whether not to wait for it."""

    watermark: int
    idle: bool


class TimeReport(NamedTuple):
    """The event time of one subtask as of a barrier.

    `entering` and `after` are the clocks' times, `assigned` those by operator: where times are assigned, and that by
    which the operator with state goes, for the chain it is in depends on the parallelism. `parts` are the
    generators, by operator and split or channel; `told` is by exchange. `floors`: for these key groups time had come
    further, before a rescale.
    """

    entering: int
    after: int
    assigned: Mapping[str, int]
    parts: Mapping[str, Mapping[str, PartTime]]
    told: Mapping[str, Told]
    floors: Sequence[Floor] = ()


class _Assigned:
    """One `assign_timestamps`: a generator for each part, and the least of their watermarks."""

    def __init__(self, node: Node, parts: Sequence[str], now_us: int) -> None:
        self.node = node
        self.spec = cast("AssignSpec", node.spec)
        self.clock = AssignedClock()
        self.combiner = WatermarkCombiner(len(parts))
        self.generators = [self._generator() for _ in parts]
        timeout_us = self.spec.idle_timeout_us
        self.quiet = [IdleClock(timeout_us, now_us) for _ in parts] if timeout_us is not None else []

    def _generator(self) -> BoundedOutOfOrderness | Custom:
        if self.spec.generator is None:
            return BoundedOutOfOrderness(self.spec.out_of_orderness_us)
        return Custom(self.spec.generator(), self.node.name)

    def restore(self, now: int, parts: Sequence[str], known: Mapping[str, PartTime], silent: Sequence[bool]) -> None:
        snapshots = []
        for number, part in enumerate(parts):
            place = known.get(part)
            if place is None:
                snapshots.append((TIME_MIN, silent[number], False))
                continue
            self.generators[number].restore(SELF_DESCRIBING.decode(place.generator))
            snapshots.append((place.watermark, place.idle, False))
        self.combiner.restore((now, tuple(snapshots)))
        self.clock.now = now


class EventTime:
    """All clocks of one subtask.

    Attributes:
        clock: Where records enter.
        after: Behind the operator that waits for time.
        assigned: Behind each `assign_timestamps`, by operator.
    """

    def __init__(self, chain: Chain, parts: Sequence[str], clock: Clock, *, source: bool) -> None:
        """Start before all time; `parts` are the splits of a source, else the channels. `clock` tells who is idle."""
        self.parts = list(parts)
        self.clock = EventClock()
        self.after = EventClock()
        self._source = source
        self._entering = WatermarkCombiner(len(parts))
        self._wall = clock
        self._assigned = [_Assigned(node, parts, self._now_us()) for node in chain.assigns]
        self._asked_us = self._now_us()
        self._asks = any(each.spec.generator is not None for each in self._assigned)
        self.assigned = {each.node.id: each.clock for each in self._assigned}
        self._stateful = chain.stateful
        self._stage = self.clock if chain.stateful is None else self.clock_before(chain, chain.stateful)
        self._floors: Sequence[Floor] = ()

    @property
    def floors(self) -> Sequence[Floor]:
        """For which key groups of the operator with state time has come further, before a rescale."""
        if self._floors:
            self._floors = [floor for floor in self._floors if floor.watermark > self._stage.now]
        return self._floors

    @property
    def now(self) -> int:
        """The watermark that counts here: behind the times assigned last, else where records enter."""
        return [self.clock, *self.assigned.values()][-1].now

    def clock_before(self, chain: Chain, node: Node) -> EventClock:
        """Give the clock by which a node goes: of the times assigned last before it, else where records enter."""
        nodes = {each.id: each for each in chain.nodes}
        return self.clock if node is chain.head else self.clock_at(chain, nodes[node.inputs[0].source].id)

    def clock_at(self, chain: Chain, node: NodeId) -> EventClock:
        """Give the clock of the records that a node gives."""
        nodes = {each.id: each for each in chain.nodes}
        while node not in self.assigned and node != chain.head.id:
            node = nodes[node].inputs[0].source
        return self.assigned.get(node, self.clock)

    # ---- a batch

    def begin(self, part: int, marks: list[int] | None) -> list[int] | None:
        """Let the clocks know what may happen in a batch of `part`; give its marks as they count here."""
        entering, clock = self._entering, self.clock
        entering.on_active(part)
        clock.now, clock.cap = entering.output, entering.cap(part)
        for each in self._assigned:
            combiner = each.combiner
            combiner.on_active(part)
            if each.quiet:
                each.quiet[part].on_record(self._now_us())
            each.clock.now, each.clock.cap = combiner.output, combiner.cap(part)
            each.clock.generator = each.generators[part]
        if marks is None or marks[-1] <= clock.now or clock.cap <= clock.now:
            return None
        if marks[0] >= clock.now and marks[-1] <= clock.cap:
            return marks
        now, cap = clock.now, clock.cap
        return [now if mark < now else mark if mark < cap else cap for mark in marks]

    def end(self, part: int, watermark: int | None) -> None:
        """Take in how far a batch has moved time; `watermark` is what it says itself."""
        if watermark is not None:
            self._entering.on_watermark(part, watermark)
            self.clock.now = self._entering.output
        for each in self._assigned:
            each.combiner.on_watermark(part, each.generators[part].watermark())
            each.clock.now = each.combiner.output

    # ---- signals

    def on_watermark(self, part: int, watermark: int) -> None:
        """Take in a watermark without records; in a source it is for all clocks, as if the records said so."""
        self._entering.on_active(part)
        self._entering.on_watermark(part, watermark)
        if self._source:
            for each in self._assigned:
                each.combiner.on_active(part)
                if each.quiet:
                    each.quiet[part].on_record(self._now_us())
                each.generators[part].raise_to(watermark)
                each.combiner.on_watermark(part, watermark)
        self._read()

    def on_idle(self, part: int) -> None:
        """Do not wait for a part: nothing comes from it."""
        self._entering.on_idle(part)
        for each in self._assigned:
            each.combiner.on_idle(part)
        self._read()

    def on_end(self, part: int) -> None:
        """Never wait for a part again."""
        self._entering.on_end(part)
        for each in self._assigned:
            each.combiner.on_end(part)
        self._read()

    # ---- the clock: who is idle, and generators that want to be asked

    def begin_to_wait(self) -> None:
        """Count silence from here on: until all actors are open nobody could have said anything."""
        self._asked_us = now_us = self._now_us()
        for each in self._assigned:
            for quiet in each.quiet:
                quiet.on_record(now_us)

    def look_around(self) -> None:
        """See which parts have become idle, and ask the generators that are asked now and then."""
        now_us = self._now_us()
        for each in self._assigned:
            for part, quiet in enumerate(each.quiet):
                if quiet.is_idle(now_us):
                    each.combiner.on_idle(part)
        if self._asks and now_us >= self._asked_us + PERIOD_US:
            self._asked_us = now_us
            for each in self._assigned:
                if each.spec.generator is not None:
                    self._ask(each)
        self._read()

    def _ask(self, each: _Assigned) -> None:
        _, inputs = each.combiner.snapshot()
        for part, (_, _, ended) in enumerate(inputs):
            if not ended:
                each.combiner.on_watermark(part, cast("Custom", each.generators[part]).on_period())

    def seconds_to_wait(self) -> float | None:
        """Tell after how many seconds to look around, if nothing happens; None: never."""
        now_us = self._now_us()
        at = [idle_at for each in self._assigned for quiet in each.quiet if (idle_at := quiet.idle_at(now_us))]
        if self._asks:
            at.append(self._asked_us + PERIOD_US)
        return max(0.0, (min(at) - now_us) / 1e6) if at else None

    def pause(self, why: Pause, part: int | None = None) -> None:
        """Let nobody become idle, or one part not, while it is not its fault that nothing comes (T44)."""
        now_us = self._now_us()
        for each in self._assigned:
            for quiet in each.quiet if part is None else each.quiet[part : part + 1]:
                quiet.on_paused(now_us, why)

    def resume(self, why: Pause, part: int | None = None) -> None:
        """Let the clocks of idleness go on."""
        now_us = self._now_us()
        for each in self._assigned:
            for quiet in each.quiet if part is None else each.quiet[part : part + 1]:
                quiet.on_resumed(now_us, why)

    def alignments(self) -> Iterator[tuple[str, int, int, int, bool]]:
        """Give for each part that is kept together with others: group, max drift, part, its watermark, whether idle."""
        for each in self._assigned:
            if each.spec.alignment is not None:
                group, drift_us = each.spec.alignment
                _, inputs = each.combiner.snapshot()
                for part, (watermark, idle, ended) in enumerate(inputs):
                    if not ended:
                        yield group, drift_us, part, watermark, idle

    def _now_us(self) -> int:
        return int(self._wall.monotonic() * 1e6)

    def finish(self) -> None:
        """All input has ended: no time is left to wait for."""
        for clock in (self.clock, *self.assigned.values()):
            clock.now = TIME_MAX

    def _read(self) -> None:
        self.clock.now = self._entering.output
        for each in self._assigned:
            each.clock.now = each.combiner.output

    def is_idle(self, clock: EventClock) -> bool:
        """Tell whether those behind a clock need not wait for it."""
        for each in self._assigned:
            if each.clock is clock:
                return each.combiner.idle
        return self._entering.idle

    # ---- snapshots

    def entered(self) -> list[tuple[int, bool]]:
        """Give, for each part, how far event time has come there, and whether it is idle."""
        _, inputs = self._entering.snapshot()
        return [(watermark, idle) for watermark, idle, _ in inputs]

    def report(self, told: Mapping[str, Told]) -> TimeReport:
        """Give what a snapshot must hold."""
        parts = {}
        for each in self._assigned:
            _, inputs = each.combiner.snapshot()
            parts[each.node.name] = {
                part: PartTime(SELF_DESCRIBING.encode(generator.snapshot()), watermark, idle)
                for part, generator, (watermark, idle, ended) in zip(self.parts, each.generators, inputs, strict=True)
                if not ended
            }
        if self._source:
            _, inputs = self._entering.snapshot()
            parts[_OF_THE_SOURCE] = {
                part: PartTime(b"", watermark, idle)
                for part, (watermark, idle, ended) in zip(self.parts, inputs, strict=True)
                if not ended
            }
        assigned = {each.node.name: each.clock.now for each in self._assigned}
        if self._stateful is not None:
            assigned[self._stateful.name] = self._stage.now
        return TimeReport(self.clock.now, self.after.now, assigned, parts, told, self.floors)

    def restore(
        self,
        own: TimeReport,
        parts: Mapping[str, Mapping[str, PartTime]],
        channels: Sequence[Told | None],
        reached: int = TIME_MIN,
        floors: Sequence[Floor] = (),
    ) -> None:
        """Go on where a snapshot was taken.

        Args:
            own: What this subtask reported, or the least of those whose place it takes.
            parts: What all subtasks reported of each split or channel.
            channels: What each channel's sender had told; empty for a source. None: its sender had another parallelism,
                so nobody knows, and time waits until it speaks.
            reached: How far the operator with state had come, wherever it was.
            floors: For which of its key groups it had come further.
        """
        self._floors = floors
        entering = max(own.entering, reached) if self._stage is self.clock else own.entering
        if self._source:
            said = parts.get(_OF_THE_SOURCE, {})
            known = [said.get(part, _UNKNOWN) for part in self.parts]
            self._entering.restore((entering, tuple((at.watermark, at.idle, False) for at in known)))
        elif channels:
            inputs = tuple(
                (entering, False, False) if told is None else (told.watermark, told.idle, False) for told in channels
            )
            self._entering.restore((entering, inputs))
        self.clock.now, self.after.now = self._entering.output, own.after
        silent = [told is not None and told.idle for told in channels] or [False] * len(self.parts)
        for each in self._assigned:
            now = own.assigned.get(each.node.name, TIME_MIN)
            now = max(now, reached) if self._stage is each.clock else now
            each.restore(now, self.parts, parts.get(each.node.name, {}), silent)


_OF_THE_SOURCE = ""
"""Stands among the operators for what a source itself has said of its splits; no operator has this name."""
_UNKNOWN = PartTime(b"", TIME_MIN, idle=False)

NOTHING_TOLD = Told(TIME_MIN, idle=False)
AT_FIRST = TimeReport(TIME_MIN, TIME_MIN, {}, {}, {})


def least(reports: Iterable[TimeReport]) -> TimeReport:
    """Give a report that promises no more than any of these."""
    reports = list(reports)
    if len(reports) <= 1:
        return reports[0] if reports else AT_FIRST
    assigned = {name: min(report.assigned.get(name, TIME_MIN) for report in reports) for name in reports[0].assigned}
    names = set.intersection(*[set(report.told) for report in reports])
    told = {
        name: Told(
            min(report.told[name].watermark for report in reports), all(report.told[name].idle for report in reports)
        )
        for name in names
    }
    entering, after = min(report.entering for report in reports), min(report.after for report in reports)
    return TimeReport(entering, after, assigned, {}, told)
