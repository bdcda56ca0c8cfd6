"""One subtask's snapshots, after the barrier has gone on: encode in slices, write, acknowledge.

    actor      ── freeze (O(1)) ──> queue
    this task  encode ≤ 2 ms, yield, encode ... ──> layer writer ──> on_written ──> Acked

Snapshots are finished in the order of their barriers, so an acknowledgement
covers every earlier generation, also those of aborted checkpoints: their layers
stay on the stack, and the next manifest lists them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from actorstream.errors import CodecError, StoreError
from actorstream.runtime.mailbox import Wakeup
from actorstream.runtime.messages import Acked, Declined, SnapshotReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.model.ids import CheckpointId, SubtaskId
    from actorstream.runtime.pace import Pace
    from actorstream.state.operator_state import Generation, OperatorState
    from actorstream.state.writer import LayerWriter

SLICE_SECONDS = 0.002
SLICE_ENTRIES = 250


@dataclass(slots=True)
class _Frozen:
    checkpoint: CheckpointId
    generation: Generation | None
    report: SnapshotReport


class Snapshots:
    """The queue of one subtask's frozen generations, and the task that makes them durable."""

    def __init__(
        self,
        subtask: SubtaskId,
        state: OperatorState | None,
        writer: LayerWriter,
        pace: Pace,
        tell: Callable[[Acked | Declined], None],
    ) -> None:
        """Start with nothing frozen."""
        self._subtask = subtask
        self._state = state
        self._writer = writer
        self._pace = pace
        self._tell = tell
        self._queue: deque[_Frozen] = deque()
        self._arrival = Wakeup()

    def submit(self, checkpoint: CheckpointId, generation: Generation | None, report: SnapshotReport) -> None:
        """Take over what the barrier froze; `report` lacks only the stacks."""
        self._queue.append(_Frozen(checkpoint, generation, report))
        self._arrival.wake()

    async def run(self) -> None:
        """Finish snapshots in order, for ever.

        Raises:
            CodecError: A key or value cannot be encoded: the job fails, with its name.
        """
        while True:
            while not self._queue:
                await self._arrival.wait()
            frozen = self._queue[0]
            try:
                report = await self._finish(frozen)
            except CodecError:
                raise
            except (OSError, StoreError) as error:
                self._give_up(error)
                continue
            self._queue.popleft()
            self._tell(Acked(self._subtask, frozen.checkpoint, report))

    async def _finish(self, frozen: _Frozen) -> SnapshotReport:
        state, generation = self._state, frozen.generation
        if state is None:
            return frozen.report
        entries = 0
        if generation is not None:
            parts = await self._encode(generation)
            entries = sum(map(len, parts))
            layer = await self._writer.write(self._subtask, parts) if entries else None
            state.on_written(generation, layer)
        stacks = tuple((run, tuple(layers)) for run, layers in state.stack.runs())
        return replace(frozen.report, stacks=stacks, entries=entries)

    async def _encode(self, generation: Generation) -> list[list[tuple[bytes, bytes]]]:
        parts: list[list[tuple[bytes, bytes]]] = []
        clock = self._pace.clock.monotonic
        while True:
            end = clock() + SLICE_SECONDS
            while clock() < end:
                parts.append(generation.encode(SLICE_ENTRIES))
                if generation.encoded:
                    return parts
            await self._pace.give_way()

    def _give_up(self, error: Exception) -> None:
        """Decline every queued snapshot: a later one must not be acknowledged without the earlier generation."""
        while self._queue:
            frozen = self._queue.popleft()
            if frozen.generation is not None and self._state is not None:
                self._state.on_write_failed(frozen.generation)
            self._tell(Declined(self._subtask, frozen.checkpoint, f"{type(error).__name__}: {error}"))
