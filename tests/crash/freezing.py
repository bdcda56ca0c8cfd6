"""The job of orders.py in a process that begins when it is told to, and that can stop itself inside a commit.

    stdin   begin                        import is over ("ready"): open the store
            freeze at N                  at the N-th file call of a commit (see `_counts`): SIGSTOP
            freeze before KIND PATTERN   before its first call of a kind on a path that the pattern matches

`python -m tests.crash.freezing FOLDER [take over]`. It says "told", "freezes ..." before it does, and "past N" where
the commit has not so many calls. Calls of LMDB are none of the file system's; "synced" is the note behind a commit.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from dataclasses import replace
from fnmatch import fnmatch
from os.path import join
from typing import TYPE_CHECKING

from actorstream.eventlog.folder import LogSettings
from actorstream.system.current import current_world, use_world
from actorstream.system.files import RealFiles
from actorstream.testing.faults import InterceptedFiles
from tests.crash.orders import CHECKPOINT_SECONDS, build

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream import Job

HASTY = LogSettings(segment_bytes=1 << 20, lock_timeout_s=1.5)
"""A log whose writer lock a stopped process holds is given up after that."""


class FreezingFiles(InterceptedFiles):
    """Stops the process at one call, once it is told which."""

    def __init__(self) -> None:
        super().__init__(RealFiles())
        self._lock = threading.Lock()
        self._nth = 0
        self._point: tuple[str, str] | None = None
        self._counted = 0
        self._drafts = 0

    def tell(self, words: list[str]) -> None:
        with self._lock:
            if words[0] == "at":
                self._nth, self._counted, self._drafts = int(words[1]), 0, 0
            else:
                self._point = words[1], words[2]

    def size(self, path: str, /) -> int:
        self._before("look", path)
        return self._inner.size(path)

    def synced(self, path: str, /) -> None:
        super().synced(path)
        self._before("synced", path)

    def _before(self, kind: str, path: str, half: Callable[[], None] | None = None) -> None:
        with self._lock:
            if not self._is_here(kind, path):
                return
            self._nth, self._point = 0, None
        print(f"freezes before {kind} {path}", flush=True)  # noqa: T201  (the test listens)
        # To this thread: of a signal to the process another thread may take notice, and this one run on meanwhile.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

    def _is_here(self, kind: str, path: str) -> bool:
        if self._point is not None and kind == self._point[0] and fnmatch(path, self._point[1]):
            return True
        if not self._nth or not self._counts(kind, path):
            return False
        self._counted += 1
        return self._counted == self._nth

    def _counts(self, kind: str, path: str) -> bool:
        """Tell whether a call is one of the commit's: from the first output that is staged to the draft after next."""
        if kind == "create" and path.endswith(".draft") and self._counted:
            self._drafts += 1
            if self._drafts == 2:
                print(f"past {self._counted}", flush=True)  # noqa: T201
                self._nth = 0
        return bool(self._nth) and (self._counted > 0 or (kind == "create" and "/updates/staged/" in path))


def confess(job: Job) -> None:
    """Say what the job waits for, and where each task is: it has not ended in time."""
    sys.stderr.write(f"{job.status}: {job.explain()}\n")
    for task in asyncio.all_tasks():
        task.print_stack(limit=6, file=sys.stderr)


async def main(folder: str, take_over: str = "") -> None:
    files = FreezingFiles()
    loop = asyncio.get_running_loop()
    begin = asyncio.Event()

    def told() -> None:
        for line in os.read(0, 4_096).decode().splitlines():
            if line == "begin":
                begin.set()
            else:
                files.tell(line.split()[1:])
                print("told", flush=True)  # noqa: T201  (what is appended from now on meets it)

    loop.add_reader(0, told)
    print("ready", flush=True)  # noqa: T201
    await begin.wait()
    with use_world(replace(current_world(), files=files)):
        run = build(folder, HASTY).run(
            store=join(folder, "store"), checkpoint_interval=CHECKPOINT_SECONDS, take_over=bool(take_over)
        )
        print("begins", flush=True)  # noqa: T201
        async with run as job:
            loop.add_signal_handler(signal.SIGTERM, job.stop_soon)
            loop.add_signal_handler(signal.SIGUSR1, confess, job)
            print("up", flush=True)  # noqa: T201
            await job.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
