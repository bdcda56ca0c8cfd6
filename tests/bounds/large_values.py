"""A process that keeps many values of 10 MB, one a key: `python -m tests.bounds.large_values FOLDER COUNT`.

The values together are many times what the process may take. It prints one line of JSON: how much memory of its own it
took at most, without the pages of files that it looks into, and how much before it began; how many files it had open
at the end, and how many values came out right.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from actorstream import EventLog
from tests.bounds.many_keys import MIB
from tests.bounds.test_large_values import SIZE, Document, job_over


def content(number: int) -> bytes:
    return number.to_bytes(2) * (SIZE // 2)


def own_mib() -> float:
    """Give what the process has now that is not in files."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


class Peak:
    """Looks every few milliseconds, from a thread."""

    def __init__(self) -> None:
        self.mib = 0.0
        self._over = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not self._over.wait(0.003):
            self.mib = max(self.mib, own_mib())

    def stop(self) -> float:
        self._over.set()
        return self.mib


async def main(folder: Path, count: int) -> None:
    before, peak, right = own_mib(), Peak(), 0
    async with EventLog(Document, folder / "in") as source, EventLog(object, folder / "out") as sink:
        for _ in range(2):  # the second time every key has a value already: it is read, and written anew
            await source.extend(Document(str(number), content(number)) for number in range(count))
            run = job_over(source, sink).run(store=folder / "store", state_memory=4 * MIB, checkpoint_interval=0.2)
            expected = (await source.summary()).records
            async with run:
                while (await sink.summary()).records < expected:  # noqa: ASYNC110  (of a job that is under test)
                    await asyncio.sleep(0.01)
        async for record in sink.records(stop="now"):
            came: Any = record.value
            right += came[2].content == content(int(came[0]))
    files = len(os.listdir("/proc/self/fd"))
    print(json.dumps({"before": before, "peak": peak.stop(), "files": files, "right": right}))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
