"""The child process: the pipeline and nothing else. It may be killed at any moment.

Tells its parent on standard output, one JSON object a line: when the first new
record reached a sink, by the clock that all processes of a machine share, and
now and then how many it has read. Ends when the parent does: then its standard
input is closed.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from os.path import join
from typing import TYPE_CHECKING

from actorstream.cli.demo.pipeline import build
from actorstream.cli.running import log_to_stderr, run_until_stopped
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from actorstream.api.job import Job

CHECKPOINT_SECONDS = 0.5
PARALLELISM = 2
_LOOK_SECONDS = 0.005
_TELL_SECONDS = 0.05


class _Teller:
    """Watches the job for the parent."""

    def __init__(self) -> None:
        self._clock = current_world().clock
        self._started = False
        self._next = 0.0

    def watch(self, job: Job) -> None:
        """Tell what is new."""
        now = self._clock.monotonic()
        summary = job.summary()
        if not self._started and summary.records_out:
            self._started = True
            _say(first_record_at=now)
        if now >= self._next:
            self._next = now + _TELL_SECONDS
            _say(read=summary.records_in)


def _say(**fact: float) -> None:
    sys.stdout.write(json.dumps(fact) + "\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    os.read(0, 1)  # not sys.stdin: its lock must be free when the interpreter ends
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Run the pipeline in the folder that the first argument names."""
    folder = sys.argv[1]
    log_to_stderr(logging.DEBUG)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    run_until_stopped(
        lambda: build(folder).run(
            store=join(folder, "store"), checkpoint_interval=CHECKPOINT_SECONDS, parallelism=PARALLELISM
        ),
        _Teller().watch,
        every_seconds=_LOOK_SECONDS,
    )


if __name__ == "__main__":
    main()
