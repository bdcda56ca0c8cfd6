"""Writes how event time is assigned and moves while a loop runs.

    t4 = time4(e)                       the user's time, in microseconds
    ...                                 all that follows in the chain: it sees t4, and mark4 as the watermark before
    if t4 > high4: ...                  the generator moves, and the watermark with it, up to what others allow

An operator that waits for time is asked at the top of the loop, before anything is done with the record: there
nothing is half done, so the loop can also stop there, when more is due than fits into a burst, and go on later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.operators.event_clock import YEAR_1, YEAR_10000
from actorstream.operators.step_text import Line, StepText
from actorstream.operators.user_time import time_us

if TYPE_CHECKING:
    from actorstream.graph.nodes import AssignSpec, Node
    from actorstream.operators.step_text import Item


class TimeText(StepText):
    """The blocks that make and move event time."""

    def _children(self, node: Node, item: Item, depth: int, output: str = "") -> None:
        raise NotImplementedError

    def _mark(self) -> str:
        """Give the variable that holds the watermark before the record at hand."""
        if self._watermark == "w":
            self._uses_entering_watermark = True
        return self._watermark

    def _assign(self, node: Node, spec: AssignSpec, item: Item, depth: int) -> None:
        """Give the record a time of its own, write all that takes it, and move the watermark."""
        n = node.id
        time, mark, high = f"t{n}", f"mark{n}", f"high{n}"
        item = self._named(item, depth)
        self.constant("time_us", time_us)
        self.constant(f"what{n}", "what it was given as the time of a record")
        clock = self.constant(f"clock{n}", self.bindings.assigned[n])
        self.begin(f"{mark}, cap{n}, gen{n} = {clock}.now, {clock}.cap, {clock}.generator")
        self._epilogue.append(Line(1, f"{clock}.now = {mark}"))
        self.emit(depth, f"{time} = {self.applied(f'time{n}', spec.fn, item)}")
        # Anything else, NaN and years beyond 9999 included, is told apart where it costs nothing.
        self.emit(depth, f"if {time}.__class__ is float and {YEAR_1}.0 <= {time} < {YEAR_10000}.0:")
        self.emit(depth + 1, f"{time} = ({time} * 1000000.0).__round__()")  # 0.75 of the time that round() takes
        self.emit(depth, "else:")
        self.emit(depth + 1, f"{time} = time_us({time}, what{n})")
        before = self._time, self._watermark, self._moves
        self._time, self._watermark, self._moves = time, mark, True
        self._children(node, item, depth)
        self._time, self._watermark, self._moves = before
        if spec.generator is not None:
            self.begin(f"observe{n} = gen{n}.on_element")
            self.emit(depth, f"m = observe{n}({item}, {time})")
        else:
            self.begin(f"{high}, delay{n} = gen{n}.highest, gen{n}.delay + 1")
            self._epilogue.append(Line(1, f"gen{n}.highest = {high}"))
            self.emit(depth, f"if {time} > {high}:")
            depth += 1
            self.emit(depth, f"{high} = {time}")
            self.emit(depth, f"m = {time} - delay{n}")
        self.emit(depth, f"if m > {mark}: {mark} = m if m < cap{n} else cap{n}")
