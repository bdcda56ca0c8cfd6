"""One generated function for each chain: a loop in which every operator of the chain is inlined.

    for e, k in zip(it, keys):              a piece of the batch
        v = get(k, M)                       keyed head: this epoch's writes
        if v is M: v = older(k)             frozen generations, clean values, layers
        live[k] = v = f0(v, e)              the write is the dirty mark
        x1 = (k, v)
        if f1(x1):                          a filter behind it
            p0(x1)                          an outlet: append to what is sent on

Where a chain makes the key itself, one function does all of it; if keys have to be
fetched from disk first, the same text cut in two does it, with lists between.
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
from actorstream.operators.failures import GENERATED_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from actorstream.graph.plan import Chain
    from actorstream.operators.step_text import Bindings, Lists, StepPart

Result: TypeAlias = "Lists | list[Lists] | int"
Run: TypeAlias = (
    "Callable[[Sequence[object] | None, Sequence[object] | None, Sequence[int] | None, Sequence[int] | None, int, int],"
    " tuple[Result, ...]]"
)
_numbers = count(1)


class Place(NamedTuple):
    """Where in a step an error came from. `offset` None: it was not about a record, but a time that has come."""

    operator: str
    offset: int | None
    record: object


class Step:
    """The compiled chain, or the part of it before or after the key that is made inside.

    `run(values, keys, timestamps, marks, start, count)` does records start to start + count of the sequences, whose
    iterators have `__setstate__` (list, tuple, range), and gives one `Lists`, list of them, or count per outlet. Where
    an operator waits for time, the last result is the number of records at the end that it has not begun: more was
    due before them than fits into a burst, so `run` of the part "fire" comes first. To "fire by clock" `start` says
    which time it is.
    """

    def __init__(
        self,
        chain: Chain,
        bindings: Bindings,
        *,
        timed: bool | None = None,
        part: StepPart = "whole",
        marked: bool = False,
        side: int = 0,
    ) -> None:
        """Write, compile and bind the function.

        Args:
            chain: The operators.
            bindings: What they are bound to in this subtask.
            timed: Batches bring timestamps; None: if the chain or one behind it asks for them.
            part: What of the chain this function does.
            marked: Batches bring the watermark before each record.
            side: On which input of an operator with two.
        """
        timed = chain.needs_timestamps if timed is None else timed
        writer = ChainWriter(chain, bindings, timed=timed, part=part, marked=marked, side=side)
        self.stops = writer.stops
        self.outlets = tuple(writer.outlets)
        self.source = "".join(f"{'    ' * line.depth}{line.text}\n" for line in writer.lines)
        self._lines = writer.lines
        self._file = f"{GENERATED_FILE}{chain.name} #{next(_numbers)}>"
        linecache.cache[self._file] = (len(self.source), None, self.source.splitlines(keepends=True), self._file)
        namespace = dict(writer.constants)
        exec(compile(self.source, self._file, "exec"), namespace)
        self.run = cast("Run", namespace["step"])

    def forget(self) -> None:
        """Drop the source text kept for tracebacks."""
        linecache.cache.pop(self._file, None)

    def operator_at(self, file: str, line: int) -> str | None:
        """Name the operator that a line of the text belongs to; None if the file is another, or the line nobody's."""
        return self._lines[line - 1].operator if file == self._file else None

    def locate(self, trace: TracebackType | None) -> Place | None:
        """Tell the operator and the record at which an error left `run`; None if it came from elsewhere."""
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self._file:
                line, names = self._lines[trace.tb_lineno - 1], trace.tb_frame.f_locals
                if line.operator is None:
                    return None
                if not line.iterator:
                    return Place(line.operator, None, None)
                values: Sequence[object] = names["values"]
                at = len(values) - names[line.iterator].__length_hint__() - 1
                return Place(line.operator, at - names["start"], values[at])
            trace = trace.tb_next
        return None


def is_generated(file: str) -> bool:
    """Tell whether a stack's frame with this file name is a step's."""
    return file.startswith(GENERATED_FILE)
