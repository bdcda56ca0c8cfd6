"""A process to be killed: `python -m tests.checkpoints.archiving export|import FROM TO STEP`.

It says "there" and waits, right before its step of that number (from 0) changes the disk. If there are not so many, it
says "done" first.
"""

from __future__ import annotations

import signal
import sys

from actorstream.checkpoints.archive import export_savepoint
from actorstream.checkpoints.unpacking import import_savepoint
from tests.checkpoints.stepped_files import AtStep, SteppedFiles


def say(word: str) -> None:
    """Tell the parent."""
    print(word, flush=True)  # noqa: T201


def wait() -> None:
    """Stand still until SIGKILL."""
    say("there")
    signal.pause()


def main(what: str, source: str, target: str, step: str) -> None:
    """Do what is asked, up to the step."""
    files = SteppedFiles(AtStep(int(step), wait))
    if what == "export":
        export_savepoint(files, source, target, token=f"step{step}")
    else:
        import_savepoint(files, source, target)
    say("done")
    wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
