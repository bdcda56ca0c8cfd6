"""A snapshot in two parts: the state at once, what was in flight when all of it is recorded."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import anyio

from actorstream.checkpoints.in_flight import InFlightChannel, InFlightWriter
from actorstream.model.batch import Batch
from actorstream.model.ids import CheckpointId
from actorstream.runtime.messages import Acked, Declined, SnapshotReport
from tests.runtime.doubles import settle, until
from tests.runtime.test_snapshots import Rig

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO = CheckpointId(1), CheckpointId(2)


def recorded(*values: object) -> InFlightWriter:
    writer = InFlightWriter("op", 0, [InFlightChannel("op:0")])
    for value in values:
        writer.add(0, Batch([value]))
    return writer


def begin(rig: Rig, checkpoint: CheckpointId, **rows: object) -> None:
    rig.state.rows.live.update(rows)
    rig.snapshots.submit(checkpoint, rig.state.freeze(), SnapshotReport(), whole=False)


async def test_it_is_acknowledged_when_both_parts_are_durable_with_the_stack_as_of_its_barrier(tmp_path: Path) -> None:
    """Early freezes go on meanwhile, and none of what they write is in the report (T134)."""
    rig = Rig(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(rig.snapshots.run)
        begin(rig, ONE, a=1)
        rig.early(b=2)
        await until(lambda: rig.snapshots.is_at_rest)
        assert rig.told == []
        assert rig.snapshots.waiting == 0
        rig.snapshots.complete(ONE, recorded("x", "y"))
        (ack,) = await rig.until_told(1)
        group.cancel_scope.cancel()
    assert isinstance(ack, Acked)
    assert ack.report.in_flight is not None
    assert (ack.report.in_flight.records, ack.report.entries) == (2, 1)
    assert len(ack.report.stacks[0][1]) == 1
    rig.state.stack.release()


async def test_nothing_in_flight_writes_no_file(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(rig.snapshots.run)
        begin(rig, ONE)
        rig.snapshots.complete(ONE, recorded())
        (ack,) = await rig.until_told(1)
        group.cancel_scope.cancel()
    assert ack.report.in_flight is None
    assert os.listdir(tmp_path) == []


async def test_what_is_forgotten_is_never_acknowledged(tmp_path: Path) -> None:
    """The checkpoint was given up before or after its state was written; the next one is not touched."""
    rig = Rig(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(rig.snapshots.run)
        begin(rig, ONE, a=1)
        rig.snapshots.forget(ONE)
        begin(rig, TWO, a=2)
        await until(lambda: rig.snapshots.is_at_rest)
        rig.snapshots.complete(TWO, recorded("x"))
        (ack,) = await rig.until_told(1)
        begin(rig, CheckpointId(3))
        await until(lambda: rig.snapshots.is_at_rest)
        rig.snapshots.forget(CheckpointId(3))
        await settle()
        assert rig.told == []
        group.cancel_scope.cancel()
    assert ack.checkpoint == TWO
    rig.state.stack.release()


async def test_a_part_that_cannot_be_written_declines_its_checkpoint_once_t19(tmp_path: Path) -> None:
    """T19: the state is in a layer already and stays there; the next checkpoint has it."""
    folder = tmp_path / "layers"
    folder.mkdir()
    rig = Rig(folder)
    async with anyio.create_task_group() as group:
        group.start_soon(rig.snapshots.run)
        begin(rig, ONE, a=1)
        await until(lambda: rig.snapshots.is_at_rest)
        folder.rename(tmp_path / "away")
        rig.snapshots.complete(ONE, recorded("x"))
        (declined,) = await rig.until_told(1)
        (tmp_path / "away").rename(folder)
        rig.snapshots.complete(ONE, recorded("x"))  # late: of a checkpoint that was declined
        begin(rig, TWO)
        rig.snapshots.complete(TWO, recorded("x"))
        (ack,) = await rig.until_told(1)
        group.cancel_scope.cancel()
    assert isinstance(declined, Declined)
    assert (declined.checkpoint, ack.checkpoint) == (ONE, TWO)
    assert len(ack.report.stacks[0][1]) == 1
    rig.state.stack.release()
