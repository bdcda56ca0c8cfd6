"""The child process: the pipeline and nothing else. It may be killed at any moment.

Tells its parent on standard output when the first new record reached a sink, by
the clock that all processes of a machine share. Ends when the parent does: then
its standard input is closed.
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


class _Teller:
    """Tells the parent, once."""

    def __init__(self) -> None:
        self._told = False

    def watch(self, job: Job) -> None:
        """Look whether a record has come out."""
        if not self._told and job.summary().records_out:
            self._told = True
            report = {"first_record_at": current_world().clock.monotonic()}
            sys.stdout.write(json.dumps(report) + "\n")
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
