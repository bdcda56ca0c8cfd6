"""What ends a test from outside leaves a simulation as it came: Ctrl-C, a test's timeout, `pytest.fail` in a function.

    signal ──> its handler raises, in whichever frame just runs ──> a task keeps it, a group wraps it, a thread's caller
                    │                                               gets it, a closed coroutine drops it
                    └── kept ──> raised out of the loop, behind the step that it came in

It is nobody's failure: a pipeline that is blamed for a timeout would be run eighty times more to be made smaller, with
no timeout left to end that.
"""

from __future__ import annotations

import signal
import threading
from asyncio import CancelledError
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


class Interrupts:
    """What handlers of signals have raised, while it is watched."""

    def __init__(self) -> None:
        """Know of none."""
        self._first: BaseException | None = None

    def check(self) -> None:
        """Raise what came first, if anything came."""
        if self._first is not None:
            raise self._first

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Keep what handlers raise during the block; signals can be watched in the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
        real = {number: handler for number, handler in handlers.items() if callable(handler)}
        try:
            for number, handler in real.items():
                signal.signal(number, self._keeping(handler))
            yield
        finally:
            for number, handler in real.items():
                signal.signal(number, handler)

    def _keeping(self, handler: Callable[[int, FrameType | None], object]) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            try:
                handler(number, frame)
            except BaseException as error:
                self._first = self._first or error
                raise

        return handle


def find_end_of_test(error: BaseException | None) -> BaseException | None:
    """Give what among an error's causes was raised to end more than the program, such as what `pytest.fail` raises.

    A program's own failures are Exceptions.
    """
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            inner = (find_end_of_test(each) for each in error.exceptions)
            return next((each for each in inner if each is not None), None)
        if not isinstance(error, Exception | CancelledError):
            return error
        error = error.__cause__
    return None
