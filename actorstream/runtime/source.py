"""A source's actor: its lanes are splits, each filled by a pump task of its own.

    pump "0"  anext ──> lane 0 ──┐
    pump "1"  anext ──> lane 1 ──┴─> chain ──> outputs        positions["0"] = last emitted

A pump is never cancelled to take a barrier: an async generator whose `anext` is
cancelled has ended (T133). The snapshot's position is that of the last *emitted*
record (T99); what waits in a lane is not part of it and is read again. `Fetched`
is atomic: a barrier never falls inside one, since control is served only
between two items.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from anyio import CancelScope

from actorstream.errors import ActorstreamError, InvariantError, UserCodeError
from actorstream.graph.nodes import SourceSpec
from actorstream.model.batch import Batch
from actorstream.model.signals import EndOfInput
from actorstream.runtime.mailbox import Mailbox, estimate_bytes
from actorstream.runtime.messages import SnapshotReport, SplitPosition
from actorstream.runtime.subtask import CLOSE_SECONDS, Subtask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorstream.graph.plan import Chain
    from actorstream.model.connect import Fetched
    from actorstream.model.ids import ChannelIndex, SubtaskId
    from actorstream.model.signals import ChannelItem
    from actorstream.runtime.deployment import Deployment

FETCH_AHEAD_RECORDS = 1_024
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Read:
    fetched: Fetched[object, object]


class SourceSubtask(Subtask):
    """Reads its share of the splits, each from where the restored checkpoint left it."""

    def __init__(
        self, deployment: Deployment, chain: Chain, identity: SubtaskId, splits: Mapping[str, SplitPosition]
    ) -> None:
        """Take the splits of this subtask with their restored positions."""
        super().__init__(deployment, chain, identity, None, 0)
        self.positions = dict(splits)
        self._splits = [split for split, position in splits.items() if not position.finished]
        self.mailbox = Mailbox(len(self._splits), FETCH_AHEAD_RECORDS)
        self._open_splits = len(self._splits)

    def begin(self) -> None:
        """Start without input where every split had ended already."""
        if not self._open_splits:
            self._end()

    async def pump(self, index: int) -> None:
        """Read one split into its lane until it ends."""
        lane, split = self.mailbox.lanes[index], self._splits[index]
        spec = self.chain.head.spec
        if not isinstance(spec, SourceSpec):
            raise InvariantError(f"{self.chain.head.name} is no source")
        after = self.positions[split].position
        reading = spec.source.read(split, after)
        try:
            async for fetched in reading:
                # Without values it says where reading begins: the snapshot should know that.
                values = fetched.values
                size_bytes = estimate_bytes(values) if values else 0
                lane.put(cast("ChannelItem", _Read(fetched)), max(1, len(values)), size_bytes)
                if not lane.has_credit():
                    await lane.wait_credit()
        finally:
            if isinstance(reading, AsyncGenerator):
                with CancelScope(shield=True, deadline=self.deployment.deadline(CLOSE_SECONDS)):
                    await reading.aclose()
        lane.put(EndOfInput())

    @property
    def pumps(self) -> range:
        """Give the index of every split that is still to be read."""
        return range(len(self._splits))

    async def _on_item(self, channel: ChannelIndex, item: ChannelItem) -> None:
        split = self._splits[channel]
        if isinstance(item, EndOfInput):
            self.positions[split] = SplitPosition(self.positions[split].position, finished=True)
            self._open_splits -= 1
            if not self._open_splits:
                self._end()
            return
        fetched = cast("_Read", item).fetched
        values = fetched.values if isinstance(fetched.values, list) else list(fetched.values)
        timestamps = None
        if self.chain.needs_timestamps and fetched.timestamps is not None:
            timestamps = [round(seconds * _MICROSECONDS) for seconds in fetched.timestamps]
        if values:
            await self.runner.work(Batch(values, timestamps, None, (split, fetched.position)))
        self.positions[split] = SplitPosition(fetched.position, finished=False)

    def report(self) -> SnapshotReport:
        """Give the positions of everything emitted so far, beside what every subtask reports."""
        return SnapshotReport(positions=dict(self.positions), pending=super().report().pending)

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
