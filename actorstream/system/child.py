"""A module of ours as a process of its own, fed through one pipe and heard through another.

    feed ──> bytes not yet taken ──standard input──> child     `feed` never waits, `wait_room` does
    on_data <─────────────────────standard output─── child
    the report of its loss <───────standard error─── child

It is started, never forked: nothing of our heap, locks and files is in it. It ends when
its input ends, so it does not outlive us, however we end. It is none of the terminal's
business: in a process group of its own, Ctrl-C does not reach it.

Everything happens in callbacks of the event loop: no thread takes part, because a thread
starves beside a busy loop (the child watchers of asyncio are threads).

Invariants:
- What was given to `feed` goes whole and in order, whoever is cancelled meanwhile.
- After `on_lost`, or `close`, the process is reaped and no pipe is open.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
from collections import deque
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from anyio import CancelScope, move_on_after

from actorstream.errors import ActorstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

ROOM_BYTES = 1 << 18
"""`wait_room` returns when no more than this waits for the pipe."""

_PIPE_BYTES = 1 << 20
_LAST_WORDS = 4_096
_READ_BYTES = 1 << 16
_REAP_SECONDS = 1.0
_PACKAGE_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# The package's __init__ imports all of the library: without it a child is up after 0.11 s and has 16 MB, with it
# after 0.43 s and 35 MB.
_START = """\
import importlib, sys, types
path, module = sys.argv[1:]
package = sys.modules["actorstream"] = types.ModuleType("actorstream")
package.__path__ = [path]
sys.exit(importlib.import_module(module).main())
"""


class ChildLostError(ActorstreamError):
    """The child could not be started, has ended or was killed; the message has its last words."""


class Child:
    """A running child process.

    Attributes:
        loss: What became of it; None while it lives.
    """

    def __init__(self, module: str, on_data: Callable[[bytes], None], on_lost: Callable[[], None]) -> None:
        """Start `main()` of a module of this package.

        Args:
            module: Its full name. `main` returns the exit code; it ends when its standard input does.
            on_data: Gets what it writes to its standard output.
            on_lost: Called once, when it has ended for whatever reason and is reaped.

        Raises:
            ChildLostError: No process can be started here.
        """
        self.loss: str | None = None
        self._module = module
        self._on_data = on_data
        self._on_lost = on_lost
        self._waiting: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._room = asyncio.Event()
        self._gone = asyncio.Event()
        self._last_words = b""
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._process = _start(module)
        self._in, self._out, self._err = _pipes_of(self._process)
        self._loop.add_reader(self._out, self._hear)
        self._loop.add_reader(self._err, self._note)

    @property
    def pid(self) -> int:
        """Give its process id."""
        return self._process.pid

    def feed(self, data: bytes) -> None:
        """Send `data`, at once or as the pipe takes it.

        Raises:
            ChildLostError: It is gone, or closing.
        """
        self._check()
        if self._closing:
            raise ChildLostError(f"{self._module}, process {self.pid}: its input has ended")
        self._waiting.append(memoryview(data))
        self._waiting_bytes += len(data)
        if len(self._waiting) == 1:
            self._push()
            self._check()
            if self._waiting:
                self._room.clear()
                self._loop.add_writer(self._in, self._push)

    async def wait_room(self) -> None:
        """Wait until the child has taken most of what it was sent.

        Raises:
            ChildLostError: It is gone.
        """
        while self._waiting_bytes > ROOM_BYTES and self.loss is None:
            self._room.clear()
            await self._room.wait()
        self._check()

    def kill(self, reason: str) -> None:
        """End it now, because of `reason`; a second call does nothing."""
        if self.loss is None:
            self._process.kill()
            self._end(reason)

    async def close(self, seconds: float) -> None:
        """End its input, wait until it has ended, and kill it after `seconds`; not cut short by cancellation."""
        if self.loss is not None:
            return
        self._closing = True
        try:
            if not self._waiting:
                self._in.close()
            with CancelScope(shield=True), move_on_after(seconds):
                await self._gone.wait()
        finally:
            self.kill(f"it did not end within {seconds:g} s of the end of its input")

    def _check(self) -> None:
        if self.loss is not None:
            raise ChildLostError(self.loss)

    def _push(self) -> None:
        """Hand the pipe what it takes without waiting."""
        try:
            while self._waiting:
                first = self._waiting[0]
                taken = os.write(self._in.fileno(), first)
                self._waiting_bytes -= taken
                if taken < len(first):
                    self._waiting[0] = first[taken:]
                    break
                self._waiting.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._end("it reads no more")
            return
        if self._waiting_bytes <= ROOM_BYTES:
            self._room.set()
        if not self._waiting:
            self._loop.remove_writer(self._in)
            if self._closing:
                self._in.close()

    def _hear(self) -> None:
        data = _read(self._out)
        if data:
            self._on_data(data)
        elif data is not None:
            self._end("it ended")

    def _note(self) -> None:
        data = _read(self._err)
        if data:
            self._last_words = (self._last_words + data)[-_LAST_WORDS:]
        elif data is not None:
            self._loop.remove_reader(self._err)

    def _end(self, reason: str) -> None:
        """Reap it, take what it still said, close the pipes. Waits for milliseconds: it has ended or was killed."""
        if self.loss is not None:
            return
        self.loss = reason  # `_hear` comes here again
        try:
            code = self._process.wait(_REAP_SECONDS / 10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_REAP_SECONDS)
            code = self._process.returncode
        while data := _read(self._out):
            self._on_data(data)
        while data := _read(self._err):
            self._last_words = (self._last_words + data)[-_LAST_WORDS:]
        self._loop.remove_reader(self._out)
        self._loop.remove_reader(self._err)
        if not self._in.closed:
            self._loop.remove_writer(self._in)
        for pipe in (self._in, self._out, self._err):
            with suppress(OSError):
                pipe.close()
        self._waiting.clear()
        self._waiting_bytes = 0
        said = self._last_words.decode(errors="replace").strip() or "nothing"
        self.loss = f"{self._module}, process {self.pid}: {reason}, with exit code {code}; it said: {said}"
        self._room.set()
        self._gone.set()
        self._on_lost()


def _start(module: str) -> subprocess.Popen[bytes]:
    if not sys.executable or getattr(sys, "frozen", False):
        raise ChildLostError(f"{module}: this program is frozen: {sys.executable!r} would run it, not Python")
    try:
        return subprocess.Popen(
            # -P: a file of the working folder must not stand in for a module.
            [sys.executable, "-P", "-c", _START, _PACKAGE_FOLDER, module],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=_environment(),
            process_group=0,
        )
    except OSError as error:
        raise ChildLostError(f"{module}: no process can be started ({error})") from error


def _environment() -> dict[str, str]:
    """Let the child import from where this process does, whatever it changed at run time."""
    ignored = ("PYTHON",) if sys.flags.ignore_environment else ("PYTHONINSPECT", "PYTHONSTARTUP")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ignored)}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if os.path.isabs(path))}


def _pipes_of(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    into, out, err = [pipe for pipe in (process.stdin, process.stdout, process.stderr) if pipe is not None]
    for pipe in (into, out, err):
        os.set_blocking(pipe.fileno(), False)
    with suppress(AttributeError, OSError):
        # One turn of a busy loop hands over what the pipe holds, 64 KiB at first: then a layer of 13 MB, beside
        # actors that work 5 ms a turn, took 1.5 to 3.4 s; with 1 MiB 0.7 to 1.5 s.
        fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return into, out, err


def _read(pipe: IO[bytes]) -> bytes | None:
    """Give what is there: nothing at the end, None if there is nothing yet."""
    try:
        return os.read(pipe.fileno(), _READ_BYTES)
    except BlockingIOError:
        return None
    except OSError:
        return b""
