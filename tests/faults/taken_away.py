"""A folder of a job that somebody removes, or that becomes read-only by a mount nobody else sees (machine.py).

job runs ──> its store or log is moved away, or a read-only mount is put over it ──> what does it say?
             it is put back ──> the same job, or the next one, goes on
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from itertools import count
from os.path import join
from typing import TYPE_CHECKING, Literal, TypeAlias

from actorstream import ActorstreamError, JobFailed, Restart, Settings
from actorstream.model.world import World
from actorstream.system.current import current_world, use_world
from actorstream.system.files import RealFiles
from actorstream.testing.faults import InterceptedFiles
from tests.faults.lives import go_on as go_on
from tests.faults.sums import NUMBERS, committed, expected, extend, later, numbers_log, running, sums_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

Manner: TypeAlias = Literal["removed", "read-only"]


@contextmanager
def without(path: str, manner: Manner) -> Iterator[None]:
    """Take the folder away for the time of the block, from whoever asks for it by name."""
    if manner == "removed":
        os.rename(path, f"{path}.away")
        try:
            yield
        finally:
            os.rename(f"{path}.away", path)
    else:
        # In one step: between two the job may open a file for writing, and the mount would be busy.
        beside = f"{path}.read-only"
        os.mkdir(beside)
        subprocess.run(["mount", "--bind", path, beside], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", beside], check=True)
        subprocess.run(["mount", "--bind", beside, path], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", path, beside], check=True)


def said_by(error: ActorstreamError) -> list[str]:
    """Give the type of what was the matter, and all words."""
    cause = error.__cause__ if isinstance(error, JobFailed) else error
    return [type(cause).__name__, str(error)]


async def start_without(folder: str, place: str, manner: Manner) -> list[str]:
    """Start the job while the folder is away; give what it says."""
    with without(join(folder, place), manner):
        try:
            async with running(folder) as (job, _):
                await job.wait()
        except ActorstreamError as error:
            return said_by(error)
    return []


async def replace_by_copy(folder: str, place: str) -> list[object]:
    """Put a copy in the place of a running job's log; give what the job says, and whether the copy has all sums."""
    path, came = join(folder, place), 0
    try:
        async with running(folder) as (_, sink):
            await committed(sink, len(NUMBERS))
            shutil.copytree(path, f"{path}.copy")
            os.rename(path, f"{path}.away")
            os.rename(f"{path}.copy", path)
            for came in range(3, 30, 3):
                await extend(folder, later(3, came - 3))
                await committed(sink, len(NUMBERS) + came)
    except ActorstreamError as error:
        return [*said_by(error), False]
    return ["", "", await sums_in(folder) == expected(NUMBERS + later(came))]


async def lose_for_good(folder: str, place: str, manner: Manner, tolerated: int) -> list[object]:
    """Take the folder from a running job that is not restarted; give its last words, and how many numbers came."""
    try:
        async with running(folder, Restart.never(), Settings(tolerated_failures=tolerated)) as (_, sink):
            await committed(sink, len(NUMBERS))
            with without(join(folder, place), manner):
                for came in count(0, 3):  # until the job fails, which cancels us
                    await extend(folder, later(3, came))
                    await asyncio.sleep(0.005)
    except ActorstreamError as error:
        async with numbers_log(folder) as log:
            return [*said_by(error), (await log.summary()).records - len(NUMBERS)]
    return []


async def lose_for_a_while(folder: str, place: str, manner: Manner) -> list[object]:
    """Take the folder away until the job has noticed, and give it back; see `_outlast`."""
    return await _outlast(folder, without(join(folder, place), manner))


async def lose_after_link(folder: str) -> list[object]:
    """The same where the store goes between the link of a manifest and the sync of its name."""
    world, files = current_world(), _GoesAfterLink(join(folder, "store"))
    with use_world(World(world.clock, files, world.offload, world.random)):
        return await _outlast(folder, files.taking())


class _GoesAfterLink(InterceptedFiles):
    """Moves the store away once: where a manifest has its name, and its folder is about to be synced."""

    def __init__(self, store: str) -> None:
        super().__init__(RealFiles())
        self._store = store
        self._linked = self._armed = False

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Move it at the next such place of the block, and back at its end."""
        self._armed = True
        try:
            yield
        finally:
            os.rename(f"{self._store}.away", self._store)

    def _before(self, kind: str, path: str, half: Callable[[], None] | None = None) -> None:
        if kind == "link" and path.endswith("/manifest.json"):
            self._linked = self._armed
        elif kind == "sync_dir" and self._linked:
            self._linked = self._armed = False
            os.rename(self._store, f"{self._store}.away")


async def _outlast(folder: str, away: AbstractContextManager[None]) -> list[object]:
    """Run until the job has noticed twice; give failed checkpoints, why it restarted, and whether all is exact.

    Why is the type of each failure after which the job was started again.
    """
    restart, settings = Restart.fixed_delay(1_000, delay=0.01), Settings(tolerated_failures=-1)
    came = failed = 0
    with _events() as events:
        async with running(folder, restart, settings) as (job, sink):
            await committed(sink, len(NUMBERS))
            with away:
                while failed + job.summary().restarts < 2:
                    await extend(folder, later(3, came))
                    came += 3
                    await asyncio.sleep(0.01)
                    failed = int(job.metrics()["job.failed_checkpoints"])
            everything = NUMBERS + later(came)
            await committed(sink, len(everything))
    why = [found[1] for event in events if (found := re.match(r'event="job restarts" .*failure="(\w+):', event))]
    assert len(why) == job.summary().restarts, events
    return [failed, why, await sums_in(folder) == expected(everything)]


@contextmanager
def _events() -> Iterator[list[str]]:
    """Give the list in which the library's events of the block are, as they come."""
    events: list[str] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            events.append(record.getMessage())

    handler, log = Listening(), logging.getLogger("actorstream")
    log.addHandler(handler)
    try:
        yield events
    finally:
        log.removeHandler(handler)
