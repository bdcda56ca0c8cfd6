"""Events at fixed moments, from a process of its own, whatever the receiver does (an open loop).

    python -m benchmarks.load_generator RATE COUNT       waits for a line on standard input, then begins

    event n is due at  start + n / RATE;  it is written at that moment or, if this process was late, at once

Each event on standard output says when it was due and when it was written, so that
the receiver takes latency from the moment at which the event should have come: a
stall delays all that are due in it, and each of them counts (no coordinated
omission). What the generator itself was late is told apart.

Imports almost nothing: it shares the machine with what is measured.
"""

from __future__ import annotations

import os
import struct
import sys
import time

EVENT = struct.Struct("<QQQ")
"""Number, due and written; nanoseconds of the machine's monotonic clock, which all its processes share."""

_LEAD_NS = 20_000_000
_STDOUT = 1


def main(rate: float, count: int) -> None:
    """Write all events."""
    sys.stdin.readline()
    clock, pack = time.monotonic_ns, EVENT.pack
    start = clock() + _LEAD_NS
    number = 0
    while number < count:
        now = clock()
        due = min(count, int((now - start) * rate / 1e9) + 1) if now >= start else 0
        if due > number:
            _write(b"".join(pack(each, start + int(each * 1e9 / rate), now) for each in range(number, due)))
            number = due
        if number < count:
            time.sleep(max(0, start + number * 1e9 / rate - clock()) / 1e9)


def _write(data: bytes) -> None:
    """Write all of it: a pipe may take less at once."""
    while data:
        data = data[os.write(_STDOUT, data) :]


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
