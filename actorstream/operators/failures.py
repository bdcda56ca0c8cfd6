"""Dead letters: what becomes of a record whose function raised, where the operator was given `errors=`.

    ValueError in a function     ──> Failure(record, operator, "ValueError: ...", traceback, ...)  on the side output
    a rule of ours is broken     ──> raised again: the job fails, and the restart strategy decides

Which errors say something of the record, and which of the program, the disk or us, is decided here alone:

    becomes a Failure            any Exception of user code; a time that is none; a time that the record has not got
    fails the job                all other errors of actorstream (state used where there is no key, damaged state, ...),
                                 MemoryError, and what is no Exception: CancelledError, KeyboardInterrupt, SystemExit

A Failure says how it came about in this run. What its function raised, and for which record, is the same in every run;
`position`, `subtask` and `traceback` depend on how records were batched, spread and on where the code lies.
"""

from __future__ import annotations

import os
from datetime import datetime  # noqa: TC003  (a Failure is stored by the annotations of its fields)
from pathlib import Path
from traceback import TracebackException
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from actorstream.errors import ActorstreamError, MissingTimestampError, TimestampError
from actorstream.operators.user_time import datetime_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

T = TypeVar("T")

GENERATED_FILE: Final = "<actorstream chain "
"""How the file name of a chain's generated function begins."""

_OF_RECORDS = (MissingTimestampError, TimestampError)
_OURS = (GENERATED_FILE, f"{Path(__file__).parent.parent}{os.sep}")
_WITHOUT_MODULE = ("__main__", "builtins")
_ERROR_CHARS = 2_000
_TRACEBACK_CHARS = 8_000


class Failure(NamedTuple, Generic[T]):
    """One record that a function could not handle: what the side output of `errors=` holds.

    Attributes:
        value: The record; None where a timer's handler raised, for which there is none.
        operator: Name of the operator.
        error: Type and message, as a traceback ends: "ValueError: no such currency". Cut in the middle after 2,000
            characters.
        traceback: From the user's function on, as Python prints it. Cut in the middle after 8,000 characters.
        attempts: How often the function was called with the record: more than once only with `retry=`.
        subtask: Index of the subtask in which it ran.
        position: Where the record was read: (split, position), None where that is unknown. The position is that of the
            last record of those that were read together.
        key: Of a handler with keyed state, the key; else None.
        timestamp: The record's event time, or the time that the timer was set to; None where there is none.
        timer: Name of the timer whose `on_timer` raised; None where it was a record.
    """

    value: T | None
    operator: str
    error: str
    traceback: str
    attempts: int = 1
    subtask: int = 0
    position: tuple[str, object] | None = None
    key: object = None
    timestamp: datetime | None = None
    timer: str | None = None

    @property
    def error_type(self) -> str:
        """The class of the error, as `error` begins: "ValueError"."""
        return self.error.partition(":")[0]


def is_of_record(error: BaseException) -> bool:
    """Tell whether an error that a user's function raised may become a Failure, or has to fail the job."""
    if isinstance(error, ActorstreamError):
        return isinstance(error, _OF_RECORDS)
    return isinstance(error, Exception) and not isinstance(error, MemoryError)


class Aside(NamedTuple):
    """A failure among results, on its way to its side output. Class and field are in checkpoints: they stay so."""

    value: Failure[Any]


class DeadLetters:
    """Writes the failures of one operator in one subtask.

    Attributes:
        written: How many there were since the start of the attempt.
        attempts: How often the function of the next one was called.
    """

    __slots__ = ("_operator", "_position", "_subtask", "attempts", "written")

    def __init__(self, operator: str, subtask: int, position: Callable[[], tuple[str, object] | None]) -> None:
        """Name the place; `position` tells where the records at hand were read."""
        self._operator = operator
        self._subtask = subtask
        self._position = position
        self.written = 0
        self.attempts = 1

    def write(
        self,
        error: Exception,
        value: Any,  # noqa: ANN401  (whatever the record is)
        at_us: int | None = None,
        key: object = None,
        timer: str | None = None,
        attempts: int | None = None,
    ) -> Failure[Any]:
        """Give the failure of a record, or of a timer.

        Raises:
            Exception: `error` itself, where it says nothing of the record: see the head of this module.
        """
        if not is_of_record(error):
            raise error
        self.written += 1
        tries, self.attempts = attempts or self.attempts, 1
        position = self._position()
        told = TracebackException(type(error), error, _within(error.__traceback__))
        return Failure(
            value=value,
            operator=self._operator,
            error=_cut(_last_words(type(error), told), _ERROR_CHARS),
            traceback=_cut("".join(told.format()), _TRACEBACK_CHARS),
            attempts=tries,
            subtask=self._subtask,
            position=None if position is None else (position[0], position[1]),
            key=key,
            timestamp=None if at_us is None else datetime_of(at_us),
            timer=timer,
        )


def _last_words(kind: type[Exception], told: TracebackException) -> str:
    """Give type and message, as a traceback ends; a message whose own code raises is replaced there."""
    module = "" if kind.__module__ in _WITHOUT_MODULE else f"{kind.__module__}."
    lines = list(told.format_exception_only())
    name = module + kind.__qualname__
    first = next((at for at, line in enumerate(lines) if line.startswith(name)), 0)  # a SyntaxError's is its last
    return "".join(lines[first:]).rstrip("\n")


def _within(trace: TracebackType | None) -> TracebackType | None:
    """Leave out what lies above the user's function: the generated text, and what of ours runs it."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    return trace


def _cut(text: str, limit: int) -> str:
    """Give text that is short, and can be stored: messages may hold halves of characters."""
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters are left out ...\n{text[-half:]}"
