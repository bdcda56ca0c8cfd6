"""Writes the call of a handler: the key's row becomes attributes of the user's object, and back.

op.count = w0 = v                       the columns of the row, or their defaults
r = handle(e, ctx)
for x in r: ...                         what follows in the chain
if op.count is not w0: live[k] = ...    stored where it changed

A state with a time-to-live is no plain attribute (operators/expiring_value.py): `ttl_seen.pair` takes the column, and
gives it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.errors import InvariantError
from actorstream.graph.nodes import ProcessSpec, inputs_of, is_keyed
from actorstream.operators.rolling_text import RollingText
from actorstream.operators.step_text import Line
from actorstream.state.memtable import MISSING

if TYPE_CHECKING:
    from actorstream.graph.nodes import Node
    from actorstream.operators.contexts import UnkeyedContext
    from actorstream.operators.process_binding import ProcessBinding
    from actorstream.operators.trial import Trial
    from actorstream.operators.ttl import TtlTime


def handler_of(node: Node, side: int) -> str:
    """Name the method that takes the records of an input."""
    if inputs_of(node.spec) == 1:
        return "on_element"
    broadcast = isinstance(node.spec, ProcessSpec) and node.spec.role == "broadcast"
    return (("on_left", "on_right"), ("on_element", "on_broadcast"))[broadcast][side]


class ProcessText(RollingText):
    """The blocks of process classes: with a key, with two inputs, beside a broadcast stream, and without a key."""

    def _process(self, node: Node, item: str, depth: int) -> None:
        binding = self._bind_process(node)
        self.constant("handle", binding.handler(handler_of(node, self.side)))
        if not is_keyed(node.spec, self.side):
            self._process_without_key(node, binding, item, depth)
            return
        self.emit(depth, "ctx.key = k")
        self._tell_time("ctx", depth, by_key=True)
        self._handled(node, binding, f"handle({item}, ctx)", f"{item}, {self._time}, k", depth)

    def _process_without_key(self, node: Node, binding: ProcessBinding, item: str, depth: int) -> None:
        """Write a call for which there is no key, and so no row to load or store."""
        about = f"{item}, {self._time}"
        if inputs_of(node.spec) == 1:
            self._tell_time("ctx", depth)
            depth = self._call_handler(node, binding.trial, f"handle({item}, ctx)", about, depth)
            self._hand_on(node, binding, depth)
            return
        self.constant("broadcast", binding.broadcast)
        self._tell_time("broadcast", depth)
        self.emit(depth, "broadcast.begin()")
        depth = self._call_handler(node, binding.broadcast_trial, f"handle({item}, broadcast)", about, depth)
        self._hand_on(node, binding, depth)
        self.emit(depth, "broadcast.end()")

    def _tell_time(self, context: str, depth: int, *, by_key: bool = False) -> None:
        """Write what a context says of time; for a key that may be more than for all."""
        if self._time is None:
            self.begin(f"{context}.event_time_us = None")
            return
        self._exact(depth)
        mark = self._mark()
        self.emit(depth, f"{context}.event_time_us = {self._time}")
        self.emit(depth, f"{context}.watermark_us = {self._of_key(mark) if by_key else mark}")

    def _bind_process(self, node: Node) -> ProcessBinding:
        binding = self.bindings.process
        if binding is None:
            raise InvariantError(f"{node.name} has no process object")
        if is_keyed(node.spec):
            self._bind_rows()
        self.constant("op", binding.process)
        self.constant("ctx", binding.context)
        self.constant("bind", binding.bind)
        self.constant("unbind", binding.unbind)
        if Line(1, "unbind()") not in self._epilogue:
            self.begin("bind()")
            self._epilogue.append(Line(1, "unbind()"))
        return binding

    def _handled(self, node: Node, binding: ProcessBinding, call: str, about: str, depth: int) -> None:
        """Write one call of a handler for the key in `k`: load, call, hand on, store."""
        for name, view in binding.views.items():
            self.emit(depth, f"{self.constant(f'view_{name}', view)}.key = k")
        self._load_columns(binding, depth)
        depth = self._call_handler(node, binding.trial, call, about, depth)
        self._hand_on(node, binding, depth)
        self._store_columns(binding, depth)

    def _call_handler(self, node: Node, trial: Trial | None, call: str, about: str, depth: int) -> int:
        """Write the call; give the depth of what follows it where it did not raise."""
        if trial is None:
            self.emit(depth, f"r = {call}")
            return depth
        if trial.parts:
            self.emit(depth, f"{self.constant('begin', trial.begin)}()")
        undo = f"{self.constant('undo', trial.undo)}()"
        depth = self._guarded(node, depth, f"r = {call}\n{self._all_of('r')}", about, undo=undo)
        if trial.parts:
            self.emit(depth, f"{self.constant('keep', trial.keep)}()")
        return depth

    def _hand_on(self, node: Node, binding: ProcessBinding, depth: int) -> None:
        """Write where the results of a call go."""
        self.emit(depth, "if r is not None:")
        self._no_text("r", depth + 1)
        result = self._variable()
        self.emit(depth + 1, f"for {result} in r:")
        self._children(node, result, depth + 2)
        self._side_outputs(node, binding.context, depth)

    def _side_outputs(self, node: Node, context: UnkeyedContext, depth: int) -> None:
        """Write where the records go that the handler gave to side outputs, of those that somebody takes."""
        for number, output in enumerate(self._outputs_of(node)):
            given = self.constant(f"side{number}", context.sides.setdefault(output, []))
            self.emit(depth, f"if {given}:")
            result = self._variable()
            self.emit(depth + 1, f"for {result} in {given}:")
            self._children(node, result, depth + 2, output)
            self.emit(depth + 1, f"{given}.clear()")

    def _outputs_of(self, node: Node) -> list[str]:
        """Name the side outputs of `node` that are taken by anyone, in order."""
        joined = {edge.output for _, edge in self.chain.feeds.get(node.id, ())}
        sent = {each.output for each in self.chain.outputs if each.sender == node.id}
        tapped = {output for tap, output in self.bindings.taps if tap == node.id}
        return sorted((joined | sent | tapped) - {""})

    def _load_columns(self, binding: ProcessBinding, depth: int) -> None:
        if binding.aging.event_time is not None:
            self._event_ttl(binding.aging.event_time, depth)
        names = binding.values
        if not names:
            return
        self._load(depth, "v", None)
        if len(names) > 1:
            columns = ", ".join(f"c{index}" for index in range(len(names)))
            self.constant("absent", (MISSING,) * len(names))
            self.emit(depth, f"{columns} = absent if v is M else v")
        for index, name in enumerate(names):
            column = "v" if len(names) == 1 else f"c{index}"
            if name in binding.expiring:
                pair = column if binding.trial is None else self._private(column)
                self.emit(depth, f"{self.constant(f'ttl_{name}', binding.expiring[name])}.pair = {pair}")
                continue
            default, factory = binding.defaults[name]
            if factory is None:
                absent = self.constant(f"default_{name}", default)
            else:
                absent = f"{self.constant(f'default_{name}', factory)}()"
            if binding.trial is None:
                self.emit(depth, f"op.{name} = w{index} = {absent} if {column} is M else {column}")
                continue
            # Where it may be changed in place, a copy: it is stored, as another object, if the handler ends well.
            self.emit(depth, f"w{index} = {absent} if {column} is M else {column}")
            self.emit(depth, f"op.{name} = {self._private(f'w{index}')}")

    def _event_ttl(self, time: TtlTime, depth: int) -> None:
        """Write what time it is for states that expire in event time: at a record's handler, or a timer's."""
        name = self.constant("event_ttl", time)
        if not self._iterator:
            self.emit(depth, f"{name}.now = {name}.written = ctx.watermark_us")
            return
        mark, at = self._mark() if self.bindings.floors is None else "ctx.watermark_us", self._time
        self.emit(depth, f"{name}.now = {mark}")
        self.emit(depth, f"{name}.written = " + (mark if at is None else f"{at} if {at} > {mark} else {mark}"))

    def _store_columns(self, binding: ProcessBinding, depth: int) -> None:
        """Store the row where a column changed: by identity, or because it was made for this record.

        A column that is its default, as after a deletion, is stored as none. Where a default is made anew for
        each key, reading the column back notices its deletion, so `deleted` is asked afterwards.
        """
        names = binding.values
        for index, name in enumerate(names):
            holder = f"ttl_{name}.pair" if name in binding.expiring else f"op.{name}"
            self.emit(depth, f"u{index} = {holder}")
        branch = "if"
        if binding.made_anew or not names:
            self.constant("deleted", binding.deleted)
            self.constant("settle", binding.settle)
            self.emit(depth, "if deleted:")
            self.emit(depth + 1, "live[k] = settle()" if names else "deleted.clear()")
            branch = "elif"
        if not names:
            return
        columns = ["v"] if len(names) == 1 else [f"c{index}" for index in range(len(names))]
        changed, stored, gone = [], [], []
        for index, name in enumerate(names):
            if name in binding.expiring:
                changed.append(f"u{index} is not {columns[index]}")
                stored.append(f"u{index}")
                gone.append(f"u{index} is M")
                continue
            new = name in binding.made_anew
            changed.append(f"u{index} is not w{index}" + (f" or {columns[index]} is M" if new else ""))
            stored.append(f"u{index}" if new else f"M if u{index} is default_{name} else u{index}")
            gone.append(f"u{index} is default_{name}")
        self.emit(depth, f"{branch} {' or '.join(changed)}:")
        if len(names) == 1:
            self.emit(depth + 1, f"live[k] = {stored[0]}")
            return
        row = ", ".join(
            f"({value}) if {test} else {old}" for value, test, old in zip(stored, changed, columns, strict=True)
        )
        whole = "" if binding.made_anew else f"M if {' and '.join(gone)} else "
        self.emit(depth + 1, f"live[k] = {whole}({row})")
