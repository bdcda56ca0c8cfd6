"""The order rule of acknowledgements, over everything that can be mixed.

An acknowledgement covers every earlier generation: whatever was frozen before a barrier, early or for another one,
written alone or with others, streamed by a child or by a thread, failed and taken back, is in what that barrier's
report lists, and nothing from behind it (T85, T134).
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.model.ids import CheckpointId
from actorstream.runtime import snapshots
from actorstream.runtime.messages import Acked
from actorstream.state import encoding_share, layer_stream
from actorstream.state.layer_stream import Allowance
from actorstream.state.memtable import MISSING
from actorstream.testing.faults import CHANGES, Fault, FaultyFiles
from tests.runtime.doubles import settle, until
from tests.runtime.test_snapshots import Rig, values_in
from tests.state.rig import QuickFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.model.world import FileSystem

Step: TypeAlias = "tuple[str, int]"
KEYS = 12

ROWS = st.tuples(st.just("rows"), st.integers(0, 2**KEYS - 1))
STEPS = st.one_of(
    ROWS,
    ROWS,
    st.tuples(st.just("delete"), st.integers(0, KEYS - 1)),
    st.tuples(st.just("barrier"), st.just(0)),
    st.tuples(st.just("early"), st.just(0)),
    st.tuples(st.just("turns"), st.integers(0, 30)),
    st.tuples(st.just("finish"), st.just(0)),
)


@pytest.fixture(scope="module", autouse=True)
def _small_steps() -> Iterator[None]:
    """A turn of the loop for two entries: everything else can come between two runs of one stream."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding_share, "SLICE_SECONDS", 1e-9)
        patch.setattr(snapshots, "STEP_ENTRIES", 2)
        patch.setattr(snapshots, "SMALL_ENTRIES", 3)
        patch.setattr(snapshots, "RETRY_SECONDS", 0.001)
        patch.setattr(layer_stream, "SORT_ENTRIES_MAX", 4)
        yield


class Run:
    """One subtask's life: its state beside a dict, and the dict as it was at each barrier."""

    def __init__(self, folder: Path, files: FileSystem, *, child: bool) -> None:
        self.rig = Rig(folder, files, child=child)
        self.rows: dict[object, object] = {}
        self.at_barrier: dict[int, dict[object, object]] = {}
        self.frozen = 0
        self._writes = 0

    async def step(self, what: str, number: int) -> None:
        state, queue = self.rig.state, self.rig.snapshots
        match what:
            case "rows":  # the keys whose bits are set; most often more than a small generation has
                self._writes += 1
                keys = (key for key in range(KEYS) if number >> key & 1)
                written: dict[object, object] = dict.fromkeys(keys, self._writes)
                state.rows.live.update(written)
                self.rows.update(written)
            case "delete":
                state.rows.live[number] = MISSING
                self.rows.pop(number, None)
            case "barrier":
                self.barrier()
            case "early":
                generation = state.freeze()
                if generation is not None:
                    self.frozen += 1
                    queue.submit_early(generation)
            case "turns":
                await settle(number)
            case "finish":
                await until(lambda: not queue._queue)
            case _:
                self.kill()

    def kill(self) -> None:
        process = self.rig.writer._process
        if process is not None and process.loss is None:
            os.kill(process.pid, signal.SIGKILL)
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead from here on, and not yet reaped

    def barrier(self) -> None:
        checkpoint = len(self.at_barrier) + 1
        self.at_barrier[checkpoint] = dict(self.rows)
        self.frozen += self.rig.state.rows.dirty
        self.rig.barrier(checkpoint)

    async def until_acknowledged(self) -> None:
        """End with a barrier that the disk lets through: nothing that was written may be missing in it."""
        for _ in range(5):
            self.barrier()
            await self.step("finish", 0)
            if isinstance(self.rig.told[-1], Acked):
                return
        raise AssertionError("no checkpoint is ever complete")

    def check(self) -> None:
        told, queue = self.rig.told, self.rig.snapshots
        assert [message.checkpoint for message in told] == [CheckpointId(number) for number in self.at_barrier]
        for message in told:
            if isinstance(message, Acked):
                assert values_in(message.report) == self.at_barrier[message.checkpoint], message
        assert queue.waiting == 0
        assert self.rig.state.statistics().generations_waiting == 0


async def live(steps: list[Step], files: FileSystem, *, child: bool, kept_bytes: int = 0) -> None:
    with TemporaryDirectory() as folder:
        run = Run(Path(folder), files, child=child)
        run.rig.writer._allowance = Allowance(kept_bytes)
        async with anyio.create_task_group() as group:
            group.start_soon(run.rig.snapshots.run)
            for step in steps:
                await run.step(*step)
            await run.until_acknowledged()
            group.cancel_scope.cancel()
        run.check()
        run.rig.state.stack.release()
        await run.rig.writer.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, max_size=14), st.lists(st.integers(1, 12), max_size=3))
def test_acknowledgement_covers_every_earlier_generation_whatever_the_disk_does(
    steps: list[Step], faults: list[int]
) -> None:
    files: FileSystem = QuickFiles()
    for nth in faults:
        files = FaultyFiles(files, Fault(nth, "EIO", CHANGES))
    asyncio.run(live(steps, files, child=False))


@pytest.mark.crash
@settings(max_examples=4, deadline=None)
@given(st.lists(STEPS | st.tuples(st.just("kill"), st.just(0)), max_size=16), st.sampled_from([0, 1 << 20]))
def test_acknowledgement_covers_every_earlier_generation_also_while_children_are_killed(
    steps: list[Step], kept_bytes: int
) -> None:
    """With little kept, a stream fails in its middle, and its generation is taken back half encoded."""
    full: Step = ("rows", 2**KEYS - 1)
    begun: list[Step] = [full, ("barrier", 0), ("finish", 0), full, ("early", 0), ("turns", 4), ("kill", 0)]
    asyncio.run(live([*begun, *steps], QuickFiles(), child=True, kept_bytes=kept_bytes))
