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
from itertools import count
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from actorstream.operators.chain_writer import ChainWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from actorstream.graph.plan import Chain
    from actorstream.operators.step_text import Bindings, Lists

Result: TypeAlias = "Lists | list[Lists] | int"
Run: TypeAlias = "Callable[[list[object], list[object] | None, Iterable[int] | None], tuple[Result, ...]]"
_numbers = count(1)


class Place(NamedTuple):
    """Where in a step an error came from."""

    operator: str
    offset: int
    record: object


class Step:
    """The compiled chain: `run(values, keys, timestamps)` gives one `Lists` (or list of them) per outlet."""

    def __init__(self, chain: Chain, bindings: Bindings, *, timed: bool | None = None) -> None:
        """Write, compile and bind the function.

        Args:
            chain: The operators.
            bindings: What they are bound to in this subtask.
            timed: Batches bring timestamps; None: if the chain or one behind it asks for them.
        """
        writer = ChainWriter(chain, bindings, timed=chain.needs_timestamps if timed is None else timed)
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
                offset = len(values) - names[line.iterator].__length_hint__() - 1
                return Place(line.operator, offset, values[offset])
            trace = trace.tb_next
        return None
