"""A process that counts a million keys and one hot key: `python -m tests.bounds.many_keys FOLDER KEYS`.

It prints one line of JSON: how much memory it took at most, and how much when there was no state yet; how many layers
and files there were at the end, the count of the hot key, and how many other keys have another count than they should.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import TYPE_CHECKING

from actorstream import Fetched, Pipeline
from actorstream.evolve import open_snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MIB = 1 << 20
STATE_MEMORY = 64 * MIB
HOT = -1


class Numbers:
    """Every number once, and behind each the hot key."""

    def __init__(self, count: int) -> None:
        self._count = count

    async def splits(self) -> list[str]:
        return ["0"]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, int]]:
        del split
        for at in range(0 if after is None else after + 1, self._count, 512):
            stop = min(at + 512, self._count)
            yield Fetched([key for number in range(at, stop) for key in (number, HOT)], stop - 1)


def rss_mib() -> float:
    return getrusage(RUSAGE_SELF).ru_maxrss / 1024


async def main(folder: Path, keys: int) -> None:
    hot: list[object] = []
    pipeline = Pipeline("many")
    counts = pipeline.source(Numbers(keys), name="in").key_by(lambda key: key).count(name="counts").changes()
    counts.filter(lambda change: change[0] == HOT and change[2] == keys).sink(hot.append, name="out")
    before = rss_mib()
    await pipeline.run(store=folder, state_memory=STATE_MEMORY, checkpoint_interval=1.0)
    peak, files = rss_mib(), len(os.listdir("/proc/self/fd"))
    wrong = found = 0
    with open_snapshot(folder / "many") as snapshot:
        layers = len(snapshot.manifest.layers)
        for key, count in snapshot.state("counts", "value").items():
            found += 1
            wrong += count != (keys if key == HOT else 1)
    said = {"before": before, "peak": peak, "files": files, "layers": layers, "found": found, "wrong": wrong}
    print(json.dumps({**said, "hot": len(hot)}))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
