"""Writes what a rolling aggregate does to a record: its key's row is a local variable.

count    v = get(k, M)
         if v is M: v = older(k) ...
         live[k] = v = v + 1          the write is the dirty mark
         put((k, v))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.codec.values import copy_value, is_immutable
from actorstream.errors import InvariantError
from actorstream.graph.nodes import (
    CountSpec,
    ExtremeSpec,
    FoldSpec,
    LatestSpec,
    MapWithStateSpec,
    ReduceSpec,
    SumSpec,
    TopSpec,
)
from actorstream.operators.changes import CHANGES_OUTPUT, VERSIONS_OUTPUT, Change
from actorstream.operators.failing_text import FailingText
from actorstream.operators.ranking import Ranking
from actorstream.state.memtable import PLAIN

if TYPE_CHECKING:
    from actorstream.graph.nodes import Function, Node

_SCALARS = frozenset({bool, int, float, str, bytes})
"""States that begin with one of these stay of that type: their codec refuses any other (codec/values.py)."""


class RollingText(FailingText):
    """The blocks of count, sum, reduce, min and max, top_n, fold, latest and map_with_state."""

    _shows_changes = False

    def _bind_rows(self) -> None:
        if self.bindings.state is None:
            raise InvariantError(f"{self._operator} has no state")
        self.constant("rows", self.bindings.state.rows)
        for text in ("live = rows.live", "get = live.get", "older = rows.older"):
            self.begin(text)

    def _rolling(self, node: Node, item: str, depth: int) -> None:
        self._bind_rows()
        # What a table's changes are made of: the value before, of which nobody else has a part.
        self._shows_changes = self._is_used(node, CHANGES_OUTPUT) or self._is_used(node, VERSIONS_OUTPUT)
        match node.spec:
            case CountSpec():
                self._load(depth, "v", "0")
                self.emit(depth, "live[k] = v = v + 1")
                self._keyed_result(node, "(k, v)", "v", depth)
            case SumSpec(fn):
                self._load(depth, "v", "0")
                self.emit(depth, f"live[k] = v = v + {self.applied('term', fn, item)}")
                self._keyed_result(node, "(k, v)", "v", depth)
            case ReduceSpec(fn):
                # `fn` may change its value in place, and the first record is not ours alone (T125).
                self._load(depth, "v", None)
                first = self._private(item)
                self.emit(depth, f"live[k] = v = ({first}) if v is M else {self.constant('fold', fn)}(v, {item})")
                shown = self._private("v")
                self._keyed_result(node, f"(k, {shown})", shown, depth)
            case ExtremeSpec():
                self._extreme(node, node.spec, item, depth)
            case TopSpec():
                self._rank(node, node.spec, item, depth)
            case FoldSpec(initial, fn):
                shown = self._load_initial(depth, initial)
                self.emit(depth, f"live[k] = v = {self.constant('fold', fn)}(v, {item})")
                self._keyed_result(node, f"(k, {shown})", shown, depth)
            case MapWithStateSpec(initial, fn):
                self._load_initial(depth, initial)
                self.emit(depth, f"live[k], r = {self.constant('fold', fn)}(v, {item})")
                self._keyed_result(node, "r", None, depth)
            case LatestSpec(fn):
                self._latest(node, fn, item, depth)
            case _:
                raise InvariantError(f"no code for {node.spec}")

    def _latest(self, node: Node, fn: Function, item: str, depth: int) -> None:
        if self._shows_changes:
            self._load(depth, "v", None)
        self.emit(depth, f"v = {self.constant('fold', fn)}({item})")
        self.emit(depth, "live[k] = M if v is None else v")
        if self._shows_changes:
            self._change(node, self._private("v"), depth, unless="v is None and old is None")
        if self._is_used(node):
            self.emit(depth, "if v is not None:")
            self._keyed_result(node, "(k, v)", None, depth + 1)

    def _extreme(self, node: Node, spec: ExtremeSpec, item: str, depth: int) -> None:
        """Keep the value, or the record, that is further out; who came first stays before its equals."""
        self._load(depth, "v", None)
        sign = "<" if spec.word.startswith("min") else ">"
        new = item
        if spec.word in {"min", "max"}:
            new = "r"
            self.emit(depth, f"r = {self.applied('term', spec.fn, item)}")
            further = f"r {sign} v"
        else:
            further = f"{self.applied('term', spec.fn, item)} {sign} {self.applied('term', spec.fn, 'v')}"
        self.emit(depth, f"if v is M or {further}: live[k] = v = {self._private(new)}")
        shown = self._private("v")
        self._keyed_result(node, f"(k, {shown})", shown, depth)

    def _rank(self, node: Node, spec: TopSpec, item: str, depth: int) -> None:
        """Give the ranking where the record has changed it."""
        self._load(depth, "v", "()")
        self.emit(depth, f"r = {self.constant('enter', Ranking(spec.n, spec.fn).enter)}(v, {item})")
        self.emit(depth, "if r is not v:")
        self.emit(depth + 1, "live[k] = r")
        shown = self._private("r")
        self._keyed_result(node, f"(k, {shown})", shown, depth + 1)

    def _load(self, depth: int, name: str, absent: str | None) -> None:
        self.emit(depth, f"{name} = get(k, M)")
        if self._shows_changes:
            self.emit(depth, f"if {name} is M: {name} = older(k)")
            self.emit(depth, f"old = None if {name} is M else {self._private(name)}")
            if absent is not None:
                self.emit(depth, f"if {name} is M: {name} = {absent}")
        elif absent is None:
            self.emit(depth, f"if {name} is M: {name} = older(k)")
        else:
            self.emit(depth, f"if {name} is M:")
            self.emit(depth + 1, f"{name} = older(k)")
            self.emit(depth + 1, f"if {name} is M: {name} = {absent}")

    def _load_initial(self, depth: int, initial: object) -> str:
        """Load the value or its initial one; give the expression that may be emitted (T125)."""
        self.constant("initial", initial)
        if type(initial) in _SCALARS:
            self._load(depth, "v", "initial")
            return "v"
        if is_immutable(initial):
            self._load(depth, "v", "initial")
        else:
            self.constant("copy", copy_value)
            self._load(depth, "v", "copy(initial)")
        return self._private("v")

    def _private(self, value: str) -> str:
        """Give the expression for a value that nobody else changes: itself or a copy."""
        self.constant("plain", PLAIN)
        self.constant("copy", copy_value)
        return f"{value} if {value}.__class__ in plain else copy({value})"

    def _keyed_result(self, node: Node, result: str, new: str | None, depth: int) -> None:
        if new is not None and self._shows_changes:
            self._change(node, new, depth)
        if self._is_used(node):
            self._children(node, result, depth)

    def _change(self, node: Node, new: str, depth: int, unless: str = "") -> None:
        """Write where a change of the table goes, which is none `unless` says so."""
        change = self._variable()
        self.emit(depth, f"{change} = {self.constant('Change', Change)}(k, old, {new})")
        self._children(node, change, depth, VERSIONS_OUTPUT)
        if self._is_used(node, CHANGES_OUTPUT):
            if unless:
                self.emit(depth, f"if not ({unless}):")
            self._children(node, change, depth + bool(unless), CHANGES_OUTPUT)
