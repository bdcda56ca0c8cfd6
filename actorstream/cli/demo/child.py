"""The child process as its parent sees it: started, listened to, killed.

Its report is read without waiting, whenever the parent looks: it carries its own
time, by the clock that all processes of a machine share.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from os.path import join
from typing import TYPE_CHECKING

from actorstream.errors import JobFailed
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from typing import IO

_REPORTS_BYTES = 1 << 16
_TAIL_BYTES = 2_000
_STOP_SECONDS = 20.0


class Child:
    """One process of the service. Blocking: start, kill and stop it in a thread.

    Attributes:
        started_at: Seconds of the monotonic clock.
        first_record_at: When its first new record reached a sink; None before that.
    """

    def __init__(self, folder: str) -> None:
        """Start it; what it logs goes to `service.log`."""
        self.first_record_at: float | None = None
        self._log = join(folder, "service.log")
        self._unfinished = b""
        self.started_at = current_world().clock.monotonic()
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "actorstream.cli.demo.service", folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        os.set_blocking(self._output.fileno(), False)

    @property
    def recovery_seconds(self) -> float | None:
        """How long it took from the start of the process to its first new record."""
        return None if self.first_record_at is None else self.first_record_at - self.started_at

    def listen(self) -> None:
        """Take in what it has said.

        Raises:
            JobFailed: It has ended by itself.
        """
        said = self._unfinished + (self._output.read(_REPORTS_BYTES) or b"")
        *lines, self._unfinished = said.split(b"\n")
        for line in lines:
            self.first_record_at = json.loads(line)["first_record_at"]
        if self._process.poll() is not None:
            raise self._failed(f"the service ended by itself, {_ending(self._process.returncode)}")

    def kill(self) -> None:
        """End it with SIGKILL, whatever its state, and return when it is gone."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def stop(self) -> None:
        """End it with SIGTERM: it takes a final checkpoint first.

        Raises:
            JobFailed: It did not end well, or in time.
        """
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._failed(f"the service did not stop within {_STOP_SECONDS:.0f} s") from None
        self.kill()
        if self._process.returncode:
            raise self._failed(f"the service stopped badly, {_ending(self._process.returncode)}")

    @property
    def _output(self) -> IO[bytes]:
        if self._process.stdout is None:
            raise JobFailed("the service has no standard output")
        return self._process.stdout

    def _failed(self, what: str) -> JobFailed:
        """Make the error, with the end of the child's log on it."""
        failure = JobFailed(f"{what}; its log is {self._log}")
        with open(self._log, "rb") as log:
            log.seek(max(0, os.path.getsize(self._log) - _TAIL_BYTES))
            failure.add_note(log.read().decode(errors="replace").strip())
        return failure


def _ending(status: int) -> str:
    return f"with status {status}" if status >= 0 else f"by signal {-status}"
