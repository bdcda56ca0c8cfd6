"""One subtask's frozen generations, after the freeze: encode in slices, write, acknowledge.

    actor      ── freeze (O(1)) ──> queue
    this task  encode ≤ 2 ms, yield, encode … ──┬─ small: write, with others ──┬─> on_written ──> Acked
                                                └─ large: stream, run by run ──┘

Where barriers overtake, what was in flight follows when all of it is recorded: then the snapshot is acknowledged, and
its report has the stacks as of the barrier, however many layers have come since.

A barrier's snapshot is acknowledged; an early freeze, which saves memory, is written
in the same way and acknowledged to nobody.

Generations are finished in the order in which they were frozen, so an acknowledgement
covers every earlier one, early ones and those of aborted checkpoints too: their layers
stay on the stack, and the next manifest lists them. One that fails takes all that are
queued behind it along: each goes out again with the next freeze, and no barrier is
acknowledged without the entries before it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from anyio import move_on_after

from actorstream.errors import StoreError
from actorstream.runtime.in_flight import write_in_flight
from actorstream.runtime.mailbox import Wakeup
from actorstream.runtime.messages import Acked, Declined, SnapshotReport
from actorstream.state.writer import SMALL_BYTES, SMALL_ENTRIES
from actorstream.system.log import log

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.checkpoints.in_flight import InFlightWriter
    from actorstream.model.ids import CheckpointId, SubtaskId
    from actorstream.runtime.pace import Pace
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer
    from actorstream.state.operator_state import Generation, OperatorState
    from actorstream.state.writer import LayerWriter

RUN_ENTRIES = 2_000
"""No run handed to the writer is longer."""
STEP_ENTRIES = 250
RETRY_SECONDS = 1.0
"""After an early freeze has failed, the next one waits so long, unless a barrier comes: no storm on a full disk."""

_STEP_SECONDS = 0.0005


@dataclass(slots=True)
class _Frozen:
    """What was frozen at one moment; `checkpoint` None: early, for no barrier; `ended`: nothing comes after it.

    `whole`: else what was in flight is still being recorded. With `in_flight` that is what this is.
    """

    checkpoint: CheckpointId | None
    generation: Generation | None
    report: SnapshotReport
    ended: bool = False
    whole: bool = True
    in_flight: InFlightWriter | None = None


class Snapshots:
    """The queue of one subtask's frozen generations, and the task that makes them durable."""

    def __init__(
        self,
        subtask: SubtaskId,
        state: OperatorState | None,
        writer: LayerWriter,
        pace: Pace,
        tell: Callable[[Acked | Declined], None],
        settled: Callable[[], None] | None = None,
    ) -> None:
        """Start with nothing frozen; `settled` is called after each step in which `waiting` may have become less."""
        self._subtask = subtask
        self._state = state
        self._writer = writer
        self._pace = pace
        self._tell = tell
        self._settled = settled
        self._queue: deque[_Frozen] = deque()
        self._arrival = Wakeup()
        self._step = 1
        self._retry_at = 0.0
        self._incomplete: tuple[CheckpointId, SnapshotReport] | None = None
        self._forgotten: CheckpointId | None = None

    @property
    def waiting(self) -> int:
        """How many generations were submitted, and are neither durable nor taken back."""
        return sum(frozen.generation is not None for frozen in self._queue)

    @property
    def is_at_rest(self) -> bool:
        """Tell whether there is nothing to encode or write."""
        return not self._queue and self._arrival.is_waited_for

    @property
    def reporting(self) -> bool:
        """Tell whether a snapshot is on its way whose report does not list its layers yet."""
        return any(frozen.checkpoint is not None and frozen.in_flight is None for frozen in self._queue)

    def submit(
        self,
        checkpoint: CheckpointId,
        generation: Generation | None,
        report: SnapshotReport,
        *,
        ended: bool = False,
        whole: bool = True,
    ) -> None:
        """Take over what the barrier froze; `report` lacks only the stacks.

        `ended`: the subtask computes no more. Without `whole` it is acknowledged after `complete`.
        """
        self._queue.append(_Frozen(checkpoint, generation, report, ended, whole))
        self._arrival.wake()

    def complete(self, checkpoint: CheckpointId, in_flight: InFlightWriter) -> None:
        """Take over what was in flight at a barrier whose state was submitted."""
        self._queue.append(_Frozen(checkpoint, None, SnapshotReport(), in_flight=in_flight))
        self._arrival.wake()

    def forget(self, checkpoint: CheckpointId) -> None:
        """Acknowledge this checkpoint never: it was given up before all in flight was recorded."""
        self._forgotten = checkpoint
        if self._incomplete is not None and self._incomplete[0] <= checkpoint:
            self._incomplete = None

    def submit_early(self, generation: Generation) -> None:
        """Take over what was frozen to save memory. If it cannot be written, it goes out with the next freeze."""
        self._queue.append(_Frozen(None, generation, SnapshotReport()))
        self._arrival.wake()

    async def run(self) -> None:
        """Finish generations in order, for ever.

        Raises:
            CodecError: A key or value cannot be encoded: the job fails, with its name.
        """
        while True:
            while not self._queue:
                await self._arrival.wait()
            frozen = self._queue[0]
            if frozen.checkpoint is None:
                await self._pause_after_failure()
            try:
                report = await (self._finish(frozen) if frozen.in_flight is None else self._finish_in_flight(frozen))
            except (OSError, StoreError) as error:
                self._give_up(error)
            else:
                self._queue.popleft()
                self._on_finished(frozen, report)
            if self._settled is not None:
                self._settled()

    def _on_finished(self, frozen: _Frozen, report: SnapshotReport | None) -> None:
        checkpoint = frozen.checkpoint
        if checkpoint is None or report is None:
            return
        if frozen.whole:
            self._tell(Acked(self._subtask, checkpoint, report))
        elif self._forgotten is None or checkpoint > self._forgotten:
            self._incomplete = checkpoint, report

    async def _finish_in_flight(self, frozen: _Frozen) -> SnapshotReport | None:
        """Write what was in flight; None where the state before it could not be written, and was declined."""
        incomplete, self._incomplete = self._incomplete, None
        if frozen.in_flight is None or incomplete is None or incomplete[0] != frozen.checkpoint:
            return None
        in_flight = await write_in_flight(self._writer, self._subtask, frozen.in_flight)
        return replace(incomplete[1], in_flight=in_flight)

    async def _finish(self, frozen: _Frozen) -> SnapshotReport:
        state, generation = self._state, frozen.generation
        if state is None:
            return frozen.report
        if generation is not None:
            state.on_written(generation, await self._make_durable(generation, calm=frozen.ended))
        stacks = tuple((run, tuple(layers)) for run, layers in state.stack.runs())
        return replace(frozen.report, stacks=stacks, entries=generation.entries if generation is not None else 0)

    async def _make_durable(self, generation: Generation, *, calm: bool) -> Layer | None:
        writer, share = self._writer, self._writer.encoding
        parts: list[list[Entry]] = []
        try:
            if await self._encode_small(generation, parts):
                return await writer.write(self._subtask, parts) if generation.entries else None
            async with writer.streaming, writer.stream(self._subtask, calm=calm) as stream:
                while parts:
                    share.let_go(len(parts[0]))
                    await stream.send(parts.pop(0))
                while not generation.encoded:
                    await stream.send(await self._next_run(generation))
                return await stream.finish()
        finally:
            share.let_go(sum(map(len, parts)))

    async def _encode_small(self, generation: Generation, parts: list[list[Entry]]) -> bool:
        """Encode a small generation into `parts`, or the beginning of a large one; tell whether that is all."""
        share = self._writer.encoding
        size = 0
        with share.gathering():
            await share.wait_to_begin()
            while generation.entries <= SMALL_ENTRIES and size <= SMALL_BYTES:
                if generation.encoded:
                    return True
                parts.append(await self._next_run(generation))
                share.hold(len(parts[-1]))
                size += sum(len(key) + len(value) for key, value in parts[-1])
        return False

    async def _next_run(self, generation: Generation) -> list[Entry]:
        """Encode what there is time for in this turn of the loop."""
        share, clock = self._writer.encoding, self._pace.clock.monotonic
        await share.wait_turn()
        run: list[Entry] = []
        while True:
            begun = clock()
            run += generation.encode(self._step)
            # Large values: fewer at a time, so that no step is much longer than the slice.
            took = clock() - begun
            self._step = min(2 * self._step, STEP_ENTRIES) if took < _STEP_SECONDS else max(self._step // 2, 1)
            if generation.encoded or len(run) > RUN_ENTRIES - STEP_ENTRIES or not share.time_left():
                return run

    async def _pause_after_failure(self) -> None:
        """Wait until an early freeze may be tried again, or a barrier waits behind it."""
        pause = self._retry_at - self._pace.clock.monotonic()
        if pause > 0:
            with move_on_after(pause):
                while all(frozen.checkpoint is None for frozen in self._queue):
                    await self._arrival.wait()

    def _give_up(self, error: Exception) -> None:
        """Take back and decline all that is queued: a later one must not be acknowledged without the earlier one."""
        reason = f"{type(error).__name__}: {error}"
        while self._queue:
            frozen = self._queue.popleft()
            if frozen.generation is not None and self._state is not None:
                self._state.on_write_failed(frozen.generation)
            if frozen.checkpoint is not None:
                self._tell(Declined(self._subtask, frozen.checkpoint, reason))
            else:
                self._retry_at = self._pace.clock.monotonic() + RETRY_SECONDS
                log.warning("early freeze failed", subtask=str(self._subtask), reason=reason)
