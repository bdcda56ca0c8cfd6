"""Mailboxes: control first, lanes in turn, credits that bound, blocked lanes that nobody polls."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import msgspec
import pytest

from actorstream.model.ids import ChannelIndex
from actorstream.runtime.mailbox import ITEM_RECORDS, LANE_BYTES, Mailbox, Wakeup, estimate_bytes

if TYPE_CHECKING:
    from actorstream.runtime.mailbox import Lane

A, B, C = ChannelIndex(0), ChannelIndex(1), ChannelIndex(2)


async def settle() -> None:
    """Let every ready task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


def drained(mailbox: Mailbox[str, str]) -> list[str]:
    """Take everything, as an actor does."""
    taken: list[str] = []
    while True:
        if mailbox.control:
            taken.append(mailbox.control.popleft())
        elif (lane := mailbox.next_lane()) is not None:
            taken.append(mailbox.lanes[lane].take())
        else:
            return taken


def test_control_overtakes_all_data() -> None:
    mailbox: Mailbox[str, str] = Mailbox(1)
    mailbox.lanes[0].put("a", 1)
    mailbox.tell("trigger")

    assert drained(mailbox) == ["trigger", "a"]


def test_lanes_take_turns_however_full_one_is() -> None:
    """A fast upstream must not starve a slow one (T20)."""
    mailbox: Mailbox[str, str] = Mailbox(3)
    for index in range(4):
        mailbox.lanes[A].put(f"a{index}", 1)
    mailbox.lanes[C].put("c0", 1)

    assert drained(mailbox) == ["a0", "c0", "a1", "a2", "a3"]


def test_order_within_a_lane_is_kept() -> None:
    mailbox: Mailbox[str, str] = Mailbox(2)
    for index in range(3):
        mailbox.lanes[A].put(f"a{index}", 1)
        mailbox.lanes[B].put(f"b{index}", 1)

    taken = drained(mailbox)
    assert [item for item in taken if item[0] == "a"] == ["a0", "a1", "a2"]
    assert [item for item in taken if item[0] == "b"] == ["b0", "b1", "b2"]


def test_blocked_lane_is_not_taken_from_until_unblocked() -> None:
    """What follows a barrier waits for the other channels."""
    mailbox: Mailbox[str, str] = Mailbox(2)
    for lane, item in ((A, "a0"), (A, "a1"), (B, "b0")):
        mailbox.lanes[lane].put(item, 1)
    mailbox.block(A)

    assert drained(mailbox) == ["b0"]
    mailbox.unblock([A])
    assert drained(mailbox) == ["a0", "a1"]


async def test_arrival_wakes_the_actor_but_not_on_a_blocked_lane() -> None:
    """A wake-up for nothing costs a turn of the loop for each item of a fast upstream."""
    mailbox: Mailbox[str, str] = Mailbox(2)
    mailbox.block(A)
    woken = 0

    async def wait() -> None:
        nonlocal woken
        await mailbox.arrival.wait()
        woken += 1

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await settle()
        mailbox.lanes[A].put("a", 1)
        await settle()
        assert woken == 0
        mailbox.lanes[B].put("b", 1)
    assert woken == 1


async def test_control_message_wakes_the_actor() -> None:
    mailbox: Mailbox[str, str] = Mailbox(0)
    async with anyio.create_task_group() as group:
        group.start_soon(mailbox.arrival.wait)
        await settle()
        mailbox.tell("stop")


def fill(lane: Lane[str], *, records: int = 1) -> int:
    """Put until there is no credit; give how many items that took."""
    count = 0
    while lane.has_credit():
        lane.put("x", records)
        count += 1
    return count


def test_credit_is_overdrawn_by_at_most_one_item() -> None:
    """The sender looks before it takes its next input, and then sends whatever that gave."""
    lane = Mailbox[str, str](1, records_max=100).lanes[0]

    assert lane.has_credit()
    lane.put("x", 5_000)
    assert not lane.has_credit()
    lane.take()
    assert lane.has_credit()


