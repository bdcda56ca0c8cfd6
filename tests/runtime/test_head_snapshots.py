"""The head of a loop gives a checkpoint up while it writes what came back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from actorstream.checkpoints.in_flight import InFlightChannel
from actorstream.model.batch import Batch
from actorstream.model.ids import CheckpointId
from actorstream.runtime.head_snapshots import HeadSnapshots
from actorstream.runtime.messages import Acked, SnapshotReport
from actorstream.runtime.recording import Recording
from actorstream.runtime.spilling import Spiller
from actorstream.system.current import current_world
from tests.runtime.doubles import settle
from tests.runtime.test_snapshots import ME, Rig

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO = CheckpointId(1), CheckpointId(2)


def recording(checkpoint: CheckpointId, batches: int) -> Recording:
    """A recording of one lane, to which the barrier has come round."""
    made = Recording(checkpoint, 1)
    for number in range(batches):
        made.add(0, Batch([number]))
    made.on_barrier(0)
    return made


async def test_a_recording_that_is_given_up_while_it_is_written_is_let_go(tmp_path: Path) -> None:
    """Encoding gives way every 2 ms: the abort of a checkpoint comes in between, and the next one is not touched."""
    rig = Rig(tmp_path)
    heads = HeadSnapshots(ME, rig.state, rig.writer, rig.pace, rig.told.append)
    spiller = Spiller(current_world(), rig.pace, rig.writer, ME, [InFlightChannel("op:back0", 0, "back")])
    heads.attend([], spiller)
    long, short = recording(ONE, 20_000), recording(TWO, 2)
    async with anyio.create_task_group() as group:
        group.start_soon(heads.run)
        for checkpoint, made in ((ONE, long), (TWO, short)):
            heads.expect(made)
            heads.submit(checkpoint, None, SnapshotReport())
        await settle(3)
        assert rig.told == []
        long.give_up()
        acks = await rig.until_told(2)
        group.cancel_scope.cancel()
    assert all(isinstance(ack, Acked) for ack in acks[1:])
    assert [part.items for part in acks[1].report.going_round] == [2]
