"""Pipelines over two recorded logs, replayed in different manners, and what came out, as digests.

Run as a program it replays one case in a process of its own: `python -m tests.evolve.replays ROOT CASE INTO`.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream import EventLog, Pipeline
from actorstream.eventlog import reading
from actorstream.evolve import ReplayProgress, content_digest, replay
from actorstream.runtime import piece_sizes, replay_order, replay_source
from actorstream.runtime.mailbox import LANE_RECORDS
from actorstream.testing.surroundings import bounded_mailboxes
from tests.firing import fired_at_once
from tests.time.cases import CASES, Reminders, key_of
from tests.time.driving import OUT_OF_ORDERNESS, SIDES, Event
from tests.time.ruled import ruled

if TYPE_CHECKING:
    from actorstream import Stream

EPOCH = 1_700_000_000
REPLAY = import_module("actorstream.evolve.replay")
"""The module: as an attribute of the room, its name is the function's."""


@dataclass(frozen=True)
class Manner:
    """How a replay is run; no result may depend on it.

    Attributes:
        fetch: How many records are read from a log at once.
        ahead: How many wait in a source's lane.
        piece: How many records of a batch the first piece has.
        lane: How many records may wait in an actor's lane.
        fired: How many results one round of firing gives at most.
        parallelism: Of each operator, as the pipeline says it.
        checkpoint: Seconds between checkpoints.
    """

    fetch: int = 512
    ahead: int = 1_024
    piece: int = 16
    lane: int = LANE_RECORDS
    fired: int = 256
    parallelism: int = 1
    checkpoint: float = 1.0


MANNERS = (
    Manner(fetch=7, piece=3, fired=1, parallelism=2, checkpoint=0.001),
    Manner(fetch=1, ahead=1, piece=1, lane=1, fired=2, parallelism=3),
    Manner(fetch=100, piece=512, fired=3),
)


def _two_ways(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
    """What one source gives comes to one actor by two lanes, one of them the longer way; every third record twice."""
    long = left.map(lambda event: event, name="the-long-way", new_chain=True).key_by(key_of)
    short = left.filter(lambda event: event.value % 3 == 0).map(_again).key_by(key_of)
    right.map(lambda event: event.number)
    return {"results": long.union(short).process(Reminders)}


def _burst_by_two_ways(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
    """A turn has more records than the shorter way's lane holds, while the longer way is taken first.

    left ──> nine of each ──┬── again ──> again ──┐ lane 0: until the turn is over
                            └─────────────────────┤ lane 1: full; who stands before both ways waits for it to be taken,
                                                  │         and sends neither the rest nor the end of the turn
                                               reminders
    """
    many = left.flat_map(_nine).map(lambda event: event, name="many", new_chain=True)
    long = (
        many.map(_again, name="the-long-way", new_chain=True)
        .map(lambda event: event, name="the-longer-way", new_chain=True)
        .key_by(key_of)
    )
    right.map(lambda event: event.number)
    return {"results": long.union(many.key_by(key_of)).process(Reminders)}


def _nine(event: Event) -> list[Event]:
    return [event._replace(number=event.number + 10_000 * each, value=(event.value + each) % 12) for each in range(9)]


def _again(event: Event) -> Event:
    return event._replace(number=1_000 + event.number)


REPLAYED = {
    **CASES,
    "broadcast, two inputs": ruled,
    "timers by two ways": _two_ways,
    "a burst by two ways": _burst_by_two_ways,
}


def arrived(event: Event) -> float:
    """When a record came into its log: about when it happened, some came at once, and some clocks went back."""
    return EPOCH + event.at + (event.number % 5) / 2


def log_of(root: Path, side: str) -> EventLog[Event]:
    return EventLog(Event, root / side, partitions=2, key=lambda event: event.key, timestamp=arrived)


async def record(root: Path, seed: int, count: int = 150) -> None:
    """Write the two logs: records out of order, some of them late, of few keys."""
    rng, front = Random(seed), 20
    events: dict[str, list[Event]] = {side: [] for side in SIDES}
    for number in range(count):
        at = max(0, front + rng.choice((-25, -9, -4, -3, -2, -1, 0, 0, 1, 1, 2, 5)))
        front = max(front, at)
        events[rng.choice(SIDES)].append(Event(rng.choice("aaabbc"), rng.randint(0, 11), at, number))
    for side, some in events.items():
        async with log_of(root, side) as log:
            await log.extend(some)


def pipeline_of(root: Path, case: str, parallelism: int = 1) -> tuple[Pipeline, list[str]]:
    """Give the pipeline, and the names of its outputs."""
    pipeline = Pipeline("time", max_parallelism=8)
    readers = min(parallelism, 2)
    left, right = (
        pipeline.source(log_of(root, side), name=side, parallelism=readers).assign_timestamps(
            lambda event: EPOCH + event.at,
            out_of_orderness=OUT_OF_ORDERNESS,
            name=f"time-of-{side}",
            parallelism=readers,
        )
        for side in SIDES
    )
    streams = REPLAYED[case](left, right)
    for name, stream in streams.items():
        stream.map(repr, parallelism=parallelism).sink(EventLog(str, root / "out" / name), name=f"{name}-log")
    # The cases leave names to us; with a store, whoever keeps state must be named.
    pipeline.draft.nodes[:] = [replace(node, named=True) for node in pipeline.draft.nodes]
    return pipeline, sorted(streams)


async def replay_in(manner: Manner, root: Path, case: str, into: Path, start: Any = "earliest") -> dict[str, str]:
    """Replay a case, and give the digest of each of its logs."""
    pipeline, names = pipeline_of(root, case, manner.parallelism)
    with ExitStack() as stack:
        stack.enter_context(fired_at_once(manner.fired))
        stack.enter_context(bounded_mailboxes(manner.lane))
        stack.enter_context(patch.object(piece_sizes, "SLICE_RECORDS_FIRST", manner.piece))
        stack.enter_context(patch.object(reading, "FETCH_RECORDS", manner.fetch))
        stack.enter_context(patch.object(replay_source, "FETCH_AHEAD_RECORDS", manner.ahead))
        stack.enter_context(patch.object(REPLAY, "CHECKPOINT_SECONDS", manner.checkpoint))
        await replay(pipeline, start=start, until="now", into=into)
    return await digests_in(into, names)


async def digests_in(into: Path, names: list[str]) -> dict[str, str]:
    digests = {}
    for name in names:
        async with EventLog(str, into / name) as log:
            digests[name] = await content_digest(log)
    return digests


async def values_in(path: Path) -> list[str]:
    async with EventLog(str, path) as log:
        return [record.value async for record in log.records(stop="now")]


def _say(progress: ReplayProgress) -> None:
    """Say that records are being read, and read no more for a while: the parent has something in mind."""
    del progress
    sys.stdout.write("reading\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    _root, _case, _into, *_words = sys.argv[1:]
    if _words:
        _pipeline, _ = pipeline_of(Path(_root), _case)
        replay_order._TELL_SECONDS = 0
        asyncio.run(replay(_pipeline, start="earliest", until="now", into=_into, progress=_say))
    sys.stdout.write(f"{asyncio.run(replay_in(Manner(), Path(_root), _case, Path(_into)))}\n")
