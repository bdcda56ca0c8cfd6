"""How long a manifest takes, whatever else the machine does: told as so many times what a plain loop takes beside it.

The loop writes as many references to layers as a manifest of 2,000 subtasks holds, in the same moments. It takes 7 ms
where the processor is at rest (2 cores, 2026-11), and twice that beside other programs, as the manifest then.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SUBTASKS = 2_000
LAYERS = 24
STACK = LAYERS - 2


def plain_loops(call: Callable[[], object]) -> float:
    """Give how many times as long a call takes as a plain loop, each the best of many in turn, of the processor."""
    ours, loops = [], []
    for _ in range(20):
        begun = time.thread_time()
        call()
        between = time.thread_time()
        plain_loop()
        ours.append(between - begun)
        loops.append(time.thread_time() - between)
    return min(ours) / min(loops)


def plain_loop() -> str:
    """Number as many references to layers as the manifests of these tests hold, and write them as JSON."""
    names = [f"{number:016x}" for number in range(LAYERS)]
    index = {name: number for number, name in enumerate(names)}
    rows = []
    for subtask in range(SUBTASKS):
        row = []
        for name in names[:STACK]:
            if name in index:
                row.append(index[name])  # noqa: PERF401  (as a loop)
        rows.append((subtask, subtask + 1, row))
    return json.dumps(rows)
