"""A day of a small job on the virtual clock: an event every few seconds, a checkpoint a minute, restarts now and then.

    00:00 ──────── SIGKILL ──────── power cut ──────── stop ──────── SIGKILL ──── ... ──────── 24:00
       │  │  │  │     a process starts on the same disk after each of them
       an error in a handler, after which the job restarts in its process
       every ten minutes: what there is of files, layers, tasks

Real pipeline, runtime, store and log; clock, threads and disk are simulated
(actorstream/testing). The source gives what is due by the wall clock, as an input
does that goes on while the job is down.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import anyio

from actorstream import EventLog, Fetched, Pipeline, Restart, Settings
from actorstream.system.current import current_world
from actorstream.testing.run import run_simulated
from actorstream.testing.world import START_US, SimulatedWorld
from tests.endurance.visits import Ended, Step, Visits, steps

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from actorstream import Job
    from actorstream.testing.disk import SimulatedDisk

HOUR_S = 3_600
EVENT_S = 10
TOGETHER = 40
CHECKPOINT_S = 60
READING_S = 600
STEPS_OF_THE_LOOP = 20_000_000


@dataclass(frozen=True)
class Reading:
    """What there is at one moment of the day; `second` is counted from its start."""

    second: int
    files: int
    checkpoints: int
    layers_deep: int
    layers: int
    log_files: int
    tasks: int
    mailboxes: int


@dataclass
class Day:
    """One run, and what was seen of it.

    Attributes:
        disk: What outlives the processes.
        hours: How long the input goes on.
        readings: One every ten minutes.
        checkpoints: How many were completed, over all processes.
        restarts: How often the job was restarted inside a process.
        failing: Visits whose next step raises, once.
    """

    disk: SimulatedDisk
    hours: int = 24
    readings: list[Reading] = field(default_factory=list)
    checkpoints: int = 0
    restarts: int = 0
    failing: set[int] = field(default_factory=set)

    @property
    def events(self) -> int:
        """How many there are in all."""
        return self.hours * HOUR_S // EVENT_S

    def run(self, ends: Sequence[tuple[int, str]]) -> None:
        """Run the day, process after process.

        Args:
            ends: When a process ends, in seconds of the day, and how: "killed", "power" or "stopped".
        """
        start_us = START_US
        for number, (second, how) in enumerate([*ends, ((self.hours + 1) * HOUR_S, "finished")]):
            outcome = run_simulated(
                lambda second=second, how=how: self._process(second, how),  # type: ignore[misc]
                seed=f"day {number}",
                policy="fifo",
                disk=self.disk,
                start_us=start_us,
                max_steps=STEPS_OF_THE_LOOP,
            )
            start_us = outcome.ended_us
            if outcome.error is not None:
                raise outcome.error
            if how == "power":
                self.disk.power_cut(random.Random(number))
            else:
                self.disk.kill()

    async def _process(self, second: int, how: str) -> None:
        """Run the job until this second of the day."""
        world = current_world()
        assert isinstance(world, SimulatedWorld)
        run = self.pipeline().run(
            store=f"{self.disk.root}/store",
            parallelism=2,
            checkpoint_interval=CHECKPOINT_S,
            restart=Restart.fixed_delay(100, delay=5),
            settings=Settings(retained=3),
        )
        async with run as job, anyio.create_task_group() as beside:
            beside.start_soon(self._watch, job, world)
            if how == "finished":
                await job.wait()
            else:
                await anyio.sleep(START_US / 1e6 + second - world.clock.now_us() / 1e6)
            summary = job.summary()
            self.checkpoints += summary.checkpoints
            self.restarts += summary.restarts
            if how in {"killed", "power"}:
                raise world.loop.crash(how)
            beside.cancel_scope.cancel()

    def pipeline(self) -> Pipeline:
        """Build the job over the logs of the disk."""
        pipeline = Pipeline("day", max_parallelism=8)
        steps = pipeline.source(Clockwork(self.events), name="steps").map(self._perhaps_fail)
        ended = steps.key_by(lambda step: step.visit).process(Visits, name="visits")
        ended.key_by(lambda end: end.visit % 16).count(name="ended")
        ended.sink(self.log(), name="out")
        return pipeline

    def log(self) -> EventLog[Ended]:
        """Give the log of the output."""
        return EventLog(Ended, f"{self.disk.root}/out", key=lambda end: end.visit)

    def _perhaps_fail(self, step: Step) -> Step:
        if step.visit in self.failing:
            self.failing.discard(step.visit)
            raise ValueError(f"visit {step.visit} fails, once")
        return step

    async def _watch(self, job: Job, world: SimulatedWorld) -> None:
        while True:
            await anyio.sleep(READING_S)
            self.readings.append(self._reading(job, world))

    def _reading(self, job: Job, world: SimulatedWorld) -> Reading:
        metrics = job.metrics()
        store = f"{self.disk.root}/store/day"
        return Reading(
            second=(world.clock.now_us() - START_US) // 1_000_000,
            files=count_files(store),
            checkpoints=len(os.listdir(f"{store}/checkpoints")),
            layers_deep=int(max(value for name, value in metrics.items() if name.endswith("state_layers"))),
            layers=count_files(f"{store}/layers"),
            log_files=count_files(f"{self.disk.root}/out"),
            tasks=len(world.loop.waiting()),
            mailboxes=int(sum(value for name, value in metrics.items() if name.endswith("mailbox_records"))),
        )


class Clockwork:
    """One split: step n is there from second n * EVENT_S of the day on; the day's last step ends it."""

    def __init__(self, events: int) -> None:
        self._events = events

    async def splits(self) -> Sequence[str]:
        """Name the one split."""
        return ["0"]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, Step]]:
        """Wait for what is due, and yield all that is."""
        clock = current_world().clock
        position = -1 if after is None else after
        values = islice(steps(TOGETHER), position + 1, None)
        while position < self._events - 1:
            due = min(self._events, (clock.now_us() - START_US) // (EVENT_S * 1_000_000) + 1)
            if batch := list(islice(values, due - position - 1)):
                position += len(batch)
                yield Fetched(batch, position)
            else:
                await anyio.sleep((START_US + (position + 1) * EVENT_S * 1_000_000 - clock.now_us()) / 1e6)


def count_files(folder: str) -> int:
    """Count the files below a folder."""
    return sum(len(files) for _, _, files in os.walk(folder))


def results(day: Day) -> Iterator[Ended]:
    """Read the whole output, in a process of its own."""

    async def read() -> list[Ended]:
        async with day.log() as log:
            return [record.value async for record in log.records(stop="now")]

    yield from run_simulated(read, disk=day.disk, max_steps=STEPS_OF_THE_LOOP).value()
