"""Which records a replay is over: `start` and `until`, turned into offsets once, before anything is read.

    start   a savepoint | "earliest" | a time               until   "now" | a time | positions

"Now" is one moment for all sources of all pipelines that are replayed together: a log that two of them read ends at
the same record for both, however long the first one takes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

from actorstream.api.options import StrPath
from actorstream.api.savepoint import Savepoint
from actorstream.checkpoints.savepoints import find_snapshot, read_snapshot
from actorstream.connectors.memory import SequenceSource
from actorstream.errors import PlanError
from actorstream.eventlog.instants import Time, instant_us
from actorstream.eventlog.positions import LogPosition
from actorstream.graph.nodes import SourceSpec
from actorstream.graph.replaying import obstacle
from actorstream.model.connect import RecordedSource, Stretch, offset_behind
from actorstream.runtime.replay_order import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorstream.eventlog.view import LogStop
    from actorstream.graph.nodes import LogicalGraph, Node
    from actorstream.model.connect import Source
    from actorstream.model.world import World

ReplayStart: TypeAlias = Savepoint | StrPath | Literal["earliest"] | Time


@dataclass(frozen=True, slots=True)
class Begin:
    """Where a replay begins: the folder of a savepoint, or a time, or with the first record there is.

    `clock_us` is what the clock shows at first; None: the time of the first record.
    """

    savepoint: str | None = None
    start_us: int | None = None
    clock_us: int | None = None


@dataclass(frozen=True, slots=True)
class Reads:
    """What one source reads: the source that stops there, the offsets by split, and those behind positions."""

    source: Source[object, object]
    readings: Mapping[str, Reading]
    behind: Callable[[int, int], int] = offset_behind


@dataclass(slots=True)
class Span:
    """From where to where; knows where each log ended when it was first looked at."""

    begin: Begin
    until: object
    _ends: dict[str, list[int]] = field(default_factory=dict)

    async def reads_of(self, graph: LogicalGraph) -> dict[str, Reads]:
        """Give what each source of a pipeline reads, by name.

        Raises:
            PlanError: A source cannot be replayed, or `until` gives positions and there are several logs.
        """
        refused = [reason for node in graph.nodes if (reason := obstacle(node)) is not None]
        if refused:
            raise PlanError(f"pipeline {graph.name!r} cannot be replayed: {'; '.join(refused)}")
        return {node.name: await self._reads(node) for node in graph.nodes if isinstance(node.spec, SourceSpec)}

    async def _reads(self, node: Node) -> Reads:
        source = node.spec.source if isinstance(node.spec, SourceSpec) else None
        if isinstance(source, SequenceSource):
            return Reads(source, {"0": Reading(0, len(source.values))})
        if not isinstance(source, RecordedSource):
            raise PlanError(f"{node.name} ({type(source).__name__}) cannot be replayed: read an EventLog or a sequence")
        stop_us = self.until if isinstance(self.until, int) else None
        recording = source.recorded()
        found = await recording.stretch(self.begin.start_us, stop_us)
        ends = list(map(min, found.ends, self._end_of(found, node.name)))
        stretch = found._replace(ends=list(map(max, found.starts, ends)))
        places = zip(stretch.starts, stretch.ends, strict=True)
        readings = {str(split): Reading(*place) for split, place in enumerate(places)}
        return Reads(recording.over(stretch), readings, stretch.behind)

    def _end_of(self, found: Stretch, name: str) -> list[int]:
        if found.place in self._ends:
            return self._ends[found.place]
        ends = found.known
        if isinstance(self.until, list):
            if self._ends:
                raise PlanError(
                    f"until={self.until!r}: positions are of one log, and {name} reads {found.place} beside "
                    f"{next(iter(self._ends))}: give a time, or 'now'"
                )
            ends = _in_order(self.until, found)
        self._ends[found.place] = ends
        return ends


async def span_of(world: World, start: ReplayStart, until: LogStop) -> Span:
    """Check where a replay begins and ends.

    Raises:
        PlanError: One of the two is nothing that it can be.
        StoreError: There is no such savepoint, or it is damaged.
    """
    return Span(await _begin(world, start), _checked_until(until))


async def _begin(world: World, start: object) -> Begin:
    if isinstance(start, str) and start == "earliest":
        return Begin()
    if isinstance(start, Savepoint | str | os.PathLike):
        path = absolute(start.path if isinstance(start, Savepoint) else start)
        manifest = await world.offload.run(lambda: read_snapshot(world.files, find_snapshot(world.files, path)))
        return Begin(savepoint=path, clock_us=manifest.created_us)
    if isinstance(start, datetime | int | float):
        start_us = instant_us(start)
        return Begin(start_us=start_us, clock_us=start_us)
    raise PlanError(f"start={start!r}: expected a savepoint or its folder, 'earliest', or a time")


def absolute(path: StrPath) -> str:
    """Give a path that means the same wherever the process goes."""
    return os.path.abspath(os.fspath(path))


def _checked_until(until: object) -> object:
    if isinstance(until, str):
        if until != "now":
            raise PlanError(f"until={until!r}: expected 'now', a time, or positions")
        return until
    if isinstance(until, Sequence):
        return [LogPosition(*position) for position in until]
    return instant_us(until)


def _in_order(positions: list[LogPosition], found: Stretch) -> list[int]:
    named = dict(positions)
    if sorted(named) != list(range(len(found.known))) or len(named) != len(positions):
        raise PlanError(
            f"until={positions!r}: name one position for each partition of {found.place}, 0 to {len(found.known) - 1}"
        )
    return [min(named[split], end) for split, end in enumerate(found.known)]
