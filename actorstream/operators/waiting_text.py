"""Writes what waits for time: windows, joins, and the timers of a process.

    for e, k, t, w in ...:                  w: the watermark before the record
        if w >= operator.due:               the top block: what is due before the record at hand
            for x, tf in operator.fire(w, ...): ...
            if w >= operator.due: rest = ...; break
        ...                                 the record

Of a handler's timers each is taken by itself, for the one before may have set or cancelled others.

The top block ends in the same operators as the record does, written out a second time. The parts "fire" and
"fire by clock" are that block alone, for a watermark that no record follows, and for the clock.

What a result of time tf is followed by is the watermark tf - 1, however far the watermark has gone on: so those
behind find the results of one long step as they would find those of many short ones.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, cast

from actorstream.errors import InvariantError
from actorstream.graph.nodes import AssignSpec, Keyed, ProcessSpec, TimedSpec, is_keyed, one_for_all
from actorstream.model.times import TIME_MIN
from actorstream.operators.joins.sliced_cogroup import SlicedCoGroupOperator
from actorstream.operators.process_text import ProcessText
from actorstream.operators.process_timers import Timer
from actorstream.operators.slice_text import begin_slices, write_addition, write_held, write_record_kept, write_slice_of
from actorstream.operators.step_text import Line
from actorstream.operators.time_text import NEAR
from actorstream.operators.timed import LATE, Aside
from actorstream.operators.user_time import datetime_of
from actorstream.operators.windows.sliced import SlicedWindows

if TYPE_CHECKING:
    from actorstream.graph.nodes import Node
    from actorstream.operators.event_clock import EventClock
    from actorstream.operators.step_text import Item
    from actorstream.operators.time_text import Lazy


def delay_of(node: Node) -> int:
    """Tell by how much results may lie behind the watermark that made them due: an outer join's lonely rows do."""
    return node.spec.definition.delay_us if isinstance(node.spec, TimedSpec) else 0


def _has_one_key(node: Node) -> bool:
    return all(isinstance(edge.partitioning, Keyed) and edge.partitioning.key is one_for_all for edge in node.inputs)


