"""The input logs of the simulated jobs: written once, copied to each new disk."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from functools import lru_cache
from typing import NamedTuple

from actorstream.eventlog.log import EventLog
from actorstream.eventlog.positions import LogPosition
from tests.simulation.stages import Event, make_events

MEMORY_FOLDER = "/dev/shm"
PARTITIONS = 2


class Shape(NamedTuple):
    """How many events, which of four draws, and how many characters of padding each."""

    events: int
    variant: int
    pad: int


def events_of(source: str, shape: Shape) -> list[Event]:
    """Give the events of a source in the order in which they are appended."""
    return make_events(source, shape.events, shape.variant, shape.pad)


def input_log(folder: str) -> EventLog[Event]:
    """Give the log of a source."""
    return EventLog(Event, folder, partitions=PARTITIONS, key=lambda event: event.key)


def ends_of(source: str, shape: Shape) -> list[LogPosition]:
    """Give where the input of one source ends."""
    parts = partitions_of(source, shape)
    return [LogPosition(partition, len(part)) for partition, part in enumerate(parts)]


def lay_out(folder: str, source: str, shape: Shape) -> None:
    """Put the input log of a source into a new folder."""
    shutil.copytree(_template(source, shape)[0], folder, ignore=shutil.ignore_patterns("*-lock"))


def partitions_of(source: str, shape: Shape) -> list[list[Event]]:
    """Give the events of a source as its log holds them."""
    return _template(source, shape)[1]


@lru_cache(maxsize=64)
def _template(source: str, shape: Shape) -> tuple[str, list[list[Event]]]:
    """Write an input log once; give its folder and its events by partition."""
    folder = f"{_templates().name}/{source}-{'-'.join(map(str, shape))}"

    async def write() -> list[list[Event]]:
        parts: list[list[Event]] = [[] for _ in range(PARTITIONS)]
        async with input_log(folder) as log:
            made = events_of(source, shape)
            for event, position in zip(made, await log.extend(made), strict=True):
                parts[position.partition].append(event)
        return parts

    return folder, asyncio.run(write())


@lru_cache(maxsize=1)
def _templates() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(dir=MEMORY_FOLDER)