def test_single_records_are_bounded_too() -> None:
    """An item costs more than its records: batches of one would take far more memory than their count says."""
    lane = Mailbox[str, str](1, records_max=10 * (ITEM_RECORDS + 1)).lanes[0]

    assert fill(lane) == 10


def test_bytes_are_bounded_beside_records() -> None:
    lane = Mailbox[str, str](1).lanes[0]
    lane.put("x", 1, LANE_BYTES)

    assert not lane.has_credit()


def test_signals_need_no_credit_and_take_none() -> None:
    """A barrier must get through a full lane (T11)."""
    mailbox: Mailbox[str, str] = Mailbox(1, records_max=10)
    lane = mailbox.lanes[0]
    lane.put("barrier")
    assert lane.has_credit()
    lane.put("x", 50)
    lane.put("barrier")
    lane.take()
    lane.take()

    assert lane.has_credit()
    assert mailbox.depth == 0


async def test_waiting_senders_go_on_one_after_the_other_as_credit_allows() -> None:
    """All are woken, but the credit is looked at again by each."""
    lane = Mailbox[str, str](1, records_max=10).lanes[0]
    lane.put("x", 20)
    sent = 0

    async def send() -> None:
        nonlocal sent
        await lane.wait_credit()
        lane.put("y", 20)
        sent += 1

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(send)
        for expected in (0, 1, 2, 3):
            await settle()
            assert sent == expected
            lane.take()


async def test_cancelled_waiter_leaves_nothing_behind_and_costs_nobody_the_credit() -> None:
    """T128: what waits again and again on one long-lived thing must not pile up there."""
    lane = Mailbox[str, str](1, records_max=10).lanes[0]
    lane.put("x", 20)
    passed: list[str] = []

    async def wait(name: str) -> None:
        await lane.wait_credit()
        passed.append(name)

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as inner:
                inner.start_soon(wait, "cancelled")
                group.start_soon(wait, "patient")
                await settle()
                scope.cancel()
        assert len(lane._credit) == 1
        lane.take()
    assert passed == ["patient"]
    assert lane._credit == []


async def test_waiter_that_is_cancelled_and_woken_at_once_is_cancelled() -> None:
    """Cancellation is never swallowed."""
    wakeup = Wakeup()
    async with anyio.create_task_group() as group:
        group.start_soon(wakeup.wait)
        await settle()
        wakeup.wake()
        group.cancel_scope.cancel()
    assert group.cancel_scope.cancelled_caught or wakeup._future is None
    wakeup.wake()


@dataclass
class Page:
    text: str


@dataclass(frozen=True, slots=True)
class SlottedPage:
    text: str


class StructPage(msgspec.Struct):
    text: str


async def test_wake_without_a_waiter_is_not_remembered() -> None:
    """Whoever waits looks at the queue first: a remembered wake-up would only be a turn for nothing."""
    wakeup = Wakeup()
    wakeup.wake()

    with pytest.raises(TimeoutError), anyio.fail_after(0.01):
        await wakeup.wait()


@pytest.mark.parametrize(
    ("values", "least"),
    [
        (["x" * 1000] * 3, 3_000),
        ([("x" * 1000, 1)] * 2, 2_000),
        ([{"a": "x" * 1000}], 1_000),
        ([Page("x" * 1000)] * 2, 2_000),
        ([SlottedPage("x" * 1000)] * 2, 2_000),
        ([StructPage("x" * 1000)] * 2, 2_000),
        ([1], 1),
    ],
    ids=lambda value: type(value[0]).__name__ if isinstance(value, list) else "",
)
def test_estimated_bytes_see_one_level_deep(values: list[object], least: int) -> None:
    """What a dataclass holds was not seen: a lane took 60 records of 10 MB."""
    assert least < estimate_bytes(values) < 3 * least + 1_000
