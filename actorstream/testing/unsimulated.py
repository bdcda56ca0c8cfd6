"""What a simulated process must not touch, and how it is told so: sockets, threads, processes, files, real waiting.

    function of the user ──connect──> audit hook of the interpreter ──x CannotBeSimulatedError("…: socket.connect …")

The hook is set when the first simulation of this interpreter runs and stays, as such hooks do; it looks at nothing
outside of a simulated process. What it cannot see are readings of the real clock (`time.time`, `datetime.now`): use
`ctx.now`. Python's own `random` is seeded for each process.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from actorstream.errors import PlanError, UserCodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

_INSTEAD = {
    "socket.": "put a double in its place that awaits nothing but anyio.sleep",
    "subprocess.": "put a double in its place",
    "os.": "put a double in its place",
    "threading.": "call anyio.to_thread.run_sync or asyncio.to_thread: the simulation stands in for these threads",
    "time.sleep": "await anyio.sleep: virtual time passes there",
    "open": "write to an EventLog, or give it a double that outlives the process: outside(...)",
    "sqlite3.": "put a double in its place",
}
_REFUSED = frozenset(
    (
        "socket.connect",
        "socket.bind",
        "socket.sendto",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "subprocess.Popen",
        "os.system",
        "os.posix_spawn",
        "os.fork",
        "os.exec",
        "sqlite3.connect",
    )
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class CannotBeSimulatedError(PlanError):
    """A pipeline does what a simulation cannot repeat; the message names the operator, the act, and what to do."""


class UnsimulatedCallError(Exception):
    """Raised in place of the act, inside of the user's function."""


class _Hook:
    """The one hook of this interpreter."""

    def __init__(self) -> None:
        self.installed = False
        self.thread: int | None = None
        self.allowed: tuple[str, ...] = ()

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        if self.thread is None or (event not in _REFUSED and event != "open"):
            return
        if threading.get_ident() != self.thread:
            return
        if event == "open":
            path, _, flags = args
            if not isinstance(flags, int) or not flags & _WRITING or not isinstance(path, str | bytes):
                return
            place = os.path.abspath(os.fsdecode(path))
            if place.startswith(self.allowed) or "__pycache__" in place:
                return
            raise UnsimulatedCallError(f"writes the real file {place}: {_INSTEAD['open']}")
        _refuse(event)


def _refuse(what: str) -> NoReturn:
    instead = next(said for start, said in _INSTEAD.items() if what.startswith(start))
    raise UnsimulatedCallError(f"does {what}: {instead}")


_HOOK = _Hook()


@contextmanager
def _refused(owner: Any, name: str, what: str) -> Iterator[None]:  # noqa: ANN401  (a module or class)
    """Refuse a function of which interpreters before 3.13 tell their hooks nothing; other threads may call it."""
    real = getattr(owner, name)

    def call(*given: object, **named: object) -> object:
        if threading.get_ident() == _HOOK.thread:
            _refuse(what)
        return real(*given, **named)

    setattr(owner, name, call)
    try:
        yield
    finally:
        setattr(owner, name, real)


@contextmanager
def only_simulated(root: str, seed: str) -> Iterator[None]:
    """Refuse all that leaves the simulated machine whose disk is at `root`, for the block; seed Python's `random`."""
    if not _HOOK.installed:
        sys.addaudithook(_HOOK)
        _HOOK.installed = True
    before, state = (_HOOK.thread, _HOOK.allowed), random.getstate()
    random.seed(seed)
    _HOOK.allowed = (f"{root}/", "/dev/", "/proc/")
    _HOOK.thread = threading.get_ident()
    try:
        with _refused(threading.Thread, "start", "threading.Thread.start"), _refused(time, "sleep", "time.sleep"):
            yield
    finally:
        _HOOK.thread, _HOOK.allowed = before
        random.setstate(state)


def find_unsimulated(error: BaseException | None) -> CannotBeSimulatedError | None:
    """Give what a process did that cannot be simulated, if that is what ended it."""
    operator = ""
    while error is not None:
        if isinstance(error, UserCodeError):
            operator = error.operator
        if isinstance(error, CannotBeSimulatedError):
            return error
        if isinstance(error, UnsimulatedCallError) or _is_of_the_loop(error):
            said = (
                str(error) or "asks the loop for what it does not have: put a double in the place of what lies outside"
            )
            return CannotBeSimulatedError(f"simulate: {operator or 'the pipeline'} {said}")
        error = error.__cause__ or error.__context__
    return None


def _is_of_the_loop(error: BaseException) -> bool:
    """Tell whether asyncio's base of all loops has raised: it has neither sockets nor processes."""
    if not isinstance(error, NotImplementedError) or error.__traceback__ is None:
        return False
    last = error.__traceback__
    while last.tb_next is not None:
        last = last.tb_next
    return "/asyncio/" in last.tb_frame.f_code.co_filename
