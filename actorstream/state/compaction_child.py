"""One merge as a process of its own: `python -m actorstream.state.compaction_child`.

    Merge as JSON ──standard input──> merge ──standard output──> Merged as JSON, exit code 0
                                        └────standard error────> one line, exit code 1

It runs no user code, and imports nothing but this library. What it leaves behind
when it is killed is a file that nobody refers to.
"""

from __future__ import annotations

import sys

from actorstream.codec.documents import decode_json, encode_json
from actorstream.errors import ActorstreamError
from actorstream.state.compaction import Merge, merge
from actorstream.system.files import RealFiles


def main() -> int:
    """Carry out the `Merge` on standard input; give the exit code."""
    try:
        merged = merge(RealFiles(), decode_json(Merge, sys.stdin.buffer.read()))
    except (ActorstreamError, OSError) as error:
        sys.stderr.write(" ".join(f"{type(error).__name__}: {error}".split()) + "\n")
        return 1
    sys.stdout.buffer.write(encode_json(merged))
    return 0


if __name__ == "__main__":
    sys.exit(main())
