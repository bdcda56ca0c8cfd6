"""Segments: what comes back to the head of a loop and is more than memory holds, in immutable files.

    sealed tail ──spiller──> file (a layer, as what a checkpoint holds in flight) ──spiller──> front of the lane
                               │
                               └── listed as it is by each checkpoint that is taken while it waits

A segment is written once and read once. Whoever takes it before it is written takes it from memory, and no file comes
about. Lanes and recordings hold it; when nobody does, the file may go: at once where no checkpoint may list it, else
with the checkpoints that do.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from anyio import move_on_after

from actorstream.checkpoints.in_flight import InFlightChannel, InFlightWriter, read_part
from actorstream.errors import InvariantError, StoreError
from actorstream.model.batch import Batch
from actorstream.runtime.in_flight import write_in_flight
from actorstream.runtime.mailbox import Wakeup, estimate_bytes
from actorstream.state.layer import open_written
from actorstream.system.log import log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actorstream.model.ids import LayerName, SubtaskId
    from actorstream.model.world import World
    from actorstream.runtime.back_lane import BackLane
    from actorstream.runtime.messages import InFlightReport
    from actorstream.runtime.pace import Pace
    from actorstream.state.writer import LayerWriter

UNWRITTEN_MAX = 2
"""While more segments wait to be written, senders wait for the disk."""
RETRY_SECONDS = 1.0
_SLICE_SECONDS = 0.002


class Segment:
    """A run of batches of one back lane.

    Attributes:
        batches: What is in it, each with about how many bytes it has; None when it is only on the disk.
        report: The file, as a checkpoint lists it; None until it is written.
        listed: A checkpoint may list it.
    """

    __slots__ = ("batches", "holders", "listed", "records", "report", "size_bytes")

    def __init__(self, batches: list[tuple[Batch, int]], records: int, size_bytes: int) -> None:
        """Be held by the lane that made it."""
        self.batches: list[tuple[Batch, int]] | None = batches
        self.records = records
        self.size_bytes = size_bytes
        self.report: InFlightReport | None = None
        self.listed = False
        self.holders = 1

    def hold(self) -> None:
        """Count one more who needs it."""
        self.holders += 1

    def let_go(self) -> None:
        """Count one less.

        Raises:
            InvariantError: Nobody held it.
        """
        self.holders -= 1
        if self.holders < 0:
            raise InvariantError("a segment is let go of by somebody who does not hold it")


class Spiller:
    """Writes and reads the segments of one head's back lanes: `run` is a task beside the head's own."""

    def __init__(
        self, world: World, pace: Pace, layers: LayerWriter, subtask: SubtaskId, channels: list[InFlightChannel]
    ) -> None:
        """Start with nothing spilled; `channels` are the lanes, by number."""
        self._world = world
        self._pace = pace
        self._layers = layers
        self._subtask = subtask
        self.channels = channels
        self._rows: list[tuple[BackLane, deque[Segment]]] = []
        self._segments: list[Segment] = []
        self._unwritten: deque[tuple[int, Segment]] = deque()
        self._wanted: list[BackLane] = []
        self._arrival = Wakeup()
        self._room: list[Wakeup] = []
        self._number = 0
        self._failures = 0

    def row(self, lane: BackLane) -> deque[Segment]:
        """Give the row of segments of a lane, empty."""
        self._rows.append((lane, deque()))
        return self._rows[-1][1]

    # ---- the lanes' side

    @property
    def keeps_up(self) -> bool:
        """Tell whether there is not too much that the disk has yet to take."""
        return (
            sum(segment.batches is not None and segment.holders > 0 for _, segment in self._unwritten) < UNWRITTEN_MAX
        )

    async def wait_caught_up(self) -> None:
        """Wait until `keeps_up`."""
        while not self.keeps_up:
            wakeup = Wakeup()
            self._room.append(wakeup)
            try:
                await wakeup.wait()
            finally:
                if wakeup in self._room:
                    self._room.remove(wakeup)

    def on_sealed(self, lane: int, segment: Segment) -> None:
        """Write a segment when it is its turn."""
        self._segments.append(segment)
        self._unwritten.append((lane, segment))
        self._arrival.wake()

    def want(self, lane: BackLane) -> None:
        """Read the oldest segment of a lane back."""
        if lane not in self._wanted:
            self._wanted.append(lane)
            self._arrival.wake()

    @property
    def files(self) -> set[LayerName]:
        """Name the files that are needed."""
        return {
            file.name
            for segment in self._segments
            if segment.report is not None and segment.holders
            for file in segment.report.layers
        }

    async def report_of(self, segment: Segment) -> InFlightReport:
        """Give the file of a segment that the caller holds, once it is written.

        Raises:
            StoreError: It could not be written, or whoever held it has let go.
        """
        failures = self._failures
        while segment.report is None:
            if failures != self._failures or not segment.holders:
                raise StoreError(f"records that go round at {self._subtask} could not be written")
            self._arrival.wake()
            wakeup = Wakeup()
            self._room.append(wakeup)
            try:
                await wakeup.wait()
            finally:
                if wakeup in self._room:
                    self._room.remove(wakeup)
        return segment.report

    # ---- the task

    async def run(self) -> None:
        """Write and read for ever.

        Raises:
            StoreError: A segment cannot be read.
            CodecError: A record cannot be encoded.
        """
        while True:
            await self._tidy()
            if self._wanted:
                await self._load(self._wanted[0])
                self._wanted.pop(0)
            elif self._unwritten:
                await self._write(*self._unwritten[0])
            else:
                await self._arrival.wait()

    async def _write(self, lane: int, segment: Segment) -> None:
        batches = segment.batches
        if batches is not None and segment.holders:
            self._number += 1
            name = f"{self._subtask.chain}~segment{self._number}"
            writer = InFlightWriter(name, self._subtask.subtask, [self.channels[lane]])
            await add_in_slices(self._pace, writer, [(0, batch) for batch, _ in batches])
            try:
                segment.report = await write_in_flight(self._layers, self._subtask, writer, alone=True)
            except (OSError, StoreError) as error:
                log.warning("a loop's records stay in memory", loop=str(self._subtask), reason=str(error))
                self._failures += 1
                self._wake_waiting()
                with move_on_after(RETRY_SECONDS):
                    while not self._wanted:
                        await self._arrival.wait()
                return
            segment.batches = None
        self._unwritten.popleft()
        self._wake_waiting()

    def _wake_waiting(self) -> None:
        for wakeup in self._room:
            wakeup.wake()

    async def _load(self, lane: BackLane) -> None:
        row = next(row for known, row in self._rows if known is lane)
        if not row or row[0].batches is not None:
            lane.refill()
            return
        segment = row[0]
        batches = await self._world.offload.run(self._read, segment)
        lane.on_loaded(segment, batches)

    def _read(self, segment: Segment) -> list[tuple[Batch, int]]:
        report = segment.report
        if report is None:
            raise InvariantError("a segment without a file is read")
        (file,) = report.layers
        with open_written(f"{self._layers.folder}/{file.name}", file) as layer:
            part = read_part([layer], report.written, self._subtask.subtask, report.items)
        return [(item, estimate_bytes(item.values)) for _, item in part.items if isinstance(item, Batch)]

    async def _tidy(self) -> None:
        """Remove the files that nobody needs and no checkpoint lists; forget those that go with their checkpoints."""
        over = [segment for segment in self._segments if not segment.holders]
        if not over:
            return
        self._segments = [segment for segment in self._segments if segment.holders]
        for segment in over:
            if segment.report is not None and not segment.listed:
                for file in segment.report.layers:
                    await self._world.offload.run(self._world.files.unlink, f"{self._layers.folder}/{file.name}")


async def add_in_slices(pace: Pace, writer: InFlightWriter, items: Iterable[tuple[int, Batch]]) -> None:
    """Encode batches a few at a time, so that the loop is not held for long."""
    clock = pace.clock.monotonic
    until = clock() + _SLICE_SECONDS
    for channel, batch in items:
        writer.add(channel, batch)
        if clock() > until:
            await pace.give_way()
            until = clock() + _SLICE_SECONDS
