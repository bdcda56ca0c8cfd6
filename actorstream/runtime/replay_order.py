"""The one order of a replay, over all splits of all sources, cut into turns.

    orders 0     10:00 a   10:00 b   10:07 c  ─┐
    orders 1     10:03 d                      ─┼─ by (time, source, split, offset) ─> a b │ x │ d │ c y
    payments 0   10:01 x   10:07 y            ─┘                                      one source a turn

A record's time is that at which it came into its log, made monotone within its split: there the offset decides. What
has no such time, a sequence in memory, comes before all logs. So the order is a property of what was recorded: it
knows neither batches nor actors nor the machine's clock.

A turn is a stretch of that order from one source, and the clock of processing time stands still in it. How long it is
follows from the plan (`Grain`), so that whoever looks at the clock finds the time of the record it works on, and
so that two ways from one source to one actor are gone record by record.

A split that was read to the end of the replay ends there and then: nobody waits for it, since nothing will come.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import accumulate, count
from typing import TYPE_CHECKING, NamedTuple, cast

from actorstream.graph.awaited import AsyncSpec
from actorstream.graph.nodes import awaits
from actorstream.model.connect import offset_behind
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.runtime.async_subtask import AsyncTurnSubtask
from actorstream.runtime.key_subtask import KeyTurnSubtask
from actorstream.runtime.mailbox import Wakeup
from actorstream.runtime.replay_source import EndOfSplit, Ordered, ReplayedSource
from actorstream.runtime.turns import Turn, TurnSubtask, with_turn_clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from actorstream.graph.nodes import SourceSpec
    from actorstream.graph.plan import Chain
    from actorstream.graph.replaying import Grain
    from actorstream.model.connect import Fetched
    from actorstream.model.ids import SubtaskId
    from actorstream.model.world import Clock
    from actorstream.runtime.deployment import Deployment
    from actorstream.runtime.messages import AbortCheckpoint, SplitPosition, TriggerCheckpoint
    from actorstream.state.operator_state import OperatorState

_TELL_SECONDS = 0.25


class Reading(NamedTuple):
    """What is read of one split, at most: offsets, half-open."""

    first: int
    end: int


class ReplayProgress(NamedTuple):
    """How far a replay has come: records done and in all, seconds so far, and about how many are to come."""

    records: int
    of: int
    seconds: float
    eta: float | None


def _nobody(progress: ReplayProgress) -> None:
    del progress


@dataclass(frozen=True, slots=True)
class Replaying:
    """What makes a run a replay.

    Attributes:
        grain: How turns are cut.
        readings: What is read, by source and split.
        behind: By source, what gives the offset that follows a position in a split.
        start_us: What the clock shows before the first record; None: the time of the first record.
        progress: Told now and then how far the replay has come.
    """

    grain: Grain
    readings: Mapping[str, Mapping[str, Reading]]
    behind: Mapping[str, Callable[[int, int], int]] = field(default_factory=dict)
    start_us: int | None = None
    progress: Callable[[ReplayProgress], object] = field(default=_nobody)


class _Head:
    """One split, and the records of it that come next."""

    def __init__(self, source: ReplayedSource, channel: int, split: str, rank: tuple[int, int]) -> None:
        self.source = source
        self.channel = channel
        self.rank = rank
        self.values: Sequence[object] = ()
        self.timestamps: list[int] | None = None
        self.times: list[int] = []
        self.at = 0
        self._position: object = None
        self._newest = TIME_MIN
        spec = cast("SourceSpec", source.chain.head.spec)
        after = source.positions[split].position
        self._fetches = cast("AsyncIterator[Fetched[object, object]]", spec.source.read(split, after))

    @property
    def time(self) -> int:
        """The time of the next record, as the order counts it."""
        return self.times[self.at]

    async def fill(self) -> bool:
        """See to it that there is a next record; False at the end."""
        while self.at == len(self.times):
            fetched = await anext(self._fetches, None)
            if fetched is None:
                return False
            self.values, self._position, self.at = fetched.values, fetched.position, 0
            if fetched.timestamps is None:
                self.timestamps, self.times = None, [TIME_MIN] * len(fetched.values)
            else:
                self.timestamps = [round(seconds * 1_000_000) for seconds in fetched.timestamps]
                self.times = list(accumulate(self.timestamps, max, initial=self._newest))[1:]
                self._newest = self.times[-1] if self.times else self._newest
        return True

    def run(self, left: int, before: tuple[int, tuple[int, int]] | None, until_us: int) -> int:
        """Give how many records come in one go: at most `left`, all before another split's, and before a time."""
        end = min(len(self.times), self.at + left)
        if before is not None:
            bisect = bisect_left if before[1] < self.rank else bisect_right
            end = bisect(self.times, before[0], self.at, end)
        return bisect_left(self.times, until_us, self.at, end) - self.at

    def take(self, size: int) -> tuple[list[object], list[int] | None, object]:
        """Give that many records, with the position of the last."""
        start, end = self.at, self.at + size
        self.at = end
        position = self._position
        if end < len(self.times):
            # Positions grow by one a record, so an earlier one's is as many below.
            position = cast("int", position) - (len(self.times) - end)
        timestamps = None if self.timestamps is None else self.timestamps[start:end]
        values = self.values[start:end]
        return values if isinstance(values, list) else list(values), timestamps, position

    async def close(self) -> None:
        aclose = getattr(self._fetches, "aclose", None)
        if aclose is not None:
            await aclose()


