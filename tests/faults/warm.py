"""Processes that begin warm: forked from one that has imported everything and done nothing yet.

    test ──begin──> warm process ──fork──> child: waits ──go──> runs one coroutine, ends or is killed
         <──────────── pid ─────────┘        └────── result, exit code ──────> test

A sweep needs a process for each place to die at, and an interpreter that imports takes longer than the whole job.
The warm process has one thread, no event loop and no open environment, so a child is as good as a fresh one. Between
`begin` and `go` somebody may take hold of the child: strace does.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

ROOT = Path(__file__).parents[2]
_PR_SET_PTRACER = 0x59616D61
_ANYBODY = -1


class Ended(NamedTuple):
    """How a child ended: `code` as subprocess gives it, `result` None unless it came to its end."""

    code: int
    result: object
    last_words: str


class Warm:
    """The parent of a module's children, to be used in `with`: each runs one of its coroutine functions."""

    def __init__(self, module: str, folder: Path, *, within: Sequence[str] = ()) -> None:
        """Take the module, a folder for what is said, and a command that runs what follows it, such as `unshare`."""
        self._command = [*within, sys.executable, "-X", "faulthandler", "-m", "tests.faults.warm", module]
        self._stderr = folder / "stderr.txt"

    def __enter__(self) -> Self:
        """Start it."""
        with self._stderr.open("ab") as errors:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def begin(self, function: str, *arguments: object) -> int:
        """Give the id of a new process; it waits for `go`."""
        assert self._process.stdin is not None
        self._said = self._stderr.stat().st_size
        self._process.stdin.write(json.dumps([function, *arguments]) + "\n")
        self._process.stdin.flush()
        self._pid = int(self._answer())
        return self._pid

    def go(self) -> Ended:
        """Let it run, and wait until it has ended."""
        os.kill(self._pid, signal.SIGUSR1)
        code, result = json.loads(self._answer())
        with self._stderr.open(errors="replace") as errors:
            errors.seek(self._said)
            return Ended(code, json.loads(result) if result else None, errors.read())

    def run(self, function: str, *arguments: object) -> Ended:
        """Run `function(*arguments)` in a new process; its end is the test's to judge."""
        self.begin(function, *arguments)
        return self.go()

    def result(self, function: str, *arguments: object) -> object:
        """Run what must not fail; give its result."""
        ended = self.run(function, *arguments)
        assert ended.code == 0, f"{function}{arguments} ended with {ended.code}: {ended.last_words[-3_000:]}"
        return ended.result

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the warm process has ended: {self._stderr.read_text(errors='replace')[-3_000:]}"
        return line


def main(module: str) -> None:
    functions = importlib.import_module(module)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _child(getattr(functions, name), arguments, writing)
        os.close(writing)
        print(pid, flush=True)  # noqa: T201  (the test listens)
        with open(reading, encoding="ascii") as said:
            result = said.read()
        _, status = os.waitpid(pid, 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), result]), flush=True)  # noqa: T201


def _child(function: object, arguments: list[object], writing: int) -> NoReturn:
    code = 1
    try:
        # Where Yama lets only parents trace, this asks it to let anybody; elsewhere it fails, and nobody minds.
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(_ANYBODY), 0, 0, 0)
        signal.sigwait({signal.SIGUSR1})
        result = asyncio.run(function(*arguments))  # type: ignore[operator]  # the test names a coroutine function
        os.write(writing, json.dumps(result).encode())
        code = 0
    except BaseException:  # noqa: BLE001  (whatever it is, this process must not go on as its parent)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
