"""Frozen generations on their way to disk: in order, in slices, and all or none of a broken row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import CodecError
from actorstream.model.ids import CheckpointId, LayerName, OperatorNumber, StateNumber, SubtaskId
from actorstream.model.key_groups import KeyGroupRange
from actorstream.model.world import World
from actorstream.runtime.messages import Acked, Declined, SnapshotReport
from actorstream.runtime.pace import Pace
from actorstream.runtime.snapshots import Snapshots
from actorstream.state.operator_state import OperatorState, StateColumn
from actorstream.state.stack import LayerStack
from actorstream.state.writer import LayerWriter
from actorstream.system.current import current_world
from actorstream.system.files import RealFiles
from tests.runtime.doubles import settle, until

if TYPE_CHECKING:
    from pathlib import Path

ALL = KeyGroupRange(0, 8)
ME = SubtaskId("op", 0)


class RefusingFiles(RealFiles):
    """A disk that is full for as long as it is told."""

    full = False

    def sync(self, path: str, /) -> None:
        """Fail like a full disk."""
        if self.full:
            raise OSError(28, "No space left on device", path)
        super().sync(path)


class Rig:
    """One state with its snapshots, over a disk that can be full."""

    def __init__(self, folder: Path) -> None:
        real = current_world()
        self.files = RefusingFiles()
        world = World(real.clock, self.files, real.offload, real.random)
        self.told: list[Any] = []
        self.state = OperatorState(
            operator=OperatorNumber(1),
            columns=[StateColumn(StateNumber(1), "value", "value", SELF_DESCRIBING)],
            key_groups=ALL,
            max_parallelism=8,
            stack=LayerStack.covering(ALL),
            name="op",
        )
        numbers = iter(range(1, 100))
        writer = LayerWriter(world, str(folder), lambda: LayerName(f"1-0-{next(numbers)}.lmdb"))
        pace = Pace(world.clock, world.offload)
        self.snapshots = Snapshots(ME, self.state, writer, pace, self.told.append)

    def barrier(self, checkpoint: int, **rows: object) -> None:
        """Write rows, then freeze for a checkpoint."""
        for key, value in rows.items():
            self.state.rows.live[key] = value
        self.snapshots.submit(CheckpointId(checkpoint), self.state.freeze(), SnapshotReport())

    async def until_told(self, count: int) -> list[Any]:
        """Wait until that many messages are there, and take them."""
        await until(lambda: len(self.told) >= count)
        told, self.told[:] = list(self.told), []
        return told


async def test_snapshots_are_acknowledged_in_the_order_of_their_barriers(tmp_path: Path) -> None:
    """Each with the stack as of its barrier: nothing of a later one in it (T134)."""
    rig = Rig(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(rig.snapshots.run)
        rig.barrier(1, a=1)
        rig.barrier(2, a=2, b=2)
        rig.barrier(3)
        first, second, third = await rig.until_told(3)
        group.cancel_scope.cancel()

    assert [message.checkpoint for message in (first, second, third)] == [1, 2, 3]
    assert [message.report.entries for message in (first, second, third)] == [1, 2, 0]
    assert [len(message.report.stacks[0][1]) for message in (first, second, third)] == [1, 2, 2]
    rig.state.stack.release()


async def test_unchanged_state_is_acknowledged_without_a_new_layer(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(rig.snapshots.run)
        rig.barrier(1)
        (ack,) = await rig.until_told(1)
        group.cancel_scope.cancel()

    assert isinstance(ack, Acked)
    assert (ack.report.entries, RealFiles().list_dir(str(tmp_path))) == (0, [])


async def test_large_state_is_encoded_in_slices_and_others_run_in_between(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    turns = 0

    async def heartbeat() -> None:
        nonlocal turns
        while True:
            turns += 1
            await settle(1)

    async with anyio.create_task_group() as group:
        group.start_soon(rig.snapshots.run)
        group.start_soon(heartbeat)
        rig.barrier(1, **{f"key{n}": (n, "x" * 20) for n in range(20_000)})
        (ack,) = await rig.until_told(1)
        group.cancel_scope.cancel()

    assert ack.report.entries == 20_000
    assert turns > 5
    rig.state.stack.release()


async def test_full_disk_declines_every_waiting_snapshot_and_loses_nothing(tmp_path: Path) -> None:
    """T85: a later one must not be acknowledged without the earlier entries; they go out with the next."""
    rig = Rig(tmp_path)
    rig.files.full = True
    async with anyio.create_task_group() as group:
        group.start_soon(rig.snapshots.run)
        rig.barrier(1, a=1)
        rig.barrier(2, b=2)
        first, second = await rig.until_told(2)
        assert [type(message) for message in (first, second)] == [Declined, Declined]
        assert "No space left" in first.reason
        rig.files.full = False
        rig.barrier(3, c=3)
        (third,) = await rig.until_told(1)
        group.cancel_scope.cancel()

    assert (third.checkpoint, third.report.entries) == (3, 3)
    assert [rig.state.rows.peek(key) for key in "abc"] == [1, 2, 3]
    rig.state.stack.release()


async def test_value_that_cannot_be_stored_fails_the_job_by_name(tmp_path: Path) -> None:
    """T86: no later checkpoint could ever be complete: declining for ever would hide it."""
    rig = Rig(tmp_path)
    rig.barrier(1, a=object())

    with pytest.raises(CodecError, match=r"state op\.value, key 'a'"):
        await rig.snapshots.run()


async def test_stateless_subtask_acknowledges_what_it_has_to_report(tmp_path: Path) -> None:
    """T91: it has no part in any layer."""
    rig = Rig(tmp_path)
    rig.snapshots._state = None
    async with anyio.create_task_group() as group:
        group.start_soon(rig.snapshots.run)
        rig.snapshots.submit(CheckpointId(1), None, SnapshotReport())
        (ack,) = await rig.until_told(1)
        group.cancel_scope.cancel()

    assert ack == Acked(ME, CheckpointId(1), SnapshotReport())
