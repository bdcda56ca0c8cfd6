"""A service under steady load, as a process of its own: `python -m tests.endurance.service FOLDER SECONDS [LEAK]`.

    feed ──> log "steps" ──> Visits by visit ──> log "ended" ──> reader (checks each result)
             retention         2 subtasks          retention
    queries ──────────────────────^        checkpoints every second, compaction

Once a second it prints a line of JSON: what only it can know of itself (tasks, layers, stalls of its loop, how much
was done). The rest is read from outside. After its time it waits for the last results, stops in good order, and says
how much was right.

LEAK makes it leak on purpose, "memory" or "files", to prove that it would be noticed.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import sys
import time
from itertools import count, islice
from typing import TYPE_CHECKING

import anyio

from actorstream import EventLog, Pipeline, Restart
from actorstream.eventlog.folder import LogSettings
from benchmarks.loop_stalls import Watchdog
from tests.endurance.visits import STEPS, Ended, Step, Visits, expected, steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream import Job
    from benchmarks.loop_stalls import Stall

TOGETHER = 5_000
STEPS_A_SECOND = 3_000
APPENDS_A_SECOND = 20
QUERIES_A_SECOND = 50
RETENTION_SECONDS = 3
STATE_MEMORY = 4 << 20
"""Small, so that it is full before the warm-up is over: what is on disk stays in memory as long as there is room."""

LAST_RESULTS_SECONDS = 30
_SEGMENTS = LogSettings(segment_bytes=1 << 20)
_LEAKED_BYTES = 1_000_000
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


class WrongResultError(Exception):
    """A result is not what its visit must give, came twice, or did not come."""


class Service:
    """The job, its load, and what they did.

    Attributes:
        fed: Steps appended.
        right: Results that were right.
        awaited: Visits that have ended and have no result yet.
        fewest_awaited: How many these were at least since the last report: right after a checkpoint has committed. At
            any other moment a second's worth may be among them, more or less as two clocks of a second drift apart.
        newest: The visit that began last.
        all_right: Set once all is fed and every result has come.
    """

    def __init__(self, folder: str) -> None:
        """Open nothing yet."""
        self.steps = EventLog(Step, f"{folder}/steps", retention=RETENTION_SECONDS, settings=_SEGMENTS)
        self.ended = EventLog(Ended, f"{folder}/ended", retention=RETENTION_SECONDS, settings=_SEGMENTS)
        self.fed = 0
        self.right = 0
        self.queries = 0
        self.newest = 0
        self.fed_all = False
        self.awaited: set[int] = set()
        self.fewest_awaited = 0
        self.all_right = anyio.Event()

    def pipeline(self) -> Pipeline:
        """Build the job."""
        pipeline = Pipeline("visits")
        visits = pipeline.source(self.steps, name="steps").key_by(lambda step: step.visit)
        visits.process(Visits, name="visits", parallelism=2).sink(self.ended, name="ended")
        return pipeline

    async def feed(self, seconds: float) -> None:
        """Append steps at a steady pace, and at once what is late."""
        values = steps(TOGETHER)
        start = time.monotonic()
        for number in range(round(seconds * APPENDS_A_SECOND)):
            await anyio.sleep(max(0.0, start + number / APPENDS_A_SECOND - time.monotonic()))
            batch = list(islice(values, STEPS_A_SECOND // APPENDS_A_SECOND))
            self.awaited.update(step.visit for step in batch if step.number == STEPS - 1)
            self.newest = max(self.newest, *(step.visit for step in batch))
            await self.steps.extend(batch)
            self.fed += len(batch)
        self.fed_all = True
        if not self.awaited:
            self.all_right.set()

    async def check(self) -> None:
        """Read the results and compare each; keep retention away from what is still to be read.

        Raises:
            WrongResultError: One is wrong, or came twice.
        """
        await self.ended.register_consumer("reader", "", {})
        async for record in self.ended.records():
            found = record.value
            if found != expected(found.visit) or found.visit not in self.awaited:
                raise WrongResultError(
                    f"{found} came at offset {record.offset}; expected {expected(found.visit)}, once"
                )
            self.awaited.remove(found.visit)
            self.fewest_awaited = min(self.fewest_awaited, len(self.awaited))
            self.right += 1
            if self.fed_all and not self.awaited:
                self.all_right.set()
            if self.right % 500 == 0:
                await self.ended.register_consumer("reader", "", {record.partition: record.offset})

    async def query(self, job: Job) -> None:
        """Ask for visits, running ones and others.

        Raises:
            WrongResultError: A visit has more steps than a visit can have.
        """
        for number in count():
            visit = number * 7_919 % (self.newest + 1)
            found = await job.get(Visits.steps, visit)
            if not 0 <= found < STEPS:
                raise WrongResultError(f"visit {visit} has {found} steps")
            self.queries += 1
            await anyio.sleep(1 / QUERIES_A_SECOND)

    async def report(self, job: Job, leak: str) -> None:
        """Print a line a second."""
        leaked: list[object] = []
        async with Watchdog() as dog:
            while True:
                await anyio.sleep(1)
                _give_back()
                if leak == "memory":
                    leaked.append(bytearray(os.urandom(_LEAKED_BYTES)))
                elif leak == "files":
                    leaked.append(os.open(os.devnull, os.O_RDONLY))
                self._say(job, dog.take())

    def _say(self, job: Job, stalls: Sequence[Stall]) -> None:
        metrics = job.metrics()
        deepest = max(value for name, value in metrics.items() if name.endswith("state_layers"))
        line = {
            "tasks": len(asyncio.all_tasks()),
            "layers": deepest,
            "stall_ms": 1e3 * max((stall.late - stall.no_core for stall in stalls), default=0.0),
            "no_core_ms": 1e3 * max((stall.no_core for stall in stalls), default=0.0),
            "checkpoints": metrics["job.checkpoints"],
            "failed_checkpoints": metrics["job.failed_checkpoints"],
            "restarts": metrics["job.restarts"],
            "checkpoint_seconds": metrics["job.last_checkpoint_seconds"],
            "fed": self.fed,
            "right": self.right,
            "queries": self.queries,
            "awaited": self.fewest_awaited,
        }
        self.fewest_awaited = len(self.awaited)
        _print(line)


def _give_back() -> None:
    """Have the C library give back what was freed: what it keeps for itself, in pieces, grows for a long time."""
    if _trim is not None:
        _trim(0)


def _print(line: dict[str, float]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def main(folder: str, seconds: float, leak: str) -> None:
    """Run the service for so long."""
    service = Service(folder)
    run = service.pipeline().run(
        store=f"{folder}/store", checkpoint_interval=1, restart=Restart.never(), state_memory=STATE_MEMORY
    )
    async with service.steps, service.ended, run as job, anyio.create_task_group() as beside:
        beside.start_soon(service.check)
        beside.start_soon(service.query, job)
        beside.start_soon(service.report, job, leak)
        await service.feed(seconds)
        with anyio.fail_after(LAST_RESULTS_SECONDS):
            await service.all_right.wait()
        beside.cancel_scope.cancel()
    _print({"done": True, "fed": service.fed, "right": service.right})


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), "".join(sys.argv[3:])))
