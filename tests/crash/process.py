"""A program of ours in a process of its own, as its parent sees it: started, listened to, signalled, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 25.0


class Child:
    """One process. What it writes to stderr goes to a file, for the failure message."""

    def __init__(self, process: asyncio.subprocess.Process, stderr: Path) -> None:
        self._process = process
        self._stderr = stderr
        self.said: list[str] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None, "it was started without"
        self._process.stdin.write(f"{line}\n".encode())

    def signal(self, number: signal.Signals) -> None:
        assert not self.ended, self.last_words()
        self._process.send_signal(number)

    async def until(self, line: str | None) -> None:
        """Wait until it has printed `line`; None: until it prints no more. `said` has what it printed so far."""
        assert self._process.stdout is not None
        while line is None or line not in self.said:
            printed = await asyncio.wait_for(self._process.stdout.readline(), DEADLINE_SECONDS)
            if not printed:
                assert line is None, f"it ended and never said {line!r}: {self.last_words()}"
                return
            self.said.append(printed.decode().strip())

    async def says(self, beginnings: tuple[str, ...]) -> str:
        """Wait for a line that begins so, after all that it has said by now; give it."""
        assert self._process.stdout is not None
        while True:
            printed = await asyncio.wait_for(self._process.stdout.readline(), DEADLINE_SECONDS)
            assert printed, f"it ended and never said one of {beginnings}: {self.last_words()}"
            self.said.append(printed.decode().strip())
            if self.said[-1].startswith(beginnings):
                return self.said[-1]

    async def wait(self) -> int:
        return await asyncio.wait_for(self._process.wait(), DEADLINE_SECONDS)

    async def kill(self) -> None:
        """End it with SIGKILL; it must not have ended before."""
        self.signal(signal.SIGKILL)
        assert await self.wait() == -signal.SIGKILL, self.last_words()

    def last_words(self) -> str:
        return self._stderr.read_text(errors="replace")[-20_000:]

    async def discard(self) -> None:
        if not self.ended:
            self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def started(*arguments: str, folder: Path, listens: bool = False) -> AsyncIterator[Child]:
    """Run `python ARGUMENTS` from the root of the checkout; it is gone when the block is left.

    `listens`: it can be told lines.
    """
    stderr = folder / "stderr.txt"
    with stderr.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE if listens else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        )
    child = Child(process, stderr)
    try:
        yield child
    finally:
        await child.discard()
