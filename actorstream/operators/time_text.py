"""Writes how event time is assigned and moves while a loop runs.

    t4 = time4(e)                       the user's time, in microseconds
    ...                                 all that follows in the chain: it sees t4, and mark4 as the watermark before
    if t4 > high4: ...                  the generator moves, and the watermark with it, up to what others allow

An operator that waits for time is asked at the top of the loop, before anything is done with the record: there
nothing is half done, so the loop can also stop there, when more is due than fits into a burst, and go on later.

Where few records need them exactly, because a filter comes first or their slice is at hand, time and watermark are
made exact only there (`_exact`): before that t4 is the user's seconds times a million, not rounded yet, and mark4 lags
behind high4. Rounding keeps order, so the highest one rounded is the highest of those rounded. It is 65 ns of
a record that costs the plain loop 600 (q7, .85 to .97 of its speed).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from actorstream.graph.nodes import AssignSpec, FilterSpec, ProcessSpec, TimedSpec
from actorstream.operators.event_clock import YEAR_1, YEAR_10000
from actorstream.operators.step_text import Line, StepText
from actorstream.operators.user_time import time_us
from actorstream.operators.windows.sliced import SlicedWindows

if TYPE_CHECKING:
    from actorstream.graph.nodes import Node
    from actorstream.operators.step_text import Item

NEAR = 64.0
"""How far from a bound, in microseconds, a time counts as at it: more than floats of the year 9999 are apart."""


class Lazy(NamedTuple):
    """The variables of a time and a watermark that are made exact where they are used."""

    time: str
    mark: str
    high: str
    seen: str
    delay: str
    cap: str


class TimeText(StepText):
    """The blocks that make and move event time."""

    _lazy: Lazy | None = None

    def _children(self, node: Node, item: Item, depth: int, output: str = "") -> None:
        raise NotImplementedError

    def _mark(self) -> str:
        """Give the variable that holds the watermark before the record at hand."""
        if self._watermark == "w":
            self._uses_entering_watermark = True
        return self._watermark

    def _of_key(self, mark: str) -> str:
        """Give the expression for the watermark that counts for the key at hand, where in the chain it is `mark`."""
        floors = self.bindings.floors
        return mark if floors is None else f"{self.constant('floored', floors.at)}(k, {mark})"

    def _assign(self, node: Node, spec: AssignSpec, item: Item, depth: int) -> None:
        """Give the record a time of its own, write all that takes it, and move the watermark."""
        n = node.id
        time, mark, high = f"t{n}", f"mark{n}", f"high{n}"
        item = self._named(item, depth)
        lazy = spec.generator is None and not self._takes_exact(node)
        self.constant("time_us", time_us)
        self.constant(f"what{n}", "what it was given as the time of a record")
        clock = self.constant(f"clock{n}", self.bindings.assigned[n])
        self.begin(f"{mark}, cap{n}, gen{n} = {clock}.now, {clock}.cap, {clock}.generator")
        if lazy:
            self._epilogue.append(Line(1, f"{mark} = max({mark}, min(gen{n}.saw({high}), cap{n}))"))
        self._epilogue.append(Line(1, f"{clock}.now = {mark}"))
        self.emit(depth, f"{time} = {self.applied(f'time{n}', spec.fn, item)}")
        # Anything else, NaN and years beyond 9999 included, is told apart where it costs nothing.
        self.emit(depth, f"if {time}.__class__ is float and {YEAR_1}.0 <= {time} < {YEAR_10000}.0:")
        rounded = f"({time} * 1000000.0).__round__()"  # 0.75 of the time that round() takes
        self.emit(depth + 1, f"{time} *= 1000000.0" if lazy else f"{time} = {rounded}")
        self.emit(depth, "else:")
        self.emit(depth + 1, f"{time} = time_us({time}, what{n})")
        before = self._time, self._watermark, self._moves, self._lazy
        self._time, self._watermark, self._moves = time, mark, True
        self._lazy = Lazy(time, mark, high, f"seen{n}", f"delay{n}", f"cap{n}") if lazy else None
        self._children(node, item, depth)
        self._time, self._watermark, self._moves, self._lazy = before
        if spec.generator is not None:
            self.begin(f"observe{n} = gen{n}.on_element")
            self.emit(depth, f"m = observe{n}({item}, {time})")
        elif lazy:
            self.constant("NEVER", -inf)
            self.begin(f"{high}, seen{n}, delay{n} = NEVER, NEVER, gen{n}.delay + 1")
            self.emit(depth, f"if {time} > {high}: {high} = {time}")
            return
        else:
            self.begin(f"{high}, delay{n} = gen{n}.highest, gen{n}.delay + 1")
            self._epilogue.append(Line(1, f"gen{n}.highest = {high}"))
            self.emit(depth, f"if {time} > {high}:")
            depth += 1
            self.emit(depth, f"{high} = {time}")
            self.emit(depth, f"m = {time} - delay{n}")
        self.emit(depth, f"if m > {mark}: {mark} = m if m < cap{n} else cap{n}")

    def _exact(self, depth: int) -> None:
        """Make time and watermark of the record at hand exact, where they are not."""
        self._exact_time(depth)
        self._exact_mark(depth)

    def _exact_time(self, depth: int) -> None:
        if self._lazy is not None:
            self.emit(depth, f"{self._lazy.time} = {self._lazy.time}.__round__()")

    def _exact_mark(self, depth: int) -> None:
        if self._lazy is not None:
            _, mark, high, seen, delay, cap = self._lazy
            self.emit(depth, f"if {high} > {seen}:")
            self.emit(depth + 1, f"{seen} = {high}")
            self.emit(depth + 1, f"m = {high}.__round__() - {delay}")
            self.emit(depth + 1, f"if m > {mark}: {mark} = m if m < {cap} else {cap}")

    def _takes_exact(self, node: Node, output: str = "") -> bool:
        """Tell whether each record of `node` has to have its exact time."""
        if any(exchange in self.bindings.timed for exchange in self._sent(node, output)):
            return True
        for child, _ in self._taken(node, output):
            match child.spec:
                case FilterSpec() | AssignSpec():
                    continue
                case TimedSpec():
                    if self.part != "whole" or not isinstance(self.bindings.operator, SlicedWindows):
                        return True
                case ProcessSpec():
                    return True
                case _:
                    if self.part == "before key" and child is self.chain.stateful:
                        return True
                    if self._takes_exact(child):
                        return True
        return False
