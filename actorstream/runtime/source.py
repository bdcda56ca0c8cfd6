"""A source's actor: its lanes are splits, each filled by a pump task of its own.

    pump "0"  anext ──> lane 0 ──┐
    pump "1"  anext ──> lane 1 ──┴─> chain ──> outputs        positions["0"] = last emitted
    records in memory  ── take ──^                            no pump, no lane: 30 µs a batch less

A pump is never cancelled to take a barrier: an async generator whose `anext` is
cancelled has ended (T133). The snapshot's position is that of the last *emitted*
record (T99); what waits in a lane is not part of it and is read again. `Fetched`
is atomic: a barrier never falls inside one, since control is served only
between two items.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

from actorstream.errors import ActorstreamError, InvariantError, UserCodeError
from actorstream.graph.nodes import SourceSpec
from actorstream.model.batch import Batch, SampledOrigin
from actorstream.model.connect import InMemorySource
from actorstream.model.ids import ChannelIndex
from actorstream.model.signals import EndOfInput
from actorstream.protocol.idleness import ALIGNMENT
from actorstream.runtime.mailbox import Mailbox, estimate_bytes
from actorstream.runtime.messages import DrainSource, SnapshotReport, SplitPosition, SplitWatermark, TriggerCheckpoint
from actorstream.runtime.operator_life import CLOSE_SECONDS
from actorstream.runtime.statistics import SAMPLE_US
from actorstream.runtime.subtask import Subtask
from actorstream.system.cancelled_once import cancelled_once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorstream.graph.plan import Chain
    from actorstream.model.connect import Fetched
    from actorstream.model.ids import SubtaskId
    from actorstream.model.signals import ChannelItem
    from actorstream.runtime.deployment import Deployment
    from actorstream.runtime.mailbox import Lane
    from actorstream.runtime.messages import ControlMessage
    from actorstream.state.operator_state import OperatorState

FETCH_AHEAD_RECORDS = 1_024
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Read:
    fetched: Fetched[object, object]


class _Ready:
    """Stands in for an item: the split has records in memory."""


_READY = cast("ChannelItem", _Ready())


class SourceSubtask(Subtask):
    """Reads its share of the splits, each from where the restored checkpoint left it."""

    def __init__(
        self,
        deployment: Deployment,
        chain: Chain,
        identity: SubtaskId,
        state: OperatorState | None,
        splits: Mapping[str, SplitPosition],
        process: object | None = None,
    ) -> None:
        """Take the splits of this subtask with their restored positions; for the rest see `Subtask`."""
        super().__init__(deployment, chain, identity, state, 0, process)
        self.positions = dict(splits)
        self._splits = [split for split, position in splits.items() if not position.finished]
        self.mailbox = Mailbox(len(self._splits), FETCH_AHEAD_RECORDS)
        self._open_splits = len(self._splits)
        source = cast("SourceSpec", chain.head.spec).source
        self._in_memory = source if isinstance(source, InMemorySource) else None
        self._ready: deque[ChannelIndex] = deque()
        self._groups: list[str] = []
        self._drained = False
        self._sampled_us = -SAMPLE_US
        self.last_record_us: dict[str, int] = {}
        self._deferred: deque[ControlMessage] = deque()
        self._held_records = {split for split, place in splits.items() if place.position is not None}

    async def begin(self) -> None:
        """Start to take what is in memory; end where every split had ended already."""
        if self._in_memory is not None:
            self._ready.extend(map(ChannelIndex, range(len(self._splits))))
            self.mailbox.arrival.wake()
        time = self.runner.time
        if not self._open_splits:
            await self._end()
        elif time is not None:
            for group, drift_us, part, _, _ in time.alignments():
                if group not in self._groups:
                    self._groups.append(group)
                self.deployment.aligned.join(group, drift_us, self._member(part), partial(self._pause, part))
            self.runner.tell()

    def _member(self, part: int) -> tuple[str, int, str]:
        return self.identity.chain, self.identity.subtask, self._splits[part]

    def _pause(self, part: int, pause: bool) -> None:  # noqa: FBT001  (a state, not a flag)
        """Read no more of a split, which is far ahead of others, or go on with it."""
        time, lane = self.runner.time, self.mailbox.lanes[part]
        lane.blocked = pause
        if time is not None:
            (time.pause if pause else time.resume)(ALIGNMENT, part)
        if not pause:
            self.mailbox.arrival.wake()

    async def _time_moved(self) -> None:
        await super()._time_moved()
        if self._groups and self.runner.time is not None:
            for group, _, part, watermark, idle in self.runner.time.alignments():
                self.deployment.aligned.report(group, self._member(part), watermark, idle=idle)

    async def pump(self, index: int) -> None:
        """Read one split into its lane until it ends."""
        split = self._splits[index]
        name = f"{self.chain.head.name}: split {split!r}"
        lane = self.mailbox.lanes[index]
        await cancelled_once(self.read_split(split, lane), partial(self.deployment.deadline, CLOSE_SECONDS), name=name)
        lane.put(EndOfInput())

    async def read_split(self, split: str, lane: Lane[ChannelItem]) -> None:
        """Put what a split gives into its lane, as fast as that is emptied; close the reading, whatever ends it."""
        spec = self.chain.head.spec
        if not isinstance(spec, SourceSpec):
            raise InvariantError(f"{self.chain.head.name} is no source")
        reading = spec.source.read(split, self.positions[split].position)
        async with aclosing(reading) if isinstance(reading, AsyncGenerator) else nullcontext():
            async for fetched in reading:
                if isinstance(fetched, SplitWatermark):
                    lane.put(cast("ChannelItem", fetched), 1)
                    continue
                # Without values it says where reading begins: the snapshot should know that.
                values = fetched.values
                size_bytes = estimate_bytes(values) if values else 0
                lane.put(cast("ChannelItem", _Read(fetched)), max(1, len(values)), size_bytes)
                if not lane.has_credit():
                    await lane.wait_credit()

    @property
    def pumps(self) -> range:
        """Give the index of every split that a task has to read."""
        return range(0 if self._in_memory is not None else len(self._splits))

    async def _on_control(self, message: ControlMessage) -> None:
        if self._deferred or (self.mailbox.front and self._waits_for_front(message)):
            self._deferred.append(message)
            self.runner.hurries |= not isinstance(message, TriggerCheckpoint) or message.settled
        else:
            await (self._drain() if isinstance(message, DrainSource) else super()._on_control(message))

    def _waits_for_front(self, message: ControlMessage) -> bool:
        """Tell whether to work through what was taken first: its position is told already, and it is emitted nowhere.

        A barrier that may overtake need not wait: then it is in flight. Nor need one whose records wait for a throttle.
        """
        if not isinstance(message, TriggerCheckpoint):
            return isinstance(message, DrainSource)
        if self.overtaking is None or message.settled:
            return True
        if message.overtakes_us is None or self.runner.throttles:
            return not self.runner.throttles
        now_us = self.overtaking.now_us()
        if now_us < message.overtakes_us:
            self.overtaking.look_at(message.overtakes_us)
        return now_us < message.overtakes_us

    async def _catch_up(self) -> None:
        """Take the messages that have waited for what was taken before."""
        deferred, self._deferred = self._deferred, deque()
        self.runner.hurries = False
        for message in deferred:
            await self._on_control(message)

    async def _overtake(self) -> None:
        await super()._overtake()
        await self._catch_up()

    async def _drain(self) -> None:
        """End here: what was read ahead is not taken, and the positions stay unfinished."""
        if self._open_splits:
            self._drained = True
            self._open_splits = 0
            for split in self._splits:
                for group in self._groups:
                    self.deployment.aligned.leave(group, (self.identity.chain, self.identity.subtask, split))
            await self._end()

    def _next_item(self) -> tuple[ChannelIndex, ChannelItem] | None:
        if self._drained:
            return None
        for _ in range(len(self._ready)):
            self._ready.rotate(-1)
            if not self.mailbox.lanes[self._ready[-1]].blocked:
                return self._ready[-1], _READY
        return super()._next_item()

    async def _on_item(self, channel: ChannelIndex, item: ChannelItem) -> None:
        await self._work_on(channel, item)
        if self._deferred and not self.mailbox.front:
            await self._catch_up()

    async def _work_on(self, channel: ChannelIndex, item: ChannelItem) -> None:
        split = self._splits[channel]
        if item is _READY:
            await self._take(channel, split)
            return
        if isinstance(item, EndOfInput):
            await self._on_split_end(channel, split)
            return
        time = self.runner.time
        if isinstance(item, Batch):
            self._put_back(channel, await self.runner.work(item, channel))
            if time is not None:
                await self._time_moved()
            return
        if isinstance(item, SplitWatermark):
            self.positions[split] = SplitPosition(item.position, finished=False)
            if time is not None:
                time.on_watermark(channel, item.time_us)
                await self._time_moved()
            return
        await self._on_fetched(channel, split, cast("_Read", item).fetched)

    async def _on_fetched(self, channel: ChannelIndex, split: str, fetched: Fetched[object, object]) -> None:
        time = self.runner.time
        values = fetched.values if isinstance(fetched.values, list) else list(fetched.values)
        timestamps = None
        if self.chain.needs_timestamps and fetched.timestamps is not None:
            timestamps = [round(seconds * _MICROSECONDS) for seconds in fetched.timestamps]
        if values:
            batch = Batch(values, timestamps, None, self._origin_of(split, fetched.position))
            self._put_back(channel, await self.runner.work(batch, channel))
        self.positions[split] = SplitPosition(fetched.position, finished=False)
        if time is not None:
            if values:
                self._held_records.add(split)
            elif fetched.caught_up and split not in self._held_records:
                time.on_idle(channel)  # there is nothing to wait for: an empty partition holds nobody back
            await self._time_moved()

    def _origin_of(self, split: str, position: object) -> tuple[str, object]:
        """Say where a batch was read; now and then one is timed on its way."""
        now_us = self.last_record_us[split] = self.deployment.world.clock.now_us()
        if 0 <= now_us - self._sampled_us < SAMPLE_US:
            return split, position
        self._sampled_us = now_us
        return SampledOrigin.begin(split, position, self.deployment.pace.clock.monotonic())

    async def _take(self, channel: ChannelIndex, split: str) -> None:
        """Do one piece of a split in memory: what fits into a burst, with no copy."""
        source = cast("InMemorySource[object, object]", self._in_memory)
        try:
            taken = source.take_in_memory(split, self.positions[split].position, self.runner.allowance())
        except Exception as error:
            raise self.blame_read(split, error) from error
        if taken is None:
            self._ready.remove(channel)
            await self._on_split_end(channel, split)
            return
        runner = self.runner
        batch = Batch(cast("list[object]", taken.values), None, None, self._origin_of(split, taken.position))
        if runner.time is None:
            await runner.piece(batch, taken.start, taken.length)
        else:
            runner.time.begin(channel, None)
            await runner.piece(batch, taken.start, taken.length, last=channel)
        if runner.left:
            values = batch.values[: taken.start + taken.length]
            whole = Batch(values, None, None, batch.origin)
            self._put_back(channel, runner.rest_of(whole, len(values) - runner.left, channel))
        self.positions[split] = SplitPosition(taken.position, finished=False)
        if runner.time is not None:
            await self._time_moved()

    async def _on_split_end(self, channel: ChannelIndex, split: str) -> None:
        self.positions[split] = SplitPosition(self.positions[split].position, finished=True)
        self._open_splits -= 1
        for group in self._groups:
            self.deployment.aligned.leave(group, self._member(channel))
        if self.runner.time is not None:
            self.runner.time.on_end(channel)
        if not self._open_splits:
            await self._end()
        elif self.runner.time is not None:
            await self._time_moved()

    def report(self) -> SnapshotReport:
        """Give the positions of everything emitted so far, beside what every subtask reports."""
        return replace(super().report(), positions=dict(self.positions))

    @property
    def parts(self) -> list[str]:
        """Name the splits that are read."""
        return self._splits

    def blame_read(self, split: str, error: Exception) -> Exception:
        """Say which source's `read` raised; our own errors stay what they are."""
        if isinstance(error, ActorstreamError):
            return error
        name = self.chain.head.name
        failure = UserCodeError(
            f"source {name} (subtask {self.identity.subtask}) raised {type(error).__name__} while reading split "
            f"{split!r} after position {self.positions[split].position!r}: {error}",
            operator=name,
            subtask=self.identity.subtask,
            position=(split, self.positions[split].position),
        )
        failure.__cause__ = error
        return failure

    def split_of(self, index: int) -> str:
        """Name the split of a pump."""
        return self._splits[index]
