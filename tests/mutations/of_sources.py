"""Bugs in what a snapshot says of a source: positions, and barriers between a record and its position."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.runtime.messages import SnapshotReport, SplitPosition
from actorstream.runtime.source import SourceSubtask
from tests.mutations.entering import Area

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from actorstream.model.batch import Batch

AREA = Area("sources")


@AREA.in_jobs("the position is that of the last record fetched, not emitted (T99)", pause=0.0)
def _position_of_fetched() -> Sequence[AbstractContextManager[object]]:
    real = SourceSubtask.report

    def report(self: SourceSubtask) -> SnapshotReport:
        found = real(self)
        positions = dict(found.positions)
        for split, lane in zip(self._splits, self.mailbox.lanes, strict=True):
            fetched = [item.fetched.position for item in lane.items if hasattr(item, "fetched")]
            if fetched:
                positions[split] = SplitPosition(fetched[-1], finished=False)
        return replace(found, positions=positions)

    return [patch.object(SourceSubtask, "report", report)]


@AREA.in_jobs(
    "a barrier comes between emission and position",
    job="exchanges",
    interval=0.02,
    lane_records=1,
    pause=0.0,
    timeout=60.0,
)
def _between() -> Sequence[AbstractContextManager[object]]:
    real = SourceSubtask._on_item

    async def on_item(self: SourceSubtask, channel: Any, item: Any) -> None:
        work = self.runner.work

        async def work_and_serve(*batch: Any) -> None:
            await work(*batch)
            while self.mailbox.control:
                await self._on_control(self.mailbox.control.popleft())

        with patch.object(self.runner, "work", work_and_serve):
            await real(self, channel, item)

    return [patch.object(SourceSubtask, "_on_item", on_item)]


_IN_MEMORY: dict[str, Any] = {"in_memory": True, "live": False, "interval": 0.02, "pause": 0.02, "timeout": 60.0}


async def _serve(source: SourceSubtask) -> None:
    while source.mailbox.control:
        await source._on_control(source.mailbox.control.popleft())


def _on_take(take: Callable[..., Any]) -> Sequence[AbstractContextManager[object]]:
    """Have `take(source, split, taken, do)` carry out one piece of a split in memory."""
    real = SourceSubtask._take

    async def mutated(self: SourceSubtask, channel: Any, split: str) -> None:
        do = self.runner.piece

        async def piece(batch: Batch, *part: Any, **last: Any) -> None:
            assert batch.origin is not None
            await take(self, split, batch.origin[1], lambda: do(batch, *part, **last))

        with patch.object(self.runner, "piece", piece):
            await real(self, channel, split)

    return [patch.object(SourceSubtask, "_take", mutated)]


@AREA.in_jobs("in memory, the position is advanced before its piece is done, where a barrier can come", **_IN_MEMORY)
def _position_first() -> Sequence[AbstractContextManager[object]]:
    async def take(source: SourceSubtask, split: str, position: Any, do: Callable[[], Any]) -> None:
        source.positions[split] = SplitPosition(position, finished=False)
        await asyncio.sleep(0.001)  # as where credit is waited for
        await _serve(source)
        await do()

    return _on_take(take)


@AREA.in_jobs("in memory, a barrier comes between a piece and its position", **_IN_MEMORY)
def _between_piece_and_position() -> Sequence[AbstractContextManager[object]]:
    async def take(source: SourceSubtask, split: str, position: Any, do: Callable[[], Any]) -> None:
        await do()
        await _serve(source)

    return _on_take(take)


@AREA.in_topologies("the position in a snapshot is one behind what was emitted", "cut")
def _one_behind() -> Sequence[AbstractContextManager[object]]:
    real = SourceSubtask.report

    def report(self: SourceSubtask) -> SnapshotReport:
        found = real(self)
        positions = {
            split: SplitPosition(at.position - 1, finished=False)
            if isinstance(at.position, int) and at.position > 0 and not at.finished
            else at
            for split, at in found.positions.items()
        }
        return replace(found, positions=positions)

    return [patch.object(SourceSubtask, "report", report)]
