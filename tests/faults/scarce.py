"""A disk with little room, for a job in a mount namespace of its own (machine.py): filled up, kept full, freed.

tmpfs on a folder of the job ──balloon──> `room` bytes, or so many new names, are left
    the job runs on, and cannot write what it wants to
the balloon is removed ──> the job goes on, and what it does in the end is exact
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from os.path import join
from typing import Literal, TypeAlias

from actorstream import Restart, Settings, StoreError
from actorstream.checkpoints.view import StoreView
from actorstream.system.files import RealFiles
from tests.faults.sums import JOB, NUMBERS, committed, expected, extend, later, running, sums_in

Scarce: TypeAlias = Literal["bytes", "names"]

_SIZE = "4m"
_NAMES = 2_000
_FAILURES = 2
_PATIENCE = Restart.fixed_delay(1_000, delay=0.01)


@dataclass
class Report:
    """What failed while the disk was full, what was wrong with the old checkpoints then, and the result."""

    refused: str = ""
    failed_checkpoints: int = 0
    restarts: int = 0
    problems: list[str] = field(default_factory=list)
    exact: bool = False


class Balloon:
    """Takes the room of a mounted folder, but for a rest, while others take and give some too."""

    def __init__(self, folder: str, scarce: Scarce, room: int) -> None:
        self._path = join(folder, ".balloon")
        os.mkdir(self._path)
        if scarce == "bytes":
            self._take_bytes(folder, room)
        else:
            self._take_names(room)

    def free(self) -> None:
        shutil.rmtree(self._path)

    def _take_bytes(self, folder: str, room: int) -> None:
        with open(join(self._path, "filled"), "wb") as file:
            while True:
                status = os.statvfs(folder)
                with suppress(OSError):
                    os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_bsize - room)
                    return

    def _take_names(self, room: int) -> None:
        with suppress(OSError):
            for number in count():
                os.close(os.open(join(self._path, str(number)), os.O_CREAT | os.O_WRONLY))
        for name in os.listdir(self._path)[:room]:
            os.unlink(join(self._path, name))


def mount_small(folder: str) -> None:
    """Mount a small disk on `folder`, with what was there on it."""
    beside = f"{folder}.beside"
    shutil.copytree(folder, beside)
    options = f"size={_SIZE},nr_inodes={_NAMES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    shutil.copytree(beside, folder, dirs_exist_ok=True)


async def fill_up(folder: str, place: str, scarce: Scarce, room: int, more: int) -> dict[str, object]:
    """Run the prepared job with little room in `place`; free the disk once something could not be written, or all was.

    `more` numbers come while it is full.
    """
    mount_small(join(folder, place))
    report = Report()
    everything = NUMBERS + later(more)
    async with running(folder, _PATIENCE, Settings(tolerated_failures=-1)) as (job, sink):
        await committed(sink, len(NUMBERS))
        balloon = Balloon(join(folder, place), scarce, room)
        try:
            await extend(folder, later(more))
        except StoreError as error:
            report.refused = str(error)
        while not report.refused and report.failed_checkpoints + report.restarts < _FAILURES:
            await asyncio.sleep(0.01)
            report.restarts = job.summary().restarts
            report.failed_checkpoints = int(job.metrics()["job.failed_checkpoints"])
            if (await sink.summary()).records == len(everything):
                break
        report.problems = problems_of(join(folder, "store", JOB))
        balloon.free()
        if report.refused:
            await extend(folder, later(more))
        await committed(sink, len(everything))
    report.exact = await sums_in(folder) == expected(everything)
    return report.__dict__


def problems_of(store: str) -> list[str]:
    """Say what is wrong with the newest checkpoint in a store, read to the last byte."""
    view = StoreView(RealFiles(), store)
    facts = view.manifests()
    problems = [fact.problem for fact in facts if fact.problem is not None]
    return problems + view.verify(view.read(facts[-1].checkpoint))
