"""Keeps operators from sharing objects, and finds the one that changes a record which others may see.

    map ──[a]──> filter          one job: both hold the same object a
    map ──[a]──|codec|──[a']──> filter          isolated: each has its own, and each is looked at again

Where operators run in one actor they hand on live objects, so a record that is changed after it was emitted changes
for everyone who has it: for another branch of the pipeline, for state, for a snapshot that is being written. Between
two processes it would not. Here every operator is an actor of its own, records go one by one and through the codec,
and both ends of a channel are compared afterwards with what was sent: what changed at the sender's end the sender
changed, what changed at the receiver's end the receiver.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, cast

from actorstream.codec.frames import decode_item, encode_item
from actorstream.codec.values import SELF_DESCRIBING, is_immutable
from actorstream.errors import ActorstreamError, CodecError
from actorstream.graph.nodes import AssignSpec
from actorstream.model.batch import Batch

if TYPE_CHECKING:
    from collections import deque

    from actorstream.graph.nodes import LogicalGraph, NodeId
    from actorstream.model.signals import ChannelItem
    from actorstream.runtime.built import Built
    from actorstream.runtime.mailbox import Lane, Wakeup


class RecordChangedError(ActorstreamError, AssertionError):
    """An operator changes records that are not, or no longer, its own."""


class _Watched(NamedTuple):
    """A record at one end of a channel, and its bytes when it was sent."""

    operator: str
    how: str
    value: object
    sent: bytes


class Isolation:
    """Watches all channels of a job."""

    def __init__(self) -> None:
        """Start with nothing sent."""
        self._watched: list[_Watched] = []

    def attach(self, built: Built) -> None:
        """Send what an attempt's actors hand on through the codec; before they run."""
        for subtask in built.subtasks.values():
            for exchange, output in subtask.runner.outputs.items():
                names = {node.id: node.name for node in subtask.chain.nodes}
                receiver = next(
                    other.chain.head.name
                    for other in built.subtasks.values()
                    if other.chain.head.id == exchange.receiver
                )
                lanes = [_IsolatingLane(lane, names[exchange.sender], receiver, self) for lane in output.lanes]
                output.lanes = cast("list[Lane[ChannelItem]]", lanes)

    def passed(self, batch: Batch, sender: str, receiver: str) -> ChannelItem:
        """Give the receiver's own copy of a batch, and watch both."""
        try:
            copy = cast("Batch", decode_item(encode_item(batch)))
            for mine, theirs in zip(batch.values, copy.values, strict=True):
                if not is_immutable(mine):
                    sent = SELF_DESCRIBING.encode(mine)
                    self._watched.append(_Watched(sender, "emitted", mine, sent))
                    self._watched.append(_Watched(receiver, "been given", theirs, sent))
        except CodecError as error:
            raise CodecError(f"{sender} emits to {receiver} what has no encoding: {error}") from error
        return copy

    def check(self) -> None:
        """Look at all records again, and forget them.

        Raises:
            RecordChangedError: One is not what was sent.
        """
        all_watched, self._watched = self._watched, []
        for watched in all_watched:
            if SELF_DESCRIBING.encode(watched.value) != watched.sent:
                raise RecordChangedError(
                    f"{watched.operator} has changed a record that it had {watched.how}: "
                    f"{SELF_DESCRIBING.decode(watched.sent)!r} became {watched.value!r}. Others may hold the same "
                    "object: make a new one instead, with dataclasses.replace(...), {**record, ...} or a copy"
                )


class _IsolatingLane:
    """Stands in front of a lane."""

    def __init__(self, lane: Lane[ChannelItem], sender: str, receiver: str, isolation: Isolation) -> None:
        self._lane = lane
        self._sender = sender
        self._receiver = receiver
        self._isolation = isolation

    @property
    def items(self) -> deque[ChannelItem]:
        return self._lane.items

    def has_credit(self) -> bool:
        return self._lane.has_credit()

    async def wait_credit(self) -> None:
        await self._lane.wait_credit()

    def announce(self, from_us: int) -> None:
        self._lane.announce(from_us)

    def wake_with_credit(self, wakeup: Wakeup) -> None:
        self._lane.wake_with_credit(wakeup)

    def put(self, item: ChannelItem, records: int = 0, size_bytes: int = 0) -> None:
        if isinstance(item, Batch):
            item = self._isolation.passed(item, self._sender, self._receiver)
        self._lane.put(item, records, size_bytes)


def separate(graph: LogicalGraph) -> None:
    """Let every operator start an actor of its own, but for those that lead to where event time is assigned.

    They stay with their source, whose splits have a watermark each only there.
    """
    together: set[NodeId] = set()
    for node in reversed(graph.nodes):
        if node.id in together or isinstance(node.spec, AssignSpec):
            together.update([node.id, *(edge.source for edge in node.inputs)])
    graph.nodes[:] = [node if node.id in together else replace(node, new_chain=True) for node in graph.nodes]
