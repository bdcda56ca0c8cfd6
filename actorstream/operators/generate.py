"""One generated function for each chain: a loop in which every operator of the chain is inlined.

    for e, k in zip(it, keys):              the batch
        v = get(k, M)                       keyed head: this epoch's writes
        if v is M: v = older(k)             frozen generations, clean values, layers
        live[k] = v = f0(v, e)              the write is the dirty mark
        x1 = (k, v)
        if f1(x1):                          a filter behind it
            p0(x1)                          an outlet: append to what is sent on

A list between operators costs 0.1 to 0.2 of a plain loop, a closure call for each
operator 0.2 (design notes on speed), so neither is here. User functions and
bound methods are default arguments, which makes them locals. Nothing is caught
inside: after an error the traceback's line tells the operator and the batch
iterator's length hint tells the record, both free until then. `Step.source` is
the text; tests print it.
"""

from __future__ import annotations

import linecache
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, cast

from actorstream.codec.values import copy_value, is_immutable
from actorstream.errors import InvariantError
from actorstream.graph.nodes import (
    CallSpec,
    CountSpec,
    FilterSpec,
    FlatMapSpec,
    FoldSpec,
    Keyed,
    LatestSpec,
    MapSpec,
    MapWithStateSpec,
    ProcessSpec,
    ReduceSpec,
    SinkSpec,
    SourceSpec,
)
from actorstream.state.memtable import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from types import TracebackType

    from actorstream.graph.nodes import Function, Node, NodeId
    from actorstream.graph.plan import Chain, Exchange
    from actorstream.operators.keyed_process import ProcessBinding
    from actorstream.operators.routing import Router
    from actorstream.state.operator_state import OperatorState

OutletKind: TypeAlias = Literal["exchange", "sink", "call", "called", "tap"]
Run: TypeAlias = "Callable[[list[object], list[object] | None, Iterable[int] | None], tuple[Lists | list[Lists] | int, ...]]"
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Outlet:
    """What one entry of a step's result is: who gets it, and which lists it has.

    `targets` is None for one receiver list, else the number of lists, one a receiving subtask.
    """

    kind: OutletKind
    node: NodeId
    exchange: Exchange | None = None
    keyed: bool = False
    timed: bool = False
    targets: int | None = None


class Lists(NamedTuple):
    """What one outlet collected in one call."""

    values: list[object]
    keys: list[object] | None
    timestamps: list[int] | None


class Place(NamedTuple):
    """Where in a step an error came from."""

    operator: str
    index: int
    record: object


@dataclass(slots=True)
class Bindings:
    """What a chain's functions are bound to in one subtask."""

    state: OperatorState | None = None
    process: ProcessBinding | None = None
    routers: Mapping[Exchange, Router] = field(default_factory=dict)
    timed: Collection[Exchange] = ()
    taps: Collection[NodeId] = ()


class Step:
    """The compiled chain: `run(values, keys, timestamps)` gives one `Lists` (or list of them) per outlet."""

    def __init__(self, chain: Chain, bindings: Bindings) -> None:
        """Write, compile and bind the function."""
        writer = _Writer(chain, bindings)
        self.outlets = tuple(writer.outlets)
        self.source = "".join(f"{'    ' * line.depth}{line.text}\n" for line in writer.lines)
        self._lines = writer.lines
        self._file = f"<actorstream chain {chain.name} #{next(_numbers)}>"
        linecache.cache[self._file] = (len(self.source), None, self.source.splitlines(keepends=True), self._file)
        namespace = dict(writer.constants)
        exec(compile(self.source, self._file, "exec"), namespace)
        self.run = cast("Run", namespace["step"])

    def forget(self) -> None:
        """Drop the source text kept for tracebacks."""
        linecache.cache.pop(self._file, None)

    def locate(self, trace: TracebackType | None) -> Place | None:
        """Tell the operator and the record at which an error left `run`; None if it came from elsewhere."""
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self._file:
                line, names = self._lines[trace.tb_lineno - 1], trace.tb_frame.f_locals
                if line.operator is None:
                    return None
                values: list[object] = names["values"]
                index = len(values) - names[line.iterator].__length_hint__() - 1
                return Place(line.operator, index, values[index])
            trace = trace.tb_next
        return None


class _Line(NamedTuple):
    depth: int
    text: str
    operator: str | None = None
    iterator: str = "it"


