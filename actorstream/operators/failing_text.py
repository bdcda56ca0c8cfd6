"""Writes what keeps an error within its record: a try around the call, and where its failure goes.

    d3 = None
    try:
        x1 = f3(e)
    except Exception as error:
        d3 = letter3(error, e, t)       raises again what is no record's (operators/failures.py)
    if d3 is not None:
        p1(d3)                          what takes the side output
    else:
        p0(x1)                          what takes the results: outside of the try, for it has errors of its own

A function's results are all taken before the first is handed on: a generator may raise behind its third one, and a
record is either processed or failed. An operator without `errors=` has none of this in its text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.graph.nodes import errors_of
from actorstream.operators.any_number import MANY, any_number, refuse_text
from actorstream.operators.time_text import TimeText

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.graph.nodes import Node


class FailingText(TimeText):
    """The blocks around a call whose errors go to a side output."""

    def _guarded(self, node: Node, depth: int, attempt: str, about: str, *, undo: str = "") -> int:
        """Write the lines of `attempt`, which may raise; give the depth of what follows where they do not.

        Args:
            node: The operator, which may have no `errors`: then it is the lines alone.
            depth: Of the lines.
            attempt: The lines.
            about: The record, its time, its key and the name of the timer, as arguments.
            undo: A line to run first where they raised.
        """
        output = errors_of(node.spec)
        if not output:
            for line in _lines(attempt):
                self.emit(depth, line)
            return depth
        letter = f"d{node.id}"
        write = self.constant(f"letter{node.id}", self.bindings.letters[node.id].write)
        self.constant("Exception", Exception)
        self.emit(depth, f"{letter} = None")
        self.emit(depth, "try:")
        for line in _lines(attempt):
            self.emit(depth + 1, line)
        self.emit(depth, "except Exception as error:")
        if undo:
            self.emit(depth + 1, undo)
        self._exact_time(depth + 1)
        self.emit(depth + 1, f"{letter} = {write}(error, {about})")
        self.emit(depth, f"if {letter} is not None:")
        self._children(node, letter, depth + 1, output)
        self.emit(depth, "else:")
        return depth + 1

    def _all_of(self, results: str) -> str:
        """Give the line that takes all results of a call before the first is handed on."""
        many = self.constant("any_number", any_number)
        return f"if {results} is not None and {results}.__class__ is not list: {results} = {many}({results})"

    def _no_text(self, results: str, depth: int) -> None:
        """Write what looks at results that may be a text; lists and generators hardly notice."""
        unclear = f"{results}.__class__ is not list and {results}.__class__ not in {self.constant('many', MANY)}"
        self.emit(depth, f"if {unclear}: {self.constant('refuse_text', refuse_text)}({results})")


def _lines(text: str) -> Iterator[str]:
    return (line for line in text.split("\n") if line)
