"""One merge as a process of its own: `python -m actorstream.state.compaction_child`.

    Merge as JSON, one line ──standard input──> merge ──standard output──> Merged as JSON, exit code 0
    (then nothing: the parent is alive)             └────standard error────> one line, exit code 1

It runs no user code, and imports nothing but this library.

How it ends:
- Ctrl-C in a terminal is for the parent: SIGINT is ignored here.
- The parent's end is its end, at once, also inside a long call: standard input is
  then closed. Where another process has inherited that pipe, it is the parent's
  number that changes. The half-written file goes, with nobody left to do it.
- Killed, it leaves a file that nobody refers to; the compactor removes it.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
from contextlib import suppress
from threading import Thread

from actorstream.codec.documents import decode_json, encode_json
from actorstream.errors import ActorstreamError
from actorstream.state.compaction import Merge, merge
from actorstream.system.files import RealFiles

ORPHANED = 3
"""The exit code when the parent has ended."""

_LOOK_SECONDS = 1.0


def main() -> int:
    """Carry out the `Merge` on standard input; give the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()  # entries make no cycles, and walking them again and again costs a tenth
    parent = os.getppid()
    try:
        task = decode_json(Merge, sys.stdin.buffer.readline())
        Thread(target=_end_with, args=(parent, task.target), daemon=True).start()
        merged = merge(RealFiles(), task)
    except (ActorstreamError, OSError) as error:
        sys.stderr.write(" ".join(f"{type(error).__name__}: {error}".split()) + "\n")
        return 1
    sys.stdout.buffer.write(encode_json(merged))
    return 0


def _end_with(parent: int, target: str) -> None:
    """Wait for the parent's end, then end this process without a look back."""
    stdin = sys.stdin.fileno()
    while os.getppid() == parent:
        ready, _, _ = select.select([stdin], [], [], _LOOK_SECONDS)
        if ready and not os.read(stdin, 1):
            break
    with suppress(OSError):
        os.unlink(target)
    os._exit(ORPHANED)


if __name__ == "__main__":
    sys.exit(main())
