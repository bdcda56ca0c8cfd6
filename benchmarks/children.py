"""Measurements in a process of their own: started, watched from outside, heard.

A new process has a new heap, a new interpreter and nothing imported: what it takes of
time and memory is its own. Memory is read from the system's account of the process
and of all its descendants, which costs them nothing.
"""

from __future__ import annotations

import json
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, NamedTuple, cast

from benchmarks.errors import ChildFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
_PROC = Path("/proc")
_SAMPLE_SECONDS = 0.05


class Memory(NamedTuple):
    """Bytes that a process has in memory.

    Attributes:
        anonymous: Of the process itself, without pages of files, which the system takes back when it likes.
        family: All that is resident of the process and its descendants together.
    """

    anonymous: int
    family: int


def run_child(module: str, *arguments: object) -> tuple[dict[str, float], Memory]:
    """Run `python -m module arguments`; give the JSON that it prints, and the most memory seen until then.

    It ends by itself, or by SIGKILL to itself.

    Raises:
        ChildFailedError: It ended with an error.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    peak = Memory(0, 0)
    with (
        TemporaryFile("w+", encoding="utf-8") as errors,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
        selectors.DefaultSelector() as selector,
    ):
        selector.register(cast("IO[str]", process.stdout), selectors.EVENT_READ)
        while not selector.select(_SAMPLE_SECONDS):
            found = memory_of(process.pid)
            peak = Memory(max(peak.anonymous, found.anonymous), max(peak.family, found.family))
        said, _ = process.communicate()
        if process.returncode not in {0, -signal.SIGKILL} or not said:
            errors.seek(0)
            last_words = errors.read().strip()[-2_000:]
            raise ChildFailedError(f"{' '.join(command[1:])} ended with {process.returncode}: {last_words}")
    return cast("dict[str, float]", json.loads(said)), peak


def memory_of(pid: int) -> Memory:
    """Give what a process and its family have in memory now; 0 for what has ended."""
    family = sum(_status(each, "VmRSS") for each in (pid, *descendants(pid)))
    return Memory(_status(pid, "RssAnon"), family)


def descendants(pid: int) -> Iterator[int]:
    """Give the processes that a process has started, and theirs."""
    for listing in _PROC.glob(f"{pid}/task/*/children"):
        try:
            children = listing.read_text(encoding="ascii").split()
        except OSError:  # the thread has ended meanwhile
            continue
        for child in map(int, children):
            yield child
            yield from descendants(child)


def _status(pid: int, name: str) -> int:
    try:
        lines = (_PROC / str(pid) / "status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
