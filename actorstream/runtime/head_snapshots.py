"""The head of a loop acknowledges a checkpoint when what came back before the barrier is durable too.

    state frozen ──> written ──┐
    recording ──> complete ──> written ──> Acked

A recording lists segments as they are; the batches between them are written as parts of their own, so that what is
restored is in order:

    lane   b b [segment 1][segment 2] b b b        parts   b b | segment 1 | segment 2 | b b b
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from actorstream.checkpoints.in_flight import InFlightWriter
from actorstream.errors import StoreError
from actorstream.model.batch import Batch
from actorstream.runtime.in_flight import write_in_flight
from actorstream.runtime.snapshots import Snapshots
from actorstream.runtime.spilling import add_in_slices

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorstream.model.ids import CheckpointId
    from actorstream.runtime.back_lane import BackLane
    from actorstream.runtime.messages import InFlightReport, SnapshotReport
    from actorstream.runtime.recording import Piece, Recording
    from actorstream.runtime.snapshots import _Frozen
    from actorstream.runtime.spilling import Segment, Spiller


class HeadSnapshots(Snapshots):
    """The snapshots of a loop's head: `attend` comes before the first."""

    _recordings: dict[CheckpointId, Recording]
    _lanes: Sequence[BackLane]
    _spiller: Spiller

    def attend(self, lanes: Sequence[BackLane], spiller: Spiller) -> None:
        """Take part in what is recorded in these lanes."""
        self._recordings = {}
        self._lanes, self._spiller = lanes, spiller

    def expect(self, recording: Recording) -> None:
        """A snapshot comes with a recording: acknowledge both together."""
        self._recordings[recording.checkpoint] = recording

    async def _finish(self, frozen: _Frozen) -> SnapshotReport:
        recording = None if frozen.checkpoint is None else self._recordings.pop(frozen.checkpoint, None)
        if recording is None:
            return await super()._finish(frozen)
        try:
            report = await super()._finish(frozen)
            await recording.wait_complete()
            return replace(report, going_round=tuple(await self._write(recording)))
        finally:
            for lane in self._lanes:
                lane.on_written(recording)
            recording.let_go()

    async def _write(self, recording: Recording) -> list[InFlightReport]:
        """Write what is in memory, and list it between the segments as it was sent; no more where it is given up."""
        parts: list[InFlightReport] = []
        of_segments: list[tuple[Segment, InFlightReport]] = []
        try:
            rows = [_runs(row) for row in recording.rows]
            for number in range(max(map(len, rows), default=0)):
                part, behind = await self._write_runs(recording, number, rows)
                parts += [] if part is None else [part]
                for segment in behind:
                    of_segments.append((segment, await self._spiller.report_of(segment)))
                    parts.append(of_segments[-1][1])
        except StoreError:
            if not recording.given_up:  # else its segments may have gone with it, and nobody else is to be declined
                raise
        if recording.given_up:  # its acknowledgement only says which files were written for nothing
            return [part for part in parts if all(part is not report for _, report in of_segments)]
        for segment, _ in of_segments:
            segment.listed = True
        return parts

    async def _write_runs(
        self, recording: Recording, number: int, rows: Sequence[Sequence[tuple[range, list[Segment]]]]
    ) -> tuple[InFlightReport | None, list[Segment]]:
        """Write the batches of each lane up to the next segments, and give these."""
        name = self._subtask.chain if not number else f"{self._subtask.chain}~{number}"
        writer = InFlightWriter(name, self._subtask.subtask, self._spiller.channels)
        behind: list[Segment] = []
        for lane, row in enumerate(rows):
            if number < len(row):
                places, segments = row[number]
                await add_in_slices(self._pace, writer, _batches(recording, lane, places))
                behind += segments
        if recording.given_up:
            return None, []
        return await write_in_flight(self._writer, self._subtask, writer), behind


def _batches(recording: Recording, lane: int, places: range) -> Iterator[tuple[int, Batch]]:
    """Give batches one by one: one that the head takes meanwhile has been replaced when its turn comes."""
    for place in places:
        if recording.given_up:
            return
        piece = recording.rows[lane][place]
        if isinstance(piece, Batch):
            yield lane, piece


def _runs(row: Sequence[Piece]) -> list[tuple[range, list[Segment]]]:
    """Cut what a lane recorded into places of batches and the segments that follow them, again and again."""
    runs: list[tuple[range, list[Segment]]] = [(range(0), [])]
    for place, piece in enumerate(row):
        places, segments = runs[-1]
        if not isinstance(piece, Batch):
            segments.append(piece)
        elif segments or not places:
            runs[-1:] = [runs[-1]] if segments else []
            runs.append((range(place, place + 1), []))
        else:
            runs[-1] = range(places.start, place + 1), segments
    return runs