class WaitingText(ProcessText):
    """The blocks of the operator with state, and of the time that it waits for."""

    def _stateful(self, node: Node, item: Item, depth: int) -> None:
        if self.bindings.state is None or node is not self.chain.stateful:
            raise InvariantError(f"stateful operator {node.name} has no state in this chain")
        moves = self._moves
        if self.stops:
            self._moves = True
            if not self._top:
                self._top_block(node)
        item = self._named(item, depth)
        match node.spec:
            case ProcessSpec():
                self._process(node, item, depth)
            case TimedSpec():
                self._timed(node, item, depth)
            case _:
                self._rolling(node, item, depth)
        self._moves = moves

    def _timed(self, node: Node, item: str, depth: int) -> None:
        operator = self.bindings.operator
        if operator is None:
            raise InvariantError(f"{node.name} has no operator")
        self.constant("LATE", LATE)
        take = self.constant("take", operator.on_element)
        if self.side:
            take = self.constant("take_other", operator.on_other)
        time = str(TIME_MIN) if self._time is None else self._time
        sliced, lazy, near = self._sliced(), self._lazy, self._near()
        if sliced is not None:
            self._put_into_slice(node, sliced, item, time, depth)
            depth += 1
        if sliced is None or near is not None:
            self._exact_time(depth)
        self._exact_mark(depth)
        self._lazy = None
        self.emit(depth, f"r = {take}(k, {item}, {time}, {self._of_key(self._mark())})")
        watermark = self._watermark
        if delay := delay_of(node):
            self.emit(depth, f"wd = {watermark} - {delay}")
            self._watermark = "wd"
        self._given(node, item, depth)
        self._watermark = watermark
        if sliced is not None:
            self.emit(depth, "if r is not LATE:")
            write_slice_of(self, sliced, time, self._mark(), depth + 1, near=near)
            if _has_one_key(node):
                write_held(self, depth + 2)
        self._lazy = lazy
        if lazy is not None:
            self._look_again(lazy, self._due(node), depth)

    def _put_into_slice(self, node: Node, sliced: SlicedWindows, item: str, time: str, depth: int) -> None:
        """Write what is done with a record whose slice is at hand; what is done with others is one deeper."""
        near = self._near()
        begin_slices(self, sliced, near=near)
        if near is None:
            self._exact_time(depth)
        self.emit(depth, f"if {'cs' if near is None else 'ca'} <= {time} < ce:")
        if isinstance(self.bindings.operator, SlicedCoGroupOperator):
            write_record_kept(self, self.bindings.operator, item, self.side, time, depth + 1)
        else:
            write_addition(self, sliced.aggregation, item, depth + 1, one_key=_has_one_key(node))
        self.emit(depth, "else:")

    def _given(self, node: Node, item: str, depth: int) -> None:
        """Write where goes what an operator gave for a record: results of some time, or that it was late."""
        self.emit(depth, "if r is not None:")
        self.emit(depth + 1, "if r is LATE:")
        self.emit(depth + 2, f"{self._after()}.late += 1")
        late = cast("TimedSpec", node.spec).late
        if self._is_used(node, late):
            self._children(node, item, depth + 2, late)
        self.emit(depth + 1, "else:")
        result = self._variable()
        self.emit(depth + 2, f"for {result}, tr in r:")
        before, self._time = self._time, self._time and "tr"
        self._result(node, result, depth + 3)
        self._time = before

    def _result(self, node: Node, result: str, depth: int) -> None:
        """Write where a result goes, be it one for a side output."""
        if not cast("TimedSpec", node.spec).definition.emits_aside:
            self._children(node, result, depth)
            return
        self.constant("Aside", Aside)
        self.emit(depth, f"if {result}.__class__ is not Aside:")
        self._children(node, result, depth + 1)
        for output in self._outputs_of(node):
            value = self._variable()
            self.emit(depth, f"elif {result}.output == {output!r}:")
            self.emit(depth + 1, f"{value} = {result}.value")
            self._children(node, value, depth + 1, output)

    def _near(self) -> float | None:
        """Tell by how much times may be inexact when a slice is looked for; None: they are exact.

        Records that are kept are kept with their times.
        """
        exact = self._lazy is None or isinstance(self.bindings.operator, SlicedCoGroupOperator)
        return None if exact else NEAR

    def _sliced(self) -> SlicedWindows | None:
        """Give the windows whose slice may be at hand."""
        operator = self.bindings.operator if self._time is not None else None
        if isinstance(operator, SlicedCoGroupOperator):
            return operator.windows
        return operator if isinstance(operator, SlicedWindows) else None

    def _after(self) -> str:
        return self.constant("after", self.bindings.after)

    # ---- what is due

    def _top_block(self, node: Node) -> None:
        body, self._loop = self._loop, []
        operator, self._operator = self._operator, node.name
        due = self._due(node)
        mark, depth = self._mark(), 2
        lazy, near = self._lazy, self._near()
        if lazy is not None:
            self.emit(2, f"if {lazy.high} >= look:")
            self._exact_mark(3)
            self._lazy, depth = None, 3
            self.begin("look = NEVER")
            self._epilogue.append(Line(1, f"if {mark} < {due}: wp = {mark}"))
        self.emit(depth, f"if {mark} >= {due}:")
        brings_key = node is self._start() and isinstance(node.spec, ProcessSpec) and is_keyed(node.spec, self.side)
        if brings_key:
            self.emit(depth + 1, "key = k")  # the timers have keys of their own
        self._fire(node, depth + 1, mark)
        if brings_key:
            self.emit(depth + 1, "k = key")
        if self._sliced() is not None:
            self.emit(depth + 1, "cs = ce = 0" if near is None else "ca = ce = 0.0")
        self.emit(depth + 1, f"if {mark} >= {due}:")
        self.emit(depth + 2, "rest = start + count - len(values) + source.__length_hint__() + 1")
        self.emit(depth + 2, "break")
        if lazy is not None:
            self._look_again(lazy, due, 3)
        else:
            self.emit(2, f"wp = {mark} - {delay_of(node)}" if delay_of(node) else f"wp = {mark}")
        self.begin("rest = 0")
        self._top, self._loop, self._operator, self._lazy = self._loop, body, operator, lazy

    def _look_again(self, lazy: Lazy, due: str, depth: int) -> None:
        """Write from which time on the watermark has to be compared with what is due: a bit before, to be safe."""
        self.constant("FOREVER", inf)
        self.emit(depth, f"look = {due}")
        self.emit(depth, f"look = float(look + {lazy.delay}) - {NEAR} if look <= {lazy.cap} else FOREVER")

    def _due(self, node: Node) -> str:
        """Give the expression for the time from which something is due."""
        if isinstance(node.spec, TimedSpec):
            return f"{self.constant('operator', self.bindings.operator)}.due"
        timers = None if self.bindings.process is None else self.bindings.process.timers
        if timers is None:
            raise InvariantError(f"{node.name} waits for time, but has no timers")
        self.constant("take_due", timers.take)
        return f"{self.constant('soonest', timers.soonest)}[{int(self.part == 'fire by clock')}]"

    def _fire(self, node: Node, depth: int, mark: str) -> None:
        """Write the block that does what is due at the watermark in `mark`, or by the clock, about a burst of it."""
        self.begin(f"wp = {self._after()}.now")
        self._epilogue.append(Line(1, "if wp > after.now: after.now = wp"))
        time, watermark, moves, iterator = self._time, self._watermark, self._moves, self._iterator
        self._time, self._watermark, self._moves, self._iterator = time and "tf", "wp", True, ""
        due, by_clock = self._due(node), self.part == "fire by clock"
        limit = f"{self.constant('round', self.bindings.round)}.limit"
        if isinstance(node.spec, TimedSpec):
            result = self._variable()
            found = f"fire_clock(start, {mark}, " if by_clock else f"fire({mark}, "
            self.emit(depth, f"due = operator.{found}{limit})")
            self.emit(depth, "round.given = len(due)")
            self.emit(depth, f"for {result}, tf in due:")
            self._passed(node, mark, depth + 1)
            self._result(node, result, depth + 1)
        else:
            self._fire_timers(node, depth, mark, due, limit)
        self._time, self._watermark, self._moves, self._iterator = time, watermark, moves, iterator

    def _passed(self, node: Node, mark: str, depth: int) -> None:
        if self.part != "fire by clock" and not delay_of(node):
            # What is due by a floor only says nothing of the other keys.
            passed = "tf - 1 > wp" if self.bindings.floors is None else f"wp < tf - 1 <= {mark}"
            self.emit(depth, f"if {passed}: wp = tf - 1")

    def _fire_timers(self, node: Node, depth: int, mark: str, due: str, limit: str) -> None:
        """Write the loop over timers: each is looked for when the one before is done, which may have set others."""
        by_clock = self.part == "fire by clock"
        # What comes at the instant of a timer of the clock is before it (T28).
        domain, up_to = ("processing", "start - 1") if by_clock else ("event", mark)
        self.constant("Timer", Timer)
        self.constant("new", tuple.__new__)  # of a NamedTuple: 0.7 of the time
        self.constant("datetime_of", datetime_of)
        self.emit(depth, f"turns = {limit}")
        found = f"(found := take_due({int(by_clock)}, {up_to})) is not None"
        self.emit(depth, f"while turns and {up_to} >= {due} and {found}:")
        self.emit(depth + 1, "turns -= 1")
        self.emit(depth + 1, "tf, _, _, k, name = found")
        self._passed(node, mark, depth + 1)
        self.emit(depth + 1, f"timer = new(Timer, (datetime_of(tf), name, {domain!r}))")
        watermark, floors = mark if by_clock else "tf if tf > wp else wp", self.bindings.floors
        if floors is not None:
            name = self.constant("by_clock", floors.at) if by_clock else self.constant("by_time", floors.at_timer)
            watermark = f"{name}(k, {watermark})"
        self._on_timer(node, depth + 1, watermark)
        self.emit(depth, f"round.given = {limit} - turns")

    def _on_timer(self, node: Node, depth: int, watermark: str) -> None:
        binding = self._bind_process(node)
        self.constant("on_timer", binding.handler("on_timer"))
        self.emit(depth, "ctx.key = k")
        self.emit(depth, "ctx.event_time_us = tf")
        self.emit(depth, f"ctx.watermark_us = {watermark}")
        self._handled(node, binding, "on_timer(timer, ctx)", "None, tf, k, name", depth)

    def _fire_alone(self, node: Node) -> None:
        """Write the part without records."""
        self.constant("clock", self.stage_of(node))
        self.begin("w = clock.now")
        self._fire(node, 1, "w")

    def stage_of(self, node: Node) -> EventClock:
        """Give the clock by which an operator of this chain goes: of the last times assigned before it."""
        by_id = {each.id: each for each in self.chain.nodes}
        while node is not self.chain.head:
            node = by_id[node.inputs[0].source]
            if isinstance(node.spec, AssignSpec):
                return self.bindings.assigned[node.id]
        return self.bindings.clock
