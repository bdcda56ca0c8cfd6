"""Frozen generations on their way to disk: in order, in slices, and all or none of a broken row."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from actorstream.codec.ordered_keys import decode_key_at
from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import CodecError
from actorstream.model.ids import CheckpointId, LayerName, OperatorNumber, StateNumber, SubtaskId
from actorstream.model.key_groups import KeyGroupRange
from actorstream.model.world import World
from actorstream.runtime.messages import Acked, Declined, SnapshotReport
from actorstream.runtime.pace import Pace
from actorstream.runtime.snapshots import Snapshots
from actorstream.state import encoding_share
from actorstream.state.entries import HEAD_BYTES, VALUE, take_apart
from actorstream.state.operator_state import OperatorState, StateColumn
from actorstream.state.stack import LayerStack
from actorstream.state.writer import SMALL_ENTRIES, LayerWriter
from actorstream.system.current import current_world
from actorstream.system.files import RealFiles
from tests.runtime.doubles import settle, until

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.model.world import FileSystem

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

    def __init__(
        self, folder: Path, files: FileSystem | None = None, *, child: bool = False, operator: int = 1
    ) -> None:
        real = current_world()
        self.files = RefusingFiles()
        self.settled = 0
        world = World(real.clock, files or self.files, real.offload, real.random)
        self.told: list[Any] = []
        self.state = OperatorState(
            operator=OperatorNumber(operator),
            columns=[StateColumn(StateNumber(1), "value", "value", SELF_DESCRIBING)],
            key_groups=ALL,
            max_parallelism=8,
            stack=LayerStack.covering(ALL),
            name="op",
        )
        numbers = count(1)
        self.writer = LayerWriter(world, str(folder), lambda: LayerName(f"1-0-{next(numbers)}.lmdb"), child=child)
        self.pace = Pace(world.clock, world.offload)
        me = ME if operator == 1 else SubtaskId(f"op{operator}", 0)
        self.snapshots = Snapshots(me, self.state, self.writer, self.pace, self.told.append, self._on_settled)

    def barrier(self, checkpoint: int, **rows: object) -> None:
        """Write rows, then freeze for a checkpoint."""
        for key, value in rows.items():
            self.state.rows.live[key] = value
        self.snapshots.submit(CheckpointId(checkpoint), self.state.freeze(), SnapshotReport())

    def early(self, **rows: object) -> None:
        """Write rows, then freeze to save memory."""
        self.state.rows.live.update(rows)
        generation = self.state.freeze()
        assert generation is not None
        self.snapshots.submit_early(generation)

    def _on_settled(self) -> None:
        self.settled += 1

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


def values_in(report: SnapshotReport, operator: int = 1) -> dict[object, object]:
    """Give the rows that a restore of this report would find."""
    found: dict[object, object] = {}
    for _, layers in report.stacks:
        for layer in reversed(layers):
            for entry, value in layer.scan(operator.to_bytes(2)):
                kind = take_apart(value)
                key = decode_key_at(entry, HEAD_BYTES)[0]
                if kind.tagged[0] == VALUE:
                    found[key] = SELF_DESCRIBING.decode(kind.tagged[1:])
                else:
                    found.pop(key, None)
    return found


async def test_early_freeze_is_in_the_next_acknowledgement_and_has_none_of_its_own(tmp_path: Path) -> None:
    """Without it the barrier's manifest would lack what was written before the early freeze."""
    rig = Rig(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(rig.snapshots.run)
        rig.early(a=1, b=1)
        rig.early(b=2)
        assert rig.snapshots.waiting == 2
        rig.barrier(1, c=3)
        assert rig.snapshots.waiting == 3
        (ack,) = await rig.until_told(1)
        group.cancel_scope.cancel()

    assert (ack.checkpoint, ack.report.entries) == (1, 1)
    assert values_in(ack.report) == {"a": 1, "b": 2, "c": 3}
    assert (rig.snapshots.waiting, rig.settled) == (0, 3)
    rig.state.stack.release()


async def test_early_freeze_that_fails_goes_out_with_the_next_barrier_without_a_storm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Memory is full and so is the disk: the next early freeze waits, a barrier does not."""
    rig = Rig(tmp_path)
    rig.files.full = True
    async with anyio.create_task_group() as group:
        group.start_soon(rig.snapshots.run)
        rig.early(a=1)
        await until(lambda: rig.snapshots.waiting == 0)
        assert rig.told == []
        rig.early(b=2)
        await anyio.wait_all_tasks_blocked()
        assert (rig.snapshots.waiting, rig.settled) == (1, 1)
        rig.files.full = False
        rig.barrier(1)
        (ack,) = await rig.until_told(1)
        group.cancel_scope.cancel()

    assert values_in(ack.report) == {"a": 1, "b": 2}
    assert [record.getMessage().count("No space left") for record in caplog.records] == [1]
    rig.state.stack.release()


async def test_barrier_behind_a_failed_early_freeze_is_declined(tmp_path: Path) -> None:
    """T85: an acknowledgement covers every earlier generation, early ones too."""
    rig = Rig(tmp_path)
    rig.files.full = True
    async with anyio.create_task_group() as group:
        group.start_soon(rig.snapshots.run)
        rig.early(a=1)
        rig.barrier(1)
        (declined,) = await rig.until_told(1)
        group.cancel_scope.cancel()

    assert isinstance(declined, Declined)
    assert "No space left" in declined.reason


@pytest.mark.parametrize("child", [True, False])
async def test_large_generation_is_streamed(tmp_path: Path, child: bool) -> None:
    """Into a file of its own, by the child if there may be one."""
    rig = Rig(tmp_path, child=child)
    async with anyio.create_task_group() as group:
        group.start_soon(rig.snapshots.run)
        rows = {f"key{n}": n for n in range(SMALL_ENTRIES + 1)}
        rig.barrier(1, **rows)
        (ack,) = await rig.until_told(1)
        group.cancel_scope.cancel()

    assert (rig.writer._process is not None) == child
    assert values_in(ack.report) == rows
    rig.state.stack.release()
    await rig.writer.close()


async def test_few_large_values_are_streamed_too(tmp_path: Path) -> None:
    """By bytes, not only by entries; and fewer at a time, so that no step takes long."""
    rig = Rig(tmp_path, child=True)
    async with anyio.create_task_group() as group:
        group.start_soon(rig.snapshots.run)
        rig.barrier(1, **{f"key{n}": "x" * 100_000 for n in range(20)})
        (ack,) = await rig.until_told(1)
        group.cancel_scope.cancel()

    assert rig.writer._process is not None
    assert ack.report.entries == 20
    rig.state.stack.release()
    await rig.writer.close()


async def test_cancelled_stream_leaves_no_file(tmp_path: Path) -> None:
    """The attempt ends in the middle of a snapshot."""
    rig = Rig(tmp_path, child=True)
    async with anyio.create_task_group() as group:
        group.start_soon(rig.snapshots.run)
        rig.barrier(1, **{f"key{n}": n for n in range(3 * SMALL_ENTRIES)})
        await until(lambda: rig.writer._process is not None)
        group.cancel_scope.cancel()
    await rig.writer.close()
    assert [name for name in RealFiles().list_dir(str(tmp_path)) if name.endswith(".lmdb")] == []


async def test_value_that_cannot_be_stored_in_the_middle_of_a_stream_leaves_no_file(tmp_path: Path) -> None:
    """T86, with thousands of good entries sent before it."""
    rig = Rig(tmp_path, child=True)
    rig.barrier(1, **{f"key{n}": n for n in range(3 * SMALL_ENTRIES)}, bad=object())

    with pytest.raises(CodecError, match="key 'bad'"):
        await rig.snapshots.run()
    await rig.writer.close()
    assert [name for name in RealFiles().list_dir(str(tmp_path)) if name.endswith(".lmdb")] == []


async def test_barrier_of_many_small_subtasks_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though their entries take many turns of the loop to encode: the file waits for those that are on their way."""
    monkeypatch.setattr(encoding_share, "SLICE_SECONDS", 1e-9)
    rigs = [Rig(tmp_path, operator=number) for number in range(1, 61)]
    async with anyio.create_task_group() as group:
        for rig in rigs:
            rig.snapshots._writer = rigs[0].writer
            group.start_soon(rig.snapshots.run)
        for rig in rigs:
            rig.barrier(1, a=1, b=2)
        for operator, rig in enumerate(rigs, 1):
            (ack,) = await rig.until_told(1)
            assert values_in(ack.report, operator) == {"a": 1, "b": 2}
            rig.state.stack.release()
        group.cancel_scope.cancel()
    assert RealFiles().list_dir(str(tmp_path)) == ["1-0-1.lmdb"]
