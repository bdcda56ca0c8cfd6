"""A source in a replay: takes what the one order over all sources gives it, in place of reading for itself.

    order (replay_order.py) ──> Turn 7 | a b of split 0 | Turn 8 | end of split 1 | checkpoint 3 | Turn 9 ──> chain

Checkpoints, too, come by that way: the barriers of all sources stand before the same turn, so that whoever waits for
them at several lanes need not take records of a later turn meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from actorstream.model.batch import Batch
from actorstream.model.ids import ChannelIndex
from actorstream.runtime.mailbox import Mailbox, estimate_bytes
from actorstream.runtime.messages import AbortCheckpoint, SplitPosition, TriggerCheckpoint
from actorstream.runtime.source import FETCH_AHEAD_RECORDS, SourceSubtask
from actorstream.runtime.turns import InTurns, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorstream.graph.plan import Chain
    from actorstream.model.ids import SubtaskId
    from actorstream.model.signals import ChannelItem
    from actorstream.runtime.deployment import Deployment
    from actorstream.runtime.mailbox import Lane
    from actorstream.runtime.messages import ControlMessage
    from actorstream.state.operator_state import OperatorState


class Ordered(NamedTuple):
    """Records of a turn: of split `channel`, or of several where nobody tells them apart, and how far each was read."""

    channel: int
    values: list[object]
    timestamps: list[int] | None
    positions: dict[int, object]


class EndOfSplit(NamedTuple):
    """The split `channel` has no more records in this replay."""

    channel: int


class ReplayedSource(InTurns, SourceSubtask):
    """Takes records, ends of splits, turns and checkpoints from one lane."""

    def __init__(  # noqa: PLR0913, PLR0917  (what a source takes, and whom it asks)
        self,
        deployment: Deployment,
        chain: Chain,
        identity: SubtaskId,
        state: OperatorState | None,
        splits: Mapping[str, SplitPosition],
        process: object | None,
        ask: Callable[[TriggerCheckpoint | AbortCheckpoint], None],
    ) -> None:
        """Take what any source takes; `ask` gets checkpoints into the order."""
        super().__init__(deployment, chain, identity, state, splits, process)
        self.mailbox = Mailbox(1, FETCH_AHEAD_RECORDS)
        self._ask = ask

    @property
    def pumps(self) -> range:
        """Read nothing."""
        return range(0)

    @property
    def lane(self) -> Lane[ChannelItem]:
        """Where the order puts what comes next."""
        return self.mailbox.lanes[0]

    @property
    def tells_splits_apart(self) -> bool:
        """Whether anything in this actor asks which split a record is of."""
        return self.runner.time is not None

    async def begin(self) -> None:
        """End where every split had ended already."""
        if not self._open_splits:
            await self._end()
        elif self.runner.time is not None:
            self.runner.tell()

    def put(self, item: Ordered | EndOfSplit | Turn | ControlMessage) -> None:
        """Let this come next."""
        count = len(item.values) if isinstance(item, Ordered) else 0
        size_bytes = estimate_bytes(item.values) if isinstance(item, Ordered) else 0
        self.lane.put(cast("ChannelItem", item), count, size_bytes)

    async def _on_control(self, message: ControlMessage) -> None:
        if isinstance(message, TriggerCheckpoint | AbortCheckpoint) and not self.parked:
            self._ask(message)
        else:
            await super()._on_control(message)

    def _next_item(self) -> tuple[ChannelIndex, ChannelItem] | None:
        return (ChannelIndex(0), self.lane.take()) if self.lane.items and not self._drained else None

    async def _on_item(self, channel: ChannelIndex, item: ChannelItem) -> None:
        del channel
        match cast("object", item):
            case Turn() as turn:
                await self._on_turn(turn)
            case Ordered() as ordered:
                await self._on_records(ordered)
            case EndOfSplit(index):
                await self._on_split_end(ChannelIndex(index), self._splits[index])
            case TriggerCheckpoint() | AbortCheckpoint() as message:
                await super()._on_control(message)
            case _:
                await super()._on_item(ChannelIndex(0), item)

    async def _on_records(self, ordered: Ordered) -> None:
        split = self._splits[ordered.channel]
        timestamps = ordered.timestamps if self.chain.needs_timestamps else None
        origin = (split, ordered.positions[ordered.channel])
        self.last_record_us[split] = self.turn_clock.us
        await self.runner.work(Batch(ordered.values, timestamps, None, origin), ordered.channel)
        for index, position in ordered.positions.items():
            self.positions[self._splits[index]] = SplitPosition(position, finished=False)
        if self.runner.time is not None:
            await self._time_moved()
