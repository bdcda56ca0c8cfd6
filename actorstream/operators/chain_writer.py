"""Writes the text of a chain's function from its tree of operators.

Each case of `_node` is one operator's few lines; what follows it in the chain is
written inside them, so a filter is an `if` and a flat_map a `for` around the rest:

    head              for e, k in zip(it, keys):
    filter                if f1(e):
    map                       x1 = f2(e)
    key_by                    p0(x1); pk0(key0(x1))         an outlet
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.errors import InvariantError
from actorstream.graph.awaited import AsyncSpec
from actorstream.graph.nodes import (
    AssignSpec,
    CallSpec,
    FilterSpec,
    FlatMapSpec,
    InspectSpec,
    Keyed,
    LoopSpec,
    MapSpec,
    SinkSpec,
    SourceSpec,
    ThrottleSpec,
    errors_of,
    is_keyed,
    one_for_all,
)
from actorstream.operators.failures import Aside
from actorstream.operators.step_text import Line, Nested, Outlet
from actorstream.operators.waiting_text import WaitingText

if TYPE_CHECKING:
    from actorstream.graph.nodes import Edge, Function, Node
    from actorstream.graph.plan import Chain
    from actorstream.operators.step_text import Bindings, Item, StepPart


class ChainWriter(WaitingText):
    """Writes the function from the tree of operators; each line remembers the operator it belongs to."""

    def __init__(
        self,
        chain: Chain,
        bindings: Bindings,
        *,
        timed: bool,
        part: StepPart = "whole",
        marked: bool = False,
        side: int = 0,
    ) -> None:
        """Write `lines`, and with them the `constants` that they name and the `outlets` that they fill."""
        super().__init__(chain, bindings, timed=timed, part=part, marked=marked, side=side)
        self.lines = self._write()

    def _write(self) -> list[Line]:
        start = self._start()
        self._operator = start.name
        alone = self.part in {"fire", "fire by clock"}
        if alone:
            self._fire_alone(start)
        elif isinstance(start.spec, SourceSpec):
            self._children(start, "e", 2)
        else:
            self._node(start, "e", 2)
        if self._uses_entering_watermark and not self.marked and not alone:
            self.constant("clock", self.bindings.clock)
            self._prologue.insert(0, Line(1, "w = clock.now"))
        if self.stops:
            self._results.append("rest")
        parameters = ", ".join(f"{name}={name}" for name in self.constants)
        lines = [Line(0, f"def step(values, keys, timestamps, marks, start, count, *, {parameters}):"), *self._prologue]
        lines += self._direct
        if self._loop and not alone:
            lines += [*self._loop_head(start), *self._top]
        lines += [*self._loop, *self._epilogue]
        lines.append(Line(1, f"return ({''.join(result + ', ' for result in self._results)})"))
        return lines

    def _loop_head(self, start: Node) -> list[Line]:
        """Write the loop over records start to start + count; the iterator tells which record it was at."""
        lines = [
            Line(1, "it = source = iter(values)"),
            Line(1, "if count != len(values):"),
            Line(2, "source.__setstate__(start)"),
            Line(2, "it = islice(source, count)"),
        ]
        columns = {"e": "it"}
        if any(edge.side == self.side and isinstance(edge.partitioning, Keyed) for edge in start.inputs):
            columns["k"] = "keys"
        if self._time == "t":
            columns["t"] = "timestamps"
        if self.marked:
            columns["w"] = "marks"
        for column in list(columns.values())[1:]:
            lines[1:1] = [Line(1, f"{column} = iter({column})")]
            lines.append(Line(2, f"{column}.__setstate__(start)"))
        if len(columns) == 1:
            return [*lines, Line(1, "for e in it:", start.name)]
        return [*lines, Line(1, f"for {', '.join(columns)} in zip({', '.join(columns.values())}):", start.name)]

    # ---- operators

    def _node(self, node: Node, item: Item, depth: int) -> None:
        """Write `node` applied to `item`, and all that follows it in the chain."""
        outer, self._operator = self._operator, node.name
        spec = node.spec
        match spec:
            case MapSpec(fn) | FilterSpec(fn) | FlatMapSpec(fn) if errors_of(spec):
                self._failing(node, fn, self._named(item, depth), depth)
            case MapSpec(fn):
                self._children(node, self._call(node, fn, item, depth), depth)
            case FilterSpec(fn):
                item = self._named(item, depth)
                self.emit(depth, f"if {self.constant(f'f{node.id}', fn)}({item}):")
                self._children(node, item, depth + 1)
            case FlatMapSpec(fn):
                result = self._variable()
                self._emit_around(depth, f"{result} = {self.constant(f'f{node.id}', fn)}(", item, ")")
                self._no_text(result, depth)
                self.emit(depth, f"for {result} in {result} or ():")
                self._children(node, result, depth + 1)
            case InspectSpec(fn):
                item = self._named(item, depth)
                self.emit(depth, f"{self.constant(f'f{node.id}', fn)}({item})")
                self._children(node, item, depth)
            case LoopSpec() | ThrottleSpec() | AsyncSpec():
                self._passing(node, item, depth)
            case AssignSpec():
                self._assign(node, spec, item, depth)
            case SinkSpec() | CallSpec():
                self._output(node, spec, item, depth)
            case SourceSpec():
                raise InvariantError(f"source {node.name} is not at the head of its chain")
            case _:
                self._stateful(node, item, depth)
        self._operator = outer

    def _awaited(self, node: Node, errors: str, item: Item, depth: int) -> None:
        """Hand on what was awaited: a result, or what has become of a record that failed."""
        item, failure = self._named(item, depth), self._variable()
        self.emit(depth, f"if {item}.__class__ is {self.constant('Aside', Aside)}:")
        self.emit(depth + 1, f"{failure} = {item}.value")
        self._children(node, failure, depth + 1, errors)
        self.emit(depth, "else:")
        self._children(node, item, depth + 1)

    def _passing(self, node: Node, item: Item, depth: int) -> None:
        """Hand on; count what passes a throttle, and tell apart what was awaited."""
        if errors := errors_of(node.spec):
            self._awaited(node, errors, item, depth)
            return
        throttle = self.bindings.throttles.get(node.id)
        if throttle is not None:
            self.begin(f"q{node.id} = 0")
            self.emit(depth, f"q{node.id} += 1")
            told = Line(1, f"{self.constant(f'passed{node.id}', throttle.passed)}(q{node.id})")
            if told not in self._epilogue:
                self._epilogue.append(told)
        self._children(node, item, depth)

    def _output(self, node: Node, spec: SinkSpec | CallSpec, item: Item, depth: int) -> None:
        if isinstance(spec, SinkSpec):
            self._outlet(Outlet("sink", node.id), item, depth)
        elif spec.is_async:
            self._outlet(Outlet("call", node.id), item, depth)
        else:
            self._called(node, spec.fn, item, depth)

    def _failing(self, node: Node, fn: Function, item: str, depth: int) -> None:
        """Write a function whose errors go to a side output, and what follows it."""
        result, call = self._variable(), f"{self.constant(f'f{node.id}', fn)}({item})"
        match node.spec:
            case FilterSpec():
                attempt = f"{result} = True if {call} else False"  # its truth may raise, too
            case FlatMapSpec():
                attempt = f"{result} = {call}\n{self._all_of(result)}"
            case _:
                attempt = f"{result} = {call}"
        depth = self._guarded(node, depth, attempt, f"{item}, {self._time}")
        match node.spec:
            case FilterSpec():
                self.emit(depth, f"if {result}:")
                self._children(node, item, depth + 1)
            case FlatMapSpec():
                each = self._variable()
                self.emit(depth, f"for {each} in {result} or ():")
                self._children(node, each, depth + 1)
            case _:
                self._children(node, result, depth)

    def _call(self, node: Node, fn: Function, item: Item, depth: int) -> Item:
        """Give a call of a user's function, nested into what takes it if that is one place (0.05 of q0, measured)."""
        name = self.constant(f"f{node.id}", fn)
        if isinstance(item, str):
            nested = Nested(((node.name, f"{name}({item})"),))
        else:
            nested = Nested(((node.name, f"{name}("), *item.lines, (node.name, ")")))
        return nested if self._users(node) == 1 else self._named(nested, depth)

    def _children(self, node: Node, item: Item, depth: int, output: str = "") -> None:
        """Write everything that takes the records of `node`, or those of a side output, which are `item`."""
        before = len(self._loop)
        if self._users(node, output) > 1:
            item = self._named(item, depth)
        for taker, edge in self._taken(node, output):
            if taker is self.chain.stateful and is_keyed(taker.spec):
                self._key(taker, edge, item, depth)
            else:
                self._node(taker, item, depth)
        for exchange in self._sent(node, output):
            self._exchange(exchange, item, depth)
        if (node.id, output) in self.bindings.taps:
            self._outlet(Outlet("tap", node.id, output=output), item, depth)
        if len(self._loop) == before and before and self._loop[before - 1].text.endswith(":"):
            self.emit(depth, "pass")

    def _key(self, node: Node, edge: Edge, item: Item, depth: int) -> None:
        """Make the key for the operator inside this chain; before the key, that is where the part ends."""
        if not isinstance(edge.partitioning, Keyed):
            raise InvariantError(f"{node.name} keeps state by key, but its input has none")
        key = edge.partitioning.key
        if self.part == "before key":
            timed = self._time is not None
            outlet = Outlet("keyed", node.id, keyed=True, timed=timed, marked=timed and self._moves)
            self._outlet(outlet, item, depth, key)
            return
        check = self.bindings.key_check
        if check is None:
            raise InvariantError(f"{node.name} makes keys, but has no check for them")
        self.constant("type", type)
        self.constant("settled", check.settled)
        self.constant("check", check.one)
        self.begin("key_type = settled()")
        item = self._named(item, depth)
        number = node.inputs.index(edge)
        self.emit(depth, f"k = {self.applied(f'key_{number}' if number else 'key', key, item)}")
        if key is not one_for_all:
            self.emit(depth, "if type(k) is not key_type: key_type = check(k)")
        self.side = edge.side
        self._node(node, item, depth)