class ReplayOrder:
    """Reads all splits, and gives each source its records, turns and checkpoints."""

    def __init__(self, replaying: Replaying, clock: Clock) -> None:
        """Know no source yet; `clock` is the machine's."""
        self._replaying = replaying
        self._clock = clock
        self._sources: list[ReplayedSource] = []
        self._asked: list[TriggerCheckpoint | AbortCheckpoint] = []
        self._newest_asked: dict[type, int] = {}
        self._arrival = Wakeup()
        self._numbers = count(1)
        self._now_us = replaying.start_us or 0
        self._done = self._of = 0
        self._began = self._told = clock.monotonic()

    # ---- the actors of a replay

    def source(
        self,
        deployment: Deployment,
        chain: Chain,
        identity: SubtaskId,
        state: OperatorState | None,
        splits: Mapping[str, SplitPosition],
        process: object | None,
    ) -> ReplayedSource:
        """Make the actor of a source; the order reads for it."""
        own = with_turn_clock(deployment, self._now_us)
        source = ReplayedSource(own, chain, identity, state, splits, process, self.ask)
        self._sources.append(source)
        return source

    def subtask(
        self,
        deployment: Deployment,
        chain: Chain,
        identity: SubtaskId,
        state: OperatorState | None,
        channels: int,
        process: object | None,
    ) -> TurnSubtask:
        """Make the actor of what is behind sources."""
        actor: type[TurnSubtask] = TurnSubtask
        if awaits(chain.head.spec):
            actor = AsyncTurnSubtask if isinstance(chain.head.spec, AsyncSpec) else KeyTurnSubtask
        return actor(with_turn_clock(deployment, self._now_us), chain, identity, state, channels, process)

    def ask(self, message: TriggerCheckpoint | AbortCheckpoint) -> None:
        """Let all sources have a message before the next turn; each of them is told it and asks, once is enough."""
        kind = type(message)
        if message.checkpoint > self._newest_asked.get(kind, 0):
            self._newest_asked[kind] = message.checkpoint
            self._asked.append(message)
            self._arrival.wake()

    # ---- the order

    async def run(self) -> None:
        """Read to the end; after that, only checkpoints are passed on."""
        heads = self._heads()
        try:
            await self._read(heads)
        finally:
            for head in heads:
                await head.close()
        self._tell(at_end=True)
        while True:
            self._pass_on_asked()
            await self._arrival.wait()

    def _heads(self) -> list[_Head]:
        heads = []
        for number, source in enumerate(sorted(self._sources, key=lambda each: each.chain.head.id)):
            name = source.chain.head.name
            readings, behind = self._replaying.readings[name], self._replaying.behind.get(name, offset_behind)
            for channel, split in enumerate(source.parts):
                heads.append(_Head(source, channel, split, (number, int(split))))
                (first, end), place = readings[split], source.positions[split].position
                self._of += max(0, end - (first if place is None else behind(cast("int", place), int(split))))
        return heads

    async def _read(self, heads: Sequence[_Head]) -> None:
        waiting: list[tuple[int, tuple[int, int], _Head]] = []
        for head in heads:
            await self._push(waiting, head)
        if self._replaying.start_us is None and waiting:
            self._now_us = min((time for time, _, _ in waiting if time != TIME_MIN), default=self._now_us)
        while waiting:
            self._pass_on_asked()
            source = waiting[0][2].source
            if not source.lane.has_credit():
                await source.lane.wait_credit()
                continue
            await self._turn(waiting)
            if self._clock.monotonic() - self._told >= _TELL_SECONDS:
                self._tell(at_end=False)

    async def _push(self, waiting: list[tuple[int, tuple[int, int], _Head]], head: _Head) -> None:
        if await head.fill():
            heappush(waiting, (head.time, head.rank, head))
        else:
            head.source.put(EndOfSplit(head.channel))

    async def _turn(self, waiting: list[tuple[int, tuple[int, int], _Head]]) -> None:
        """Give out one turn; the splits that end with it end behind it."""
        grain, first_us = self._replaying.grain, waiting[0][0]
        source = waiting[0][2].source
        self._now_us = max(self._now_us, first_us)
        turn = Turn(next(self._numbers), self._now_us)
        for each in self._sources:
            each.put(turn)
        left, until_us = grain.records, min(first_us + grain.span_us + 1, TIME_MAX)
        together: list[Ordered] = []
        ended: list[_Head] = []
        while left and waiting and waiting[0][2].source is source and waiting[0][0] < until_us:
            _, _, head = heappop(waiting)
            size = head.run(left, waiting[0][:2] if waiting else None, until_us)
            values, timestamps, position = head.take(size)
            left -= size
            _join(together, Ordered(head.channel, values, timestamps, {head.channel: position}), source)
            if await head.fill():
                heappush(waiting, (head.time, head.rank, head))
            else:
                ended.append(head)
        for records in together:
            source.put(records)
        for head in ended:
            source.put(EndOfSplit(head.channel))
        self._done += grain.records - left

    def _pass_on_asked(self) -> None:
        for message in self._asked:
            for source in self._sources:
                source.put(message)
        self._asked.clear()

    def _tell(self, *, at_end: bool) -> None:
        self._told = now = self._clock.monotonic()
        self._of = max(self._of, self._done)  # a log that was promoted since it was looked at may have more
        seconds = now - self._began
        rate = self._done / seconds if seconds > 0 else 0.0
        eta = 0.0 if at_end else (self._of - self._done) / rate if rate else None
        self._replaying.progress(ReplayProgress(self._done, self._of, seconds, eta))


def _join(together: list[Ordered], more: Ordered, source: ReplayedSource) -> None:
    """Add records to a turn: to those before them, where nobody asks of which split they are."""
    if not together or (source.tells_splits_apart and together[-1].channel != more.channel):
        together.append(more)
        return
    last = together[-1]
    last.values.extend(more.values)
    if last.timestamps is not None and more.timestamps is not None:
        last.timestamps.extend(more.timestamps)
    last.positions.update(more.positions)
