"""The coordinator's actor: what the protocol decides reaches mailboxes, the disk and whoever asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.checkpoints.view import StoreView
from actorstream.model.ids import CheckpointId, SubtaskId
from actorstream.runtime.coordinator import CheckpointsFailedError
from actorstream.runtime.messages import (
    AbortCheckpoint,
    Acked,
    CheckpointRequest,
    Committed,
    CompleteCheckpoint,
    Declined,
    Finished,
    SnapshotReport,
    SplitPosition,
    TriggerCheckpoint,
)
from actorstream.system.files import RealFiles
from tests.runtime.deploying import Deploying
from tests.runtime.doubles import settle, until

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO = CheckpointId(1), CheckpointId(2)
SOURCE, SINK = SubtaskId("in", 0), SubtaskId("out", 0)


class RefusingFiles(RealFiles):
    """A disk on which no manifest can be linked for as long as it is told."""

    full = False

    def link(self, source: str, target: str, /) -> None:
        """Fail like a full disk."""
        if self.full and target.endswith("manifest.json"):
            raise OSError(28, "No space left on device", target)
        super().link(source, target)


class Office:
    """A coordinator whose two actors are played by the test."""

    def __init__(self, deploying: Deploying, built: Any) -> None:
        self.deploying = deploying
        self.coordinator = built.coordinator
        self.mailboxes = {identity: subtask.mailbox.control for identity, subtask in built.subtasks.items()}

    @classmethod
    async def open(cls, store: Path, **settings: Any) -> Office:
        pipeline = Pipeline("t")
        pipeline.source([1], name="in").rebalance().sink(print, name="out")
        deploying = Deploying(pipeline, store, **settings)
        return cls(deploying, await deploying.build())

    async def next(self, subtask: SubtaskId) -> Any:
        """Wait for the next control message of an actor."""
        await until(lambda: self.mailboxes[subtask])
        return self.mailboxes[subtask].popleft()

    def ack(self, checkpoint: CheckpointId) -> None:
        """Acknowledge for both."""
        positions = {"0": SplitPosition(0, finished=False)}
        self.coordinator.tell(Acked(SOURCE, checkpoint, SnapshotReport(positions=positions)))
        self.coordinator.tell(Acked(SINK, checkpoint, SnapshotReport()))


async def test_checkpoint_goes_from_trigger_to_manifest_to_notice_to_answer(tmp_path: Path) -> None:
    office = await Office.open(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(office.coordinator.run)
        office.coordinator.tell(CheckpointRequest(7, stop=False))
        assert await office.next(SOURCE) == TriggerCheckpoint(ONE, stop=False)
        assert not office.mailboxes[SINK], "a barrier will come by its channel"
        assert office.deploying.answers == []
        office.ack(ONE)
        assert await office.next(SINK) == CompleteCheckpoint(ONE)
        assert StoreView(RealFiles(), str(tmp_path)).read(ONE).checkpoint == 1, "durable before anybody hears of it"
        await until(lambda: office.deploying.answers)
        assert office.deploying.answers == [(7, ONE, None)]
        group.cancel_scope.cancel()


async def test_periodic_checkpoints_start_by_themselves(tmp_path: Path) -> None:
    office = await Office.open(tmp_path, checkpoint_interval_us=1_000)
    async with anyio.create_task_group() as group:
        group.start_soon(office.coordinator.run)
        for number in (1, 2, 3):
            trigger = await office.next(SOURCE)
            assert trigger == TriggerCheckpoint(CheckpointId(number), stop=False)
            office.ack(CheckpointId(number))
            assert await office.next(SOURCE) == CompleteCheckpoint(CheckpointId(number))
        group.cancel_scope.cancel()


async def test_declined_checkpoint_is_aborted_everywhere_and_its_id_not_used_again(tmp_path: Path) -> None:
    """T81."""
    office = await Office.open(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(office.coordinator.run)
        office.coordinator.tell(CheckpointRequest(1, stop=False))
        await office.next(SOURCE)
        office.coordinator.tell(Declined(SINK, ONE, "no room"))
        assert await office.next(SINK) == AbortCheckpoint(ONE, None)
        assert await office.next(SOURCE) == AbortCheckpoint(ONE, None)
        assert office.deploying.answers == [(1, None, "checkpoint 1 failed: out[0] declined: no room")]
        office.coordinator.tell(CheckpointRequest(2, stop=False))
        assert await office.next(SOURCE) == TriggerCheckpoint(TWO, stop=False)
        assert office.deploying.context.statistics.failed_checkpoints == 1
        group.cancel_scope.cancel()


async def test_checkpoint_that_is_not_acknowledged_in_time_is_aborted(tmp_path: Path) -> None:
    office = await Office.open(tmp_path, checkpoint_timeout_us=10_000)
    async with anyio.create_task_group() as group:
        group.start_soon(office.coordinator.run)
        office.coordinator.tell(CheckpointRequest(1, stop=False))
        await office.next(SOURCE)
        assert await office.next(SINK) == AbortCheckpoint(ONE, None)
        assert "timed out after 0.01 s without an acknowledgement of in[0], out[0]" in str(office.deploying.answers)
        group.cancel_scope.cancel()


async def test_manifest_that_cannot_be_written_fails_its_checkpoint_only(tmp_path: Path) -> None:
    files = RefusingFiles()
    office = await Office.open(tmp_path, files=files)
    files.full = True
    async with anyio.create_task_group() as group:
        group.start_soon(office.coordinator.run)
        office.coordinator.tell(CheckpointRequest(1, stop=False))
        await office.next(SOURCE)
        office.ack(ONE)
        assert await office.next(SOURCE) == AbortCheckpoint(ONE, None)
        files.full = False
        office.coordinator.tell(CheckpointRequest(2, stop=False))
        assert await office.next(SOURCE) == TriggerCheckpoint(TWO, stop=False)
        office.ack(TWO)
        assert await office.next(SOURCE) == CompleteCheckpoint(TWO)
        group.cancel_scope.cancel()
    assert [error is None for _, _, error in office.deploying.answers] == [False, True]


async def test_too_many_failures_in_a_row_fail_the_attempt_with_the_remedy(tmp_path: Path) -> None:
    files = RefusingFiles()
    office = await Office.open(tmp_path, files=files, tolerated_failures=1, checkpoint_interval_us=1_000)
    files.full = True

    async def acknowledge() -> None:
        while True:
            message = await office.next(SOURCE)
            if isinstance(message, TriggerCheckpoint):
                office.ack(message.checkpoint)

    async with anyio.create_task_group() as group:
        group.start_soon(acknowledge)
        with pytest.raises(CheckpointsFailedError, match=r"2 checkpoints in a row failed.*tolerated_failures"):
            await office.coordinator.run()
        group.cancel_scope.cancel()


async def test_job_ends_when_everything_has_finished_and_committed(tmp_path: Path) -> None:
    """T106, T115: a final checkpoint by direct triggers, then the commits, then the end."""
    office = await Office.open(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(office.coordinator.run)
        for subtask in (SOURCE, SINK):
            office.coordinator.tell(Finished(subtask))
        for subtask in (SOURCE, SINK):
            assert await office.next(subtask) == TriggerCheckpoint(ONE, stop=False, settled=True)
        office.ack(ONE)
        for subtask in (SOURCE, SINK):
            assert await office.next(subtask) == CompleteCheckpoint(ONE)
        await settle()
        office.coordinator.tell(Committed(SOURCE, ONE))
        await settle()
        office.coordinator.tell(Committed(SINK, ONE))
    assert StoreView(RealFiles(), str(tmp_path)).read(ONE).final


async def test_stop_request_is_a_final_checkpoint_at_which_sources_stop(tmp_path: Path) -> None:
    office = await Office.open(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(office.coordinator.run)
        office.coordinator.tell(CheckpointRequest(1, stop=True))
        assert await office.next(SOURCE) == TriggerCheckpoint(ONE, stop=True, settled=True)
        office.ack(ONE)
        await office.next(SINK)
        for subtask in (SOURCE, SINK):
            office.coordinator.tell(Committed(subtask, ONE))
    assert office.deploying.answers == [(1, ONE, None)]


async def test_only_so_many_checkpoints_are_kept(tmp_path: Path) -> None:
    office = await Office.open(tmp_path, retained=2)
    async with anyio.create_task_group() as group:
        group.start_soon(office.coordinator.run)
        for number in range(1, 6):
            office.coordinator.tell(CheckpointRequest(number, stop=False))
            await office.next(SOURCE)
            office.ack(CheckpointId(number))
            await office.next(SOURCE)
            await until(lambda number=number: len(office.deploying.answers) == number)  # type: ignore[misc]
        group.cancel_scope.cancel()
    assert StoreView(RealFiles(), str(tmp_path)).checkpoint_ids() == [4, 5]
