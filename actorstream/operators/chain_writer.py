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
    SumSpec,
)
from actorstream.operators.step_text import Line, Nested, Outlet, StepText
from actorstream.state.memtable import MISSING, PLAIN

if TYPE_CHECKING:
    from actorstream.graph.nodes import Function, Node
    from actorstream.graph.plan import Chain
    from actorstream.operators.keyed_process import ProcessBinding
    from actorstream.operators.step_text import Bindings, Item, StepPart

_SCALARS = frozenset({bool, int, float, str, bytes})
"""States that begin with one of these stay of that type: their codec refuses any other (codec/values.py)."""


class ChainWriter(StepText):
    """Writes the function from the tree of operators; each line remembers the operator it belongs to."""

    def __init__(self, chain: Chain, bindings: Bindings, *, timed: bool, part: StepPart = "whole") -> None:
        """Write `lines`, and with them the `constants` that they name and the `outlets` that they fill."""
        super().__init__(chain, bindings, timed=timed, part=part)
        self.lines = self._write()

    def _write(self) -> list[Line]:
        start = self._start()
        self._operator = start.name
        if isinstance(start.spec, SourceSpec):
            self._children(start, "e", 2)
        else:
            self._node(start, "e", 2)
        parameters = ", ".join(f"{name}={name}" for name in self.constants)
        lines = [Line(0, f"def step(values, keys, timestamps, start, count, *, {parameters}):"), *self._prologue]
        lines += self._direct
        if self._loop:
            lines += [*self._loop_head(start), *self._loop]
        lines += self._epilogue
        lines.append(Line(1, f"return ({''.join(result + ', ' for result in self._results)})"))
        return lines

    def _start(self) -> Node:
        if self.part != "after key":
            return self.chain.head
        if self.chain.stateful is None:
            raise InvariantError(f"chain {self.chain.name} has nothing behind a key")
        return self.chain.stateful

    def _loop_head(self, start: Node) -> list[Line]:
        """Write the loop over records start to start + count; the iterator tells which record it was at."""
        lines = [
            Line(1, "it = source = iter(values)"),
            Line(1, "if count != len(values):"),
            Line(2, "source.__setstate__(start)"),
            Line(2, "it = islice(source, count)"),
        ]
        columns = {"e": "it"}
        if start.inputs and isinstance(start.inputs[0].partitioning, Keyed):
            columns["k"] = "keys"
        if self.timed:
            columns["t"] = "timestamps"
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
            case MapSpec(fn):
                self._children(node, self._call(node, fn, item, depth), depth)
            case FilterSpec(fn):
                item = self._named(item, depth)
                self._emit(depth, f"if {self._constant(f'f{node.id}', fn)}({item}):")
                self._children(node, item, depth + 1)
            case FlatMapSpec(fn):
                result = self._variable()
                self._emit_around(depth, f"for {result} in {self._constant(f'f{node.id}', fn)}(", item, ") or ():")
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

    def _call(self, node: Node, fn: Function, item: Item, depth: int) -> Item:
        """Give a call of a user's function, nested into what takes it if that is one place (0.05 of q0, measured)."""
        name = self._constant(f"f{node.id}", fn)
        if isinstance(item, str):
            nested = Nested(((node.name, f"{name}({item})"),))
        else:
            nested = Nested(((node.name, f"{name}("), *item.lines, (node.name, ")")))
        return nested if self._users(node) == 1 else self._named(nested, depth)

    def _children(self, node: Node, item: Item, depth: int) -> None:
        """Write everything that takes the records of `node`, which are `item`."""
        before = len(self._loop)
        if self._users(node) > 1:
            item = self._named(item, depth)
        for child in self.chain.children.get(node.id, ()):
            if child is self.chain.stateful:
                self._key(child, item, depth)
            else:
                self._node(child, item, depth)
        for exchange in self.chain.outputs:
            if exchange.sender == node.id:
                self._exchange(exchange, item, depth)
        if node.id in self.bindings.taps:
            self._outlet(Outlet("tap", node.id), item, depth)
        if len(self._loop) == before and before and self._loop[before - 1].text.endswith(":"):
            self._emit(depth, "pass")

    def _key(self, node: Node, item: Item, depth: int) -> None:
        """Make the key for the operator inside this chain; before the key, that is where the part ends."""
        (edge,) = node.inputs
        if not isinstance(edge.partitioning, Keyed):
            raise InvariantError(f"{node.name} keeps state by key, but its input has none")
        key = edge.partitioning.key
        if self.part == "before key":
            self._outlet(Outlet("keyed", node.id, keyed=True, timed=self.timed), item, depth, key)
            return
        check = self.bindings.key_check
        if check is None:
            raise InvariantError(f"{node.name} makes keys, but has no check for them")
        self._constant("type", type)
        self._constant("settled", check.settled)
        self._constant("check", check.one)
        self._prologue.append(Line(1, "key_type = settled()"))
        item = self._named(item, depth)
        self._emit(depth, f"k = {self._applied('key', key, item)}")
        self._emit(depth, "if type(k) is not key_type: key_type = check(k)")
        self._node(node, item, depth)

    # ---- keyed state

    def _stateful(self, node: Node, item: Item, depth: int) -> None:
        state = self.bindings.state
        if state is None or node is not self.chain.stateful:
            raise InvariantError(f"stateful operator {node.name} has no state in this chain")
        self._constant("rows", state.rows)
        self._prologue += [Line(1, "live = rows.live"), Line(1, "get = live.get"), Line(1, "older = rows.older")]
        spec = node.spec
        item = self._named(item, depth)
        match spec:
            case CountSpec():
                self._load(depth, "v", "0")
                self._emit(depth, "live[k] = v = v + 1")
                self._keyed_result(node, "(k, v)", depth)
            case SumSpec(fn):
                self._load(depth, "v", "0")
                self._emit(depth, f"live[k] = v = v + {self._applied('term', fn, item)}")
                self._keyed_result(node, "(k, v)", depth)
            case ReduceSpec(fn):
                # `fn` may change its value in place, and the first record is not ours alone (T125).
                self._load(depth, "v", None)
                first = self._private(item)
                self._emit(depth, f"live[k] = v = ({first}) if v is M else {self._constant('fold', fn)}(v, {item})")
                self._keyed_result(node, f"(k, {self._private('v')})", depth)
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
        if type(initial) in _SCALARS:
            self._load(depth, "v", "initial")
            return "v"
        if is_immutable(initial):
            self._load(depth, "v", "initial")
        else:
            self._constant("copy", copy_value)
            self._load(depth, "v", "copy(initial)")
        return self._private("v")

    def _private(self, value: str) -> str:
        """Give the expression for a value that nobody else changes: itself or a copy."""
        self._constant("plain", PLAIN)
        self._constant("copy", copy_value)
        return f"{value} if {value}.__class__ in plain else copy({value})"

    def _keyed_result(self, node: Node, result: str, depth: int) -> None:
        if self._is_used(node):
            self._children(node, result, depth)

    def _process(self, node: Node, item: Item, depth: int) -> None:
        binding = self.bindings.process
        if binding is None:
            raise InvariantError(f"{node.name} has no process object")
        self._constant("op", binding.process)
        self._constant("ctx", binding.context)
        self._constant("handle", binding.process.on_element)  # type: ignore[attr-defined]
        self._constant("bind", binding.bind)
        self._constant("unbind", binding.unbind)
        self._prologue.append(Line(1, "bind()"))
        self._emit(depth, "ctx.key = k")
        if self.timed:
            self._emit(depth, "ctx.event_time_us = t")
        else:
            self._prologue.append(Line(1, "ctx.event_time_us = None"))
        for name, view in binding.views.items():
            self._emit(depth, f"{self._constant(f'view_{name}', view)}.key = k")
        self._load_columns(binding, depth)
        self._emit(depth, f"r = handle({item}, ctx)")
        self._emit(depth, "if r is not None:")
        result = self._variable()
        self._emit(depth + 1, f"for {result} in r:")
        self._children(node, result, depth + 2)
        self._store_columns(binding, depth)
        self._epilogue.append(Line(1, "unbind()"))

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
        """Store the row where a column changed: by identity, or because it was made for this record.

        A column that is its default, as after a deletion, is stored as none. Where a default is made anew for
        each key, reading the column back notices its deletion, so `deleted` is asked afterwards.
        """
        names = binding.values
        for index, name in enumerate(names):
            self._emit(depth, f"u{index} = op.{name}")
        branch = "if"
        if binding.made_anew or not names:
            self._constant("deleted", binding.deleted)
            self._constant("settle", binding.settle)
            self._emit(depth, "if deleted:")
            self._emit(depth + 1, "live[k] = settle()" if names else "deleted.clear()")
            branch = "elif"
        if not names:
            return
        columns = ["v"] if len(names) == 1 else [f"c{index}" for index in range(len(names))]
        changed, stored, gone = [], [], []
        for index, name in enumerate(names):
            new = name in binding.made_anew
            changed.append(f"u{index} is not w{index}" + (f" or {columns[index]} is M" if new else ""))
            stored.append(f"u{index}" if new else f"M if u{index} is default_{name} else u{index}")
            gone.append(f"u{index} is default_{name}")
        self._emit(depth, f"{branch} {' or '.join(changed)}:")
        if len(names) == 1:
            self._emit(depth + 1, f"live[k] = {stored[0]}")
            return
        row = ", ".join(
            f"({value}) if {test} else {old}" for value, test, old in zip(stored, changed, columns, strict=True)
        )
        whole = "" if binding.made_anew else f"M if {' and '.join(gone)} else "
        self._emit(depth + 1, f"live[k] = {whole}({row})")
