"""System calls of a running process that fail, or kill it: what LMDB asks of the kernel passes no FileSystem of ours.

    strace -p PID -e trace=pwrite64 -e inject=pwrite64:error=EIO:when=3
                                           └ is not made, gives EIO; or is not made, and the process is killed

`when` counts the calls of each thread apart. `of` narrows it to calls on files of these paths, opened or by name.
"""

from __future__ import annotations

import re
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_ATTACHED = re.compile(r"strace: Process \d+ attached")


@dataclass(frozen=True)
class Injection:
    """The `nth` system call `call` meets `effect`: `error=EIO`, or `signal=SIGKILL`, which comes before it is made."""

    call: str
    effect: str
    nth: int
    of: Sequence[str] = ()

    def options(self) -> list[str]:
        effect = f"{self.effect}:error=EINTR" if self.effect.startswith("signal") else self.effect
        paths = [option for path in self.of for option in ("-P", path)]
        return [*paths, "-e", f"trace={self.call}", "-e", f"inject={self.call}:{effect}:when={self.nth}"]


@contextmanager
def injected(pid: int, injection: Injection, log: Path) -> Iterator[None]:
    """Hold the process, and all threads it will have, until it has ended; then `log` has what was traced."""
    command = ["strace", "-f", "-y", "-p", str(pid), "-o", str(log), *injection.options()]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        assert _ATTACHED.match(said), said + tracer.stderr.read()
        try:
            yield
            tracer.communicate()
        finally:
            tracer.kill()


def hit(log: Path) -> str:
    """Give the first call that was injected into, as strace wrote it; empty if none was."""
    lines = log.read_text(errors="replace").splitlines()
    return next((line for line in lines if "(INJECTED)" in line), "")
