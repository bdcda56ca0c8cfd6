"""Calls of a connector under test: noted, held to a deadline, and cut short at any of their awaits.

    open  abort(None)  write  pre_commit(1) ──await──await──       x cut at the second await: cancelled there

What breaks is told with all that was called before it, oldest first.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

R = TypeVar("R")

CALL_SECONDS = 30.0
_SHOWN_MAX = 60


class ConformanceError(AssertionError):
    """A source or sink breaks its contract; the message says which part, and has the calls that show it."""


class Cut(Exception):  # noqa: N818  (no error: what was planned)
    """Raised in place of a call's result where a crash was planned, once its effects are over."""


class Calls:
    """What was called in one scenario.

    Attributes:
        connector: The class that is called.
        lines: Each call, in order.
    """

    def __init__(self, scenario: str) -> None:
        """Begin a scenario."""
        self.connector = ""
        self.lines: list[str] = []
        self._scenario = scenario

    def note(self, line: str) -> None:
        """Add what is no call, such as a crash."""
        self.lines.append(line)

    def broken(self, what: str) -> ConformanceError:
        """Give the error that says what was found, and how one comes there."""
        shown = self.lines[-_SHOWN_MAX:]
        left_out = [f"({len(self.lines) - len(shown)} earlier ones left out)"] * (len(shown) < len(self.lines))
        return ConformanceError(
            "\n  ".join([f"{self.connector}, {self._scenario!r}: {what}; calls:", *left_out, *shown])
        )

    async def call(self, what: str, make: Callable[[], Awaitable[R]], *, cut_at: int | None = None) -> R:
        """Await what `make` gives; with `cut_at`, cancel it at that await, from 1.

        Raises:
            Cut: It was cancelled, or would have been at an await that it did not come to after it was asked to end.
            ConformanceError: It does not end.
        """
        self.lines.append(what)
        counted = _Counted(make(), cut_at)
        result: list[R] = []
        with anyio.move_on_after(CALL_SECONDS) as deadline, anyio.CancelScope() as scope:
            counted.cancel = scope.cancel
            result.append(await counted)
        if deadline.cancelled_caught:
            raise self.broken(f"{what} did not end within {CALL_SECONDS:g} s")
        if counted.was_cut:
            self.lines[-1] += f"  x cancelled at its await {cut_at}"
            raise Cut(what)
        return result[0]


class _Counted:
    """Awaits what it is given, and counts how often that waits; cancels at one of them."""

    def __init__(self, call: Awaitable[object], cut_at: int | None) -> None:
        self._call = call
        self._cut_at = cut_at
        self.was_cut = False
        self.cancel: Callable[[], None] = lambda: None

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = cast("Generator[Any, Any, Any]", self._call.__await__())
        awaits, error, sent = 0, None, None
        while True:
            try:
                waits_for = _next(steps, sent) if error is None else steps.throw(error)
            except StopIteration as end:
                return end.value
            awaits += 1
            if awaits == self._cut_at:
                self.was_cut = True
                self.cancel()
            error, sent = None, None
            try:
                sent = yield waits_for
            except BaseException as thrown:  # noqa: BLE001  (handed on to the one it is for)
                error = thrown


def _next(steps: Generator[Any, Any, Any], sent: object) -> object:
    return next(steps) if sent is None else steps.send(sent)


async def resolved(value: Awaitable[R] | R) -> R:
    """Give what a user's function gave, which may be async."""
    if inspect.isawaitable(value):
        return cast("R", await value)
    return value