class _Writer:
    """Writes the function from the tree of operators; each line remembers the operator it belongs to."""

    def __init__(self, chain: Chain, bindings: Bindings) -> None:
        self.chain = chain
        self.bindings = bindings
        self.constants: dict[str, object] = {"M": MISSING, "Lists": Lists, "list": list, "map": map, "zip": zip, "len": len}
        self.outlets: list[Outlet] = []
        self._prologue: list[_Line] = []
        self._loop: list[_Line] = []
        self._direct: list[_Line] = []
        self._epilogue: list[_Line] = []
        self._results: list[str] = []
        self._operator: str | None = None
        self._variables = count(1)
        self.lines = self._write()

    def _write(self) -> list[_Line]:
        head = self.chain.head
        self._operator = head.name
        if isinstance(head.spec, SourceSpec):
            self._children(head, "e", 2)
        else:
            self._node(head, "e", 2)
        parameters = ", ".join(f"{name}={name}" for name in self.constants)
        lines = [_Line(0, f"def step(values, keys, timestamps, *, {parameters}):"), *self._prologue]
        lines += self._direct
        if self._loop:
            lines += [_Line(1, "it = iter(values)"), self._loop_head(head), *self._loop]
        lines += self._epilogue
        lines.append(_Line(1, f"return ({''.join(result + ', ' for result in self._results)})"))
        return lines

    def _loop_head(self, head: Node) -> _Line:
        sources = {"e": "it"}
        if head.inputs and isinstance(head.inputs[0].partitioning, Keyed):
            sources["k"] = "keys"
        if self.chain.needs_timestamps:
            sources["t"] = "timestamps"
        if len(sources) == 1:
            return _Line(1, "for e in it:", head.name)
        return _Line(1, f"for {', '.join(sources)} in zip({', '.join(sources.values())}):", head.name)

    def _emit(self, depth: int, text: str) -> None:
        self._loop.append(_Line(depth, text, self._operator))

    def _constant(self, name: str, value: object) -> str:
        self.constants[name] = value
        return name

    # ---- operators

    def _node(self, node: Node, item: str, depth: int) -> None:
        """Write `node` applied to the variable `item`, and all that follows it in the chain."""
        outer, self._operator = self._operator, node.name
        spec = node.spec
        match spec:
            case MapSpec(fn):
                result = self._variable()
                self._emit(depth, f"{result} = {self._constant(f'f{node.id}', fn)}({item})")
                self._children(node, result, depth)
            case FilterSpec(fn):
                self._emit(depth, f"if {self._constant(f'f{node.id}', fn)}({item}):")
                self._children(node, item, depth + 1)
            case FlatMapSpec(fn):
                result = self._variable()
                self._emit(depth, f"for {result} in {self._constant(f'f{node.id}', fn)}({item}) or ():")
                self._children(node, result, depth + 1)
            case SinkSpec():
                self._outlet(Outlet("sink", node.id), item, depth)
            case CallSpec(fn, is_async):
                if is_async:
                    self._outlet(Outlet("call", node.id), item, depth)
                else:
                    self._called(node, fn, item, depth)
            case SourceSpec():
                raise InvariantError(f"source {node.name} is not at the head of its chain")
            case _:
                self._stateful(node, item, depth)
        self._operator = outer

    def _children(self, node: Node, item: str, depth: int) -> None:
        """Write everything that takes the records of `node`, now in the variable `item`."""
        before = len(self._loop)
        for child in self.chain.children.get(node.id, ()):
            self._node(child, item, depth)
        for exchange in self.chain.outputs:
            if exchange.sender == node.id:
                self._exchange(exchange, item, depth)
        if node.id in self.bindings.taps:
            self._outlet(Outlet("tap", node.id), item, depth)
        block = self._loop[before - 1].text.endswith(":") if before else False
        if len(self._loop) == before and block:
            self._emit(depth, "pass")

    def _variable(self) -> str:
        return f"x{next(self._variables)}"

    def _is_used(self, node: Node) -> bool:
        return bool(
            self.chain.children.get(node.id)
            or node.id in self.bindings.taps
            or any(exchange.sender == node.id for exchange in self.chain.outputs)
        )

    # ---- keyed state

    def _stateful(self, node: Node, item: str, depth: int) -> None:
        state = self.bindings.state
        if state is None or node is not self.chain.head:
            raise InvariantError(f"stateful operator {node.name} is not at the head of a keyed chain")
        self._constant("rows", state.rows)
        self._prologue += [_Line(1, "live = rows.live"), _Line(1, "get = live.get"), _Line(1, "older = rows.older")]
        spec = node.spec
        match spec:
            case CountSpec():
                self._load(depth, "v", "0")
                self._emit(depth, "live[k] = v = v + 1")
                self._keyed_result(node, "(k, v)", depth)
            case ReduceSpec(fn):
                self._load(depth, "v", None)
                self._emit(depth, f"live[k] = v = {item} if v is M else {self._constant('fold', fn)}(v, {item})")
                self._keyed_result(node, "(k, v)", depth)
            case FoldSpec(initial, fn):
                shown = self._load_initial(depth, initial)
                self._emit(depth, f"live[k] = v = {self._constant('fold', fn)}(v, {item})")
                self._keyed_result(node, f"(k, {shown})", depth)
            case MapWithStateSpec(initial, fn):
                self._load_initial(depth, initial)
                self._emit(depth, f"live[k], r = {self._constant('fold', fn)}(v, {item})")
                self._keyed_result(node, "r", depth)
            case LatestSpec(fn):
                self._emit(depth, f"v = {self._constant('fold', fn)}({item})")
                self._emit(depth, "live[k] = M if v is None else v")
                if self._is_used(node):
                    self._emit(depth, "if v is not None:")
                    self._keyed_result(node, "(k, v)", depth + 1)
            case ProcessSpec():
                self._process(node, item, depth)
            case _:
                raise InvariantError(f"no code for {spec}")

    def _load(self, depth: int, name: str, absent: str | None) -> None:
        self._emit(depth, f"{name} = get(k, M)")
        if absent is None:
            self._emit(depth, f"if {name} is M: {name} = older(k)")
        else:
            self._emit(depth, f"if {name} is M:")
            self._emit(depth + 1, f"{name} = older(k)")
            self._emit(depth + 1, f"if {name} is M: {name} = {absent}")

    def _load_initial(self, depth: int, initial: object) -> str:
        """Load the value or its initial one; give the expression that may be emitted (T125)."""
        self._constant("initial", initial)
        if is_immutable(initial):
            self._load(depth, "v", "initial")
            return "v"
        self._constant("copy", copy_value)
        self._load(depth, "v", "copy(initial)")
        return "copy(v)"

    def _keyed_result(self, node: Node, result: str, depth: int) -> None:
        if self._is_used(node):
            name = self._variable()
            self._emit(depth, f"{name} = {result}")
            self._children(node, name, depth)

    def _process(self, node: Node, item: str, depth: int) -> None:
        binding = self.bindings.process
        if binding is None:
            raise InvariantError(f"{node.name} has no process object")
        self._constant("op", binding.process)
        self._constant("ctx", binding.context)
        self._constant("deleted", binding.deleted)
        self._constant("settle", binding.settle)
        self._constant("handle", binding.process.on_element)  # type: ignore[attr-defined]
        self._constant("unbind", binding.unbind)
        self._emit(depth, "ctx.key = k")
        if self.chain.needs_timestamps:
            self._emit(depth, "ctx.event_time_us = t")
        for name, view in binding.views.items():
            self._emit(depth, f"{self._constant(f'view_{name}', view)}.key = k")
        self._load_columns(binding, depth)
        self._emit(depth, f"r = handle({item}, ctx)")
        self._emit(depth, "if r is not None:")
        result = self._variable()
        self._emit(depth + 1, f"for {result} in r:")
        self._children(node, result, depth + 2)
        self._store_columns(binding, depth)
        self._epilogue.append(_Line(1, "unbind()"))

    def _load_columns(self, binding: ProcessBinding, depth: int) -> None:
        names = binding.values
        if not names:
            return
        self._load(depth, "v", None)
        if len(names) > 1:
            columns = ", ".join(f"c{index}" for index in range(len(names)))
            self._constant("absent", (MISSING,) * len(names))
            self._emit(depth, f"{columns} = absent if v is M else v")
        for index, name in enumerate(names):
            column = "v" if len(names) == 1 else f"c{index}"
            default, factory = binding.defaults[name]
            if factory is None:
                absent = self._constant(f"default_{name}", default)
            else:
                absent = f"{self._constant(f'default_{name}', factory)}()"
            self._emit(depth, f"op.{name} = w{index} = {absent} if {column} is M else {column}")

    def _store_columns(self, binding: ProcessBinding, depth: int) -> None:
        """Store the row where a column changed: by identity, or because it was made for this record."""
        names = binding.values
        self._emit(depth, "if deleted:")
        if not names:
            self._emit(depth + 1, "deleted.clear()")
            return
        self._emit(depth + 1, "live[k] = settle()")
        if len(names) == 1:
            name = names[0]
            made = "" if binding.defaults[name][1] is None else " or v is M"
            self._emit(depth, f"elif op.{name} is not w0{made}:")
            self._emit(depth + 1, f"live[k] = op.{name}")
            return
        changed = [
            f"op.{name} is not w{index}" + ("" if binding.defaults[name][1] is None else f" or c{index} is M")
            for index, name in enumerate(names)
        ]
        self._emit(depth, f"elif {' or '.join(changed)}:")
        row = ", ".join(
            f"op.{name} if {test} else c{index}" for (index, name), test in zip(enumerate(names), changed, strict=True)
        )
        self._emit(depth + 1, f"live[k] = ({row})")

    # ---- outlets

    def _exchange(self, exchange: Exchange, item: str, depth: int) -> None:
        keyed = isinstance(exchange.partitioning, Keyed)
        router = self.bindings.routers.get(exchange)
        outlet = Outlet(
            "exchange",
            exchange.sender,
            exchange,
            keyed=keyed,
            timed=exchange in self.bindings.timed,
            targets=router.targets if router is not None else None,
        )
        if router is not None:
            self._routed(outlet, router, item, depth)
        elif keyed and item == "e" and depth == 2 and not outlet.timed:
            self._direct_keys(outlet, exchange)
        else:
            self._outlet(outlet, item, depth)

    def _outlet(self, outlet: Outlet, item: str, depth: int) -> None:
        n = self._add(outlet)
        lists = [f"o{n} = []", f"p{n} = o{n}.append"]
        self._emit(depth, f"p{n}({item})")
        if outlet.keyed and outlet.exchange is not None:
            lists += [f"ok{n} = []", f"pk{n} = ok{n}.append"]
            self._emit(depth, f"pk{n}({self._key_of(n, outlet.exchange)}({item}))")
        if outlet.timed:
            lists += [f"ot{n} = []", f"pt{n} = ot{n}.append"]
            self._emit(depth, f"pt{n}(t)")
        self._prologue += [_Line(1, text) for text in lists]
        keys = f"ok{n}" if outlet.keyed else "None"
        self._results.append(f"Lists(o{n}, {keys}, {f'ot{n}' if outlet.timed else 'None'})")

    def _called(self, node: Node, fn: Function, item: str, depth: int) -> None:
        """Write a call inside the loop; where it may be passed over, count it."""
        n = self._add(Outlet("called", node.id))
        self._emit(depth, f"{self._constant(f'f{node.id}', fn)}({item})")
        if depth == 2:
            self._results.append("len(values)")
            return
        self._prologue.append(_Line(1, f"n{n} = 0"))
        self._emit(depth, f"n{n} += 1")
        self._results.append(f"n{n}")

    def _direct_keys(self, outlet: Outlet, exchange: Exchange) -> None:
        """Write the commonest start, source to key_by: the batch goes on as it is, keys beside it."""
        n = self._add(outlet)
        self._direct.append(_Line(1, f"it{n} = iter(values)"))
        text = f"ok{n} = list(map({self._key_of(n, exchange)}, it{n}))"
        self._direct.append(_Line(1, text, self._operator, f"it{n}"))
        self._results.append(f"Lists(values, ok{n}, None)")

    def _routed(self, outlet: Outlet, router: Router, item: str, depth: int) -> None:
        n = self._add(outlet)
        exchange = outlet.exchange
        if exchange is None:
            raise InvariantError("a routed outlet has an exchange")
        self._constant(f"known{n}", router.known.get)
        self._constant(f"route{n}", router.route)
        self._emit(depth, f"j = {self._key_of(n, exchange)}({item})")
        self._emit(depth, f"i = known{n}(j)")
        self._emit(depth, f"if i is None: i = route{n}(j)")
        each = f"for _ in range({router.targets})"
        self._prologue.append(_Line(1, f"o{n} = [[] {each}]"))
        self._prologue.append(_Line(1, f"ok{n} = [[] {each}]"))
        self._emit(depth, f"o{n}[i].append({item})")
        self._emit(depth, f"ok{n}[i].append(j)")
        times = f"[None] * {router.targets}"
        if outlet.timed:
            times = f"ot{n}"
            self._prologue.append(_Line(1, f"ot{n} = [[] {each}]"))
            self._emit(depth, f"ot{n}[i].append(t)")
        self._results.append(f"list(map(Lists, o{n}, ok{n}, {times}))")

    def _add(self, outlet: Outlet) -> int:
        self.outlets.append(outlet)
        return len(self.outlets) - 1

    def _key_of(self, n: int, exchange: Exchange) -> str:
        partitioning = exchange.partitioning
        if not isinstance(partitioning, Keyed):
            raise InvariantError(f"exchange {exchange} has no key")
        return self._constant(f"key{n}", partitioning.key)
