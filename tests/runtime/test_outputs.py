"""Where a step's results go: which lane, as which batch, and when the sender must wait."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actorstream.graph.nodes import Broadcast, Forward, Keyed, NodeId, Partitioning, Rebalance
from actorstream.graph.plan import Exchange
from actorstream.model.batch import Batch
from actorstream.model.ids import CheckpointId
from actorstream.model.signals import Barrier, EndOfInput, Watermark
from actorstream.operators.step_text import Lists
from actorstream.runtime.mailbox import Mailbox
from actorstream.runtime.outputs import ExchangeOutput
from tests.runtime.test_mailbox import settle


def exchange(partitioning: Partitioning) -> Exchange:
    return Exchange(NodeId(0), NodeId(1), 0, partitioning)


class Receivers:
    """Mailboxes of as many subtasks, and an output into their first lanes."""

    def __init__(self, count: int, partitioning: Partitioning, *, wire: bool = False, records_max: int = 100) -> None:
        self.mailboxes = [Mailbox[Any, Any](1, records_max) for _ in range(count)]
        self.output = ExchangeOutput(
            exchange(partitioning), [mailbox.lanes[0] for mailbox in self.mailboxes], wire=wire
        )

    def taken(self) -> list[list[Any]]:
        """Take what each has: values of batches, signals as they are."""
        return [
            [item.values if isinstance(item, Batch) else item for item in mailbox.lanes[0].items]
            for mailbox in self.mailboxes
        ]


def test_rebalance_gives_each_batch_to_the_next_subtask() -> None:
    receivers = Receivers(3, Rebalance())
    for value in range(4):
        assert receivers.output.send(Lists([value], None, None), None) == 1

    assert sorted(map(sorted, receivers.taken())) == [[[0], [3]], [[1]], [[2]]]


@pytest.mark.parametrize("wire", [False, True])
def test_broadcast_gives_each_batch_to_every_subtask_and_counts_it_once(*, wire: bool) -> None:
    """In one order, with watermarks and barriers where they belong."""
    receivers = Receivers(3, Broadcast(), wire=wire)
    assert receivers.output.send(Lists([1, 2], None, [10, 20]), None, 15) == 2
    assert receivers.output.send(Lists([], None, []), None, 30) == 0
    receivers.output.signal(Barrier(CheckpointId(1)))
    assert receivers.output.send(Lists([3], None, [40]), None) == 1

    assert receivers.taken() == [[[1, 2], Watermark(30), Barrier(CheckpointId(1)), [3]]] * 3


def test_a_broadcast_waits_for_the_slowest_subtask() -> None:
    """As every exchange does: a record once taken never stops half-way."""
    receivers = Receivers(2, Broadcast(), records_max=2)
    receivers.output.send(Lists([1, 2], None, None), None)
    receivers.mailboxes[0].lanes[0].take()
    assert not receivers.output.has_credit()
    receivers.mailboxes[1].lanes[0].take()
    assert receivers.output.has_credit()


def test_empty_batch_is_not_sent_and_takes_no_turn() -> None:
    """T126: an empty result must not shift who gets the next one."""
    receivers, plain = Receivers(2, Rebalance()), Receivers(2, Rebalance())
    for value in range(4):
        assert receivers.output.send(Lists([], None, None), None) == 0
        receivers.output.send(Lists([value], None, None), None)
        plain.output.send(Lists([value], None, None), None)

    assert receivers.taken() == plain.taken()


def test_two_outputs_of_one_partitioning_take_turns_by_themselves() -> None:
    """T126: the turn belongs to the edge, not to the partitioning object that two edges share."""
    partitioning = Rebalance()
    one, other = Receivers(2, partitioning), Receivers(2, partitioning)
    for value in range(2):
        one.output.send(Lists([value], None, None), None)
    other.output.send(Lists([0], None, None), None)
    other.output.send(Lists([1], None, None), None)

    assert one.taken() == other.taken()


def test_routed_lists_go_each_to_its_own_subtask() -> None:
    receivers = Receivers(3, Keyed(abs))
    sent = receivers.output.send([Lists([1], [1], None), Lists([], [], None), Lists([2, 3], [2, 3], None)], ("0", 7))

    assert sent == 3
    assert receivers.taken() == [[[1]], [], [[2, 3]]]
    batch = receivers.mailboxes[2].lanes[0].items[0]
    assert (batch.keys, batch.origin) == ([2, 3], ("0", 7))


def test_signals_go_down_every_lane_without_credit() -> None:
    receivers = Receivers(2, Rebalance(), records_max=1)
    for _ in range(2):
        receivers.output.send(Lists([0], None, None), None)
    receivers.output.signal(Barrier(CheckpointId(1)))
    receivers.output.signal(EndOfInput())

    assert [items[-2:] for items in receivers.taken()] == [[Barrier(CheckpointId(1)), EndOfInput()]] * 2


def test_timestamps_travel_or_are_left_out_where_the_source_has_none() -> None:
    receivers = Receivers(1, Forward())
    receivers.output.send(Lists([1], None, [5]), None)
    receivers.output.send(Lists([2], None, None), None)

    assert [item.timestamps for item in receivers.mailboxes[0].lanes[0].items] == [[5], None]


def test_wire_mode_passes_copies_of_batches_and_signals() -> None:
    """Whoever changes a record after sending it is found by a run over the wire."""
    receivers = Receivers(1, Keyed(abs), wire=True)
    record = [1, (2, "x")]
    receivers.output.send(Lists([record], [3], [4]), ("0", (1, 2)))
    receivers.output.signal(Barrier(CheckpointId(9)))
    record.append("later")

    batch, barrier = receivers.mailboxes[0].lanes[0].items
    assert (batch.values, batch.keys, batch.timestamps, batch.origin) == ([[1, (2, "x")]], [3], [4], ("0", (1, 2)))
    assert barrier == Barrier(CheckpointId(9))


async def test_sender_waits_until_every_lane_has_credit() -> None:
    """It cannot know which lane its next record goes to before it has taken it."""
    receivers = Receivers(2, Keyed(abs), records_max=1)
    for mailbox in receivers.mailboxes:
        mailbox.lanes[0].put("x", 1)
    passed: list[bool] = []

    async def wait() -> None:
        await receivers.output.wait_credit()
        passed.append(True)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        for mailbox in receivers.mailboxes:
            await settle()
            assert not passed
            assert not receivers.output.has_credit()
            mailbox.lanes[0].take()
    assert receivers.output.has_credit()
